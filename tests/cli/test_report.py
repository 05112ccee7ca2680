"""``optbench report``: which runs and studies it takes, and where it writes."""

import re

import pytest

import optbench as api
from tests.cli.command import optbench, run
from tests.forget import forget  # noqa: F401
from tests.studies import make_study

SMALL = ("--problem", "booth", "-o", "sgd", "-o", "adam", "--iterations", 5)


def test_runs_and_a_pack_are_reported_together(tmp_path):
    made = run(*SMALL, cwd=tmp_path)
    assert optbench("pack", made, "run.zip", cwd=tmp_path).code == 0
    seen = optbench("report", "--title", "A < B", cwd=tmp_path)
    assert (seen.code, seen.out, seen.err) == (0, "report.html\n", "")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>A &lt; B</title>" in text
    assert f"optbench run results/{made.name}/run.json" in text
    assert optbench("report", "run.zip", "-O", "packed.html", cwd=tmp_path).code == 0
    assert "On booth, " in (tmp_path / "packed.html").read_text(encoding="utf-8")


def test_a_study_without_a_final_run_is_reported(tmp_path):
    make_study(tmp_path / "results")
    seen = optbench("report", "latest", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "booth, tuned" in text
    assert "adam: lr: the best may lie beyond its space" in text


def test_a_study_is_reported_with_its_final_run(tmp_path):
    seen = optbench("tune", *SMALL, "--budget", "4 trials", "--seeds", 2, cwd=tmp_path)
    assert seen.code == 0, seen.err
    assert optbench("report", "latest", cwd=tmp_path).code == 0
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    headings = re.findall(r"<h3>(.*?)</h3>", text)
    chosen, budget = ["What was chosen", "Trials", "What they reached", "Effects", "Loss"], "Budget"
    assert headings[: len(chosen) + 1] == [*chosen, budget]
    assert "optimizers were tuned by the same procedure: random search" in text
    assert "hyperparameters as given, not tuned" not in text


def test_python_writes_the_same(tmp_path):
    made = run(*SMALL, cwd=tmp_path)
    assert optbench("report", made.name, "--title", "T", cwd=tmp_path).code == 0
    file = api.write_report(made, tmp_path / "python.html", title="T")
    assert file.read_bytes() == (tmp_path / "report.html").read_bytes()
    with pytest.raises(api.UsageError, match="force=True"):
        api.write_report(made, file)


def test_nothing_is_overwritten_unless_asked(tmp_path):
    run(*SMALL, cwd=tmp_path)
    (tmp_path / "report.html").write_text("mine")
    seen = optbench("report", cwd=tmp_path)
    assert seen.code == 2
    assert "report.html" in seen.err
    assert (tmp_path / "report.html").read_text() == "mine"
    assert optbench("report", "--force", cwd=tmp_path).code == 0


@pytest.mark.parametrize("arguments", [("--output", ""), ("--choose-on", "x")])
def test_what_cannot_be_meant_is_refused_before_anything_is_read(arguments, tmp_path):
    seen = optbench("report", *arguments, cwd=tmp_path)
    assert seen.code == 2
    assert seen.err.count("\n") == 1
