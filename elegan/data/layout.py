"""What the folders around images mean: splits, classes, or nothing. The same rules for folders and for zip files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from elegan.data.columns import CLASS_NAMES, FOLDER
from elegan.data.source import SPLITS, Column, natural
from elegan.data.tables import INDEX, is_table, read_tables
from elegan.errors import DataError, NoSplitError

EXTENSIONS = frozenset(
    [".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"]
)
EXPECTED = "expected images (.png, .jpg, .webp, ...), all in one folder or in one folder for each class"
_JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_SPLIT_NAMES = frozenset(name for names in SPLITS.values() for name in names)
_DOMAIN = re.compile(rf"({'|'.join(_SPLIT_NAMES)})([ab])", re.IGNORECASE)
"""trainA, testB: the folders of unpaired images, as CycleGAN has them."""


@dataclass(frozen=True)
class Layout:
    """The images in order, by name; what is said of them; the column that holds classes; and sentences on what was found."""

    names: tuple[str, ...]
    columns: dict[str, Column]
    class_column: str | None
    notes: tuple[str, ...]
    nested: str = ""


@dataclass
class _Place:
    """Where images were found: they, the folders they have in common, those of them that were stepped into, and notes."""

    images: list[str]
    prefix: str = ""
    nested: str = ""
    notes: list[str] = field(default_factory=list)


def arrange(where: str, names: Sequence[str], split: str, read: Callable[[str], bytes]) -> Layout:
    """Sort out files by their `names`, relative to `where`, with "/" between folders; `read` gives a file's bytes.

    Raises DataError if there is no image, or not the split that was asked for.
    """
    visible = [name for name in names if not _hidden(name)]
    images = sorted((name for name in visible if _suffix(name) in EXTENSIONS), key=natural)
    if not images:
        raise DataError(f"No image in {where}: found {_found(visible)}; {EXPECTED}.")
    tables = read_tables(visible, images, read)
    if tables.has_index and split == "train":
        place, folders = _Place(images), list[str]()
    else:
        place = _descend(where, images, split)
        folders = _class_folders(place)
    columns, more = tables.columns(place.images)
    class_column = next((name for name in CLASS_NAMES if name in columns), FOLDER if folders else None)
    if folders:
        columns.setdefault(FOLDER, Column(FOLDER, folders))
    if tables.has_index and not columns and any("/" in name for name in images):
        more.append(f"Folders are not taken for classes, because there is a {INDEX}: no labels.")
    notes = (*_others(visible), *tables.notes, *place.notes, *more)
    return Layout(tuple(place.images), columns, class_column, notes, place.nested)


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
    others = [name for name in visible if _suffix(name) not in EXTENSIONS and not is_table(name)]
    return (f"Ignored {_found(others)}.",) if others else ()


def _descend(where: str, images: list[str], split: str) -> _Place:
    """Step into split folders and into folders that are alone."""
    place, chosen = _Place(images), list[str]()
    while tops := _top_folders(place.images, place.prefix):
        if not chosen and all(top.lower() in _SPLIT_NAMES for top in tops):
            chosen = [_choose(where, tops, split)]
            place.notes.append(f"The folders {', '.join(tops)} are splits, not classes: {split} reads {chosen[0]!r}.")
        elif not chosen and _domains(tops) == {"A", "B"}:
            chosen = _choose_domains(where, tops, split)
            place.notes.append(
                f"The folders {', '.join(tops)} hold unpaired images, for translation: {split} reads {' and '.join(chosen)}, as the "
                "classes A and B. To have one of them alone, give that folder's own path (unpack a zip file first)."
            )
        elif len(tops) == 1:
            place.nested += f"{tops[0]}/"
            place.prefix += f"{tops[0]}/"
            continue
        else:
            break
        place.images = [name for name in place.images if name[len(place.prefix) :].partition("/")[0] in chosen]
        if len(chosen) > 1:
            break
        place.prefix += f"{chosen[0]}/"
    if split != "train" and not chosen:
        raise NoSplitError(
            f"{where} has no {split} split: expected folders named train and test in it. Give the test images by their own path."
        )
    if place.nested:
        place.notes.append(f"All images lie in the folder {place.nested!r}, which is alone at its level: read from there.")
    return place


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
    raise NoSplitError(
        f"{where} has no {split} split: found {', '.join(tops)}; expected {' or '.join(SPLITS[split])}. Give one folder by its own path."
    )


def _domains(tops: Sequence[str]) -> set[str]:
    """{"A", "B"} for trainA, trainB, testA, testB; empty if any folder is called otherwise."""
    matches = [_DOMAIN.fullmatch(top) for top in tops]
    return {match[2].upper() for match in matches if match} if all(matches) else set()


def _choose_domains(where: str, tops: Sequence[str], split: str) -> list[str]:
    for name in SPLITS[split]:
        if len(chosen := [top for top in tops if top[:-1].lower() == name]) == 2:
            return chosen
    raise NoSplitError(
        f"{where} has no {split} split: found {', '.join(tops)}; expected {split}A and {split}B. Give one folder by its own path."
    )


def _class_folders(place: _Place) -> list[str]:
    """The folder that each image lies in, under those that all have in common; [] and a note if some lie beside folders."""
    rests = [name[len(place.prefix) :] for name in place.images]
    loose = sum("/" not in rest for rest in rests)
    if 0 < loose < len(rests):
        place.notes.append(f"{loose} image(s) lie beside the folders, so the folders are not taken for classes: no labels.")
    if loose:
        return []
    folders = [rest.partition("/")[0] for rest in rests]
    return [folder[-1].upper() for folder in folders] if _domains(sorted(set(folders))) == {"A", "B"} else folders
