"""The journal of a block: what was put there is read back to the bit, or said to be damaged."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import ResultsError
from optbench.records import BlockResult, Checkpoint, EvaluationRows, LaneResult, Status, TraceChunk
from optbench.store import files, places
from optbench.store.files import read_arrays, write_arrays, write_beside
from optbench.store.journal import FOLDER, Journal, after, clear, joined, journals, stretches
from optbench.store.places import make_folder, remove_folder

LANES = np.array([3, 5], dtype=np.int32)


def chunk(first, rows, *, axes=None, penalty=False) -> TraceChunk:
    """Rows of both lanes; ``rows`` says how many of each count."""
    random = np.random.default_rng(first)
    shape = (max(rows), 2)
    loss, position = random.random(shape), None if axes is None else random.random((*shape, axes))
    penalties = random.random(shape) if penalty else None
    return TraceChunk(4, LANES, first, loss, np.array(rows), position, penalties)


def evaluation(number, iteration, split="test", lanes=LANES) -> EvaluationRows:
    loss = np.random.default_rng(iteration).random(len(lanes))
    error = np.array([np.nan, 0.5])[: len(lanes)]
    return EvaluationRows(4, number, lanes, iteration, split, loss, error)


def rows(journal):
    """Return all rows of a journal as one chunk, and all evaluations."""
    chunks = list(journal.chunks())
    return joined(chunks) if chunks else None, list(journal.evaluations())


def bits_of(value):
    """Return what can be compared to the last bit; NaN equals itself."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value


def bits(record):
    return record and [bits_of(getattr(record, field.name)) for field in fields(record)]


def result(*statuses, **given) -> BlockResult:
    lanes = [LaneResult(int(n), s, iterations=7) for n, s in zip(LANES, statuses, strict=True)]
    return BlockResult(4, tuple(lanes), **given)


@pytest.mark.parametrize("axes", [None, 1, 2, 3])
@pytest.mark.parametrize("penalty", [False, True])
def test_what_is_appended_is_read_back(axes, penalty, tmp_path):
    chunks = [
        chunk(first, rows, axes=axes, penalty=penalty)
        for first, rows in ((0, (4, 4)), (4, (3, 1)), (7, (2, 0)))
    ]
    evaluations = [evaluation(0, 0), evaluation(1, 4, "validation")]
    evaluations.append(evaluation(2, 7, lanes=LANES[:1]))
    journal = Journal(tmp_path, 4)
    journal.append(chunks[:1], evaluations[:1])
    journal.append([], evaluations[1:2])
    journal.append(chunks[1:], [])
    journal.append([], [])
    journal.append([], evaluations[2:])
    found, evaluated = rows(Journal(tmp_path, 4))
    assert found.rows.tolist() == [9, 5]
    assert bits(found) == bits(joined(chunks))
    assert found.loss.tobytes() == b"".join(each.loss.tobytes() for each in chunks)
    assert [bits(each) for each in evaluated] == [bits(each) for each in evaluations]


def test_single_precision_stays(tmp_path):
    single = chunk(0, (2, 2), axes=2)
    single = replace(single, position=single.position.astype(np.float32))
    Journal(tmp_path, 4).append([single], [])
    assert bits(rows(Journal(tmp_path, 4))[0]) == bits(single)


def test_a_block_without_rows_has_none(tmp_path):
    assert rows(Journal(tmp_path, 4)) == (None, [])
    assert Journal(tmp_path, 4).checkpoint() is None
    assert Journal(tmp_path, 4).result() is None
    assert not Journal(tmp_path, 4).ended
    assert journals(tmp_path) == []


def test_a_journal_taken_up_again_goes_on_behind_its_last_part(tmp_path):
    Journal(tmp_path, 4).append([chunk(0, (4, 4))], [])
    Journal(tmp_path, 4).append([chunk(4, (2, 2))], [])
    names = sorted(each.name for each in (tmp_path / FOLDER / "block-00004").iterdir())
    assert names == ["rows-000001.npz", "rows-000002.npz"]
    assert len(rows(Journal(tmp_path, 4))[0].loss) == 6


def test_parts_that_were_written_twice_count_once(tmp_path):
    """An interrupt may come after a part is there and before that is noted."""
    first, second = chunk(0, (4, 4), axes=2, penalty=True), chunk(4, (4, 2), axes=2, penalty=True)
    journal = Journal(tmp_path, 4)
    evaluations = [evaluation(0, 0), evaluation(1, 4)]
    journal.append([first], evaluations[:1])
    journal.append([first, second], evaluations)
    journal.append([second], evaluations[1:])
    found, evaluated = rows(journal)
    assert bits(found) == bits(joined([first, second]))
    assert [bits(each) for each in evaluated] == [bits(each) for each in evaluations]


