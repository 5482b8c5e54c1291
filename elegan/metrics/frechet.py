"""The Fréchet distance of two sets of features, taken as Gaussians (Heusel et al., 2017), its bias and its standard error.

With features of the 2015 Inception network it is the FID; of any other network it is another number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import accumulate, pairwise
from math import sqrt
from operator import add
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.linalg import eigh, eigvalsh, lapack, svdvals  # type: ignore[import-untyped]
from torch import Tensor

from elegan.errors import DataError
from elegan.metrics.intervals import Interval, normal_interval

Matrix = NDArray[np.float64]

ROWS = 4096

EPSILON = float(np.finfo(np.float64).eps)


def checked(features: Tensor, least: int = 1) -> Tensor:
    """`features` (n, d) on the CPU; DataError unless they are finite numbers of at least `least` samples."""
    if features.dim() != 2 or features.shape[1] == 0 or not features.is_floating_point():
        raise DataError(f"features: got {features.dtype} of shape {tuple(features.shape)}; expected (n, d) floating-point numbers.")
    if len(features) < least:
        raise DataError(f"features: got {len(features)} samples; at least {least} are needed. Give more images.")
    if not features.isfinite().all():
        rows = int((~features.isfinite()).any(1).sum())
        raise DataError(f"features: {rows} of {len(features)} samples hold NaN or infinity. Look at these images and at the extractor.")
    return features.detach().cpu()


def check_dimensions(one: int, other: int) -> None:
    """DataError unless both are the same number."""
    if one != other:
        raise DataError(f"features: got {one} and {other} dimensions; both sets must come from the same extractor.")


@dataclass(frozen=True, eq=False)
class Statistics:
    """Count, mean (d,) and scatter (d, d) of features in float64; the scatter sums (x - mean)(x - mean)' over samples.

    Statistics of batches or shards add up to those of the whole, in any order, as exactly as float64 can.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @property
    def dimension(self) -> int:
        return len(self.mean)

    def __add__(self, other: Statistics) -> Statistics:
        """Of both sets of samples together (Chan, Golub and LeVeque, 1983); DataError if they have other dimensions."""
        check_dimensions(self.dimension, other.dimension)
        count = self.count + other.count
        apart = other.mean - self.mean
        between = torch.outer(apart, apart) * (self.count * other.count / count)
        return Statistics(count, self.mean + apart * (other.count / count), self.scatter + other.scatter + between)

    def samples(self, population: bool = False) -> int:
        """What the scatter is divided by: count - 1, or count for the covariance of a population."""
        if self.count < 2:
            raise DataError(f"features: got {self.count} samples; a covariance needs at least 2. Give more images.")
        return self.count if population else self.count - 1

    def covariance(self, population: bool = False) -> Tensor:
        """(d, d), divided by count - 1, or by count as some published protocols do; DataError below 2 samples."""
        return self.scatter / self.samples(population)

    def save(self, path: Path) -> None:
        """Write them as safetensors."""
        save_file({"count": torch.tensor(self.count), "mean": self.mean, "scatter": self.scatter.contiguous()}, path)

    @classmethod
    def load(cls, path: Path) -> Statistics:
        """What `save` wrote; DataError for another file."""
        try:
            found = load_file(path)
            count, mean, scatter = int(found["count"]), found["mean"], found["scatter"]
        except (OSError, SafetensorError, KeyError) as error:
            raise DataError(f"{path}: not a file of feature statistics ({error}). Compute them again.") from error
        if scatter.shape != (len(mean), len(mean)) or not (mean.dtype == scatter.dtype == torch.float64):
            raise DataError(f"{path}: statistics of {tuple(mean.shape)} and {tuple(scatter.shape)} do not fit. Compute them again.")
        return cls(count, mean, scatter)

    @cached_property
    def triangle(self) -> Matrix | None:
        """L with LL' = scatter, or None where the scatter is not clearly of full rank."""
        triangle, failed = lapack.dpotrf(self.scatter.numpy().T, lower=1, clean=1)
        # A squared pivot is the part of a feature's scatter that the features before it do not explain.
        if failed or (triangle.diagonal() ** 2 < 1e-10 * self.scatter.diagonal().numpy()).any():
            return None
        return np.asarray(triangle)

    @cached_property
    def root(self) -> Matrix:
        """A (d, rank) with AA' = scatter, by Cholesky's method with pivots, so that features of rank below d have one too."""
        if self.triangle is not None:
            return self.triangle
        size = self.scatter.diagonal().sqrt().numpy()
        scale = np.where(size > 0, size, 1)  # features differ in size by orders of magnitude; ranks are found among correlations
        factor, order, rank, _ = lapack.dpstrf((self.scatter.numpy() / scale / scale[:, None]).T, lower=1)
        rank = min(rank, self.count - 1) if size.any() else 0
        root = np.empty((self.dimension, rank))
        root[order - 1] = np.tril(factor)[:, :rank]
        return root * scale[:, None]


