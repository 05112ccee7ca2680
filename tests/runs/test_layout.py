"""Lanes, their keys and blocks; and what is promised of them: nothing but its own key decides a
lane's trace."""

import hashlib
import json
import pickle
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.device.base import CPU_BLOCK_BYTES
from optbench.engine.block import Block, halves
from optbench.optimizers.base import host_columns
from optbench.optimizers.registry import get_optimizer
from optbench.problems.registry import make_problem
from optbench.runs import layout as lanes_module
from optbench.runs.layout import (
    block_bytes,
    block_seconds,
    lane_bytes,
    lane_cost,
    lay_out,
    plan_blocks,
)
from optbench.runs.pipeline import plan_run
from tests.small import (
    TEXTBOOK,
    anisotropic,
    blocks_of,
    cpu,
    quadratic,
    run_blocks,
    run_suite,
    small_network,
    suite,
)

RATES = [{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.001}]


def swept(names=TEXTBOOK):
    return [(name, RATES) for name in names]


def bits(outcomes):
    return {number: outcome.bits for number, outcome in outcomes.items()}


def block_sizes(blocks):
    return [len(block.lanes) for block in blocks]


def bits_by_key(outcomes):
    return {outcome.lane.key: outcome.bits for outcome in outcomes.values()}


def test_lanes_are_laid_out_by_problem_optimizer_grid_point_and_seed():
    settled = suite(anisotropic(), quadratic(), optimizers=swept(["sgd", "adam"]), seeds=(3, 7))
    lanes = lay_out(settled, "cpu")
    assert [lane.number for lane in lanes] == list(range(2 * 2 * 3 * 2))
    rows = [(lane.problem, lane.label, lane.hyperparameters, lane.seed) for lane in lanes]
    names = ("anisotropic", "quadratic-1d"), ("sgd", "adam")
    expected = list(product(*names, (rate["lr"] for rate in RATES), (3, 7)))
    assert [(*names, values["lr"], seed) for *names, values, seed in rows] == expected
    assert lanes[0].fingerprint == anisotropic().fingerprint


def parts():
    """What a key is made of, for sgd on anisotropic."""
    return {
        "fingerprint": anisotropic().fingerprint,
        "optimizer": {"name": "sgd", "source": "optbench"},
        "hyperparameters": {"lr": 0.01},
        "schedule": "constant",
        "seed": 0,
        "iterations": 20,
        "evaluation": "end",
        "stopping": None,
        "device": "cpu",
        "numerics_version": 1,
    }


def only_key(settled, device="cpu"):
    (lane,) = lay_out(settled, device)
    return lane.key


def test_the_key_of_a_lane_is_the_same_for_ever():
    key = only_key(suite(anisotropic(), optimizers=["sgd"]))
    assert key == "b76beb9b5ce155a89991e992e3d59b876480cba7aadf41ca7dc818a970a7f88e"
    text = json.dumps(parts(), sort_keys=True, separators=(",", ":"))
    assert key == hashlib.sha256(text.encode()).hexdigest()


def test_every_part_of_a_key_changes_it(monkeypatch):
    plain = suite(anisotropic(), optimizers=["sgd"])
    keys = [
        only_key(plain),
        only_key(plain, "gpu"),
        only_key(suite(anisotropic(), optimizers=[("sgd", [{"lr": 0.02}])])),
        only_key(suite(anisotropic(), optimizers=["momentum"])),
        only_key(suite(anisotropic(), optimizers=["sgd"], seeds=(1,))),
        only_key(suite(anisotropic(), optimizers=["sgd"], iterations=21)),
        only_key(suite(anisotropic(dtype="float32"), optimizers=["sgd"])),
        only_key(suite(quadratic(), optimizers=["sgd"])),
    ]
    monkeypatch.setattr(lanes_module, "NUMERICS_VERSION", 2)
    keys.append(only_key(plain))
    assert len(set(keys)) == len(keys)


