"""``optbench export --to``: what is refused, and where lanes for trackers and IOHanalyzer go.

No tracker is installed here: what their files hold is read back in tests/parity.
"""

import csv
import io
import shutil
from importlib.machinery import ModuleSpec

import pytest

import optbench as api
from optbench.report import trackers
from tests.cli.command import lanes, optbench, run, trace

TENSORBOARD = "optbench.report.trackers.tensorboard.write"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a sweep, one of whose lanes diverges."""
    cwd = tmp_path_factory.mktemp("made")
    run("anisotropic", "--iterations", 7, "--name", "sweep", "--grid", "sgd.lr=0.1,1e200", cwd=cwd)
    return cwd


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A folder with a copy of it, where TensorBoard is found and writes the titles of lanes."""
    shutil.copytree(made / "results", tmp_path / "results")
    monkeypatch.setattr(trackers, "find_spec", lambda name: ModuleSpec(name, None, origin=name))

    def write(lanes, folder, place):
        (folder / "lanes").write_text("".join(f"{lane.title}\n" for lane in lanes))

    monkeypatch.setattr(TENSORBOARD, write)
    return tmp_path


BEST = "momentum seed 0\nadagrad seed 0\nadam seed 0\n"

NOTE = "note: 4 of the 5 lanes of {}: each label's best configuration; --lanes all takes all\n"


def path_of(cwd):
    return next(cwd.glob("results/sweep-*"))


def exported(cwd, *arguments):
    """Export for TensorBoard; return the path that is printed and the titles in its folder."""
    seen = optbench("export", *arguments, "--to", "tensorboard", cwd=cwd)
    assert seen.code == 0, seen
    return seen.path, (seen.path / "lanes").read_text()


# Where lanes go.


def test_a_run_gets_a_folder_named_as_the_tracker_and_what_is_left_out_is_said(here):
    seen = optbench("export", "--to", "tensorboard", cwd=here)
    assert seen.path == path_of(here) / "tensorboard"
    assert seen.err == NOTE.format(path_of(here).name)
    assert (seen.path / "lanes").read_text() == f"sgd seed 0\n{BEST}"
    assert {each.name for each in seen.path.iterdir()} == {"lanes", ".optbench-export"}
    assert not list(path_of(here).glob(".*.part"))


@pytest.mark.parametrize(
    ("chosen", "titles"),
    [
        ("all", f"sgd lr=0.1 seed 0\nsgd lr=1e+200 seed 0\n{BEST}"),
        ("1,3-4", "sgd seed 0\nadagrad seed 0\nadam seed 0\n"),
    ],
)
def test_lanes_are_chosen(here, chosen, titles):
    seen = optbench("export", "--to", "tensorboard", "--lanes", chosen, "-O", "logs", cwd=here)
    assert (seen.code, seen.err, seen.out) == (0, "", "logs\n")
    assert (here / "logs" / "lanes").read_text() == titles


def test_the_folder_of_a_pack_lies_beside_it(here):
    optbench("pack", "sweep", "packed.zip", cwd=here)
    path, titles = exported(here, "packed.zip")
    assert path == here / "packed-tensorboard"
    assert titles == f"sgd seed 0\n{BEST}"


def test_several_runs_get_a_folder_each_or_share_the_one_that_is_named(here):
    shutil.copytree(path_of(here), here / "results" / "other")
    seen = optbench("export", "sweep", "other", "--to", "tensorboard", cwd=here)
    assert seen.paths == [
        path_of(here) / "tensorboard",
        here / "results" / "other" / "tensorboard",
    ]
    path, titles = exported(here, "sweep", "other", "-O", "new/logs")
    assert path == here / "new" / "logs"
    assert titles == 2 * f"sgd seed 0\n{BEST}"


def test_an_export_is_overwritten_only_by_force(here):
    path, _ = exported(here)
    message = optbench("export", "--to", "tensorboard", cwd=here).message
    assert message.endswith("tensorboard' already exists; give --force, or another name")
    (path / "lanes").unlink()
    assert exported(here, "--force", "--lanes", "4") == (path, "adam seed 0\n")


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_folder_that_is_no_export_is_left_alone(here, force):
    (here / "mine").mkdir()
    (here / "mine" / "thesis.tex").write_text("mine")
    (here / "file").write_text("mine")
    for place, says in (
        ("mine", "'mine' holds other files; give another name"),
        ("file", "'file' exists and is not a folder; give another name"),
        ("file/logs", "cannot write results to 'file/logs': Not a directory; "),
    ):
        command = ("export", "--to", "tensorboard", "-O", place, *force)
        assert optbench(*command, cwd=here).message.startswith(says)
    assert (here / "mine" / "thesis.tex").read_text() == (here / "file").read_text() == "mine"
    (here / "empty").mkdir()
    assert exported(here, "-O", "empty", *force)[0] == here / "empty"