def statistics(features: Tensor) -> Statistics:
    """Statistics of features (n, d), in float64 whatever their type; DataError for none, or for NaN or infinity."""
    return reduce(add, map(_of_rows, _parts(features)))


def _parts(features: Tensor) -> Iterator[Tensor]:
    """The rows, in float64, some thousand at a time."""
    features = checked(features)
    return (features[start : start + ROWS].double() for start in range(0, len(features), ROWS))


def _of_rows(rows: Tensor) -> Statistics:
    mean = rows.mean(0)
    deviations = (rows - mean).numpy()
    return Statistics(len(rows), mean, torch.from_numpy(deviations.T @ deviations))  # numpy makes half of it and mirrors that


def frechet_distance(one: Statistics, other: Statistics, population: bool = False) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)): the squared 2-Wasserstein distance of two Gaussians (Dowson and Landau, 1982).

    Covariances of any rank will do, so fewer samples than dimensions too. population: divide both scatters by the count,
    as some published protocols do, not by count - 1. DataError for unlike dimensions or fewer than 2 samples.

    It is too high with few samples: for N(0, I) in d dimensions against n of its samples by d/n + d(d + 1)/(4n) on average,
    to first order in 1/n. Compare only distances of equal counts, or see `fid_infinity`.
    """
    check_dimensions(one.dimension, other.dimension)
    n, m = one.samples(population), other.samples(population)
    means = (one.mean - other.mean).square().sum().item()
    traces = one.scatter.trace().item() / n + other.scatter.trace().item() / m
    return max(0.0, float(means + traces) - 2 * _trace_of_root(one, other) / sqrt(n * m))


def _trace_of_root(one: Statistics, other: Statistics) -> float:
    """tr (S1 S2)^(1/2) of two scatters S1 = AA', S2 = BB': the sum of the singular values of A'B.

    They are the roots of the eigenvalues of A'S2A, which come at half the cost, but with fewer digits where they span many
    orders of magnitude. There, and where a rank is below d, the singular values themselves are taken.
    """
    if one.triangle is not None and other.count > other.dimension:
        product, _ = lapack.dsygst(other.scatter.numpy().T, one.triangle, itype=2, lower=1)
        eigenvalues = eigvalsh(product, lower=True, driver="ev", overwrite_a=True, check_finite=False)
        if eigenvalues[0] > 0:
            roots = np.sqrt(eigenvalues)
            # An eigenvalue is off by about epsilon of the largest. Most of these errors cancel: of the sum of their
            # sizes about 1e-4 remains, so that a distance of a thousandth of the sum of roots keeps 8 digits.
            if EPSILON * eigenvalues[-1] * (1 / roots).sum() < 1e-7 * roots.sum():
                return float(roots.sum())
    return float(svdvals(one.root.T @ other.root).sum()) if one.root.size and other.root.size else 0.0


def _standard_error(reference: Statistics, own: Statistics, features: Tensor) -> float:
    """The standard error of the Fréchet distance of `features` (n, d) to the reference, which is taken as fixed.

    It is the infinitesimal jackknife (Jaeckel, 1972): the distance's slope in the weight of each sample, so the scatter of
    2 (m - r)'x + x'(1 - T)x over samples, where T, the derivative of tr (S R)^(1/2) by S, doubled, carries one Gaussian to
    the other (Rippl, Munk and Sturm, 2016). It repeats no sample, needs no random numbers, and holds below n = d; where
    both distributions are the same, it is too large by a factor of up to about 1.7.
    """
    root = reference.root / sqrt(reference.samples())
    eigenvalues, vectors = eigh(root.T @ own.covariance().numpy() @ root) if root.size else (np.zeros(0), np.zeros((0, 0)))
    kept = eigenvalues > 1e-12 * eigenvalues.max(initial=0)
    transport = torch.from_numpy(root @ (vectors[:, kept] * eigenvalues[kept] ** -0.25))  # T is this times its transpose
    slopes = torch.cat([_slopes(rows - own.mean, own.mean - reference.mean, transport) for rows in _parts(features)])
    return sqrt(float(slopes.var()) / own.count)


def _slopes(deviations: Tensor, apart: Tensor, transport: Tensor) -> Tensor:
    return 2 * deviations @ apart + deviations.square().sum(1) - (deviations @ transport).square().sum(1)


def frechet_interval(reference: Statistics, features: Tensor, level: float = 0.95) -> Interval:
    """The Fréchet distance of `features` (n, d) to the reference, and where the mean over many sets of n samples lies.

    The bias at n samples is part of that mean, and no interval can take it away: distances of equal counts may be compared
    by their intervals; for the distance of the distributions themselves there is `fid_infinity`. A bootstrap would not
    do: a resample has about 0.63 n different samples, so its distances are biased as those of fewer samples are, and its
    percentiles lie above the truth. Errors are those of `frechet_distance` and `statistics`.
    """
    own = statistics(features)
    return normal_interval(frechet_distance(reference, own), _standard_error(reference, own, features), level, least=0.0)


@dataclass(frozen=True)
class Extrapolation:
    """A distance carried on to infinitely many samples, its standard error, and what it follows from. It can be below 0."""

    value: float
    standard_error: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


SIZES = 15


def fid_infinity(reference: Statistics, features: Tensor, seed: int = 0) -> Extrapolation:
    """The Fréchet distance of infinitely many samples: a line in 1/n through those of 15 sizes, at 0 (Chong and Forsyth, 2020).

    Sizes go evenly from min(5000, n / 10) to n. Each is the first so many of one order that is shuffled by the seed: the
    line is that of independent draws on average, its standard error 4% larger, and statistics grow instead of starting
    afresh. The standard error counts both what is drawn and that n samples are all there are; it does not know that the bias
    is a line in 1/n only for n far above d: of N(0, I) a share of -9% remains at n = 25 d and -33% at 10 d, and below
    5 d the value means nothing. Real features vary in fewer directions, so d is a bound.

    DataError for fewer than 20 samples, NaN or infinity, or unlike dimensions.
    """
    features = checked(features, least=20)
    count = len(features)
    sizes = torch.linspace(min(5000, count // 10), count, SIZES, dtype=torch.float64).round().int().tolist()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    parts = (statistics(features[order[start:stop]]) for start, stop in pairwise([0, *sizes]))
    distances = []
    for so_far in accumulate(parts):
        distances.append(frechet_distance(reference, so_far))
    weights = _weights_of_intercept(1 / np.array(sizes))
    # Sets of n and m > n samples, one within the other, have errors of covariance 1/m, in units of one sample's variance.
    variance = count * weights @ (1 / np.maximum.outer(sizes, sizes)) @ weights
    error = _standard_error(reference, so_far, features) * sqrt(variance)
    return Extrapolation(float(weights @ distances), error, tuple(sizes), tuple(distances))


def _weights_of_intercept(x: Matrix) -> Matrix:
    """Those of y in the value at 0 of the line of least squares through (x, y)."""
    deviations = x - x.mean()
    weights: Matrix = 1 / len(x) - deviations * x.mean() / (deviations**2).sum()
    return weights
