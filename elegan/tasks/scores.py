"""The numbers of an evaluation: functions of the features of samples, reference and training images, and of their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite, sqrt
from typing import TYPE_CHECKING

from elegan.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from elegan.data import ImageData
    from elegan.engine.loop import Listener
    from elegan.metrics.classifier import Labels
    from elegan.metrics.extractors import Extractor, Features
    from elegan.metrics.report import Better, Score
    from elegan.tasks.material import Material

    Known = dict[tuple[str, str, str, int], Features]

FEWEST_EXTRAPOLATED = 10
"""From so many samples for each feature on, a Fréchet distance is also carried on to infinitely many: with fewer, most of its
bias is not of the order 1/n, and would stay."""

LARGEST_EXPONENT = 50.0
"""Of an interval's bound: where half of the samples are blank, the error has no limit."""

SMALLEST_PYRAMID, MOST_PATCHED = 16, 1000
"""Patches are compared from this side on, and of so many images: more hardly change the distance."""

MOST_TRAINING = 60_000
"""Among so many training images at most, drawn by the seed, copies are looked for."""

READ = 1000
"""Real images that are read at one time."""


@dataclass(frozen=True)
class Seen:
    """Features of the images, and logits of samples and reference where the extractor is a classifier too.

    training: of the training images `training_rows`, in order: as many as there are samples, or those among which copies are
    looked for, where that is done by these features.
    """

    samples: Tensor
    reference: Tensor
    training: Tensor | None
    training_rows: Tensor | None
    logits: Tensor | None
    reference_logits: Tensor | None


def look(material: Material, extractor: Extractor, seed: int, listener: Listener, known: Known) -> Seen:
    """known: features of real images that were looked at before; what is looked at now is added."""
    reference, training = material.reference, material.training
    listener.message(f"Features of {len(material.samples):,} samples and {len(reference):,} real images.")
    samples = extractor.features(material.samples, listener.measuring)
    real = of_real(reference, rows_of(len(reference), len(reference), seed), extractor, listener, known)
    if training is None:
        return Seen(samples.values, real.values, None, None, samples.logits, real.logits)
    rows = rows_of(len(training), MOST_TRAINING if finds_copies(extractor) else len(material.samples), seed)
    learned = of_real(training, rows, extractor, listener, known)
    return Seen(samples.values, real.values, learned.values, rows, samples.logits, real.logits)


def finds_copies(extractor: Extractor) -> bool:
    """Whether copies are looked for by its features, and not by pixels. A judge that learned from the training images sees them
    with other eyes than held-out ones, and would take what is like them for copies; others are too slow to see all of them."""
    return extractor.name.startswith("inception")


def of_real(data: ImageData, rows: Tensor, extractor: Extractor, listener: Listener, known: Known) -> Features:
    """Features of these images, taken once; they are read in parts, since all together they may not fit into memory."""
    import torch

    from elegan.metrics.extractors import Features

    name = (extractor.name, extractor.digest, data.fingerprint, len(rows))
    if name not in known:
        parts = []
        for part in torch.split(rows, READ):
            parts.append(extractor.features(data.images[part.numpy()]))
            listener.measuring(sum(len(one.values) for one in parts), len(rows))
        logits = [part.logits for part in parts if part.logits is not None]
        known[name] = Features(torch.cat([part.values for part in parts]), torch.cat(logits) if logits else None)
    return known[name]


