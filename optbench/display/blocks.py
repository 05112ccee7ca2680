"""What blocks are called while they run: their optimizers, and what tells one from another."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from optbench.records import Lane

MOST_LABELS = 3
"""Labels of a block that are named; of more, the first two."""

MOST_VALUES = 3
"""Values, or spans of seeds, that are named; of more, the first and the last."""


def titles(blocks: Mapping[int, Sequence[Lane]]) -> dict[int, str]:
    """Return what each block is called, by number.

    That is its :func:`title`, behind its problem where there are several, or, where blocks would
    be called the same, its optimizers and what differs: seeds, else hyperparameters.
    """
    several = len({lane.problem for lanes in blocks.values() for lane in lanes}) > 1
    alike: dict[str, list[int]] = defaultdict(list)
    for number, lanes in blocks.items():
        problem = f"{lanes[0].problem}: " if several else ""
        alike[problem + optimizers(lanes)].append(number)
    found = {}
    for name, numbers in alike.items():
        if len(numbers) == 1:
            (number,) = numbers
            found[number] = f"{name}{_times(blocks[number])}"
        else:
            facts = _telling([blocks[number] for number in numbers])
            found |= {
                number: ", ".join([name, *told])
                for number, told in zip(numbers, facts, strict=True)
            }
    return found


def title(lanes: Sequence[Lane]) -> str:
    """Return the optimizers of a block's lanes, and how many lanes they are."""
    return optimizers(lanes) + _times(lanes)


def optimizers(lanes: Sequence[Lane]) -> str:
    """Return the optimizer labels of a block's lanes, two if they are many."""
    labels = list(dict.fromkeys(lane.label for lane in lanes))
    if len(labels) > MOST_LABELS:
        labels = [", ".join(labels[:2]) + f" and {len(labels) - 2} more"]
    return ", ".join(labels)


def _times(lanes: Sequence[Lane]) -> str:
    return "" if len(lanes) == 1 else f" ×{len(lanes)}"


def _telling(blocks: Sequence[Sequence[Lane]]) -> list[list[str]]:
    """Return of each block what tells it from the others: as few facts as will do."""
    names = dict.fromkeys(
        name for lanes in blocks for lane in lanes for name in lane.hyperparameters
    )
    kinds: list[Callable[[Sequence[Lane]], str]] = [_seeds]
    kinds += [partial(_values, name) for name in names]
    facts: list[list[str]] = [[] for _ in blocks]
    for kind in kinds:
        found = [kind(lanes) for lanes in blocks]
        if len(set(found)) > 1:
            for told, fact in zip(facts, found, strict=True):
                told.extend([fact] if fact else [])
        if len(set(map(tuple, facts))) == len(blocks):
            break
    return facts


def _seeds(lanes: Sequence[Lane]) -> str:
    """Return the seeds of a block: ``seed 3``, ``seeds 0–4, 7``."""
    seeds = sorted({lane.seed for lane in lanes})
    spans: list[list[int]] = []
    for seed in seeds:
        if spans and spans[-1][-1] == seed - 1:
            spans[-1].append(seed)
        else:
            spans.append([seed])
    texts = [f"{span[0]}–{span[-1]}" if len(span) > 1 else f"{span[0]}" for span in spans]
    return f"seed{'s' * (len(seeds) > 1)} {_some(texts)}"


def _values(name: str, lanes: Sequence[Lane]) -> str:
    """Return the values of a hyperparameter in a block: ``lr 1e-4–0.01``, ``schedule cosine``."""
    values = {lane.hyperparameters[name] for lane in lanes if name in lane.hyperparameters}
    numbers = sorted(value for value in values if not isinstance(value, str))
    texts = sorted(value for value in values if isinstance(value, str))
    if numbers:
        low, high = f"{numbers[0]:.3g}", f"{numbers[-1]:.3g}"
        texts.insert(0, low if low == high else f"{low}–{high}")
    return f"{name} {_some(texts)}" if texts else ""


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts) if len(texts) <= MOST_VALUES else f"{texts[0]} … {texts[-1]}"