@pytest.mark.parametrize(
    ("iteration", "kept", "counts"),
    [(0, 5, [5, 2]), (7, 5, [5, 2]), (8, 4, [4, 1]), (9, 3, [3, 0]), (11, 1, [1, 0])],
)
def test_what_comes_after_an_iteration(iteration, kept, counts):
    whole = chunk(7, (5, 2), axes=2, penalty=True)
    found = after(whole, iteration)
    assert found.first_iteration == max(7, iteration)
    assert (len(found.loss), found.rows.tolist()) == (kept, counts)
    for name in ("loss", "position", "penalty"):
        assert getattr(found, name).tobytes() == getattr(whole, name)[5 - kept :].tobytes()
    assert all(after(whole, beyond) is None for beyond in (12, 13, 100))


@given(
    cuts=st.lists(st.integers(1, 39), max_size=6, unique=True).map(sorted),
    size=st.integers(1, 3000),
    ends=st.integers(0, 40),
)
def test_stretches_do_not_depend_on_the_chunks(cuts, size, ends):
    """Rows of two lanes, of which one may have ended; each takes 2 × (8 + 16 + 8) bytes."""
    whole = chunk(0, (40, ends), axes=2, penalty=True)
    chunks = [
        replace(
            whole,
            first_iteration=first,
            rows=np.array([last - first, min(max(ends - first, 0), last - first)]),
            **{name: getattr(whole, name)[first:last] for name in ("loss", "position", "penalty")},
        )
        for first, last in pairwise([0, *cuts, 40])
    ]
    found = [joined(stretch) for stretch in stretches(iter(chunks), size)]
    height = max(1, size // 64)
    assert [len(each.loss) for each in found[:-1]] == [height] * (len(found) - 1)
    assert 0 < len(found[-1].loss) <= height
    assert bits(joined(found)) == bits(whole)
    assert [bits(each) for each in found] == [
        bits(joined(stretch)) for stretch in stretches([whole], size)
    ]


def test_numbers_tell_journals_apart(tmp_path):
    for number in (11, 2, 100_000):
        Journal(tmp_path, number).append([replace(chunk(0, (1, 1)), block=number)], [])
    assert [each.block for each in journals(tmp_path)] == [2, 11, 100_000]
    Journal(tmp_path, 2).forget()
    assert [each.block for each in journals(tmp_path)] == [11, 100_000]
    assert not Journal(tmp_path, 2).exists
    for _ in range(2):
        clear(tmp_path)
        assert list(tmp_path.iterdir()) == []


def checkpoint(rows, scale=1.0) -> Checkpoint:
    arrays = {
        "params": scale * np.random.default_rng(1).random((2, 4)).astype(np.float32),
        "seen/split": np.array(["train", "validation"], dtype="U16"),
        "seen/place": np.zeros(0, dtype=np.int64),
        "slots/mean": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "ledger/entered": np.array(rows),
    }
    return Checkpoint(4, rows, arrays)


def test_a_checkpoint_is_read_back_to_the_bit(tmp_path):
    kept = checkpoint(6)
    Journal(tmp_path, 4).keep(kept)
    found = Journal(tmp_path, 4).checkpoint()
    assert (found.block, found.rows, [*found.arrays]) == (4, 6, [*kept.arrays])
    for name, array in kept.arrays.items():
        assert bits_of(found.arrays[name]) == bits_of(array)


def test_arrays_are_stored_without_pickles(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_arrays(tmp_path / "a.npz", {"a": np.array([{}, None], dtype=object)})
    assert list(tmp_path.iterdir()) == []
    np.savez(tmp_path / "a.npz", a=np.array([{}, None], dtype=object))
    with pytest.raises(ResultsError, match="is damaged: Object arrays cannot be loaded"):
        read_arrays(tmp_path / "a.npz")


class Killed(BaseException):
    """A kill that a test can survive."""


@pytest.mark.parametrize("at", ["open", "fsync", "replace"])
def test_a_checkpoint_is_replaced_at_once(at, tmp_path, monkeypatch):
    """Wherever the process ends, the old checkpoint or the new one is there, and nothing else."""
    journal = Journal(tmp_path, 4)
    journal.keep(checkpoint(6))
    real, left = getattr(os, at), []

    def killed(*arguments):
        if not left:
            raise Killed
        left.pop()
        return real(*arguments)

    for calls in range(3):
        left[:] = [None] * calls
        with monkeypatch.context() as patch, suppress(Killed):
            patch.setattr(files.os, at, killed)
            journal.keep(checkpoint(12, scale=2.0))
        found = Journal(tmp_path, 4).checkpoint()
        expected = {6: checkpoint(6), 12: checkpoint(12, scale=2.0)}[found.rows]
        assert found.arrays["params"].tobytes() == expected.arrays["params"].tobytes()
    assert found.rows == 12


def test_results_are_read_back(tmp_path):
    values = {"stopped_at": 16, "best_at": 12, "final_loss": 0.1 + 0.2, "best_loss": 5e-324}
    ends = (
        LaneResult(3, Status.STOPPED, 17, **values, step_seconds=1e-5, block_lanes=2),
        LaneResult(5, Status.DIVERGED, 3, diverged_at=3, final_loss=float("inf")),
    )
    expected = BlockResult(4, ends, "ValueError: ∞", "Traceback …\n  line")
    Journal(tmp_path, 4).end(expected)
    found = Journal(tmp_path, 4).result()
    assert found == expected
    assert found.traceback == expected.traceback
    assert all(isinstance(lane.status, Status) for lane in found.lanes)
    assert Journal(tmp_path, 4).ended


def test_what_has_ended_is_thinned(tmp_path):
    journal = Journal(tmp_path, 4)
    journal.append([chunk(0, (2, 2))], [])
    journal.keep(checkpoint(2))
    journal.end(result(Status.DONE, Status.DONE))
    assert len(rows(journal)[0].loss) == 2
    journal.thin()
    folder = tmp_path / FOLDER / "block-00004"
    assert [each.name for each in folder.iterdir()] == ["result.json"]


def damaged(call) -> str:
    with pytest.raises(ResultsError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def written(tmp_path):
    """A journal of three parts and a checkpoint."""
    journal = Journal(tmp_path, 4)
    for number, first in enumerate((0, 4, 8)):
        journal.append([chunk(first, (4, 4))], [evaluation(number, first)])
    journal.keep(checkpoint(8))
    return journal


def folder_of(journal, tmp_path):
    return tmp_path / FOLDER / journal.name


@pytest.mark.parametrize("name", ["rows-000002.npz", "checkpoint.npz"])
@pytest.mark.parametrize("size", [0, 1, 30, 200, -30, -1])
def test_a_truncated_file_is_named(name, size, written, tmp_path):
    file = folder_of(written, tmp_path) / name
    file.write_bytes(file.read_bytes()[:size])
    readers = {
        "rows-000002.npz": [written.chunks, written.evaluations],
        "checkpoint.npz": [written.checkpoint],
    }
    for read in readers[name]:
        assert damaged(lambda read=read: list(read() or ())).startswith(f"'{file}' is damaged: ")


def test_parts_that_are_missing_or_do_not_follow_each_other_are_damaged(written, tmp_path):
    folder = folder_of(written, tmp_path)
    os.replace(folder / "rows-000003.npz", folder / "rows-000002.npz")
    expected = f"'{folder / 'rows-000002.npz'}' is damaged: it"
    assert damaged(lambda: list(written.chunks())) == f"{expected} does not follow row 4"
    assert damaged(lambda: list(written.evaluations())) == f"{expected} lacks evaluation 1"
    os.replace(folder / "rows-000002.npz", folder / "rows-000003.npz")
    for read in (written.chunks, written.evaluations):
        message = damaged(lambda read=read: list(read()))
        assert message == f"'{folder}' is damaged: part 2 is missing"


def test_a_damaged_part_is_noticed_by_who_reads_what_is_damaged(written, tmp_path):
    """Rows and evaluations are read apart; the checksum of each is compared."""
    file = folder_of(written, tmp_path) / "rows-000002.npz"
    content = file.read_bytes()
    for field, read in (("loss", written.chunks), ("evaluation/1/error", written.evaluations)):
        with np.load(file) as arrays:
            data = arrays[field].tobytes()
        assert content.count(data) == 1
        damage = content.replace(data, data[:-1] + bytes([data[-1] ^ 1]))
        file.unlink()
        file.write_bytes(damage)
        expected = f"'{file}' is damaged: Bad CRC-32 for file '{field}.npy'"
        assert damaged(lambda read=read: list(read())) == expected
        file.write_bytes(content)


@pytest.mark.parametrize("lacking", ["rows", "first_iteration", "lanes", "evaluation/0/split"])
def test_a_part_that_lacks_an_array_is_named(lacking, written, tmp_path):
    file = folder_of(written, tmp_path) / "rows-000001.npz"
    arrays = read_arrays(file)
    del arrays[lacking]
    write_arrays(file, arrays)
    read = written.evaluations if lacking.startswith("evaluation") else written.chunks
    assert damaged(lambda: list(read())) == f"'{file}' is damaged: '{lacking}'"


def test_a_checkpoint_that_does_not_say_how_far_it_goes_is_damaged(written, tmp_path):
    file = folder_of(written, tmp_path) / "checkpoint.npz"
    write_arrays(file, {"params": np.zeros(3)})
    assert damaged(written.checkpoint) == f"'{file}' is damaged: it does not say how far it goes"


GOOD = json.dumps(asdict(result(Status.DONE, Status.DONE)))


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "3", "\x00", b"\xff\xfe", GOOD[:-5]),
        GOOD.replace('"message"', '"massage"'),
        GOOD.replace('"iterations"', '"iteration"'),
        GOOD.replace('"done"', '"dome"'),
        json.dumps({**json.loads(GOOD), "lanes": [3]}),
    ],
)
def test_a_result_that_cannot_be_read_is_named(content, written, tmp_path):
    file = folder_of(written, tmp_path) / "result.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert damaged(written.result).startswith(f"'{file}' is damaged: ")


