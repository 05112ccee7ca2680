"""What users get wrong: every time exit code 2 and one line that says what is wrong.

Where a run was to begin, nothing is left in results/.
"""

from __future__ import annotations

import gzip
import json
import shutil

import pandas as pd
import pytest

from tests.cli.command import meta, optbench, run, suite

MANY_NINES = "9" * 5000
P = "[[problem]]\nname = 'anisotropic'\n"
N = "[[problem]]\nname = 'mnist-mlp'\n"
S = "[[optimizer]]\nname = 'sgd'\n"
A = "[[optimizer]]\nname = 'adam'\n"

FLAGS = [
    ("", "unknown suite ''"),
    (".", "unknown suite '.'"),
    ("/", "unknown suite '/'"),
    ("anisotropc", "did you mean 'anisotropic'?"),
    ("anisotropic\n", "did you mean 'anisotropic'?"),
    ("\udcff", "unknown suite"),
    ("a" * 5000, "unknown suite"),
    ("a" * 5000 + ".toml", "File name too long"),
    ("nul\0.toml", "cannot be read"),
    ("nowhere.toml", "there is no suite file 'nowhere.toml'"),
    ("nowhere.json", "there is no suite file 'nowhere.json'"),
    ("anisotropic|-o", "option '-o' requires an argument"),
    ("anisotropic|-o|", "unknown optimizer ''"),
    ("anisotropic|-o|*", "unknown optimizer '*'"),
    ("anisotropic|-o|Adam", "did you mean 'adam'?"),
    ("anisotropic|-o|sgd|--set|adam.lr=1", "there is no optimizer 'adam'"),
    ("anisotropic|--set|", "malformed; write TARGET.key=value"),
    ("anisotropic|--set|adam.lr", "malformed; write TARGET.key=value"),
    ("anisotropic|--set|adam.lr=", "malformed; write TARGET.key=value"),
    ("anisotropic|--set|.lr=1", "malformed; write TARGET.key=value"),
    ("anisotropic|--set|adam.lr=fast", "lr = 'fast' is not a number"),
    ("anisotropic|--set|adam.lr=true", "lr = True is not a number"),
    ("anisotropic|--set|adam.lr=nan", "lr = nan is out of range"),
    ("anisotropic|--set|adam.lr=inf", "lr = inf is out of range"),
    ("anisotropic|--set|adam.lr=-1", "lr = -1 is out of range; it takes a number in [0, ∞)"),
    ("anisotropic|--set|adam.lr=1e400", "lr = inf is out of range"),
    (f"anisotropic|--set|adam.lr={'9' * 400}", "is out of range"),
    (f"anisotropic|--set|adam.lr={MANY_NINES}", "is not a number"),
    (f"anisotropic|--set|adam.lr={'[' * 5000}", "is not a number"),
    ("anisotropic|--set|adam.lr=1\nbeta1=0", "is not a number"),
    ("anisotropic|--set|adam.lr=[1, 2]", "is not a number"),
    ("anisotropic|--set|adam.lr={a = 1}", "is not a number"),
    ("anisotropic|--set|adam.lr=2026-01-01", "is not a number"),
    ("anisotropic|--set|adam.beta1=1", "beta1 = 1 is out of range; it takes a number in [0, 1)"),
    ("anisotropic|--set|adam.beta=0.5", "adam has no hyperparameter 'beta'; did you mean 'beta"),
    ("anisotropic|--set|adam.name=sgd", "'name' is no hyperparameter"),
    ("anisotropic|--set|adam.label=x", "'label' is no hyperparameter"),
    ("anisotropic|--set|adam.grid=x", "'grid' is no hyperparameter"),
    ("anisotropic|--set|adam.__class__=1", "adam has no hyperparameter '__class__'"),
    ("anisotropic|--set|adam.model_config=1", "adam has no hyperparameter 'model_config'"),
    ("anisotropic|--set|*.foo=1", "no optimizer has a hyperparameter 'foo'"),
    ("anisotropic|--set|adm.lr=1", "did you mean 'adam'?"),
    ("anisotropic|--set|\udcff.lr=1", "there is no optimizer"),
    ("anisotropic|--grid|adam.lr=", "malformed; write TARGET.key=value"),
    ("anisotropic|--grid|adam.lr=,", "grid ',' is malformed"),
    ("anisotropic|--grid|adam.lr=1,1.0", "holds a value twice"),
    ("anisotropic|--grid|adam.lr=1:2", "grid '1:2' is malformed"),
    ("anisotropic|--grid|adam.lr=1:2:3:4", "is malformed"),
    ("anisotropic|--grid|adam.lr=1:2:1", "asks for 1 values"),
    ("anisotropic|--grid|adam.lr=1:2:2.5", "asks for 2.5 values"),
    ("anisotropic|--grid|adam.lr=1:2:1000000", "asks for 1000000 values"),
    (f"anisotropic|--grid|adam.lr=1:2:{MANY_NINES}", "is malformed"),
    ("anisotropic|--grid|adam.lr=2:1:3", "must rise from a positive value"),
    ("anisotropic|--grid|adam.lr=0:1:3", "must rise from a positive value"),
    ("anisotropic|--grid|adam.lr=-1:1:3", "must rise from a positive value"),
    ("anisotropic|--grid|adam.lr=1:inf:3", "is malformed"),
    ("anisotropic|--grid|adam.lr=nan:1:3", "is malformed"),
    ("anisotropic|--grid|adam.lr=1e-320:1e300:3", "is malformed"),
    ("anisotropic|--grid|adam.lr=1,-1", "lr = -1.0 is out of range"),
    ("anisotropic|--grid|adam.name=1,2", "adam has no hyperparameter 'name'"),
    (
        "anisotropic|--grid|adam.lr=1:2:100000|--grid|adam.eps=1:2:100000",
        "its grids and seeds make 10000000003 lanes; a run takes at most 1000000",
    ),
    ("anisotropic|--grid|*.lr=1:2:1000|--seeds|1000", "make 4000000 lanes"),
    ("anisotropic|--seeds|0", "at least 1 seed is needed"),
    ("anisotropic|--seeds|-1", "at least 1 seed is needed"),
    ("anisotropic|--seeds|1000000000000", "it takes at most 1000000"),
    ("anisotropic|--seeds|1.5", "invalid value for '--seeds'"),
    ("anisotropic|--seeds|", "invalid value for '--seeds'"),
    ("anisotropic|--seed|", "seeds '' are malformed"),
    ("anisotropic|--seed|1,1", "seeds '1,1' are malformed"),
    ("anisotropic|--seed|-1", "are malformed"),
    ("anisotropic|--seed|1.5", "are malformed"),
    (f"anisotropic|--seed|1{'0' * 30}", "are malformed"),
    (f"anisotropic|--seed|{MANY_NINES}", "are malformed"),
    ("anisotropic|--seeds|1|--seed|1", "exclude each other"),
    ("anisotropic|--iterations|0", "at least 1 is needed"),
    ("anisotropic|--iterations|-5", "at least 1 is needed"),
    ("anisotropic|--iterations|ten", "invalid value for '--iterations'"),
    ("anisotropic|--iterations|1000000000000", "iterations are too many; at most 2147483647"),
    ("anisotropic|--epochs|1", "--epochs means nothing to anisotropic"),
    ("mnist-mlp|--epochs|0", "at least 1 is needed"),
    ("mnist-mlp|--epochs|1000000000000", "iterations are too many"),
    ("mnist-mlp|--epochs|1|--iterations|1", "exclude each other"),
    ("mnist-mlp|--batch-size|0", "batch_size = 0; it takes a whole number of at least 1"),
    ("mnist-mlp|--batch-size|-1", "batch_size = -1"),
    ("mnist-mlp|--batch-size|3501", "batch_size = 3501 is larger than the data; mnist-5k has 3500"),
    (f"mnist-mlp|--batch-size|1{'0' * 30}", "is larger than the data"),
    ("anisotropic|--batch-size|1", "--batch-size means nothing to anisotropic"),
    ("anisotropic|--dtype|", "dtype = '' is not known; it takes float32, float64"),
    ("anisotropic|--dtype|float16", "dtype = 'float16' is not known"),
    ("anisotropic|--data|mnist", "--data means nothing to anisotropic"),
    ("mnist-mlp|--data|", "data = '' is not known; it takes auto, mnist, mnist-5k"),
    ("mnist-mlp|--data|mnist", "mnist is not in the cache"),
    ("mnist-mlp|--data-dir|/nowhere", "/nowhere is not a folder"),
    ("mnist-mlp|--data-dir|", "holds no mnist"),
    ("anisotropic|--device|", "unknown device ''"),
    ("anisotropic|--device|tpu", "unknown device 'tpu'"),
    ("anisotropic|--name|", "'' names no folder"),
    ("anisotropic|--name|..", "'..' names no folder"),
    ("anisotropic|--name|a/b", "'a/b' names no folder"),
    ("anisotropic|--name|a b", "'a b' names no folder"),
    ("anisotropic|--name|a\n", "names no folder"),
    ("anisotropic|--name|é", "'é' names no folder"),
    (f"anisotropic|--name|{'n' * 300}", "it has 300 characters; use at most 200"),
    ("--name|x", "--name takes one suite, not 2"),
]
"""Arguments of ``run``, with bars between them, and what is said of them."""


