"""What is said of an optimizer of optax where optax is not installed."""

import pytest

from optbench.errors import SuiteError
from optbench.optimizers import plugin
from optbench.optimizers.registry import get_optimizer
from tests.cli.command import optbench


def test_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(plugin, "find_spec", lambda name: None)
    remedy = "'optax:lion' needs optax, which is not installed; pip install 'optbench[optax]'"
    with pytest.raises(SuiteError) as caught:
        get_optimizer("optax:lion")
    assert str(caught.value) == remedy
    assert optbench("run", "anisotropic", "-o", "optax:lion", cwd=tmp_path).message == remedy
