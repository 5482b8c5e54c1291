"""Images in parquet files of the Hugging Face layout: a column of struct{bytes, path}, and perhaps a column of class numbers."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from elegan.data.source import SPLITS, Labels, Source, digest, file_digest, natural, number_classes
from elegan.errors import DataError

_IMAGE_NAMES = ("image", "img")
_LABEL_NAMES = ("label", "labels", "class", "fine_label", "coarse_label")


class ParquetSource(Source):
    """The rows of one or more parquet files, in order. Raises DataError without pyarrow or without a column of images."""

    def __init__(self, paths: Sequence[Path], where: str, name: str, notes: Sequence[str] = ()) -> None:
        self._paths = list(paths)
        self._files = [_open(path) for path in paths]
        self._starts, self._groups = _row_groups(self._files)
        self._loaded: tuple[int, list[bytes | None]] = (-1, [])
        schema = self._files[0].schema_arrow
        if any(file.schema_arrow.names != schema.names for file in self._files):
            raise DataError(f"The parquet files in {where} have different columns: expected one data set. Give one file by its own path.")
        features = _features(schema)
        self._column, about_images = _image_column(schema, features, where)
        if not len(self):
            raise DataError(f"No row in {where}: expected at least one image. Give another file.")
        classes, labels, about_labels = self._classes(schema, features)
        super().__init__(name, where, classes=classes, labels=labels, notes=[*notes, *about_images, *about_labels])

    def __len__(self) -> int:
        return self._starts[-1]

    def read(self, i: int) -> bytes:
        group = bisect_right(self._starts, i) - 1
        if self._loaded[0] != group:
            self._loaded = (group, self._load(group))
        raw = self._loaded[1][i - self._starts[group]]
        if raw is None:
            raise OSError("the row holds no image bytes")
        return raw

    def item_name(self, i: int) -> str:
        group = bisect_right(self._starts, i) - 1
        file, _ = self._groups[group]
        first = self._starts[[at for at, _ in self._groups].index(file)]
        return f"{self._paths[file].name} row {i - first}"

    def fingerprint(self) -> str:
        return digest("parquet", self._column, *(file_digest(path) for path in self._paths))

    def _load(self, group: int) -> list[bytes | None]:
        """The encoded images of one row group, the unit in which parquet is read."""
        file, index = self._groups[group]
        try:
            rows = self._files[file].read_row_group(index, columns=[self._column]).column(self._column).to_pylist()
        except _pyarrow("pyarrow").ArrowException as error:
            raise OSError(f"damaged part of {self._paths[file].name}: {error}") from error
        return [row.get("bytes") if isinstance(row, dict) else row for row in rows]

    def _classes(self, schema: Any, features: dict[str, Any]) -> tuple[tuple[str, ...], Labels | None, list[str]]:
        """Class names, labels and notes, from the column that is named or declared as classes."""
        column = _label_column(schema, features)
        if column is None:
            return (), None, []
        values = [value for path, file in zip(self._paths, self._files, strict=True) for value in _values(path, file, column)]
        if any(type(value) not in (int, str) for value in values) or not values:
            return (), None, [f"The column {column!r} is not one class number for each row: no labels."]
        note = [f"Labels come from the column {column!r}."] if column not in _LABEL_NAMES else []
        names = tuple(map(str, features.get(column, {}).get("names") or ()))
        if not names or isinstance(values[0], str):
            return *number_classes(values), note
        if min(values) < 0 or max(values) >= len(names):
            return (), None, [f"The column {column!r} holds numbers outside its {len(names)} classes: no labels."]
        return names, np.array(values, dtype=np.int64), note


def parquet_of(path: Path, where: str, split: str) -> ParquetSource | None:
    """The source of a parquet file, or of a folder that holds parquet files (itself or in `data`); None if it holds none."""
    if path.is_file():
        if split != "train" and not path.name.startswith(SPLITS[split]):
            raise DataError(
                f"{where} is one file, which has no {split} split: give the {split} file's own path, or the folder that holds both."
            )
        named = path.resolve()
        return ParquetSource([path], where, named.parent.name if named.stem in ("train", *SPLITS["test"]) else named.stem)
    found = sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")], key=lambda file: natural(file.name))
    if not found:
        return None
    chosen = _of_split(found, where, split)
    others = [file.name for file in found if file not in chosen]
    notes = [f"Read {', '.join(file.name for file in chosen[:4])}; left {', '.join(others[:4])}."] if others else []
    return ParquetSource(chosen, where, path.resolve().name, notes)


def _of_split(files: Sequence[Path], where: str, split: str) -> list[Path]:
    """Of the files of a folder those of one split: train.parquet if there is one, else all that begin with train."""
    for name in SPLITS[split]:
        if exact := [file for file in files if file.stem == name]:
            return exact
        if begun := [file for file in files if file.name.startswith(name)]:
            return begun
    if split == "train" and not any(file.name.startswith(SPLITS["test"]) for file in files):
        return list(files)
    names = ", ".join(file.name for file in files[:4])
    raise DataError(
        f"{where} has no {split} split: found {names}; expected {' or '.join(SPLITS[split])}*.parquet. Give one file by its own path."
    )


def _pyarrow(name: str) -> ModuleType:
    try:
        return import_module(name)
    except (ImportError, RuntimeError) as error:
        raise DataError("reading parquet needs pyarrow: pip install 'elegan[data]'") from error


def _open(path: Path) -> Any:
    parquet, arrow = _pyarrow("pyarrow.parquet"), _pyarrow("pyarrow")
    try:
        return parquet.ParquetFile(path)
    except (arrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read as a parquet file ({reason}): it may be cut off. Copy or download it again.") from error


def _values(path: Path, file: Any, column: str) -> list[Any]:
    """A whole column; only for those without images."""
    try:
        return list(file.read(columns=[column]).column(column).to_pylist())
    except (_pyarrow("pyarrow").ArrowException, OSError) as error:
        raise DataError(f"The column {column!r} of {path} cannot be read ({error}): the file is damaged. Download it again.") from error


def _row_groups(files: Sequence[Any]) -> tuple[list[int], list[tuple[int, int]]]:
    """The first row of each row group over all files (and the end), and each group's file and index in it."""
    starts, groups = [0], []
    for number, file in enumerate(files):
        for index in range(file.metadata.num_row_groups):
            groups.append((number, index))
            starts.append(starts[-1] + file.metadata.row_group(index).num_rows)
    return starts, groups