def test_keys_know_neither_order_nor_label_nor_company():
    settled = suite(anisotropic(), optimizers=swept(), seeds=(0, 1))
    usual = {lane.key for lane in lay_out(settled, "cpu")}
    assert len(usual) == len(TEXTBOOK) * 3 * 2
    (setting,) = settled.problems
    relabelled = tuple(
        replace(
            each,
            label=f"my {each.label}",
            configurations=tuple(
                dict(reversed(list(one.items()))) for one in reversed(each.configurations)
            ),
        )
        for each in reversed(setting.optimizers)
    )
    other = replace(
        settled,
        name="other",
        seeds=(1, 0),
        problems=(replace(setting, label="my problem", optimizers=relabelled),),
    )
    assert {lane.key for lane in lay_out(other, "cpu")} == usual


def test_a_block_holds_the_lanes_of_one_problem_by_rule_and_then_by_seed():
    settled = suite(anisotropic(), quadratic(), optimizers=swept(["sgd", "adam"]), seeds=(3, 7))
    blocks = blocks_of(settled)
    assert [(block.number, block.problem.name, block.iterations) for block in blocks] == [
        (0, "anisotropic", 20),
        (1, "quadratic-1d", 20),
    ]
    for block in blocks:
        assert [group.optimizer.name for group in block.groups] == ["sgd", "adam"]
        first = 12 * block.number
        assert [[lane.number - first for lane in group.lanes] for group in block.groups] == [
            [0, 2, 4, 1, 3, 5],
            [6, 8, 10, 7, 9, 11],
        ]
        assert block.lanes == block.groups[0].lanes + block.groups[1].lanes
        assert block.slices == (slice(0, 6), slice(6, 12))


def test_entries_of_one_rule_that_have_the_same_settings_share_a_group():
    decayed = {"l2": 0.1}
    settled = suite(anisotropic(), optimizers=["sgd", "adam", ("sgd", [{}, decayed])])
    (setting,) = settled.problems
    entries = [
        replace(entry, label=label)
        for entry, label in zip(setting.optimizers, ["sgd", "adam", "again"], strict=True)
    ]
    problems = (replace(setting, optimizers=tuple(entries)),)
    (block,) = blocks_of(replace(settled, problems=problems))
    assert [
        [(lane.label, "l2" in lane.hyperparameters) for lane in g.lanes] for g in block.groups
    ] == [
        [("sgd", False), ("again", False)],
        [("adam", False)],
        [("again", True)],
    ]


@pytest.mark.parametrize("bytes_", [80, 200, 300, 10_000])
def test_a_block_planned_alone_is_as_among_the_others(bytes_):
    """Resumed runs plan each block from its lanes, also where entries of a rule are apart."""
    names = ["sgd", "adam", "momentum"]
    settled = suite(anisotropic(start_spread=0.1), optimizers=[*names, *names], seeds=range(5))
    (setting,) = settled.problems
    entries = [
        replace(entry, label=f"{entry.label} {place}")
        for place, entry in enumerate(setting.optimizers)
    ]
    settled = replace(settled, problems=(replace(setting, optimizers=tuple(entries)),))
    for block in plan_blocks(settled, lay_out(settled, "cpu"), bytes_):
        (alone,) = plan_blocks(settled, block.lanes, 2**62)
        assert alone.lanes == block.lanes


def test_a_group_knows_the_hyperparameters_of_its_lanes_and_a_block_their_seeds():
    configurations = [{"lr": 0.1, "beta1": 0.5}, {"lr": 0.2}]
    (block,) = blocks_of(
        suite(small_network(), optimizers=[("adam", configurations)], seeds=(7, 3))
    )
    assert block.seeds == (3, 7)
    (group,) = block.groups
    columns = host_columns(group.optimizer, group.configurations)
    columns = {name: values[0].tolist() for name, values in columns.items()}
    assert columns == {
        "lr": [[0.1], [0.2]] * 2,
        "beta1": [[0.5], [0.9]] * 2,
        "beta2": [[0.999]] * 4,
        "eps": [[1e-7]] * 4,
        "eps_place": [[0.0]] * 4,
        "bias_correction": [[1.0]] * 4,
    }


