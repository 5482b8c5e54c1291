"""Divergences of densities on a line, to 1e-8 or better, in nats where there are logarithms.

p and q are functions of float64 points (n,) that give log densities (n,), -inf where a density is 0: `GaussianMixture.log_density`, the
`log_prob` of a distribution of PyTorch, or your own. between: two numbers with most of both densities between them, such as
`mixtures.around`; integrals go over the whole line. DataError where p or q does not integrate to 1, to 1e-8: then a narrow peak was
missed, or it is no density. A value of inf is one that q (or p) of 0 makes, or above what float64 holds.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, sqrt

import torch
from torch import Tensor

from elegan.divergences.integrands import f_integrand, no_rounding_below_zero, overlap
from elegan.divergences.integration import POINTS, Panels, integrals
from elegan.divergences.line import check_order
from elegan.errors import DataError

LogDensity = Callable[[Tensor], Tensor]
Between = tuple[float, float]

STARTS = (64, 1024, 16384)
"""Panels to begin with: more where with fewer a density does not integrate to 1."""

WHOLE = 1e-8


def f_divergence(p: LogDensity, q: LogDensity, between: Between, name: str) -> float:
    """The integral of q f(p/q), for f of that name in `f_divergences.F_DIVERGENCES`; OptionError for another name.

    Mind its factors: "jensen_shannon" is twice the Jensen-Shannon divergence, "hellinger" the integral of (sqrt p - sqrt q)^2.
    """
    integrand = f_integrand(name)
    return no_rounding_below_zero(name, _integral(p, q, between, lambda grid, log_p, log_q: integrand(log_p, log_q)))


def kl(p: LogDensity, q: LogDensity, between: Between) -> float:
    """KL(p || q), the integral of p log(p / q)."""
    return f_divergence(p, q, between, "kl")


def reverse_kl(p: LogDensity, q: LogDensity, between: Between) -> float:
    """KL(q || p)."""
    return f_divergence(p, q, between, "reverse_kl")


def jeffreys(p: LogDensity, q: LogDensity, between: Between) -> float:
    """KL(p || q) + KL(q || p)."""
    return kl(p, q, between) + reverse_kl(p, q, between)


def jensen_shannon(p: LogDensity, q: LogDensity, between: Between) -> float:
    """KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2, from 0 to ln 2."""
    return f_divergence(p, q, between, "jensen_shannon") / 2


def jensen_shannon_distance(p: LogDensity, q: LogDensity, between: Between) -> float:
    """The root of the Jensen-Shannon divergence in nats; to 1e-4 only where both are nearly the same."""
    return sqrt(jensen_shannon(p, q, between))


def total_variation(p: LogDensity, q: LogDensity, between: Between) -> float:
    """Half the integral of |p - q|, from 0 to 1."""
    return f_divergence(p, q, between, "total_variation")


def squared_hellinger(p: LogDensity, q: LogDensity, between: Between) -> float:
    """1 - integral of sqrt(p q), from 0 to 1: half of what `f_divergence` calls "hellinger"."""
    return f_divergence(p, q, between, "hellinger") / 2


def bhattacharyya(p: LogDensity, q: LogDensity, between: Between) -> float:
    """-log of the integral of sqrt(p q); that integral is found to 1e-8, so a distance of 10 to 1e-3."""
    coefficient = _integral(p, q, between, lambda grid, log_p, log_q: overlap(log_p, log_q))
    return max(0.0, -log(coefficient)) if coefficient > 0 else inf


def pearson(p: LogDensity, q: LogDensity, between: Between) -> float:
    """The integral of (p - q)^2 / q."""
    return f_divergence(p, q, between, "pearson")


def neyman(p: LogDensity, q: LogDensity, between: Between) -> float:
    """The integral of (p - q)^2 / p."""
    return f_divergence(p, q, between, "neyman")


def wasserstein(p: LogDensity, q: LogDensity, between: Between, order: float = 1) -> float:
    """W_order: of order 1 the integral of |F - G|, for distribution functions F and G (Vallender, 1974).

    Of another order p it is the p-th root of the mean over x of |x - T(x)|^p, where T carries each quantile of p to that of q.
    """
    check_order(order)

    def cost(grid: Panels, log_p: Tensor, log_q: Tensor) -> Tensor:
        if order == 1:
            return grid.from_nearer_end(log_p.exp() - log_q.exp()).abs()
        return (grid.x - grid.transported(log_p.exp(), log_q.exp())).abs().pow(order) * log_p.exp()

    return float(max(0.0, _integral(p, q, between, cost)) ** (1 / order))


def energy_distance(p: LogDensity, q: LogDensity, between: Between) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'|: twice the integral of (F - G)^2, for distribution functions F and G (Szekely, 2003)."""
    return 2 * _integral(p, q, between, lambda grid, log_p, log_q: grid.from_nearer_end(log_p.exp() - log_q.exp()).square())


def _integral(p: LogDensity, q: LogDensity, between: Between, integrand: Callable[[Panels, Tensor, Tensor], Tensor]) -> float:
    def functions(grid: Panels) -> Tensor:
        log_p, log_q = _values(p, grid), _values(q, grid)
        return torch.stack([log_p.exp(), log_q.exp(), integrand(grid, log_p, log_q)])

    for panels in STARTS:
        of_p, of_q, value = integrals(functions, between, panels).tolist()
        if abs(of_p - 1) < WHOLE and abs(of_q - 1) < WHOLE:
            return float(value)
    raise DataError(
        f"between: p integrates to {of_p:.9g} and q to {of_q:.9g}, not to 1. Give log densities, and numbers close around both."
    )


def _values(log_density: LogDensity, grid: Panels) -> Tensor:
    found = log_density(grid.x.flatten()).detach().double()
    if found.shape != (grid.x.numel(),):
        raise DataError(f"a log density of points ({grid.x.numel()},) is of the same shape, got {tuple(found.shape)}.")
    return found.reshape(-1, POINTS)
