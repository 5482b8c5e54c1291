"""The preflight: what a person should know of their images before training on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median_low
from typing import Any

import numpy as np

from elegan.data.cache import cache_bytes, cache_folder
from elegan.data.columns import ColumnFacts, facts, spread
from elegan.data.downloads import Announce
from elegan.data.images import Header, Unreadable, damage, decode, quiet
from elegan.data.opening import open_data
from elegan.data.planning import FIT_WORDS, KINDS, Plan, Survey, Wanted, make_plan, survey
from elegan.data.preparation import Skipped
from elegan.data.source import Progress, Source, digest

FEW_IMAGES, FEW_IN_CLASS, MANY_DUPLICATES = 100, 10, 0.01
_SHOWN = 5


@dataclass(frozen=True)
class Sizes:
    """The readable images' sizes as (height, width): each side's smallest, median and largest, and the most common size."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    distinct: int
    most_common: tuple[int, int]
    most_common_count: int


@dataclass(frozen=True)
class Report:
    """What was found and what will be done with it.

    size (height, width) and channels are what every image gets, and fit how. modes, classes: images by Pillow mode and by
    class name. attributes: the range of each. columns: what could be given as labels and attributes, if there is a
    choice. duplicates: images whose file is equal, byte for byte, to an earlier one; duplicate_names: the first few, with
    that earlier one. A re-encoded copy is not found. cache_bytes: what all prepared images and downloads take.
    """

    where: str
    name: str
    split: str
    count: int
    readable: int
    broken: list[Skipped]
    sizes: Sizes
    modes: dict[str, int]
    classes: dict[str, int]
    attributes: dict[str, tuple[float, float]]
    columns: list[ColumnFacts]
    duplicates: int
    duplicate_names: list[tuple[str, str]]
    size: tuple[int, int]
    channels: int
    fit: str
    cache: str
    cache_bytes: int
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Everything, for a person."""
        broken = [f"  {one.name}: {one.reason}" for one in self.broken[:_SHOWN]]
        left = [f"  and {len(self.broken) - _SHOWN} more"] if len(self.broken) > _SHOWN else []
        return [
            f"{self.where} ({self.split}): {self.count} images, {self.readable} usable",
            *([f"skipped: {len(self.broken)}", *broken, *left] if self.broken else []),
            f"sizes: {self._about_sizes()}",
            f"modes: {_table(self.modes)}",
            *self._about_conditions(),
            f"exact duplicates: {self.duplicates}",
            *(f"  {name} = {first}" for name, first in self.duplicate_names),
            f"each becomes: {_times(self.size)}, {KINDS[self.channels]}{self._about_fit()}",
            *(f"note: {note}" for note in self.notes),
            *(f"warning: {warning}" for warning in self.warnings),
            f"cache: {self.cache} ({self.cache_bytes / 1e6:.1f} MB of prepared images and downloads; `elegan data --clear-cache` frees it)",
        ]

    def _about_fit(self) -> str:
        """How images come to their size, unless all have it."""
        resized = self.sizes.distinct > 1 or self.sizes.most_common != self.size
        return f", {FIT_WORDS[self.fit]} (--fit {self.fit})" if resized else ""

    def _about_conditions(self) -> list[str]:
        """What images will be asked to be, and what else they could be asked."""
        ranges = [f"{name} ({spread(*ends)})" for name, ends in self.attributes.items()]
        taken = f"attributes: {', '.join(ranges)}" if ranges else f"classes: {_table(self.classes) if self.classes else 'none'}"
        classes = [f"{one.name} ({one.classes} different)" for one in self.columns if one.classes]
        numbers = [f"{one.name} ({spread(*one.range)})" for one in self.columns if one.range]
        could = [(f"--{use}", names) for use, names in (("labels", classes), ("attributes", numbers)) if names]
        return [taken, *(f"could be {flag}: {_ends(names)}" for flag, names in could)]

    def _about_sizes(self) -> str:
        sizes = self.sizes
        if sizes.distinct == 1:
            return f"all {_times(sizes.most_common)} (height x width)"
        spread = f"{_times(sizes.smallest)} to {_times(sizes.largest)}, median {_times(sizes.median)} (height x width)"
        return f"{sizes.distinct} distinct, {spread}, most often {_times(sizes.most_common)} ({sizes.most_common_count} images)"


def inspect_data(
    where: str,
    *,
    split: str = "train",
    labels: str = "auto",
    attributes: str | Sequence[str] = (),
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    fit: str = "crop",
    download: bool = False,
    announce: Announce | None = None,
    progress: Progress | None = None,
) -> Report:
    """Read and decode every image at `where` once and report; nothing is written but what is downloaded.

    The arguments are those of `open_data` and `prepare`, and what the report says will be done is what `prepare` does.
    progress is told of images that are streamed. Raises DataError as they do.
    """
    wanted = Wanted(size, channels, fit)
    source = open_data(where, split=split, labels=labels, attributes=attributes, download=download, announce=announce)
    source.fetch(progress or _ignore)
    found = survey(source)
    plan = make_plan(source, found, wanted)
    late, copies = _read_all(source, found, plan)
    if late:
        found = survey(source, found.broken | late)
        plan = make_plan(source, found, wanted)
    classes, ranges = _class_counts(source, found), _ranges(source, found)
    return Report(
        where=where,
        name=source.name,
        split=split,
        count=len(source),
        readable=len(found.headers),
        broken=[Skipped(source.item_name(i), found.broken[i]) for i in sorted(found.broken)],
        sizes=_sizes(list(found.headers.values())),
        modes=dict(Counter(one.mode for one in found.headers.values()).most_common()),
        classes=classes,
        attributes=ranges,
        columns=facts(source) if source.columns.keys() - {source.class_column} else [],
        duplicates=len(copies),
        duplicate_names=[(source.item_name(i), source.item_name(first)) for i, first in list(copies.items())[:_SHOWN]],
        size=plan.size,
        channels=plan.channels,
        fit=plan.fit,
        cache=str(cache_folder()),
        cache_bytes=cache_bytes(),
        notes=[*source.notes, *plan.notes],
        warnings=_warnings(source, len(found.headers), classes, len(copies)),
    )


def _ignore(done: int, total: int) -> None:
    """No progress is shown."""


def _read_all(source: Source, found: Survey, plan: Plan) -> tuple[dict[int, str], dict[int, int]]:
    """Decode everything: why some images cannot be, and which equal an earlier one."""
    late, copies, seen = dict[int, str](), dict[int, int](), dict[str, int]()
    with quiet():
        for i in found.headers:
            try:
                with damage():
                    raw = source.read(i)
                decode(raw, plan.size, plan.channels, plan.fit)
            except Unreadable as error:
                late[i] = str(error)
                continue
            first = seen.setdefault(digest(raw.tobytes() if isinstance(raw, np.ndarray) else raw), i)
            if first != i:
                copies[i] = first
    return late, copies


def _sizes(headers: Sequence[Header]) -> Sizes:
    heights, widths = [one.height for one in headers], [one.width for one in headers]
    counts = Counter(zip(heights, widths, strict=True))
    most_common, times = counts.most_common(1)[0]
    return Sizes(
        smallest=(min(heights), min(widths)),
        median=(median_low(heights), median_low(widths)),
        largest=(max(heights), max(widths)),
        distinct=len(counts),
        most_common=most_common,
        most_common_count=times,
    )


def _class_counts(source: Source, found: Survey) -> dict[str, int]:
    if source.labels is None:
        return {}
    counts = np.bincount(source.labels[list(found.headers)], minlength=len(source.classes))
    return {name: int(count) for name, count in zip(source.classes, counts, strict=True)}


def _ranges(source: Source, found: Survey) -> dict[str, tuple[float, float]]:
    """The smallest and the largest value of each attribute."""
    if source.values is None:
        return {}
    kept = source.values[list(found.headers)]
    return {name: (float(low), float(high)) for name, low, high in zip(source.attributes, kept.min(0), kept.max(0), strict=True)}


def _warnings(source: Source, readable: int, classes: dict[str, int], duplicates: int) -> list[str]:
    """What is likely to spoil a training."""
    rare = sorted((count, name) for name, count in classes.items() if count < FEW_IN_CLASS)
    warnings = []
    if source.nested:
        warnings.append(
            f"Perhaps the wrong folder level: {source.where} holds nothing but {source.nested!r}. If that is right, give it directly."
        )
    if readable < FEW_IMAGES:
        warnings.append(f"Only {readable} images: a GAN is likely to memorise them. Give at least {FEW_IMAGES}, or mirror and augment.")
    if rare:
        names = ", ".join(f"{name} ({count})" for count, name in rare[:_SHOWN])
        warnings.append(
            f"{len(rare)} of {len(classes)} classes have fewer than {FEW_IN_CLASS} images: {names}. Add some, or leave them out."
        )
    if duplicates > MANY_DUPLICATES * readable:
        warnings.append(f"{duplicates} of {readable} images are exact duplicates: they weigh double and flatter the scores. Remove them.")
    return warnings


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _table(counts: dict[str, int]) -> str:
    """Names and counts in one line; only the ends of a long list."""
    return f"{len(counts)} ({_ends([f'{name} {count}' for name, count in counts.items()])})"


def _ends(parts: Sequence[str]) -> str:
    return ", ".join([*parts[:10], "...", *parts[-3:]] if len(parts) > 20 else parts)