def test_lanes_of_one_seed_stay_together_where_a_problem_takes_several_blocks():
    names = ["sgd", "momentum", "adagrad", "adam"]
    settled = suite(small_network(), optimizers=names, seeds=(0, 7))
    half = sum(lane_bytes(small_network(), get_optimizer(name)) for name in names)
    blocks = blocks_of(settled, cpu(half))
    assert [block.seeds for block in blocks] == [(0,), (7,)]
    assert [[group.optimizer.name for group in block.groups] for block in blocks] == [names] * 2


@pytest.mark.parametrize(
    ("bytes_", "sizes"), [(1, [1] * 7), (2 * 32, [2, 1, 2, 2]), (5 * 32, [3, 4]), (7 * 32, [7])]
)
def test_blocks_are_as_large_as_the_device_allows_and_evenly_filled(bytes_, sizes):
    """A lane of sgd on two variables in float64 takes 2 · 2 · 8 bytes."""
    blocks = blocks_of(suite(anisotropic(), optimizers=["sgd"], seeds=range(7)), cpu(bytes_))
    assert block_sizes(blocks) == sizes
    assert [lane.number for block in blocks for lane in block.lanes] == list(range(7))


def test_slots_and_precision_count_towards_the_size_of_a_block():
    def lanes_a_block(problem, optimizer):
        settled = suite(problem, optimizers=[optimizer], seeds=range(8))
        return len(blocks_of(settled, cpu(64))[0].lanes)

    assert lanes_a_block(anisotropic(), "sgd") == 2
    assert lanes_a_block(anisotropic(), "adam") == 1
    assert lanes_a_block(anisotropic(dtype="float32"), "sgd") == 4
    assert lanes_a_block(quadratic(), "sgd") == 4


def test_networks_of_the_textbook_share_a_block_of_the_size_that_a_core_caches():
    network, _ = make_problem("mnist-mlp", {"data": "mnist-5k"})
    blocks = blocks_of(suite(network, optimizers=["sgd", "adam"], seeds=range(100)))
    outputs = 4 * 100 + 10  # ReLU writes over them
    gradients = 4 * 100 + 10
    smallest = 4 * (2 * network.parameters + 128 * (outputs + gradients))
    for block in blocks:
        slots = sum(len(group.lanes) * len(group.optimizer.slots) for group in block.groups)
        size = len(block.lanes) * smallest + 4 * slots * network.parameters
        assert block_bytes(block) == size <= CPU_BLOCK_BYTES < size + 2 * smallest
    assert sum(len(block.lanes) for block in blocks) == 200


def test_work_arrays_of_a_network_count_towards_the_size_of_a_block():
    """For each example: outputs of dense layers, which ReLU writes over, and their gradients."""
    adam = get_optimizer("adam")
    outputs, gradients = 7 + 5 + 4, 7 + 5 + 4
    for batch_size, dtype, size in [(8, "float64", 8), (33, "float32", 4)]:
        network = small_network(batch_size=batch_size, dtype=dtype)
        expected = size * (4 * 155 + batch_size * (outputs + gradients))
        assert lane_bytes(network, adam) == expected
    assert lane_bytes(anisotropic(), adam) == 8 * 4 * 2


@pytest.mark.parametrize(("workers", "blocks"), [(1, 2), (2, 2), (3, 3), (4, 4), (5, 5), (99, 11)])
def test_every_worker_has_as_many_blocks_of_a_problem(workers, blocks, monkeypatch):
    monkeypatch.setattr(lanes_module, "WORTH_SHARING", 0)
    settled = suite(anisotropic(), optimizers=[("sgd", [{}] * 4), ("adam", [{}] * 7)])
    plan = plan_run(settled, cpu(5 * lane_bytes(anisotropic(), get_optimizer("adam"))), workers)
    assert [block.number for block in plan.blocks] == list(range(blocks))
    assert [lane.number for block in plan.blocks for lane in block.lanes] == list(range(11))
    assert plan.workers == min(workers, 11)


