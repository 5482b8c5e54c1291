"""Precision and recall, density and coverage: balls around points, and how many points of the other kind lie in them.

Real features come first and generated ones second, everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import inf, prod

import torch
from torch import Tensor

from elegan.errors import DataError
from elegan.metrics.neighbours import Points, around_one_centre, checked, lower_bounds, nearest_others, parts, precisions, squares_of_pairs

EQUAL = 1e-12
"""Squared distances whose ratio is 1 to within this are equal, in whatever order their terms were added."""

FEW = 1 / 50
"""Up to this share of a block's pairs each distance is taken exactly, at no more than the cost of finer bounds for all."""


@dataclass(frozen=True)
class Fidelity:
    """precision: the share of samples in a ball around a real image. recall: of real images in a ball around a sample.

    density: how many balls around real images hold a sample, on average, over k. coverage: the share of these balls that
    hold a sample.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def fidelity(real: Tensor, generated: Tensor, k: int = 3, density_k: int = 5) -> Fidelity:
    """All four, from features (n, d) and (m, d), in one pass over their distances; see `precision_recall`, `density_coverage`.

    DataError for features that are not finite, of other widths, or too few: it takes more than k of each.
    """
    real, generated = _checked(real, generated)
    squares = nearest_others(real, max(k, density_k)).squares
    around_real, around_generated, surfaceless = _fill(
        real,
        generated,
        _closed(squares[None, :, k - 1]),
        _closed(nearest_others(generated, k).squares[:, k - 1, None]),
        _open(squares[None, :, density_k - 1]),
    )
    density = surfaceless.pairs / (density_k * len(generated))
    return Fidelity(_share(around_real.generated), _share(around_generated.real), density, _share(surfaceless.real))


def precision_recall(real: Tensor, generated: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al., 2019, section 2), from features (n, d) and (m, d).

    A ball around a point reaches to the k-th nearest other point of its own kind; its surface belongs to it. Precision is
    the share of samples in a ball around a real image, recall the share of real images in a ball around a sample.
    Both are 1 for identical sets. For equal distributions they are below 1; by how much depends on the distribution.
    DataError for features that are not finite, of other widths, or too few: it takes more than k of each.
    """
    real, generated = _checked(real, generated)
    around_real, around_generated = _fill(
        real,
        generated,
        _closed(nearest_others(real, k).squares[None, :, k - 1]),
        _closed(nearest_others(generated, k).squares[:, k - 1, None]),
    )
    return _share(around_real.generated), _share(around_generated.real)


def density_coverage(real: Tensor, generated: Tensor, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al., 2020, section 3), from features (n, d) and (m, d).

    Balls are those of `precision_recall`, around real images only and without their surface. Density is how many of them
    hold a sample, on average, over k; it is above 1 where samples crowd. Coverage is the share of balls that hold a sample.
    Both are 1 for identical sets in which no two points are equal. For equal distributions the mean of density is 1, that of
    coverage `expected_coverage`. A real image that has k equals among the others has a ball of radius 0, which holds nothing.
    DataError for features that are not finite, of other widths, or too few: it takes more than k real images, and a sample.
    """
    real, generated = _checked(real, generated)
    (balls,) = _fill(real, generated, _open(nearest_others(real, k).squares[None, :, k - 1]))
    return balls.pairs / (k * len(generated)), _share(balls.real)


def expected_coverage(real: int, generated: int, k: int = 5) -> float:
    """The mean coverage of `real` images by `generated` samples of the same distribution; 1 - 1/2^k for large sets of one size.

    A ball is empty if the k points nearest to its centre are real, all of them: with probability
    (n - 1)...(n - k) / ((n + m - 1)...(n + m - k)), for n real and m generated points.
    """
    return 1 - prod((real - i) / (generated + real - i) for i in range(1, k + 1))


def _checked(real: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
    real, generated = checked(real), checked(generated)
    if real.shape[1] != generated.shape[1]:
        raise DataError(f"real features have {real.shape[1]} numbers, generated ones {generated.shape[1]}: take both from one extractor.")
    return real, generated


def _closed(squares: Tensor) -> Tensor:
    return squares * (1 + EQUAL)


def _open(squares: Tensor) -> Tensor:
    return torch.where(squares > 0, squares * (1 - EQUAL), -1.0)


def _share(found: Tensor) -> float:
    return float(found.double().mean())


class _Balls:
    """Balls of squared radii `limits`, around n real points (1, n) or around m samples (m, 1), and what they hold.

    pairs: how often a ball holds a point of the other kind. generated: (m,), real: (n,), which points are in such a pair.
    """

    def __init__(self, limits: Tensor, generated: Tensor, real: Tensor) -> None:
        shape = len(generated), len(real)
        self.limits = limits.expand(shape)
        self.rounded_up = limits.float().nextafter(limits.new_tensor(inf, dtype=torch.float32)).expand(shape)
        self.pairs = 0
        self.generated, self.real = (torch.zeros(number, dtype=torch.bool, device=limits.device) for number in shape)

    def add(self, rows: Tensor, columns: Tensor) -> None:
        """Counts the pairs of sample rows[i] and real point columns[i]."""
        self.pairs += len(rows)
        self.generated[rows] = True
        self.real[columns] = True


def _fill(real: Tensor, generated: Tensor, *all_limits: Tensor) -> list[_Balls]:
    """Balls of each of `all_limits`, with all pairs that they hold; a distance is taken exactly where its bounds leave that open."""
    all_balls = [_Balls(limits, generated, real) for limits in all_limits]
    dtype = precisions(real)[0]
    images, samples = around_one_centre(real, generated, dtype=dtype)
    for rows, columns in product(parts(len(generated)), parts(len(real))):
        bounded = _bounded(all_balls, rows, columns, images[columns], samples[rows])
        few = FEW * len(real[columns]) * len(generated[rows])
        if dtype == torch.bfloat16 and sum(int((~inside).sum()) for _, _, inside in bounded) > few:
            bounded = _bounded(all_balls, rows, columns, *around_one_centre(real[columns], generated[rows]))
        for balls, (i, j, inside) in zip(all_balls, bounded, strict=True):
            still_open = (~inside).nonzero()[:, 0]
            rest = i[still_open], j[still_open]
            inside[still_open] = squares_of_pairs(generated, real, *rest) <= balls.limits[rest]
            balls.add(i[inside], j[inside])
    return all_balls


def _bounded(all_balls: list[_Balls], rows: slice, columns: slice, images: Points, samples: Points) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each of `all_balls` the pairs of `rows` and `columns` that it may hold, and whether it surely does, by the bounds: (p,) each."""
    lower = lower_bounds(samples, images)
    bounded = []
    for balls in all_balls:
        i, j = (lower <= balls.rounded_up[rows, columns]).nonzero(as_tuple=True)
        upper = lower[i, j].double() + 2 * (samples.slack[i] + images.slack[j])
        i, j = i + rows.start, j + columns.start
        bounded.append((i, j, upper <= balls.limits[i, j]))
    return bounded
