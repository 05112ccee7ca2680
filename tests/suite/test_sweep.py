"""Sweeps: points and grids as suites hold them, what they resolve to, and what is refused."""

import json
import tomllib

import pytest

from optbench.errors import SuiteError
from optbench.runs.layout import lay_out
from optbench.suite.format import OptimizerEntry, parse_suite
from optbench.suite.request import RunRequest, resolve_request
from optbench.suite.resolve import resolve
from tests.refusal import refusal
from tests.small import run_suite

pytestmark = pytest.mark.usefixtures("small_network_known")

FUNCTION = '[[problem]]\nname = "anisotropic"\n'
NETWORK = '[[problem]]\nname = "small-network"\n'
SGD = '\n[[optimizer]]\nname = "sgd"\n'
MOMENTUM = '\n[[optimizer]]\nname = "momentum"\n'
ADAM = '\n[[optimizer]]\nname = "adam"\n'

POINTS = "points = [{lr = 0.5, momentum = 0}, {momentum = 0.9, lr = 0.1}]\n"


def settled(text):
    return resolve(parse_suite({"name": "mine", **tomllib.loads(text)}, "mine.toml"))


def again(suite):
    """Return what the suite that run.json keeps resolves to."""
    return resolve(parse_suite(json.loads(json.dumps(suite.resolved)), "run.json"))


def configurations(suite, *keys, entry=0, problem=0):
    """Return some hyperparameters of each configuration."""
    made = suite.problems[problem].optimizers[entry].configurations
    return [tuple(each[key] for key in keys) for each in made]


def refused(text):
    return refusal(SuiteError, settled, text).removeprefix("suite 'mine': ")


# Points.


def test_points_are_configurations_in_their_order():
    suite = settled(FUNCTION + MOMENTUM + POINTS)
    assert configurations(suite, "lr", "momentum") == [(0.5, 0.0), (0.1, 0.9)]
    assert suite.resolved["optimizer"] == [
        {
            "name": "momentum",
            "label": "momentum",
            "points": [{"lr": 0.5, "momentum": 0.0}, {"momentum": 0.9, "lr": 0.1}],
        }
    ]


def test_what_points_leave_out_is_the_entrys_or_the_default():
    suite = settled(FUNCTION + ADAM + "beta1 = 0.8\npoints = [{lr = 0.5}, {lr = 1}]\n")
    assert configurations(suite, "lr", "beta1", "beta2") == [(0.5, 0.8, 0.999), (1.0, 0.8, 0.999)]


def test_a_point_has_the_key_of_the_lane_with_those_values():
    swept = lay_out(settled(FUNCTION + MOMENTUM + POINTS), "cpu")
    for lane, values in zip(swept, ("lr = 0.5\nmomentum = 0", "lr = 0.1"), strict=True):
        (alone,) = lay_out(settled(FUNCTION + MOMENTUM + values), "cpu")
        assert lane.key == alone.key


@pytest.mark.parametrize(
    "points",
    [
        POINTS,
        'points = [{schedule = "constant"}, {schedule = "cosine"}]\n',
        'points = [{schedule = "step", schedule_decay = 1}, '
        '{schedule = "constant", schedule_decay = 0.5}]\n',
        "l2 = 0.1\npoints = [{clip_norm = 1}]\n",
    ],
)
def test_resolved_points_resolve_to_themselves(points):
    once = settled(FUNCTION + MOMENTUM + points)
    twice = again(once)
    assert twice.resolved == once.resolved
    assert lay_out(twice, "cpu") == lay_out(once, "cpu")


def test_python_gives_points_as_suites_hold_them():
    points = ({"lr": 0.5, "momentum": 0}, {"momentum": 0.9, "lr": 0.1})
    expected = [(0.5, 0.0), (0.1, 0.9)]
    entry = {"name": "momentum", "points": points}
    whole = {"name": "mine", "problem": [{"name": "anisotropic"}], "optimizer": [entry]}
    for request in (
        RunRequest(whole),
        RunRequest("anisotropic", optimizers=[entry]),
        RunRequest(problem="anisotropic", optimizers=["sgd", entry]),
    ):
        (suite,) = resolve_request(request)
        assert configurations(suite, "lr", "momentum", entry=-1) == expected
    assert suite.problems[0].optimizers[0].label == "sgd"