def test_blocks_cost_about_the_same(monkeypatch):
    """A lane of Adam on a network costs a tenth more than one of SGD."""
    network, _ = make_problem("mnist-mlp", {"data": "mnist-5k"})
    settled = suite(network, optimizers=[("sgd", [{}] * 20), ("adam", [{}] * 20)])
    first, second = plan_run(settled, cpu(2**40), workers=2).blocks
    assert (len(first.lanes), len(second.lanes)) == (21, 19)
    costs = [
        sum(lane_cost(network, group.optimizer) * len(group.lanes) for group in block.groups)
        for block in (first, second)
    ]
    assert costs[0] == pytest.approx(costs[1], rel=0.04)


@pytest.mark.parametrize(("count", "sizes"), [(32, [32]), (33, [16, 17])])
def test_lanes_too_small_to_share_stay_together(count, sizes, monkeypatch):
    monkeypatch.setattr(lanes_module, "WORTH_SHARING", 64)  # parameters, two for each lane
    settled = suite(anisotropic(), optimizers=[("sgd", [{}] * count)])
    assert block_sizes(plan_run(settled, cpu(), 2).blocks) == sizes


def blocks_for_a_cluster(iterations, workers=1, memory=2**40):
    network, _ = make_problem("mnist-mlp", {"data": "mnist-5k"})
    settled = suite(network, optimizers=["sgd", "adam"], seeds=range(40), iterations=iterations)
    return plan_blocks(settled, lay_out(settled, "cpu"), memory, workers, by_time=True)


def test_blocks_for_a_cluster_take_about_ten_seconds_each():
    blocks = blocks_for_a_cluster(iterations=2000)
    assert len(blocks) > 5
    assert all(7 < block_seconds(block) < 20 for block in blocks)


@pytest.mark.parametrize("workers", [2, 3, 4, 5])
def test_each_worker_of_a_cluster_is_given_as_many_blocks(workers):
    alone, shared = (blocks_for_a_cluster(2000, each) for each in (1, workers))
    assert len(shared) % workers == 0
    assert len(alone) - workers < len(shared) <= len(alone)


def test_each_is_given_as_many_where_memory_cuts_lanes():
    memory = 10 * 2**20
    alone = blocks_for_a_cluster(iterations=10, memory=memory)
    workers = len(alone) - 1
    assert workers > 1
    shared = blocks_for_a_cluster(10, workers, memory)
    assert len(shared) == 2 * workers


def test_blocks_of_a_cluster_are_not_shorter_because_it_has_more_workers():
    assert len(blocks_for_a_cluster(2000, 1000)) == len(blocks_for_a_cluster(2000))


def test_what_takes_less_is_one_block_on_a_cluster():
    assert len(blocks_for_a_cluster(iterations=10)) == 1


@pytest.mark.parametrize("memory", [2**40, 10 * 2**20])
def test_a_cluster_cuts_lanes_no_finer_than_they_fit(memory):
    network, _ = make_problem("mnist-mlp", {"data": "mnist-5k"})
    settled = suite(network, optimizers=["sgd", "adam"], seeds=range(9), iterations=10)
    lanes = lay_out(settled, "cpu")
    here, there = (plan_blocks(settled, lanes, memory, by_time=way) for way in (False, True))
    assert [block.lanes for block in there] == [block.lanes for block in here]


def test_users_code_has_blocks_of_its_own_on_a_cluster(monkeypatch):
    monkeypatch.setattr(lanes_module, "is_users", lambda part: part.name == "adam")
    settled = suite(anisotropic(), optimizers=["sgd", "adam"])
    blocks = plan_blocks(settled, lay_out(settled, "cpu"), 2**40, by_time=True)
    assert [[lane.label for lane in block.lanes] for block in blocks] == [["sgd"], ["adam"]]


@given(st.integers(2, 9), st.integers(0, 5))
def test_halves_are_the_lanes_of_a_block_with_numbers_of_their_own(count, number):
    (block,) = blocks_of(suite(anisotropic(), optimizers=["sgd"], seeds=range(count)))
    first, second = halves(block, iter([number, number + 1]))
    assert (first.number, second.number) == (number, number + 1)
    assert first.lanes + second.lanes == block.lanes
    assert 0 <= len(second.lanes) - len(first.lanes) <= 1
    for half in (first, second):
        assert replace(half, number=block.number, groups=block.groups) == block


