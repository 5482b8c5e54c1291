"""The noise that a generator starts from, and the noise that a discriminator sees samples through."""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt
from typing import Literal

import torch
from torch import Tensor

from elegan.errors import OptionError
from elegan.randomness import Randomness

NoiseName = Literal["normal", "uniform", "truncated_normal"]
BOUND = 2.0
"""A truncated normal has nothing beyond two standard deviations."""


def draw(name: NoiseName, random: Randomness, size: int, stream: str = "latent") -> Tensor:
    """(n, size): standard normal, uniform in [-1, 1], or standard normal without what lies beyond `BOUND`. stream: what it is for."""
    if name == "normal":
        return random.normal(stream, size)
    shares = random.uniform(stream, size)
    if name == "uniform":
        return 2 * shares - 1
    inside = erf(BOUND / sqrt(2))
    return sqrt(2) * torch.erfinv(inside * (2 * shares - 1))


def truncate(name: NoiseName, noise: Tensor, truncation: float) -> Tensor:
    """Noise as if it had been drawn from less: nothing beyond 2 `truncation`, in the same order (Brock et al., 2019, section 3.1).

    Uniform noise is scaled. 1 changes nothing; there a normal one has all its values.
    """
    if truncation == 1:
        return noise
    if name == "uniform":
        return truncation * noise
    before = 1.0 if name == "normal" else erf(BOUND / sqrt(2))
    shares = torch.erf(noise.double() / sqrt(2)) / before  # evenly in [-1, 1]
    return (sqrt(2) * torch.erfinv(erf(truncation * BOUND / sqrt(2)) * shares)).to(noise.dtype)


NoiseFall = Literal["linear", "geometric"]
LEAST = 0.05
"""The part of its first strength to which noise falls by even factors, before it is gone."""


@dataclass(frozen=True)
class InstanceNoise:
    """Normal noise on all that the discriminator sees (Sonderby et al., 2017); OptionError for a share that is none.

    It falls from the standard deviation `start` until the share `until` of the training is done, and then there is none. "linear"
    spends most of the time on coarse shapes, "geometric" as much on each scale.
    """

    start: float = 0.0
    until: float = 1.0
    fall: NoiseFall = "linear"

    def __post_init__(self) -> None:
        if not 0 < self.until <= 1:
            raise OptionError(f"--instance-noise-until: got {self.until}, expected a share above 0 and up to 1.")

    def std(self, progress: float) -> float:
        """Its standard deviation when this share of the training is done."""
        share = progress / self.until
        if share >= 1:
            return 0.0
        return self.start * (LEAST**share if self.fall == "geometric" else 1 - share)


NO_NOISE = InstanceNoise()
