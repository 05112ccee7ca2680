"""Where data sets are looked for: a folder given, OPTBENCH_DATA_DIR, the user's cache."""

import os
from pathlib import Path

import platformdirs

from optbench.datasets.collection import Collection, Location, locate
from optbench.errors import DataError, argument

VARIABLE = "OPTBENCH_DATA_DIR"


def cache_folder() -> Path:
    """Return the folder in the user's cache that data sets are fetched to, one subfolder each."""
    return Path(platformdirs.user_cache_dir("optbench"))


def variable_folder() -> Path | None:
    """Return the folder that OPTBENCH_DATA_DIR names, or None."""
    value = os.environ.get(VARIABLE)
    return Path(value).expanduser() if value else None


def find(collection: Collection, data_dir: Path | None) -> Location | None:
    """Return where a data set is.

    With ``data_dir`` it is looked for there and nowhere else; without, in the folder that
    OPTBENCH_DATA_DIR names, then in the cache.
    """
    if data_dir is not None:
        return locate(collection, data_dir)
    folder = variable_folder()
    location = locate(collection, folder) if folder is not None else None
    return location or locate(collection, cache_folder())


def require(collection: Collection, data_dir: Path | None) -> Location:
    """Return where a data set is; in a folder that was named, whether the cache has it or not."""
    name = collection.info.name
    folder = variable_folder() if data_dir is None else data_dir
    location = locate(collection, cache_folder() if folder is None else folder)
    if location is not None:
        return location
    if folder is None:
        raise DataError(
            f"{name} is not in the cache ({cache_folder()}): `optbench data fetch {name}` "
            f"downloads it, {argument('data_dir')} or {VARIABLE} names a folder that holds it"
        )
    given = f"{folder}" if data_dir is not None else f"{folder}, which {VARIABLE} names,"
    if not os.path.isdir(folder):
        raise DataError(f"{given} is not a folder; it should hold {collection.file_names}")
    there = "there and " if folder in collection.places(folder) else ""
    unset = "" if data_dir is not None else f"; unset {VARIABLE} to use the cache"
    raise DataError(
        f"{given} holds no {name}: looked {there}in its subfolder {name} for "
        f"{collection.file_names}{unset}"
    )