def test_a_folder_is_whole_or_not_there(here, monkeypatch):
    path, titles = exported(here, "-O", "logs")

    def write(lanes, folder, place):
        (folder / "half").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(TENSORBOARD, write)
    for name in ("logs", "new"):
        message = optbench(
            *("export", "--to", "tensorboard", "-O", name, "--force", "--lanes", "all"), cwd=here
        ).message
        assert message == (
            f"cannot write results to '{name}': No space left on device; "
            "free it or choose another name"
        )
    assert (path / "lanes").read_text() == titles
    assert {each.name for each in here.iterdir()} == {"logs", "results"}


def test_what_a_killed_export_left_is_removed(here):
    left = here / ".logs.part"
    left.mkdir()
    (left / "half").write_text("half")
    exported(here, "-O", "logs")
    assert {each.name for each in (here / "logs").iterdir()} == {"lanes", ".optbench-export"}
    assert not left.exists()


def test_from_python(here, monkeypatch):
    monkeypatch.chdir(here)
    rows = api.export(to="tensorboard", lanes=[1, 4])
    assert rows["label"].tolist() == ["sgd", "adam"]
    assert (path_of(here) / "tensorboard" / "lanes").read_text() == "sgd seed 0\nadam seed 0\n"
    rows = api.export(to="iohanalyzer", lanes="4")
    assert rows["value"].tolist() == trace(path_of(here)).query("lane == 4")["loss"].tolist()
    with pytest.raises(api.UsageError, match="lanes belongs to to; give both"):
        api.export(lanes="all")


# What is refused.


@pytest.mark.parametrize(
    ("tracker", "library"),
    [("tensorboard", "tensorboard"), ("wandb", "wandb"), ("mlflow", "mlflow")],
)
def test_a_library_that_is_not_installed(made, monkeypatch, tracker, library):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert optbench("export", "--to", tracker, cwd=made).message == (
        f"--to {tracker} needs {library}, which is not installed; pip install 'optbench[{tracker}]'"
    )


def test_a_folder_with_the_name_of_a_library_is_none(made, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(trackers, "LIBRARIES", {"wandb": ("wandb_of_nobody",)})
    (tmp_path / "wandb_of_nobody").mkdir()
    assert "not installed" in optbench("export", "--to", "wandb", cwd=made).message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--to|", "unknown tracker ''; known are tensorboard, wandb, mlflow, iohanalyzer"),
        ("--to|tensorbord", "unknown tracker 'tensorbord'; did you mean 'tensorboard'?"),
        ("--to|wandb|--table|trace", "--table is for tables, and --to wandb writes none"),
        ("--to|iohanalyzer|--format|csv", "--format is for tables, and --to iohanalyzer writes"),
        ("--to|tensorboard|--lanes|few", "--lanes 'few' is none of best, all and numbers, as 0-9"),
        ("--to|tensorboard|--lanes|", "--lanes '' is none of best, all and numbers"),
        ("--to|tensorboard|--lanes|3-5", "has no lanes 3-5; its lanes are numbered 0 to 4"),
        ("--to|iohanalyzer|--force", "--force belongs to --output; give both"),
        ("--to|iohanalyzer|-O|results", "'results' exists and is not a file"),
        ("--to|iohanalyzer|-O|mine.csv", "'mine.csv' already exists; give --force, or another"),
        ("--lanes|all", "--lanes belongs to --to; give both"),
        ("nope|--to|tensorboard", "there is no run 'nope'"),
    ],
)
def test_what_cannot_be_meant(here, arguments, says):
    (here / "mine.csv").write_text("mine")
    before = sorted(here.rglob("*"))
    assert says in optbench("export", *arguments.split("|"), cwd=here).message
    assert sorted(here.rglob("*")) == before


# IOHanalyzer.


def test_the_csv_for_iohanalyzer(made, tmp_path):
    path = path_of(made)
    seen = optbench("export", "--to", "iohanalyzer", "--lanes", "all", cwd=made)
    assert (seen.code, seen.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(seen.out)))
    own = trace(path).query("abs(loss) < inf").merge(lanes(path), on="lane")
    assert [(int(row["run"]), int(row["evaluation"]), float(row["value"])) for row in rows] == [
        (row.lane, row.iteration + 1, row.loss) for row in own.itertuples()
    ]
    assert {(row["function"], row["dimension"]) for row in rows} == {("anisotropic", "2")}
    assert {row["algorithm"] for row in rows} == {
        *("sgd lr=0.1", "sgd lr=1e+200", "momentum", "adagrad", "adam")
    }
    file = tmp_path / "rows.csv"
    arguments = ("export", "--to", "iohanalyzer", "--lanes", "all", "-O", file)
    assert optbench(*arguments, cwd=made).out == f"{file}\n"
    assert file.read_text() == seen.out
