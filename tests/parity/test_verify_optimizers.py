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
