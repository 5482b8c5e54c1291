"""What a demonstration gives: tables of numbers, what they say in words, a figure, and sometimes a film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[["Figure"], None]
"""Draws on an empty figure of matplotlib."""

Tell = Callable[[int, int], None]
"""Is told how much of how much is done."""

Cell = str | int | float | bool | None


def tell_nobody(done: int, total: int) -> None: ...


@dataclass(frozen=True)
class Table:
    """Rows of cells, one for each column; None is a cell that has nothing to say."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""

    def lines(self) -> list[str]:
        cells = [self.columns, *(tuple(map(shown, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        numeric = [not any(isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))]
        aligned = [
            "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(row, widths, numeric, strict=True))
            for row in cells
        ]
        return [*([self.title] if self.title else []), *(line.rstrip() for line in aligned)]

    def as_dict(self) -> dict[str, Any]:
        return {"title": self.title, "rows": [dict(zip(self.columns, map(plain, row), strict=True)) for row in self.rows]}


@dataclass(frozen=True)
class Demonstration:
    """said: sentences that follow from the numbers. draw: makes the figure, which is `size` inches wide and high. frames: the
    pictures of a film, of the same size, `milliseconds` each; none where nothing moves. files: where figure and film were saved."""

    title: str
    tables: tuple[Table, ...]
    said: tuple[str, ...]
    draw: Draw
    size: tuple[float, float] = (9.0, 4.0)
    frames: tuple[Draw, ...] = ()
    milliseconds: int = 80
    files: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        tables = [line for table in self.tables for line in ["", *table.lines()]]
        return [self.title, *tables, "", *self.said, *(f"Saved: {file}" for file in self.files)]

    def as_dict(self) -> dict[str, Any]:
        tables = [table.as_dict() for table in self.tables]
        return {"title": self.title, "tables": tables, "said": list(self.said), "files": list(self.files)}


def shown(cell: Cell) -> str:
    """Six digits, and at least one more than 0 of a small number."""
    match cell:
        case None:
            return ""
        case bool():
            return "yes" if cell else "no"
        case float():
            return f"{cell:.6f}" if cell == 0 or 1e-3 <= abs(cell) < 1e4 else f"{cell:.4g}"
        case _:
            return str(cell)


def plain(cell: Cell) -> Cell:
    """The cell as JSON has it, which knows no infinite numbers."""
    return str(cell) if isinstance(cell, float) and not isfinite(cell) else cell
