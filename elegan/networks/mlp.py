"""Fully connected networks: the classic GAN on small pictures (Goodfellow et al., 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn


def layers(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers of these sizes with LeakyReLU 0.2 between them."""
    modules: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        modules += [nn.Linear(size_in, size_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*modules[:-1])


class MLPGenerator(nn.Module):
    """Noise (n, latent) -> sample (n, c, h, w) in [-1, 1]."""

    def __init__(self, latent: int, hidden: Sequence[int], shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.latent, self.shape = latent, shape
        self.body = layers([latent, *hidden, prod(shape)])

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        images: Tensor = self.body(noise).tanh()
        return images.view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Sample (n, c, h, w) -> logit (n,)."""

    def __init__(self, hidden: Sequence[int], shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.body = layers([prod(shape), *hidden, 1])

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        logits: Tensor = self.body(images.flatten(1))
        return logits.squeeze(1)
