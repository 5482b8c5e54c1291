"""A source: images somewhere (a folder, a zip, a parquet file, a package) that can be read one at a time, still encoded."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from elegan.errors import DataError, nearest

Labels = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

SPLITS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}


class Source(ABC):
    """Images that can be read one at a time.

    name: short and fit for a file name. where: as the person gave it. classes: names in the order of the label
    numbers, () without labels. labels: (n,) int64, or None. notes: sentences on what was found and decided.
    nested: the folders that had to be stepped into before images or classes were met, "" if none.
    """

    def __init__(
        self, name: str, where: str, *, classes: Sequence[str] = (), labels: Labels | None = None, notes: Iterable[str] = ()
    ) -> None:
        self.name = short(name)
        self.where = where
        self.classes = tuple(classes)
        self.labels = labels
        self.notes = list(notes)
        self.nested = ""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, i: int) -> bytes | Pixels:
        """Image `i`: the bytes of an encoded image file, or its pixels (h, w) or (h, w, c), uint8.

        Raises OSError, ValueError or another error of the reading library if this one image cannot be read.
        """

    @abstractmethod
    def item_name(self, i: int) -> str:
        """What a person calls image `i`: a file name, or a row of a file."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash that changes when the images change. Cheap: it does not decode anything."""


def short(name: str) -> str:
    """`name` with only letters, digits, '.', '_' and '-', so that it can name a folder."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "data"


def digest(*parts: object) -> str:
    """128 bits of hash over `parts` as 32 hexadecimal digits."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
        state.update(len(raw).to_bytes(8, "little") + raw)
    return state.hexdigest()


def file_digest(path: Path, *, whole_up_to: int = 64 << 20) -> str:
    """A hash of a file: of all of it if it is small, else of its size, time, both ends and 16 blocks of 1 MB in between."""
    stat = path.stat()
    if stat.st_size <= whole_up_to:
        return digest(path.read_bytes())
    block = 1 << 20
    with path.open("rb") as file:
        parts: list[object] = [stat.st_size, stat.st_mtime_ns]
        for start in np.linspace(0, stat.st_size - block, 18).astype(int):
            file.seek(int(start))
            parts.append(file.read(block))
    return digest(*parts)


def check_split(split: str) -> None:
    """Raise DataError unless `split` is "train" or "test"."""
    if split not in SPLITS:
        raise DataError(f"There is no split {split!r}: expected train or test. {nearest(split, SPLITS)}")


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key that puts "10" after "9"; ties are broken by the plain name, so that the order is always the same."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part], name


def number_classes(values: Sequence[int] | Sequence[str]) -> tuple[tuple[str, ...], Labels]:
    """Class names in natural order, and the number of each of `values` among them."""
    names = sorted({str(value) for value in values}, key=natural)
    number = {name: k for k, name in enumerate(names)}
    return tuple(names), np.array([number[str(value)] for value in values], dtype=np.int64)
