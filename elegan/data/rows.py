"""Images in the rows of tables, as Hugging Face lays them out: a column of struct{bytes, path}, and columns that say something of each."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from elegan.data.columns import CLASS_NAMES
from elegan.data.source import SPLITS, Column, Source, digest, file_digest
from elegan.errors import DataError, NoSplitError

_IMAGE_NAMES = ("image", "img")
_SPLIT_COLUMN = "split"


class RowFile(Protocol):
    """A file of rows that can be read in groups. `group_rows`: how many rows each group has. The rest is pyarrow's."""

    path: Path
    schema: Any
    group_rows: list[int]

    def read_group(self, index: int, column: str) -> Any: ...
    def read_column(self, column: str) -> Any: ...


class RowsSource(Source):
    """The rows of one or more files, in order. Raises DataError without a column of images, or without that split.

    split: read only the rows of this split, where a column says which is of which. divided: the files are those of the
    split already, whether or not they have such a column.
    """

    def __init__(self, files: Sequence[RowFile], where: str, name: str, split: str, *, divided: bool, notes: Sequence[str] = ()) -> None:
        self._files = list(files)
        self._starts, self._groups = _groups(files)
        self._loaded: tuple[int, list[bytes | None]] = (-1, [])
        schema = files[0].schema
        if any(file.schema.names != schema.names for file in files):
            raise DataError(f"The files in {where} have different columns: expected one data set. Give one file by its own path.")
        features = _features(schema)
        kinds = [features.get(field.name, {}).get("_type", "Image") for field in schema]
        found = [field.name for field, kind in zip(schema, kinds, strict=True) if kind == "Image" and _holds_bytes(field.type)]
        said = [f"{field.name}: {str(field.type).split('<')[0]}" for field in schema]
        self._column, about_images = image_column(found, said, where)
        if not self._starts[-1]:
            raise DataError(f"No row in {where}: expected at least one image. Give another file.")
        self._rows, about_split = self._rows_of(split, where, divided)
        columns = _Columns(self._files, self._rows, [field.name for field in schema if _says_something(field.type)], features)
        all_notes = [*notes, *about_images, *about_split]
        super().__init__(name, where, columns=columns, class_column=class_column(schema.names, features), notes=all_notes)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, i: int) -> bytes:
        row = self._rows[i]
        group = bisect_right(self._starts, row) - 1
        if self._loaded[0] != group:
            self._loaded = (group, self._load(group))
        raw = self._loaded[1][row - self._starts[group]]
        if raw is None:
            raise OSError("the row holds no image bytes")
        return raw

    def item_name(self, i: int) -> str:
        row = self._rows[i]
        file, _ = self._groups[bisect_right(self._starts, row) - 1]
        first = self._starts[[at for at, _ in self._groups].index(file)]
        return f"{self._files[file].path.name} row {row - first}"

    def fingerprint_of_images(self) -> str:
        return digest("rows", self._column, self._rows, *(file_digest(file.path) for file in self._files))

    def _load(self, group: int) -> list[bytes | None]:
        """The encoded images of one group of rows."""
        file, index = self._groups[group]
        try:
            rows = self._files[file].read_group(index, self._column).to_pylist()
        except pyarrow("pyarrow").ArrowException as error:
            raise OSError(f"damaged part of {self._files[file].path.name}: {error}") from error
        return [row.get("bytes") if isinstance(row, dict) else row for row in rows]

    def _rows_of(self, split: str, where: str, divided: bool) -> tuple[Sequence[int], list[str]]:
        """The rows of `split`, by the column that says it, if there is one; and a note if others are left."""
        everything = range(self._starts[-1])
        said = values_of(self._files, _SPLIT_COLUMN) if _SPLIT_COLUMN in self._files[0].schema.names else []
        known = {name for names in SPLITS.values() for name in names}
        names = dict.fromkeys(said)
        if not names or not all(isinstance(name, str) and name.lower() in known for name in names):
            if split != "train" and not divided:
                what = f"neither a file's name nor a column {_SPLIT_COLUMN!r} says which rows are {split} ones"
                raise NoSplitError(f"{where} has no {split} split: {what}. Give that file's own path, or the folder that holds both.")
            return everything, []
        chosen = next((name for wanted in SPLITS[split] for name in names if name.lower() == wanted), None)
        if chosen is None:
            expected = " or ".join(SPLITS[split])
            raise NoSplitError(f"{where} has no {split} split: its column {_SPLIT_COLUMN!r} holds {', '.join(names)}; expected {expected}.")
        rows = [row for row in everything if said[row] == chosen]
        note = f"The column {_SPLIT_COLUMN!r} holds {', '.join(names)}: {split} reads the {len(rows)} rows of {chosen!r}."
        return rows, [note] if len(rows) < len(everything) else []


