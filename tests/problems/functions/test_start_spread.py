"""Functions as instances: the starts that seeds get, and what names them."""

import hashlib
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator, Philox, SeedSequence

import optbench
from optbench.api import run
from optbench.errors import SuiteError
from optbench.problems.registry import FUNCTIONS, NOISY, make_problem
from tests.cli.command import meta, suite, trace
from tests.cli.command import optbench as command
from tests.cli.command import run as run_command
from tests.forget import forget  # noqa: F401

WIDE = 0.05
GOLDEN = {
    1: [-6.51086906904256, 1.6648555275145414],
    7: [-6.714068200257778, 1.778678417403721],
}
"""Starts on x²/20 + y², 5 % of 20 apart: new ones would be other instances."""


def spread(name, **options):
    made, _ = make_problem(name, {"start_spread": WIDE, **options})
    return made


def normals(seed, count):
    """Return the first numbers of the stream ``start`` as its definition says, from NumPy alone."""
    words = struct.unpack("<4I", hashlib.sha256(b"start").digest()[:16])
    key = SeedSequence(seed, spawn_key=(*words, 0))
    return Generator(Philox(key)).standard_normal(count)


@pytest.mark.parametrize("kind", [*FUNCTIONS, *NOISY], ids=lambda kind: kind.name)
def test_starts_are_the_published_one_and_normal_numbers_around_it_in_the_domain(kind):
    plain, _ = make_problem(kind.name, {})
    function = spread(kind.name)
    low, high = np.array(function.domain).T
    away = WIDE * (high - low)
    assert function.start(0).tobytes() == plain.start(0).tobytes() == plain.start(3).tobytes()
    for seed in (1, 2, 1_000_000):
        free = np.array(plain.origin) + away * normals(seed, function.parameters)
        expected = [min(max(x, a), b) for x, a, b in zip(free, low, high, strict=True)]
        assert function.start(seed).dtype == np.float64
        np.testing.assert_allclose(function.start(seed), expected, rtol=1e-15)


@pytest.mark.parametrize("seed", GOLDEN)
def test_instances_stay_what_they_are(seed):
    np.testing.assert_allclose(spread("anisotropic").start(seed), GOLDEN[seed], rtol=1e-15)


def test_a_coordinate_that_would_leave_the_domain_is_put_on_its_edge():
    function = spread("anisotropic", start_spread=1.0)
    starts = np.array([function.start(seed) for seed in range(1, 200)])
    free = np.array([function.origin + 20.0 * normals(seed, 2) for seed in range(1, 200)])
    assert np.abs(starts).max() == 10.0
    inside = np.abs(free) <= 10.0
    assert 0.2 < inside.mean() < 0.6
    np.testing.assert_allclose(starts[inside], free[inside])
    np.testing.assert_array_equal(starts[~inside], 10.0 * np.sign(free[~inside]))


def test_a_function_is_random_once_its_starts_are_spread():
    plain, _ = make_problem("anisotropic", {})
    assert not plain.is_random((0, 1))
    assert spread("anisotropic").is_random((0, 1))
    assert spread("anisotropic").is_random()
    assert not spread("anisotropic").stochastic  # a row is the loss itself, its own mean


def test_the_definition_names_what_decides_the_starts_and_only_where_they_are_spread():
    plain, _ = make_problem("anisotropic", {})
    none = spread("anisotropic", start_spread=0.0)
    assert "start_spread" not in plain.definition()
    assert none.fingerprint == plain.fingerprint
    assert spread("anisotropic").definition() == plain.definition() | {
        "start_spread": {
            "share": 0.05,
            "domain": [[-10.0, 10.0], [-10.0, 10.0]],
            "generator": "Philox",
            "stream": "start",
        }
    }
    large = spread("sphere", dimensions=1000).definition()["start_spread"]
    assert large["domain"] == {"repeat": [[-5.0, 5.0]]}


def test_another_share_or_domain_is_another_problem():
    formula = {"expression": "x**2", "start": {"x": 2.0}}
    fingerprints = [
        spread("function", **formula, **changes).fingerprint
        for changes in (
            {"start_spread": 0.0},
            {},
            {"start_spread": 0.1},
            {"domain": {"x": [-4, 4]}},
            {"domain": {"x": [-4, 5]}},
        )
    ]
    assert len(set(fingerprints)) == len(fingerprints)


def test_a_guessed_domain_counts_like_a_given_one():
    function = spread("function", expression="x**2 + y**2", start={"x": 3, "y": 4})
    assert function.domain == ((-5.0, 5.0), (-5.0, 5.0))
    np.testing.assert_allclose(function.start(1), [3, 4] + 0.5 * normals(1, 2), rtol=1e-15)


@pytest.mark.parametrize(
    ("domain", "options", "says"),
    [
        ({"x": [-1, 1]}, {}, "starts at x = 2, outside its domain from -1 to 1; start_spread "),
        ({"x": [-1e50, 1e50]}, {"dtype": "float32"}, "from -1e+50 to 1e+50, too wide for float32"),
    ],
)
def test_a_domain_that_no_start_can_be_spread_over_is_refused(domain, options, says):
    formula = {"expression": "x**2", "start": {"x": 2.0}, "domain": domain, **options}
    with pytest.raises(SuiteError) as refused:
        spread("function", **formula)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    make_problem("function", formula)


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan, "wide", True])
def test_a_share_lies_between_nothing_and_the_whole(share):
    with pytest.raises(SuiteError, match="start_spread"):
        spread("anisotropic", start_spread=share)


