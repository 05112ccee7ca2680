import os
import re
from contextlib import closing
from pathlib import Path

import dask
import pytest

from optbench.cluster import jobs
from optbench.cluster.jobs import SYSTEMS, read_jobs
from optbench.errors import UsageError
from tests.cluster.queueing import ANSWER, KEEP, Queue, on_path, shipped_settings
from tests.refusal import refusal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="commands are scripts of POSIX systems")

SMALL = """
[slurm]
jobs = 3
cores = 16
memory = "8 GB"
scheduler_options = {host = "127.0.0.1"}
"""

REFUSE_THE_SECOND = """
if "optbench-1 " in Path(sys.argv[-1]).read_text():
    sys.exit("sbatch: error: invalid partition specified: gpuu")
"""


@pytest.fixture(autouse=True)
def settings(tmp_path):
    with shipped_settings(tmp_path / "settings"):
        yield


@pytest.fixture
def asked(tmp_path, monkeypatch):
    def reading(text):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "cpu.toml").write_text(text)
        return read_jobs("cpu.toml")

    return reading


@pytest.fixture
def queue(tmp_path, monkeypatch):
    def made(**commands):
        on_path(monkeypatch, tmp_path / "queue")
        return Queue(tmp_path / "queue", **commands)

    return made


def test_a_job_runs_one_process_on_each_core(asked):
    found = asked(SMALL)
    assert (found.system, found.jobs, found.cores, found.slots) == ("slurm", 3, 16, 48)


def test_a_job_runs_a_block_on_each_core_whatever_its_processes(asked):
    found = asked(SMALL + "processes = 2")
    assert (found.options["processes"], found.slots) == (2, 48)


def test_what_the_table_leaves_out_is_the_users_own_setting(asked, queue):
    mine = {"cores": 6, "memory": "4 GB", "processes": 3, "queue": "night"}
    submitted = queue()
    with dask.config.set({"jobqueue.slurm": {**dask.config.get("jobqueue.slurm"), **mine}}):
        found = asked('[slurm]\njobs = 1\nscheduler_options = {host = "127.0.0.1"}')
        found.open().close()
    assert found.slots == 6
    (script,) = submitted.submitted
    assert {"#SBATCH -p night", "#SBATCH --cpus-per-task=6"} <= set(script.splitlines())
    assert "--nthreads 2 " in script
    assert "--nworkers 3 " in script


def test_settings_of_the_scheduler_are_the_users_own_too(asked):
    with dask.config.set({"jobqueue.slurm.scheduler-options": {"port": 4321}}):
        found = asked('[slurm]\njobs = 1\ncores = 1\nmemory = "1 GB"')
    assert found.options["scheduler_options"]["port"] == 4321


def test_another_section_of_the_settings_can_be_named(asked):
    night = {**dask.config.get("jobqueue.slurm"), "cores": 2, "memory": "1 GB"}
    with dask.config.set({"jobqueue.night": night}):
        assert asked('[slurm]\njobs = 5\nconfig_name = "night"').slots == 10
        said = refusal(UsageError, asked, '[slurm]\njobs = 5\nconfig_name = "nigth"')
    end = "config_name: jobqueue.yaml has no 'nigth'; did you mean 'night'?"
    assert said == f"cpu.toml: [slurm] {end}"


