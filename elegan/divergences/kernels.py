"""Energy distance and maximum mean discrepancy: both compare mean kernel values within and between two distributions.

For a kernel k they are E k(x, x') + E k(y, y') - 2 E k(x, y). With k = -|x - y| that is the energy distance (Szekely and
Rizzo, 2013), with a Gaussian kernel the squared maximum mean discrepancy (Gretton et al., 2012).
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor

from elegan.divergences.inputs import distances
from elegan.errors import DataError, OptionError

Kernel = Callable[[Tensor], Tensor]
"""Of Euclidean distances."""

ROWS = 512
"""Kernel values of so many points with all others are made at one time."""

MEDIAN_OF = 1000
"""Points of each set whose distances make the median."""


def negative_distance(distance: Tensor) -> Tensor:
    return -distance


def gaussian(bandwidth: float) -> Kernel:
    """exp(-d^2 / (2 bandwidth^2)); OptionError for a bandwidth that is not positive."""
    if not 0 < bandwidth < float("inf"):
        raise OptionError(f"bandwidth: got {bandwidth}; it is a positive length, such as the median distance of points.")
    return lambda distance: torch.exp(-((distance / bandwidth) ** 2) / 2)


def median_distance(x: Tensor, y: Tensor) -> float:
    """The median distance of the points (n, d) and (m, d) taken together, of the first 1000 of each: a usual bandwidth."""
    together = torch.cat([x[:MEDIAN_OF], y[:MEDIAN_OF]])
    median = float(torch.nn.functional.pdist(together).median()) if len(together) > 1 else 0.0
    if median == 0:
        raise DataError("the median distance of the points is 0: too many are equal. Give a bandwidth.")
    return median


def of_weights(p: Tensor, q: Tensor, positions: Tensor, kernel: Kernel) -> float:
    """The discrepancy of probabilities p and q (k,) at points (k, d). At least 0 for the kernels here."""
    apart = p - q
    return max(0.0, float(apart @ kernel(distances(positions, positions)) @ apart))


def of_samples(x: Tensor, y: Tensor, kernel: Kernel) -> tuple[float, float]:
    """The unbiased estimate from samples (n, d) and (m, d), from 2 on each side, and its standard error.

    No sample is paired with itself, so the estimate may be below 0. The error is that of the estimate's linear part (Gretton
    et al., 2012, corollary 16); where both distributions are nearly the same, it is too large.
    """
    n, m = len(x), len(y)
    itself = float(kernel(torch.zeros((), dtype=torch.float64)))
    of_x = (_sums(x, x, kernel) - itself) / (n - 1) - _sums(x, y, kernel) / m
    of_y = (_sums(y, y, kernel) - itself) / (m - 1) - _sums(y, x, kernel) / n
    error = 2 * sqrt(float(of_x.var()) / n + float(of_y.var()) / m)
    return float(of_x.mean() + of_y.mean()), error


def _sums(x: Tensor, y: Tensor, kernel: Kernel) -> Tensor:
    """(n,): for each x the sum of its kernel values with all y."""
    return torch.cat([kernel(distances(rows, y)).sum(1) for rows in torch.split(x, ROWS)])
