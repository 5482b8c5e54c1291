"""The residual networks of WGAN-GP and SNGAN for any size from 8 to 1024.

Gulrajani et al. (2017, appendix F) and Miyato et al. (2018, appendix B) at 32x32 and 48x48, Miyato and Koyama (2018) at
128x128. Sizes that are no 4 * 2^k are cropped, as in dcgan.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import ceil, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.networks.conditions import (
    NOTHING,
    ConditionalBatchNorm2d,
    Conditions,
    DiscriminatorCondition,
    GeneratorCondition,
    Told,
    ToldDiscriminator,
    ToldSequential,
    speak_softly,
)
from elegan.networks.dcgan import num_doublings
from elegan.networks.layers import BatchNorm2d, CentreCrop, DoublingConv2d, HalvingConv2d, Norm, initialise_glorot

LARGEST_SMALL_SIDE = 40
"""Up to here the networks of 32x32, which have as many channels on every map."""


def generator_widths(width: int, height: int, image_width: int) -> list[int]:
    """Channels from the smallest map to the largest: `width` on small images, else 16, 8, 4, 2, 1 quarters of it."""
    doublings = num_doublings(height, image_width)
    if min(height, image_width) <= LARGEST_SMALL_SIDE:
        return [width] * (doublings + 1)
    return [max(1, width // 4) * min(2**i, 16) for i in reversed(range(doublings + 1))]


def discriminator_blocks(width: int, height: int, image_width: int) -> list[tuple[int, bool]]:
    """Each block's channels, and whether it halves the map.

    `width` everywhere on small images, else 1, 2, 4, 8, 16 halves of it, until no more than 4 pixels are left.
    """
    side = min(height, image_width)
    if side <= LARGEST_SMALL_SIDE:
        return [(width, True), (width, True), (width, False), (width, False)]
    halvings = 0
    while side >> halvings > 4:
        halvings += 1
    return [(max(1, width // 2) * min(2**i, 16), i < halvings) for i in range(halvings + 1)]


class UpBlock(Told, nn.Module):
    """(n, c, h, w) and condition -> (n, c', 2h, 2w). norm: makes the norm of so many channels."""

    def __init__(self, size_in: int, size_out: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        # The first ReLU may be in place because the norm has made a copy: the skip needs x as it is.
        self.residual = ToldSequential(
            norm(size_in),
            nn.ReLU(inplace=True),
            DoublingConv2d(size_in, size_out),
            norm(size_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(size_out, size_out, 3, padding=1),
        )
        self.skip = nn.Conv2d(size_in, size_out, 1)
        initialise_glorot(self.residual, gain=sqrt(2))
        initialise_glorot(self.skip)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        residual: Tensor = self.residual(x, condition)
        # A 1x1 convolution and doubling commute; in this order the convolution has a quarter of the work.
        return residual + F.interpolate(self.skip(x), scale_factor=2.0)


def batch_norm(channels: int, conditions: Conditions) -> nn.Module:
    return ConditionalBatchNorm2d(channels, conditions) if conditions else BatchNorm2d(channels)


class DownBlock(nn.Module):
    """(n, c, h, w) -> (n, c', h // 2, w // 2), or (n, c', h, w) if it does not halve the map.

    hidden: channels between its convolutions. first: it sees the image itself, which no ReLU may cut.
    """

    def __init__(self, size_in: int, hidden: int, size_out: int, *, halves: bool, first: bool) -> None:
        super().__init__()
        last = HalvingConv2d(hidden, size_out) if halves else nn.Conv2d(hidden, size_out, 3, padding=1)
        layers = [nn.Conv2d(size_in, hidden, 3, padding=1), nn.ReLU(inplace=True), last]
        self.residual = nn.Sequential(*layers) if first else nn.Sequential(nn.ReLU(), *layers)
        self.skip = nn.Conv2d(size_in, size_out, 1) if halves or size_in != size_out else nn.Identity()
        self.halves = halves
        initialise_glorot(self.residual, gain=sqrt(2))
        initialise_glorot(self.skip)

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.residual(x)
        # A 1x1 convolution and the mean of 2x2 commute; in this order the convolution has a quarter of the work.
        skip: Tensor = self.skip(F.avg_pool2d(x, 2) if self.halves else x)
        return residual + skip


class ResNetGenerator(nn.Module):
    """Noise (n, latent) and condition -> sample (n, c, h, w) in [-1, 1].

    The condition is joined to the noise, or given to the batch norms of the blocks (Miyato and Koyama, 2018).
    width: channels at 32x32, where the paper has 256.
    """

    embedding: nn.Module

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int = 128,
        width: int = 256,
        conditions: Conditions = NOTHING,
        told: GeneratorCondition = "batch_norm",
    ) -> None:
        super().__init__()
        channels, height, image_width = shape
        sizes = generator_widths(width, height, image_width)
        scale = 2 ** (len(sizes) - 1)
        self.latent = latent
        self.base = sizes[0], ceil(height / scale), ceil(image_width / scale)
        self.concatenates = bool(conditions) and told == "concatenate"
        if self.concatenates:
            self.embedding = conditions.features(latent)
            speak_softly(self.embedding)
        self.project = nn.Linear(latent * (2 if self.concatenates else 1), self.base[0] * self.base[1] * self.base[2])
        norm = partial(batch_norm, conditions=NOTHING if self.concatenates else conditions)
        self.blocks = ToldSequential(*[UpBlock(*pair, norm) for pair in pairwise(sizes)])
        convolution = nn.Conv2d(sizes[-1], channels, 3, padding=1)
        self.paint = nn.Sequential(BatchNorm2d(sizes[-1]), nn.ReLU(inplace=True), convolution, CentreCrop(height, image_width), nn.Tanh())
        initialise_glorot(self.project)
        initialise_glorot(self.paint)

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.concatenates:
            noise = torch.cat([noise, self.embedding(condition)], dim=1)
        images: Tensor = self.paint(self.blocks(self.project(noise).view(-1, *self.base), condition))
        return images


class ResNetDiscriminator(ToldDiscriminator):
    """Sample (n, c, h, w) and condition -> logit (n,); see ToldDiscriminator for what it may be told, and how.

    width: channels at 32x32, where the paper has 128.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 128,
        conditions: Conditions = NOTHING,
        told: DiscriminatorCondition = "projection",
        norm: Norm = "spectral",
    ) -> None:
        if norm == "batch":
            raise OptionError("the residual discriminator has no batch norm; its norm is 'spectral' or 'none'.")
        stages = discriminator_blocks(width, *shape[1:])
        last = stages[-1][0]
        super().__init__(shape, conditions, told, map_channels=last, num_features=last)
        sizes = [self.in_channels, *(size for size, _ in stages)]
        blocks: list[nn.Module] = []
        for i, (size_out, halves) in enumerate(stages):
            blocks.append(DownBlock(sizes[i], sizes[i] if i else size_out, size_out, halves=halves, first=i == 0))
        self.blocks = nn.Sequential(*blocks, nn.ReLU(inplace=True))
        self.head = nn.Linear(last, 1)
        initialise_glorot(self.head)
        if self.told == "auxiliary":
            initialise_glorot(self.guess)
        elif self.told == "projection":
            assert isinstance(self.embedding.weight, Tensor)
            nn.init.xavier_uniform_(self.embedding.weight)
        if norm == "spectral":
            self.normalise_spectra()

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.sum((2, 3))
