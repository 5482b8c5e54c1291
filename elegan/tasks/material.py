"""What an evaluation looks at: samples, real images to compare them with, and those that the model learned from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import DataError, NoSplitError, OptionError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from elegan.data import ImageData
    from elegan.engine.loop import Listener
    from elegan.engine.run import Run
    from elegan.game import Spec
    from elegan.metrics.classifier import Labels
    from elegan.pictures import Pixels
    from elegan.tasks.judges import FeaturesName
    from elegan.tasks.model import Model

    Rows = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

SHOWN_EVERY = 640
"""Samples between two signs of progress."""


@dataclass(frozen=True)
class Made:
    """How a run's samples are made: by this model, one of each seed, asked to be of `conditions` (n,), or (n, k), if of anything."""

    model: Model
    seeds: tuple[int, ...]
    conditions: Tensor | None

    @property
    def device(self) -> torch.device:
        return next(self.model.gan.parameters()).device


@dataclass(frozen=True)
class Material:
    """samples: uint8 (n, h, w, c), and their class numbers in the reference's order where they have classes that it has too.

    described: where the samples come from, for the protocol. training: what the model learned from, if that is known and is
    not the reference itself. learned: what the judge learns from: the training images, or else the reference. made: how the
    samples were made, where a run made them.
    """

    samples: Pixels
    labels: Labels | None
    described: dict[str, Any]
    reference: ImageData
    learned: ImageData
    training: ImageData | None
    split: str
    notes: list[str] = field(default_factory=list)
    made: Made | None = None


@dataclass(frozen=True)
class Asked:
    """What a person asked for; "" and None stand for not said."""

    samples: str
    against: str = ""
    split: str = ""
    train: str = ""
    features: FeaturesName = "auto"
    weights: str | None = None
    perceptual: str | None = None
    count: int | None = None
    seed: int = 0
    best: bool = False
    model: str | None = None
    device: str = "auto"
    download: bool = False


def gather(asked: Asked, listener: Listener) -> Material:
    """OptionError, DataError or RunError for what a person has to mend."""
    check(asked)
    run = run_at(asked.samples)
    return of_run(run, asked, listener) if run else of_images(asked, listener)


def check(asked: Asked) -> None:
    check_numbers(asked, least=2)


def foreseen(asked: Asked, listener: Listener) -> dict[str, Any]:
    """What the protocol will say of the samples' number and form, before any is made."""
    from elegan.data import open_data, prepare
    from elegan.tasks.loading import spec_of

    check(asked)
    if run := run_at(asked.samples):
        return {"samples": {"count": asked.count or MOST_SAMPLES}, "images": form(spec_of(run))}
    data = prepare(open_data(asked.samples), progress=listener.preparing)
    return {"samples": {"count": len(chosen_rows(len(data), asked.count, asked.seed))}, "images": form(data.spec)}


def form(spec: Spec) -> str:
    return f"{spec.height} x {spec.width}, {spec.channels} channels, 8 bits"


def check_numbers(asked: Asked, least: int) -> None:
    """OptionError for fewer samples than `least`, or a seed that is none."""
    if asked.count is not None and asked.count < least:
        raise OptionError(f"--count: got {asked.count}, expected at least {least}.")
    if not 0 <= asked.seed < 2**32:
        raise OptionError(f"--seed: got {asked.seed}, expected a number from 0 to 2**32 - 1.")


def run_at(where: str) -> Run | None:
    """The run at a path, or of a name in ./runs; None for anything else."""
    from elegan.engine.run import Run

    for path in (Path(where), Path("runs") / where):
        if (path / "record.json").is_file():
            return Run(path)
    return None


MOST_SAMPLES = 10_000
"""From here on the bias of a Fréchet distance is small beside differences that matter; more are made where they are asked for."""


