"""What the folders around images mean: splits, classes, or nothing. The same rules for folders and for zip files."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from elegan.data.source import SPLITS, Labels, natural, number_classes
from elegan.errors import DataError

EXTENSIONS = frozenset(
    [".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"]
)
EXPECTED = "expected images (.png, .jpg, .webp, ...), all in one folder or in one folder for each class"
INDEX = "dataset.json"
_JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_SPLIT_NAMES = frozenset(name for names in SPLITS.values() for name in names)


@dataclass(frozen=True)
class Layout:
    """The images in order, by name; their labels and class names, if any; and sentences on what was found."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    labels: Labels | None
    notes: tuple[str, ...]
    nested: str = ""


def arrange(where: str, names: Sequence[str], split: str, read: Callable[[str], bytes]) -> Layout:
    """Sort out files by their `names`, relative to `where`, with "/" between folders; `read` gives a file's bytes.

    Raises DataError if there is no image, or not the split that was asked for.
    """
    visible = [name for name in names if not _hidden(name)]
    images = sorted((name for name in visible if _suffix(name) in EXTENSIONS), key=natural)
    if not images:
        raise DataError(f"No image in {where}: found {_found(visible)}; {EXPECTED}.")
    notes = _others(visible)
    index = min((name for name in visible if PurePosixPath(name).name == INDEX), key=len, default=None)
    table = _table(index, read) if index and split == "train" else None
    if index and table is not None:
        classes, labels, note = _from_index(index, table, images)
        return Layout(tuple(images), classes, labels, (*notes, note))
    images, prefix, nested, more = _descend(where, images, split)
    classes, labels, also = _classes(images, prefix)
    return Layout(tuple(images), classes, labels, (*notes, *more, *also), nested)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in _JUNK for part in name.split("/"))


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _found(names: Sequence[str]) -> str:
    """What there is where no image is, in words."""
    if not names:
        return "nothing"
    kinds = Counter(_suffix(name) or "no extension" for name in names).most_common(4)
    return f"{len(names)} other file(s) ({', '.join(f'{kind} {count}' for kind, count in kinds)})"


def _others(visible: Sequence[str]) -> tuple[str, ...]:
    others = [name for name in visible if _suffix(name) not in EXTENSIONS and PurePosixPath(name).name != INDEX]
    return (f"Ignored {_found(others)}.",) if others else ()


def _descend(where: str, images: list[str], split: str) -> tuple[list[str], str, str, list[str]]:
    """Step into split folders and into folders that are alone: the images left, their common prefix, what was stepped into, notes."""
    prefix, nested, notes = "", "", list[str]()
    chosen = ""
    while tops := _top_folders(images, prefix):
        if not chosen and all(top.lower() in _SPLIT_NAMES for top in tops):
            top = chosen = _choose(where, tops, split)
            notes.append(f"The folders {', '.join(tops)} are splits, not classes: {split} reads {chosen!r}.")
            images = [name for name in images if name.startswith(f"{prefix}{chosen}/")]
        elif len(tops) == 1:
            top = tops[0]
            nested += f"{top}/"
        else:
            break
        prefix += f"{top}/"
    if split != "train" and not chosen:
        raise DataError(
            f"{where} has no {split} split: expected folders named train and test in it. Give the test images by their own path."
        )
    if nested:
        notes.append(f"All images lie in the folder {nested!r}, which is alone at its level: read from there.")
    return images, prefix, nested, notes


def _top_folders(images: Sequence[str], prefix: str) -> list[str]:
    """The folders directly under `prefix`; [] if an image lies beside them."""
    rests = [name[len(prefix) :] for name in images]
    if any("/" not in rest for rest in rests):
        return []
    return sorted({rest.partition("/")[0] for rest in rests}, key=natural)


def _choose(where: str, tops: Sequence[str], split: str) -> str:
    by_name = {top.lower(): top for top in tops}
    for name in SPLITS[split]:
        if name in by_name:
            return by_name[name]
    raise DataError(
        f"{where} has no {split} split: found {', '.join(tops)}; expected {' or '.join(SPLITS[split])}. Give one folder by its own path."
    )


def _classes(images: Sequence[str], prefix: str) -> tuple[tuple[str, ...], Labels | None, list[str]]:
    """Class names and labels from the folders under `prefix`; none if images lie beside them."""
    rests = [name[len(prefix) :] for name in images]
    loose = sum("/" not in rest for rest in rests)
    if loose == 0:
        return *number_classes([rest.partition("/")[0] for rest in rests]), []
    if loose < len(rests):
        return (), None, [f"{loose} image(s) lie beside the folders, so the folders are not taken for classes: no labels."]
    return (), None, []


def _from_index(found: str, table: list[tuple[str, object]], images: Sequence[str]) -> tuple[tuple[str, ...], Labels | None, str]:
    """Classes and labels from the table of the index file `found`, and a note."""
    folder = found[: -len(INDEX)]
    by_name = {folder + path.replace("\\", "/"): value for path, value in table}
    values = [by_name.get(name) for name in images]
    numbers = [value for value in values if type(value) is int]
    if len(numbers) != len(images):
        return (), None, f"{found} has no class number for {len(images) - len(numbers)} image(s): no labels."
    return *number_classes(numbers), f"Labels come from {found}."


def _table(found: str, read: Callable[[str], bytes]) -> list[tuple[str, object]] | None:
    """The pairs (path, label) of StyleGAN's {"labels": [["00000/img.png", 3], ...]}; None if it is some other or a damaged file."""
    try:
        return [(str(path), label) for path, label in json.loads(read(found))["labels"] or []]
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, zlib.error):
        return None
