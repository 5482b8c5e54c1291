"""From what a person writes to a source of images."""

from __future__ import annotations

import os
from pathlib import Path

from elegan.data.digits import DigitsSource
from elegan.data.files import FolderSource, ZipSource
from elegan.data.parquet import parquet_of
from elegan.data.source import Source, check_split
from elegan.errors import DataError, nearest

BUILT_IN = {"digits": DigitsSource}


def open_data(where: str | Path, *, split: str = "train") -> Source:
    """The images at `where`: a built-in name (digits), a folder, a .zip file, a .parquet file or a folder of those.

    Folders and zip files are flat, or have one folder for each class, or folders named train and test (val) around that.
    split: "train" or "test". Nothing is decoded yet.

    Raises DataError if there is nothing at `where`, no image in it, not that split, or an extra is missing.
    """
    check_split(split)
    where = os.fspath(where)
    if where in BUILT_IN:
        return BUILT_IN[where](split)
    path = Path(os.path.expanduser(where))
    if not where or not os.path.exists(path):
        raise DataError(_missing(where, path))
    if path.is_dir():
        return parquet_of(path, where, split) or FolderSource(path, where, split)
    return _open_file(path, where, split)


def _open_file(path: Path, where: str, split: str) -> Source:
    if path.suffix.lower() == ".zip":
        return ZipSource(path, where, split)
    if path.suffix.lower() == ".parquet" and (source := parquet_of(path, where, split)):
        return source
    raise DataError(
        f"{where} is a {path.suffix or 'plain'} file: expected a folder of images, a .zip or a .parquet file. Give one of these."
    )


def _missing(where: str, path: Path) -> str:
    """What to say when nothing is at `path`: the nearest neighbour's name, else the nearest built-in one."""
    expected = f"expected a folder, a .zip, a .parquet file or a built-in name ({', '.join(BUILT_IN)})"
    if not path.parent.is_dir():
        return f"No data at {where}: there is no folder {path.parent} either; {expected}. Check the path."
    hint = nearest(path.name, [*_candidates(path.parent), *BUILT_IN])
    return f"No data at {where}: {expected}. {hint if hint.startswith('Did') else 'Check the path.'}"


def _candidates(folder: Path) -> list[str]:
    """What in `folder` could be data."""
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_dir() or entry.suffix.lower() in (".zip", ".parquet")]
    except OSError:
        return []