def test_a_block_of_several_rules_is_halved_between_two_of_them():
    optimizers = ["sgd", ("momentum", [{}] * 5), ("adam", [{}] * 2)]
    (block,) = blocks_of(suite(anisotropic(), optimizers=optimizers))
    halved = halves(block, iter([1, 2]))
    assert [[group.optimizer.name for group in half.groups] for half in halved] == [
        ["sgd", "momentum"],
        ["adam"],
    ]


@given(st.integers(1, 40), st.integers(1, 2000), st.randoms())
def test_every_lane_is_in_one_block_whatever_their_size(count, bytes_, random):
    settled = suite(anisotropic(), optimizers=["sgd", "adam"], seeds=range(count))
    lanes = list(lay_out(settled, "cpu"))
    blocks = plan_blocks(settled, lanes, bytes_)
    random.shuffle(lanes)
    again = plan_blocks(settled, lanes, bytes_)
    for plan in (blocks, again):
        numbers = [lane.number for block in plan for lane in block.lanes]
        assert sorted(numbers) == list(range(2 * count))
        for block in plan:
            assert block_bytes(block) <= bytes_ or len(block.lanes) == 1


# Promises: every trace, summary and evaluation is the same to the last bit.


def everything(**options):
    problems = (small_network(**options), anisotropic(), quadratic())
    return suite(*problems, optimizers=swept(), seeds=(0, 7), iterations=70)


@pytest.fixture(scope="module")
def expected_bits():
    """What blocks of all lanes give with one worker, by the networks' precision."""
    return {dtype: bits(run_suite(everything(dtype=dtype))) for dtype in ("float32", "float64")}


