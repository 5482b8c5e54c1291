"""Divergences of two distributions of which there are only samples: estimates, most of them with an interval at 95%.

x and y are independent samples of p and q: points (n, d) and (m, d), or numbers (n,) and (m,). Computation is in float64.
DataError for other shapes, unlike d, NaN, infinity or too few. Distances of the samples themselves, such as Wasserstein's, are too
high for the distributions, for two samples of one distribution differ; their intervals reach as far down as that can be. Kernel
estimates have no such bias. `histograms` and `neighbours` estimate f-divergences.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import sqrt

import torch
from torch import Tensor

from elegan.divergences import kernels
from elegan.divergences.estimate import Estimate, estimate
from elegan.divergences.inputs import distances, same_space
from elegan.divergences.line import check_order, quantile_costs, random_directions, sliced_costs
from elegan.divergences.sinkhorn import potentials, self_potential
from elegan.divergences.transport import optimal_cost
from elegan.errors import OptionError

NORMAL = 1.959964
"""Standard errors to each side of an interval at 95%."""

BLOCKS, STUDENT = 10, 2.262157
"""Parts of the samples whose results tell how much a result varies, and Student's factor for 9 degrees of freedom at 95%."""

SMALLEST = 50
"""Samples from which on there are intervals: parts have 5 then."""

SHARE_OF_COST = 0.05


def wasserstein(x: Tensor, y: Tensor, order: float = 1) -> Estimate:
    """W_order of the samples, exact, by Euclidean distance: by sorting on a line, else by `transport.optimal_cost` with its limits.

    As an estimate for the distributions it is too high: on a line by about 1 / sqrt n where they are equal, in d dimensions by
    about n^(-1/d) (Fournier and Guillin, 2015), so that above three dimensions it says little.
    """
    check_order(order)
    x, y = same_space(x, y)
    way = "sorted samples" if x.shape[1] == 1 else "optimal transport of samples"
    return _of_distance(partial(_wasserstein, order=order), x, y, f"W{order:g} by {way}")


def _wasserstein(x: Tensor, y: Tensor, order: float) -> float:
    if x.shape[1] == 1:
        cost = float(quantile_costs(x.T.sort(1).values, y.T.sort(1).values, order))
    else:
        cost = optimal_cost(torch.ones(len(x)), torch.ones(len(y)), distances(x, y).pow(order))
    return float(max(0.0, cost) ** (1 / order))


def sliced_wasserstein(x: Tensor, y: Tensor, order: float = 1, directions: int = 500, seed: int = 0) -> Estimate:
    """(mean over directions of W_order^order on a line)^(1/order), directions drawn evenly by the seed (Bonneel et al., 2015).

    The interval is that of the distance along these directions; others would have changed it by `method`'s share.
    """
    check_order(order)
    if directions < 2:
        raise OptionError(f"directions: got {directions}; at least 2 are needed.")
    x, y = same_space(x, y)
    along = random_directions(directions, x.shape[1], seed)
    costs = sliced_costs(x, y, along, order)
    # The slope of a root is value / (order * mean).
    share = float(costs.std() / costs.mean()) / order / sqrt(directions) if costs.any() else 0.0

    def distance(x: Tensor, y: Tensor) -> float:
        return float(sliced_costs(x, y, along, order).mean() ** (1 / order))

    return _of_distance(distance, x, y, f"sliced W{order:g}, {directions} directions with a standard error of {share:.1%}")


