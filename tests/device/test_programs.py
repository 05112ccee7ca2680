"""Rules become programs that do the same: the same operations, each once, nothing overwritten."""

import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings

from optbench.device.programs import OPERATIONS, Operand, Operation, Program, trace
from optbench.errors import SuiteError
from optbench.optimizers.registry import OPTIMIZERS
from tests.device.random_rules import COLUMNS, OPERATORS, RandomRule, rules
from tests.device.test_kernels import columns_of
from tests.optimizers.driver import ELEMENTWISE

NUMBERS_IN = {"lr": 0.3, "eps": 1.25}
"""A value for each column."""

ARRAYS_IN = (2.5, -0.75, 1.5, 0.625)
"""A value for each array."""


def root(value: float) -> float:
    return math.sqrt(value) if value >= 0 else math.nan


def divide(one: float, other: float) -> float:
    return one / other if other else math.nan


class Number(float):
    """A float whose division and root know no exceptions."""

    def __truediv__(self, other):
        return Number(divide(float(self), float(other)))

    def __rtruediv__(self, other):
        return Number(divide(float(other), float(self)))


def wrapped(operation):
    return lambda *operands: Number(operation(*(Number(each) for each in operands)))


FUNCTIONS = {name: wrapped(operation) for name, operation in OPERATORS.items()}
FUNCTIONS |= {"sqrt": wrapped(root), "abs": wrapped(abs), "copy": wrapped(float)}


def run(program: Program, arrays) -> list[float]:
    """Carry a program out on numbers; a register that nobody has written has no value."""
    values = {Operand("array", index): value for index, value in enumerate(arrays)}
    values |= {Operand("column", name): NUMBERS_IN[name] for name in program.columns}
    for operation in program.operations:
        sources = [
            each.key if each.kind == "number" else values[each] for each in operation.sources
        ]
        assert operation.target.kind in ("array", "register")
        if operation.target.kind == "register":
            assert operation.target.key < program.registers
        values[operation.target] = FUNCTIONS[operation.name](*sources)
    return [values[Operand("array", index)] for index in range(len(arrays))]


def swap(w, g, slot, *, xp, **columns):
    return slot, w


def turn(w, g, one, other, *, xp, **columns):
    return one, other, w


def shift(w, g, before, *, xp, **columns):
    return w - g, w


CYCLES = [
    RandomRule(3, (), (2, 0)),
    RandomRule(4, (), (2, 3, 0)),
    RandomRule(4, (), (3, 0, 2)),
    RandomRule(4, (("add", (0, 1)),), (9, 9, 0)),
    RandomRule(3, (("subtract", (0, 1)),), (8, 0)),
    RandomRule(3, (), (1, 1)),
    RandomRule(3, (), (3, 5)),
]
"""Arrays that change places, results that are wanted twice, inputs, columns and numbers."""


@settings(max_examples=150)
@given(rules())
def test_a_program_gives_what_its_rule_gives(rule):
    check_program(rule)


@pytest.mark.parametrize("rule", CYCLES)
def test_arrays_may_change_places_and_results_be_wanted_twice(rule):
    check_program(rule)


def check_program(rule):
    program = trace(rule, rule.arrays, COLUMNS)
    arrays = [Number(value) for value in ARRAYS_IN[: rule.arrays]]
    columns = {name: Number(value) for name, value in NUMBERS_IN.items()}
    functions = SimpleNamespace(sqrt=FUNCTIONS["sqrt"], abs=FUNCTIONS["abs"])
    expected = list(rule(*arrays, xp=functions, **columns))
    expected.insert(1, arrays[1])
    for found, value in zip(run(program, arrays), expected, strict=True):
        assert found == value or (math.isnan(found) and math.isnan(value))


@settings(max_examples=150)
@given(rules())
def test_a_program_does_nothing_that_its_rule_does_not(rule):
    program = trace(rule, rule.arrays, COLUMNS)
    operations = [each for each in program.operations if each.name != "copy"]
    assert len(operations) <= len(set(rule.steps))
    targets = [each.target for each in program.operations]
    assert Operand("array", 1) not in targets  # gradients are only read
    used = {each.key for each in targets if each.kind == "register"}
    assert used == set(range(program.registers))


