"""``optbench compare``: formats, seeds that choose, several runs, and what is refused."""

import csv
import io
import json
from math import log

import pytest

import optbench as package
from optbench.report import compare as comparing
from tests.cli.command import optbench, run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two runs of a small network and a sweep."""
    cwd = tmp_path_factory.mktemp("made")
    small = ("mnist-mlp", "--data", "mnist-5k", "--batch-size", 4, "--seeds", 6)
    run(*small, "--iterations", 8, "-o", "sgd", "-o", "adam", "--name", "one", cwd=cwd)
    run(*small, "--iterations", 8, "-o", "adam", "--name", "two", cwd=cwd)
    run(*small, "--iterations", 9, "-o", "adam", "--name", "longer", cwd=cwd)
    run(*small, "--iterations", 8, "-o", "sgd", "-o", "adam", "--grid", "adam.lr=0.001,0.01",
        "--name", "sweep", cwd=cwd)  # fmt: skip
    return cwd


def told(made, *arguments):
    seen = optbench("compare", *arguments, cwd=made)
    assert (seen.code, seen.err) == (0, "")
    return seen.out


def test_the_table_names_pairs_and_verdicts(made):
    lines = told(made, "one").splitlines()
    assert lines[0] == "mnist-mlp on mnist-5k, median of 6 seeds"
    assert any(line.split()[:4] == ["a", "b", "a", "/"] for line in lines)
    assert max(map(len, lines)) <= 80


def test_one_pair_needs_no_adjustment_and_three_are_adjusted(made):
    assert "p: sign flips of paired seeds\n" in told(made, "one")
    assert "p: sign flips of paired seeds; p by Holm over 3 pairs\n" in told(made, "one", "two")


@pytest.mark.parametrize(
    ("size", "text"), [(1.099, "9.9 %"), (2.32, "130 %"), (17.2, "1600 %"), (1.00123, "0.12 %")]
)
def test_what_is_found_is_written_with_two_digits(made, monkeypatch, size, text):
    monkeypatch.setattr(comparing, "detects", lambda *given: log(size))
    assert f"a difference of {text} is found 9 times in 10" in told(made, "one")


def test_formats_hold_the_rows_that_python_gives(made):
    path = next(made.glob("results/one-*"))
    rows = package.compare(path)
    assert len(rows) == 1
    (parsed,) = json.loads(told(made, "one", "--format", "json"))
    assert parsed["estimate"] == rows["estimate"][0]
    assert parsed["verdict"] == rows["verdict"][0]
    (line,) = csv.DictReader(io.StringIO(told(made, "one", "--format", "csv")))
    assert float(line["p"]) == rows["p"][0]
    assert told(made, "one", "--format", "md").startswith("### mnist-mlp on mnist-5k")
    assert told(made, "one", "--format", "latex").startswith(r"\begin{table}")


def test_labels_that_two_runs_share_are_told_apart(made):
    rows = json.loads(told(made, "one", "two", "--format", "json"))
    labels = {row[side] for row in rows for side in ("a", "b")}
    assert len(rows) == 3
    assert len([label for label in labels if label.startswith("adam (")]) == 2
    same = [row for row in rows if {row["a"][:4], row["b"][:4]} == {"adam"}]
    assert same[0]["estimate"] == 1.0
    assert same[0]["ties"] == 6


def test_a_sweep_is_compared_on_seeds_that_did_not_choose(made):
    seen = optbench("compare", "sweep", cwd=made)
    assert seen.code == 2
    assert seen.err.count("\n") == 1
    assert "give --choose-on with the seeds that choose" in seen.err
    (row,) = json.loads(told(made, "sweep", "--choose-on", "0-1", "--format", "json"))
    assert row["seeds"] == 4


def test_a_file_is_overwritten_only_by_force(made, tmp_path):
    place = tmp_path / "new" / "pairs.csv"
    assert told(made, "one", "--format", "csv", "-O", place).strip() == str(place)
    written = place.read_text(encoding="utf-8")
    assert written.startswith("problem,metric,a,b,")
    place.write_text("mine", encoding="utf-8")
    message = optbench("compare", "one", "-O", place, cwd=made).message
    assert message == f"'{place}' already exists; give --force, or another name"
    assert place.read_text(encoding="utf-8") == "mine"
    told(made, "one", "-O", place, "--force")
    assert place.read_text(encoding="utf-8") == written


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("one", "longer"), 2, "iterations 8 and 9"),
        (("two",), 5, "nothing to compare"),
        (("one", "--metric", "accuracy"), 2, "unknown metric 'accuracy'"),
        (("one", "--reference", "adamw"), 2, "has no optimizer 'adamw'; did you mean 'adam'?"),
        (("one", "--margin", "wide"), 2, "--margin 'wide' is malformed; write 1%"),
        (("one", "--format", "html"), 2, "unknown format 'html'"),
        (("one", "-O", "x.txt"), 2, "'x.txt' names no format; give --format (md|latex|csv|json)"),
        (("one", "-O", "x.tex", "--format", "md"), 2, "'x.tex' contradicts --format md"),
        (("one", "--force"), 2, "--force belongs to --output; give both"),
        (("one", "--level", "0"), 2, "level = 0 must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_line(made, arguments, code, says):
    seen = optbench("compare", *arguments, cwd=made)
    assert (seen.code, seen.out) == (code, "")
    assert seen.err.count("\n") == 1
    assert says in seen.err