def test_a_flipped_bit_in_any_byte_of_stored_arrays_is_harmless_or_noticed(tmp_path):
    """All data have checksums; much of a zip file's headers stands there twice, or for nothing."""
    small = {"loss": np.array([[0.5], [0.25]]), "rows": np.array([2]), "split": np.array("test")}
    write_arrays(tmp_path / "good.npz", small)
    content = (tmp_path / "good.npz").read_bytes()
    noticed = []
    for bit in (8 * byte + byte % 8 for byte in range(len(content))):  # one bit of every byte
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "bad.npz").unlink(missing_ok=True)
        (tmp_path / "bad.npz").write_bytes(flipped)
        try:
            found = read_arrays(tmp_path / "bad.npz")
        except ResultsError as error:
            noticed.append(str(error))
        else:
            assert [*found] == [*small], bit
            for name, array in small.items():
                assert bits_of(found[name]) == bits_of(array), bit
    assert len(noticed) > 0.6 * len(content)
    assert all(str(tmp_path / "bad.npz") in message for message in noticed)


def test_a_journal_is_not_written_where_there_is_no_run(tmp_path):
    journal = Journal(tmp_path / "gone", 4)
    for write in (
        lambda: journal.append([chunk(0, (2, 2))], []),
        lambda: journal.keep(checkpoint(2)),
        lambda: journal.end(result(Status.DONE, Status.DONE)),
    ):
        assert damaged(write).startswith(f"cannot write results to '{tmp_path / 'gone'}")
    assert not (tmp_path / "gone").exists()


