"""The networks of DCGAN (Radford et al., 2016) for any size from 8 to 256, with or without classes.

Sizes that are no 4 * 2^k: the generator starts from a map just large enough, and the result is cropped to the size.
"""

from __future__ import annotations

from itertools import pairwise
from math import ceil, log2
from typing import Literal

import torch
from torch import Tensor, nn

from elegan.networks.layers import BatchNorm2d, CentreCrop, initialise_normal

Norm = Literal["batch", "none"]


def num_doublings(height: int, width: int) -> int:
    """How often the generator doubles its map: 64 -> 4 (from 4x4), 28 -> 2 (from 7x7), 8 -> 2 (from 2x2)."""
    return max(2, int(log2(min(height, width) / 4)))


def widths(width: int, doublings: int) -> list[int]:
    """Channels from the smallest map to the largest: they halve as the map doubles, and are at most 8 times `width`."""
    return [width * min(2**i, 8) for i in reversed(range(doublings))]


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    return BatchNorm2d(channels) if norm == "batch" else nn.Identity()


class DCGANGenerator(nn.Module):
    """Noise (n, latent) and, with classes, class numbers (n,) -> sample (n, c, h, w) in [-1, 1]."""

    def __init__(
        self, shape: tuple[int, int, int], *, latent: int = 100, width: int = 64, num_classes: int = 0, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        channels, height, image_width = shape
        doublings = num_doublings(height, image_width)
        sizes = widths(width, doublings)
        self.latent = latent
        self.base = sizes[0], ceil(height / 2**doublings), ceil(image_width / 2**doublings)
        self.embedding = nn.Embedding(num_classes, latent) if num_classes else None
        first = self.base[0] * self.base[1] * self.base[2]
        self.project = nn.Linear(latent * (2 if num_classes else 1), first, bias=norm == "none")
        blocks: list[nn.Module] = [norm_layer(norm, sizes[0]), nn.ReLU()]
        for size_in, size_out in pairwise(sizes):
            convolution = nn.ConvTranspose2d(size_in, size_out, 4, stride=2, padding=1, bias=norm == "none")
            blocks += [convolution, norm_layer(norm, size_out), nn.ReLU()]
        blocks += [nn.ConvTranspose2d(sizes[-1], channels, 4, stride=2, padding=1), CentreCrop(height, image_width), nn.Tanh()]
        self.blocks = nn.Sequential(*blocks)
        initialise_normal(self)
        if self.embedding is not None:
            # The noise must speak louder than the class at first. With equal voices the generator learns one picture for
            # each class on MNIST and never leaves it (a tenth of real digits' variety).
            nn.init.normal_(self.embedding.weight, std=0.1)

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            noise = torch.cat([noise, self.embedding(condition)], dim=1)
        images: Tensor = self.blocks(self.project(noise).view(-1, *self.base))
        return images


class DCGANDiscriminator(nn.Module):
    """Sample (n, c, h, w) and, with classes, class numbers (n,) -> logit (n,).

    The class comes in as one more channel: a learned picture for each class (Mirza and Osindero, 2014).
    """

    def __init__(self, shape: tuple[int, int, int], *, width: int = 64, num_classes: int = 0, norm: Norm = "batch") -> None:
        super().__init__()
        channels, height, image_width = shape
        self.plane = 1, height, image_width
        self.embedding = nn.Embedding(num_classes, height * image_width) if num_classes else None
        sizes = [channels + (1 if num_classes else 0), *reversed(widths(width, num_doublings(height, image_width)))]
        blocks: list[nn.Module] = []
        for i, (size_in, size_out) in enumerate(pairwise(sizes)):
            normed = i > 0 and norm == "batch"  # no norm on the first layer: section 3 of the paper
            blocks.append(nn.Conv2d(size_in, size_out, 4, stride=2, padding=1, bias=not normed))
            blocks += [BatchNorm2d(size_out)] if normed else []
            blocks.append(nn.LeakyReLU(0.2))
            height, image_width = height // 2, image_width // 2
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(sizes[-1] * height * image_width, 1)
        initialise_normal(self)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            plane = self.embedding(condition).view(-1, *self.plane)
            images = torch.cat([images, plane.to(images.dtype)], dim=1)
        logits: Tensor = self.head(self.blocks(images).flatten(1))
        return logits.squeeze(1)
