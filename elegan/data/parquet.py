"""Where the rows of images lie: in parquet files, and in folders that the datasets library saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elegan.data.rows import RowFile, RowsSource, pyarrow
from elegan.data.source import SPLITS, natural
from elegan.errors import DataError, NoSplitError


class ParquetFile:
    """A parquet file; its groups are its row groups. Raises DataError if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        parquet, arrow = pyarrow("pyarrow.parquet"), pyarrow("pyarrow")
        self.path = path
        try:
            self._file = parquet.ParquetFile(path)
        except (arrow.ArrowException, OSError) as error:
            raise DataError(_unreadable(path, "a parquet", error)) from error
        self.schema = self._file.schema_arrow
        self.group_rows = [self._file.metadata.row_group(index).num_rows for index in range(self._file.metadata.num_row_groups)]

    def read_group(self, index: int, column: str) -> Any:
        return self._file.read_row_group(index, columns=[column]).column(column)

    def read_column(self, column: str) -> Any:
        return self._file.read(columns=[column]).column(column)


class ArrowFile:
    """A file of arrow record batches, mapped into memory; its groups are the batches. Raises DataError if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        arrow = pyarrow("pyarrow")
        self.path = path
        try:
            reader = arrow.ipc.open_stream(arrow.memory_map(str(path)))
            self._batches = list(reader)
        except (arrow.ArrowException, OSError) as error:
            raise DataError(_unreadable(path, "an arrow", error)) from error
        self.schema = reader.schema
        self.group_rows = [batch.num_rows for batch in self._batches]

    def read_group(self, index: int, column: str) -> Any:
        return self._batches[index].column(column)

    def read_column(self, column: str) -> Any:
        return pyarrow("pyarrow").chunked_array([batch.column(column) for batch in self._batches], self.schema.field(column).type)


def parquet_of(path: Path, where: str, split: str) -> RowsSource | None:
    """The source of a parquet file, or of a folder that holds parquet files (itself or in `data`); None if it holds none."""
    if path.is_file():
        named = path.resolve()
        name = named.parent.name if named.stem in ("train", *SPLITS["test"]) else named.stem
        return RowsSource([ParquetFile(path)], where, name, split, divided=path.name.startswith(SPLITS[split]))
    found = sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")], key=lambda file: natural(file.name))
    if not found:
        return None
    chosen, divided = _of_split(found, where, split)
    others = [file.name for file in found if file not in chosen]
    notes = [f"Read {', '.join(file.name for file in chosen[:4])}; left {', '.join(others[:4])}."] if others else []
    return RowsSource(_opened(chosen), where, path.resolve().name, split, divided=divided, notes=notes)


def saved_of(path: Path, where: str, split: str) -> RowsSource | None:
    """The source of a folder that `save_to_disk` of the datasets library wrote; None if it is none."""
    folder, divided = path, False
    if (path / "dataset_dict.json").is_file():
        inside = {entry.name: entry for entry in path.iterdir() if (entry / "state.json").is_file()}
        chosen = next((name for name in SPLITS[split] if name in inside), None)
        if chosen is None:
            expected = " or ".join(SPLITS[split])
            raise NoSplitError(
                f"{where} has no {split} split: found {', '.join(sorted(inside))}; expected {expected}. Give one by its own path."
            )
        folder, divided = inside[chosen], True
    if not (folder / "state.json").is_file():
        return None
    try:
        files = [folder / str(one["filename"]) for one in json.loads((folder / "state.json").read_bytes())["_data_files"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{folder / 'state.json'} does not say which files the data is in: it is damaged. Save the data again.") from error
    return RowsSource([ArrowFile(file) for file in files], where, path.resolve().name, split, divided=divided)


def _opened(paths: Sequence[Path]) -> list[RowFile]:
    return [ParquetFile(path) for path in paths]


def _of_split(files: Sequence[Path], where: str, split: str) -> tuple[list[Path], bool]:
    """Of the files of a folder those of one split: train.parquet if there is one, else all that begin with train.

    And whether their names said so: if no name says anything, all files.
    """
    for name in SPLITS[split]:
        if exact := [file for file in files if file.stem == name]:
            return exact, True
        if begun := [file for file in files if file.name.startswith(name)]:
            return begun, True
    if not any(file.name.startswith(names) for file in files for names in SPLITS.values()):
        return list(files), False
    names = ", ".join(file.name for file in files[:4])
    raise NoSplitError(
        f"{where} has no {split} split: found {names}; expected {' or '.join(SPLITS[split])}*.parquet. Give one file by its own path."
    )


def _unreadable(path: Path, kind: str, error: Exception) -> str:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{path} cannot be read as {kind} file ({reason}): it may be cut off. Copy or download it again."