def test_the_systems_are_those_that_dask_jobqueue_has_a_class_for():
    import dask_jobqueue

    clusters = {
        name: kind.job_cls.config_name
        for name, kind in vars(dask_jobqueue).items()
        if getattr(kind, "job_cls", None) is not None
    }
    assert {name: system for system, name in SYSTEMS.items()} == clusters


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cpu.toml must hold one table, named after a queueing system: slurm, pbs, lsf, sge, "),
        ("jobs = 3", "cpu.toml must hold one table"),
        (SMALL + "[pbs]", "cpu.toml must hold one table"),
        ("[slrum]", "cpu.toml: unknown queueing system 'slrum'; did you mean 'slurm'?"),
        ("[slurm", "cpu.toml: expected ']'"),
        (SMALL + "walltim = 1", "cpu.toml: [slurm] has no 'walltim'; did you mean 'walltime'?"),
        (SMALL + "resource_spec = 1", "[slurm] has no 'resource_spec'"),
        (SMALL + "asynchronous = true", "[slurm] has no 'asynchronous'"),
        (SMALL + "n_workers = 2", "[slurm] has no 'n_workers'"),
        (SMALL + "job_extra = []", "has no 'job_extra'; did you mean 'job_extra_directives'?"),
        (SMALL + "extra = []", "has no 'extra'; did you mean 'worker_extra_args'?"),
        (SMALL + "host = 'a'", "has no 'host'; did you mean 'scheduler_options'?"),
        (SMALL + "project = 'x'", "[slurm] has no 'project'"),
        (SMALL + "config_name = ['x']", "config_name: jobqueue.yaml has no '['x']'"),
        ("[slurm]\njobs = 1", "cpu.toml: [slurm] lacks cores and memory"),
        ("[slurm]\ncores = 1\nmemory = '1 GB'", "cpu.toml: [slurm] lacks jobs"),
        (SMALL.replace("3", "0"), "jobs must be a whole number of at least 1, not 0"),
        (SMALL.replace("3", "true"), "jobs must be a whole number of at least 1, not True"),
        (SMALL.replace("= 16", "= '16'"), "cores must be a whole number of at least 1, not '16'"),
        (SMALL + "processes = 0", "processes must be a whole number of at least 1, not 0"),
        (SMALL + "processes = 3", "cores (16) must be a multiple of processes (3)"),
        (SMALL + "processes = 32", "cores (16) must be a multiple of processes (32)"),
        (SMALL.replace("8 GB", "8"), "memory must be a size such as '16 GB', not '8'"),
        (SMALL.replace("8 GB", "much"), "memory must be a size such as '16 GB', not 'much'"),
        (SMALL.replace('"8 GB"', "[8]"), "memory must be a size such as '16 GB', not [8]"),
        (
            SMALL + 'job_extra_directives = "--gres=gpu:1"',
            "job_extra_directives must be a list, not '--gres=gpu:1'",
        ),
        (
            SMALL.replace("slurm", "htcondor") + 'job_extra_directives = ["x"]',
            "[htcondor] job_extra_directives must be a table, not ['x']",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused(text, message, asked):
    assert message in refusal(UsageError, asked, text)


def test_a_file_that_is_not_there_is_named():
    assert refusal(UsageError, read_jobs, "no.toml") == "cluster file 'no.toml' cannot be found"


def test_projects_are_accounted_for_where_the_system_has_them(asked):
    found = asked(SMALL.replace("slurm", "sge") + "project = 'physics'")
    assert found.options["project"] == "physics"


def test_without_dask_jobqueue_the_message_names_what_installs_it(asked, monkeypatch):
    monkeypatch.setattr(jobs, "find_spec", lambda name: None)
    assert refusal(UsageError, asked, SMALL) == (
        "cpu.toml: [slurm] needs dask-jobqueue, which is not installed; "
        "pip install 'optbench[slurm]'"
    )


@pytest.mark.parametrize("lacking", ["sbatch", "scancel"])
def test_a_command_that_is_not_on_the_path_is_named(lacking, asked, queue, monkeypatch):
    folder = queue().folder
    monkeypatch.setenv("PATH", str(folder))
    (folder / lacking).unlink()
    assert refusal(UsageError, asked(SMALL).open) == (
        f"cpu.toml: [slurm] needs the command {lacking}, which is not on the PATH; "
        "start this where jobs are submitted"
    )


def test_every_job_is_submitted_with_what_the_table_says(asked, queue):
    system = queue()
    table = """
    queue = "long"
    account = "physics"
    walltime = "02:00:00"
    job_extra_directives = ["--gres=gpu:1", "--exclusive"]
    worker_extra_args = ["--resources GPU=1"]
    job_script_prologue = ["module load cuda"]
    """
    with closing(asked(SMALL + table).open()) as cluster:
        scripts = system.submitted
        assert system.cancelled == []
    address = cluster.scheduler_address
    assert len(scripts) == 3
    for number, script in enumerate(scripts):
        lines = script.splitlines()
        assert {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")} >= {
            "-p long",
            "-A physics",
            "-t 02:00:00",
            "-n 1",
            "--cpus-per-task=16",
            "--mem=8G",
            "--gres=gpu:1",
            "--exclusive",
        }
        *_, prologue, worker = lines
        assert prologue == "module load cuda"
        assert f"distributed.cli.dask_worker {address} --name optbench-{number} " in worker
        assert {"--nthreads 1", "--nworkers 16", "--resources GPU=1"} <= options(worker)


def options(command):
    return {f"--{each}".strip() for each in command.split(" --")[1:]}


def test_the_tables_of_the_manual_ask_for_what_it_says(asked):
    page = Path(__file__).parents[2] / "docs" / "cluster.md"
    shown = re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    blocks = [text for text in shown if "[slurm]" in text]
    assert [(found.jobs, found.slots) for found in map(asked, blocks)] == [(8, 128), (4, 4)]


def test_closing_cancels_the_jobs(asked, queue):
    system = queue()
    asked(SMALL).open().close()
    assert len(system.numbers) == 3
    assert system.cancelled == system.numbers


def test_two_clusters_on_one_machine_do_not_share_a_port(asked, queue):
    queue()
    with closing(asked(SMALL).open()) as one, closing(asked(SMALL).open()) as other:
        assert one.scheduler_address != other.scheduler_address
        assert one.dashboard_link != other.dashboard_link


def test_what_the_queueing_system_says_of_a_refused_job_is_passed_on(asked, queue):
    system = queue(submitting=REFUSE_THE_SECOND + KEEP + ANSWER)
    assert refusal(UsageError, asked(SMALL).open) == (
        "cpu.toml: [slurm] sbatch failed: sbatch: error: invalid partition specified: gpuu"
    )
    assert len(system.numbers) == 2
    assert system.cancelled == system.numbers


@pytest.mark.parametrize(
    ("submitting", "said"),
    [
        ("print('over quota'); sys.exit(3)", "over quota"),
        ("sys.exit(3)", "it said nothing and ended with exit code 3"),
        ("print('thank you')", "Could not parse job id from submission command output."),
    ],
)
def test_a_submission_that_fails_in_another_way_is_told_too(submitting, said, asked, queue):
    queue(submitting=submitting)
    message = refusal(UsageError, asked(SMALL).open)
    assert message.startswith(f"cpu.toml: [slurm] sbatch failed: {said}")


def test_what_dask_jobqueue_refuses_is_passed_on(asked, queue):
    queue(submit="condor_submit", cancel="condor_rm")
    message = refusal(UsageError, asked(SMALL.replace("slurm", "htcondor")).open)
    assert message.startswith("cpu.toml: [htcondor] cannot be used: You must specify how much disk")


@pytest.mark.parametrize(
    ("name", "submit", "cancel", "answer", "more"),
    [
        ("pbs", "qsub", "qdel", "{}.head", ""),
        ("lsf", "bsub", "bkill", "Job <{}> is submitted", ""),
        ("sge", "qsub", "qdel", "Your job {} has been submitted", ""),
        ("oar", "oarsub", "oardel", "OAR_JOB_ID={}", 'memory_per_core_property_name = "memcore"'),
        ("moab", "msub", "canceljob", "{}", ""),
        (
            "htcondor",
            "condor_submit",
            "condor_rm",
            "submitted to cluster {}.",
            "disk = '1 GB'",
        ),
    ],
)
def test_other_systems_have_their_own_commands(name, submit, cancel, answer, more, asked, queue):
    submitting = f"""
    (here / "submitted" / str(os.getpid())).touch()
    print({answer!r}.format(os.getpid()))
    """
    system = queue(submit=submit, cancel=cancel, submitting=submitting)
    asked(SMALL.replace("slurm", name) + more).open().close()
    assert len(system.numbers) == 3
    assert [number.removesuffix(".0") for number in system.cancelled] == system.numbers