def distances(seen: Seen, extractor: Extractor, seed: int) -> list[Score]:
    """Fréchet and kernel distances; by the names they have for Inception, for it alone."""
    from elegan.metrics.frechet import fid_infinity, frechet_distance, frechet_interval, statistics
    from elegan.metrics.intervals import normal_interval
    from elegan.metrics.kernel import kernel_distance, subset_size
    from elegan.metrics.report import Score

    reference, n = statistics(seen.reference), len(seen.samples)
    real = None if seen.training is None else seen.training[drawn(len(seen.training), n, seed)]
    found = frechet_interval(reference, seen.samples)
    # of fewer images than samples it would be larger by its bias
    by_real = None if real is None or len(real) < n else frechet_distance(reference, statistics(real))
    names = names_of(extractor)
    scores = [Score(names[0], found.value, found.low, found.high, by_real, "lower")]
    if n >= FEWEST_EXTRAPOLATED * reference.dimension:
        carried = fid_infinity(reference, seen.samples, seed)
        bounds = normal_interval(carried.value, carried.standard_error)
        scores.append(Score(names[1], bounds.value, bounds.low, bounds.high, better="lower"))
    size = subset_size(n, len(seen.reference))
    kernel = kernel_distance(seen.samples, seen.reference, size=size, seed=seed)
    bounds = normal_interval(kernel.mean, kernel.standard_error)
    kernel_by_real = None if real is None else kernel_distance(real, seen.reference, size=subset_size(len(real), size), seed=seed).mean
    return [*scores, Score(names[2], bounds.value, bounds.low, bounds.high, kernel_by_real, "lower")]


def names_of(extractor: Extractor) -> tuple[str, str, str]:
    if extractor.name == "inception":
        return "FID", "FID-infinity", "KID"
    return (
        f"Fréchet distance ({extractor.name})",
        f"Fréchet distance, infinitely many ({extractor.name})",
        f"kernel distance ({extractor.name})",
    )


def drawn(count: int, wanted: int, seed: int) -> Tensor:
    """Indices of `wanted` of `count` images, by the seed; of all of them where there are not more."""
    import torch

    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:wanted]


def rows_of(count: int, most: int, seed: int) -> Tensor:
    """The same in order."""
    return drawn(count, most, seed).sort().values


MOST_NEIGHBOURS = 10_000
"""Shares of neighbours are of so many images at most: their cost goes with the square."""


def shares(seen: Seen, seed: int) -> list[Score]:
    """Precision, recall, density and coverage, of equally many samples, reference and training images: all four depend on it."""
    from elegan.metrics.fidelity import fidelity
    from elegan.metrics.report import Score

    counts = [len(features) for features in (seen.samples, seen.reference, seen.training) if features is not None]
    n = min(MOST_NEIGHBOURS, *counts)
    samples, reference = (features[drawn(len(features), n, seed)] for features in (seen.samples, seen.reference))
    found = fidelity(reference, samples)
    by_real = None if seen.training is None else fidelity(reference, seen.training[drawn(len(seen.training), n, seed)])

    def score(name: str, count: int, better: Better, share: bool = True) -> Score:
        value = float(getattr(found, name))
        real = None if by_real is None else float(getattr(by_real, name))
        return share_score(name, value, count, real, better) if share else Score(name, value, real=real, better=better)

    return [
        score("precision", len(samples), "higher"),
        score("recall", len(reference), "higher"),
        score("density", len(samples), "higher", share=False),
        score("coverage", len(reference), "higher"),
    ]


