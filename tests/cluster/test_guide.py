"""The commands of docs/cluster.md that need a scheduler, on one that is started for them."""

import re
import shlex
from pathlib import Path

import distributed
import pytest
import yaml
from dask import config

from optbench.cluster.places import SETTINGS, opened
from tests.cli.command import optbench
from tests.cluster.scheduling import scheduler
from tests.test_documentation import SHOWN

GUIDE = next(page for page in SHOWN if page.name == "cluster.md")
SCHEDULED = [
    command
    for command in SHOWN[GUIDE]
    if re.match(r"optbench (run|list) .*tcp://HOST:8786", command)
    and not {"--resume", "--device"} & {*command.split()}  # what was interrupted, and a GPU
]


@pytest.fixture(scope="module")
def address():
    with scheduler(workers=2) as started:
        yield started


def test_the_guide_shows_commands_for_a_scheduler():
    assert len(SCHEDULED) >= 3


@pytest.mark.parametrize("command", SCHEDULED)
def test_a_command_for_a_scheduler_runs(command: str, address: str, tmp_path: Path):
    shown = command.replace("tcp://HOST:8786", address).replace("/shared", str(tmp_path))
    _, *arguments = shlex.split(shown)
    shorter = ["--iterations", "20"] if arguments[0] == "run" else []
    seen = optbench(*arguments, *shorter, cwd=tmp_path)
    assert seen.code == 0, seen
    assert "error" not in seen.err


def test_the_guide_has_the_settings_of_local_processes_but_for_connections():
    (shown,) = re.findall(r"```yaml\n(.+?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    own = {name: value for name, value in SETTINGS.items() if ".comm." not in name}
    assert settings(own, yaml.safe_load(shown)) == own


def test_dask_has_these_settings_and_local_processes_are_given_them():
    folder = Path(distributed.__file__).parent
    assert settings(SETTINGS, config.collect([str(folder)], env={}))
    with opened("local:1") as place:
        (given,) = place.client.run(settings, SETTINGS).values()
    assert given == SETTINGS


def settings(names, known=None):
    return {name: config.get(name, config=known or config.config) for name in names}


def test_the_guides_workers_are_started_with_options_that_dask_has():
    from distributed.cli.dask_scheduler import main as dask_scheduler
    from distributed.cli.dask_worker import main as dask_worker

    known = {"scheduler": dask_scheduler, "worker": dask_worker}
    shown = [re.search(r"dask (\w+) (.*)", command) for command in SHOWN[GUIDE]]
    named = [(found[1], re.findall(r"--[a-z-]+", found[2])) for found in shown if found]
    assert {name for name, _ in named} == {"scheduler", "worker"}
    for name, options in named:
        taken = {option for parameter in known[name].params for option in parameter.opts}
        assert set(options) <= taken, name
