"""Several runs as one: what is the same is joined, what is not is named."""

import pytest

from optbench.api import load, run
from optbench.errors import UsageError
from optbench.report.configurations import ranked_lanes
from optbench.report.joined import joined, of_problems, settings_apart
from optbench.report.summaries import summary

SMALL = {"problem": "booth", "iterations": 12}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")

    def made(**options):
        return run(**{**SMALL, **options}, out=out).tables

    return made


def test_labels_that_runs_share_are_told_apart_and_others_are_not(runs):
    first, second = runs(optimizers=["adam", "sgd"]), runs(optimizers=["adam", "momentum"])
    both = joined([first, second])
    marks = [each.path.name[-8:] for each in (first, second)]
    assert both.lanes["label"].tolist() == [
        f"adam ({marks[0]})", "sgd", f"adam ({marks[1]})", "momentum"
    ]  # fmt: skip
    assert both.lanes["lane"].tolist() == [0, 1, 2, 3]
    assert [entry["label"] for entry in both.meta["optimizers"]] == both.lanes["label"].tolist()
    assert both.runs == tuple(marks)
    assert both.shared == {f"adam ({mark})": ("adam", place) for place, mark in enumerate(marks)}
    assert (first.runs, first.shared) == ((), {})
    for table in ("final_loss", "best_loss"):
        separate = [*first.lanes[table], *second.lanes[table]]
        assert both.lanes[table].tolist() == separate


def test_rows_stay_with_their_lanes(runs):
    first, second = runs(optimizers=["adam"]), runs(optimizers=["momentum", "sgd"])
    both = joined([first, second])
    assert len(both.trace) == len(first.trace) + len(second.trace)
    last = both.trace.groupby("lane")["loss"].last().tolist()
    assert last == both.lanes["final_loss"].tolist()
    assert len(both.surface) == len(first.surface)
    assert len(summary(both)) == 3
    assert ranked_lanes(both)["score"].notna().all()


def test_a_run_given_twice_counts_once(runs):
    one = runs(optimizers=["adam"])
    twice = joined([one, load(one.path).tables])
    assert twice.lanes["label"].tolist() == ["adam"]
    assert twice.runs == ()


def test_runs_of_different_problems_stand_side_by_side(runs):
    both = joined([runs(optimizers=["adam"]), runs(problem="matyas", optimizers=["adam"])])
    assert both.lanes["label"].tolist() == ["adam", "adam"] or all(
        label.startswith("adam") for label in both.lanes["label"]
    )
    assert [entry["problem"] for entry in both.meta["problems"]] == ["booth", "matyas"]


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"iterations": 13}, "iterations 12 and 13"),
        ({"dtype": "float32"}, 'dtype "float64" and "float32"'),
        ({"stop": {"loss": 1e-9}}, "stop nothing and {"),
    ],
)
def test_what_is_not_the_same_is_refused_with_the_places_that_differ(runs, options, place):
    one, other = runs(optimizers=["adam"]), runs(optimizers=["sgd"], **options)
    with pytest.raises(UsageError, match="'booth' is not the same in") as refused:
        joined([one, other])
    assert place in str(refused.value)
    assert one.path.name in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_renamed_run_is_told_apart_by_its_whole_name(runs):
    one, other = runs(optimizers=["adam"]), runs(optimizers=["adam"])
    moved = other.path.rename(other.path.with_name("old code"))
    labels = joined([one, load(moved).tables]).lanes["label"].tolist()
    assert labels == ["adam (booth)", "adam (old code)"]


def test_labels_have_the_names_of_runs_that_have_different_ones_and_files_their_marks(runs):
    named = [runs(optimizers=["adam"], name=name) for name in ("before", "after")]
    both = joined(named)
    assert both.lanes["label"].tolist() == ["adam (before)", "adam (after)"]
    marks = tuple(each.path.name[-8:] for each in named)
    assert both.runs == marks
    again = runs(optimizers=["adam"], name="after")
    every = joined([*named, again]).lanes["label"].tolist()
    assert every == [f"adam ({mark})" for mark in (*marks, again.path.name[-8:])]


def test_the_settings_of_a_problem_that_differ_between_runs_are_named(runs):
    metas = {
        "short": runs(optimizers=["adam"]).meta,
        "long": runs(optimizers=["adam"], iterations=13, dtype="float32").meta,
        "other": runs(problem="matyas", optimizers=["adam"], iterations=14).meta,
    }
    assert settings_apart(metas) == {
        ("short", "booth"): "12 iterations, float64",
        ("long", "booth"): "13 iterations, float32",
        ("other", "matyas"): "",
    }


def test_a_problem_of_a_run_is_a_run_of_it(runs):
    both = runs(problem=["booth", "matyas"], optimizers=["adam", "sgd"])
    one = of_problems(both, ["matyas"])
    assert [entry["problem"] for entry in one.meta["problems"]] == ["matyas"]
    assert one.lanes["problem"].tolist() == ["matyas", "matyas"]
    assert set(one.trace["lane"]) == set(one.lanes["lane"]) == {2, 3}
    assert set(one.surface["problem"]) == {"matyas"}
    assert len(both.trace) == 2 * len(one.trace)