def test_an_entry_from_python_takes_the_place_of_the_suites():
    entry = {"name": "adam", "points": [{"lr": 1}, {"lr": 2}]}
    (suite,) = resolve_request(RunRequest("anisotropic", optimizers=["sgd", "sgd", entry]))
    assert [each.label for each in suite.problems[0].optimizers] == ["sgd", "adam"]
    assert configurations(suite, "lr", entry=1) == [(1.0,), (2.0,)]
    assert suite.notices == ()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"label": "x"}, "optimizers: optimizer 1 name is missing"),
        ({"name": "sgd", "points": 3}, "optimizers: optimizer 1 points: it must be a list, not 3"),
        (
            {"name": "sgd", "points": [3]},
            "optimizers: optimizer 1 points 1: it must be a table, not 3",
        ),
    ],
)
def test_an_entry_from_python_of_another_shape_is_refused(entry, says):
    for request in (
        RunRequest("anisotropic", optimizers=[entry]),
        RunRequest(problem="anisotropic", optimizers=[entry]),
    ):
        assert refusal(SuiteError, resolve_request, request).startswith(says)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (POINTS + "lr = 1\n", "momentum: lr has a value and stands in points; give one of them"),
        (POINTS + "grid.lr = [1, 2]\n", "momentum: it has points and a grid; give one of them"),
        (POINTS + "grid.l2 = [1, 2]\n", "momentum: it has points and a grid; give one of them"),
        ("points = []\n", "momentum: points are empty; write points = [{lr = 0.1}, {lr = 0.2}]"),
        ("points = [{}, {}]\n", "momentum: points are empty; write points = "),
        (
            "points = [{lr = 1}, {lr = 2, momentum = 0}]\n",
            "momentum: point 2 names lr, momentum, but point 1 lr; all must name the same hyper",
        ),
        ("points = [{lr = 1}, {}]\n", "momentum: point 2 names nothing, but point 1 lr; all must"),
        (
            "points = [{lr = 1}, {lr = 2}, {lr = 1.0}]\n",
            "momentum: points 1 and 3 are the same configuration; give each once",
        ),
        ("points = [{rate = 1}]\n", "momentum has no hyperparameter 'rate'; known are lr, moment"),
        ("points = [{lr = 1}, {lr = -1}]\n", "momentum: lr = -1 must be at least 0"),
        ("points = [{lr = [1]}]\n", "momentum: lr = [1] must be a number of at least 0"),
        ("points = [{name = 'sgd'}]\n", "momentum has no hyperparameter 'name'"),
        (
            "points = [{schedule = 'constant', schedule_floor = 0.1}]\n",
            "momentum: schedule_floor needs a schedule; give schedule as well",
        ),
    ],
)
def test_points_that_are_no_sweep_are_refused(entry, says):
    assert refused(FUNCTION + MOMENTUM + entry).startswith(says)


def test_points_count_as_lanes():
    text = FUNCTION + MOMENTUM + f"points = [{', '.join(['{lr = 1}'] * 11)}]\n"
    assert "make 1100000 lanes" in refused("seeds = 100_000\n" + text)


@pytest.mark.parametrize(
    ("changes", "hyperparameters", "grid", "points"),
    [
        ({"eps": 1}, {"beta1": 0.5, "eps": 1}, {}, [{"lr": 1}]),
        ({"lr": 2}, {"beta1": 0.5, "lr": 2}, {}, [{"lr": 1}]),
        ({"points": [{"lr": 3}]}, {"beta1": 0.5}, {}, [{"lr": 3}]),
        ({"points": [{"beta1": 3}]}, {}, {}, [{"beta1": 3}]),
        ({"grid": {"beta1": [0, 1]}}, {}, {"beta1": [0, 1]}, [{"lr": 1}]),
    ],
)
def test_points_take_the_place_of_values_and_of_points(changes, hyperparameters, grid, points):
    merged = OptimizerEntry(name="adam", beta1=0.5, points=[{"lr": 1}]).merged(changes)
    assert (merged.hyperparameters, merged.grid, merged.points) == (hyperparameters, grid, points)


def test_points_take_the_place_of_grids():
    entry = OptimizerEntry(name="adam", grid={"lr": [1, 2]})
    merged = entry.merged({"points": [{"lr": 3}]})
    assert (merged.grid, merged.points) == ({}, [{"lr": 3}])


@pytest.mark.parametrize("points", [3, [3], {"lr": 1}])
def test_points_of_another_shape_change_nothing(points):
    says = "sgd: 'points' is not a hyperparameter; only those can be changed"
    assert refusal(SuiteError, OptimizerEntry(name="sgd").merged, {"points": points}) == says


