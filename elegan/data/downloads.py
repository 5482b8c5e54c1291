"""Data sets that are downloaded when it is allowed: where each is, its licence, and a hash of what its images and labels must be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from elegan.data.cache import DOWNLOADED, downloads_folder, new_entry
from elegan.data.images import Unreadable, damage, decode
from elegan.data.parquet import ParquetFile
from elegan.data.rows import RowsSource, pyarrow
from elegan.downloading import download as download_file
from elegan.errors import DataError

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """One split: the address of its file, how many MB it has, and the hash of its images' pixels and labels."""

    address: str
    megabytes: int
    content: str


@dataclass(frozen=True)
class Download:
    """A data set of grey images of 28x28 in parquet files, one for each split."""

    licence: str
    parts: dict[str, Part]


_MNIST = "https://huggingface.co/datasets/ylecun/mnist/resolve/main/mnist"
_FASHION_MNIST = "https://huggingface.co/datasets/zalando-datasets/fashion_mnist/resolve/main/fashion_mnist"
_TRAIN, _TEST = "train-00000-of-00001.parquet", "test-00000-of-00001.parquet"

DOWNLOADS = {
    "mnist": Download(
        "MIT as published there, the original images usually CC BY-SA 3.0",
        {
            "train": Part(f"{_MNIST}/{_TRAIN}", 16, "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b"),
            "test": Part(f"{_MNIST}/{_TEST}", 3, "c3f9adf9c66efb572b1f9326c3a511b45910c7173b97be66ceceeeeaef6b802b"),
        },
    ),
    "fashion_mnist": Download(
        "MIT",
        {
            "train": Part(f"{_FASHION_MNIST}/{_TRAIN}", 31, "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157"),
            "test": Part(f"{_FASHION_MNIST}/{_TEST}", 5, "9f1ec356a747bfe4ebab3cfb722d3694c9ca737e2570f6f90cf31d7b6fd689d4"),
        },
    ),
}


def downloaded(name: str, split: str, *, download: bool, announce: Announce) -> RowsSource:
    """A split of one of the `DOWNLOADS`: the copy in the cache, else downloaded and checked if `download` allows it.

    announce is told of what is downloaded. Raises DataError if it is not allowed, cannot be had, or is not what it should be.
    """
    pyarrow("pyarrow.parquet")  # without it nothing of what follows is of use
    found, part = DOWNLOADS[name], DOWNLOADS[name].parts[split]
    target = downloads_folder() / f"{name}-{split}"
    what = f"{part.address} (about {part.megabytes} MB; licence: {found.licence})"
    if not (target / DOWNLOADED).is_file():
        if not download:
            raise DataError(
                f"{name} is not here: its {split} split would be downloaded from {what} and kept in {target}. "
                "Allow that with --download (download=True in Python)."
            )
        announce(f"Downloading {what} into {target}, where it is kept until `elegan data --clear-cache`.")
        with new_entry(target, part.megabytes << 20, lambda entry: (entry / DOWNLOADED).is_file()) as folder:
            megabytes = 2 * part.megabytes
            download_file(part.address, folder / DOWNLOADED, megabytes << 20, f"{megabytes} MB", partial(_failure, name, part))
            _check(name, part, folder / DOWNLOADED)
        announce(f"{name}: the {split} split is here, and its images and labels are what they should be.")
    return _opened(name, target / DOWNLOADED, split)


def _opened(name: str, path: Path, split: str) -> RowsSource:
    return RowsSource([ParquetFile(path)], name, name, split, divided=True)


def _failure(name: str, part: Part, reason: str) -> str:
    own = "download that file elsewhere and give it by its path"
    return f"{name} could not be downloaded from {part.address} ({' '.join(reason.split())}): try again later, or {own}."


def _check(name: str, part: Part, path: Path) -> None:
    """Raise DataError unless the file holds the images and labels it should."""
    try:
        found = content_of(_opened(name, path, "train"))
    except (Unreadable, DataError, KeyError, TypeError, ValueError, OverflowError):
        found = "of nothing, because they cannot be read"
    if found != part.content:
        raise DataError(
            f"What came from {part.address} is not the {name} that is known, and was deleted: its images and labels have the hash {found}, "
            f"expected {part.content}. Try again later, or give a copy of your own by its path."
        )


def content_of(source: RowsSource) -> str:
    """The SHA-256 of the pixels of all images (uint8, 28x28 each), and then of their labels (uint8)."""
    state = hashlib.sha256()
    for i in range(len(source)):
        with damage():
            raw = source.read(i)
        state.update(decode(raw, (28, 28), 1, "stretch"))
    state.update(np.array(source.columns["label"].cells, dtype=np.uint8).tobytes())
    return state.hexdigest()