@pytest.mark.parametrize(("arguments", "says"), FLAGS, ids=lambda text: ascii(text)[:60])
def test_flags_of_run(tmp_path, arguments, says):
    assert says in optbench("run", *arguments.split("|"), cwd=tmp_path).message
    assert list(tmp_path.iterdir()) == []


SUITES = [
    ("", "it has no problem; add a [[problem]] with a name"),
    (b"\xff\xfe\x00\x01", "cannot be read"),
    ("name = 'x'".encode("utf-16"), "cannot be read"),
    (b"name = 'x'\x00", "(at line 1, column 11)"),
    ("\n\nname = ", "invalid value (at line 3, the end)"),
    ("name = 'x\r\n", "(at line 1"),
    ("name = 'a'\nname = 'b'", "cannot overwrite a value (at line 2"),
    ("[a]\n[a]", "cannot declare ('a',) twice (at line 2, column 3)"),
    ("[[problem]\n", "expected ']]' at the end of an array declaration (at line 1, column 10)"),
    ("name = " + "[" * 3000, "nested too deep"),
    ("a = " + "{a = " * 2000, "nested too deep"),
    (f"seeds = {MANY_NINES}", "limit"),
    (S, "it has no problem"),
    (P, "it has no optimizer; add an [[optimizer]] with a name"),
    ("[[problem]]\n" + S, "problem 1 name is missing"),
    (P + "[[optimizer]]\n", "optimizer 1 name is missing"),
    (P.replace("[[", "[").replace("]]", "]") + S, "under [[problem]]"),
    (P + S.replace("[[", "[").replace("]]", "]"), "under [[optimizer]]"),
    ("problem = 'anisotropic'", "under [[problem]]"),
    ("problem = ['anisotropic']", "under [[problem]]"),
    ("problem = 1", "under [[problem]]"),
    ("problem = [{name = 'anisotropic'}, 3]", "under [[problem]]"),
    ("foo = 1", "unknown key 'foo'; known are name, description, seeds"),
    ("iteration = 3", "unknown key 'iteration'; did you mean 'iterations'?"),
    ("[foo]\na = 1", "unknown key 'foo'"),
    ("model_config = 1", "unknown key 'model_config'"),
    ("name = 1", "name: input should be a valid string"),
    ("name = '..'", "'..' names no folder"),
    (f"name = '{'n' * 300}'", "it has 300 characters; use at most 200"),
    ("description = []", "description: input should be a valid string"),
    ("seeds = 0\n" + P + S, "at least 1 seed is needed"),
    ("seeds = '3'", "seeds: input should be a valid integer"),
    ("seeds = true", "seeds: input should be a valid integer"),
    ("seeds = nan", "seeds: input should be a valid integer"),
    ("seeds = [1, 1]\n" + P + S, "are malformed"),
    ("seeds = [-1]\n" + P + S, "are malformed"),
    ("seeds = [[1]]", "seeds: input should be a valid integer"),
    ("seeds = 1000000000000\n" + P + S, "it takes at most 1000000"),
    ("iterations = 0", "iterations: input should be greater than 0"),
    ("iterations = 1.5", "iterations: input should be a valid integer"),
    ("iterations = 2147483648\n" + P + S, "2147483648 iterations are too many"),
    ("epochs = 1\n" + P + S, "epochs means nothing to anisotropic"),
    ("batch_size = 'x'", "batch_size: input should be a valid integer"),
    ("batch_size = 1\n" + P + S, "batch_size means nothing to anisotropic"),
    ("record = 'never'", "record: input should be 'before' or 'after'"),
    ("[[problem]]\nname = 'ansotropic'\n" + S, "did you mean 'anisotropic'?"),
    (P + "label = ''", "problem 1 label: string should have at least 1 character"),
    (P + "label = 1", "problem 1 label: input should be a valid string"),
    (P + 'label = "a\\nb"', "problem 1 label: 'a\\nb' holds characters that cannot be printed"),
    (P + P + S, "problem: 'anisotropic' stands there twice"),
    (P + "iterations = -1", "problem 1 iterations: input should be greater than 0"),
    (P + "iterations = 1\nepochs = 1\n" + S, "exclude each other"),
    (P + "epochs = 1\n" + S, "anisotropic has no epochs"),
    (P + "dtype = []\n" + S, "dtype = [] is not known"),
    (P + "foo = 1\n" + S, "anisotropic has no option 'foo'"),
    (P + "sgd = 1\n" + S, "anisotropic has no option 'sgd'"),
    (P + "adam.lr = 1\n" + S, "no optimizer 'adam'; known are sgd"),
    (P + "grid.lr = [1]\n" + S, "no optimizer 'grid'"),
    (P + "sgd.foo = 1\n" + S, "sgd has no hyperparameter 'foo'"),
    (P + "sgd.lr = 'x'\n" + S, "lr = 'x' is not a number"),
    (P + "sgd.lr.x = 1\n" + S, "is not a number"),
    (P + "sgd.name = 'adam'\n" + S, "'name' is no hyperparameter"),
    (P + "sgd.grid = 1\n" + S, "'grid' is no hyperparameter"),
    (P + "sgd.grid.lr = 1\n" + S, "grid.lr: grid 1 is malformed"),
    (P + "'*'.foo = 1\n" + S, "sgd has no hyperparameter 'foo'"),
    (N + "batch_size = 1.0\n" + S, "batch_size = 1.0; it takes a whole number"),
    (N + "batch_size = true\n" + S, "batch_size = True; it takes a whole number"),
    (N + "log_eps = nan\n" + S, "log_eps = nan"),
    (N + "log_eps = inf\n" + S, "log_eps = inf"),
    (N + "log_eps = -1\n" + S, "log_eps = -1; it takes a number of at least 0"),
    (N + "data = ['mnist']\n" + S, "data = ['mnist'] is not known"),
    (P + "[[optimizer]]\nname = 'SGD'", "did you mean 'sgd'?"),
    (P + "[[optimizer]]\nname = []", "optimizer 1 name: input should be a valid string"),
    (P + S + S, "optimizer: 'sgd' stands there twice; give one of them another label"),
    (P + S + A + "label = 'sgd'", "optimizer: 'sgd' stands there twice"),
    (P + S + 'label = "\\u001b[31m"', "holds characters that cannot be printed"),
    (P + S + "lr = 'x'", "lr = 'x' is not a number"),
    (P + S + "lr = -1", "lr = -1 is out of range"),
    (P + S + "lr = nan", "lr = nan is out of range"),
    (P + S + f"lr = {'9' * 400}", "is out of range"),
    (P + S + "momentum = 0.9", "sgd has no hyperparameter 'momentum'"),
    (P + S + "x.y = 1", "sgd has no hyperparameter 'x'"),
    (P + S + "grid = 1", "optimizer 1 grid: input should be a valid dictionary"),
    (P + S + "grid = {lr = []}", "sgd: grid.lr: grid [] is malformed"),
    (P + S + "grid = {lr = ['a']}", "grid ['a'] is malformed"),
    (P + S + "grid = {lr = [1, 1]}", "holds a value twice"),
    (P + S + "grid = {lr = [nan]}", "grid [nan] is malformed"),
    (P + S + "grid = {lr = [true]}", "grid [True] is malformed"),
    (P + S + "grid = {foo = [1, 2]}", "sgd has no hyperparameter 'foo'"),
    (P + S + "lr = 1\ngrid.lr = [1, 2]", "lr has a value and a grid; give one of them"),
    (P + A + "grid.lr = '1:2:1000'\ngrid.eps = '1:2:1001'", "make 1001000 lanes"),
]
"""Texts of suite files, and what is said of them."""


