"""From what a person writes to a source of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from elegan.data.columns import choose
from elegan.data.digits import DigitsSource
from elegan.data.downloads import DOWNLOADS, Announce, downloaded
from elegan.data.files import FolderSource, ZipSource
from elegan.data.hub import NAME, PREFIX, HubSource
from elegan.data.parquet import parquet_of, saved_of
from elegan.data.points import FILES, POINTS, is_named
from elegan.data.source import Source, check_split
from elegan.errors import DataError, nearest

BUILT_IN = {"digits": DigitsSource}


def open_data(
    where: str | Path,
    *,
    split: str = "train",
    labels: str = "auto",
    attributes: str | Sequence[str] = (),
    download: bool = False,
    announce: Announce | None = None,
) -> Source:
    """The images at `where`, and what is said of them. Nothing is decoded yet.

    where: a built-in name (digits), a folder, a .zip file, a .parquet file, a folder of those or one that the datasets
    library saved, a name to download (mnist, fashion_mnist), or hf://owner/name for a data set on Hugging Face's hub.
    Folders and zip files are flat, or have one folder for each class, or folders named train and test (val) around that;
    tables in them (metadata.csv, metadata.jsonl, labels.csv, labels.json, StyleGAN's dataset.json) say more.

    split: "train" or "test". labels: the column that holds classes; "auto" takes one called label, or class folders,
    and "none" takes none. attributes: columns of numbers, which images are asked to have instead of a class; a list, or
    names with commas between them, or "none". download: allow what is not here to be downloaded, and owner/name to mean
    the hub; announce is told of it. hf:// reaches for the network by itself.

    Raises DataError if there is nothing at `where`, no image in it, not that split or column, or an extra is missing.
    """
    check_split(split)
    where, names = os.fspath(where), _names(attributes)
    path = Path(os.path.expanduser(where))
    is_here = bool(where) and os.path.exists(path)
    if where.startswith(PREFIX) or (download and not is_here and NAME.fullmatch(where)):
        return HubSource(PREFIX + where.removeprefix(PREFIX), split, labels, names)
    if where in BUILT_IN:
        source: Source = BUILT_IN[where](split)
    elif is_here:
        source = _open_path(path, where, split)
        if where in DOWNLOADS:
            source.notes.append(f"Read from {path.resolve()}, because it is here: the data set of that name was not downloaded.")
    elif where in DOWNLOADS:
        source = downloaded(where, split, download=download, announce=announce or _ignore)
    elif is_named(where):
        raise DataError(f"{where} holds points, not images: `elegan train {where}` learns them. Give images.")
    else:
        raise DataError(_missing(where, path))
    choose(source, labels, names)
    return source


def _names(attributes: str | Sequence[str]) -> list[str]:
    """ "age, gender" -> ["age", "gender"]; "none" -> []."""
    if not isinstance(attributes, str):
        return list(attributes)
    return [] if attributes == "none" else [name.strip() for name in attributes.split(",") if name.strip()]


def _ignore(text: str) -> None:
    """Nothing is announced."""


def _open_path(path: Path, where: str, split: str) -> Source:
    if path.is_dir():
        return saved_of(path, where, split) or parquet_of(path, where, split) or FolderSource(path, where, split)
    if path.suffix.lower() == ".zip":
        return ZipSource(path, where, split)
    if path.suffix.lower() == ".parquet" and (source := parquet_of(path, where, split)):
        return source
    if path.suffix.lower() in FILES:
        raise DataError(f"{where} holds points, not images: `elegan train {where}` learns them. Give images.")
    raise DataError(
        f"{where} is a {path.suffix or 'plain'} file: expected a folder of images, a .zip or a .parquet file. Give one of these."
    )


def _missing(where: str, path: Path) -> str:
    """What to say when nothing is at `path`: the nearest neighbour's name, else the nearest known one, or the hub."""
    known = [*BUILT_IN, *DOWNLOADS, *POINTS]
    expected = f"expected a folder, a .zip, a .parquet file or a name ({', '.join(known)})"
    if not path.parent.is_dir():
        hub = f", or write {PREFIX}{where} for the data set of that name on Hugging Face's hub" if NAME.fullmatch(where) else ""
        return f"No data at {where}: there is no folder {path.parent} either; {expected}. Check the path{hub}."
    hint = nearest(path.name, [*_candidates(path.parent), *known])
    return f"No data at {where}: {expected}. {hint if hint.startswith('Did') else 'Check the path.'}"


def _candidates(folder: Path) -> list[str]:
    """What in `folder` could be data."""
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_dir() or entry.suffix.lower() in (".zip", ".parquet")]
    except OSError:
        return []
