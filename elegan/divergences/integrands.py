"""What each f-divergence sums over outcomes or integrates over points: q f(p/q), from log p and log q.

Logarithms, because densities far out are below what float64 holds and still decide. -inf is the logarithm of 0, and limits hold
there: p f'(inf) where q is 0, q f(0) where p is 0, and 0 where both are.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log

import torch
from torch import Tensor

from elegan.errors import OptionError, nearest

Integrand = Callable[[Tensor, Tensor], Tensor]


def log_ratio(log_p: Tensor, log_q: Tensor) -> Tensor:
    """log p/q, and 0 where both are 0."""
    return torch.where(log_p == log_q, 0.0, log_p - log_q)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    return _unbounded(torch.where(log_p == -inf, 0.0, log_p.exp() * log_ratio(log_p, log_q)), log_p, log_q)


def pearson(log_p: Tensor, log_q: Tensor) -> Tensor:
    """(p - q)^2 / q."""
    ratio = log_ratio(log_p, log_q)
    log_square = 2 * (ratio.clamp(min=0) + torch.log(-torch.expm1(-ratio.abs())))  # of p/q - 1
    return _unbounded((log_q + log_square).exp(), log_p, log_q)


def hellinger(log_p: Tensor, log_q: Tensor) -> Tensor:
    return ((log_p / 2).exp() - (log_q / 2).exp()).square()


def total_variation(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() - log_q.exp()).abs() / 2


def gan(log_p: Tensor, log_q: Tensor) -> Tensor:
    """p log(p / (p + q)) + q log(q / (p + q))."""
    return -_surprise(log_p, log_q) - _surprise(log_q, log_p)


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    return gan(log_p, log_q) + log(2) * (log_p.exp() + log_q.exp())


def overlap(log_p: Tensor, log_q: Tensor) -> Tensor:
    """sqrt(p q): no f-divergence, but what the Bhattacharyya coefficient sums."""
    return ((log_p + log_q) / 2).exp()


def _surprise(log_p: Tensor, log_q: Tensor) -> Tensor:
    """-p log(p / (p + q))."""
    ratio = log_ratio(log_p, log_q)
    return torch.where(log_p == -inf, 0.0, log_p.exp() * torch.logaddexp(torch.zeros_like(ratio), -ratio))


def _unbounded(values: Tensor, log_p: Tensor, log_q: Tensor) -> Tensor:
    """`values`, but inf where q is 0 and p is not."""
    return torch.where((log_q == -inf) & (log_p > -inf), inf, values)


F_INTEGRANDS: dict[str, Integrand] = {
    "kl": kl,
    "reverse_kl": lambda log_p, log_q: kl(log_q, log_p),
    "pearson": pearson,
    "neyman": lambda log_p, log_q: pearson(log_q, log_p),
    "hellinger": hellinger,
    "jensen_shannon": jensen_shannon,
    "gan": gan,
    "total_variation": total_variation,
}
"""By the names of `f_divergences.F_DIVERGENCES`."""


def f_integrand(name: str) -> Integrand:
    """The integrand of this name; OptionError with the nearest name if there is none."""
    if name not in F_INTEGRANDS:
        raise OptionError(f"f-divergence: got {name!r}. {nearest(name, F_INTEGRANDS)}")
    return F_INTEGRANDS[name]


def no_rounding_below_zero(name: str, value: float) -> float:
    """All but `gan` are at least 0."""
    return value if name == "gan" else max(0.0, value)
