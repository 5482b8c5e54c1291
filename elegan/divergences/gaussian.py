"""Divergences of two Gaussians in closed form, in any dimension, in nats where there are logarithms.

The Jensen-Shannon divergence has none, total variation only for equal covariances, W1 on a line or for equal covariances: on a line
`quadrature` has the others. A covariance that is singular has no density, so only Wasserstein distances take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, expm1, inf, pi, sqrt

import torch
from torch import Tensor

from elegan.errors import DataError, OptionError

SYMMETRIC = 1e-8
"""How far from symmetric, or below 0, a covariance may be by rounding, relative to its largest number."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """mean (d,) and covariance (d, d), in float64; DataError unless they fit and the covariance is one."""

    mean: Tensor
    covariance: Tensor

    def __post_init__(self) -> None:
        for name in ("mean", "covariance"):
            object.__setattr__(self, name, torch.as_tensor(getattr(self, name)).detach().cpu().double())
        d = len(self.mean) if self.mean.dim() == 1 else 0
        if d == 0 or self.covariance.shape != (d, d):
            shapes = f"{tuple(self.mean.shape)} and {tuple(self.covariance.shape)}"
            raise DataError(f"a Gaussian has a mean (d,) and a covariance (d, d), got {shapes}.")
        if not (self.mean.isfinite().all() and self.covariance.isfinite().all()):
            raise DataError("a Gaussian's mean and covariance are finite; got NaN or infinity.")
        limit = SYMMETRIC * float(self.covariance.abs().max())
        if (self.covariance - self.covariance.T).abs().max() > limit or torch.linalg.eigvalsh(self.covariance).min() < -limit:
            raise DataError("a Gaussian's covariance is symmetric and has no negative eigenvalue; this one is no covariance.")


def normal(mean: float, std: float) -> Gaussian:
    """The Gaussian on a line with this mean and standard deviation."""
    return Gaussian(torch.tensor([mean], dtype=torch.float64), torch.tensor([[std]], dtype=torch.float64).square())


def kl(p: Gaussian, q: Gaussian) -> float:
    """(tr Q^-1 P + d' Q^-1 d - k + log det Q / det P) / 2, for covariances P and Q and means d apart."""
    check_dimensions(p, q)
    of_p, of_q = _triangle(p.covariance), _triangle(q.covariance)
    spread = torch.linalg.solve_triangular(of_q, of_p, upper=False).square().sum()
    value = spread + _squared_length(p.mean - q.mean, of_q) - len(p.mean) + _log_determinant(of_q) - _log_determinant(of_p)
    return max(0.0, float(value) / 2)


def reverse_kl(p: Gaussian, q: Gaussian) -> float:
    """KL(q || p)."""
    return kl(q, p)


def jeffreys(p: Gaussian, q: Gaussian) -> float:
    """KL(p || q) + KL(q || p)."""
    return kl(p, q) + kl(q, p)


def bhattacharyya(p: Gaussian, q: Gaussian) -> float:
    """-log of the integral of sqrt(p q): d' M^-1 d / 8 + log(det M / sqrt(det P det Q)) / 2, M the mean of the covariances P and Q."""
    check_dimensions(p, q)
    middle = _triangle((p.covariance + q.covariance) / 2)
    logs = [_log_determinant(_triangle(one.covariance)) for one in (p, q)]
    value = _squared_length(p.mean - q.mean, middle) / 8 + (_log_determinant(middle) - (logs[0] + logs[1]) / 2) / 2
    return max(0.0, float(value))


def squared_hellinger(p: Gaussian, q: Gaussian) -> float:
    """1 - integral of sqrt(p q), from 0 to 1."""
    return -expm1(-bhattacharyya(p, q))


def pearson(p: Gaussian, q: Gaussian) -> float:
    """The integral of (p - q)^2 / q; inf unless 2 Q - P is positive definite, for covariances P and Q.

    1 + it is the integral of p^2 / q, of one more Gaussian: det Q / sqrt(det P det(2 Q - P)) exp(d' (2 Q - P)^-1 d), means d apart.
    """
    check_dimensions(p, q)
    of_p, of_q = _triangle(p.covariance), _triangle(q.covariance)
    rest, failed = torch.linalg.cholesky_ex(2 * q.covariance - p.covariance)
    if int(failed):
        return inf
    logs = [_log_determinant(triangle) for triangle in (of_p, of_q, rest)]
    exponent = logs[1] - (logs[0] + logs[2]) / 2 + _squared_length(p.mean - q.mean, rest)
    return max(0.0, float(torch.expm1(exponent)))


def neyman(p: Gaussian, q: Gaussian) -> float:
    """The integral of (p - q)^2 / p."""
    return pearson(q, p)


def total_variation(p: Gaussian, q: Gaussian) -> float:
    """2 Phi(r / 2) - 1 for means r apart, measured by the common covariance; DataError where covariances differ."""
    check_dimensions(p, q)
    if not _equal_covariances(p, q):
        raise DataError("total variation of Gaussians has a closed form for equal covariances; take `quadrature` on a line.")
    apart = sqrt(float(_squared_length(p.mean - q.mean, _triangle(p.covariance))))
    return erf(apart / sqrt(8))


def wasserstein(p: Gaussian, q: Gaussian, order: int = 1) -> float:
    """W1 where it has a closed form, or W2, by Euclidean distance; covariances may be singular.

    W2^2 = |d|^2 + tr(P + Q - 2 (P Q)^(1/2)) (Dowson and Landau, 1982), for covariances P and Q and means d apart. On a line W1 is the
    mean of |d + s Z|, s the difference of the standard deviations and Z normal; for equal covariances it is |d|.
    OptionError for another order, DataError for W1 elsewhere.
    """
    check_dimensions(p, q)
    if order == 2:
        return sqrt(_squared_wasserstein(p, q))
    if order != 1:
        raise OptionError(f"order: got {order}; closed forms are for 1 and 2.")
    apart = p.mean - q.mean
    if len(apart) == 1:
        return _mean_size(float(apart), float(p.covariance.sqrt() - q.covariance.sqrt()))
    if not _equal_covariances(p, q):
        raise DataError("W1 of Gaussians has a closed form on a line or for equal covariances; take order 2, or samples.")
    return float(apart.norm())


def _squared_wasserstein(p: Gaussian, q: Gaussian) -> float:
    # tr (P Q)^(1/2) is the sum of the singular values of A'B for P = AA', Q = BB'.
    traces = p.covariance.trace() + q.covariance.trace()
    shared = torch.linalg.svdvals(_root(p.covariance).T @ _root(q.covariance)).sum()
    return max(0.0, float((p.mean - q.mean).square().sum() + traces - 2 * shared))


def _mean_size(mean: float, std: float) -> float:
    """E|x| of a normal x: the mean of a folded normal distribution (Leone et al., 1961)."""
    if std == 0:
        return abs(mean)
    ratio = mean / (sqrt(2) * std)
    return abs(std) * sqrt(2 / pi) * exp(-(ratio**2)) + mean * erf(mean / (sqrt(2) * abs(std)))


def check_dimensions(p: Gaussian, q: Gaussian) -> None:
    """DataError where they are of unlike dimensions."""
    if len(p.mean) != len(q.mean):
        raise DataError(f"Gaussians in {len(p.mean)} and in {len(q.mean)} dimensions cannot be compared.")


def _equal_covariances(p: Gaussian, q: Gaussian) -> bool:
    return torch.allclose(p.covariance, q.covariance, rtol=1e-12, atol=1e-14 * float(p.covariance.abs().max()))


def _triangle(covariance: Tensor) -> Tensor:
    """L with LL' = covariance; DataError where it is singular."""
    triangle: Tensor
    triangle, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        raise DataError(
            "the covariance is singular, so there is no density; of such Gaussians only Wasserstein distances are defined here."
        )
    return triangle


def _root(covariance: Tensor) -> Tensor:
    """A with AA' = covariance, which may be singular."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    return root


def _log_determinant(triangle: Tensor) -> Tensor:
    half: Tensor = triangle.diagonal().log().sum()
    return 2 * half


def _squared_length(vector: Tensor, triangle: Tensor) -> Tensor:
    """v' S^-1 v for S = LL'."""
    squares: Tensor = torch.linalg.solve_triangular(triangle, vector.unsqueeze(1), upper=False).square()
    return squares.sum()