def sinkhorn_divergence(x: Tensor, y: Tensor, order: float = 2, epsilon: float | None = None) -> Estimate:
    """The Sinkhorn divergence for costs |x - y|^order, in their units; epsilon: 5% of the mean cost of x and y if None.

    With a small epsilon it is near W_order^order. The interval is for the Sinkhorn divergence of the distributions at this
    epsilon (del Barrio et al., 2023), so it does not know how far that is from W; the bias, of order 1/n, stays.
    See `sinkhorn` for the method and for the errors. Memory goes with (n + m)^2.
    """
    check_order(order)
    x, y = same_space(x, y, least=2)
    cost = distances(x, y).pow(order)
    if epsilon is None:
        epsilon = SHARE_OF_COST * float(cost.mean()) or 1.0
    p, q = (torch.full((len(one),), 1 / len(one), dtype=torch.float64) for one in (x, y))
    f, g = potentials(p, q, cost, epsilon)
    # A sample's influence on OT_e is its potential, and on OT_e(p, p) / 2 its own one.
    f = f - self_potential(p, distances(x, x).pow(order), epsilon)
    g = g - self_potential(q, distances(y, y).pow(order), epsilon)
    error = sqrt(float(f.var()) / len(x) + float(g.var()) / len(y))
    method = f"Sinkhorn divergence of |x - y|^{order:g}, epsilon {epsilon:.3g}"
    return _with_error(max(0.0, float(f.mean() + g.mean())), error, min(len(x), len(y)), method)


def energy_distance(x: Tensor, y: Tensor) -> Estimate:
    """2 E|x - y| - E|x - x'| - E|y - y'|, unbiased, so it can be below 0; without a root, which others take (Szekely and Rizzo, 2013)."""
    x, y = same_space(x, y, least=2)
    return _unbiased(x, y, kernels.negative_distance, "energy distance, unbiased")


def mmd_squared(x: Tensor, y: Tensor, bandwidth: float | None = None) -> Estimate:
    """The squared maximum mean discrepancy under exp(-d^2 / (2 bandwidth^2)), unbiased, so it can be below 0 (Gretton et al., 2012).

    bandwidth: the median distance of the points if None; state it, for another one makes another number.
    """
    x, y = same_space(x, y, least=2)
    if bandwidth is None:
        bandwidth = kernels.median_distance(x, y)
    return _unbiased(x, y, kernels.gaussian(bandwidth), f"squared MMD, unbiased, Gaussian kernel of bandwidth {bandwidth:.4g}")


def _unbiased(x: Tensor, y: Tensor, kernel: kernels.Kernel, method: str) -> Estimate:
    value, error = kernels.of_samples(x, y, kernel)
    return _with_error(value, error, min(len(x), len(y)), method)


def _with_error(value: float, error: float, count: int, method: str) -> Estimate:
    """The estimate of something from 0 on with this standard error."""
    if count < SMALLEST:
        return estimate(value, None, f"{method}; no interval below {SMALLEST} samples")
    return estimate(value, NORMAL * error, method, least=0.0)


def _of_distance(distance: Callable[[Tensor, Tensor], float], x: Tensor, y: Tensor, method: str) -> Estimate:
    """The estimate of a distance of distributions by that of samples, for one that obeys the triangle inequality.

    It is too high on average, by at most the mean distance of each sample from its distribution; and that is below the distance
    of two halves of the sample. How much it varies, tenths of the samples tell.
    """
    value, count = distance(x, y), min(len(x), len(y))
    if count < SMALLEST:
        return estimate(value, None, f"{method}; no interval below {SMALLEST} samples")
    bias = _between_halves(distance, x) + _between_halves(distance, y)
    return estimate(value, spread(distance, x, y), f"{method}; up to {bias:.2g} too high", bias=bias, least=0.0)


def _between_halves(distance: Callable[[Tensor, Tensor], float], x: Tensor) -> float:
    return distance(x[: len(x) // 2 * 2 : 2], x[1::2])


def spread(statistic: Callable[[Tensor, Tensor], float], x: Tensor, y: Tensor) -> float:
    """How far to each side an interval at 95% goes for the mean of a statistic of samples: from its values on tenths of them.

    The errors of tenths are taken as independent of each other, and that of the whole as 1 / sqrt 10 of theirs, as it is where
    a statistic is linear in the sample to first order; where it is not, errors fall faster, and the interval is too wide.
    """
    values = torch.tensor([statistic(x[i::BLOCKS], y[i::BLOCKS]) for i in range(BLOCKS)], dtype=torch.float64)
    return STUDENT * float(values.std()) / sqrt(BLOCKS)
