"""What an evaluation looks at: samples, real images to compare them with, and those that the model learned from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import DataError, OptionError

if TYPE_CHECKING:
    from elegan.data import ImageData
    from elegan.engine.loop import Listener
    from elegan.engine.run import Run
    from elegan.metrics.classifier import Labels
    from elegan.pictures import Pixels

SHOWN_EVERY = 640
"""Samples between two signs of progress."""


@dataclass(frozen=True)
class Material:
    """samples: uint8 (n, h, w, c), and their class numbers in the reference's order where they have classes that it has too.

    described: where the samples come from, for the protocol. training: what the model learned from, if that is known and is
    not the reference itself.
    """

    samples: Pixels
    labels: Labels | None
    described: dict[str, Any]
    reference: ImageData
    training: ImageData | None
    split: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """What a person said of the material; "" and 0 stand for not said."""

    samples: str
    against: str = ""
    split: str = ""
    train: str = ""
    count: int = 0
    seed: int = 0
    best: bool = False
    model: str | None = None
    device: str = "auto"
    download: bool = False


def gather(asked: Asked, listener: Listener) -> Material:
    """OptionError, DataError or RunError for what a person has to mend."""
    if asked.count < 0:
        raise OptionError(f"--count: got {asked.count}, expected at least 2.")
    run = run_at(asked.samples)
    return of_run(run, asked, listener) if run else of_images(asked, listener)


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
    import numpy as np

    from elegan.tasks.loading import load

    config, model = run.config, load(run, model=asked.model, best=asked.best, device=asked.device)
    notes, own = list(model.notes), str(config["data"])
    spec = model.spec
    wanted = Wanted((spec.height, spec.width), spec.channels, config.get("fit", "crop"), config.get("labels", "auto"), asked.download)
    training = learned_from(run, asked.train or own, bool(asked.train), wanted, notes, listener)
    reference, split = compared_with(asked.against or own, asked.split, wanted, listener)
    count = asked.count or MOST_SAMPLES
    seeds = range(asked.seed * count, (asked.seed + 1) * count)
    parts = []
    for start in range(0, count, SHOWN_EVERY):
        parts.append(model.sample(seeds[start : start + SHOWN_EVERY]))
        listener.preparing(min(start + SHOWN_EVERY, count), count)
    labels = np.array(model.classes_of(tuple(seeds))) if spec.classes else None
    described = {"source": str(run.path), "step": model.step, "count": count, "seeds": f"{seeds[0]}-{seeds[-1]}"}
    described |= {"conditions": "classes in turn" if spec.classes else "attributes of the training images" if spec.attributes else "none"}
    found = matched(labels, spec.classes, reference, notes)
    return Material(np.concatenate(parts), found, described, reference, training, split, notes)


def of_images(asked: Asked, listener: Listener) -> Material:
    from elegan.data import open_data, prepare

    if not asked.against:
        raise OptionError("evaluate: name the real images to compare with: --against DATA.")
    samples = prepare(open_data(asked.samples), progress=listener.preparing)
    notes, spec = list(samples.notes), samples.spec
    wanted = Wanted((spec.height, spec.width), spec.channels, "crop", "auto", asked.download)
    training = wanted.prepare(asked.train, "train", listener) if asked.train else None
    reference, split = compared_with(asked.against, asked.split, wanted, listener)
    count = min(asked.count or len(samples), len(samples))
    if asked.count > count:
        notes.append(f"{asked.count:,} samples were asked for, and there are {count:,}.")
    described = {"source": asked.samples, "step": None, "count": count, "seeds": None, "conditions": "as they are"}
    labels = None if samples.labels is None else samples.labels[:count]
    found = matched(labels, spec.classes, reference, notes)
    return Material(samples.images[:count], found, described, reference, training, split, notes)


@dataclass(frozen=True)
class Wanted:
    """How real images are brought to what the samples are."""

    size: tuple[int, int]
    channels: int
    fit: str
    labels: str
    download: bool

    def prepare(self, where: str, split: str, listener: Listener) -> ImageData:
        from elegan.data import open_data, prepare

        source = open_data(where, split=split, labels=self.labels, download=self.download, announce=listener.message)
        return prepare(source, size=self.size, channels=self.channels, fit=self.fit, progress=listener.preparing)


def compared_with(where: str, split: str, wanted: Wanted, listener: Listener) -> tuple[ImageData, str]:
    """The reference and its split: the one asked for, else test where there is one."""
    if split:
        return wanted.prepare(where, split, listener), split
    try:
        return wanted.prepare(where, "test", listener), "test"
    except DataError:
        return wanted.prepare(where, "train", listener), "train"


def learned_from(run: Run, where: str, named: bool, wanted: Wanted, notes: list[str], listener: Listener) -> ImageData | None:
    """What the run was trained on; None, and a note, where it is not here or is not the same any more."""
    try:
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
    if labels is None or not theirs:
        return None
    if not set(names) <= set(theirs):
        notes.append("The samples' classes are not those of the real images, so labels are not used.")
        return None
    return np.array([theirs.index(name) for name in names])[labels]


def is_same(one: ImageData | None, other: ImageData) -> bool:
    return one is not None and one.fingerprint == other.fingerprint
