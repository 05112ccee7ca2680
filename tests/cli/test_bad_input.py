"""What users get wrong: every time exit code 2 and one line that says what is wrong.

Where a run was to begin, nothing is left in results/.
"""

import json

import pytest

from tests.cli.command import optbench

MANY_NINES = "9" * 5000
P = "[[problem]]\nname = 'anisotropic'\n"
N = "[[problem]]\nname = 'mnist-mlp'\n"
S = "[[optimizer]]\nname = 'sgd'\n"
A = "[[optimizer]]\nname = 'adam'\n"

FLAGS = [
    ("", "unknown suite ''"),
    (".", "unknown suite '.'"),
    ("rosenbrock", "unknown suite 'rosenbrock'; it is a problem: run it with --problem rosenbrock"),
    ("/", "unknown suite '/'"),
    ("anisotropc", "did you mean 'anisotropic'?"),
    ("anisotropic\n", "did you mean 'anisotropic'?"),
    ("\udcff", "unknown suite"),
    ("a" * 5000, "unknown suite"),
    ("a" * 5000 + ".toml", "File name too long"),
    ("nul\0.toml", "cannot be read"),
    ("nowhere.toml", "suite file 'nowhere.toml' cannot be found"),
    ("nowhere.json", "suite file 'nowhere.json' cannot be found"),
    ("anisotropic|-o", "option '-o' requires an argument"),
    ("anisotropic|-o|", "unknown optimizer ''"),
    ("anisotropic|-o|*", "unknown optimizer '*'"),
    ("anisotropic|-o|adm", "did you mean 'adam', 'radam' or 'nadam'?"),
    ("--problem|Anistropic", "unknown problem 'Anistropic'; did you mean 'anisotropic'"),
    (
        "anisotropic|--set|lr=1",
        "names no optimizer; write '*.lr=1' for all that have it, or 'sgd.lr",
    ),
    ("anisotropic|--grid|lr=1,2", "names no optimizer; write '*.lr=1,2' for all"),
    ("anisotropic|-o|sgd|--set|adam.lr=1", "there is no optimizer or problem 'adam'"),
    ("anisotropic|--set|", "malformed; write TARGET.key=value"),
    ("anisotropic|--set|adam.lr", "malformed; write TARGET.key=value"),
    ("anisotropic|--set|adam.lr=", "malformed; write TARGET.key=value"),
    ("anisotropic|--set|.lr=1", "malformed; write TARGET.key=value"),
    ("anisotropic|--set|adam.lr=fast", "lr = 'fast' must be a number of at least 0"),
    ("anisotropic|--set|adam.lr=true", "lr = True must be a number of at least 0"),
    ("anisotropic|--set|adam.lr=nan", "lr = nan must be a finite number of at least 0"),
    ("anisotropic|--set|adam.lr=inf", "lr = inf must be a finite number of at least 0"),
    ("anisotropic|--set|adam.lr=-1", "lr = -1 must be at least 0; the default is 0.001"),
    ("anisotropic|--set|adam.lr=1e400", "lr = inf must be a finite number of at least 0"),
    (f"anisotropic|--set|adam.lr={'9' * 400}", "must be a finite number of at least 0"),
    (f"anisotropic|--set|adam.lr={MANY_NINES}", "must be a number of at least 0"),
    (f"anisotropic|--set|adam.lr={'[' * 5000}", "must be a number of at least 0"),
    ("anisotropic|--set|adam.lr=1\nbeta1=0", "must be a number of at least 0"),
    ("anisotropic|--set|adam.lr=[1, 2]", "must be a number of at least 0"),
    ("anisotropic|--set|adam.lr={a = 1}", "must be a number of at least 0"),
    ("anisotropic|--set|adam.lr=2026-01-01", "must be a number of at least 0"),
    ("anisotropic|--set|adam.beta1=1", "beta1 = 1 must be at least 0 and below 1"),
    ("anisotropic|--set|adam.beta=0.5", "adam has no hyperparameter 'beta'; did you mean 'beta"),
    ("anisotropic|--set|adam.name=sgd", "'name' is not a hyperparameter"),
    ("anisotropic|--set|adam.label=x", "'label' is not a hyperparameter"),
    ("anisotropic|--set|adam.grid=x", "'grid' is not a hyperparameter"),
    ("anisotropic|--set|adam.__class__=1", "adam has no hyperparameter '__class__'"),
    ("anisotropic|--set|adam.model_config=1", "adam has no hyperparameter 'model_config'"),
    ("anisotropic|--set|*.foo=1", "no optimizer has a hyperparameter 'foo'"),
    ("anisotropic|--set|adm.lr=1", "did you mean 'adam'?"),
    ("anisotropic|--set|\udcff.lr=1", "there is no optimizer"),
    ("anisotropic|--grid|adam.lr=", "malformed; write TARGET.key=value"),
    ("anisotropic|--grid|adam.lr=,", "grid ',' is malformed"),
    ("anisotropic|--grid|adam.lr=1,1.0", "contains a value twice"),
    ("anisotropic|--grid|adam.lr=lin(0, 1)", "is malformed; write values as 1e-3,1e-2 or a range"),
    ("anisotropic|--grid|adam.lr=lin(1, 0, 3)", "must rise like lin(0, 1, 5)"),
    ("anisotropic|--grid|anisotropic.batch_size=1,2", "anisotropic has no option 'batch_size'"),
    ("anisotropic|--grid|anisotropic.dtype=float32,half", "dtype = 'half' must be one of"),
    ("anisotropic|--grid|adam.lr=a,b", "adam: lr = 'a' must be a number of at least 0"),
    ("anisotropic|--grid|adam.schedule=step,cosin", "schedule = 'cosin' must be one of constant"),
    ("anisotropic|--grid|adam.schedule=step,step", "contains a value twice"),
    ("anisotropic|--grid|adam.lr=[0.1,0.2],0.3", "lr = [0.1, 0.2] must be a number"),
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
    ("anisotropic|--grid|adam.lr=1,-1", "lr = -1 must be at least 0"),
    ("anisotropic|--grid|adam.name=1,2", "adam has no hyperparameter 'name'"),
    (
        "anisotropic|--grid|adam.lr=1:2:100000|--grid|adam.eps=1:2:100000",
        "its grids and seeds make 10000000003 lanes; a run can have at most 1000000",
    ),
    ("anisotropic|--grid|*.lr=1:2:1000|--seeds|1000", "make 4000000 lanes"),
    ("anisotropic|--seeds|0", "at least 1 seed is needed"),
    ("anisotropic|--seeds|-1", "at least 1 seed is needed"),
    ("anisotropic|--seeds|1000000000000", "at most 1000000 seeds are possible"),
    (
        "anisotropic|--seeds|1.5",
        "invalid value for '--seeds': it must be a whole number, not '1.5' (see",
    ),
    ("anisotropic|--seeds|", "invalid value for '--seeds'"),
    ("anisotropic|--seed|", "seeds '' are malformed"),
    ("anisotropic|--seed|1,1", "seeds '1,1' are malformed"),
    ("anisotropic|--seed|-1", "are malformed"),
    ("anisotropic|--seed|1.5", "are malformed"),
    (f"anisotropic|--seed|1{'0' * 30}", "a seed is too large"),
    (f"anisotropic|--seed|{MANY_NINES}", "are malformed"),
    ("anisotropic|--seeds|1|--seed|1", "exclude each other"),
    ("anisotropic|--iterations|0", "it must be at least 1"),
    ("anisotropic|--iterations|-5", "it must be at least 1"),
    ("anisotropic|--iterations|ten", "invalid value for '--iterations': it must be a whole number"),
    (
        "anisotropic|--workers|0",
        "invalid value for '--workers': it must be at least 1, not '0' (see",
    ),
    (
        "anisotropic|--start-spread|x",
        "invalid value for '--start-spread': it must be a number, not 'x' (see",
    ),
    ("anisotropic|--iterations|1000000000000", "iterations are too many; at most 2147483647"),
    ("anisotropic|--epochs|1", "--epochs means nothing to anisotropic"),
    ("mnist-mlp|--epochs|0", "it must be at least 1"),
    ("mnist-mlp|--epochs|1000000000000", "iterations are too many"),
    ("mnist-mlp|--epochs|1|--iterations|1", "exclude each other"),
    ("mnist-mlp|--batch-size|0", "batch_size = 0 must be a whole number of at least 1"),
    ("mnist-mlp|--batch-size|-1", "batch_size = -1"),
    ("mnist-mlp|--batch-size|3501", "batch_size = 3501 is larger than the data; mnist-5k has 3500"),
    (f"mnist-mlp|--batch-size|1{'0' * 30}", "is larger than the data"),
    ("anisotropic|--batch-size|1", "--batch-size means nothing to anisotropic"),
    ("anisotropic|--dtype|", "dtype = '' must be one of float32, float64"),
    ("anisotropic|--dtype|float16", "dtype = 'float16' must be one of"),
    ("anisotropic|--data|mnist", "--data means nothing to anisotropic"),
    ("mnist-mlp|--data|", "data = '': data are read from .npz, .csv, .parquet and IDX files"),
    ("mnist-mlp|--data|mnist", "mnist is not in the cache"),
    ("mnist-mlp|--data-dir|/nowhere", "/nowhere is not a folder"),
    ("mnist-mlp|--data-dir|", "invalid value for '--data-dir': it is empty; write . for this fol"),
    ("anisotropic|--out|", "invalid value for '--out': it is empty"),
    ("anisotropic|--device|", "unknown device ''"),
    ("anisotropic|--device|tpu", "unknown device 'tpu'"),
    ("anisotropic|--name|", "name: it is empty; give a name"),
    ("anisotropic|--name|a\n", "'a\\n' contains characters that cannot be printed"),
    ("anisotropic|--name|\udcff", "name: '\\udcff' contains characters"),
    (f"anisotropic|--name|{'n' * 300}", "it has 300 characters; use at most 255"),
    ("mnist-mlp|--dtype|float32|--set|sgd.lr=1e39", "sgd: lr = 1e+39 is too large for float32"),
    ("mnist-mlp|--dtype|float32|--set|adam.eps=1e-50", "adam: eps = 1e-50 is too small for float"),
    ("anisotropic|--seed|9223372036854775808", "a seed is too large; the largest is 92233720368"),
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
    ("name = 1", "name: it must be text"),
    (f"name = '{'n' * 300}'", "it has 300 characters; use at most 255"),
    ("description = []", "description: it must be text"),
    ("seeds = 0\n" + P + S, "at least 1 seed is needed"),
    ("seeds = '3'", "seeds: it must be a whole number or a list"),
    ("seeds = true", "seeds: it must be a whole number or a list"),
    ("seeds = nan", "seeds: it must be a whole number or a list"),
    ("seeds = [1, 1]\n" + P + S, "are malformed"),
    ("seeds = [-1]\n" + P + S, "are malformed"),
    ("seeds = [[1]]", "seeds 1: it must be a whole number, not [1]"),
    ("seeds = 1000000000000\n" + P + S, "at most 1000000 seeds are possible"),
    ("iterations = 0", "iterations: it must be at least 1"),
    ("iterations = 1.5", "iterations: it must be a whole number, not 1.5"),
    ("iterations = 2147483648\n" + P + S, "2147483648 iterations are too many"),
    ("epochs = 1\n" + P + S, "epochs means nothing to anisotropic"),
    ("batch_size = [1]", "batch_size"),
    ("batch_size = 1\n" + P + S, "batch_size means nothing to anisotropic"),
    ("record = 'never'", "record: it must be 'before' or 'after'"),
    ("[[problem]]\nname = 'ansotropic'\n" + S, "did you mean 'anisotropic'?"),
    (P + "label = ''", "problem 1 label: it is empty; give a name"),
    (P + "label = 1", "problem 1 label: it must be text"),
    (P + 'label = "a\\nb"', "problem 1 label: 'a\\nb' contains characters that cannot be printed"),
    (P + P + S, "problem: there are two called 'anisotropic'"),
    (P + "iterations = -1", "problem 1 iterations: it must be at least 1"),
    (P + "stop.patience = 2147483648", "stop patience: it must be at most 2147483647, not 2147"),
    (P + "iterations = 1\nepochs = 1\n" + S, "exclude each other"),
    (P + "epochs = 1\n" + S, "anisotropic has no epochs"),
    (P + "dtype = []\n" + S, "dtype = [] must be one of"),
    (P + "foo = 1\n" + S, "anisotropic has no option 'foo'"),
    (P + "sgd = 1\n" + S, "anisotropic has no option 'sgd'"),
    (P + "adam.lr = 1\n" + S, "no optimizer 'adam'; known are sgd"),
    (P + "grid.lr = [1]\n" + S, "anisotropic has no option 'lr'; known are"),
    (P + "grid = 1\n" + S, "problem 1 grid: it must be a table"),
    (P + "grid.start_spread = [1, 1.0]\n" + S, "contains a value twice"),
    (P + "sgd.foo = 1\n" + S, "sgd has no hyperparameter 'foo'"),
    (P + "sgd.lr = 'x'\n" + S, "lr = 'x' must be a number of at least 0"),
    (P + "sgd.lr.x = 1\n" + S, "must be a number of at least 0"),
    (P + "sgd.name = 'adam'\n" + S, "'name' is not a hyperparameter"),
    (P + "sgd.grid = 1\n" + S, "'grid' is not a hyperparameter"),
    (P + "sgd.grid.lr = 1\n" + S, "grid.lr: grid 1 is malformed"),
    (P + "'*'.foo = 1\n" + S, "sgd has no hyperparameter 'foo'"),
    (N + "batch_size = 1.0\n" + S, "batch_size = 1.0 must be a whole number"),
    (N + "batch_size = true\n" + S, "batch_size = True must be a whole number"),
    (N + "log_eps = nan\n" + S, "log_eps = nan"),
    (N + "log_eps = inf\n" + S, "log_eps = inf"),
    (N + "log_eps = -1\n" + S, "log_eps = -1 must be at least 0"),
    (N + "data = ['mnist']\n" + S, "data = ['mnist'] must be one of"),
    (P + "[[optimizer]]\nname = 'SGD'", "did you mean 'sgd'?"),
    (P + "[[optimizer]]\nname = []", "optimizer 1 name: it must be text"),
    (P + S + S, "optimizer: there are two called 'sgd'; give one of them another label"),
    (P + S + A + "label = 'sgd'", "optimizer: there are two called 'sgd'"),
    (P + S + 'label = "\\u001b[31m"', "contains characters that cannot be printed"),
    (P + S + "lr = 'x'", "lr = 'x' must be a number of at least 0"),
    (P + S + "lr = -1", "lr = -1 must be at least 0"),
    (P + S + "lr = nan", "lr = nan must be a finite number of at least 0"),
    (P + S + f"lr = {'9' * 400}", "must be a finite number of at least 0"),
    (P + S + "momentum = 0.9", "sgd has no hyperparameter 'momentum'"),
    (P + S + "x.y = 1", "sgd has no hyperparameter 'x'"),
    (P + S + "grid = 1", "optimizer 1 grid: it must be a table"),
    (P + S + "grid = {lr = []}", "sgd: grid.lr: grid [] is malformed"),
    (P + S + "grid = {lr = ['a']}", "sgd: lr = 'a' must be a number of at least 0"),
    (P + S + "grid = {lr = [1, 1]}", "contains a value twice"),
    (P + S + "grid = {lr = [nan]}", "sgd: lr = nan must be a finite number of at least 0"),
    (P + S + "grid = {lr = [true]}", "sgd: lr = True must be a number of at least 0"),
    (P + S + "grid = {schedule = ['cosin']}", "schedule = 'cosin' must be one of constant, linear"),
    (P + S + "grid = {foo = [1, 2]}", "sgd has no hyperparameter 'foo'"),
    (P + S + "lr = 1\ngrid.lr = [1, 2]", "lr has a value and a grid; give one of them"),
    (P + S + "points = 1", "optimizer 1 points: it must be a list"),
    (P + S + "points = [1]", "optimizer 1 points 1: it must be a table"),
    (P + S + "points = []", "sgd: points are empty; write points = [{lr = 0.1}, {lr = 0.2}]"),
    (P + S + "points = [{lr = 'x'}]", "lr = 'x' must be a number of at least 0"),
    (P + S + "points = [{lr = 1}, {lr = 1}]", "sgd: points 1 and 2 are the same configuration"),
    (P + S + "lr = 1\npoints = [{lr = 2}]", "lr has a value and stands in points; give one"),
    (P + A + "points = [{lr = 2}]\ngrid.eps = [1, 2]", "adam: it has points and a grid; give one"),
    (P + "sgd.points = 1\n" + S, "'points' is not a hyperparameter"),
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
        ("", "not a run.json of optbench: it has no suite.resolved"),
        ("{", "not a run.json of optbench"),
        ("[]", "not a run.json of optbench"),
        ("null", "not a run.json of optbench"),
        ('{"suite": 1}', "not a run.json of optbench"),
        ('{"suite": {"resolved": 1}}', "not a run.json of optbench"),
        ("[" * 100_000, "not a run.json of optbench"),
        (f'{{"suite": {{"resolved": {{"seeds": {MANY_NINES}}}}}}}', "not a run.json of optbench"),
        ('{"suite": {"resolved": {}}}', "it has no problem"),
        ('{"suite": {"resolved": {"name": null}}}', "name: it must be text"),
        ('{"suite": {"resolved": {"name": "\\ud800"}}}', "name: '\\ud800' contains characters"),
        (
            json.dumps({"suite": {"resolved": {**RESOLVED, "seeds": None}}}),
            "seeds: it must be a whole number or a list, not None",
        ),
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
