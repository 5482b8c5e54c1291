"""Data sets on Hugging Face's hub. They are streamed: only what is prepared from them is kept."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import IO, Any

from elegan.data.cache import RECORD, images_folder, writing
from elegan.data.columns import choose
from elegan.data.rows import class_column, class_names, image_column
from elegan.data.source import SPLITS, Column, Progress, Source, digest, short
from elegan.errors import DataError, NoSplitError

PREFIX = "hf://"
NAME = re.compile(r"[\w.-]+/[\w.-]+")
"""owner/name"""

_WHERE = re.compile(rf"{PREFIX}(?:datasets/)?({NAME.pattern})(?:#([\w.+-]+))?")
_SAYING = re.compile(r"bool|u?int\d+|float\d+|(large_)?string")
"""The types of columns that hold texts, numbers or truth values."""


class HubSource(Source):
    """A split of a data set on the hub, at the revision that it has now.

    It has no images and no columns until `fetch` has streamed it, into a file without a name that goes with this object.
    Where the network is out, the revision is the one that was prepared last, so that a run can go on.

    Raises DataError if the hub has no such data set, cannot be reached, or the extra is missing.
    """

    def __init__(self, where: str, split: str, labels: str, attributes: Sequence[str]) -> None:
        match = _WHERE.fullmatch(where)
        if match is None:
            raise DataError(f"{where} names no data set on the hub: expected {PREFIX}owner/name, or {PREFIX}owner/name#configuration.")
        self._repository, self._configuration = match[1], match[2]
        self._split, self._labels, self._attributes = split, labels, tuple(attributes)
        self._file: IO[bytes] | None = None
        self._ends = [0]
        self._is_here = False
        super().__init__(match[1].partition("/")[2], where)
        self._unreachable = ""
        self._revision = self._find_revision()
        self.origin = f"{where}@{self._revision}"

    def __len__(self) -> int:
        return len(self._ends) - 1

    def read(self, i: int) -> bytes:
        assert self._file is not None
        self._file.seek(self._ends[i])
        if raw := self._file.read(self._ends[i + 1] - self._ends[i]):
            return raw
        raise OSError("the row holds no image bytes")

    def item_name(self, i: int) -> str:
        return f"row {i}"

    def fingerprint(self) -> str:
        # What is chosen of the columns is not known before they are streamed: what was asked for stands for it.
        return self.fingerprint_of_images()

    def fingerprint_of_images(self) -> str:
        return digest("hub", self._repository, self._configuration, self._revision, self._split, self._labels, self._attributes)

    def fetch(self, progress: Progress) -> None:
        if self._is_here:
            return
        if self._unreachable:
            raise DataError(
                f"{self.where} cannot be reached ({self._unreachable}), and was not prepared like this before. Try again later."
            )
        datasets, self._ends, self._file = _library("datasets"), [0], None
        try:
            splits = datasets.load_dataset(self._repository, self._configuration, revision=self._revision, streaming=True)
            chosen = self._choose_split(list(splits))
            self._stream(datasets, splits[chosen], lambda done: progress(done, _length(splits[chosen], chosen)))
        except DataError:
            raise
        except Exception as error:  # the libraries below raise what they like: errors of HTTP, of Arrow, of fsspec, of their own
            what = f"{self.where} cannot be streamed after {len(self)} images ({_reason(error)})"
            raise DataError(
                f"{what}: try again, or name a configuration, if it has several, as {PREFIX}owner/name#configuration."
            ) from error
        if not len(self):
            raise DataError(f"{self.where} has no row in its split {chosen!r}: expected at least one image. Give another data set.")
        choose(self, self._labels, self._attributes)
        self._is_here = True

    def _find_revision(self) -> str:
        """The hash of the newest commit; that of what was prepared last, if the hub cannot be reached."""
        hub, errors = _library("huggingface_hub"), _library("huggingface_hub.errors")
        try:
            return str(hub.HfApi().dataset_info(self._repository, timeout=30).sha)
        except errors.RepositoryNotFoundError as error:
            raise DataError(f"There is no data set {self._repository} on the hub, or it is private: check the name, or log in.") from error
        except Exception as error:  # as above
            known = _prepared_revision(self.name, self.where)
            if not known:
                raise DataError(
                    f"{self.where} cannot be reached ({_reason(error)}): check the network, or give data that is here."
                ) from error
            self._unreachable = _reason(error)
            self.notes.append(f"The hub cannot be reached, so its revision {known[:8]} is taken, which was prepared before.")
            return known

    def _choose_split(self, names: Sequence[str]) -> str:
        chosen = next((name for name in SPLITS[self._split] if name in names), None)
        if chosen is None and self._split == "train" and len(names) == 1 and names[0] not in SPLITS["test"]:
            chosen = names[0]
        if chosen is None:
            expected = " or ".join(SPLITS[self._split])
            raise NoSplitError(f"{self.where} has no {self._split} split: found {', '.join(names)}; expected {expected}.")
        return chosen

    def _stream(self, datasets: ModuleType, stream: Any, progress: Callable[[int], None]) -> None:
        """Write the encoded images one after the other, and keep what is said of them."""
        features = {name: _described(feature) for name, feature in (stream.features or {}).items()}
        images = [name for name, feature in features.items() if feature["_type"] == "Image"]
        saying = [name for name, feature in features.items() if feature["_type"] == "ClassLabel" or _SAYING.fullmatch(feature["dtype"])]
        column, notes = image_column(images, [f"{name}: {feature['_type']}" for name, feature in features.items()], self.where)
        rows = stream.select_columns([column, *saying]).cast_column(column, datasets.Image(decode=False))
        cells: dict[str, list[object]] = {name: [] for name in saying}
        for row in rows:
            if len(self) % 100 == 0:
                progress(len(self))
            self._keep(_bytes(row[column]))
            for name in saying:
                cells[name].append(row[name])
        self.columns = {name: Column(name, cells[name], class_names(features[name])) for name in saying}
        self.class_column = class_column(saying, features)
        self.notes += notes

    def _keep(self, raw: bytes) -> None:
        with writing():
            if self._file is None:
                images_folder().mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=images_folder())  # noqa: SIM115  # it is closed with this object
            self._file.write(raw)
        self._ends.append(self._ends[-1] + len(raw))


def _library(name: str) -> ModuleType:
    try:
        return import_module(name)
    except (ImportError, RuntimeError) as error:
        raise DataError("data on the hub needs the datasets library: pip install 'elegan[data]'") from error


def _described(feature: Any) -> dict[str, Any]:
    """A feature of the datasets library as its own JSON has it."""
    names = getattr(feature, "names", None)
    return {"_type": type(feature).__name__, "dtype": str(getattr(feature, "dtype", "")), "names": names}


def _length(stream: Any, split: str) -> int:
    """How many rows the data set says it has; 0 if it does not say."""
    said = (stream.info.splits or {}).get(split)
    return int(said.num_examples or 0) if said is not None else 0


def _bytes(cell: Mapping[str, Any] | None) -> bytes:
    """The encoded image of a row, read from its own file if it is in one; nothing if the row has none."""
    if not cell:
        return b""
    if cell["bytes"] is None and cell["path"]:
        with import_module("fsspec").open(cell["path"], "rb") as file:
            return bytes(file.read())
    return bytes(cell["bytes"] or b"")


def _prepared_revision(name: str, where: str) -> str:
    """The revision of the newest preparation of `where` in the cache; "" if there is none."""
    for entry in _newest_first(images_folder().glob(f"{short(name)}-*/{RECORD}")):
        try:
            place, _, revision = str(json.loads(entry.read_bytes()).get("origin", "")).rpartition("@")
        except (OSError, ValueError, AttributeError):
            continue
        if place == where:
            return revision
    return ""


def _newest_first(paths: Iterable[Any]) -> list[Any]:
    return sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= 200 else f"{said[:197]}..."
