"""Networks trained beside PyTorch's, from the same start on the same batches, in float64."""

import numpy as np
import pytest

from optbench.problems.registry import make_problem
from tests.small import run_suite, suite

torch = pytest.importorskip("torch")
nn = torch.nn

BATCH, STEPS, SEEDS = 16, 50, (0, 3)

MODULES = {
    "relu": lambda: nn.ReLU(),
    "leaky-relu": lambda: nn.LeakyReLU(),
    "leaky-relu slope=0.2": lambda: nn.LeakyReLU(0.2),
    "elu alpha=1.5": lambda: nn.ELU(1.5),
    "gelu": lambda: nn.GELU(),
    "gelu approximate=tanh": lambda: nn.GELU("tanh"),
    "silu": lambda: nn.SiLU(),
    "softplus": lambda: nn.Softplus(threshold=700),
    "softplus beta=3": lambda: nn.Softplus(3, threshold=700),
    "layer-norm": lambda: nn.LayerNorm(12),
    "layer-norm eps=0.01 bias=false": lambda: nn.LayerNorm(12, eps=0.01, bias=False),
    "layer-norm affine=false": lambda: nn.LayerNorm(12, elementwise_affine=False),
}
"""Layers as suites write them, and PyTorch's modules; the softplus of both is not cut off."""


def theirs(problem, seed: int, text: str):
    """Return PyTorch's network with the start that a seed gives ours."""
    model = nn.Sequential(
        nn.Linear(784, 12), MODULES[text](), nn.Linear(12, 12), MODULES[text](), nn.Linear(12, 10)
    ).double()
    row, offset = problem.start(seed), 0
    parameters = [*model.parameters()]
    with torch.no_grad():
        for parameter, tensor in zip(parameters, problem.tensors, strict=True):
            values = row[offset : offset + tensor.size].reshape(tensor.shape)
            values = values.T if tensor.name.endswith(".weight") else values
            parameter.copy_(torch.tensor(np.ascontiguousarray(values)))
            offset += tensor.size
    return model


def losses(problem, seed: int, text: str, optimizer) -> list[float]:
    """Return the loss on each batch before the update, and on one more after the last."""
    model = theirs(problem, seed, text)
    stepper = optimizer(model.parameters())
    train = problem.dataset.splits["train"]
    rows = []
    for indices in problem.draws(seed, 0)["indices"][: STEPS + 1]:
        images = torch.tensor(train.images[indices].reshape(BATCH, -1) / 255.0)
        labels = torch.tensor(train.labels[indices].astype(np.int64))
        loss = nn.functional.cross_entropy(model(images), labels)
        stepper.zero_grad()
        loss.backward()
        rows.append(loss.item())
        stepper.step()
    return rows


@pytest.mark.parametrize("text", MODULES)
def test_every_one_of_fifty_steps_is_pytorchs(text):
    layers = ["dense 12", text, "dense 12", text, "dense 10"]
    options = {"data": "mnist-5k", "loss": "nll-mean", "record": "before", "dtype": "float64"}
    problem, _ = make_problem("network", {"layers": layers, "batch_size": BATCH, **options})
    optimizers = {
        "sgd": ({"lr": 0.1}, lambda params: torch.optim.SGD(params, lr=0.1)),
        "adam-torch": ({"lr": 0.01}, lambda params: torch.optim.Adam(params, lr=0.01)),
    }
    entries = [(name, [given]) for name, (given, _) in optimizers.items()]
    settled = suite(problem, optimizers=entries, seeds=SEEDS, iterations=STEPS)
    outcomes = run_suite(settled)
    assert len(outcomes) == len(SEEDS) * len(optimizers)
    for outcome in outcomes.values():
        expected = losses(problem, outcome.lane.seed, text, optimizers[outcome.lane.optimizer][1])
        assert len(outcome.loss) == STEPS + 1
        assert outcome.loss[-1] < outcome.loss[0]
        np.testing.assert_allclose(outcome.loss, expected, rtol=1e-8)