def share_score(name: str, value: float, count: int, real: float | None = None, better: Better = "higher") -> Score:
    """A share of `count` images, with Wilson's interval (1927)."""
    from elegan.metrics.report import Score

    z = 1.96
    centre, reach = (value + z * z / (2 * count)), z * sqrt(value * (1 - value) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return Score(name, value, max(0.0, (centre - reach) / scale), min(1.0, (centre + reach) / scale), real, better, percent=True)


def inception_scores(seen: Seen, extractor: Extractor, seed: int) -> list[Score]:
    from elegan.metrics.inception_score import inception_score
    from elegan.metrics.report import Score

    if extractor.name != "inception" or seen.logits is None or len(seen.logits) < 100:
        return []
    found = inception_score(seen.logits, seed=seed)
    return [Score("Inception Score", found.mean, found.interval.low, found.interval.high, better="higher")]


def of_pixels(material: Material, seed: int) -> list[Score]:
    """What needs no network: sharpness, grain, and the sliced Wasserstein distance of patches where images are large enough."""
    import numpy as np

    from elegan.metrics.intervals import normal_interval
    from elegan.metrics.report import Score
    from elegan.metrics.sharpness import error_of_median, grain, sharpness
    from elegan.metrics.sliced import pyramid_sliced_wasserstein

    samples, reference = material.samples, material.reference.images
    scores = []
    try:
        ratio, error = sharpness(samples, reference)
        reach = exp(min(normal_interval(0.0, error).high, LARGEST_EXPONENT))
        scores.append(Score("sharpness", ratio, ratio / reach, ratio * reach, 1.0, "one"))
    except DataError:
        pass  # real images of one colour: nothing can be as sharp
    ours, theirs = grain(samples), grain(reference)
    bounds = normal_interval(float(np.median(ours)), error_of_median(ours), least=0.0)
    scores.append(Score("grain", bounds.value, bounds.low, bounds.high, float(np.median(theirs))))
    if min(samples.shape[1:3]) >= SMALLEST_PYRAMID:
        n = min(len(samples), len(reference), MOST_PATCHED)
        some, others = samples[drawn(len(samples), n, seed).numpy()], reference[drawn(len(reference), n, seed).numpy()]
        scores.append(Score("sliced Wasserstein distance", pyramid_sliced_wasserstein(some, others, seed=seed).mean, better="lower"))
    return scores


@dataclass(frozen=True)
class ClassesSeen:
    """The class that the classifier of the real images finds in each sample (n,), and in each of the reference (m,).

    missing: classes hardly ever found in samples.
    """

    found: Labels
    in_reference: Labels
    missing: list[str]


def classes_seen(material: Material, seen: Seen, extractor: Extractor, listener: Listener) -> ClassesSeen | None:
    """None where there are no classes to see, or others than the classifier learned."""
    from elegan.metrics.classifier import predict
    from elegan.tasks.findings import missing_classes
    from elegan.tasks.judges import classifier_of

    learned, names, labels = material.learned, material.reference.spec.classes, material.reference.labels
    if labels is None or len(names) < 2 or learned.spec.classes != names:
        if material.labels is not None or learned.spec.num_classes > 1:
            material.notes.append("Training images and reference do not have the same classes, so no class is looked for in the samples.")
        return None
    if extractor.name == "classifier":  # it has looked already
        assert seen.logits is not None
        assert seen.reference_logits is not None
        found, in_reference = seen.logits.argmax(1).numpy(), seen.reference_logits.argmax(1).numpy()
    else:
        classifier = classifier_of(learned, listener)
        found, in_reference = predict(classifier, material.samples), predict(classifier, material.reference.images)
    return ClassesSeen(found, in_reference, missing_classes(found, in_reference, labels, names))


def of_classes(material: Material, seen: ClassesSeen, listener: Listener) -> list[Score]:
    """Recognised, useful, and how the classes are covered, by a classifier that learned from real images."""
    import numpy as np

    from elegan.metrics.classifier import accuracy, train_classifier
    from elegan.metrics.modes import labelled_coverage
    from elegan.metrics.report import Score

    reference, asked = material.reference, material.labels
    labels, count = reference.labels, reference.spec.num_classes
    assert labels is not None
    ceiling = None if material.training is None else float((seen.in_reference == labels).mean())
    shares = np.bincount(labels, minlength=count) / len(labels)
    covered = labelled_coverage(seen.found, count, shares)
    scores = [Score("classes covered", covered.modes, real=covered.expected_modes, better="higher")]
    if isfinite(covered.kl):  # else a sample is of a class that the reference lacks
        scores.append(Score("KL of classes", covered.kl, real=covered.floor, better="lower"))
    if asked is not None:
        scores.append(share_score("recognised", float((seen.found == asked).mean()), len(asked), ceiling))
    if asked is not None and len(np.unique(asked)) > 1:
        listener.message("A classifier learns from the samples alone.")
        pupil = train_classifier(material.samples, asked, count, progress=listener.measuring)
        scores.append(share_score("useful", accuracy(pupil, reference.images, labels), len(reference), ceiling))
    return scores
