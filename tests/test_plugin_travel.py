"""Code of plug-ins travels to fresh processes that have none of it."""

import pickle
import shutil
import subprocess
import sys
from importlib import invalidate_caches
from pathlib import Path

import pytest

import optbench
from optbench.device.cpu import NumpyDevice
from optbench.engine.loop import run_block
from optbench.errors import SuiteError
from optbench.optimizers.registry import get_optimizer
from optbench.plugins import code_cache, given_name
from optbench.problems import function
from optbench.problems.registry import make_problem
from optbench.suite import gather
from optbench.suite.travel import Unpacked, pack
from tests.forget import forget  # noqa: F401
from tests.small import anisotropic, blocks_of, collect, suite

pytestmark = pytest.mark.usefixtures("forget")

HEAVY = """
from optbench.optimizers import Elementwise, Hyperparameter
from sizes import scale

class Heavy(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.01, "learning rate"),)
    slots = ("velocity",)

    @staticmethod
    def rule(w, g, v, *, lr, xp):
        v = 0.5 * v - scale() * lr * g
        return w + v, v
"""

SIZES = "def scale():\n    from deep.inner import half\n    return 2 * half\n"

BOWL = """
from optbench.problems import function

@function(start=[-7.0, 2.0])
def bowl(point):
    return (point**2).sum() / 2, point
"""

TORCH = """
import torch

class Plain(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)
"""

RECEIVER = """
import pickle
from pathlib import Path
from optbench.device.cpu import NumpyDevice
from optbench.engine.block_error import block_error
from optbench.engine.loop import run_block
from optbench.errors import SuiteError
from optbench.suite.travel import Unpacked

bundle, pickled = pickle.loads(Path("sent").read_bytes())
device = NumpyDevice()
with Unpacked(bundle, Path("code")) as code, code.in_use():
    try:
        blocks = pickle.loads(pickled)
        rules = [group.optimizer for block in blocks for group in block.groups]
        parts = [*(block.problem for block in blocks), *rules]
        places = [part.plugin.source.place for part in parts if getattr(part, "plugin", None)]
        same = all(block.problem.fingerprint == block.lanes[0].fingerprint for block in blocks)
        identities = [rule.identity() for rule in rules]
        try:
            records = [each for block in blocks for each in run_block(block, device)]
        except Exception as error:
            records = block_error(blocks[0], device, error).message
        told = records, places, same, identities
    except SuiteError as error:
        told = str(error)
Path("told").write_bytes(pickle.dumps(told))
"""


def write(folder: Path, **texts: str) -> Path:
    """Write ``name="text"`` into ``name.py``; two underscores part folders."""
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder that plug-ins are named from, where they are sent."""
    folder = tmp_path / "home"
    write(folder, rules=HEAVY, sizes=SIZES, deep__inner="half = 0.5\n", bowl=BOWL)
    monkeypatch.chdir(folder)
    return folder


def parts_of(blocks):
    return [
        part
        for block in blocks
        for part in (block.problem, *(group.optimizer for group in block.groups))
    ]


class Elsewhere:
    """Another machine, as far as a process in another folder is one."""

    def __init__(self, folder: Path, *path: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.path = [Path(optbench.__file__).parents[1], *path]

    def told(self, sent):
        """Return what a process tells that was sent a bundle and pickled blocks."""
        (self.folder / "sent").write_bytes(pickle.dumps(sent))
        starting = f"import sys; sys.path[:0] = {list(map(str, self.path))!r}\n"
        subprocess.run(
            [sys.executable, "-c", starting + RECEIVER], cwd=self.folder, check=True, timeout=300
        )
        assert not list((self.folder / "code").iterdir())
        return pickle.loads((self.folder / "told").read_bytes())


def planned(*names, problems=(), iterations=7):
    problems = [make_problem(name, {})[0] for name in problems] or [anisotropic()]
    return blocks_of(suite(*problems, optimizers=names or ["sgd"], iterations=iterations))


def bits(blocks, records):
    return {number: outcome.bits for number, outcome in collect(blocks, records).items()}


def here(blocks):
    return bits(blocks, [each for block in blocks for each in run_block(block, NumpyDevice())])


def sent(blocks):
    return pack(parts_of(blocks)), pickle.dumps(blocks)


def assert_the_same_elsewhere(blocks, elsewhere, *gone):
    expected, message = here(blocks), sent(blocks)
    parts = parts_of(blocks)
    for path in gone:
        shutil.rmtree(path)
    records, places, same, identities = elsewhere.told(message)
    assert bits(blocks, records) == expected
    assert {*places} == {
        part.plugin.source.place for part in parts if getattr(part, "plugin", None)
    }
    assert same
    assert identities == [group.optimizer.identity() for block in blocks for group in block.groups]


def test_a_file_travels_with_what_lies_beside_it(home, tmp_path):
    assert_the_same_elsewhere(planned("rules.py:Heavy"), Elsewhere(tmp_path / "there"), home)


def test_a_module_travels(home, tmp_path, monkeypatch):
    write(home, package__module=HEAVY.replace("from sizes", "from package.sizes"))
    write(home, package__sizes="def scale():\n    return 0.25\n")
    monkeypatch.syspath_prepend(home)
    blocks = planned("package.module:Heavy")
    assert_the_same_elsewhere(blocks, Elsewhere(tmp_path / "there"), home)


def test_a_problem_travels_with_an_optimizer_of_its_folder(home, tmp_path):
    blocks = planned("rules.py:Heavy", problems=["bowl.py:bowl"])
    assert len(pack(parts_of(blocks)).folders) == 1
    assert_the_same_elsewhere(blocks, Elsewhere(tmp_path / "there"), home)


def test_files_of_the_same_name_travel_from_two_folders(home, tmp_path):
    other = write(tmp_path / "other/home", rules=HEAVY.replace("Heavy", "Other"))
    write(other, sizes="def scale():\n    return 3.0\n")
    blocks = planned("rules.py:Heavy", f"{other / 'rules.py'}:Other")
    assert len(pack(parts_of(blocks)).folders) == 2
    # A late import finds deep, which lies beside one of them only.
    assert_the_same_elsewhere(blocks, Elsewhere(tmp_path / "there"), home, other)


def test_an_optimizer_of_pytorch_travels(home, tmp_path):
    pytest.importorskip("torch")
    write(home, steps=TORCH)
    assert_the_same_elsewhere(planned("torch:steps.py:Plain"), Elsewhere(tmp_path / "there"), home)


def test_another_file_at_the_place_is_not_used(home, tmp_path):
    blocks = planned("rules.py:Heavy")
    expected, message = here(blocks), sent(blocks)
    write(home, rules="raise SystemError\n", sizes="def scale():\n    return 9.0\n")
    records, *_ = Elsewhere(tmp_path / "there").told(message)
    assert bits(blocks, records) == expected


def test_other_modules_of_its_names_on_the_path_are_not_used(home, tmp_path):
    stale = write(tmp_path / "stale", sizes="def scale():\n    return 9.0\n", rules="")
    elsewhere = Elsewhere(tmp_path / "there", stale)
    assert_the_same_elsewhere(planned("rules.py:Heavy"), elsewhere, home)


RAISES = """    def columns(self, given, updates):
        raise ValueError('no')