def of_run(run: Run, asked: Asked, listener: Listener) -> Material:
    from elegan.tasks.loading import load
    from elegan.tasks.watch import best_beside_newest

    config, model = run.config, load(run, model=asked.model, best=asked.best, device=asked.device)
    notes, own = [*model.notes, *best_beside_newest(run, model.step, asked.best)], str(config["data"])
    wanted = wanted_of(run, model.spec, asked.download)
    training = learned_from(run, asked.train or own, bool(asked.train), wanted, notes, listener)
    reference, split = compared_with(asked.against or own, asked.split, wanted, listener, named=bool(asked.against))
    count = asked.count or MOST_SAMPLES
    seeds = tuple(range(asked.seed * count, (asked.seed + 1) * count))
    source = next((data for data in (reference, training) if data is not None and tells(data, model.spec)), None)
    conditions, said = conditions_for(model, seeds, source, asked.seed)
    described = {"source": str(run.path), "step": model.step, "count": count, "seeds": f"{seeds[0]}-{seeds[-1]}", "conditions": said}
    described["pixels"] = "truncation of 127.5 x + 128"
    labels = conditions.numpy() if model.spec.classes and conditions is not None else None
    found = matched(labels, model.spec.classes, reference, notes)
    learned, training = training or reference, None if is_same(training, reference) else training
    made = Made(model, seeds, conditions)
    return Material(sampled(made, listener), found, described, reference, learned, training, split, notes, made)


def wanted_of(run: Run, spec: Spec, download: bool) -> Wanted:
    config = run.config
    attributes = str(config.get("attributes", "none"))
    return Wanted((spec.height, spec.width), spec.channels, config.get("fit", "crop"), config.get("labels", "auto"), attributes, download)


def tells(data: ImageData, spec: Spec) -> bool:
    """Whether these images have what such a model can be asked for: its own classes, or its attributes."""
    if spec.classes:
        return data.labels is not None and set(data.spec.classes) <= set(spec.classes)
    return bool(spec.attributes) and data.values is not None and len(data.spec.attributes) == len(spec.attributes)


def conditions_for(model: Model, seeds: tuple[int, ...], source: ImageData | None, seed: int) -> tuple[Tensor | None, str]:
    """What each seed is asked to be, and that in words: as in real images drawn at random, where they tell; else in turn."""
    import numpy as np
    import torch

    spec = model.spec
    if source is None or not spec.conditional:
        return model.conditions_of(seeds), "in turn" if spec.conditional else "none"
    rows = np.random.default_rng(seed).integers(0, len(source), len(seeds))
    if spec.classes:
        assert source.labels is not None
        order = np.array([spec.classes.index(name) for name in source.spec.classes])
        return torch.from_numpy(order[source.labels[rows]]), f"as in {source.name}"
    assert source.values is not None
    return spec.scaled(torch.from_numpy(source.values[rows])), f"as in {source.name}"


def sampled(made: Made, listener: Listener) -> Pixels:
    """uint8 (n, h, w, c): a sample for each seed and what it is asked to be."""
    import numpy as np

    from elegan.tasks.model import in_chunks

    model, seeds, conditions = made.model, made.seeds, made.conditions
    pixels = np.empty((len(seeds), model.spec.height, model.spec.width, model.spec.channels), np.uint8)
    end = 0
    for part, told in in_chunks(seeds, conditions):
        start, end = end, end + len(part)
        pixels[start:end] = model.chunk(part, told)
        if start % SHOWN_EVERY == 0 or end == len(seeds):
            listener.measuring(end, len(seeds))
    return pixels


