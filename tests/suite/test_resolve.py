"""Settled suites: defaults filled in, names looked up, grids expanded, and all of it recorded."""

import json
import tomllib

import pytest

from optbench.errors import DataError, SuiteError
from optbench.runs.layout import lay_out
from optbench.suite import resolve as suites
from optbench.suite.format import builtin_suites, parse_suite, read_suite
from optbench.suite.resolve import resolve
from tests.refusal import refusal
from tests.small import IMAGES

pytestmark = pytest.mark.usefixtures("small_network_known")


def settled(text: str):
    return resolve(parse_suite({"name": "mine", **tomllib.loads(text)}, "mine.toml"))


def refused(text: str) -> str:
    return refusal(SuiteError, settled, text)


SGD = '\n[[optimizer]]\nname = "sgd"\n'
FUNCTION = '[[problem]]\nname = "anisotropic"\n'
NETWORK = '[[problem]]\nname = "small-network"\n'

FULL = """
seeds = [3, 7]
iterations = 50
batch_size = 16

[[problem]]
name = "anisotropic"
iterations = 10
"*".lr = 0.5
adam.beta1 = 0.8
swept.grid.lr = [0.1, 0.2]

[[problem]]
name = "small-network"
label = "network"
dtype = "float32"
record = "before"

[[problem]]
name = "small-network"
label = "one epoch"
epochs = 2
batch_size = 20

[[optimizer]]
name = "sgd"

[[optimizer]]
name = "adam"

[[optimizer]]
name = "adam"
label = "swept"
beta2 = 0.99
grid.lr = "1e-3:1e-1:3"
grid.eps = [1e-7, 1e-8]
"""


ADAM = {"eps": 1e-7, "eps_place": "uncorrected", "bias_correction": 1.0}


def configurations(suite, problem: int, entry: int):
    return [dict(each) for each in suite.problems[problem].optimizers[entry].configurations]