def _features(schema: Any) -> dict[str, Any]:
    """What Hugging Face says of each column; {} if it says nothing."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {name: value for name, value in features.items() if isinstance(value, dict)} if isinstance(features, dict) else {}


def _image_column(schema: Any, features: dict[str, Any], where: str) -> tuple[str, list[str]]:
    """The column that holds the images, and a note if there are several."""
    kinds = [features.get(field.name, {}).get("_type", "Image") for field in schema]
    found = [field.name for field, kind in zip(schema, kinds, strict=True) if kind == "Image" and _holds_bytes(field.type)]
    if not found:
        columns = ", ".join(f"{field.name}: {str(field.type).split('<')[0]}" for field in schema)
        raise DataError(f"No column of images in {where}: found {columns}; expected one of struct{{bytes, path}} with encoded images.")
    chosen = next((name for name in _IMAGE_NAMES if name in found), found[0])
    return chosen, [f"Images come from the column {chosen!r}; there is also {', '.join(n for n in found if n != chosen)}."] if len(
        found
    ) > 1 else []


def _holds_bytes(kind: Any) -> bool:
    types = _pyarrow("pyarrow").types
    if types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _label_column(schema: Any, features: dict[str, Any]) -> str | None:
    named = [name for name in _LABEL_NAMES if name in schema.names]
    declared = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    return next(iter([*named, *declared]), None)
