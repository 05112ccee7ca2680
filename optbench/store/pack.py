"""Packs: a run or a study as one zip file, which is read wherever a run is.

The members are stored, not compressed: tables are compressed already, the same run gives the same
bytes on every machine, and nothing can unfold to more than the file is long. A pack may come from
anybody, so all its names are checked before the first byte is written.
"""

import os
import re
import shutil
import stat
from functools import cache
from os.path import isfile, realpath
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from optbench.errors import CALLED, ResultsError, UsageError, shown
from optbench.records import Status
from optbench.store.files import check_place, write_output
from optbench.store.kept import is_place
from optbench.store.reader import read_description
from optbench.store.studies import TUNE, is_study, read_tune, run_name

SUFFIX = ".zip"

MOST_MEMBERS = 100_000

OF_A_RUN = r"(run\.json|lanes\.parquet|(trace|evaluation|surface)/[^/]+\.parquet|plugins/.+)"

LAYOUT = re.compile(rf"[^/]+/(tune\.json|trials\.parquet|([^/]+/)?{OF_A_RUN})")
"""Names of members: below the name of the run, what it or a study is read from."""

TIME = (1980, 1, 1, 0, 0, 0)
"""Of every member, so that bytes are the same whenever a run is packed or was copied."""

ENCRYPTED = 1
"""The bit of a member's flags that says so."""

_unfolded: dict[Path, Path] = {}
"""Packs by the folders that they have been unfolded to."""


def pack(path: Path, file: Path, *, force: bool = False) -> None:
    """Write what a run or a study is read from, without figures, into a zip file.

    Raises
    ------
    ResultsError
        If it has not ended, or the file is there already and may not be overwritten.
    """
    if file.suffix != SUFFIX:
        raise UsageError(f"'{file}' is no name of a pack; end it in {SUFFIX}")
    check_place(file, force=force)
    refuse_pack(path, "copy it")
    check_ended(path)
    root = run_name(path).replace("/", "-")
    members = {f"{root}/{each.relative_to(path).as_posix()}": each for each in path.rglob("*")}
    members = {
        name: members[name]
        for name in sorted(members)
        if LAYOUT.fullmatch(name) and "__pycache__" not in name and not members[name].is_dir()
    }
    for name, each in members.items():
        if each.is_symlink() or not is_place(name):
            raise ResultsError(f"'{each}' is a link, or has a name that other systems refuse")

    def write(place: Path) -> None:
        with ZipFile(place, "w", ZIP_STORED) as archive:
            for name, each in members.items():
                info = ZipInfo(name, TIME)
                info.create_system = 3  # as on Unix, wherever it is packed
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                info.file_size = each.stat().st_size
                with each.open("rb") as source, archive.open(info, "w") as target:
                    shutil.copyfileobj(source, target)

    write_output(file, write)


def check_ended(path: Path) -> None:
    """Refuse a run or a study that has not ended."""
    study = is_study(path)
    status = (read_tune(path) if study else read_description(path))["status"]
    command = f"optbench {'tune' if study else 'run'} --resume {quote(str(path))}"
    ways = {Status.RUNNING: "wait for its end", Status.INTERRUPTED: f"end it with: {command}"}
    if status in ways:
        raise ResultsError(f"'{path}' is {status}, and only what has ended travels; {ways[status]}")


def is_pack(path: Path) -> bool:
    """Say whether a path is that of a pack, going by its name."""
    return path.suffix == SUFFIX and isfile(path)


def pack_of(path: Path) -> Path | None:
    """Return the pack that a run has been unfolded from, if it has been."""
    return next((_unfolded[place] for place in (path, *path.parents) if place in _unfolded), None)


def beside(run: Path, name: str) -> Path:
    """Return a folder for what is made of a run: in it, or ``FILE-name`` beside a pack."""
    packed = pack_of(run)
    return packed.with_name(f"{packed.stem}-{name}") if packed else run / name


def refuse_pack(path: Path, instead: str) -> None:
    """Refuse to change a run that has been unfolded from a pack."""
    packed = pack_of(path)
    if packed is not None:
        raise UsageError(f"'{packed}' is a pack, which nothing is written into; {instead}")


def unfold(file: Path) -> Path:
    """Return the folder of a pack's run or study, which is there until the process ends.

    Raises
    ------
    ResultsError
        If it is damaged, or holds anything that :func:`pack` does not write.
    """
    try:
        seen = file.stat()
        folder = _unfold(realpath(file), seen.st_mtime_ns, seen.st_size)
    except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, BadZipFile) as error:
        reason = (str(error).splitlines() or ["it ends early"])[0]
        raise ResultsError(f"'{file}' cannot be read as a pack: {shown(reason)}") from None
    _unfolded[folder] = file
    for place in (folder, folder.resolve()):  # the longer one first: run.json stands for the run
        CALLED[f"{place}{os.sep}run.json"] = CALLED[str(place)] = str(file)
    return folder


_folders: list[TemporaryDirectory[str]] = []
"""They are removed when the process ends."""


def remove_unfolded() -> None:
    """Remove what packs have been unfolded to, for a process that ends without Python's ado."""
    _unfold.cache_clear()
    _unfolded.clear()
    CALLED.clear()
    while _folders:
        _folders.pop().cleanup()


@cache
def _unfold(file: str, modified: int, size: int) -> Path:
    with ZipFile(file) as archive:
        members = archive.infolist()
        _check(members, size)
        _folders.append(TemporaryDirectory(prefix="optbench-"))
        top = Path(_folders[-1].name)
        for member in members:
            place = top / member.filename
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, place.open("xb") as target:
                shutil.copyfileobj(source, target)
            if place.stat().st_size != member.file_size:
                raise BadZipFile("it ends early")
    folder = top / members[0].filename.split("/")[0]
    if not any(isfile(folder / name) for name in ("run.json", TUNE)):
        raise BadZipFile(f"it holds neither run.json nor {TUNE}")
    return folder


def _check(members: list[ZipInfo], size: int) -> None:
    """Refuse what :func:`pack` does not write; ``size`` is that of the file."""
    if not 0 < len(members) <= MOST_MEMBERS:
        raise BadZipFile(f"it holds {len(members)} files; a pack holds 1 to {MOST_MEMBERS}")
    names = [member.orig_filename for member in members]
    for member, name in zip(members, names, strict=True):
        if not (is_place(name) and LAYOUT.fullmatch(name)):
            raise BadZipFile(f"'{name}' is no part of a run")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise BadZipFile(f"'{name}' is no plain file")
        if member.flag_bits & ENCRYPTED:
            raise BadZipFile(f"'{name}' is encrypted")
        if member.compress_type != ZIP_STORED or member.compress_size != member.file_size:
            raise BadZipFile(f"'{name}' is compressed, which optbench pack does not do")
    if len({name.casefold() for name in names}) < len(names):
        raise BadZipFile("it holds a file twice")
    if len({name.split("/")[0] for name in names}) > 1:
        raise BadZipFile("it holds several runs")
    if sum(member.file_size for member in members) > size:
        raise BadZipFile("its files claim to be longer than it is")