def test_length_and_options_come_from_the_problem_before_the_suite():
    suite = settled(FULL)
    assert [setting.label for setting in suite.problems] == ["anisotropic", "network", "one epoch"]
    assert [setting.iterations for setting in suite.problems] == [10, 50, 2 * (200 // 20)]
    networks = [setting.problem for setting in suite.problems[1:]]
    assert [each.batch_size for each in networks] == [16, 20]
    assert [each.dtype for each in networks] == ["float32", "float64"]
    assert [each.record for each in networks] == ["before", "after"]
    assert suite.seeds == (3, 7)


def test_grids_multiply_and_defaults_fill_in():
    suite = settled(FULL)
    assert configurations(suite, 1, 0) == [{"lr": 0.01}]
    assert configurations(suite, 1, 2) == [
        {**ADAM, "lr": lr, "beta1": 0.9, "beta2": 0.99, "eps": eps}
        for lr in (1e-3, 1e-2, 1e-1)
        for eps in (1e-7, 1e-8)
    ]


def test_a_problem_changes_optimizers_for_itself_alone():
    suite = settled(FULL)
    assert configurations(suite, 0, 0) == [{"lr": 0.5}]
    assert configurations(suite, 0, 1) == [{**ADAM, "lr": 0.5, "beta1": 0.8, "beta2": 0.999}]
    assert configurations(suite, 0, 2) == [
        # "adam" means the entry of that label
        {**ADAM, "lr": lr, "beta1": 0.9, "beta2": 0.99, "eps": eps}
        for eps in (1e-7, 1e-8)
        for lr in (0.1, 0.2)
    ]
    assert configurations(suite, 2, 1) == [{**ADAM, "lr": 1e-3, "beta1": 0.9, "beta2": 0.999}]


@pytest.mark.parametrize(
    "text", [FULL, FUNCTION + SGD, NETWORK + SGD, "epochs=1\n" + NETWORK + SGD]
)
def test_a_resolved_suite_resolves_to_itself(text):
    once = settled(text)
    through_json = json.loads(json.dumps(once.resolved))
    again = resolve(parse_suite(through_json, "run.json"))
    assert again.resolved == once.resolved
    assert lay_out(again, "cpu") == lay_out(once, "cpu")


VARIANT = FUNCTION + NETWORK + 'variant_of = "anisotropic"\n' + SGD


def test_a_variant_names_its_base_and_is_the_same_problem_as_before():
    suite = settled(VARIANT)
    assert [each.variant_of for each in suite.problems] == [None, "anisotropic"]
    assert "variant_of" not in suite.resolved["problem"][0]
    assert suite.resolved["problem"][1]["variant_of"] == "anisotropic"
    again = resolve(parse_suite(json.loads(json.dumps(suite.resolved)), "run.json"))
    assert again.problems[1].variant_of == "anisotropic"
    plain = settled(VARIANT.replace('variant_of = "anisotropic"', ""))
    assert lay_out(suite, "cpu") == lay_out(plain, "cpu")


@pytest.mark.parametrize(
    "base", ["anisotropik", "small-network", "other"], ids=["unknown", "itself", "a variant"]
)
def test_a_variant_of_what_is_no_base_of_the_suite_is_refused(base):
    other = NETWORK + 'label = "other"\nvariant_of = "anisotropic"\n'
    text = VARIANT.replace('variant_of = "anisotropic"', f'variant_of = "{base}"')
    says = f"variant_of = '{base}' must be a problem of the suite that is no variant itself"
    assert says in refused(other + text)


@pytest.mark.parametrize("name", builtin_suites())
def test_built_in_suites_resolve_and_keep_their_lanes(name):
    file = read_suite(name)
    once = resolve(file.changed(data="mnist-5k") if "mnist" in name else file)
    again = resolve(parse_suite(json.loads(json.dumps(once.resolved)), "run.json"))
    assert again.resolved == once.resolved
    assert lay_out(again, "cpu") == lay_out(once, "cpu")


def test_the_resolved_suite_leaves_nothing_out():
    suite = settled("iterations = 5\n" + NETWORK + '\n[[optimizer]]\nname = "momentum"\nlr = 1\n')
    assert suite.resolved == {
        "name": "mine",
        "seeds": [0],
        "problem": [
            {
                "name": "small-network",
                "label": "small-network",
                "iterations": 5,
                "batch_size": 8,
                "data": "made-up",
                "dtype": "float64",
                "record": "after",
                "log_eps": 1e-7,
            }
        ],
        "optimizer": [{"name": "momentum", "label": "momentum", "lr": 1.0, "momentum": 0.9}],
    }


def test_what_was_written_is_kept_as_it_was():
    suite = settled("iterations = 5\n" + FUNCTION + SGD)
    assert suite.written == {
        "name": "mine",
        "iterations": 5,
        "problem": ({"name": "anisotropic"},),
        "optimizer": ({"name": "sgd"},),
    }
    file = parse_suite({"name": "mine", **tomllib.loads(FUNCTION + SGD)}, "x")
    assert resolve(file, written={"name": "before flags"}).written == {"name": "before flags"}


def test_without_a_word_on_length_a_problem_knows_its_own():
    assert settled(FUNCTION + SGD).problems[0].iterations == 30
    assert settled(NETWORK + SGD).problems[0].iterations == 20


def test_epochs_of_the_suite_count_for_problems_with_data_only():
    suite = settled("epochs = 3\niterations = 7\n" + FUNCTION + NETWORK + SGD)
    assert [setting.iterations for setting in suite.problems] == [7, 3 * (200 // 8)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SGD, "it has no problem; add a [[problem]] with a name"),
        (FUNCTION, "it has no optimizer; add an [[optimizer]] with a name"),
        ("seeds = 0\n" + FUNCTION + SGD, "seeds = 0; at least 1 seed is needed"),
        ("seeds = [1, 1]\n" + FUNCTION + SGD, "seeds [1, 1] are malformed"),
        (
            '[[problem]]\nname = "mnist"\n' + SGD,
            "unknown problem 'mnist'; did you mean 'mnist-mlp'",
        ),
        (
            FUNCTION + '[[optimizer]]\nname = "adm"\n',
            "unknown optimizer 'adm'; did you mean 'adam'",
        ),
        (FUNCTION + SGD + "rate = 0.1\n", "sgd has no hyperparameter 'rate'; known are lr"),
        (FUNCTION + SGD + "lr = -1\n", "sgd: lr = -1 must be at least 0; the default is 0.01"),
        (FUNCTION + SGD + 'lr = "fast"\n', "sgd: lr = 'fast' must be a number of at least 0"),
        (FUNCTION + SGD + "lr = true\n", "sgd: lr = True must be a number of at least 0"),
        (FUNCTION + SGD + "lr = nan\n", "sgd: lr = nan must be a finite number of at least 0"),
        (FUNCTION + SGD + "lr = 1979-05-27\n", "must be a number of at least 0"),
        (FUNCTION + SGD + "lr = [1]\n", "sgd: lr = [1] must be a number of at least 0"),
        (FUNCTION + SGD + "grid.rate = [1]\n", "sgd has no hyperparameter 'rate'"),
        (FUNCTION + SGD + "grid.lr = [-1, 1]\n", "sgd: lr = -1 must be at least 0"),
        (FUNCTION + SGD + "grid.lr = []\n", "grid [] is malformed; write values as 1e-3,1e-2 or a"),
        (FUNCTION + SGD + "lr = 1\ngrid.lr = [1, 2]\n", "sgd: lr has a value and a grid; give one"),
        (FUNCTION + 'dtyp = "x"\n' + SGD, "anisotropic has no option 'dtyp'; did you mean 'dtype'"),
        (FUNCTION + 'dtype = "half"\n' + SGD, "dtype = 'half' must be one of float32, flo"),
        (FUNCTION + "epochs = 2\n" + SGD, "anisotropic has no epochs; give iterations"),
        (NETWORK + "epochs = 2\niterations = 3\n" + SGD, "small-network: iterations and epochs ex"),
        ("epochs = 2\n" + FUNCTION + SGD, "epochs means nothing to anisotropic; leave it out"),
        ("batch_size = 2\n" + FUNCTION + SGD, "batch_size means nothing to anisotropic; leave it"),
        (
            'record = "after"\n' + FUNCTION + SGD,
            "record means nothing to anisotropic; leave it out",
        ),
        (NETWORK + "batch_size = 201\n" + SGD, "batch_size = 201 is larger than the data; made-up"),
        ("batch_size = 0\n" + NETWORK + SGD, "batch_size = 0 must be a whole number of at least"),
        (NETWORK + "log_eps = inf\n" + SGD, "log_eps = inf must be a finite number of at least 0"),
        (
            FUNCTION + "sdg.lr = 1\n" + SGD,
            "anisotropic: there is no optimizer 'sdg'; did you mean 'sgd'?",
        ),
        (FUNCTION + "sgd.rate = 1\n" + SGD, "sgd has no hyperparameter 'rate'"),
        (FUNCTION + "sgd.lr = -1\n" + SGD, "sgd: lr = -1 must be at least 0"),
        (
            FUNCTION + "sgd.grid = 3\n" + SGD,
            "sgd: 'grid' is not a hyperparameter; only those can be changed",
        ),
        (FUNCTION + 'sgd.name = "adam"\n' + SGD, "sgd: 'name' is not a hyperparameter"),
        (FUNCTION + 'sgd.grid.lr = "a:b"\n' + SGD, "grid 'a:b' is malformed"),
        (FUNCTION + 'sgd.grid.lr = "a"\n' + SGD, "sgd: lr = 'a' must be a number of at least 0"),
        (FUNCTION + '"*".momentum = 0.5\n' + SGD, "sgd has no hyperparameter 'momentum'"),
        (FUNCTION + '[[optimizer]]\nname = "a\\nb"\n', "unknown optimizer 'a b'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line_that_names_the_suite(text, says):
    message = refused(text)
    assert message.startswith("suite 'mine': ")
    assert says in message


MANY_SEEDS = "seeds = 1000001; at most 1000000 seeds are possible"
MANY_LANES = "its grids and seeds make 1100000 lanes; a run can have at most 1000000"
MANY_ITERATIONS = "anisotropic: 3000000000 iterations are too many; at most "
MANY_EPOCHS = "small-network: 25000000000 iterations are too many"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seeds = 1_000_001\n" + FUNCTION + SGD, MANY_SEEDS),
        ("seeds = 11\n" + FUNCTION + SGD + 'grid.lr = "1e-3:1:100_000"\n', MANY_LANES),
        ("iterations = 3_000_000_000\n" + FUNCTION + SGD, MANY_ITERATIONS),
        (NETWORK + "epochs = 1_000_000_000\n" + SGD, MANY_EPOCHS),
    ],
)
def test_what_no_machine_could_hold_is_refused_before_it_is_tried(text, says):
    assert says in refused(text)


def test_a_problems_grid_takes_the_place_of_the_optimizers():
    text = FUNCTION + 'sgd.grid.lr = "1e-3:1:100_000"\n' + SGD + 'grid.lr = "1:2:3"\n'
    assert len(configurations(settled(text), 0, 0)) == 100_000


def test_an_override_by_name_or_label_may_hit_one_of_several_entries():
    text = FUNCTION + "slow.lr = 3.0\n" + SGD + '[[optimizer]]\nname = "sgd"\nlabel = "slow"\n'
    suite = settled(text)
    assert configurations(suite, 0, 0) == [{"lr": 0.01}]
    assert configurations(suite, 0, 1) == [{"lr": 3.0}]


def test_seeds_that_change_nothing_are_pointed_out():
    notice = (
        "nothing in suite 'mine' is random, so one seed is enough; "
        "with start_spread = 0.05 each seed would start elsewhere"
    )
    assert settled("seeds = 2\n" + FUNCTION + SGD).notices == (notice,)
    assert settled("seeds = 1\n" + FUNCTION + SGD).notices == ()
    assert settled("seeds = 2\n" + FUNCTION + NETWORK + SGD).notices == ()


def test_what_problems_say_is_passed_on(monkeypatch):
    monkeypatch.setattr(
        "optbench.datasets.load_best", lambda folder, split: (IMAGES, "smaller data")
    )
    monkeypatch.setattr("optbench.datasets.load", lambda name, folder, split: IMAGES)
    suite = settled('[[problem]]\nname = "network"\nlayers = ["dense 4"]\n' + SGD)
    assert suite.notices == ("smaller data",)
    assert suite.resolved["problem"][0]["data"] == "made-up"


def test_missing_data_are_a_matter_of_data(monkeypatch, tmp_path):
    file = parse_suite({"name": "m", **tomllib.loads('data = "mnist"\n' + SGD)}, "x")
    refusal(DataError, resolve, file.changed(problem=[{"name": "mnist-mlp"}]), data_dir=tmp_path)


def test_without_a_suite_both_textbook_suites_are_run():
    assert suites.DEFAULT_SUITES == ("anisotropic", "mnist-mlp")
    assert set(suites.DEFAULT_SUITES) <= set(builtin_suites())
