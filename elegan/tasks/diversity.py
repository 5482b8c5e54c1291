"""How much samples differ from each other, beside real images: of one class where there are classes, else of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from elegan.errors import DataError
from elegan.tasks.scores import drawn

if TYPE_CHECKING:
    from elegan.metrics.classifier import Labels
    from elegan.metrics.extractors import Extractor
    from elegan.metrics.report import Score
    from elegan.tasks.material import Material
    from elegan.tasks.scores import Seen

MOST_OF_CLASS, PAIRS = 1000, 1000
"""Images of a class between which distances are taken, and pairs of images that are compared, of all classes together."""


@dataclass(frozen=True)
class Groups:
    """Which samples and which real images are compared, (n,) and (m,), and their classes: all 0 where there are none.

    classes: those that both have enough images of.
    """

    samples: Labels
    sample_labels: Labels
    real: Labels
    real_labels: Labels
    classes: tuple[int, ...]
    classed: bool

    @property
    def pairs(self) -> int:
        """Of each class."""
        return max(1, PAIRS // len(self.classes))


def groups(material: Material, seed: int) -> Groups:
    """Classes without enough samples or real images are left out, and a note says so; DataError if no class has enough."""
    import numpy as np

    from elegan.metrics.diversity import FEWEST

    reference = material.reference
    classed = material.labels is not None and reference.labels is not None
    ours, theirs = (material.labels, reference.labels) if classed else (None, None)
    ours = np.zeros(len(material.samples), np.int64) if ours is None else ours
    theirs = np.zeros(len(reference), np.int64) if theirs is None else theirs
    count = reference.spec.num_classes if classed else 1
    enough = np.minimum(np.bincount(ours, minlength=count), np.bincount(theirs, minlength=count)) >= FEWEST
    classes = tuple(np.flatnonzero(enough).tolist())
    if not classes:
        raise DataError(f"the variety within a class takes {FEWEST} samples and {FEWEST} real images of it.")
    if len(classes) < count:
        material.notes.append(
            f"The variety within classes is that of {len(classes)} of {count} classes: of the others there are fewer than {FEWEST} "
            "samples, or real images."
        )
    samples, real = some_of(ours, classes, seed), some_of(theirs, classes, seed)
    return Groups(samples, ours[samples], real, theirs[real], classes, classed)


def some_of(labels: Labels, classes: tuple[int, ...], seed: int) -> Labels:
    """Indices of images of these classes, in order, of each `MOST_OF_CLASS` at most, drawn by the seed."""
    import numpy as np

    order = drawn(len(labels), len(labels), seed).numpy()
    found: Labels = np.sort(np.concatenate([order[labels[order] == label][:MOST_OF_CLASS] for label in classes]))
    return found


def distance_ratio(material: Material, seen: Seen, extractor: Extractor, chosen: Groups, seed: int) -> list[Score]:
    """The mean distance of samples of a class to that of real images; 1 where they are as varied."""
    from elegan.metrics.diversity import diversity_ratio
    from elegan.metrics.report import Score

    found = diversity_ratio(
        generated=seen.samples[chosen.samples],
        generated_labels=chosen.sample_labels,
        real=seen.reference[chosen.real],
        real_labels=chosen.real_labels,
        seed=seed,
    )
    real = of_training(material, seen, chosen, seed)
    name = "intra-class distance ratio" if chosen.classed else "distance ratio"
    return [Score(f"{name} ({extractor.name})", found.ratio, found.low, found.high, None if real is None else real / found.real, "one")]


def of_training(material: Material, seen: Seen, chosen: Groups, seed: int) -> float | None:
    """The mean distance of training images of a class; None where there are none, or too few, of these classes."""
    import numpy as np

    from elegan.metrics.diversity import intra_class_distance

    training = material.training
    if training is None or seen.training is None or seen.training_rows is None:
        return None
    if not chosen.classed:
        labels = np.zeros(len(seen.training), np.int64)
    elif training.labels is None or training.spec.classes != material.reference.spec.classes:
        return None
    else:
        labels = training.labels[seen.training_rows.numpy()]
    if min(np.bincount(labels, minlength=max(chosen.classes) + 1)[list(chosen.classes)]) < 2:
        return None
    rows = some_of(labels, chosen.classes, seed)
    return float(np.mean(list(intra_class_distance(seen.training[rows], labels[rows]).values())))


def ms_ssim(material: Material, chosen: Groups, seed: int) -> list[Score]:
    """As many scales as the images' size allows; fewer than five are another number, so they are in its name."""
    from elegan.metrics.diversity import ms_ssim_diversity
    from elegan.metrics.pairs import WEIGHTS, smallest_side
    from elegan.metrics.report import Score

    height, width = material.samples.shape[1:3]
    scales = max((n for n in range(1, len(WEIGHTS) + 1) if min(height, width) >= smallest_side(n)), default=0)
    if scales == 0:
        raise DataError(f"MS-SSIM diversity takes images of at least {smallest_side(1)} x {smallest_side(1)}, got {height} x {width}.")
    name = "MS-SSIM diversity" + ("" if scales == len(WEIGHTS) else f" ({scales} scale{'s' if scales > 1 else ''})")
    ours = ms_ssim_diversity(material.samples[chosen.samples], chosen.sample_labels, pairs=chosen.pairs, scales=scales, seed=seed)
    theirs = ms_ssim_diversity(material.reference.images[chosen.real], chosen.real_labels, pairs=chosen.pairs, scales=scales, seed=seed)
    return [Score(name, mean(ours), real=mean(theirs))]


def mean(by_class: dict[int, float]) -> float:
    return sum(by_class.values()) / len(by_class)
