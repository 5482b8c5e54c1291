"""The preflight: a look at data before training on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from elegan.data import Report
    from elegan.engine.loop import Listener


def inspect_data(
    where: str | None = None,
    *,
    split: str = "train",
    labels: str = "auto",
    attributes: str = "none",
    size: str | None = None,
    channels: int | None = None,
    fit: Literal["crop", "pad", "stretch"] = "crop",
    download: bool = False,
    listener: Listener | None = None,
) -> Report:
    """Look at DATA before training on it: counts, sizes, classes, duplicates, broken files, and what will be done.

    Parameters
    ----------
    where
        digits, a folder of images, a zip file, a parquet file, mnist or fashion_mnist, or hf://owner/name.
    split
        train or test, where the data has both.
    labels
        The column that holds classes; auto takes one called label, or class folders; none takes none.
    attributes
        Columns of numbers, with commas between them, instead of classes: age,gender.
    size
        Height and width of the samples: 64, or 64x96.
    channels
        1 grey, 2 grey with transparency, 3 colour, 4 colour with transparency.
    fit
        How images of another shape come to that size: crop keeps the middle, pad the whole, stretch distorts.
    download
        Allow data that is not here to be downloaded: mnist, fashion_mnist, or owner/name from Hugging Face's hub.
    listener
        Functions that are told of progress and messages.

    Returns a report. Raises DataError if there is nothing to train on, OptionError for a size that is none.
    """
    from elegan.data import inspect_data as inspect
    from elegan.engine.loop import Listener as Silent
    from elegan.errors import DataError
    from elegan.tasks.job import parse_size

    if where is None:
        raise DataError("no data was given: name digits, a folder, a zip or a parquet file.")
    listener = listener or Silent()
    return inspect(
        where,
        split=split,
        labels=labels,
        attributes=attributes,
        size=parse_size(size or "auto"),
        channels=channels,
        fit=fit,
        download=download,
        announce=listener.message,
        progress=listener.preparing,
    )