"""


def test_what_it_raises_is_named_with_its_line(home, tmp_path):
    text = HEAVY.replace("    @staticmethod", RAISES + "    @staticmethod")
    write(home, rules=text)
    blocks = planned("rules.py:Heavy")
    message = sent(blocks)
    told, *_ = Elsewhere(tmp_path / "there").told(message)
    line = text.splitlines().index("        raise ValueError('no')") + 1
    assert told == f"ValueError: no (rules.py, line {line})"


def install(folder: Path, version: str, text: str) -> Path:
    """Make a package as pip leaves it, with an optimizer that it offers."""
    write(folder, far_away=text)
    about = folder / f"far_away-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: far-away\nVersion: {version}\n")
    (about / "entry_points.txt").write_text("[optbench.optimizers]\ndistant = far_away:Heavy\n")
    (about / "top_level.txt").write_text("far_away\n")
    return folder


ALONE = HEAVY.replace("from sizes import scale\n", "").replace("scale() * ", "")


@pytest.fixture
def released(home, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(install(tmp_path / "site-packages", "1.0", ALONE))
    invalidate_caches()
    blocks = planned("distant")
    assert pack(parts_of(blocks)).folders == {}
    return blocks


def test_a_release_has_to_be_there(released, tmp_path):
    there = install(tmp_path / "there-packages", "1.0", ALONE)
    assert_the_same_elsewhere(released, Elsewhere(tmp_path / "there", there))
    told = Elsewhere(tmp_path / "nowhere").told(sent(released))
    assert told == "there is no module 'far_away'; is it installed?"


@pytest.mark.parametrize("text", [ALONE, f"{ALONE}\n# changed\n"])
def test_another_release_is_refused(released, tmp_path, text):
    there = install(tmp_path / "there-packages", "1.1", text)
    told = Elsewhere(tmp_path / "there", there).told(sent(released))
    said = "far_away has changed since distant was taken from it: far-away is 1.1 here, not 1.0"
    assert told.startswith(said)
    assert ("; its SHA-256 is " in told) == (text != ALONE)


def test_what_was_handed_over_is_refused():
    def valley(point):
        return (point**2).sum() / 2, point

    name = given_name(function(start=[1.0, 2.0])(valley), "valley", [valley])
    problem, _ = make_problem(name, {})
    with pytest.raises(SuiteError) as caught:
        pack([problem])
    assert str(caught.value) == (
        "valley was handed over from Python, and other machines cannot have it; put it into a file "
        "and name it FILE.py:valley"
    )


def test_too_much_code_is_refused(home, monkeypatch):
    optimizer = get_optimizer("rules.py:Heavy")
    monkeypatch.setattr(gather, "MOST_BYTES", 100)
    with pytest.raises(SuiteError, match=r"^the code of rules.py:Heavy cannot be sent to other ma"):
        pack([optimizer])


def test_code_is_used_within_its_context_and_forgotten_when_it_is_closed(home, tmp_path):
    optimizer = get_optimizer("rules.py:Heavy")
    bundle, text = pack([optimizer]), pickle.dumps(optimizer)
    shutil.rmtree(home)
    before = {*sys.modules}
    cache = code_cache()
    with Unpacked(bundle, tmp_path / "code") as code, Unpacked(bundle, tmp_path / "code"):
        with code.in_use():
            again = pickle.loads(text)
            assert type(pickle.loads(text)) is type(again)
        assert code_cache() is cache
        assert again.identity() == optimizer.identity()
    assert {*sys.modules} <= before
    assert not list((tmp_path / "code").iterdir())
