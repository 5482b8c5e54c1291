"""The divergences that `compare` sets side by side, and what can be found of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import inf, isfinite, sqrt

import numpy as np
import torch
from torch import Tensor

from elegan.divergences import discrete, gaussian, quadrature
from elegan.divergences.gaussian import normal
from elegan.divergences.mixtures import around, on_a_line

BANDWIDTH = 1.0
"""Of the kernel of MMD."""

FAR = 8.0
"""How far apart two Gaussians are, in standard deviations, that hardly overlap."""

STEP = 0.01
"""By which slopes are taken: finer ones lose the digits of slopes near 0, coarser ones those of steep curves."""

SAMPLES = 200
TRIPLES, ROUNDING = 100, 1e-9
"""Triples of distributions on which the triangle inequality is tried, and by how much rounding may break it."""


@dataclass(frozen=True)
class Measure:
    """One of the divergences. exact: of probabilities p and q (k,) at positions (k,). of_normals: of two Gaussians of standard
    deviation 1, by the distance of their means. used: where GANs use it."""

    name: str
    exact: Callable[[Tensor, Tensor, Tensor], float]
    of_normals: Callable[[float], float]
    used: str


def placeless(divergence: Callable[[Tensor, Tensor], float]) -> Callable[[Tensor, Tensor, Tensor], float]:
    return lambda p, q, positions: divergence(p, q)


def closed(divergence: Callable[[gaussian.Gaussian, gaussian.Gaussian], float]) -> Callable[[float], float]:
    return lambda apart: divergence(normal(0, 1), normal(apart, 1))


def integrated(divergence: Callable[..., float]) -> Callable[[float], float]:
    def of_normals(apart: float) -> float:
        p, q = on_a_line([1], [0], [1]), on_a_line([1], [apart], [1])
        return divergence(p.log_density, q.log_density, around(p, q))

    return of_normals


def mmd_of_normals(apart: float) -> float:
    """By densities at even places: of what is so smooth, their sum is the integral to rounding."""
    places = torch.arange(-8, 8 + apart, 0.1, dtype=torch.float64)
    p, q = (on_a_line([1], [mean], [1]).density(places) for mean in (0, apart))
    return discrete.mmd_squared(p, q, places, BANDWIDTH)


MEASURES = (
    Measure("KL(P||Q)", placeless(discrete.kl), closed(gaussian.kl), "f-GAN; what likelihood lowers"),
    Measure("KL(Q||P)", placeless(discrete.reverse_kl), closed(gaussian.reverse_kl), "f-GAN"),
    Measure("Jensen-Shannon", placeless(discrete.jensen_shannon), integrated(quadrature.jensen_shannon), "the original GAN"),
    Measure("total variation", placeless(discrete.total_variation), closed(gaussian.total_variation), "EBGAN; the hinge's discriminator"),
    Measure("squared Hellinger", placeless(discrete.squared_hellinger), closed(gaussian.squared_hellinger), "f-GAN"),
    Measure("Pearson chi-square", placeless(discrete.pearson), closed(gaussian.pearson), "LSGAN, against a mixture; f-GAN"),
    Measure("Neyman chi-square", placeless(discrete.neyman), closed(gaussian.neyman), "f-GAN"),
    Measure("Wasserstein-1", discrete.wasserstein, closed(gaussian.wasserstein), "WGAN, WGAN-GP"),
    Measure(
        "Wasserstein-2",
        lambda p, q, places: discrete.wasserstein(p, q, places, 2),
        closed(lambda p, q: gaussian.wasserstein(p, q, 2)),
        "WGAN-QC; FID, of features",
    ),
    Measure("energy distance", discrete.energy_distance, integrated(quadrature.energy_distance), "Cramer GAN"),
    Measure(
        "squared MMD",
        lambda p, q, places: discrete.mmd_squared(p, q, places, BANDWIDTH),
        mmd_of_normals,
        "GMMN, MMD GAN; KID, another kernel",
    ),
)


@dataclass(frozen=True)
class Study:
    """What was found of one divergence. metric: "itself", "its root" or "no". disjoint: of two points 2 and 4 apart. of_one: of
    two samples of one distribution. slopes: of two Gaussians 1 and `FAR` apart."""

    measure: Measure
    symmetric: bool
    metric: str
    least: float
    largest: float
    disjoint: tuple[float, float]
    of_one: float
    slopes: tuple[float, float]

    @property
    def tells_how_far(self) -> bool:
        return isfinite(self.disjoint[0]) and self.disjoint[1] > self.disjoint[0] * (1 + ROUNDING)

    @property
    def needs(self) -> str:
        """Samples say nothing where those of one distribution look as unlike as can be."""
        return "densities" if self.of_one >= self.largest * (1 - ROUNDING) else "samples"


def study(measure: Measure) -> Study:
    same = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    near, far = (of_points(measure, distance) for distance in (1e6, 2e6))
    return Study(
        measure,
        symmetric=is_symmetric(measure),
        metric="itself" if is_metric(measure, lambda d: d) else "its root" if is_metric(measure, sqrt) else "no",
        least=measure.exact(same, same, torch.arange(3)),
        largest=near if near == far else inf,
        disjoint=(of_points(measure, 2), of_points(measure, 4)),
        of_one=of_two_samples(measure),
        slopes=(slope(measure, 1), slope(measure, FAR)),
    )


def of_points(measure: Measure, distance: float) -> float:
    p, q = torch.eye(2, dtype=torch.float64)
    return measure.exact(p, q, torch.tensor([0, distance]))


def of_two_samples(measure: Measure) -> float:
    """Of two samples of one Gaussian, each point as likely as the others of its sample."""
    first = torch.arange(2 * SAMPLES) < SAMPLES
    return measure.exact(first.double(), (~first).double(), on_a_line([1], [0], [1]).sample(2 * SAMPLES, seed=0).flatten())


@cache
def triples() -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
    """Distributions over three outcomes; in every second triple the middle one is half the first and half the last."""
    drawn = torch.from_numpy(np.random.default_rng(0).dirichlet([1, 1, 1], (TRIPLES, 3)))
    return tuple((p, (p + q) / 2 if i % 2 else m, q) for i, (p, m, q) in enumerate(drawn))


def is_symmetric(measure: Measure) -> bool:
    p, _, q = triples()[0]
    there, back = measure.exact(p, q, torch.arange(3)), measure.exact(q, p, torch.arange(3))
    return abs(there - back) < ROUNDING


def is_metric(measure: Measure, root: Callable[[float], float]) -> bool:
    """Whether it is symmetric and no triple breaks the triangle inequality; that none ever does is not seen by trying."""

    def length(p: Tensor, q: Tensor) -> float:
        return root(measure.exact(p, q, torch.arange(3)))

    return is_symmetric(measure) and all(length(p, q) <= length(p, m) + length(m, q) + ROUNDING for p, m, q in triples())


def slope(measure: Measure, apart: float) -> float:
    """By how much it grows while two Gaussians part, by five points."""
    ahead, behind = ([measure.of_normals(apart + sign * k * STEP) for k in (1, 2)] for sign in (1, -1))
    return (8 * (ahead[0] - behind[0]) - (ahead[1] - behind[1])) / (12 * STEP)
