"""The bar of a notebook, and where progress is shown."""

import sys
from types import SimpleNamespace

import pytest

from optbench.display import interactive, notebook
from optbench.display.interactive import watched
from optbench.display.notebook import Bar, in_notebook
from optbench.display.phases import Phases
from optbench.display.runs import display
from optbench.records import BlockSplit, Status
from tests.display.test_phases import step
from tests.display.test_runs import Clock, chunk, ended, plan


class Handle:
    """A place in a notebook, and all that was shown there."""

    def __init__(self):
        self.shown = []

    def update(self, html):
        self.shown.append(html)


@pytest.fixture
def place(monkeypatch):
    """Make the process the kernel of a notebook, with one place."""
    handle = Handle()

    def shows(html, *, display_id):
        handle.update(html)
        return handle

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    view = SimpleNamespace(HTML=str, display=shows)
    monkeypatch.setitem(sys.modules, "IPython.display", view)
    return handle


def test_a_bar_counts_the_steps_of_all_lanes():
    clock = Clock()
    bar = Bar(plan("sgd", ("adam", [{"lr": 0.1}, {"lr": 0.2}])), lambda: "<both>", clock)
    assert 'value="0.000"' in bar.html()
    clock.now += 1.0
    assert bar.observe(chunk(0, 0, [[1.0]] * 150))
    assert bar.done == pytest.approx(150 / 600)
    assert bar.html().endswith("&lt;both&gt;, 25 %, 3 s left")
    assert not bar.observe(chunk(1, 0, [[1.0, 1.0]] * 50))  # so soon that nobody would see it
    assert bar.done == pytest.approx(250 / 600)
    bar.observe(BlockSplit(1, ((2, (1,)), (3, (2,)))))
    assert bar.done == pytest.approx(150 / 600)
    for block in (0, 2, 3):
        bar.observe(ended(block, Status.DONE))
    assert bar.done == 1.0
    assert bar.html().endswith("&lt;both&gt;, 100 %")


def test_a_bar_goes_when_the_run_has_ended(place, monkeypatch):
    monkeypatch.setattr(notebook, "SECONDS_BETWEEN_UPDATES", 0.0)
    with display(plan("sgd"), quiet=False) as observe:
        observe(chunk(0, 0, [[1.0]] * 100))
    first, second, last = place.shown
    assert "small: 1 lane, 0 %" in first
    assert "50 %" in second
    assert last == ""


def test_a_study_has_its_state_beside_the_bar_and_prints_nothing(place, capsys):
    phases = Phases(quiet=False, clock=Clock())
    phases.announce(step())
    with phases.show(plan("sgd")):
        pass
    assert "search: 0 of 2 trials" in place.shown[0]
    assert capsys.readouterr() == ("", "")


def test_progress_is_shown_where_somebody_types(monkeypatch, place):
    assert in_notebook()
    assert watched(None)
    assert not watched(False)


@pytest.mark.parametrize(("prompt", "terminal"), [(True, True), (True, False), (False, True)])
def test_at_a_prompt_in_a_terminal_progress_is_shown(monkeypatch, prompt, terminal):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setattr(interactive.sys.stderr, "isatty", lambda: terminal)
    if prompt:
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert watched(None) is (prompt and terminal)
    assert watched(True)