def test_a_problem_has_its_own_points():
    text = FUNCTION + "momentum.points = [{lr = 3}, {lr = 4}]\n" + MOMENTUM + "grid.lr = [1, 2]\n"
    suite = settled(text)
    assert configurations(suite, "lr") == [(3.0,), (4.0,)]
    assert lay_out(again(suite), "cpu") == lay_out(suite, "cpu")


def test_a_value_for_what_points_name_is_refused():
    request = RunRequest(
        {**tomllib.loads(FUNCTION + MOMENTUM + POINTS), "name": "mine"}, set={"*.lr": 1}
    )
    assert refusal(SuiteError, resolve_request, request) == (
        "suite 'mine': momentum: lr has a value and stands in points; give one of them"
    )


def test_points_with_schedules_run_to_the_bits_of_lanes_without_a_sweep():
    points = 'points = [{schedule = "constant"}, {schedule = "cosine"}]\n'
    swept = list(run_suite(settled(FUNCTION + MOMENTUM + points)).values())
    for outcome, values in zip(swept, ("", 'schedule = "cosine"\n'), strict=True):
        (alone,) = run_suite(settled(FUNCTION + MOMENTUM + values)).values()
        assert outcome.bits == alone.bits


def test_an_evenly_spaced_grid_is_text_in_suites_and_flags():
    suite = settled(FUNCTION + ADAM + 'grid.beta1 = "lin(0, 0.9, 4)"\n')
    assert configurations(suite, "beta1") == [(0.0,), (0.3,), (0.6,), (0.9,)]
    assert suite.resolved["optimizer"][0]["grid"] == {"beta1": [0.0, 0.3, 0.6, 0.9]}
    assert configurations(swept(beta1="lin(0,0.9,4)"), "beta1") == configurations(suite, "beta1")


# Grids over words and lists.


def swept(**grid):
    """Return anisotropic's Adam with a grid given in Python."""
    request = RunRequest(
        "anisotropic", optimizers="adam", grid={f"adam.{k}": v for k, v in grid.items()}
    )
    (suite,) = resolve_request(request)
    return suite


@pytest.mark.parametrize(
    "entry",
    [
        'grid.schedule = ["constant", "cosine"]\ngrid.lr = [1, 2]\n',
        'grid.schedule = "constant,cosine"\ngrid.lr = "1,2"\n',
    ],
)
def test_words_multiply_with_numbers(entry):
    suite = settled(FUNCTION + ADAM + entry)
    expected = [("constant", 1.0), ("constant", 2.0), ("cosine", 1.0), ("cosine", 2.0)]
    assert configurations(suite, "schedule", "lr") == expected
    (python,) = [swept(schedule=("constant", "cosine"), lr=[1, 2])]
    assert configurations(python, "schedule", "lr") == expected
    grid = {"schedule": ["constant", "cosine"], "lr": [1.0, 2.0]}
    assert suite.resolved["optimizer"][0]["grid"] == grid
    assert again(suite).resolved == suite.resolved
    assert lay_out(again(suite), "cpu") == lay_out(suite, "cpu")


@pytest.mark.parametrize(
    ("key", "values", "recorded"),
    [
        ("eps_place", ["uncorrected", "corrected"], ["uncorrected", "corrected"]),
        ("bias_correction", [True, False], [1.0, 0.0]),
        ("clip_norm", [0.5, 1], [0.5, 1.0]),
        ("warmup", "0,5", [0.0, 5.0]),
        ("schedule", "1/t,step", ["1/t", "step"]),
    ],
)
def test_a_grid_takes_what_a_value_takes(key, values, recorded):
    suite = swept(**{key: values})
    assert configurations(suite, key) == [(value,) for value in recorded]
    for lane, value in zip(lay_out(suite, "cpu"), recorded, strict=True):
        (alone,) = lay_out(
            resolve_request(
                RunRequest("anisotropic", optimizers="adam", set={f"adam.{key}": value})
            )[0],
            "cpu",
        )
        assert lane.key == alone.key