@pytest.mark.parametrize(("lanes", "workers"), [(1, 1), (1, 3), (2, 2), (3, 1), (3, 3), (6, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neither_workers_nor_the_size_of_blocks_change_a_bit(dtype, lanes, workers, expected_bits):
    """Networks in both precisions and functions, with every optimizer, all in one run."""
    settled = everything(dtype=dtype)
    largest = lane_bytes(settled.problems[0].problem, get_optimizer("adam"))
    device = cpu(lanes * largest)
    plan = plan_run(settled, device, workers)
    assert plan.workers == workers
    assert lanes <= max(block_sizes(plan.blocks[:-2])) <= 2 * lanes
    outcomes = run_blocks(plan.blocks, device=device, workers=plan.workers)
    assert bits(outcomes) == expected_bits[dtype]


@pytest.mark.parametrize("name", TEXTBOOK)
def test_an_optimizer_alone_has_the_bits_that_it_has_among_all(name):
    problems = (small_network(dtype="float32"), anisotropic())
    among = bits_by_key(run_suite(suite(*problems, seeds=(0, 7), iterations=70)))
    alone = bits_by_key(run_suite(suite(*problems, optimizers=[name], seeds=(0, 7), iterations=70)))
    assert len(alone) == 4
    assert alone.items() <= among.items()


@pytest.mark.parametrize("record", ["before", "after"])
@pytest.mark.parametrize("batch_size", [1, 8, 33])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("seeds", "rates"),
    [((0,), RATES), ((0, 7, 3), RATES[:1]), ((0, 7), RATES)],
    ids=["one seed", "several seeds", "seeds and rates"],
)
def test_a_block_of_many_networks_equals_blocks_of_one(seeds, rates, dtype, batch_size, record):
    network = small_network(dtype=dtype, batch_size=batch_size, record=record)
    settled = suite(
        network, optimizers=[("sgd", rates), ("adam", rates)], seeds=seeds, iterations=20
    )
    together = blocks_of(settled)
    assert len(together) == 1
    apart = blocks_of(settled, cpu(1))
    assert len(apart) == 2 * len(seeds) * len(rates)
    assert bits(run_blocks(together)) == bits(run_blocks(apart))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_block_of_many_textbook_networks_equals_blocks_of_one(dtype):
    """At its true size, where BLAS may choose other ways to multiply than for a small network."""
    network, _ = make_problem("mnist-mlp", {"data": "mnist-5k", "dtype": dtype})
    settled = suite(
        network, optimizers=[("momentum", [{"lr": 0.1}, {"lr": 0.01}])], seeds=(0, 7), iterations=3
    )
    assert bits(run_suite(settled)) == bits(run_suite(settled, device=cpu(1)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", [anisotropic, quadratic])
def test_a_block_of_many_points_equals_blocks_of_one(problem, dtype):
    settled = suite(problem(dtype=dtype), optimizers=swept(), seeds=(0, 1), iterations=70)
    assert bits(run_suite(settled)) == bits(run_suite(settled, device=cpu(1)))


@settings(max_examples=15)
@given(st.integers(1, 100_000), st.integers(1, 3))
def test_blocks_of_any_size_give_the_same_bits(bytes_, workers):
    assert bits(run_suite(SEVERAL, device=cpu(bytes_), workers=workers)) == SEVERAL_BITS


SEVERAL = suite(
    small_network(dtype="float32"),
    anisotropic(),
    optimizers=[("momentum", RATES), ("adam", RATES)],
    seeds=(0, 7),
    iterations=12,
)
SEVERAL_BITS = bits(run_suite(SEVERAL))


@settings(max_examples=15)
@given(st.randoms())
def test_permuting_lanes_permutes_traces(random):
    shuffled = []
    for block in blocks_of(SEVERAL):
        groups = [
            replace(group, lanes=tuple(random.sample(group.lanes, len(group.lanes))))
            for group in block.groups
        ]
        random.shuffle(groups)
        shuffled.append(replace(block, groups=tuple(groups)))
    random.shuffle(shuffled)
    assert bits(run_blocks(shuffled)) == SEVERAL_BITS


@settings(max_examples=15)
@given(st.data())
def test_any_lanes_give_the_bits_that_they_give_among_all(data):
    blocks = blocks_of(SEVERAL)
    block = data.draw(st.sampled_from(blocks))
    numbers = st.sets(st.sampled_from(range(len(block.lanes))), min_size=1)
    for number, found in bits(run_blocks([block.subset(data.draw(numbers))])).items():
        assert found == SEVERAL_BITS[number]


def test_the_same_seed_gives_every_optimizer_the_same_start_and_batches():
    """With lr = 0 nothing moves, so losses tell start and batches alone."""
    settled = suite(
        small_network(),
        optimizers=[(name, [{"lr": 0.0}]) for name in TEXTBOOK],
        seeds=(0, 7),
        iterations=300,
    )
    outcomes = run_suite(settled)
    traces = {seed: set() for seed in (0, 7)}
    for outcome in outcomes.values():
        traces[outcome.lane.seed].add(outcome.loss.tobytes())
    assert [len(found) for found in traces.values()] == [1, 1]
    assert traces[0] != traces[7]
    by_row = outcomes[0].loss
    assert len(set(by_row[:256]) & set(by_row[256:])) < 5  # another block of random numbers


@given(
    name=st.sampled_from(TEXTBOOK),
    iterations=st.integers(1, 80),
    make=st.sampled_from([anisotropic, quadratic]),
)
def test_a_learning_rate_of_zero_leaves_the_start_alone(name, iterations, make):
    problem = make()
    settled = suite(problem, optimizers=[(name, [{"lr": 0.0}])], iterations=iterations)
    (outcome,) = run_suite(settled).values()
    assert outcome.position.shape == (iterations + 1, problem.parameters)
    assert (outcome.position == problem.start(0)).all()
    assert len(set(outcome.loss)) == 1


def test_a_block_runs_elsewhere_as_it_does_here():
    """Blocks are plain data: they can be pickled and sent to another process."""
    sent: list[Block] = pickle.loads(pickle.dumps(blocks_of(SEVERAL)))
    assert bits(run_blocks(sent)) == SEVERAL_BITS
