"""``optbench baseline``: what is kept, under which name, and what is refused."""

import json
import shutil

from tests.cli.command import optbench, run, suite
from tests.cli.gate import described


def test_a_baseline_is_called_as_its_suite_and_is_small(desk):
    files = {path.name: path.stat().st_size for path in desk.baseline.iterdir()}
    assert set(files) == {"baseline.json", "lanes.parquet", "trace.parquet", "tolerance.parquet"}
    assert sum(files.values()) < 100_000
    description = json.loads((desk.baseline / "baseline.json").read_text())
    assert description["suite"]["given"]["name"] == description["name"] == "gate"
    assert description["seeds"] == list(range(8))
    assert description["calibration_seconds"] > 0.0


def test_saving_keeps_thresholds_and_says_what_to_do_with_it(desk):
    flags = ("--threshold", "net=0.2", "--threshold", "0.1")
    seen = optbench("baseline", "save", "now", "--name", "v1.2", *flags, cwd=desk.cwd)
    assert seen.code == 0
    assert seen.path == desk.cwd / "results/baselines/v1.2"
    description = json.loads((seen.path / "baseline.json").read_text())
    assert description["thresholds"] == {"net": 0.2, "": 0.1}
    assert seen.err.startswith("18 lanes, ")
    assert seen.err.endswith("KiB; compare with: optbench check v1.2\n")


def test_too_few_seeds_for_the_test_are_said_with_what_a_check_still_sees(desk):
    assert (
        optbench("baseline", "save", "now", "--name", "enough", cwd=desk.cwd).err.count("\n") == 1
    )
    desk.run("--seeds", "7")
    seen = optbench("baseline", "save", "now", "--name", "few", cwd=desk.cwd)
    assert seen.code == 0
    warning = seen.err.splitlines()[1]
    assert warning.startswith(
        "warning: net has 7 seeds with a final loss, and the test of final losses needs 8: "
    )
    assert warning.endswith("; run the suite with --seeds 8")
    desk.losses("net", "adam", 50.0)
    desk.losses("anisotropic", "adam", 50.0)  # where nothing is random, one lane is enough
    found = desk.check("few", "--run", "now")
    assert found.code == 3
    assert "warning: quality: net, adam: inconclusive: final loss" in found.out
    assert "failure: quality: anisotropic, adam: regression: final loss" in found.out


def test_names_that_are_no_folders_are_refused(desk):
    for name in ("", "a/b", "..", ".hidden", "a b", "-x", "a" * 121):
        seen = optbench("baseline", "save", "now", f"--name={name}", cwd=desk.cwd)
        assert "cannot be the name of a folder" in seen.message


def test_a_baseline_is_not_written_over(desk):
    before = (desk.baseline / "baseline.json").read_bytes()
    seen = optbench("baseline", "save", "now", cwd=desk.cwd)
    assert "there is already a baseline 'gate'" in seen.message
    assert "optbench check gate --update" in seen.message
    assert (desk.baseline / "baseline.json").read_bytes() == before


def test_a_threshold_is_a_positive_share(desk):
    seen = optbench("baseline", "save", "now", "--name", "x", "--threshold", "net", cwd=desk.cwd)
    assert seen.message == "threshold 'net' must be above 0 and at most 1: write 0.05 for 5 %"


def test_a_run_that_is_not_done_is_refused(desk):
    desk.meta(status="interrupted")
    seen = optbench("baseline", "save", "now", "--name", "x", cwd=desk.cwd)
    assert "is interrupted: a baseline needs a run that is done" in seen.message
    assert not desk.baseline.with_name("x").exists()


def test_a_run_of_code_that_has_changed_is_refused(desk):
    file = desk.cwd / "mine.py"
    text = (
        "from optbench.optimizers import Elementwise, Hyperparameter\n\n\n"
        "class Mine(Elementwise):\n"
        "    hyperparameters = (Hyperparameter('lr', 0.1, 'learning rate'),)\n\n"
        "    @staticmethod\n"
        "    def rule(w, g, *, lr, xp):\n"
        "        return (w - lr * g,)\n"
    )
    file.write_text(text)
    plain = '[[problem]]\nname = "anisotropic"\n\n[[optimizer]]\nname = "mine.py:Mine"\n'
    run(suite(desk.cwd, f'name = "own"\n\n{plain}', "own"), cwd=desk.cwd)
    assert optbench("baseline", "save", "latest", cwd=desk.cwd).code == 0
    assert desk.check("own").code == 0
    file.write_text(text.replace("w - lr * g", "w - 1.5 * lr * g"))
    seen = optbench("baseline", "save", "latest", "--name", "x", cwd=desk.cwd)
    assert seen.code == 2
    seen = desk.check("own")
    assert seen.code == 3
    assert "notice: settings: Mine: its code has changed: mine.py: " in seen.out
    assert "failure: numerics: anisotropic, Mine, seed 0: loss " in seen.out
    assert "; its code differs too\n" in seen.out
    assert "settings differ" not in seen.out


def test_baselines_are_listed(desk):
    shutil.copytree(desk.baseline, desk.baseline.with_name("other"))
    described(desk.baseline.with_name("other") / "baseline.json", saved="2026-01-31T23:59:58.125")
    seen = optbench("baseline", "list", cwd=desk.cwd)
    assert seen.code == 0
    rows = [line.split() for line in seen.out.splitlines() if "gate" in line]
    assert [row[:3] for row in rows] == [["gate", "gate", "18"], ["other", "gate", "18"]]
    assert rows[1][3:5] == ["2026-01-31", "23:59:58"]


def test_a_list_of_nothing_says_how_to_make_one(tmp_path):
    seen = optbench("baseline", "list", cwd=tmp_path)
    assert seen.code == 5
    assert "optbench baseline save RUN" in seen.err
