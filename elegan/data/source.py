"""A source: images somewhere (a folder, a zip, a parquet file, a package) that can be read one at a time, still encoded."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from elegan.errors import DataError, nearest

Labels = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]
"""Is told what is done, and of how much; 0 where that is not known."""

SPLITS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}


@dataclass(frozen=True)
class Column:
    """What is said of each image under one name: a text or a number, or None where nothing is said.

    classes: the names of the classes that numbers in it stand for, if they have any. origin: the file it is from, where
    that has to be said.
    """

    name: str
    cells: Sequence[object]
    classes: tuple[str, ...] = ()
    origin: str = ""


class Source(ABC):
    """Images that can be read one at a time, and what is said of them.

    name: short and fit for a file name. where: as the person gave it. notes: sentences on what was found and decided.
    columns: what classes and attributes can be taken from, by name; class_column: the one that holds the classes if
    nothing else is asked for, or None. nested: the folders that had to be stepped into before images or classes were
    met, "" if none. origin: what exactly was read, for data that is not here; "" for what is.

    What was chosen, by `elegan.data.columns.choose`: classes, names in the order of the label numbers; labels (n,)
    int64; attributes, names of columns; values (n, k) float64. Without classes, or attributes, () and None.
    """

    def __init__(
        self,
        name: str,
        where: str,
        *,
        columns: Mapping[str, Column] | None = None,
        class_column: str | None = None,
        notes: Iterable[str] = (),
        nested: str = "",
    ) -> None:
        self.name = short(name)
        self.where = where
        self.columns = columns or {}
        self.class_column = class_column
        self.notes = list(notes)
        self.nested = nested
        self.origin = ""
        self.classes: tuple[str, ...] = ()
        self.labels: Labels | None = None
        self.attributes: tuple[str, ...] = ()
        self.values: Values | None = None

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
    def fingerprint_of_images(self) -> str:
        """A hash that changes when the images change. Cheap: it does not decode anything."""

    def fingerprint(self) -> str:
        """A hash that changes when the images change, or what was chosen of what is said of them."""
        labels, values = (b"" if array is None else array.tobytes() for array in (self.labels, self.values))
        return digest(self.fingerprint_of_images(), self.classes, labels, self.attributes, values)

    def fetch(self, progress: Progress) -> None:
        """Bring here what is not here yet; called before the first image is read. For most sources there is nothing to do."""
        return


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
    """Class names in natural order, -1 before 1, and the number of each of `values` among them."""
    names = sorted({str(value) for value in values}, key=natural)
    if all(re.fullmatch(r"-?\d{1,18}", name) for name in names):
        names.sort(key=int)
    number = {name: k for k, name in enumerate(names)}
    return tuple(names), np.array([number[str(value)] for value in values], dtype=np.int64)
