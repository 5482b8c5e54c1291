"""Mixtures of Gaussians: distributions with several peaks whose density is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi

import numpy as np
import torch
from torch import Tensor

from elegan.divergences.gaussian import Gaussian
from elegan.divergences.inputs import points, probabilities
from elegan.errors import DataError

TAILS = 8.0
"""Standard deviations from a peak within which its mass lies: all but 1e-15."""


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """weights (k,), means (k, d) and covariances (k, d, d), in float64; DataError unless they fit and the covariances are regular.

    Weights are divided by their sum. Points are (n, d), in one dimension (n,) too.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def __post_init__(self) -> None:
        weights, means, covariances = probabilities(self.weights), points(self.means), self.covariances.detach().cpu().double()
        k, d = means.shape
        if len(weights) != k or covariances.shape != (k, d, d):
            shapes = f"{tuple(self.weights.shape)}, {tuple(self.means.shape)} and {tuple(self.covariances.shape)}"
            raise DataError(f"a mixture has weights (k,), means (k, d) and covariances (k, d, d), got {shapes}.")
        for mean, covariance in zip(means, covariances, strict=True):
            if int(torch.linalg.cholesky_ex(Gaussian(mean, covariance).covariance)[1]):
                raise DataError("a mixture's covariances are regular; one of these is singular and has no density.")
        for name, value in (("weights", weights), ("means", means), ("covariances", covariances)):
            object.__setattr__(self, name, value)

    @property
    def dimension(self) -> int:
        return self.means.shape[1]

    def log_density(self, x: Tensor) -> Tensor:
        """(n,) float64."""
        triangles = torch.linalg.cholesky(self.covariances)
        apart = self._points(x).unsqueeze(0) - self.means.unsqueeze(1)  # (k, n, d)
        lengths = torch.linalg.solve_triangular(triangles, apart.mT, upper=False).square().sum(1)
        scale = triangles.diagonal(dim1=1, dim2=2).log().sum(1) + self.dimension * log(2 * pi) / 2
        logs: Tensor = torch.logsumexp((self.weights.log() - scale).unsqueeze(1) - lengths / 2, 0)
        return logs

    def density(self, x: Tensor) -> Tensor:
        """(n,) float64."""
        density: Tensor = self.log_density(x).exp()
        return density

    def cdf(self, x: Tensor) -> Tensor:
        """(n,) float64: the probability of a value of at most x; DataError above one dimension."""
        if self.dimension != 1:
            raise DataError(f"a distribution function is one of numbers; this mixture is of points in {self.dimension} dimensions.")
        below = torch.special.ndtr((self._points(x) - self.means[:, 0]) / self.covariances[:, 0, 0].sqrt())
        shares: Tensor = below @ self.weights
        return shares

    def sample(self, count: int, seed: int) -> Tensor:
        """(count, d) float64; point i depends on the seed and on i alone."""
        shares = np.random.default_rng([seed, 0]).random(count)
        parts = torch.searchsorted(self.weights.cumsum(0)[:-1], torch.from_numpy(shares), right=True)
        noise = torch.from_numpy(np.random.default_rng([seed, 1]).standard_normal((count, self.dimension)))
        drawn: Tensor = self.means[parts] + (torch.linalg.cholesky(self.covariances)[parts] @ noise.unsqueeze(2)).squeeze(2)
        return drawn

    def _points(self, x: Tensor) -> Tensor:
        """DataError for other points than this mixture's."""
        x = x.detach().cpu().double()
        if x.dim() == 1 and self.dimension == 1:
            x = x.unsqueeze(1)
        if x.dim() != 2 or x.shape[1] != self.dimension:
            raise DataError(f"this mixture has points (n, {self.dimension}), got {tuple(x.shape)}.")
        return x


def on_a_line(weights: Sequence[float], means: Sequence[float], stds: Sequence[float]) -> GaussianMixture:
    """The mixture in one dimension with these weights, means and standard deviations, one of each for every peak."""
    numbers = [torch.tensor(list(values), dtype=torch.float64) for values in (weights, means, stds)]
    return GaussianMixture(numbers[0], numbers[1].unsqueeze(1), numbers[2].square().reshape(-1, 1, 1))


def around(*mixtures: GaussianMixture) -> tuple[float, float]:
    """Numbers between which all but 1e-15 of these mixtures on a line lies: what `quadrature` asks for."""
    reaches = [(mixture.means[:, 0], TAILS * mixture.covariances[:, 0, 0].sqrt()) for mixture in mixtures]
    return min(float((mean - reach).min()) for mean, reach in reaches), max(float((mean + reach).max()) for mean, reach in reaches)


def ring(modes: int = 8, radius: float = 1.0, std: float = 0.01) -> GaussianMixture:
    """Equally frequent peaks around a circle, at even angles from 0; none is there twice, as where both 0 and 2 pi are taken."""
    angles = torch.arange(modes, dtype=torch.float64) * (2 * pi / modes)
    return alike(radius * torch.stack([angles.cos(), angles.sin()], 1), std)


def grid(side: int = 5, spacing: float = 2.0, std: float = 0.05) -> GaussianMixture:
    """side x side equally frequent peaks around the origin."""
    places = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
    return alike(torch.cartesian_prod(places, places), std)


def alike(means: Tensor, std: float) -> GaussianMixture:
    """Equally frequent peaks (k, d) of one standard deviation in all directions."""
    k, d = means.shape
    return GaussianMixture(torch.full((k,), 1 / k), means, (std**2 * torch.eye(d)).expand(k, d, d))
