"""What is wrong with places, runs and data: every time exit code 2 and one line that names it."""

import gzip
import io
import json
import os
import shutil

import pandas as pd
import pytest

from optbench.store.lock import locked
from tests.cli.command import meta, optbench, run, suite

NETWORK = "[[problem]]\nname = 'mnist-mlp'\n[[optimizer]]\nname = 'sgd'\n"

# Where results go.


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("file", "cannot write results to 'file': File exists; free it or choose another --out"),
        ("file/below", "cannot write results to 'file/below': Not a directory"),
        ("o" * 300, "File name too long"),
        ("link", "cannot write results to 'link': "),
    ],
    ids=["file", "below a file", "long", "broken link"],
)
def test_places_for_results(tmp_path, out, says):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere/at/all")
    assert says in optbench("run", "quadratic-1d", "--out", out, cwd=tmp_path).message
    assert (tmp_path / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "link"}


# Figures and tables.

FIGURES = [
    ("plot|--kind|", "unknown kind ''; known are auto, trajectory, surface, field"),
    ("plot|--kind|los", "unknown kind 'los'; did you mean 'loss'?"),
    ("plot|--format|", "unknown format ''; known are png, svg, pdf"),
    ("plot|--format|gif", "unknown format 'gif'"),
    ("plot|--smooth|0", "smooth must be an odd number of rows"),
    ("plot|--smooth|2", "smooth must be an odd number of rows"),
    ("plot|--smooth|-1", "smooth must be an odd number of rows"),
    ("plot|--smooth|x", "invalid value for '--smooth'"),
    ("plot|--ylim|", "--ylim '' is malformed; write two numbers, as 0,1"),
    ("plot|--ylim|1", "--ylim '1' is malformed"),
    ("plot|--ylim|0,1,2", "--ylim '0,1,2' is malformed"),
    ("plot|--ylim|a,b", "--ylim 'a,b' is malformed"),
    ("plot|--ylim|1,0", "ylim must be two numbers, the smaller first; got 1, 0"),
    ("plot|--ylim|0,0", "ylim must be two numbers, the smaller first"),
    ("plot|--ylim|0,nan", "ylim must be two numbers"),
    ("plot|--ylim|0,inf", "ylim must be two numbers"),
    ("plot|--ylim|0,1e400", "ylim must be two numbers"),
    ("plot|--ylim|0,1|--log", "a logarithmic axis needs a ylim above 0"),
    ("plot|--x|", "x = '' must be iteration, epoch or seconds"),
    ("plot|--x|years", "x = 'years' must be iteration, epoch or seconds"),
    ("plot|--x|epoch|--kind|loss", "'anisotropic' has no epochs"),
    ("plot|--kind|sensitivity", "what fits: trajectory, surface, field, loss"),
    ("plot|--out|", "invalid value for '--out': it is empty; write . for this folder"),
    ("plot|--save|", "invalid value for '--save': it is empty"),
    ("plot|--animate|", "invalid value for '--animate': it is empty"),
    ("plot|--save|file", "cannot write results to 'file/"),
    (
        "plot|anisotropic-again|--kind|loss|--save|file/figure.png",
        "cannot write results to 'file/figure.png'",
    ),
    (f"plot|--kind|loss|--out|{'o' * 300}", "cannot be searched for runs: File name too long"),
    ("show|--format|", "unknown format ''; known are table, md, latex, csv, json"),
    ("show|--format|jsn", "unknown format 'jsn'; did you mean 'json'?"),
    ("show|--out|file", "there are no runs under 'file'"),
    ("show|--out|nowhere", "there are no runs under 'nowhere'; make one with: optbench run"),
    ("show|x|--out|nowhere", "there is no run 'x': 'nowhere' holds none; see optbench run"),
    ("show|", "there is no run ''"),
    ("show|.", "there is no run '.'"),
    ("show|..", "there is no run '..'"),
    ("show|results", "there is no run 'results'"),
    ("show|/", "there is no run '/'"),
    ("show|*", "there is no run '*'"),
    ("show|file", "there is no run 'file'"),
    ("show|run.json", "there is no run 'run.json'"),
    ("show|results/run.json", "there is no run 'results/run.json'"),
    ("show|anis", "'anis' means 2 runs: "),
    ("show|latest|nowhere", "there is no run 'nowhere'"),
    ("show|nul\0", "there is no run 'nul"),
    ("show|\udcff", "there is no run"),
    (f"show|{'r' * 5000}", "there is no run 'rrr"),
]
"""A command and its arguments, in a folder with two runs of ``anisotropic``."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("made")
    first = run("anisotropic", "--iterations", 2, cwd=cwd)
    shutil.copytree(first, first.parent / "anisotropic-again")
    (cwd / "file").write_text("mine")
    return cwd


@pytest.mark.parametrize(("arguments", "says"), FIGURES, ids=lambda text: ascii(text)[:60])
def test_figures_and_tables(made, arguments, says):
    before = {path: path.is_file() and path.read_bytes() for path in made.rglob("*")}
    assert says in optbench(*arguments.split("|"), cwd=made).message
    assert {path: path.is_file() and path.read_bytes() for path in made.rglob("*")} == before


# Damaged runs.


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "-O", "a/b/pairs.csv"),
        ("target", "-O", "a/b/steps.csv"),
        ("export", "-O", "a/b/trace.csv"),
        ("plot", "anisotropic-again", "--kind", "loss", "--save", "a/b/loss.svg"),
        ("plot", "anisotropic-again", "--animate", "a/b/race.gif"),
        ("pack", "latest", "a/b/run.zip"),
        ("new", "optimizer", "a/b/mine.py"),
        ("new", "problem", "a/b/mine.py"),
    ],
    ids=" ".join,
)
def test_folders_of_files_that_are_written_are_made(made, tmp_path, command):
    *words, file = command
    out = () if "new" in command else ("--out", made / "results")
    assert optbench(*words, tmp_path / file, *out, cwd=tmp_path).code == 0
    assert (tmp_path / file).is_file()
    (tmp_path / "file").write_text("mine")
    below = tmp_path / "file" / file
    assert str(below) in optbench(*words, below, *out, cwd=tmp_path).message
    assert (tmp_path / "file").read_text() == "mine"


def whole(text):
    return lambda path: (path / "run.json").write_text(text)


def changed(*where, to):
    """Set something in run.json."""

    def change(path):
        about = meta(path)
        part = about
        for step in where[:-1]:
            part = part[step]
        part[where[-1]] = to
        (path / "run.json").write_text(json.dumps(about))

    return change


def without(*where):
    """Take something out of run.json."""

    def change(path):
        about = meta(path)
        part = about
        for step in where[:-1]:
            part = part[step]
        del part[where[-1]]
        (path / "run.json").write_text(json.dumps(about))

    return change


def text_instead(name):
    return lambda path: (path / name).write_text("hello")


def half(name):
    return lambda path: (path / name).write_bytes((path / name).read_bytes()[:300])


def gone(name):
    return lambda path: (path / name).unlink()


def folder_instead(name):
    def change(path):
        (path / name).unlink()
        (path / name).mkdir()

    return change


def table(name, change):
    return lambda path: change(pd.read_parquet(path / name)).to_parquet(path / name)


def column(name, column_, value):
    return table(name, lambda rows: rows.assign(**{column_: value}))


def no_column(name, column_):
    return table(name, lambda rows: rows.drop(columns=column_))


TRACE = "trace/block-00000.parquet"
FIRST = ("problems", 0)

DAMAGES = [
    (whole(""), "run.json' cannot be read"),
    (whole("hello"), "run.json' cannot be read"),
    (whole("[" * 100_000), "run.json' cannot be read"),
    (whole(f'{{"schema_version": {"9" * 5000}}}'), "run.json' cannot be read"),
    (half("run.json"), "run.json' cannot be read"),
    (folder_instead("run.json"), "run.json' cannot be read"),
    (gone("run.json"), "there is no run 'damaged'"),
    (whole("[]"), "run.json' was not written by optbench: it has no schema_version"),
    (whole("{}"), "it has no schema_version"),
    (changed("schema_version", to="1"), "it has no schema_version"),
    (changed("schema_version", to=99), "has schema_version 99, this optbench reads up to 3"),
    (whole('{"schema_version": 1}'), "run.json' is damaged: started: it is missing"),
    (without("suite"), "run.json' is damaged: suite: it is missing"),
    (without("suite", "name"), "is damaged: suite.name: it is missing"),
    (without("status"), "is damaged: status: it is missing"),
    (without("problems"), "is damaged: problems: it is missing"),
    (without(*FIRST, "kind"), "is damaged: problems.0: its 'kind' is missing"),
    (without(*FIRST, "variables"), "is damaged: problems.0.function.variables: it is missing"),
    (without(*FIRST, "minima"), "minima: it is missing"),
    (without(*FIRST, "plot"), "plot: it is missing"),
    (without(*FIRST, "plot", "domain"), "plot.domain: it is missing"),
    (without(*FIRST, "batch_size"), "batch_size: it is missing"),
    (changed("suite", to=[]), "is damaged: suite: it must be a table, not []"),
    (changed("problems", to={}), "is damaged: problems: it must be a list"),
    (changed("problems", to=[3]), "is damaged: problems.0: it must be a table, not 3"),
    (changed("problems", to=[]), "no problem 'anisotropic'"),
    (
        changed(*FIRST, "kind", to="dream"),
        "is damaged: problems.0: its 'kind' must be one of 'function', 'network', not 'dream'",
    ),
    (changed(*FIRST, "problem", to="other"), "this run has no problem 'anisotropic'"),
    (changed(*FIRST, "variables", to=["x"]), "minima or domain do not fit 1 variables"),
    (changed(*FIRST, "plot", "domain", to=[]), "minima or domain do not fit 2 variables"),
    (
        changed(*FIRST, "plot", "domain", to=[[0, 1], [0]]),
        "domain.1: it must be at least 2 long, not [0]",
    ),
    (changed(*FIRST, "plot", "levels", to=["a"]), "levels.0: it must be a number"),
    (changed(*FIRST, "minima", to=[{"position": [0, float("nan")], "value": 0}]), "finite"),
    (gone("lanes.parquet"), "lanes.parquet' is missing or damaged"),
    (text_instead("lanes.parquet"), "lanes.parquet' is missing or damaged"),
    (half("lanes.parquet"), "lanes.parquet' is missing or damaged"),
    (folder_instead("lanes.parquet"), "lanes.parquet' is missing or damaged"),
    (no_column("lanes.parquet", "status"), "lanes.parquet' is missing or damaged"),
    (column("lanes.parquet", "final_loss", "x"), "lanes.parquet' is missing or damaged"),
    (
        column("lanes.parquet", "label", None),
        "lanes.parquet' is missing or damaged: column 'label'",
    ),
    (column("lanes.parquet", "problem", "other"), "no problem 'other'"),
    (table("lanes.parquet", lambda rows: rows.iloc[:0]), "it holds no lanes"),
    (text_instead(TRACE), "block-00000.parquet' is missing or damaged"),
    (half(TRACE), "block-00000.parquet' is missing or damaged"),
    (no_column(TRACE, "loss"), "block-00000.parquet' is missing or damaged"),
    (column(TRACE, "loss", "x"), "block-00000.parquet' is missing or damaged"),
    (column(TRACE, "x", "x"), "block-00000.parquet' is missing or damaged"),
    (column(TRACE, "lane", 0.5), "block-00000.parquet' is missing or damaged"),
    (column(TRACE, "lane", None), "block-00000.parquet' is missing or damaged"),
    (
        lambda path: [
            pd.read_parquet(path / TRACE).assign(novelty=value).to_parquet(path / "trace" / name)
            for name, value in (("block-00001.parquet", "x"), ("block-00000.parquet", 1.5))
        ],
        "trace' is missing or damaged",
    ),
    (text_instead("trace/more.parquet"), "more.parquet' is missing or damaged"),
    (text_instead("surface/problem-00000.parquet"), "problem-00000.parquet' is missing or damaged"),
]
"""What happened to a run, and what is said of it."""


@pytest.mark.parametrize(("damage", "says"), DAMAGES, ids=[says for _, says in DAMAGES])
def test_damaged_runs(made, tmp_path, damage, says):
    path = tmp_path / "results" / "damaged"
    shutil.copytree(made / "results" / "anisotropic-again", path)
    damage(path)
    for command in (["show"], ["show", "--format", "json"], ["plot"], ["plot", "--kind", "loss"]):
        assert says in optbench(*command, "damaged", cwd=tmp_path).message
    assert optbench("list", "runs", cwd=tmp_path).code == 0


def test_a_damaged_run_is_not_in_the_way_of_others(made, tmp_path):
    shutil.copytree(made / "results", tmp_path / "results")
    (tmp_path / "results" / "anisotropic-again" / "run.json").write_text("{")
    seen = optbench("show", "--format", "csv", cwd=tmp_path)
    assert (seen.code, seen.err, len(seen.out.splitlines())) == (0, "", 5)
    assert "damaged" in optbench("list", "runs", cwd=tmp_path).out


def test_a_run_without_rows_yet_shows_what_there_is(made, tmp_path):
    """As it looks while a run goes on, or after it was killed."""
    path = tmp_path / "results" / "killed"
    shutil.copytree(made / "results" / "anisotropic-again", path)
    shutil.rmtree(path / "trace")
    changed("status", to="running")(path)
    column("lanes.parquet", "status", "running")(path)
    column("lanes.parquet", "final_loss", None)(path)
    assert optbench("show", cwd=tmp_path).out.count("interrupted") == 4
    with locked(path):
        assert optbench("show", cwd=tmp_path).out.count("running") == 4
    for kind in ("auto", "trajectory", "loss"):
        message = optbench("plot", "--kind", kind, cwd=tmp_path).message
        assert message == f"none of these runs can be drawn as {kind}; what fits: surface, field"
    assert optbench("plot", "--kind", "surface", cwd=tmp_path).path.is_file()


def test_columns_and_keys_of_a_later_optbench_are_ignored(made, tmp_path):
    path = tmp_path / "results" / "later"
    shutil.copytree(made / "results" / "anisotropic-again", path)
    changed("novelty", to=[1])(path)
    changed(*FIRST, "novelty", to=[1])(path)
    column("lanes.parquet", "novelty", "x")(path)
    column(TRACE, "novelty", "x")(path)
    assert optbench("show", cwd=tmp_path).code == 0
    assert optbench("plot", "--kind", "loss", cwd=tmp_path).code == 0


# Damaged data.

MNIST = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
EVIL = b"cos\nsystem\n(S'true'\ntR."


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({MNIST[0]: b""}, "holds only a part of mnist"),
        (dict.fromkeys(MNIST, b""), f"{MNIST[0]}: truncated: 0 bytes"),
        (dict.fromkeys(MNIST, b"hello, this is text"), MNIST[0]),
        ({f"{name}.gz": b"hello" for name in MNIST}, f"{MNIST[0]}.gz: its gzip compression"),
        ({f"{name}.gz": gzip.compress(b"hello") for name in MNIST}, f"{MNIST[0]}.gz: truncated"),
        ({"mnist.pkl.gz": b"hello"}, "mnist.pkl.gz: "),
        ({"mnist.pkl.gz": gzip.compress(b"hello")}, "mnist.pkl.gz: "),
        ({"mnist.pkl.gz": gzip.compress(EVIL)}, "mnist.pkl.gz: refused, its pickle asks for "),
    ],
    ids=["part", "empty", "text", "no gzip", "text in gzip", "no pickle", "bad pickle", "evil"],
)
def test_damaged_data(tmp_path, files, says):
    data = tmp_path / "data"
    data.mkdir()
    for name, content in files.items():
        (data / name).write_bytes(content)
    for extra, where in (([], data), (["--data", "mnist"], data), (["--data-dir", data], None)):
        message = optbench("run", "mnist-mlp", *extra, cwd=tmp_path, data_dir=where).message
        assert says in message
        assert str(data) in message
    assert list(tmp_path.iterdir()) == [data]


def test_a_data_dir_counts_even_where_another_is_named(tmp_path):
    (tmp_path / "good").mkdir()
    name = suite(tmp_path, NETWORK)
    arguments = ("run", name, "--data-dir", tmp_path / "bad")
    message = optbench(*arguments, cwd=tmp_path, data_dir=tmp_path / "good").message
    assert f"{tmp_path / 'bad'} is not a folder" in message


def test_folders_and_files_whose_names_are_no_text(tmp_path):
    odd = os.fsdecode(b"r\xff")
    path = run("quadratic-1d", "--iterations", 2, "--out", odd, cwd=tmp_path)
    for command in ("show", "list runs", "export", "plot", "baseline save latest"):
        assert optbench(*command.split(), "--out", odd, cwd=tmp_path).code == 0, command
    table = optbench("export", path.name, "--out", odd, "-O", f"{odd}.parquet", cwd=tmp_path)
    assert (
        table.code,
        len(pd.read_parquet(io.BytesIO((tmp_path / f"{odd}.parquet").read_bytes()))),
    ) == (0, 3)
    assert optbench("new", "optimizer", f"{odd}.py", cwd=tmp_path).code == 0
    assert optbench("new", "problem", f"{odd}p.py", cwd=tmp_path).code == 0
    spec = ("--problem", f"{odd}p.py:Valley", "-o", f"{odd}.py:Tempered", "--iterations", 2)
    mine = run(*spec, cwd=tmp_path)
    assert pd.read_parquet(mine / "lanes.parquet")["optimizer"].tolist() == ["r\\udcff.py:Tempered"]
    run(mine / "run.json", cwd=tmp_path)
