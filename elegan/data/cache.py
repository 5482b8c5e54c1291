"""Where prepared images are kept: one folder for each preparation, written beside its place and moved there when it is whole."""

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
IMAGES, LABELS, RECORD = FILES = ("images.bin", "labels.bin", "record.json")


def cache_folder() -> Path:
    """The folder of the cache: $ELEGAN_CACHE, else elegan in $XDG_CACHE_HOME or ~/.cache. It need not exist yet."""
    if chosen := os.environ.get("ELEGAN_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "elegan"


def images_folder() -> Path:
    """The part of the cache that holds prepared images. Nothing else of the cache folder is ever deleted."""
    return cache_folder() / "elegan-prepared-images"


def cache_bytes() -> int:
    """How many bytes the prepared images take on disk."""
    total = 0
    for path in images_folder().rglob("*"):
        with suppress(FileNotFoundError):  # Another process may just be moving its entry into place.
            total += path.stat().st_size if path.is_file() else 0
    return total


def clear_cache() -> int:
    """Delete all prepared images; they are prepared again when they are needed. Returns the bytes freed."""
    before = cache_bytes()
    for entry in images_folder().glob("*"):
        if is_ours(entry):
            shutil.rmtree(entry)
    with suppress(OSError):  # not empty: a stranger put something there
        images_folder().rmdir()
    return before - cache_bytes()


def is_ours(entry: Path) -> bool:
    """Whether a folder holds nothing but what a preparation writes; anything else is a person's own and stays."""
    return entry.is_dir() and not entry.is_symlink() and all(path.name in FILES and path.is_file() for path in entry.iterdir())


@contextmanager
def new_entry(target: Path, needed: int, is_whole: Callable[[Path], bool]) -> Iterator[Path]:
    """A folder to write into, which becomes `target` when the block ends well and vanishes when it does not.

    needed: the bytes that will be written. is_whole: whether an entry can be used; one that can is not replaced.
    Raises DataError if the disk is full or cannot be written to.
    """
    making: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_space(target.parent, needed)
        making = Path(tempfile.mkdtemp(prefix=_MAKING, dir=target.parent))
        yield making
        if not is_whole(target):
            _move(making, target)
    except OSError as error:
        raise DataError(_no_room(error)) from error
    finally:
        if making is not None:
            shutil.rmtree(making, ignore_errors=True)


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
