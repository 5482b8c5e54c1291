"""How much samples of one class differ from each other, against how much real ones do.

Labels are class numbers (n,); without classes all are one number. All numbers are for each class by itself, since between
classes even a generator with one picture for each looks diverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
import torch
from torch import Tensor

from elegan.errors import DataError, OptionError
from elegan.metrics.pairs import check_pixels, ms_ssim
from elegan.metrics.sliced import check_features
from elegan.pictures import Pixels

Labels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Members = np.ndarray[tuple[int], np.dtype[np.signedinteger]]

ROWS = 512
"""Samples whose distances to all others are held at one time."""

FEWEST = 10
"""Samples of a class from which a resample says how much its mean distance varies."""


def ms_ssim_diversity(pixels: Pixels, labels: Labels, *, pairs: int = 100, scales: int = 5, seed: int = 0) -> dict[int, float]:
    """The mean MS-SSIM of random pairs in each class of images uint8 (n, h, w, c), by class; lower is more diverse.

    As for AC-GAN (Odena et al., 2017, section 4.2): 100 pairs, and judged by what real images of the classes have; above,
    a class is collapsing. Pairs are of two images and drawn without repetition; all
    there are if there are no more than `pairs`. scales: see `ms_ssim`; five need 176 x 176. DataError for a class with fewer
    than two images, images or labels of another form, and images too small; OptionError for fewer than one pair.
    """
    check_pixels(pixels)
    if pairs < 1:
        raise OptionError(f"pairs: got {pairs}; a mean takes at least one.")
    random, found = np.random.default_rng(seed), {}
    for label, members in classes(labels, len(pixels), 2).items():
        first, second = (members[side] for side in draw_pairs(len(members), pairs, random))
        found[label] = float(ms_ssim(pixels[first], pixels[second], scales=scales).mean())
    return found


def draw_pairs(n: int, most: int, random: np.random.Generator) -> tuple[list[int], list[int]]:
    """Pairs i < j below n without repetition: `most` random ones, or all."""
    total = n * (n - 1) // 2
    chosen = range(total) if total <= most else random.choice(total, most, replace=False).tolist()
    larger = [(1 + isqrt(8 * pair + 1)) // 2 for pair in chosen]  # pair number j (j - 1) / 2 + i is (i, j)
    return [pair - j * (j - 1) // 2 for pair, j in zip(chosen, larger, strict=True)], larger


def intra_class_distance(features: Tensor, labels: Labels) -> dict[int, float]:
    """The mean Euclidean distance over all pairs in each class of features (n, d), by class; 0 where all are one.

    In float64. DataError for a class with fewer than two samples, a NaN, features or labels of another form.
    """
    check_features(features)
    found = {}
    for label, members in classes(labels, len(features), 2).items():
        once = torch.ones(1, len(members), dtype=torch.float64)
        found[label] = float(mean_distances(features[torch.from_numpy(members)], once))
    return found


@dataclass(frozen=True)
class DiversityRatio:
    """Mean intra-class distances, classes counting alike, their ratio generated / real, and its 95% interval.

    Below 1 classes have collapsed in part, above 1 they are more spread than the data, by noise for example.
    """

    generated: float
    real: float
    ratio: float
    low: float
    high: float


def diversity_ratio(
    *, generated: Tensor, generated_labels: Labels, real: Tensor, real_labels: Labels, replicates: int = 1000, seed: int = 0
) -> DiversityRatio:
    """Mean intra-class distance of generated features (n, d) over that of real ones (m, d), with an interval by bootstrap.

    Both sets are resampled within each class; the interval is of the ratio's 2.5% and 97.5% quantiles (Efron, 1979). Two
    draws of one sample are no pair: with them every resample would seem less diverse than the set. DataError as in
    `intra_class_distance`, for a class with fewer than 10 samples, sets with unlike classes, and real classes without
    any distance; OptionError for fewer than 100 replicates.
    """
    if replicates < 100:
        raise OptionError(f"replicates: got {replicates}; quantiles of 2.5% take at least 100.")
    if set(np.unique(generated_labels).tolist()) != set(np.unique(real_labels).tolist()):
        ours, theirs = np.unique(generated_labels).tolist(), np.unique(real_labels).tolist()
        raise DataError(f"generated and real samples have the same classes, got {ours[:20]} and {theirs[:20]}; sample every class.")
    random = np.random.default_rng(seed)
    above = resampled_distances(generated, generated_labels, replicates, random)
    below = resampled_distances(real, real_labels, replicates, random)
    if float(below.min()) <= 0:
        raise DataError("the real samples of each class are all one, or nearly all: nothing to compare diversity with.")
    low, high = np.quantile((above[1:] / below[1:]).numpy(), (0.025, 0.975)).tolist()
    return DiversityRatio(float(above[0]), float(below[0]), float(above[0] / below[0]), low, high)


def resampled_distances(features: Tensor, labels: Labels, replicates: int, random: np.random.Generator) -> Tensor:
    """float64 (1 + replicates,): the mean intra-class distance, of the set as it is and of its resamples."""
    check_features(features)
    groups = classes(labels, len(features), FEWEST)
    total = torch.zeros(1 + replicates, dtype=torch.float64)
    for members in groups.values():
        n = len(members)
        drawn = np.concatenate([np.ones((1, n)), random.multinomial(n, np.full(n, 1 / n), replicates)])
        total += mean_distances(features[torch.from_numpy(members)], torch.from_numpy(drawn))
    return total / len(groups)


def mean_distances(features: Tensor, times: Tensor) -> Tensor:
    """(b,): the mean distance over pairs of different samples (n, d), sample i counting times[., i] times; times (b, n).

    A set in which all pairs are of one sample has 0.
    """
    centred = features.double() - features.double().mean(0) + 0.0  # no -0.0, which has other bytes than 0.0
    squares, originals = centred.square().sum(1), copies(centred)
    total = torch.zeros(len(times), dtype=torch.float64)
    for i in range(0, len(centred), ROWS):
        rows = slice(i, i + ROWS)
        distances = (squares[rows].unsqueeze(1) + squares - 2 * centred[rows] @ centred.T).clamp(min=0).sqrt()
        # The difference of large numbers leaves about 1e-8 of them where a distance is 0.
        distances[originals[rows].unsqueeze(1) == originals] = 0
        total += (times[:, rows].T * (distances @ times.T)).sum(0)
    pairs = times.sum(1).square() - times.square().sum(1)
    return total / pairs.clamp(min=1)


def copies(features: Tensor) -> Tensor:
    """(n,): a number for each of (n, d) that it shares with its exact copies."""
    seen: dict[bytes, int] = {}
    return torch.tensor([seen.setdefault(row.tobytes(), len(seen)) for row in features.numpy()])


def classes(labels: Labels, n: int, fewest: int) -> dict[int, Members]:
    """Which samples each class has, by class number. DataError unless these are n whole numbers and each class has enough."""
    if not isinstance(labels, np.ndarray) or labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise DataError(f"labels are a NumPy array of {n} whole numbers, one for each sample; got {labels!r:.60}.")
    groups = {int(label): np.flatnonzero(labels == label) for label in np.unique(labels)}
    for label, members in groups.items():
        if len(members) < fewest:
            raise DataError(f"class {label} has {len(members)} samples; at least {fewest} are needed of each, so sample more.")
    return groups
