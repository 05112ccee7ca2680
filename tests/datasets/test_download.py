import gzip
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from optbench import datasets
from optbench.datasets import download
from optbench.errors import DataError, UsageError
from tests.datasets.files import CONTENT, GZIPPED, NAMES, digits, idx_labels, write_idx
from tests.datasets.mirror import serve

pytestmark = pytest.mark.usefixtures("tiny")

DOWN = "http://127.0.0.1:9/mnist"  # the discard port, where nothing listens


@pytest.fixture
def mirror():
    with serve(GZIPPED) as mirror:
        yield mirror


@pytest.fixture
def fetch(tmp_path):
    """Return what fetches mnist from mirrors into a folder of the test."""

    def fetch(*mirrors, **options):
        return datasets.fetch("mnist", mirrors=mirrors, cache=tmp_path / "here", **options)

    return fetch


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_fetched_files_are_decompressed_in_the_cache_and_load(mirror, cache):
    folder = datasets.fetch("mnist", mirrors=[mirror.url])
    assert folder == cache / "mnist"
    assert contents(folder) == CONTENT
    assert mirror.requests == list(GZIPPED)
    assert datasets.load("mnist").source == "idx"


def test_progress_says_what_came_and_nothing_is_printed(mirror, fetch, capfd):
    calls: list[tuple[str, int, int | None]] = []
    fetch(f"{mirror.url}/", progress=lambda *call: calls.append(call))
    assert [name for name, *_ in calls] == list(NAMES)
    for name, received, total in calls:
        assert received == total == len(GZIPPED[f"{name}.gz"])
    assert capfd.readouterr() == ("", "")


def test_the_next_mirror_answers_where_one_is_down_and_is_asked_first_from_then_on(
    mirror, fetch, monkeypatch
):
    tried: list[str] = []
    real = download._download

    def spy(file, url, *others):
        tried.append(url.rpartition("/mnist")[0])
        return real(file, url, *others)

    monkeypatch.setattr(download, "_download", spy)
    folder = fetch(DOWN, mirror.url)
    assert contents(folder) == CONTENT
    assert len(tried) == 5


def test_a_mirror_with_a_wrong_file_is_passed_over(mirror, fetch):
    wrong_file = gzip.compress(idx_labels(digits(5)[::-1]), mtime=0)
    with serve(GZIPPED | {f"{NAMES[1]}.gz": wrong_file}) as wrong:
        folder = fetch(wrong.url, mirror.url)
    assert contents(folder) == CONTENT
    assert mirror.requests == [f"{name}.gz" for name in NAMES[1:]]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "HTTP 404"),
        ({f"{NAMES[0]}.gz": gzip.compress(b"short", mtime=0)}, "the file: truncated"),
        ({f"{NAMES[0]}.gz": b"\x1f\x8b garbage"}, "the file: its gzip compression is damaged"),
        ({f"{NAMES[0]}.gz": b"<html>"}, "the file: truncated"),
        ({f"{NAMES[0]}.gz": gzip.compress(bytes(10**8), 1)}, "the file: magic number 0x00000000"),
        ({f"{NAMES[0]}.gz": bytes(2 * 2**20)}, "more than 1,048,622 bytes"),
    ],
)
def test_where_no_mirror_gives_a_good_file_nothing_is_left(files, reason, fetch, tmp_path):
    with serve(files) as mirror, pytest.raises(DataError) as raised:
        fetch(DOWN, mirror.url)
    text = str(raised.value)
    assert f"no mirror served {NAMES[0]}: tried {DOWN}/{NAMES[0]}.gz (ConnectionError)" in text
    assert f"{mirror.url}/{NAMES[0]}.gz ({reason}" in text
    assert text.endswith("check the network, or name another one with --mirror URL")
    assert "\n" not in text
    assert list((tmp_path / "here").rglob("*")) == [tmp_path / "here" / "mnist"]


def test_a_fetch_that_fails_half_way_leaves_no_incomplete_set(mirror, cache):
    del mirror.files[f"{NAMES[3]}.gz"]
    with pytest.raises(DataError, match=f"no mirror served {NAMES[3]}"):
        datasets.fetch("mnist", mirrors=[mirror.url])
    assert list((cache / "mnist").iterdir()) == []
    assert datasets.load_best()[0].name == "mnist-5k"


def test_an_answer_that_ends_early_is_no_file(mirror, fetch):
    mirror.headers["Content-Length"] = "100000"
    with pytest.raises(DataError, match="no mirror served"):
        fetch(mirror.url)


def test_a_mirror_may_decompress_what_it_sends_and_not_say_how_much(fetch):
    totals = set()
    with serve({f"{name}.gz": content for name, content in CONTENT.items()}) as mirror:
        mirror.headers["Content-Length"] = ""
        folder = fetch(mirror.url, progress=lambda _file, _received, total: totals.add(total))
    assert contents(folder) == CONTENT
    assert totals == {None}


