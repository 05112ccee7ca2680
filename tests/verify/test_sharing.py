"""What problems of users share between lanes, blocks and calls, and what they may share."""

import pytest

from optbench.plugins import new_code_cache
from optbench.verify.gradients import problems_to_check
from optbench.verify.sharing import shared_state

HEAD = """
import numpy as np
from optbench.problems import function

start = [3.0, -4.0]
store = {}
work = np.empty(2)
"""

FUNCTIONS = {
    "with_a_work_array": """
def f(p):
    np.multiply(p, 2.0, out=work)
    return float(p @ p), work
""",
    "with_a_work_array_for_its_point": """
def f(p):
    work[:] = p
    return float(work @ work), 2.0 * work
""",
    "that_counts": """
def f(p):
    store["calls"] = store.get("calls", 0) + 1
    return float(p @ p) + store["calls"], 2.0 * p
""",
    "that_draws": """
def f(p):
    return float(p @ p), 2.0 * p + np.random.normal(size=2)
""",
    "that_continues_from_the_point_before": """
def f(p):
    if np.abs(p - [3.0, -4.0]).max() < 1e-12 or "mean" not in store:
        store["mean"] = p
    store["mean"] = 0.5 * store["mean"] + 0.5 * p
    return float(store["mean"] @ p), 2.0 * p
""",
}

NETWORK = """
import numpy as np
from optbench.problems import DTYPES, Losses, Option, Problem, Tensor, stream

class Net:
    def __init__(self):
        self.training, self.steps = True, {}

net = Net()

class Whole(Problem):
    kind = "network"
    default_iterations = 5
    minibatch = True
    record = "before"
    tensors = (Tensor("w", (3,)),)
    options = (Option("dtype", "float64", "of arithmetic", choices=DTYPES),)

    def definition(self):
        return {}

    def start(self, seed):
        return stream(seed, "start").normal(size=3)

    def draws(self, seed, block):
        return {"x": stream(seed, f"x{block}").normal(size=(1024, 3))}

    def batch(self, data, draws, *, work):
        return dict(draws)

    def loss_and_grad(self, params, grads, batch, *, buffers, work):
        grads.rows[...] = self.slope(params.rows, batch["x"])
        return self.loss(params, batch, buffers=buffers, work=work)

    def slope(self, w, x):
        return w - x

    def loss(self, params, batch, *, buffers, work):
        return Losses(np.sum((params.rows - batch["x"]) ** 2, axis=1) / 2)

    def split_sizes(self):
        return {"train": 1}

    def evaluate(self, params, data, split, *, buffers, work):
        net.training = False
        return np.sum(params.rows**2, axis=1), np.zeros(len(params.rows))

class Switched(Whole):
    def slope(self, w, x):
        return w - x if net.training else w

class Trains(Switched):
    def slope(self, w, x):
        net.training = True
        return super().slope(w, x)

class Mixing(Whole):
    def slope(self, w, x):
        return w - np.mean(x, axis=0)

class Following(Whole):
    '''Keeps a mean at file level, begun anew where a block begins.'''

    def data(self):
        net.mean = None
        return {}

    def slope(self, w, x):
        net.mean = w.copy() if net.mean is None or net.mean.shape != w.shape else net.mean / 2 + w
        return net.mean - x
"""


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """Return a function for what a problem of the file shares."""

    def shared(text: str, name: str) -> str:
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        with new_code_cache():
            ((_, problem),) = problems_to_check(f"mine.py:{name}")
            return shared_state(problem)

    return shared


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("with_a_work_array", ""),
        ("with_a_work_array_for_its_point", ""),
        ("that_counts", "the loss of a lane is another one when it is computed again"),
        ("that_draws", "the gradient of a lane is another one when it is computed again"),
        ("that_continues_from_the_point_before", "the loss of a lane is another one when it is "),
    ],
)
def test_functions_keep_nothing_from_call_to_call(shared, name, says):
    text = HEAD + "@function(start=start)" + FUNCTIONS[name]
    seen = shared(text, "f")
    assert seen.startswith(says)
    assert bool(seen) is bool(says)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Whole", ""),
        ("Trains", ""),
        ("Switched", "the gradient of a lane is another one "),
        ("Mixing", "the gradient of a lane is another one beside other lanes"),
        (
            "Following",
            "the gradient of a lane is another one when another block is computed in between",
        ),
    ],
)
def test_networks_share_nothing_between_lanes_blocks_and_evaluations(shared, name, says):
    seen = shared(NETWORK, name)
    assert seen.startswith(says)
    assert bool(seen) is bool(says)


@pytest.mark.parametrize("name", ["rosenbrock", "noisy-beale", "quadratic-deep", "mnist-mlp"])
def test_what_is_built_in_shares_nothing(name):
    ((_, problem),) = problems_to_check(name)
    assert shared_state(problem, seed=3) == ""
