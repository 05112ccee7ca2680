import gzip
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from optbench import datasets
from optbench.cli.data import app, complete_dataset, progress_bars
from optbench.datasets import folders
from optbench.errors import DataError, ExitCode, UsageError
from tests.datasets.files import CONTENT, NAMES, tiny_collection, write_idx
from tests.datasets.mirror import serve


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a tiny collection in the place of mnist, and an empty folder in that of the cache."""
    for name in ("OPTBENCH_DATA_DIR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(folders, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(datasets, "_loaded", {})
    monkeypatch.setitem(datasets.COLLECTIONS, "mnist", tiny_collection())
    monkeypatch.setitem(sys.modules, "sklearn", None)  # as where it is not installed
    monkeypatch.setattr("optbench.datasets.digits.find", lambda: None)
    return tmp_path / "cache"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(output: str) -> list[list[str]]:
    """Return the cells under the heading that are not empty."""
    lines = [line.strip() for line in output.splitlines()]
    heading = next(number for number, line in enumerate(lines) if line.startswith("───"))
    return [re.split(r"  +", line) for line in lines[heading + 1 :] if line]


def test_list_says_where_each_set_is_or_how_to_get_it(cache: Path) -> None:
    result = invoke("list")
    assert result.exit_code == 0
    assert rows(result.stdout) == [
        ["mnist", "5", "3", "optbench data fetch mnist"],
        ["fashion-mnist", "60,000", "10,000", "optbench data fetch fashion-mnist"],
        ["kmnist", "60,000", "10,000", "optbench data fetch kmnist"],
        ["mnist-5k", "3,500", "500", "1,000", "part of optbench"],
        ["digits", "1,197", "300", "300", "pip install scikit-learn"],
        ["FILE", "your own: .npz, .csv, .parquet or IDX"],
    ]
    assert "\x1b" not in result.stdout
    write_idx(cache / "mnist")
    assert str(cache / "mnist") in invoke("list").stdout


def test_list_looks_into_the_folder_given_whatever_its_name(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "[bold]x[")
    assert rows(invoke("list", "--data-dir", folder).stdout)[0][-1] == str(folder)


def test_fetch_prints_the_folder_and_tries_the_mirrors_given_first(
    cache: Path, tmp_path: Path
) -> None:
    with serve({f"{name}.gz": gzip.compress(CONTENT[name]) for name in NAMES}) as mirror:
        result = invoke("fetch", "mnist", "--mirror", mirror.url)
        elsewhere = invoke("fetch", "mnist", "--mirror", mirror.url, "--data-dir", tmp_path / "to")
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{cache / 'mnist'}\n", "")
    assert elsewhere.stdout == f"{tmp_path / 'to' / 'mnist'}\n"
    assert datasets.load("mnist", tmp_path / "to").source == "idx"


def test_fetch_without_an_answer_is_an_input_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def fail(_name: str, *, mirrors: object, **_options: object) -> Path:
        tried.append(mirrors)
        raise DataError("no mirror")

    monkeypatch.setattr(datasets, "fetch", fail)
    result = invoke("fetch", "mnist", "--mirror", "http://a", "--mirror", "http://b")
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == ExitCode.USAGE
    assert tried == [("http://a", "http://b", "http://mirror.invalid/mnist")]


def test_unknown_names_are_usage_errors() -> None:
    for command in ("fetch", "verify"):
        result = invoke(command, "minst")
        assert isinstance(result.exception, UsageError)
        assert "did you mean 'mnist'?" in str(result.exception)


def test_verify_without_a_name_takes_what_is_there(cache: Path) -> None:
    result = invoke("verify")
    assert result.exit_code == 0
    assert [row[0] for row in rows(result.stdout)] == ["mnist-5k"]
    absent = [line.split(" cannot be found; get it with: ") for line in result.stderr.splitlines()]
    assert absent == [
        *([name, f"optbench data fetch {name}"] for name in ("mnist", "fashion-mnist", "kmnist")),
        ["digits", "pip install scikit-learn"],
    ]
    write_idx(cache / "mnist")
    result = invoke("verify")
    assert result.exit_code == 0
    assert not result.stderr.startswith("mnist cannot be found")
    assert [row[-1] for row in rows(result.stdout)] == ["good"] * 5
    digest = datasets.info("mnist").files[NAMES[0]]
    assert rows(result.stdout)[0] == ["mnist", f"{NAMES[0]}.gz", digest[:16], "good"]


def test_verify_ends_with_the_first_problem(tmp_path: Path) -> None:
    write_idx(tmp_path, train_labels=b"x")
    one = invoke("verify", "mnist", "--data-dir", tmp_path)
    assert isinstance(one.exception, DataError)
    assert f"{tmp_path}/{NAMES[1]}.gz: truncated" in str(one.exception)
    assert "more" not in str(one.exception)
    (tmp_path / f"{NAMES[3]}.gz").unlink()
    two = invoke("verify", "mnist", "--data-dir", tmp_path)
    assert str(two.exception).endswith("(and 1 more, see the table)")
    assert two.stdout.count("good") == 2


def test_verify_insists_on_what_was_named(tmp_path: Path) -> None:
    for arguments in (["mnist"], ["--data-dir", tmp_path]):
        result = invoke("verify", *arguments)
        assert isinstance(result.exception, DataError)
        assert result.stdout == ""


def test_digits_are_where_scikit_learn_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optbench.datasets.digits.find", lambda: Path("somewhere"))
    assert rows(invoke("list").stdout)[-2][-1] == "part of scikit-learn"


def test_names_are_completed() -> None:
    assert complete_dataset("mnist-") == ["mnist-5k"]
    assert complete_dataset("") == ["mnist", "fashion-mnist", "kmnist", "mnist-5k", "digits"]


def test_a_bar_is_drawn_in_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bars() as progress:
        progress("file", 1, None)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_bars() as progress:
        progress("some-file", 500, None)
        progress("some-file", 1_000, 2_000)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "some-file" in captured.err
    assert "1.0/2.0 kB" in captured.err
