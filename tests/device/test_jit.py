"""Compiled programs have the bits of NumPy's, and are compiled only where that is worth it."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optbench.device import jit
from optbench.device.cpu import NumpyDevice
from optbench.device.kernels import NumpyKernel
from optbench.device.programs import OPERATIONS, trace
from optbench.optimizers.registry import OPTIMIZERS
from tests.device.random_rules import COLUMNS, rules
from tests.device.test_kernels import assert_same_bits, columns_of, laid_out, made_up, of
from tests.optimizers.driver import ELEMENTWISE
from tests.small import run_suite, small_network, suite

WHOLE = ["by lane", "by coordinate", "a group", "a stretch"]
SPECIAL = np.array([0.0, -0.0, 0.5, -2.0, 1e-310, 3e38, np.inf, -np.inf, np.nan])

numba = pytest.importorskip("numba", reason="Numba is not installed")


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """Leave the user's cache alone."""
    monkeypatch.setattr(jit, "_kept", lambda text: None)


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(jit, "LOAD_AFTER", 0)
    monkeypatch.setattr(jit, "COMPILE_AFTER", 0)


def both(program, values, columns, layout):
    """Return the arrays after NumPy's steps and after compiled ones."""
    results = []
    for make in (NumpyKernel, jit.CpuKernel):
        arrays = [laid_out(each, layout) for each in values]
        kernel = make(program, arrays)
        with np.errstate(all="ignore"):
            for _ in range(3):
                kernel(columns)
        results.append(arrays)
    assert kernel.is_compiled
    return results


@pytest.mark.slow
@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(  # as networks and as functions have them; the next test mixes them
    ("dtype", "layout"), [("float32", "by lane"), ("float64", "by coordinate")]
)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_optimizer_has_the_bits_of_numpy(name, dtype, layout):
    optimizer = OPTIMIZERS[name]
    names, count = columns_of(optimizer), 2 + len(optimizer.slots)
    program = trace(optimizer.rule, count, names)
    for shape in [(1, 1), (3, 1003), (1003, 3)]:
        values, columns = made_up(shape, dtype, count, names)
        assert_same_bits(*both(program, values, columns, layout))


@pytest.mark.usefixtures("at_once")
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rule=rules(),
    layout=st.sampled_from(WHOLE),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_any_rule_has_the_bits_of_numpy(rule, layout, dtype):
    values, columns = made_up((5, 37), dtype, rule.arrays, COLUMNS)
    program = trace(rule, rule.arrays, COLUMNS)
    assert_same_bits(*both(program, values, columns, layout))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("layout", ["by lane", "by coordinate"])
def test_columns_that_all_lanes_share_may_change_from_step_to_step(layout):
    program = trace(OPTIMIZERS["momentum"].rule, 3, ("lr", "momentum"))
    values, own = made_up((4, 9), "float64", 3, ("lr", "momentum"))
    one = {name: column[:1] for name, column in own.items()}
    steps = [{**own, "momentum": one["momentum"]}, one, own, {**own, "lr": one["lr"]}]
    found, expected = ([laid_out(each, layout) for each in values] for _ in range(2))
    kernel, numpy = jit.CpuKernel(program, found), NumpyKernel(program, expected)
    for columns in steps:
        kernel(columns)
        numpy(columns)
    assert kernel.is_compiled
    assert_same_bits(found, expected)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", sorted(set(jit.EXACT) - {"copy"}))
def test_every_operation_has_the_bits_of_numpy_where_numbers_are_special(name, dtype):
    some = SPECIAL[np.isnan(SPECIAL) | (np.abs(SPECIAL) < np.finfo(dtype).max)]
    pairs = [np.repeat(some, len(some)), np.tile(some, len(some))]
    values = [np.tile(each, 7)[None].astype(dtype) for each in pairs]
    assert_same_bits(*both(trace(of(name), 2, ()), values, {}, "by lane"))


def test_operations_with_more_than_one_right_result_stay_with_numpy():
    assert set(OPERATIONS) - set(jit.EXACT) == {"exp", "log", "tanh"}
    arrays = [np.ones((2, 3)), np.ones((2, 3))]
    assert not jit.can_compile(trace(of("exp"), 2, ()), arrays)


@pytest.mark.usefixtures("at_once")
def test_arrays_in_pieces_stay_with_numpy():
    arrays = [laid_out(np.ones((2, 3)), "a part") for _ in range(2)]
    kernel = jit.CpuKernel(trace(of("add"), 2, ()), arrays)
    kernel({})
    assert not kernel.is_compiled
    assert (arrays[0] == 2.0).all()


