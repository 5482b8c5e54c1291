"""What the style-based generators share: the mapping network, noise, and the standard deviation over a batch."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from elegan.networks.conditions import Conditions
from elegan.networks.equalised import GAIN, EqualisedLinear, activated, at_least_float32

MAPPING_RATE = 0.01
"""The mapping network learns a hundredth as fast as the rest (Karras et al., 2019, section C)."""


def unit(x: Tensor) -> Tensor:
    """(n, size), each row scaled so that the mean of its squares is 1 (Karras et al., 2018, section 4.2)."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """Noise (n, latent) and condition -> styles w (n, size): noise and features of the condition, each of unit size, through
    `layers` linear layers."""

    embedding: nn.Module

    def __init__(self, latent: int, size: int, layers: int, conditions: Conditions) -> None:
        super().__init__()
        self.conditions = conditions
        if conditions:
            self.embedding = conditions.features(size, bias=True)
        if conditions.numbers:  # of one number times a weight, unit size would leave the sign alone
            nn.init.normal_(self.embedding.bias)  # type: ignore[arg-type]
        widths = [latent + (size if conditions else 0), *[size] * layers]
        self.layers = nn.Sequential(*[activated(EqualisedLinear(a, b, rate=MAPPING_RATE, gain=GAIN)) for a, b in pairwise(widths)])

    def forward(self, noise: Tensor, condition: Tensor | None) -> Tensor:
        x = unit(noise)
        if self.conditions:
            x = torch.cat([x, unit(self.embedding(condition)).to(x.dtype)], dim=1)
        styles: Tensor = self.layers(x)
        return styles


class Noise(nn.Module):
    """One number for each pixel, the same for all channels, times a learned strength that is 0 at first: one, or one for each of
    `channels`.

    In training it is another each time; else always the same, so that a seed gives one picture.
    """

    fixed: Tensor

    def __init__(self, height: int, width: int, channels: int = 0) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.zeros((channels, 1, 1) if channels else ()))
        self.register_buffer("fixed", torch.randn(1, 1, height, width))

    def forward(self, samples: int, gain: float) -> Tensor:
        """(samples or 1, channels or 1, h, w), times `gain`."""
        drawn = torch.randn(samples, *self.fixed.shape[1:], device=self.fixed.device) if self.training else self.fixed
        return drawn * (self.strength * gain)


GROUP = 4


class BatchDeviation(nn.Module):
    """(n, c, h, w) -> (n, c + 1, h, w): one more channel says how much samples differ (Karras et al., 2018, section 3).

    It is the standard deviation over a group of 4 samples, or the next fewer that divide n, at each place, averaged over channels and
    places. The groups are every (n / 4)th sample. Where a round is divided they are of a micro-batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        size = next(size for size in range(min(GROUP, n), 0, -1) if n % size == 0)
        groups = at_least_float32(x.reshape(size, n // size, c, h, w))
        variance = (groups - groups.mean(0)).square().mean(0)
        deviation = (variance + 1e-8).sqrt().mean((1, 2, 3))
        plane = deviation.repeat(size)[:, None, None, None].expand(n, 1, h, w)
        return torch.cat([x, plane.to(x.dtype)], dim=1)
