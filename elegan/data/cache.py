"""Where prepared images and downloads are kept: one folder for each, written beside its place and moved there when it is whole."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from elegan.errors import DataError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MAKING = ".making-"
IMAGES, LABELS, VALUES, RECORD = PREPARED = ("images.bin", "labels.bin", "values.bin", "record.json")
DOWNLOADED = "images.parquet"
WEIGHTS = "weights.safetensors"


def cache_folder() -> Path:
    """The folder of the cache: $ELEGAN_CACHE, else elegan in $XDG_CACHE_HOME or ~/.cache. It need not exist yet."""
    if chosen := os.environ.get("ELEGAN_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elegan"


def images_folder() -> Path:
    """The part of the cache that holds prepared images."""
    return cache_folder() / "elegan-prepared-images"


def downloads_folder() -> Path:
    """The part of the cache that holds what was downloaded."""
    return cache_folder() / "elegan-downloads"


def networks_folder() -> Path:
    """The part of the cache that holds networks that learned to judge images."""
    return cache_folder() / "elegan-networks"


def folders() -> tuple[Path, ...]:
    return images_folder(), downloads_folder(), networks_folder()


def cache_bytes() -> int:
    """How many bytes prepared images, downloads and judging networks take on disk."""
    total = 0
    for folder in folders():
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):  # Another process may just be moving its entry into place.
                total += path.stat().st_size if path.is_file() else 0
    return total


def clear_cache() -> int:
    """Delete all of them, and nothing else: they are made and downloaded again when they are needed.

    Returns the bytes freed.
    """
    before = cache_bytes()
    for folder in folders():
        for entry in folder.glob("*"):
            if is_ours(entry):
                shutil.rmtree(entry)
        with suppress(OSError):  # not empty: a stranger put something there
            folder.rmdir()
    return before - cache_bytes()


def is_ours(entry: Path) -> bool:
    """Whether a folder holds nothing but what we write; anything else is a person's own and stays."""
    ours = (*PREPARED, DOWNLOADED, WEIGHTS)
    published = ".pth" if entry.parent == networks_folder() else None
    return entry.is_dir() and not entry.is_symlink() and all(is_one_of(path, ours, published) for path in entry.iterdir())


def is_one_of(path: Path, names: tuple[str, ...], suffix: str | None) -> bool:
    return path.is_file() and (path.name in names or path.suffix == suffix)


@contextmanager
def new_entry(target: Path, needed: int, is_whole: Callable[[Path], bool]) -> Iterator[Path]:
    """A folder to write into, which becomes `target` when the block ends well and vanishes when it does not.

    needed: the bytes that will be written. is_whole: whether an entry can be used; one that can is not replaced.
    Raises DataError if the disk is full or cannot be written to.
    """
    making: Path | None = None
    try:
        with writing():
            target.parent.mkdir(parents=True, exist_ok=True)
            _check_space(target.parent, needed)
            making = Path(tempfile.mkdtemp(prefix=_MAKING, dir=target.parent))
            yield making
            if not is_whole(target):
                _move(making, target)
    finally:
        if making is not None:
            shutil.rmtree(making, ignore_errors=True)


@contextmanager
def writing() -> Iterator[None]:
    """DataError where the disk is full or cannot be written to."""
    try:
        yield
    except OSError as error:
        raise DataError(_no_room(error)) from error


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free")


def _move(making: Path, target: Path) -> None:
    """Put a finished folder in its place, also where a damaged one is."""
    if target.exists():
        shutil.rmtree(target, ignore_errors=True)
    try:
        making.rename(target)
    except OSError as error:
        # Another process put the same images there in between: its copy is as good.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _no_room(error: OSError) -> str:
    what = "is full" if error.errno in _FULL else "cannot be written to"
    reason = error.strerror or str(error)
    return (
        f"The cache folder {cache_folder()} {what} ({reason}): set ELEGAN_CACHE to a folder with room, or run `elegan data --clear-cache`."
    )
