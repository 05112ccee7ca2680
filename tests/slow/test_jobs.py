"""Jobs that a queueing system of this machine really runs: workers come, compute and go."""

import os
import signal
import sys
import threading
import time
from contextlib import closing

import pytest

import optbench
from optbench.cluster.jobs import read_jobs
from tests.cli.command import optbench as optbench_command
from tests.cluster.queueing import (
    ANSWER,
    CANCEL,
    KEEP,
    KILL,
    START,
    Queue,
    on_path,
    shipped_settings,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="jobs are process groups of POSIX systems"),
]

TABLE = """
[slurm]
jobs = 2
cores = 2
memory = "2 GB"
scheduler_options = {host = "127.0.0.1"}
worker_extra_args = ["--host 127.0.0.1", "--resources GPU=1"]
"""


SMALL = TABLE.replace("jobs = 2", "jobs = 1").replace("cores = 2", "cores = 1")
RUN = ("run", "mnist-mlp", "-o", "sgd", "-o", "adam", "--seeds", "4", "--iterations", "400")


def traces(run):
    return {file.name: file.read_bytes() for file in (run / "trace").iterdir()}


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_jobs_bring_workers_and_closing_ends_them(tmp_path, monkeypatch):
    from distributed import Client

    def where():  # sent with its code, as it lies in no module
        import optbench

        return os.getpid(), os.getpgid(0), sys.executable, optbench.__file__

    (tmp_path / "cpu.toml").write_text(TABLE)
    queue = Queue(tmp_path / "queue", submitting=KEEP + START + ANSWER, cancelling=CANCEL + KILL)
    on_path(monkeypatch, queue.folder)
    with shipped_settings(tmp_path / "settings"):
        jobs = read_jobs(str(tmp_path / "cpu.toml"))
        with closing(jobs.open()) as cluster, Client(cluster) as client:
            client.wait_for_workers(jobs.slots, timeout=120)
            workers = client.scheduler_info(n_workers=-1)["workers"]
            found = client.run(where)
    assert [worker["nthreads"] for worker in workers.values()] == [1] * 4
    assert [worker["resources"] for worker in workers.values()] == [{"GPU": 1}] * 4
    processes, groups, interpreters, packages = map(set, zip(*found.values(), strict=True))
    assert len(processes) == 4
    assert sorted(map(str, groups)) == queue.cancelled
    assert interpreters == {sys.executable}
    assert packages == {optbench.__file__}
    assert not any(alive(group) for group in groups)


@pytest.fixture
def queue(tmp_path, monkeypatch):
    made = Queue(tmp_path / "queue", submitting=KEEP + START + ANSWER, cancelling=CANCEL + KILL)
    on_path(monkeypatch, made.folder)
    with shipped_settings(tmp_path / "settings"):
        yield made


def test_a_run_in_jobs_is_the_run_of_one_worker_here(tmp_path, queue):
    (tmp_path / "jobs.toml").write_text(TABLE.replace("cores = 2", "cores = 1"))
    there = optbench_command(*RUN, "--cluster", "jobs.toml", "--quiet", cwd=tmp_path)
    here = optbench_command(*RUN, "--workers", "1", "--quiet", cwd=tmp_path)
    assert (there.code, here.code) == (0, 0), there
    assert traces(there.path) == traces(here.path)
    assert len(queue.cancelled) == 2
    assert not any(alive(int(group)) for group in queue.cancelled)


def test_jobs_that_have_ended_before_the_run_are_submitted_once_more(tmp_path, queue):
    (tmp_path / "jobs.toml").write_text(SMALL)

    def end_first_job():
        while not any((tmp_path / "results").glob("*/journal/*/rows-*.npz")):
            time.sleep(0.05)
        os.killpg(int(queue.started[0]), signal.SIGKILL)

    ending = threading.Thread(target=end_first_job)
    ending.start()
    there = optbench_command(*RUN, "--cluster", "jobs.toml", "--quiet", cwd=tmp_path)
    ending.join()
    here = optbench_command(*RUN, "--workers", "1", "--quiet", cwd=tmp_path)
    assert (there.code, here.code) == (0, 0), there
    assert len(queue.numbers) == 2
    assert traces(there.path) == traces(here.path)
