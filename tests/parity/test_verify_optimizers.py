"""Other libraries' optimizers keep what every optimizer promises."""

import pytest

from optbench.verify.optimizers import check_optimizer


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("torch:AdamW", {}),
        ("torch:Rprop", {}),
        ("torch:Muon", {}),
        ("optax:adam", {"lr": 0.01}),
        ("optax:lion", {"lr": 0.01}),
    ],
)
def test_they_pass_all_checks(name, given):
    pytest.importorskip(name.partition(":")[0])
    found = {each.check: each for each in check_optimizer(name, given)}
    assert [each for each in found.values() if not each.passed] == []
    assert found["lanes independent"].note.startswith("within 1e-06")


SOMETIMES = """
import torch

class Sometimes(torch.optim.SGD):
    def step(self):
        for group in self.param_groups:
            for param in group["params"]:
                state = self.state[param]
                state["count"] = state.get("count", 0) + 1
                state["odd"] = torch.tensor(1.0) if state["count"] % 2 else None
                if group["lr"] < 0.006:
                    state["slow"] = torch.tensor(1.0)
        super().step()
"""


def test_what_only_some_lanes_keep_at_a_time_breaks_no_promise(tmp_path):
    """As the history of L-BFGS, which is slow to check."""
    pytest.importorskip("torch")
    (tmp_path / "rules.py").write_text(SOMETIMES, encoding="utf-8")
    found = check_optimizer(f"torch:{tmp_path / 'rules.py'}:Sometimes", {"lr": 0.01})
    assert [each for each in found if not each.passed] == []
