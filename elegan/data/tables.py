"""Tables beside images that say something of each: metadata.csv or .jsonl as Hugging Face has them, labels.csv or .json, StyleGAN's."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import PurePosixPath

from elegan.data.source import Column

INDEX = "dataset.json"
"""StyleGAN's: {"labels": [["00000/img.png", 3], ...]}. The folders beside it hold so many images each, and are no classes."""

TABLES = ("metadata.csv", "metadata.jsonl", "labels.csv", "labels.json", INDEX)
FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_id", "path", "name")
"""The names that the column with the images' files may have."""

Row = tuple[str, dict[str, object]]
"""The name of an image's file, and what the table says of it."""


class _NoTable(Exception):
    """A file is not a table of images; the message is the reason, for a person."""


@dataclass
class Tables:
    """What the tables among some files say of each image, by its name, the files that columns are from, and what a person should know."""

    rows: dict[str, dict[str, object]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    has_index: bool = False

    def columns(self, images: Sequence[str]) -> tuple[dict[str, Column], list[str]]:
        """A column for each name, over `images`, and a note if some are in no table. Nothing if none is in any."""
        missing = [name for name in images if name not in self.rows]
        if len(missing) == len(images):
            return {}, []
        found = {
            name: Column(name, [self.rows.get(image, {}).get(name) for image in images], origin=origin)
            for name, origin in self.origins.items()
        }
        notes = [f"{len(missing)} of {len(images)} images are in no table, first {missing[0]}."] if missing else []
        return found, notes


def is_table(name: str) -> bool:
    return PurePosixPath(name).name.lower() in TABLES


def read_tables(names: Sequence[str], images: Sequence[str], read: Callable[[str], bytes]) -> Tables:
    """What the tables among the files `names` say of `images`; `read` gives a file's bytes. What is no table is noted and left alone.

    A table's file names are relative to its own folder. One without a folder in it may also be that of an image further down.
    """
    result = Tables()
    for found in sorted(filter(is_table, names), key=lambda name: (TABLES.index(PurePosixPath(name).name.lower()), name)):
        try:
            rows = _parse(PurePosixPath(found).name.lower(), read(found))
        except _NoTable as error:
            result.notes.append(f"{found} is not read: {error}.")
        except (OSError, ValueError, RuntimeError, RecursionError, zlib.error, csv.Error) as error:
            result.notes.append(f"{found} cannot be read: {' '.join(str(error).split())}.")
        else:
            _add(result, found, rows, images)
            result.has_index |= PurePosixPath(found).name.lower() == INDEX
    return result


def _add(result: Tables, found: str, rows: Sequence[Row], images: Sequence[str]) -> None:
    """Sort the rows of one table in. What an earlier table says of an image stands."""
    find = _Finder(found[: -len(PurePosixPath(found).name)], images)
    lost = []
    for name, said in rows:
        image = find(name)
        if image is None:
            lost.append(name)
            continue
        result.rows[image] = {**said, **result.rows.get(image, {})}
        for column in said:
            result.origins.setdefault(column, PurePosixPath(found).name)
    if lost:
        result.notes.append(f"{len(lost)} of {len(rows)} rows of {found} name no image here, first {lost[0]!r}.")


class _Finder:
    """The image that a table in `folder` means by a file name, or None."""

    def __init__(self, folder: str, images: Sequence[str]) -> None:
        self._folder = folder
        self._images = set(images)
        self._by_last_part: dict[str, list[str]] | None = None

    def __call__(self, name: str) -> str | None:
        name = name.replace("\\", "/").removeprefix("./")
        if (here := self._folder + name) in self._images:
            return here
        if "/" in name:
            return None
        if self._by_last_part is None:
            self._by_last_part = {}
            for image in self._images:
                if image.startswith(self._folder):
                    self._by_last_part.setdefault(image.rpartition("/")[2], []).append(image)
        further_down = self._by_last_part.get(name, [])
        return further_down[0] if len(further_down) == 1 else None


def _parse(kind: str, raw: bytes) -> list[Row]:
    """The rows of a table of one of the `TABLES`. Raises _NoTable, ValueError or csv.Error if it is none."""
    text = raw.decode("utf-8-sig")
    if kind == INDEX:
        return _pairs(json.loads(text))
    if kind.endswith(".csv"):
        header = text.partition("\n")[0]
        return _named(csv.DictReader(StringIO(text, newline=""), delimiter=max(",;\t", key=header.count)))
    if kind.endswith(".jsonl"):
        return _named(json.loads(line) for line in text.splitlines() if line.strip())
    content = json.loads(text)
    if isinstance(content, list):
        return _named(content)
    if isinstance(content, dict) and isinstance(content.get("labels"), list):
        return _pairs(content)
    if not isinstance(content, dict):
        raise _NoTable("expected a label for each file name, or a list of rows")
    return [(name, said if isinstance(said, dict) else {"label": said}) for name, said in content.items()]


def _pairs(content: object) -> list[Row]:
    """The rows of StyleGAN's form; without labels, none is said of any image."""
    if not isinstance(content, dict) or "labels" not in content:
        raise _NoTable("it holds no labels")
    pairs = content["labels"] or []
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise _NoTable("its labels are no pairs of a file name and a label")
    return [(str(name), {"label": label}) for name, label in pairs]


def _named(lines: Iterable[dict[str | None, object]]) -> list[Row]:
    """Rows whose file name is in one of the `FILE_COLUMNS`. Raises _NoTable if it is in none."""
    rows = []
    for line in lines:
        said = {name.strip(): cell for name, cell in line.items() if name is not None} if isinstance(line, dict) else {}
        column = next((name for name in FILE_COLUMNS if isinstance(said.get(name), str)), None)
        if column is None:
            raise _NoTable(f"no column {FILE_COLUMNS[0]} with the images' names; found {', '.join(said) or 'no columns'}")
        rows.append((str(said.pop(column)).strip(), said))
    return rows