def test_good_files_stay_and_damaged_ones_are_replaced(mirror, cache):
    folder = write_idx(cache / "mnist", train_labels=b"damaged")
    (folder / f"{NAMES[2]}.gz").unlink()
    datasets.fetch("mnist", mirrors=[mirror.url])
    assert mirror.requests == [f"{NAMES[1]}.gz", f"{NAMES[2]}.gz"]
    assert datasets.verify("mnist").problems == ()
    mirror.requests.clear()
    datasets.fetch("mnist", mirrors=[mirror.url])
    assert mirror.requests == []


def test_a_folder_that_cannot_be_written_is_said_to_be_so(mirror, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="mnist: cannot be written"):
        datasets.fetch("mnist", mirrors=[mirror.url], cache=tmp_path / "file")


@pytest.mark.parametrize("address", ["no-address", "ftp://127.0.0.1/x", "http://[", "http://"])
def test_an_address_that_is_none_is_a_mirror_that_does_not_answer(address, fetch):
    with pytest.raises(DataError, match="no mirror served"):
        fetch(address)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {"Content-Length": "abc"}),
        (200, {"Content-Length": "-1"}),
        (200, {"Content-Length": "²"}),
        (200, {"Content-Length": "1, 2"}),
        (200, {"Content-Encoding": "gzip, nonsense"}),
        (200, {"Transfer-Encoding": "chunked"}),
        (302, {"Location": "http://[::bad"}),
        (302, {"Location": "file:///etc/hostname"}),
        (302, {"Location": "http://\xe9" + 70 * "x"}),
        (302, {"Location": "/again"}),
        (302, {}),
        (204, {}),
        (407, {"Proxy-Authenticate": "?"}),
    ],
)
def test_after_any_answer_the_next_mirror_is_tried(status, headers, mirror, fetch):
    with serve(GZIPPED) as odd:
        odd.status, odd.headers = status, headers
        folder = fetch(odd.url, mirror.url)
    assert contents(folder) == CONTENT


class Clock:
    """Goes on by so many seconds whenever it is looked at."""

    def __init__(self, seconds):
        self.now, self.seconds = 0.0, seconds

    def __call__(self):
        self.now += self.seconds
        return self.now


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [
        (100.0, r"too slow: [0-9,]+ bytes in 100 seconds"),  # read in chunks of 64 KiB
        (1e4, "not done after 167 minutes"),
    ],
)
def test_a_mirror_that_is_too_slow_is_given_up(seconds, reason, tiny, tmp_path):
    with (
        serve({f"{NAMES[0]}.gz": bytes(100_000)}) as slow,
        pytest.raises(DataError, match=reason),
    ):
        download.fetch(tiny, [slow.url], tmp_path / "here", datasets._silent, Clock(seconds))


def test_a_slow_mirror_that_keeps_the_pace_is_waited_for(tiny, tmp_path, mirror):
    mirror.headers["Content-Length"] = ""
    mirror.piece = 1
    download.fetch(tiny, [mirror.url], tmp_path, datasets._silent, Clock(1e-6))
    assert contents(tmp_path) == CONTENT


def test_what_a_killed_fetch_left_is_removed_by_the_next_and_a_living_one_is_not(mirror, fetch):
    folder = fetch(mirror.url)
    left, alive = folder / ".fetching-left", folder / ".fetching-alive"
    for place in (left, alive):
        place.mkdir()
        (place / NAMES[0]).write_bytes(b"part")
    (folder / ".fetching-link").symlink_to(alive)
    with FileLock(alive / download.LOCK):
        fetch(mirror.url)
    assert {path.name for path in folder.glob(".*")} == {".fetching-alive", ".fetching-link"}
    assert (alive / NAMES[0]).read_bytes() == b"part"


@pytest.mark.parametrize("error", [FileNotFoundError, FileExistsError])
def test_a_folder_that_another_fetch_removes_before_it_is_locked_is_made_anew(
    error, mirror, fetch, monkeypatch
):
    removed = []

    class Late(FileLock):
        """A lock whose folder the other one removes first."""

        def acquire(self, *arguments, **options):
            folder = Path(self.lock_file).parent
            if not removed:
                removed.append(folder)
                shutil.rmtree(folder)
                raise error
            return super().acquire(*arguments, **options)

    monkeypatch.setattr(download, "FileLock", Late)
    folder = fetch(mirror.url)
    assert len(removed) == 1
    assert contents(folder) == CONTENT


def test_without_mirrors_there_is_nothing_to_try(fetch):
    with pytest.raises(DataError, match=r"tried none; check"):
        fetch()


def test_the_known_mirrors_are_tried_by_default(tmp_path, monkeypatch):
    tried = []

    def unreachable(_file, url, *_others):
        tried.append(url)
        raise ConnectionError

    monkeypatch.setattr(download, "_download", unreachable)
    with pytest.raises(DataError):
        datasets.fetch("mnist", cache=tmp_path / "here")
    assert tried == [f"http://mirror.invalid/mnist/{NAMES[0]}.gz"]


def test_the_embedded_set_needs_no_fetching():
    with pytest.raises(UsageError, match="mnist-5k is part of optbench; there is nothing to fetch"):
        datasets.fetch("mnist-5k")
