"""Fully connected networks: the classic GAN on small pictures (Goodfellow et al., 2014), and points of any dimension."""

from __future__ import annotations

from itertools import pairwise
from math import log, pi, prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.networks.conditions import NOTHING, Conditions, DiscriminatorCondition, GeneratorCondition, ToldDiscriminator, speak_softly
from elegan.networks.layers import Norm

ActivationName = Literal["leaky_relu", "relu"]


def layers(size_in: int, width: int, depth: int, activation: ActivationName) -> list[nn.Module]:
    """`depth` linear layers of `width` units, each with LeakyReLU 0.2 or ReLU: (n, size_in) -> (n, width)."""
    modules: list[nn.Module] = []
    for pair in pairwise([size_in, *[width] * depth]):
        modules += [nn.Linear(*pair), nn.ReLU() if activation == "relu" else nn.LeakyReLU(0.2)]
    return modules


class Waves(nn.Module):
    """x (n, d) -> (n, d + 2 count): x, and sines and cosines of its projections (Tancik et al., 2020, section 5).

    Their directions are random, their wavelengths spread evenly in the logarithm from `LONGEST` to `SHORTEST`, so that details of
    each size are seen by some. They do not learn.
    """

    directions: Tensor

    def __init__(self, size_in: int, count: int) -> None:
        super().__init__()
        frequencies = torch.linspace(log(2 * pi / LONGEST), log(2 * pi / SHORTEST), count).exp()
        self.register_buffer("directions", F.normalize(torch.randn(size_in, count), dim=0) * frequencies)

    def forward(self, x: Tensor) -> Tensor:
        angles = x @ self.directions
        return torch.cat([x, angles.sin(), angles.cos()], dim=1)


LONGEST, SHORTEST = 4 * pi, 0.2
"""Wavelengths, in standard deviations of the data: from longer than all of it to the size of one peak among many."""


class MLPGenerator(nn.Module):
    """Noise (n, latent) and condition -> sample (n, c, h, w); in [-1, 1] if `bounded`, as pictures are.

    The condition is joined to the noise (Mirza and Osindero, 2014). depth: hidden layers, of `width` units each.
    """

    embedding: nn.Module

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int = 100,
        width: int = 256,
        depth: int = 1,
        activation: ActivationName = "leaky_relu",
        bounded: bool = True,
        conditions: Conditions = NOTHING,
        told: GeneratorCondition = "concatenate",
    ) -> None:
        super().__init__()
        if conditions and told == "batch_norm":
            raise OptionError("a generator without batch norm cannot be told the condition by batch norm; use told='concatenate'.")
        self.latent, self.shape, self.bounded, self.told = latent, shape, bounded, bool(conditions)
        self.body = nn.Sequential(*layers(latent * (2 if conditions else 1), width, depth, activation), nn.Linear(width, prod(shape)))
        if conditions:
            self.embedding = conditions.features(latent)
            speak_softly(self.embedding)

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.told:
            noise = torch.cat([noise, self.embedding(condition)], dim=1)
        samples: Tensor = self.body(noise)
        return (samples.tanh() if self.bounded else samples).view(-1, *self.shape)


class MLPDiscriminator(ToldDiscriminator):
    """Sample (n, c, h, w) and condition -> logit (n,); see ToldDiscriminator for what it may be told, and how.

    waves: sines and as many cosines of the sample that it sees beside it.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 256,
        depth: int = 1,
        activation: ActivationName = "leaky_relu",
        waves: int = 0,
        conditions: Conditions = NOTHING,
        told: DiscriminatorCondition = "concatenate",
        norm: Norm = "none",
    ) -> None:
        if norm == "batch":
            raise OptionError("the fully connected discriminator has no batch norm; its norm is 'spectral' or 'none'.")
        super().__init__(shape, conditions, told, map_channels=width, num_features=width)
        size_in = self.in_channels * shape[1] * shape[2]
        looking = [nn.Flatten(), Waves(size_in, waves)] if waves else [nn.Flatten()]
        hidden = layers(size_in + 2 * waves, width, depth, activation)
        self.blocks = nn.Sequential(*looking, *hidden, nn.Unflatten(1, (width, 1, 1)))
        self.head = nn.Linear(width, 1)
        if norm == "spectral":
            self.normalise_spectra()

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.flatten(1)