def test_a_sweep_over_words_runs_to_the_bits_of_each_word_alone():
    words = {"schedule": ("constant", "cosine", "1/t"), "eps_place": ("uncorrected", "corrected")}
    together = run_suite(swept(**words))
    for outcome in together.values():
        given = {key: outcome.lane.hyperparameters[key] for key in words}
        alone = RunRequest(
            "anisotropic",
            optimizers="adam",
            set={f"adam.{key}": value for key, value in given.items()},
        )
        ((only),) = run_suite(resolve_request(alone)[0]).values()
        assert (outcome.bits, outcome.lane.key) == (only.bits, only.lane.key)
    (plain,) = run_suite(resolve_request(RunRequest("anisotropic", optimizers="adam"))[0]).values()
    assert together[0].bits == plain.bits


def test_a_number_of_a_schedule_may_stand_beside_words_of_which_one_is_constant():
    floor = "schedule_floor = 0.1\n"
    suite = settled(FUNCTION + ADAM + floor + 'grid.schedule = ["constant", "cosine"]\n')
    expected = [("constant", 0.1), ("cosine", 0.1)]
    assert configurations(suite, "schedule", "schedule_floor") == expected
    assert lay_out(again(suite), "cpu") == lay_out(suite, "cpu")
    says = "adam: schedule_floor needs a schedule; give schedule as well"
    assert refused(FUNCTION + ADAM + floor + 'grid.schedule = ["constant"]\n') == says


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ('schedule = "constant,cosin"', "adam: schedule = 'cosin' must be one of constant, linear"),
        ("schedule = [1]", "adam: schedule = 1 must be one of"),
        ("lr = [[0.1]]", "adam: lr = [0.1] must be a number of at least 0"),
        ("lr = [{x = 1}]", "adam: lr = {'x': 1} must be a number of at least 0"),
        ("bias_correction = [2]", "adam: bias_correction = 2 must be 0 or 1"),
        ('schedule = "cosine,"', "adam: grid.schedule: grid 'cosine,' is malformed; write"),
        ('schedule = "step,step"', "adam: grid.schedule: grid 'step,step' contains a value twice"),
    ],
)
def test_words_and_lists_that_do_not_fit_are_refused(grid, says):
    assert refused(FUNCTION + ADAM + f"grid.{grid}\n").startswith(says)


# Grids over options of problems.


def options(suite, *keys):
    """Return the title and some settings of each problem."""
    return [(each.label, *(each.problem.settings[key] for key in keys)) for each in suite.problems]


SIZES = [("small-network (batch_size=5)", 5), ("small-network (batch_size=8)", 8)]


def requested(problem, **options):
    """Return a small network's suite, with these keys in its problem, as a request changes it."""
    plain = {
        "name": "mine",
        "problem": [{"name": "anisotropic"}, {"name": "small-network", **problem}],
        "optimizer": [{"name": "sgd"}],
    }
    return resolve_request(RunRequest(plain, **options))[0]


def test_each_value_of_an_option_is_a_problem_of_its_own():
    suite = settled(NETWORK + "grid.batch_size = [5, 8]\n" + SGD)
    assert options(suite, "batch_size") == SIZES
    five, eight = lay_out(suite, "cpu")
    assert five.fingerprint != eight.fingerprint
    for lane, size in ((five, 5), (eight, 8)):
        (alone,) = lay_out(settled(NETWORK + f"batch_size = {size}\n" + SGD), "cpu")
        assert (lane.key, lane.fingerprint) == (alone.key, alone.fingerprint)
    assert [entry["label"] for entry in suite.resolved["problem"]] == [label for label, _ in SIZES]
    assert again(suite).resolved == suite.resolved
    assert lay_out(again(suite), "cpu") == lay_out(suite, "cpu")
    assert suite.given["problem"][0]["grid"] == {"batch_size": [5, 8]}


def test_grids_of_options_multiply_with_each_other_and_with_those_of_optimizers():
    text = 'label = "net"\ngrid.batch_size = "lin(5, 8, 2)"\ngrid.dtype = "float32,float64"\n'
    override = "sgd.grid.lr = [1, 2, 3]\n"
    suite = settled(NETWORK + text + override + FUNCTION + SGD)
    assert [each.label for each in suite.problems] == [
        "net (batch_size=5, dtype=float32)",
        "net (batch_size=5, dtype=float64)",
        "net (batch_size=8, dtype=float32)",
        "net (batch_size=8, dtype=float64)",
        "anisotropic",
    ]
    assert [lane.problem for lane in lay_out(suite, "cpu")].count(
        "net (batch_size=5, dtype=float32)"
    ) == 3
    assert lay_out(again(suite), "cpu") == lay_out(suite, "cpu")


