"""Element-wise rules made at random, for the tests of programs and of what runs them."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

EXACT = ("add", "subtract", "multiply", "divide", "negative", "sqrt", "abs")
"""Operations that IEEE 754 defines to the last bit."""

OPERATORS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "negative": lambda a: -a,
}

NUMBERS = (0.5, -1.5, 3.0)
COLUMNS = ("lr", "eps")


@dataclass(frozen=True)
class RandomRule:
    """A rule written as a list of steps.

    Values are numbered: the arrays, the columns, the numbers, then the results of the steps; an
    output is any of them.
    """

    arrays: int
    steps: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[int, ...]

    def __call__(self, *arrays: Any, xp: Any, **columns: Any) -> tuple[Any, ...]:
        values = [*arrays, *(columns[name] for name in COLUMNS), *NUMBERS]
        for name, operands in self.steps:
            function = OPERATORS.get(name) or getattr(xp, name)
            values.append(function(*(values[each] for each in operands)))
        return tuple(values[each] for each in self.outputs)


@st.composite
def rules(draw: st.DrawFn) -> RandomRule:
    """Draw rules of 2 to 4 arrays; no step works on numbers alone."""
    arrays = draw(st.integers(2, 4))
    known = arrays + len(COLUMNS)
    no_number = list(range(known))
    everything = list(range(known + len(NUMBERS)))
    steps = []
    for _ in range(draw(st.integers(0, 8))):
        name = draw(st.sampled_from(EXACT))
        operands = [draw(st.sampled_from(no_number))]
        if name in ("add", "subtract", "multiply", "divide"):
            operands.append(draw(st.sampled_from(everything)))
            if draw(st.booleans()):
                operands.reverse()
        steps.append((name, tuple(operands)))
        no_number.append(len(everything))
        everything.append(len(everything))
    outputs = st.lists(st.sampled_from(everything), min_size=arrays - 1, max_size=arrays - 1)
    return RandomRule(arrays, tuple(steps), tuple(draw(outputs)))
