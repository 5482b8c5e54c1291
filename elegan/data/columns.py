"""Choosing what an image is asked to be: a class, or numbers, from what columns say of each image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elegan.data.source import Column, Labels, Source, Values, number_classes
from elegan.errors import DataError, nearest

CLASS_NAMES = ("label", "labels", "class", "fine_label", "coarse_label")
"""Columns of these names hold classes, unless something else is asked for."""

FOLDER = "folder"
"""The name of the column that says which class folder an image lies in."""

WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


class Unusable(Exception):
    """A column cannot be used as asked; the message is the reason, to be read after "the column 'age'"."""


@dataclass(frozen=True)
class ColumnFacts:
    """What a column could be given for: as labels if `classes`, its different values, is not 0; as an attribute if it has a range.

    A column that is the same for all images is good for neither, and one that is different for each names no classes.
    """

    name: str
    classes: int
    range: tuple[float, float] | None


def choose(source: Source, labels: str = "auto", attributes: Sequence[str] = ()) -> None:
    """Set what each image of `source` is asked to be, from its columns: classes and labels, or attributes and values.

    labels: the column that holds classes; "auto" takes the source's own if it is whole, "none" takes none. attributes:
    columns of numbers, or of true and false, yes and no; with them there are no classes. Notes say what was taken.

    Raises DataError if both are asked for, or if a column is not there or not fit for it.
    """
    if attributes and labels not in ("auto", "none"):
        raise DataError(f"Labels {labels!r} and attributes {', '.join(attributes)} were asked for: expected one kind. Leave out the other.")
    if attributes:
        _take_attributes(source, tuple(dict.fromkeys(attributes)))
    elif labels == "auto":
        _take_own_classes(source)
    elif labels != "none":
        _take_classes(source, labels)


def facts(source: Source) -> list[ColumnFacts]:
    """What each column of `source` could be given for; those that are good for neither are left out."""
    found = [ColumnFacts(name, _number_of_classes(source, column), _range(source, column)) for name, column in source.columns.items()]
    return [one for one in found if one.classes or one.range]


def as_classes(source: Source, column: Column) -> tuple[tuple[str, ...], Labels]:
    """The names of the classes in `column`, and each image's number among them. Raises Unusable."""
    missing = [i for i, cell in enumerate(column.cells) if _is_missing(cell)]
    if missing:
        raise Unusable(f"has no value for {_counted(source, missing)}")
    names = [_class_name(cell) for cell in column.cells]
    if not column.classes or any(isinstance(cell, str) for cell in column.cells):
        return number_classes(names)
    numbers = np.array(column.cells, dtype=np.int64)
    if numbers.min() < 0 or numbers.max() >= len(column.classes):
        raise Unusable(f"holds numbers outside its {len(column.classes)} classes")
    return column.classes, numbers


def as_numbers(source: Source, column: Column) -> Values:
    """The numbers in `column`, (n,); true and yes are 1, false and no are 0. Raises Unusable."""
    numbers = np.array([_number(cell) for cell in column.cells], dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers)).tolist()
    if bad:
        raise Unusable(f"has no number for {_counted(source, bad)}, where it holds {_shown(column.cells[bad[0]])}")
    return numbers


def _take_own_classes(source: Source) -> None:
    """The classes of the source's own column, or a note why it has none."""
    if source.class_column is None:
        return
    column = source.columns[source.class_column]
    try:
        source.classes, source.labels = as_classes(source, column)
    except Unusable as error:
        source.notes.append(f"The column {column.name!r}{_of(column)} {error}: no labels.")
        return
    if column.origin or column.name not in (*CLASS_NAMES, FOLDER):
        source.notes.append(f"Labels come from the column {column.name!r}{_of(column)}.")


def _take_classes(source: Source, name: str) -> None:
    column = _column(source, name, "labels")
    try:
        source.classes, source.labels = as_classes(source, column)
    except Unusable as error:
        raise DataError(_refusal(source, column, error, "labels")) from error
    source.notes.append(f"Labels come from the column {name!r}{_of(column)}: {len(source.classes)} classes.")


def _take_attributes(source: Source, names: tuple[str, ...]) -> None:
    columns = []
    for name in names:
        column = _column(source, name, "attributes")
        try:
            columns.append(as_numbers(source, column))
        except Unusable as error:
            raise DataError(_refusal(source, column, error, "attributes")) from error
    source.attributes, source.values = names, np.stack(columns, axis=1)
    ranges = ", ".join(f"{name} ({spread(column.min(), column.max())})" for name, column in zip(names, columns, strict=True))
    source.notes.append(f"Each image has attributes instead of a class: {ranges}.")
    constant = [name for name, column in zip(names, columns, strict=True) if column.min() == column.max()]
    if constant:
        source.notes.append(f"All images have the same {' and the same '.join(constant)}, from which nothing can be learnt.")


def _column(source: Source, name: str, use: str) -> Column:
    if name in source.columns:
        return source.columns[name]
    usable = _usable(source, use)
    if not usable:
        expected = "a metadata.csv with a column file_name beside the images, or a column of a parquet file"
        raise DataError(f"{source.where} has no column {name!r}, and none that is fit for {use}: expected {expected}. Leave {use} out.")
    hint = nearest(name, usable)
    all_of_them = f" There are: {', '.join(usable)}." if hint.startswith("Did") else ""
    raise DataError(f"{source.where} has no column {name!r} for {use}. {hint}{all_of_them}")


def _refusal(source: Source, column: Column, reason: Unusable, use: str) -> str:
    usable = [name for name in _usable(source, use) if name != column.name]
    others = f"take one of {', '.join(usable)} as {use}" if usable else f"do without {use}"
    return f"The column {column.name!r} of {column.origin or source.where} {reason}: mend it, or {others}."


def _usable(source: Source, use: str) -> list[str]:
    return [one.name for one in facts(source) if (one.classes if use == "labels" else one.range)]


def _number_of_classes(source: Source, column: Column) -> int:
    try:
        different = len(np.unique(as_classes(source, column)[1]))
    except Unusable:
        return 0
    return different if 1 < different < len(source) else 0


def _range(source: Source, column: Column) -> tuple[float, float] | None:
    try:
        numbers = as_numbers(source, column)
    except Unusable:
        return None
    return (float(numbers.min()), float(numbers.max())) if numbers.min() < numbers.max() else None


def spread(low: float, high: float) -> str:
    """ "18 to 80", or "1" where both are the same."""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _of(column: Column) -> str:
    return f" of {column.origin}" if column.origin else ""


def _counted(source: Source, items: Sequence[int]) -> str:
    return f"{len(items)} of {len(source)} images, the first being {source.item_name(items[0])}"


def _is_missing(cell: object) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def _class_name(cell: object) -> str:
    """A text, a whole number or a truth value as the name of a class. Raises Unusable for others."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if not isinstance(cell, (str, int)):
        raise Unusable(f"holds {_shown(cell)}, which names no class")
    return str(cell)


def _number(cell: object) -> float:
    """NaN where there is none."""
    if isinstance(cell, str) and cell.strip().lower() in WORDS:
        return WORDS[cell.strip().lower()]
    try:
        return float(cell) if isinstance(cell, (str, int, float)) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def _shown(cell: object) -> str:
    said = "nothing" if _is_missing(cell) else repr(cell)
    return said if len(said) <= 40 else f"{said[:37]}..."
