"""Decoding a source once into one array of pixels on disk, which every later run only maps into memory."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from elegan.data.cache import IMAGES, LABELS, RECORD, VALUES, images_folder, new_entry
from elegan.data.images import Unreadable, damage, decode, quiet
from elegan.data.planning import Plan, Survey, Wanted, make_plan, survey
from elegan.data.source import Labels, Pixels, Progress, Rows, Source, Values, digest
from elegan.errors import DataError
from elegan.game import Attribute, Spec
from elegan.randomness import key

FORMAT = 2
EXAMPLES = 64
"""Images whose attributes are kept as examples of what may be asked for."""


@dataclass(frozen=True)
class Skipped:
    """An image that cannot be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images ready for training.

    spec: their shape, and class names or attributes. images: (n, h, w, c) uint8, read-only, mapped from `cache`.
    labels: (n,) int64 or None. values: those of the attributes as they are in the data, (n, k) float64, or None.
    fingerprint: a hash of pixels, labels and values. skipped, notes: what a person should know about them.
    """

    spec: Spec
    images: Pixels
    labels: Labels | None
    name: str
    where: str
    fingerprint: str
    cache: Path
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    values: Values | None = None

    def __len__(self) -> int:
        return len(self.images)

    def real(self, rows: Rows, device: torch.device) -> Tensor:
        """These images as networks see them: (n, c, h, w) float32 in [-1, 1], channels last."""
        # A quarter of the bytes travel to the device: it is there that they become floats.
        pixels = torch.from_numpy(np.ascontiguousarray(self.images[rows])).to(device)
        return pixels.to(torch.float32).div_(127.5).sub_(1.0).permute(0, 3, 1, 2)


def prepare(
    source: Source,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    strict: bool = False,
    progress: Progress | None = None,
) -> ImageData:
    """Decode `source` into the cache, or find it there.

    size: (height, width) within 8 to 1024; None keeps a size that all images share, if it is within 8 to 256, and else
    chooses a square of at most 64. channels: 1 grey, 2 grey with alpha, 3 RGB, 4 RGBA; None takes the fewest that
    lose nothing. fit: how images of another shape come to that size; "crop" covers it and crops around the centre, "pad"
    keeps the whole image, in the middle of black or of transparency, "stretch" distorts it. Images that cannot be read or
    have a side under 8 pixels are skipped and named; with `strict` the first raises. progress(done, total) is called
    while images are decoded; while they are streamed, `total` may be 0, unknown.

    Raises DataError if no image is left, size, channels or fit are impossible, or the cache folder has no room.
    """
    wanted, notes = Wanted(size, channels, fit), list(source.notes)
    target = images_folder() / f"{source.name}-{digest(source.fingerprint(), size, channels, fit, FORMAT)[:16]}"
    record = _record(target)
    if record is None:
        source.fetch(progress or _ignore)
        record = _make(source, target, wanted, strict, progress or _ignore, source.notes[len(notes) :])
    if strict and record["skipped"]:
        name, reason = record["skipped"][0]
        raise DataError(_refusal(source, name, reason))
    return _map(source, target, record, notes)


def _ignore(done: int, total: int) -> None:
    """No progress is shown."""


def _refusal(source: Source, name: str, reason: str) -> str:
    return f"{name} in {source.where} cannot be used: {reason}. Mend or remove it, or leave out strict to skip it."


class _Replan(Exception):
    """Files turned out damaged that had a say in size and channels: decide again without them."""


def _make(source: Source, target: Path, wanted: Wanted, strict: bool, progress: Progress, notes: list[str]) -> dict[str, Any]:
    """Decode everything into `target` and return its record, which begins with `notes`."""
    found = survey(source)
    while True:
        _check_strict(source, found, strict)
        plan = make_plan(source, found, wanted)
        try:
            with new_entry(target, len(found.headers) * plan.bytes_per_image, lambda entry: _record(entry) is not None) as folder:
                state, kept, late = _decode_all(source, folder, found, plan, progress)
                if late:
                    found = survey(source, found.broken | late)
                    _check_strict(source, found, strict)
                    again = make_plan(source, found, wanted)
                    if (again.size, again.channels) != (plan.size, plan.channels):
                        raise _Replan
                return _finish(source, folder, plan, found, state, kept, notes)
        except _Replan:
            continue


def _check_strict(source: Source, found: Survey, strict: bool) -> None:
    if strict and found.broken:
        first = min(found.broken)
        raise DataError(_refusal(source, source.item_name(first), found.broken[first]))


def _decode_all(
    source: Source, folder: Path, found: Survey, plan: Plan, progress: Progress
) -> tuple[hashlib.blake2b, list[int], dict[int, str]]:
    """Write the pixels of all images one after the other: a hash of them, the images that could be decoded, and why others not."""
    state, kept, late = hashlib.blake2b(digest_size=16), list[int](), dict[int, str]()
    with (folder / IMAGES).open("wb", buffering=1 << 20) as file, quiet():
        for done, i in enumerate(found.headers):
            if done % 100 == 0:
                progress(done, len(found.headers))
            try:
                pixels = _decode(source, i, plan)
            except Unreadable as error:
                late[i] = str(error)
                continue
            file.write(pixels)
            state.update(pixels)
            kept.append(i)
        _sync(file)
    progress(len(found.headers), len(found.headers))
    return state, kept, late


def _decode(source: Source, i: int, plan: Plan) -> bytes:
    with damage():
        raw = source.read(i)
    return decode(raw, plan.size, plan.channels, plan.fit)


def _finish(
    source: Source, folder: Path, plan: Plan, found: Survey, state: hashlib.blake2b, kept: list[int], notes: list[str]
) -> dict[str, Any]:
    """Write labels, values and record beside the pixels."""
    shape = [len(kept), *plan.size, plan.channels]
    labels, values = (b"" if array is None else array[kept].tobytes() for array in (source.labels, source.values))
    for part in (labels, repr((shape, source.classes)).encode(), values, repr(source.attributes).encode() if values else b""):
        state.update(part)
    skipped = [(source.item_name(i), found.broken[i]) for i in sorted(found.broken)]
    record = {
        "format": FORMAT,
        "origin": source.origin,
        "shape": shape,
        "fingerprint": state.hexdigest(),
        "skipped": skipped,
        "notes": [*notes, *plan.notes],
        "classes": list(source.classes),
        "attributes": list(source.attributes),
    }
    for name, raw in ((LABELS, labels), (VALUES, values), (RECORD, json.dumps(record).encode())):
        with (folder / name).open("wb") as file:
            file.write(raw)
            _sync(file)
    return record


def _sync(file: BinaryIO) -> None:
    """Onto the disk before the folder gets its name, so that a power cut cannot leave a whole-looking folder of holes."""
    file.flush()
    os.fsync(file.fileno())


def _record(target: Path) -> dict[str, Any] | None:
    """The record of a whole cache entry; None if there is none or if it is damaged."""
    try:
        record = json.loads((target / RECORD).read_bytes())
        shape, sizes = record["shape"], [(target / name).stat().st_size for name in (IMAGES, LABELS, VALUES)]
        wanted = [int(np.prod(shape)), shape[0] * 8 if record["classes"] else 0, shape[0] * 8 * len(record["attributes"])]
        keys = {"fingerprint", "skipped", "notes"} <= record.keys()
        return record if record["format"] == FORMAT and sizes == wanted and keys and shape[0] > 0 else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None


def _map(source: Source, target: Path, record: dict[str, Any], notes: list[str]) -> ImageData:
    """The prepared images, mapped into memory."""
    count, height, width, channels = record["shape"]
    images = np.memmap(target / IMAGES, dtype=np.uint8, mode="r", shape=(count, height, width, channels))
    classes, names = tuple(record["classes"]), record["attributes"]
    values = np.fromfile(target / VALUES, dtype=np.float64).reshape(count, len(names))
    skipped = [Skipped(name, reason) for name, reason in record["skipped"]]
    return ImageData(
        spec=Spec(channels, height, width, classes, _attributes(names, values)),
        images=images,
        labels=np.fromfile(target / LABELS, dtype=np.int64) if classes else None,
        name=source.name,
        where=source.where,
        fingerprint=record["fingerprint"],
        cache=target,
        skipped=skipped,
        notes=[*notes, *record["notes"], *_about_skipped(skipped, count)],
        values=values if names else None,
    )


def _attributes(names: list[str], values: Values) -> tuple[Attribute, ...]:
    """The range of each column of `values` (n, k), and what it holds in some images, drawn once for all."""
    rows = np.random.Generator(np.random.PCG64(key("attributes", "examples"))).permutation(len(values))[:EXAMPLES]
    return tuple(
        Attribute(name, float(column.min()), float(column.max()), tuple(column[rows].tolist()))
        for name, column in zip(names, values.T, strict=True)
    )


def _about_skipped(skipped: list[Skipped], count: int) -> list[str]:
    if not skipped:
        return []
    first = skipped[0]
    return [f"Skipped {len(skipped)} of {count + len(skipped)} images that cannot be used, first {first.name}: {first.reason}."]
