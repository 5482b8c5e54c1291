"""Divergences read off trained discriminators against exact values: 100,000 samples of each teach, 100,000 fresh ones give the reading.

Usage: python benchmarks/learned_divergences.py [ARM ...]

One core. Exact values: quadrature on a line. In the plane the distance of two shifted Gaussians; and for what is even all around, as
rings and a cloud are, the distance of the radii, as transport goes along rays. An arm w1-NAME is `wasserstein` as it is; w1-NAME-WEIGHT
a critic under a plain one-sided gradient penalty of that weight; a last number those updates instead of the usual ones.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from study import study

from elegan.divergences import quadrature
from elegan.divergences.estimate import Estimate
from elegan.divergences.mixtures import GaussianMixture, alike, around, on_a_line
from elegan.theory.learned import CriticEstimate, Lessons, critic_reading, jensen_shannon, taught_critic, wasserstein

COUNT = 100_000
PEAKS = on_a_line([0.7, 0.3], [-2.0, 1.5], [0.5, 0.8])
LINE: dict[str, tuple[GaussianMixture, GaussianMixture]] = {
    "apart": (on_a_line([1], [-1], [1]), on_a_line([1], [1], [1])),  # N(-1, 1) and N(1, 1)
    "wide": (on_a_line([1], [0], [1]), on_a_line([1], [0], [2])),  # N(0, 1) and N(0, 4)
    "peaks": (PEAKS, on_a_line([1], [0], [1.5])),
}


@dataclass(frozen=True)
class Pair:
    """p and q draw (n, d) by a seed."""

    p: Callable[[int, int], torch.Tensor]
    q: Callable[[int, int], torch.Tensor]
    exact: float


def on_the_line(name: str, divergence: Callable[..., float]) -> Pair:
    p, q = LINE[name]
    return Pair(p.sample, q.sample, divergence(p.log_density, q.log_density, around(p, q)))


def shifted(count: int, seed: int) -> torch.Tensor:
    return on_plane(count, seed) + torch.tensor([1.5, -2.0], dtype=torch.float64)


def on_plane(count: int, seed: int) -> torch.Tensor:
    cloud = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([[[1.0, 0.5], [0.5, 1.0]]]))
    return cloud.sample(count, seed)


def rings(radius: float) -> Callable[[int, int], torch.Tensor]:
    """Evenly around a ring whose radius is uniform within 0.2 of `radius`."""

    def draw(count: int, seed: int) -> torch.Tensor:
        shares = torch.rand(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        angles, lengths = 2 * torch.pi * shares[:, 0], radius - 0.2 + 0.4 * shares[:, 1]
        return torch.stack([angles.cos(), angles.sin()], 1) * lengths[:, None]

    return draw


def cloud(count: int, seed: int) -> torch.Tensor:
    return alike(torch.zeros(1, 2), 1.0).sample(count, seed)


THIN = on_a_line([1], [2], [0.2])
"""The radii of a ring that goes through the cloud: from inside it mass moves outwards, from outside inwards."""


def ring(count: int, seed: int) -> torch.Tensor:
    angles = 2 * torch.pi * torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.stack([angles.cos(), angles.sin()], 1) * THIN.sample(count, seed)


def radius_of_cloud(r: torch.Tensor) -> torch.Tensor:
    """The log density of a standard Gaussian's distance from the origin, in the plane."""
    return torch.where(r > 0, r.clamp(min=1e-300).log() - r.square() / 2, -torch.inf)


WEIGHTS = (10, 100)
PAIRS: dict[str, Callable[[], Pair]] = {
    "jsd-apart": lambda: on_the_line("apart", quadrature.jensen_shannon),
    "jsd-wide": lambda: on_the_line("wide", quadrature.jensen_shannon),
    "jsd-peaks": lambda: on_the_line("peaks", quadrature.jensen_shannon),
    "w1-apart": lambda: on_the_line("apart", quadrature.wasserstein),
    "w1-peaks": lambda: on_the_line("peaks", quadrature.wasserstein),
    "w1-plane": lambda: Pair(on_plane, shifted, 2.5),
    "w1-rings": lambda: Pair(rings(0.5), rings(1.5), 1.0),
    "w1-cloud": lambda: Pair(cloud, ring, quadrature.wasserstein(radius_of_cloud, THIN.log_density, (0.0, 6.0))),
}


ARMS = [*PAIRS, *(f"{name}-{weight}" for name in PAIRS if name.startswith("w1") for weight in WEIGHTS)]
ARMS += ["w1-cloud-own-6000", "w1-cloud-100-6000"]


def measure(arm: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    divergence, name, *settings = arm.split("-")
    pair, lessons = PAIRS[f"{divergence}-{name}"](), Lessons(seed=seed, steps=int(settings[1]) if settings[1:] else Lessons.steps)
    x, y, fresh_x, fresh_y = (draw(COUNT, 10 * seed + i) for i, draw in enumerate((pair.p, pair.q, pair.p, pair.q)))
    started, worked = time.perf_counter(), time.process_time()
    found: Estimate
    if divergence == "jsd":
        found = jensen_shannon(x, y, fresh=(fresh_x, fresh_y), lessons=lessons)
    elif settings and settings[0] != "own":
        found = critic_reading(taught_critic(x, y, float(settings[0]), lessons), fresh_x, fresh_y, "")
    else:
        found = wasserstein(x, y, fresh=(fresh_x, fresh_y), lessons=lessons)
    seconds = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - worked}
    more = {}
    if isinstance(found, CriticEstimate):
        more = {"raw": found.raw, "slope": found.slope, "raw_error": found.raw / pair.exact - 1}
    return {"exact": pair.exact, "read": found.value, "error": found.value / pair.exact - 1, "low": found.low, **more, **seconds}


if __name__ == "__main__":
    study("learned_divergences", sys.argv[1:] or ARMS, range(3), measure)