def test_a_program_is_compiled_once_numpy_has_worked_on_it_for_long(monkeypatch):
    def rule(w, g, *, xp):
        return (w - 0.25 * g,)

    monkeypatch.setattr(jit, "LOAD_AFTER", 0)
    monkeypatch.setattr(jit, "COMPILE_AFTER", 2 * 6 * 3)  # two operations on six numbers, thrice
    elementwise = NumpyDevice().elementwise()
    w, g = np.zeros((2, 3)), np.ones((2, 3))
    compiled = []
    monkeypatch.setattr(
        jit, "compiled", lambda *args, **how: compiled.append(how) or (lambda *arrays: None)
    )
    for _ in range(3):
        elementwise(rule, [w, g], {})
    assert compiled == []
    elementwise(rule, [w, g], {})
    assert compiled == [{"by_lane": True, "shared": frozenset()}]
    assert (w == -0.75).all()


def test_a_trace_does_not_depend_on_when_its_rule_is_compiled(monkeypatch):
    several = suite(small_network(), optimizers=["adam", "momentum"], seeds=(0, 1), iterations=30)
    found = []
    monkeypatch.setattr(jit, "LOAD_AFTER", 0)
    for after in (10**18, 5_000, 0):
        monkeypatch.setattr(jit, "COMPILE_AFTER", after)
        found.append([lane.bits for lane in run_suite(several).values()])
    assert found[0] == found[1] == found[2]


def test_numba_is_loaded_once_all_programs_together_have_worked_for_long(monkeypatch):
    monkeypatch.setattr(jit, "COMPILE_AFTER", 0)
    monkeypatch.setattr(jit, "LOAD_AFTER", 30)
    monkeypatch.setattr(jit._Work, "of_all", 0)
    names, kernels = ("add", "subtract", "multiply"), []
    for name in names:
        kernels.append(jit.CpuKernel(trace(of(name), 2, ()), [np.zeros((2, 6)), np.ones((2, 6))]))
        kernels[-1]({})  # 12 operations
    for kernel in kernels:
        assert not kernel.is_compiled
        kernel({})
        assert kernel.is_compiled


@pytest.mark.usefixtures("at_once")
def test_compiled_programs_are_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    program = trace(of("add"), 2, ())
    hits = []
    for _ in range(2):
        jit.compiled.cache_clear()
        function = jit.compiled(program, "float64", by_lane=True)
        w = np.zeros((2, 3))
        function(w, np.ones((2, 3)))
        assert (w == 1.0).all()
        hits.append(sum(function.stats.cache_hits.values()))
    assert hits == [0, 1]
    (file,) = (tmp_path / "optbench" / "kernels").glob("*.py")
    assert file.read_text() == jit.source(program, by_lane=True)
    for kept in file.parent.glob("__pycache__/*"):
        kept.write_bytes(b"damaged")
    jit.compiled.cache_clear()
    jit.compiled(program, "float64", by_lane=True)(w, -np.ones((2, 3)))
    assert (w == 0.0).all()
    w[...] = 1.0
    file.write_text("def kernel(a0, a1): raise ValueError")  # whatever stands there
    jit.compiled.cache_clear()
    jit.compiled(program, "float64", by_lane=True)(w, np.ones((2, 3)))
    assert (w == 2.0).all()


@pytest.mark.usefixtures("at_once")
def test_without_a_cache_programs_are_compiled_all_the_same(monkeypatch, tmp_path):
    monkeypatch.undo()
    (tmp_path / "optbench").write_text("")  # where the folder would be
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    jit.compiled.cache_clear()
    w = np.zeros((2, 3))
    jit.compiled(trace(of("add"), 2, ()), "float64", by_lane=True)(w, np.ones((2, 3)))
    assert (w == 1.0).all()


def test_without_numba_everything_works(monkeypatch):
    monkeypatch.setattr(jit, "numba_available", lambda: False)
    monkeypatch.setattr(jit, "LOAD_AFTER", 0)
    monkeypatch.setattr(jit, "COMPILE_AFTER", 0)
    arrays = [np.zeros((2, 3)), np.ones((2, 3))]
    jit.CpuKernel(trace(of("add"), 2, ()), arrays)({})
    assert (arrays[0] == 1.0).all()


def test_short_runs_do_not_load_numba(tmp_path):
    code = (
        "import sys, optbench\n"
        f"optbench.run('anisotropic', out={str(tmp_path)!r})\n"
        "print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