MINE = '''
from optbench.problems import function


@function(start=[1.0, 2.0, 3.0]{domain})
def bowl(p):
    """A bowl."""
    return p @ p, 2 * p
'''


@pytest.mark.usefixtures("forget")
def test_a_function_of_ones_own_is_spread_over_its_domain(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(MINE.format(domain=", domain=[(-5, 5)] * 3"))
    function = spread(f"{file}:bowl")
    np.testing.assert_allclose(function.start(2), [1, 2, 3] + 0.5 * normals(2, 3), rtol=1e-15)


@pytest.mark.usefixtures("forget")
def test_without_a_domain_there_is_no_share_of_it(tmp_path):
    (tmp_path / "mine.py").write_text(MINE.format(domain=""))
    arguments = ("run", "--problem", "mine.py:bowl", "--start-spread", WIDE)
    message = command(*arguments, cwd=tmp_path).message
    assert message.endswith(
        "bowl has no domain for start_spread to be a share of; give it one, an interval for each "
        "variable, or leave start_spread out"
    )


def test_a_suite_spreads_the_starts_of_one_problem_or_of_all(tmp_path):
    text = """
        seeds = 3
        iterations = 2
        {top}
        [[problem]]
        name = "anisotropic"
        {own}
        [[problem]]
        name = "booth"
        [[optimizer]]
        name = "sgd"
    """
    for top, own, lanes in (
        ("", "", (1, 1)),
        ("", "start_spread = 0.05", (3, 1)),
        ("start_spread = 0.05", "", (3, 3)),
        ("start_spread = 0.05", "start_spread = 0.0", (1, 3)),
    ):
        path = run_command(suite(tmp_path, text.format(top=top, own=own)), cwd=tmp_path)
        counts = optbench.load(path).lanes["problem"].value_counts()
        assert (counts["anisotropic"], counts["booth"]) == lanes
        assert [entry["random"] for entry in meta(path)["problems"]] == [n > 1 for n in lanes]


def test_a_seed_starts_and_goes_the_same_way_in_any_company(tmp_path):
    """Every bit: alone, or among other seeds, optimizers and workers."""
    asked = {"start_spread": WIDE, "out": tmp_path}
    among = run("anisotropic", seeds=5, **asked)
    for label in ("sgd", "adam"):
        alone = run("anisotropic", optimizers=label, seeds=[3], workers=2, **asked)
        (lane,) = among.lanes.query(f"label == '{label}' and seed == 3")["lane"]
        rows = among.trace[among.trace["lane"] == lane]
        for column in ("loss", "x", "y"):
            assert rows[column].to_numpy().tobytes() == alone.trace[column].to_numpy().tobytes()
        key = among.lanes.set_index("lane")["lane_key"][lane]
        assert alone.lanes["lane_key"].tolist() == [key]


def test_seed_0_has_the_rows_of_a_run_whose_starts_are_not_spread(tmp_path):
    plain = trace(run_command("anisotropic", cwd=tmp_path))
    path = run_command("anisotropic", "--start-spread", WIDE, "--seeds", 10, cwd=tmp_path)
    rows = optbench.load(path)
    first = rows.lanes.loc[rows.lanes["seed"] == 0, "lane"]
    own = rows.trace[rows.trace["lane"].isin(first)]
    for column in ("loss", "x", "y"):
        assert own[column].to_numpy().tobytes() == plain[column].to_numpy().tobytes()
    starts = rows.trace.query("iteration == 0").merge(rows.lanes[["lane", "seed"]])
    assert starts.groupby("seed")[["x", "y"]].nunique().eq(1).all(axis=None)  # of all optimizers
    assert starts["x"].nunique() == 10


def test_ten_seeds_let_optimizers_be_compared(tmp_path):
    path = run_command("anisotropic", "--start-spread", WIDE, "--seeds", 10, cwd=tmp_path)
    pairs = optbench.compare(path)
    assert len(pairs) == 6
    assert pairs["random"].all()
    assert (pairs["seeds"] == 10).all()
    verdicts = pairs.set_index(["a", "b"])["verdict"]
    assert verdicts["adagrad", "momentum"] == "better"
    assert set(verdicts) <= {"better", "undecided"}
    seen = command("compare", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert "nothing random" not in seen.out


def test_an_instance_that_starts_high_is_not_above_its_start(tmp_path):
    """The median start of the seeds says nothing of a lane that begins far above it."""
    asked = {"problem": "anisotropic", "start_spread": 0.2, "seeds": 12, "out": tmp_path}
    slow = run(**asked, optimizers="sgd", set={"sgd.lr": 1e-6})
    first = slow.trace.query("iteration == 0")["loss"]
    assert (slow.lanes["final_loss"] > first.median()).any()
    assert slow.summary()["lanes_above"].tolist() == [0]
    worse = run(**asked, optimizers="sgd", set={"sgd.lr": 1.01})
    began = worse.trace.query("iteration == 0")["loss"].to_numpy()
    count = int((worse.lanes["final_loss"].to_numpy() > began).sum())
    assert 0 < count < 12
    assert worse.summary()["lanes_above"].tolist() == [count]


def test_the_option_is_listed_with_those_of_every_function(tmp_path):
    for name in ("anisotropic", "sphere", "noisy-beale", "function"):
        assert "start_spread" in command("list", "problems", name, cwd=tmp_path).out


def test_what_is_no_function_of_a_domain_does_not_take_it(tmp_path):
    for name in ("mnist-mlp", "quadratic-deep"):
        message = command("run", name, "--start-spread", WIDE, cwd=tmp_path).message
        assert message == f"--start-spread means nothing to {name}; leave it out"
    assert not Path(tmp_path / "results").exists()
