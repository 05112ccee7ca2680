"""What is refused of models, in one line with a remedy, and what is said of their data."""

from pathlib import Path

import numpy as np
import pytest

from optbench.errors import UsageError
from optbench.plugins import new_code_cache
from optbench.problems.registry import make_problem

torch = pytest.importorskip("torch")

FILE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import optbench

draw = torch.Generator().manual_seed(0)
x = torch.randn(20, 4, generator=draw)
y = torch.randint(3, (20,), generator=draw)


class Augmented:
    def __len__(self):
        return 20

    def __getitem__(self, place):
        return x[place] + torch.randn(4), y[place]


def loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def task(**given):
    known = {"model": lambda: nn.Linear(4, 3), "loss": loss, "data": (x, y)}
    return optbench.torch.Task(**{**known, **given})


def problem(ARGUMENTS):
    return RESULT
"""

NUMBERS = "batch_size: int = 8"


@pytest.fixture
def make(tmp_path: Path):
    """Return what makes a problem of a function's arguments and of what it returns."""

    def made(result: str, arguments: str = NUMBERS, **options):
        text = FILE.replace("ARGUMENTS", arguments).replace("RESULT", result)
        (tmp_path / "own.py").write_text(text, encoding="utf-8")
        with new_code_cache():
            return make_problem(f"torch:{tmp_path / 'own.py'}:problem", options)

    return made


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("None", "problem returns NoneType; return optbench.torch.Task(…)"),
        ("task(metrics={'f1': loss})", "cannot record the metric 'f1'; the only one is 'error'"),
        ("task(model=lambda: 3)", "model returns int; return a torch.nn.Module"),
        ("task(model=lambda: nn.LazyLinear(3))", "give layers their sizes"),
        ("task(model=nn.Identity)", "no parameters to train; add a layer"),
        ("task(loss=lambda model, batch: model(batch[0]))", "return () or (batch,)"),
        ("task(loss=lambda model, batch: 1.0)", "as loss it gives float; return a tensor"),
        (
            "task(loss=lambda model, batch: model(batch[0])[:3, 0])",
            "its loss has 3 values for 8 examples; return their mean, or one for each",
        ),
        ("task(loss=lambda model, batch: loss(model, batch).detach())", "or is detached"),
        (
            "task(loss=lambda model, batch: model(batch[0][:, :2]).mean())",
            "mat1 and mat2 shapes cannot be multiplied",
        ),
        ("task(metrics={'error': lambda model, batch: 'none'})", "as error it gives str"),
        ("task(data=(x, y[:5]))", "same number of examples: 0 has 20, 1 has 5"),
        ("task(data=(x, 'abc'))", "1 is of type str, not an array of numbers; encode it"),
        ("task(data=5)", "train is of type int; give arrays, such as (x, y)"),
        ("task(data={'train': (x, y), 'valid': (x, y)})", "the splits are train, validation, test"),
        ("task(data={'test': (x, y)})", "no split 'train'; give one"),
        ("task(data={'train': (x, y), 'test': (x[:, :2], y)})", "test have other shapes than"),
        ("task(data=iter([(x, y), (x[:, :2], y)]))", "the batches of train do not fit together"),
        ("task(data=(x[:3], y[:3]))", "batch_size = 8 is larger than the data"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(make, result, message):
    with pytest.raises(UsageError) as caught:
        make(result)
    said = str(caught.value)
    assert message in said
    assert "problem" in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("width", "width has no default; give it one, as in width=64"),
        ("*widths", "takes *widths; name each of its arguments, with a default"),
        ("width=None", "the default of width is of type NoneType; options are numbers"),
        ("batch_size=-3", "batch_size = -3 must be a whole number of at least 1 or full"),
    ],
)
def test_an_argument_that_cannot_be_an_option_is_refused(make, arguments, message):
    with pytest.raises(UsageError) as caught:
        make("None", arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch:own.py", "names no function; write torch:path/to/file.py:problem"),
        ("torch:{}:x", "is no function; torch: takes one that returns optbench.torch.Task(…)"),
        ("jax:{}:problem", "problem returns a task of another library than jax"),
        ("{}:problem", "before one that returns a model's Task write torch: or jax:"),
    ],
)
def test_a_name_that_means_no_model_is_refused(tmp_path, name, message):
    file = tmp_path / "own.py"
    text = FILE.replace("ARGUMENTS", NUMBERS).replace("RESULT", "task()")
    file.write_text(text, encoding="utf-8")
    if name.startswith("jax:"):
        pytest.importorskip("jax")
    with pytest.raises(UsageError) as caught:
        make_problem(name.format(file), {})
    assert message in str(caught.value)


def test_arguments_are_options_and_those_of_common_names_set_defaults(make):
    arguments = "width: float = 2, kind: str = 'a', deep: bool = True, batch_size: int = 5"
    problem, _ = make("task()", arguments, width=3)
    assert {name: problem.settings[name] for name in ("width", "kind", "deep", "batch_size")} == {
        "width": 3.0,
        "kind": "a",
        "deep": True,
        "batch_size": 5,
    }
    with pytest.raises(UsageError, match="has no option 'widht'; did you mean 'width'"):
        make("task()", arguments, widht=3)


def test_a_loader_is_gone_through_once_and_that_is_said(make):
    loader = "DataLoader(TensorDataset(x, y), batch_size=6)"
    read, notices = make(f"task(data={loader})")
    arrays, _ = make("task()")
    assert notices[0] == (
        "problem: train is a DataLoader: its 20 examples were read once, and batches of "
        "batch_size are drawn from them"
    )
    for leaf, array in arrays.splits["train"].arrays.items():
        np.testing.assert_array_equal(read.splits["train"].arrays[leaf], array)


def test_the_items_of_a_data_set_are_collated_once(make):
    collated, notices = make("task(data=TensorDataset(x, y))")
    arrays, _ = make("task()")
    assert collated.splits["train"].checksums() == arrays.splits["train"].checksums()
    assert len(notices) == 1
    _, (said, _) = make("task(data=Augmented())")
    assert said == (
        "problem: train draws random numbers for its items: they were drawn once, for all epochs"
    )


def test_a_fingerprint_tells_data_code_and_arguments(make):
    arguments = f"{NUMBERS}, scale: float = 1.0"
    prints = [
        make("task()")[0].fingerprint,
        make("task(data=(x + 1.0, y))")[0].fingerprint,
        make("task()", arguments)[0].fingerprint,
        make("task()", arguments, scale=2.0)[0].fingerprint,
    ]
    assert len(set(prints)) == 4
    assert make("task()", stack="loop")[0].fingerprint == prints[0]