@pytest.mark.parametrize("target", ["small-network", "*", pytest.param("net", id="by its label")])
@pytest.mark.parametrize("values", ["5,8", [5, 8], "lin(5, 8, 2)"])
def test_a_flag_or_python_sweeps_an_option(target, values):
    label = {"label": "net"} if target == "net" else {}
    suite = requested(label, grid={f"{target}.batch_size": values})
    name = "net" if label else "small-network"
    assert options(suite, "dtype")[0] == ("anisotropic", "float64")
    assert [(each.label, each.problem.settings["batch_size"]) for each in suite.problems[1:]] == [
        (f"{name} (batch_size=5)", 5),
        (f"{name} (batch_size=8)", 8),
    ]


def test_a_table_is_a_value_of_an_option():
    text = '[[problem]]\nname = "function"\nexpression = "x**2"\ngrid.start = [{x = 1}, {x = 2}]\n'
    suite = settled(text + SGD)
    titles = ['function (start={"x": 1})', 'function (start={"x": 2})']
    assert [each.label for each in suite.problems] == titles
    assert [outcome.position[0, 0] for outcome in run_suite(suite).values()] == [1.0, 2.0]


def test_a_value_and_a_grid_of_an_option_take_each_others_place():
    def sizes(problem, **changes):
        suite = requested(problem, **changes)
        return [each.problem.settings["batch_size"] for each in suite.problems[1:]]

    grid = {"grid": {"batch_size": [5, 8]}}
    key = "small-network.batch_size"
    assert sizes({"batch_size": 3}, grid={key: [5, 8]}) == [5, 8]
    assert sizes(grid, set={key: 3}) == [3]
    assert sizes(grid, batch_size=3) == [3]
    assert sizes({}, batch_size=3, grid={key: [5, 8]}) == [5, 8]
    assert sizes(grid, grid={key: [3, 4]}) == [3, 4]
    assert sizes(grid, grid={"small-network.dtype": ["float32", "float64"]}) == [5, 5, 8, 8]
    assert sizes({}, set={"*.batch_size": 3}) == [3]


def test_an_optimizer_counts_before_a_problem():
    suite = requested({"label": "sgd"}, set={"sgd.lr": 3})
    assert configurations(suite, "lr") == [(3.0,)]
    request = {"grid": {"*.l2": [1, 2]}}
    assert configurations(requested({}, **request), "l2") == [(1.0,), (2.0,)]


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        ("grid.size = [1]", "small-network has no option 'size'; known are"),
        ("grid.iterations = [1, 2]", "small-network has no option 'iterations'; known are"),
        ("grid.batch_size = []", "small-network: grid.batch_size: grid [] is malformed; write"),
        ("grid.batch_size = [5, 5]", "small-network: grid.batch_size: grid [5, 5] contains a val"),
        ("grid.batch_size = [5.5]", "small-network: batch_size = 5.5 must be a whole number"),
        ("batch_size = 5\ngrid.batch_size = [6]", "small-network: batch_size has a value and a gr"),
        (
            'grid.batch_size = "lin(1, 1001, 1001)"',
            "its grids make 1001 problems; a run can have at",
        ),
        (
            'grid.batch_size = [5]\n[[problem]]\nname = "small-network"\n'
            'label = "small-network (batch_size=5)"\n',
            "its grids: problem: there are two called 'small-network (batch_size=5)'; give one",
        ),
    ],
)
def test_grids_of_options_that_do_not_fit_are_refused(problem, says):
    assert refused(NETWORK + problem + "\n" + SGD).startswith(says)


def test_what_grids_of_options_make_counts_as_lanes():
    text = "seeds = 100_000\n" + NETWORK + 'grid.batch_size = "lin(1, 11, 11)"\n' + SGD
    assert refused(text).startswith("its grids and seeds make 1100000 lanes")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"set": {"small-network.lr": 1}}, "small-network has no option 'lr'; known are"),
        ({"set": {"anisotropic.name": 1}}, "anisotropic has no option 'name'; known are"),
        ({"grid": {"anisotropic.batch_size": [1]}}, "anisotropic has no option 'batch_size'"),
        ({"set": {"net.dtype": 1}}, "--set net.dtype: there is no optimizer or problem 'net'; kn"),
        (
            {"grid": {"*.size": [1]}},
            "--grid *.size: no optimizer has a hyperparameter 'size', and no problem such an o",
        ),
    ],
)
def test_changes_of_options_that_fit_nothing_are_refused(changes, says):
    assert refusal(SuiteError, requested, {}, **changes).startswith(says)
