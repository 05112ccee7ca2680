"""The code of plug-ins that a run keeps in its directory, so that it can be repeated elsewhere.

``plugins/`` is written at once, before run.json, which says for each plug-in what it is called
there, which files are its own, and their SHA-256.
"""

import hashlib
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from optbench.errors import ResultsError
from optbench.store.description import check_shape
from optbench.store.files import PART
from optbench.store.places import sync, writing

FOLDER = "plugins"
"""The folder in a run's directory that holds all of it."""

MOST_BYTES = 16 * 2**20
"""How much code of one plug-in is kept, at most."""

MOST_NAMED = 3
"""Files that a message names."""


def is_place(place: str) -> bool:
    """Say whether a path leads to a place below where it begins, and only there, on any system.

    >>> is_place("pack/rules.py"), is_place("../rules.py"), is_place("C:rules.py")
    (True, False, False)
    """
    parts = PurePosixPath(place).parts
    plain = "/".join(parts) == place and place.isprintable() and not {*"\\:"} & {*place}
    return bool(parts) and plain and ".." not in parts


def _inside(place: str) -> str:
    if not is_place(place):
        raise ValueError(f"{place!r} is no place of a file")
    return place


Place = Annotated[str, AfterValidator(_inside)]


class KeptCode(BaseModel):
    """What a run.json says of a plug-in whose code it keeps.

    Attributes
    ----------
    kind, name
        What the plug-in is, and what the suite calls it.
    folder
        Where its code lies, as seen from the run's directory.
    spec
        What it is called from there, as ``heavy.py:Heavy``, or ``torch:my_package.rules:Heavy``.
    files
        The SHA-256 of its files by where they lie in the folder.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    kind: Literal["problem", "optimizer"]
    name: str
    folder: Place
    spec: str
    files: Annotated[dict[Place, str], Field(min_length=1)]

    def files_in(self, folder: str) -> list[str]:
        """Return where its files lie in a folder; none if they are in another one."""
        return list(self.files) if folder == self.folder else []

    def place(self, run: Path) -> str:
        """Say where its files are, and which they are, or some of them."""
        some, more = [*self.files][:MOST_NAMED], len(self.files) - MOST_NAMED
        names = ", ".join(some) + (f" and {more} more" if more > 0 else "")
        return f"{run / self.folder} ({names})"


def write_code(run: Path, folders: Mapping[str, Mapping[str, bytes]]) -> None:
    """Write files by folder and place into the folder of a run's code: all of them, or none."""
    if not folders:
        return
    with writing(run / FOLDER):
        part = run / PART.format(secrets.token_hex(8))
        for folder, files in folders.items():
            for place, text in files.items():
                file = part / folder / place
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(text)
                sync(file)
        os.replace(part, run / FOLDER)
        sync(run)


def sha256s(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each text."""
    return {place: hashlib.sha256(text).hexdigest() for place, text in files.items()}


class _Kept(BaseModel):
    """What a run.json says of all code that is kept."""

    model_config = ConfigDict(strict=True)

    plugins: list[KeptCode] = []


def kept_codes(meta: Mapping[str, Any], run: Path) -> dict[tuple[str, str], KeptCode]:
    """Return what a run.json says of the code that is kept, by kind and name of plug-ins.

    Raises
    ------
    ResultsError
        If it says nothing that makes sense.
    """
    check_shape(_Kept, meta, run / "run.json")
    return {(code.kind, code.name): code for code in _Kept.model_validate(meta).plugins}


def check_code(run: Path, code: KeptCode, beside: Collection[str]) -> Path:
    """Return the folder that holds kept code, whose files are all there, and unchanged.

    No others may be there than those ``beside``, of which other plug-ins are made.

    Raises
    ------
    ResultsError
        If they are not, or if there is a link among them.
    """
    folder = run / code.folder
    found = dict(_files(run / FOLDER, folder))
    for place in found:
        if place not in beside:
            raise ResultsError(
                f"'{folder / place}' is not among the code that the run kept; remove it"
            )
    for place in code.files:
        file = folder / place
        if place not in found:
            raise ResultsError(f"'{file}' is missing: the code that the run kept is not whole")
        too_large = found[place] > MOST_BYTES
        if too_large or sha256s({place: file.read_bytes()}) != {place: code.files[place]}:
            raise ResultsError(f"'{file}' has been changed since the run kept it")
    return folder


def _files(top: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Yield place and size of each file in a folder below another one.

    Raises
    ------
    ResultsError
        If a folder or file is a link, which may lead anywhere, or no file that can be read.
    """
    _check(top)
    _check(folder)
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in (*folders, *files):
            _check(Path(place, name))
        for file in (Path(place, name) for name in files):
            yield file.relative_to(folder).as_posix(), file.stat().st_size


def _check(path: Path) -> None:
    """Refuse a link, and what is neither a folder nor a file."""
    if path.is_symlink():
        raise ResultsError(f"'{path}' is a link; a run keeps code itself")
    if path.exists() and not (path.is_dir() or path.is_file()):
        raise ResultsError(f"'{path}' is neither a file nor a folder")