class _Columns(Mapping[str, Column]):
    """The columns that say something of each image, read when they are asked for."""

    def __init__(self, files: Sequence[RowFile], rows: Sequence[int], names: Sequence[str], features: Mapping[str, Any]) -> None:
        self._files, self._rows, self._names, self._features = files, rows, names, features

    def __getitem__(self, name: str) -> Column:
        if name not in self._names:
            raise KeyError(name)
        cells = values_of(self._files, name)
        return Column(name, [cells[row] for row in self._rows], class_names(self._features.get(name, {})))

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def pyarrow(name: str) -> ModuleType:
    """A module of pyarrow. Raises DataError if it is not installed."""
    try:
        return import_module(name)
    except (ImportError, RuntimeError) as error:
        raise DataError("reading parquet needs pyarrow: pip install 'elegan[data]'") from error


def image_column(found: Sequence[str], columns: Sequence[str], where: str) -> tuple[str, list[str]]:
    """Which of the columns of images is read, and a note if there are several. Raises DataError if there is none."""
    if not found:
        raise DataError(
            f"No column of images in {where}: found {', '.join(columns)}; expected one of struct{{bytes, path}} with encoded images."
        )
    chosen = next((name for name in _IMAGE_NAMES if name in found), found[0])
    others = ", ".join(name for name in found if name != chosen)
    return chosen, [f"Images come from the column {chosen!r}; there is also {others}."] if others else []


def class_column(names: Sequence[str], features: Mapping[str, Any]) -> str | None:
    """The column that is named or declared as holding classes."""
    named = [name for name in CLASS_NAMES if name in names]
    declared = [name for name in names if features.get(name, {}).get("_type") == "ClassLabel"]
    return next(iter([*named, *declared]), None)


def class_names(feature: Mapping[str, Any]) -> tuple[str, ...]:
    """What Hugging Face calls the classes of a column; () if it says nothing."""
    return tuple(map(str, feature.get("names") or ()))


def values_of(files: Sequence[RowFile], column: str) -> list[Any]:
    """A whole column; only for those without images. Raises DataError if it is damaged."""
    values = []
    for file in files:
        try:
            values += file.read_column(column).to_pylist()
        except (pyarrow("pyarrow").ArrowException, OSError) as error:
            raise DataError(
                f"The column {column!r} of {file.path} cannot be read ({error}): the file is damaged. Download it again."
            ) from error
    return values


def _groups(files: Sequence[RowFile]) -> tuple[list[int], list[tuple[int, int]]]:
    """The first row of each group over all files (and the end), and each group's file and index in it."""
    starts, groups = [0], []
    for number, file in enumerate(files):
        for index, rows in enumerate(file.group_rows):
            groups.append((number, index))
            starts.append(starts[-1] + rows)
    return starts, groups


def _features(schema: Any) -> dict[str, Any]:
    """What Hugging Face says of each column; {} if it says nothing."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {name: value for name, value in features.items() if isinstance(value, dict)} if isinstance(features, dict) else {}


def _holds_bytes(kind: Any) -> bool:
    types = pyarrow("pyarrow").types
    if types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _says_something(kind: Any) -> bool:
    """Whether a column of this type holds texts, numbers or truth values."""
    types = pyarrow("pyarrow").types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_string, types.is_large_string)
    return any(test(kind) for test in tests)
