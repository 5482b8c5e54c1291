"""The networks of DCGAN (Radford et al., 2016) for any size from 8 to 1024, with or without a condition.

Sizes that are no 4 * 2^k: the generator starts from a map just large enough, and the result is cropped to the size.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil, log2
from typing import Literal

import torch
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.networks.conditions import (
    NOTHING,
    ConditionalBatchNorm2d,
    Conditions,
    DiscriminatorCondition,
    GeneratorCondition,
    ToldDiscriminator,
    ToldSequential,
    speak_softly,
)
from elegan.networks.layers import BatchNorm2d, CentreCrop, Norm, initialise_normal
from elegan.networks.strided import StridedConv2d, StridedConvTranspose2d


def num_doublings(height: int, width: int) -> int:
    """How often the generator doubles its map: 64 -> 4 (from 4x4), 28 -> 2 (from 7x7), 8 -> 2 (from 2x2)."""
    return max(2, int(log2(min(height, width) / 4)))


def smallest_map(height: int, image_width: int) -> tuple[int, int]:
    """Height and width of the map that the generator begins with: no smaller than what the crop needs."""
    scale = 2 ** num_doublings(height, image_width)
    return ceil(height / scale), ceil(image_width / scale)


def stage_widths(width: int, widest: int, stages: int) -> list[int]:
    """Channels of each stage from the smallest map to the largest: `width` on the largest, twice as many on each smaller, up to
    `widest`."""
    return [min(widest, width * 2**i) for i in reversed(range(stages))]


def widths(width: int, doublings: int) -> list[int]:
    """Channels from the smallest map to the largest: they halve as the map doubles, and are at most 8 times `width`."""
    return [width * min(2**i, 8) for i in reversed(range(doublings))]


class DCGANGenerator(nn.Module):
    """Noise (n, latent) and condition -> sample (n, c, h, w) in [-1, 1].

    The condition is joined to the noise (Mirza and Osindero, 2014) or given to every batch norm.
    """

    embedding: nn.Module

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int = 100,
        width: int = 64,
        conditions: Conditions = NOTHING,
        told: GeneratorCondition = "concatenate",
        norm: Literal["batch", "none"] = "batch",
    ) -> None:
        super().__init__()
        if conditions and told == "batch_norm" and norm == "none":
            raise OptionError("a generator without batch norm cannot be told the condition by batch norm; use told='concatenate'.")
        channels, height, image_width = shape
        doublings = num_doublings(height, image_width)
        sizes = widths(width, doublings)
        self.latent = latent
        self.base = sizes[0], ceil(height / 2**doublings), ceil(image_width / 2**doublings)
        self.concatenates = bool(conditions) and told == "concatenate"
        if self.concatenates:
            self.embedding = conditions.features(latent)

        def norm_layer(size: int) -> nn.Module:
            if norm == "none":
                return nn.Identity()
            return ConditionalBatchNorm2d(size, conditions) if conditions and told == "batch_norm" else BatchNorm2d(size)

        first = self.base[0] * self.base[1] * self.base[2]
        self.project = nn.Linear(latent * (2 if self.concatenates else 1), first, bias=norm == "none")
        blocks: list[nn.Module] = [norm_layer(sizes[0]), nn.ReLU(inplace=True)]
        for size_in, size_out in pairwise(sizes):
            convolution = StridedConvTranspose2d(size_in, size_out, bias=norm == "none")
            blocks += [convolution, norm_layer(size_out), nn.ReLU(inplace=True)]
        blocks += [StridedConvTranspose2d(sizes[-1], channels), CentreCrop(height, image_width), nn.Tanh()]
        self.blocks = ToldSequential(*blocks)
        initialise_normal(self)
        if self.concatenates:
            speak_softly(self.embedding)

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.concatenates:
            noise = torch.cat([noise, self.embedding(condition)], dim=1)
        images: Tensor = self.blocks(self.project(noise).view(-1, *self.base), condition)
        return images


class DCGANDiscriminator(ToldDiscriminator):
    """Sample (n, c, h, w) and condition -> logit (n,); see ToldDiscriminator for what it may be told, and how."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 64,
        conditions: Conditions = NOTHING,
        told: DiscriminatorCondition = "concatenate",
        norm: Norm = "batch",
    ) -> None:
        doublings = num_doublings(*shape[1:])
        inner = list(reversed(widths(width, doublings)))
        num_features = inner[-1] * (shape[1] // 2**doublings) * (shape[2] // 2**doublings)
        super().__init__(shape, conditions, told, map_channels=inner[-1], num_features=num_features)
        blocks: list[nn.Module] = []
        for i, (size_in, size_out) in enumerate(pairwise([self.in_channels, *inner])):
            normed = i > 0 and norm == "batch"  # no norm on the first layer: section 3 of the paper
            blocks.append(StridedConv2d(size_in, size_out, bias=not normed))
            blocks += [BatchNorm2d(size_out)] if normed else []
            blocks.append(nn.LeakyReLU(0.2, inplace=True))
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(num_features, 1)
        initialise_normal(self)
        if norm == "spectral":
            self.normalise_spectra()

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.flatten(1)