@pytest.mark.parametrize(
    ("rule", "arrays", "copies", "registers"),
    [(swap, 3, 3, 1), (turn, 4, 4, 1), (shift, 3, 2, 1)],
)
def test_arrays_that_change_places_take_one_register(rule, arrays, copies, registers):
    program = trace(rule, arrays, ())
    names = [each.name for each in program.operations]
    assert names.count("copy") == copies
    assert program.registers == registers


def test_the_rules_that_there_are_need_few_registers_and_hardly_a_copy():
    registers = {}
    for name in ELEMENTWISE:
        optimizer = OPTIMIZERS[name]
        program = trace(optimizer.rule, 2 + len(optimizer.slots), columns_of(optimizer))
        copies = [each for each in program.operations if each.name == "copy"]
        assert len(copies) <= 1
        registers[name] = program.registers
    assert max(registers.values()) <= 6
    textbook = {"sgd": 1, "momentum": 2, "adagrad": 2, "rmsprop": 3, "adam": 2}
    assert textbook.items() <= registers.items()


def test_equal_operations_are_done_once():
    def rule(w, g, slot, *, lr, xp):
        return w - lr * (g * g) - lr * (g * g), slot + g * g

    program = trace(rule, 3, ("lr",))
    assert [each.name for each in program.operations] == [
        "multiply",
        "multiply",
        "subtract",
        "subtract",
        "add",
    ]


def test_numbers_that_are_equal_but_not_the_same_are_kept_apart():
    def rule(w, g, slot, *, xp):
        return w * 0.0, slot * -0.0

    program = trace(rule, 3, ())
    keys = [str(each.sources[1].key) for each in program.operations]
    assert keys == ["0.0", "-0.0"]


def test_a_result_is_written_straight_into_its_array_where_nobody_reads_the_old_one():
    def rule(w, g, *, lr, xp):
        return (w - lr * g,)

    w, g, lr, register = (
        Operand("array", 0),
        Operand("array", 1),
        Operand("column", "lr"),
        Operand("register", 0),
    )
    assert trace(rule, 2, ("lr",)) == Program(
        (Operation("multiply", (lr, g), register), Operation("subtract", (w, register), w)),
        registers=1,
        arrays=2,
        columns=("lr",),
    )


def test_the_program_of_a_rule_is_worked_out_once():
    rule = OPTIMIZERS["sgd"].rule
    assert trace(rule, 2, ("lr",)) is trace(rule, 2, ("lr",))


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_can_be_used(name):
    operands = OPERATIONS[name].count("{}") or 2

    def rule(w, g, *, xp):
        return (getattr(xp, name)(*(w, g)[:operands]),)

    (operation,) = trace(rule, 2, ()).operations
    assert (operation.name, len(operation.sources)) == (name, operands)


def test_what_a_rule_may_not_use_is_named_with_what_it_may():
    with pytest.raises(AttributeError) as caught:
        trace(lambda w, g, *, xp: (xp.cbrt(w),), 2, ())
    assert str(caught.value) == (
        "an element-wise rule cannot use xp.cbrt; it may use " + ", ".join(OPERATIONS)
    )


def test_a_rule_that_branches_on_values_is_refused():
    with pytest.raises(TypeError, match="an element-wise rule cannot branch on values"):
        trace(lambda w, g, *, xp: (w if g else g,), 2, ())
    with pytest.raises(TypeError, match="not supported between instances of 'Symbol' and 'int'"):
        trace(lambda w, g, *, xp: (w if g > 0 else g,), 2, ())


@pytest.mark.parametrize("outputs", [0, 1, 3])
def test_a_rule_returns_a_value_for_every_array_but_the_gradients(outputs):
    with pytest.raises(SuiteError, match=f"must return a tuple of 2: .* it returned {outputs}"):
        trace(lambda w, g, slot, *, xp: (w,) * outputs, 3, ())