def test_a_folder_that_goes_is_gone_at_once(tmp_path, monkeypatch):
    journal = Journal(tmp_path, 4)
    journal.append([chunk(0, (2, 2))], [])
    journal.append([chunk(2, (2, 2))], [])

    def killed(place, **options):
        if place.exists():
            raise Killed

    monkeypatch.setattr(places.shutil, "rmtree", killed)
    with pytest.raises(Killed):
        journal.forget()
    assert journals(tmp_path) == []
    assert rows(Journal(tmp_path, 4)) == (None, [])


def test_a_folder_that_was_half_removed_before_is_in_nobodys_way(tmp_path):
    for _ in range(2):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "file").write_text("x")
        (tmp_path / ".a.gone").mkdir()
        (tmp_path / ".a.gone" / "file").write_text("x")
        remove_folder(tmp_path / "a")
        assert list(tmp_path.iterdir()) == []


def test_a_file_and_all_names_on_the_way_to_it_are_on_the_disk_before_it_counts(
    tmp_path, monkeypatch
):
    """The order is: file, rename, folder; and a new folder's name in the one above it."""
    steps = []

    def synced(place):
        steps.append(("sync", "part" if place.suffix == ".part" else place.name))

    for module in (files, places):
        monkeypatch.setattr(module, "sync", synced)
    real = os.replace
    monkeypatch.setattr(
        files.os, "replace", lambda old, new: (steps.append(("rename", new.name)), real(old, new))
    )
    write_beside(tmp_path / "trace" / "a", lambda place: place.write_text("x"))
    expected = [("sync", tmp_path.name), ("sync", "part"), ("rename", "a"), ("sync", "trace")]
    assert steps == expected
    steps.clear()
    make_folder(tmp_path / "trace")
    assert steps == []
    Journal(tmp_path, 4).append([chunk(0, (1, 1))], [])
    names = [name for step, name in steps if step == "sync"]
    assert names == [tmp_path.name, FOLDER, "part", "block-00004"]


def test_a_folder_that_another_process_makes_meanwhile_is_taken(tmp_path, monkeypatch):
    (tmp_path / FOLDER).mkdir()
    looks = iter([False])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "is_dir", lambda path: next(looks, True))
        make_folder(tmp_path / FOLDER)
    assert (tmp_path / FOLDER).is_dir()


def test_arrays_that_are_compressed_are_not_unfolded(tmp_path):
    np.savez_compressed(tmp_path / "rows.npz", loss=np.zeros(10**6))
    with pytest.raises(ResultsError, match="is damaged: it is compressed"):
        read_arrays(tmp_path / "rows.npz")