@pytest.mark.parametrize(("text", "says"), SUITES, ids=lambda text: ascii(text)[-60:])
def test_suite_files(tmp_path, text, says):
    place = tmp_path / "bad.toml"
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = optbench("run", "bad.toml", cwd=tmp_path).message
    assert says in message
    assert "bad" in message or f"suite '{'n' * 300}'" in message
    assert list(tmp_path.iterdir()) == [place]


@pytest.mark.parametrize("what", ["folder", "loop", "below a file"])
def test_suite_files_that_are_none(tmp_path, what):
    place = tmp_path / "bad.toml"
    if what == "folder":
        place.mkdir()
    elif what == "loop":
        place.symlink_to(place)
    else:
        place.write_text("")
        place = place / "bad.toml"
    message = optbench("run", place, cwd=tmp_path).message
    assert message.startswith(f"suite file '{place}' cannot be read: ")


RESOLVED = {"name": "x", "problem": [{"name": "anisotropic"}], "optimizer": [{"name": "sgd"}]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no run.json of optbench; it has no suite.resolved"),
        ("{", "no run.json of optbench"),
        ("[]", "no run.json of optbench"),
        ("null", "no run.json of optbench"),
        ('{"suite": 1}', "no run.json of optbench"),
        ('{"suite": {"resolved": 1}}', "no run.json of optbench"),
        ("[" * 100_000, "no run.json of optbench"),
        (f'{{"suite": {{"resolved": {{"seeds": {MANY_NINES}}}}}}}', "no run.json of optbench"),
        ('{"suite": {"resolved": {}}}', "it has no problem"),
        ('{"suite": {"resolved": {"name": null}}}', "name: input should be a valid string"),
        ('{"suite": {"resolved": {"name": "\\ud800"}}}', "half of a surrogate pair"),
        (json.dumps({"suite": {"resolved": {**RESOLVED, "seeds": None}}}), "seeds: input should"),
        (
            json.dumps({"suite": {"resolved": {**RESOLVED, "optimizer": [{"name": "new"}]}}}),
            "unknown optimizer 'new'",
        ),
    ],
    ids=lambda text: text[:40],
)
def test_runs_to_be_repeated(tmp_path, text, says):
    place = tmp_path / "bad.json"
    place.write_text(text)
    assert says in optbench("run", "bad.json", cwd=tmp_path).message
    assert list(tmp_path.iterdir()) == [place]


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
    ("plot|--smooth|0", "smooth is an odd number of rows"),
    ("plot|--smooth|2", "smooth is an odd number of rows"),
    ("plot|--smooth|-1", "smooth is an odd number of rows"),
    ("plot|--smooth|x", "invalid value for '--smooth'"),
    ("plot|--ylim|", "--ylim '' is malformed; write two numbers, as 0,1"),
    ("plot|--ylim|1", "--ylim '1' is malformed"),
    ("plot|--ylim|0,1,2", "--ylim '0,1,2' is malformed"),
    ("plot|--ylim|a,b", "--ylim 'a,b' is malformed"),
    ("plot|--ylim|1,0", "ylim is two numbers, the smaller first; got 1, 0"),
    ("plot|--ylim|0,0", "ylim is two numbers, the smaller first"),
    ("plot|--ylim|0,nan", "ylim is two numbers"),
    ("plot|--ylim|0,inf", "ylim is two numbers"),
    ("plot|--ylim|0,1e400", "ylim is two numbers"),
    ("plot|--ylim|0,1|--log", "a logarithmic axis needs a ylim above 0"),
    ("plot|--x|", "x is iteration, epoch or seconds; got ''"),
    ("plot|--x|years", "x is iteration, epoch or seconds; got 'years'"),
    ("plot|--x|epoch|--kind|loss", "'anisotropic' has no epochs"),
    ("plot|--kind|sensitivity", "what fits: trajectory, surface, field, loss"),
    ("plot|--out|file", "cannot write results to 'file/"),
    (
        "plot|anisotropic-again|--kind|loss|--out|file/figure.png",
        "cannot write results to 'file/figure.png'",
    ),
    (f"plot|--kind|loss|--out|{'o' * 300}", "cannot be searched for runs: File name too long"),
    ("show|--format|", "unknown format ''; known are table, md, csv, json"),
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


