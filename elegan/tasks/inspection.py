"""The preflight: a look at data before training on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elegan.data import Report


def inspect_data(where: str | None = None, *, split: str = "train", size: str | None = None, channels: int | None = None) -> Report:
    """Look at DATA before training on it: counts, sizes, classes, duplicates, broken files, and what will be done.

    Parameters
    ----------
    where
        digits, a folder of images, a zip file or a parquet file.
    split
        train or test, where the data has both.
    size
        Height and width of the samples: 64, or 64x96.
    channels
        1 grey, 2 grey with transparency, 3 colour, 4 colour with transparency.

    Returns a report. Raises DataError if there is nothing to train on, OptionError for a size that is none.
    """
    from elegan.data import inspect_data as inspect
    from elegan.errors import DataError
    from elegan.tasks.job import parse_size

    if where is None:
        raise DataError("no data was given: name digits, a folder, a zip or a parquet file.")
    return inspect(where, split=split, size=parse_size(size or "auto"), channels=channels)
