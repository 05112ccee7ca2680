"""PyTorch's contenders on a GPU do the same work as optbench; here on the CPU."""

import pytest

torch = pytest.importorskip("torch")

from benchmarks import gpu_pytorch
from benchmarks.speed import ours
from benchmarks.speed.workload import Workload, learning_rates
from optbench.records import TraceChunk


def test_stacked_networks_have_the_losses_of_optbench():
    lanes, steps = 3, 12
    workload = Workload()
    suite = ours.network_suite({"adam": learning_rates()["adam"]}, lanes, steps)
    ours.leave_out(suite, workload.start)
    records = []
    ours.step_all(ours.plan_of(suite), records.append)
    expected = {}
    for record in records:
        if isinstance(record, TraceChunk):
            for place, lane in enumerate(record.lanes.tolist()):
                expected[lane] = record.loss[:steps, place]
    step = gpu_pytorch._step(gpu_pytorch.network(workload.weights(0)))
    starts = [gpu_pytorch.network(workload.weights(seed)) for seed in range(lanes)]
    params = {
        name: torch.stack([dict(start.named_parameters())[name].detach() for start in starts])
        for name, _ in starts[0].named_parameters()
    }
    moments = [{name: torch.zeros_like(p) for name, p in params.items()} for _ in range(2)]
    state = params, *moments
    pixels, labels = torch.from_numpy(workload.pixels), torch.from_numpy(workload.labels)
    for number in range(steps):
        batch = torch.stack(
            [torch.from_numpy(workload.batches(seed, steps)[number]) for seed in range(lanes)]
        )
        *state, losses = step(*state, torch.tensor(number + 1.0), pixels[batch], labels[batch])
        for lane in range(lanes):
            assert losses[lane].item() == pytest.approx(expected[lane][number], rel=1e-4)


def test_they_are_timed():
    workload = Workload()
    assert gpu_pytorch.eager(workload, 3)() > 0
    assert gpu_pytorch.vmapped(workload, 2, 3, compiled=False)() > 0
