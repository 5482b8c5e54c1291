"""Divergences of distributions over k outcomes, exact up to rounding, in nats where there are logarithms.

p and q are tensors (k,) of probabilities or of counts, and both are divided by their sums. DataError where they are of
another shape, empty, negative, not finite, or all 0. Where q is 0 and p is not, KL, Jeffreys and Pearson's chi-square are
inf, where p is 0 and q is not, reverse KL, Jeffreys and Neyman's; the others are finite. With no outcome in common Jensen-Shannon
is ln 2, total variation and squared Hellinger are 1, and the Bhattacharyya distance is inf.
"""

from __future__ import annotations

from math import inf, log, sqrt

from torch import Tensor

from elegan.divergences.inputs import distances, points, same_outcomes
from elegan.divergences.integrands import f_integrand, no_rounding_below_zero, overlap
from elegan.divergences.kernels import gaussian, negative_distance, of_weights
from elegan.divergences.line import check_order, weighted_cost
from elegan.divergences.transport import optimal_cost
from elegan.errors import DataError


def f_divergence(p: Tensor, q: Tensor, name: str) -> float:
    """sum q f(p/q), for f of that name in `f_divergences.F_DIVERGENCES`; OptionError for another name.

    Mind its factors: "jensen_shannon" is twice the Jensen-Shannon divergence, "hellinger" the sum of (sqrt p - sqrt q)^2.
    """
    integrand, (p, q) = f_integrand(name), same_outcomes(p, q)
    return no_rounding_below_zero(name, float(integrand(p.log(), q.log()).sum()))


def kl(p: Tensor, q: Tensor) -> float:
    """KL(p || q), the sum of p log(p / q)."""
    return f_divergence(p, q, "kl")


def reverse_kl(p: Tensor, q: Tensor) -> float:
    """KL(q || p)."""
    return f_divergence(p, q, "reverse_kl")


def jeffreys(p: Tensor, q: Tensor) -> float:
    """KL(p || q) + KL(q || p)."""
    return kl(p, q) + reverse_kl(p, q)


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2, from 0 to ln 2 (Lin, 1991)."""
    return f_divergence(p, q, "jensen_shannon") / 2


def jensen_shannon_distance(p: Tensor, q: Tensor) -> float:
    """The root of the Jensen-Shannon divergence in nats: a metric (Endres and Schindelin, 2003)."""
    return sqrt(jensen_shannon(p, q))


def bits(nats: float) -> float:
    """Nats in bits."""
    return nats / log(2)


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the sum of |p - q|, from 0 to 1: the most by which a probability differs."""
    return f_divergence(p, q, "total_variation")


def squared_hellinger(p: Tensor, q: Tensor) -> float:
    """1 - sum sqrt(p q), from 0 to 1: half of what `f_divergence` calls "hellinger"."""
    return f_divergence(p, q, "hellinger") / 2


def bhattacharyya(p: Tensor, q: Tensor) -> float:
    """-log of sum sqrt(p q), the Bhattacharyya distance."""
    p, q = same_outcomes(p, q)
    coefficient = float(overlap(p.log(), q.log()).sum())
    return max(0.0, -log(coefficient)) if coefficient > 0 else inf


def pearson(p: Tensor, q: Tensor) -> float:
    """The sum of (p - q)^2 / q."""
    return f_divergence(p, q, "pearson")


def neyman(p: Tensor, q: Tensor) -> float:
    """The sum of (p - q)^2 / p."""
    return f_divergence(p, q, "neyman")


def wasserstein(p: Tensor, q: Tensor, positions: Tensor, order: float = 1) -> float:
    """W_order, the root of the least mean |x - y|^order, for outcomes at positions (k,) on a line, or (k, d) by Euclidean distance.

    On a line any k will do; for points it is a linear program, see `transport.optimal_cost`, which takes other costs too.
    """
    (p, q), places = same_outcomes(p, q), _places(p, positions)
    check_order(order)
    if places.shape[1] == 1:
        cost = weighted_cost(p, places[:, 0], q, places[:, 0], order)
    else:
        cost = optimal_cost(p, q, distances(places, places).pow(order))
    return float(max(0.0, cost) ** (1 / order))


def energy_distance(p: Tensor, q: Tensor, positions: Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| for outcomes at positions (k,) or (k, d), without a root, which others take."""
    p, q = same_outcomes(p, q)
    return of_weights(p, q, _places(p, positions), negative_distance)


def mmd_squared(p: Tensor, q: Tensor, positions: Tensor, bandwidth: float) -> float:
    """The squared maximum mean discrepancy under exp(-d^2 / (2 bandwidth^2)), for outcomes at positions (k,) or (k, d)."""
    p, q = same_outcomes(p, q)
    return of_weights(p, q, _places(p, positions), gaussian(bandwidth))


def _places(p: Tensor, positions: Tensor) -> Tensor:
    places = points(positions)
    if len(places) != len(p):
        raise DataError(f"positions: got {len(places)} for {len(p)} outcomes; each outcome has one.")
    return places