TRACE = "trace/block-00001.parquet"
FIRST = ("problems", 0)

DAMAGES = [
    (whole(""), "run.json' cannot be read"),
    (whole("hello"), "run.json' cannot be read"),
    (whole("[" * 100_000), "run.json' cannot be read"),
    (whole(f'{{"schema_version": {MANY_NINES}}}'), "run.json' cannot be read"),
    (half("run.json"), "run.json' cannot be read"),
    (folder_instead("run.json"), "run.json' cannot be read"),
    (gone("run.json"), "there is no run 'damaged'"),
    (whole("[]"), "run.json' was not written by optbench: it has no schema_version"),
    (whole("{}"), "it has no schema_version"),
    (changed("schema_version", to="1"), "it has no schema_version"),
    (changed("schema_version", to=99), "has schema_version 99, this optbench reads up to 1"),
    (whole('{"schema_version": 1}'), "run.json' is damaged: started: field required"),
    (without("suite"), "run.json' is damaged: suite: field required"),
    (without("suite", "name"), "is damaged: suite.name: field required"),
    (without("status"), "is damaged: status: field required"),
    (without("problems"), "is damaged: problems: field required"),
    (without(*FIRST, "kind"), "is damaged: problems.0: unable to extract tag"),
    (without(*FIRST, "variables"), "is damaged: problems.0.function.variables: field required"),
    (without(*FIRST, "minima"), "minima: field required"),
    (without(*FIRST, "plot"), "plot: field required"),
    (without(*FIRST, "plot", "domain"), "plot.domain: field required"),
    (without(*FIRST, "batch_size"), "batch_size: field required"),
    (changed("suite", to=[]), "is damaged: suite: input should be"),
    (changed("problems", to={}), "is damaged: problems: input should be a valid list"),
    (changed("problems", to=[3]), "is damaged: problems.0: input should be"),
    (changed("problems", to=[]), "no problem 'anisotropic'"),
    (changed(*FIRST, "kind", to="dream"), "is damaged: problems.0: input tag 'dream'"),
    (changed(*FIRST, "problem", to="other"), "this run has no problem 'anisotropic'"),
    (changed(*FIRST, "variables", to=["x"]), "minima or domain do not fit 1 variables"),
    (changed(*FIRST, "plot", "domain", to=[]), "minima or domain do not fit 2 variables"),
    (changed(*FIRST, "plot", "domain", to=[[0, 1], [0]]), "at least 2 items"),
    (changed(*FIRST, "plot", "levels", to=["a"]), "levels.0: input should be a valid number"),
    (changed(*FIRST, "minima", to=[{"position": [0, float("nan")], "value": 0}]), "finite"),
    (gone("lanes.parquet"), "lanes.parquet' is missing or damaged"),
    (text_instead("lanes.parquet"), "lanes.parquet' is missing or damaged"),
    (half("lanes.parquet"), "lanes.parquet' is missing or damaged"),
    (folder_instead("lanes.parquet"), "lanes.parquet' is missing or damaged"),
    (no_column("lanes.parquet", "status"), "lanes.parquet' is missing or damaged"),
    (column("lanes.parquet", "final_loss", "x"), "lanes.parquet' is missing or damaged"),
    (column("lanes.parquet", "hp_lr", "x"), "lanes.parquet' is missing or damaged"),
    (
        column("lanes.parquet", "label", None),
        "lanes.parquet' is missing or damaged: column 'label'",
    ),
    (column("lanes.parquet", "problem", "other"), "no problem 'other'"),
    (table("lanes.parquet", lambda rows: rows.iloc[:0]), "it holds no lanes"),
    (text_instead(TRACE), "block-00001.parquet' is missing or damaged"),
    (half(TRACE), "block-00001.parquet' is missing or damaged"),
    (no_column(TRACE, "loss"), "block-00001.parquet' is missing or damaged"),
    (column(TRACE, "loss", "x"), "block-00001.parquet' is missing or damaged"),
    (column(TRACE, "x", "x"), "block-00001.parquet' is missing or damaged"),
    (column(TRACE, "lane", 0.5), "block-00001.parquet' is missing or damaged"),
    (column(TRACE, "lane", None), "block-00001.parquet' is missing or damaged"),
    (
        lambda path: [
            column(f"trace/block-0000{number}.parquet", "novelty", value)(path)
            for number, value in enumerate((1.5, "x"))
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
    name = suite(tmp_path, N + S)
    arguments = ("run", name, "--data-dir", tmp_path / "bad")
    message = optbench(*arguments, cwd=tmp_path, data_dir=tmp_path / "good").message
    assert f"{tmp_path / 'bad'} is not a folder" in message