def of_images(asked: Asked, listener: Listener) -> Material:
    from elegan.data import open_data, prepare

    if not asked.against:
        raise OptionError("evaluate: name the real images to compare with: --against DATA.")
    samples = prepare(open_data(asked.samples), progress=listener.preparing)
    notes, spec = list(samples.notes), samples.spec
    wanted = Wanted((spec.height, spec.width), spec.channels, "crop", "auto", "none", asked.download)
    training = wanted.prepare(asked.train, "train", listener) if asked.train else None
    reference, split = compared_with(asked.against, asked.split, wanted, listener, named=True)
    rows = chosen_rows(len(samples), asked.count, asked.seed)
    if asked.count is not None and asked.count > len(rows):
        notes.append(f"{asked.count:,} samples were asked for, and there are {len(rows):,}.")
    described = {"source": asked.samples, "step": None, "count": len(rows), "seeds": None, "conditions": "as they are"}
    described["pixels"] = "as they are"
    labels = None if samples.labels is None else samples.labels[rows]
    found = matched(labels, spec.classes, reference, notes)
    learned, training = training or reference, None if is_same(training, reference) else training
    return Material(samples.images[rows], found, described, reference, learned, training, split, notes)


def chosen_rows(there: int, count: int | None, seed: int) -> Rows:
    """All images, or `count` of them drawn by the seed: files are sorted by class."""
    import numpy as np

    return np.sort(np.random.default_rng(seed).permutation(there)[: there if count is None else count])


@dataclass(frozen=True)
class Wanted:
    """How real images are brought to what the samples are."""

    size: tuple[int, int]
    channels: int
    fit: str
    labels: str
    attributes: str
    download: bool

    def prepare(self, where: str, split: str, listener: Listener) -> ImageData:
        from elegan.data import open_data, prepare

        source = open_data(
            where, split=split, labels=self.labels, attributes=self.attributes, download=self.download, announce=listener.message
        )
        return prepare(source, size=self.size, channels=self.channels, fit=self.fit, progress=listener.preparing)

    def check_network(self, where: str) -> None:
        """DataError for data that a run's files name and that would be fetched: a stranger may have written them."""
        if where.startswith("hf://") and not self.download:
            raise DataError(f"{where} is on the network: allow it with --download, or name real images here with --against and --train.")


def compared_with(where: str, split: str, wanted: Wanted, listener: Listener, *, named: bool) -> tuple[ImageData, str]:
    """The reference and its split: the one asked for, else test where there is one. named: a person gave `where` for this."""
    if not named:
        wanted.check_network(where)
    if split:
        return wanted.prepare(where, split, listener), split
    try:
        return wanted.prepare(where, "test", listener), "test"
    except NoSplitError:
        return wanted.prepare(where, "train", listener), "train"


def learned_from(run: Run, where: str, named: bool, wanted: Wanted, notes: list[str], listener: Listener) -> ImageData | None:
    """What the run was trained on; None, and a note, where it is not here or is not the same any more."""
    try:
        if not named:
            wanted.check_network(where)
        found = wanted.prepare(where, "train", listener)
    except DataError:
        if named:
            raise
        notes.append(f"The training data, {where}, is not here, so nothing is said of memorising. Name it with --train.")
        return None
    if found.fingerprint != run.record["data"]["fingerprint"] and not named:
        notes.append(f"{where} is not what it was when this run was trained.")
    return found


def matched(labels: Labels | None, names: tuple[str, ...], reference: ImageData, notes: list[str]) -> Labels | None:
    """Class numbers in the reference's order; None, and a note, where the two do not have the same classes."""
    import numpy as np

    theirs = reference.spec.classes
    if labels is None:
        return None
    used = sorted(set(labels.tolist()))
    if not theirs or not {names[i] for i in used} <= set(theirs):
        notes.append("The real images do not have the samples' classes, so labels are not used: nothing is recognised, useful or dropped.")
        return None
    order = np.zeros(len(names), np.int64)
    order[used] = [theirs.index(names[i]) for i in used]
    found: Labels = order[labels]
    return found


def is_same(one: ImageData | None, other: ImageData) -> bool:
    """Whether these are the same images, whatever is said of them."""
    import numpy as np

    if one is None or one.images.shape != other.images.shape:
        return False
    return one.fingerprint == other.fingerprint or bool(np.array_equal(one.images, other.images))
