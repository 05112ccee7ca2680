"""Studies with halving that are killed, time and again, when they have put so many files in place.

Resumed, each ends with the winners, the trials and the lanes of a study that nothing ended.
"""

import os
import signal
import warnings
from pathlib import Path

import pandas as pd
import pytest

from optbench.engine import loop
from optbench.runs import layout
from optbench.runs.invocation import Execution
from optbench.store import block_writer
from optbench.store.studies import read_study, read_tune
from optbench.tuning.study import resume_study
from tests.slow import LEFT_BY_THE_KILLED, assert_same_run
from tests.tuning.halved import FUNCTION, network, study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork"),
]


@pytest.fixture(autouse=True)
def much_is_written(monkeypatch):
    """Journal every chunk, keep checkpoints, and give two workers blocks of their own."""
    monkeypatch.setattr(layout, "WORTH_SHARING", 0)
    monkeypatch.setattr(loop, "CHUNK_ROWS", 8)
    monkeypatch.setattr(block_writer, "JOURNAL_SECONDS", 0.0)


def killed(action, files: int) -> bool:
    """Do something in a fork that is killed before it puts one more file in place.

    Return whether it came to that.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        left, real = files, os.replace

        def replace(source, target):
            nonlocal left
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            real(source, target)

        os.replace = replace
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WIFSIGNALED(status)
    return status != 0


REQUESTS = {
    "function": lambda folder: {**FUNCTION, "optimizers": ["sgd", "adam"], "halving": 3},
    "network": lambda folder: {
        **network(folder, "evaluate_every = 7\nstop.patience = 30"),
        "optimizers": ["sgd", "adam"],
        "halving": 3,
    },
}


@pytest.mark.parametrize(
    ("name", "files"), [("function", 3), ("network", 17), ("function", 29), ("network", 41)]
)
def test_a_study_that_is_killed_every_so_many_files_ends_as_if_it_were_not(name, files, tmp_path):
    request = REQUESTS[name](tmp_path)
    options = {"workers": 2, "checkpoint_every": 0.0}
    whole = study(tmp_path / "whole", request, **options)
    out = tmp_path / "out"
    kills = 0

    def go_on():
        (path,) = out.glob("*-tune-*")
        resume_study(path, Execution(out=out, **options))

    while killed((lambda: study(out, request, **options)) if not kills else go_on, files + kills):
        kills += 1
        assert kills < 1000
    assert kills > 3
    (path,) = out.glob("*-tune-*")
    assert read_tune(path)["winners"] == read_tune(whole.path)["winners"]
    assert read_tune(path)["rounds"] == read_tune(whole.path)["rounds"]
    ours, theirs = read_study(path).trials, read_study(whole.path).trials
    pd.testing.assert_frame_equal(
        ours.drop(columns="seconds"), theirs.drop(columns="seconds"), check_exact=True
    )
    for made in sorted(each.name for each in Path(whole.path).iterdir() if each.is_dir()):
        assert_same_run(path / made, whole.path / made, left=LEFT_BY_THE_KILLED)
