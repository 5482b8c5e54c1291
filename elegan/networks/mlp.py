"""Fully connected networks: the classic GAN on small pictures (Goodfellow et al., 2014), and points of any dimension."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.networks.conditions import NOTHING, Conditions, DiscriminatorCondition, GeneratorCondition, ToldDiscriminator, speak_softly
from elegan.networks.layers import Norm


def layers(size_in: int, width: int, depth: int) -> list[nn.Module]:
    """`depth` linear layers of `width` units, each with LeakyReLU 0.2: (n, size_in) -> (n, width)."""
    modules: list[nn.Module] = []
    for pair in pairwise([size_in, *[width] * depth]):
        modules += [nn.Linear(*pair), nn.LeakyReLU(0.2)]
    return modules


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
        bounded: bool = True,
        conditions: Conditions = NOTHING,
        told: GeneratorCondition = "concatenate",
    ) -> None:
        super().__init__()
        if conditions and told == "batch_norm":
            raise OptionError("a generator without batch norm cannot be told the condition by batch norm; use told='concatenate'.")
        self.latent, self.shape, self.bounded, self.told = latent, shape, bounded, bool(conditions)
        self.body = nn.Sequential(*layers(latent * (2 if conditions else 1), width, depth), nn.Linear(width, prod(shape)))
        if conditions:
            self.embedding = conditions.features(latent)
            speak_softly(self.embedding)

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.told:
            noise = torch.cat([noise, self.embedding(condition)], dim=1)
        samples: Tensor = self.body(noise)
        return (samples.tanh() if self.bounded else samples).view(-1, *self.shape)


class MLPDiscriminator(ToldDiscriminator):
    """Sample (n, c, h, w) and condition -> logit (n,); see ToldDiscriminator for what it may be told, and how."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 256,
        depth: int = 1,
        conditions: Conditions = NOTHING,
        told: DiscriminatorCondition = "concatenate",
        norm: Norm = "none",
    ) -> None:
        if norm == "batch":
            raise OptionError("the fully connected discriminator has no batch norm; its norm is 'spectral' or 'none'.")
        super().__init__(shape, conditions, told, map_channels=width, num_features=width)
        size_in = self.in_channels * shape[1] * shape[2]
        self.blocks = nn.Sequential(nn.Flatten(), *layers(size_in, width, depth), nn.Unflatten(1, (width, 1, 1)))
        self.head = nn.Linear(width, 1)
        if norm == "spectral":
            self.normalise_spectra()

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.flatten(1)
