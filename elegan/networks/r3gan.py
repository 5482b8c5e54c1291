"""R3GAN's networks for any size from 8 to 1024 (Huang et al., 2024, section 3 and table 9: Config E).

Generator and discriminator are mirrors of each other. Each size of a map has two residual blocks, and a transition to the next:
bilinear resampling, with a 1x1 convolution where the number of channels changes. There are no norms; all layers but two in each
residual block have no bias. Sizes that are no 4 * 2^k: the generator crops, as in dcgan.py, and the discriminator continues the
image beyond its edges by as much.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.networks.conditions import NOTHING, Conditions, DiscriminatorCondition, GeneratorCondition, ToldDiscriminator, speak_softly
from elegan.networks.dcgan import num_doublings, smallest_map, stage_widths
from elegan.networks.grouped import GroupedConv2d
from elegan.networks.homogeneous import Biased
from elegan.networks.layers import CentreCrop, Clamp, Norm, Surround
from elegan.networks.leaky import SLOPE, LeakyReLU
from elegan.networks.resampling import double, halve

BLOCKS = 2
"""Residual blocks for each size of a map."""

GROUP, MOST_GROUPS = 16, 96
"""Channels in a group of the 3x3 convolutions, and how many groups there are at most: both as in the paper's table."""


def num_groups(channels: int) -> int:
    """Groups of a 3x3 convolution: of 16 channels each, and no more than 96, or the next fewer that divide the channels."""
    most = max(1, min(MOST_GROUPS, channels // GROUP))
    return next(groups for groups in range(most, 0, -1) if channels % groups == 0)


class Pointwise(Biased, nn.Linear):
    """A 1x1 convolution: (n, c, h, w) -> (n, c', h, w).

    As a matrix product, because PyTorch's gradient of a gradient of a convolution takes several times as long.
    """

    def forward(self, input: Tensor) -> Tensor:
        input = input.permute(0, 2, 3, 1)
        if self.bias is None or self.strength is None:
            return F.linear(input, self.weight, self.bias).permute(0, 3, 1, 2)
        maps = F.linear(input, self.weight)
        return (maps + (self.strength * self.bias).to(maps.dtype)[:, None, None, :]).permute(0, 3, 1, 2)


class Residual(nn.Module):
    """(n, c, h, w) -> (n, c, h, w): the input plus 1x1, grouped 3x3 and 1x1 convolutions, wider inside than outside.

    stacked: the residual blocks of the whole network. By fix-up initialisation (Zhang et al., 2019) the last convolution is zero
    at first, and the others are smaller by stacked^-1/4, so that signals do not grow with depth.
    """

    def __init__(self, channels: int, stacked: int) -> None:
        super().__init__()
        inner = 2 * channels
        first = Pointwise(channels, inner)
        second = GroupedConv2d(inner, inner, 3, padding=1, groups=num_groups(inner))
        last = Pointwise(inner, channels, bias=False)
        self.branch = nn.Sequential(first, LeakyReLU(), second, LeakyReLU(), last)
        for layer in (first, second):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            scale(layer.weight, stacked**-0.25)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.branch(x)
        return x + branch


@torch.no_grad()
def scale(weight: Tensor, factor: float) -> None:
    weight *= factor


def residuals(channels: int, stages: int) -> list[nn.Module]:
    """The blocks of one stage, in a network of so many."""
    return [Residual(channels, BLOCKS * stages) for _ in range(BLOCKS)]


def mix(size_in: int, size_out: int) -> Pointwise:
    """A 1x1 convolution, no activation after it: (n, size_in, h, w) -> (n, size_out, h, w), as large as before."""
    layer = Pointwise(size_in, size_out, bias=False)
    nn.init.normal_(layer.weight, std=size_in**-0.5)
    return layer


# A 1x1 convolution and resampling commute. Both transitions have the convolution where the map is small.


class Grow(nn.Module):
    """(n, c, h, w) -> (n, c', 2h, 2w)."""

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.mix = nn.Identity() if size_in == size_out else mix(size_in, size_out)

    def forward(self, x: Tensor) -> Tensor:
        return double(self.mix(x))


class Shrink(nn.Module):
    """(n, c, 2h, 2w) -> (n, c', h, w)."""

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.mix = nn.Identity() if size_in == size_out else mix(size_in, size_out)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(halve(x))
        return mixed


class Begin(nn.Module):
    """Features (n, f) -> the smallest map (n, c, h, w): a learned picture for each channel, as strong as the features say."""

    def __init__(self, num_features: int, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.pictures = nn.Parameter(torch.randn(channels, height, width))
        self.strength = nn.Linear(num_features, channels, bias=False)
        nn.init.normal_(self.strength.weight, std=num_features**-0.5)

    def forward(self, features: Tensor) -> Tensor:
        strength: Tensor = self.strength(features)
        maps = strength[:, :, None, None] * self.pictures.to(strength.dtype)
        return maps.contiguous(memory_format=torch.channels_last)


class End(nn.Module):
    """The smallest map (n, c, h, w) -> (n, c, 1, 1): how much of each channel's learned picture is in it."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.pictures = nn.Parameter(torch.randn(channels, height, width) * (height * width) ** -0.5)

    def forward(self, maps: Tensor) -> Tensor:
        return (maps * self.pictures).sum((2, 3), keepdim=True)


class R3GANGenerator(nn.Module):
    """Noise (n, latent) and condition -> sample (n, c, h, w); in [-1, 1] but for training, as no tanh bounds it.

    The condition's features are joined to the noise. width: channels on the largest
    map; they double on each smaller one, up to `widest`. At 32x32 the paper has 768 on all.
    """

    embedding: nn.Module

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int = 64,
        width: int = 768,
        widest: int = 768,
        conditions: Conditions = NOTHING,
        told: GeneratorCondition = "concatenate",
    ) -> None:
        super().__init__()
        if conditions and told == "batch_norm":
            raise OptionError("R3GAN's generator has no batch norm to be told the condition by; use told='concatenate'.")
        channels, height, image_width = shape
        sizes = stage_widths(width, widest, num_doublings(height, image_width) + 1)
        self.latent = latent
        self.concatenates = bool(conditions)
        if self.concatenates:
            self.embedding = conditions.features(latent)
            speak_softly(self.embedding)
        begin = Begin(latent * (2 if self.concatenates else 1), sizes[0], *smallest_map(height, image_width))
        layers: list[nn.Module] = [begin, *residuals(sizes[0], len(sizes))]
        for size_in, size_out in pairwise(sizes):
            layers += [Grow(size_in, size_out), *residuals(size_out, len(sizes))]
        self.layers = nn.Sequential(*layers, mix(sizes[-1], channels), CentreCrop(height, image_width), Clamp())

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.concatenates:
            noise = torch.cat([noise, self.embedding(condition)], dim=1)
        images: Tensor = self.layers(noise)
        return images


class R3GANDiscriminator(ToldDiscriminator):
    """Sample (n, c, h, w) and condition -> logit (n,); see ToldDiscriminator for what it may be told, and how.

    By projection there is one more linear layer before the inner product, as in the paper. width, widest: as the generator's.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 768,
        widest: int = 768,
        conditions: Conditions = NOTHING,
        told: DiscriminatorCondition = "projection",
        norm: Norm = "none",
    ) -> None:
        if norm != "none":
            raise OptionError(
                "R3GAN's discriminator has no norm, and begins with weights of zero that none could divide; its norm is 'none'."
            )
        sizes = stage_widths(width, widest, num_doublings(*shape[1:]) + 1)
        last, smallest = sizes[0], smallest_map(*shape[1:])
        super().__init__(shape, conditions, told, map_channels=last, num_features=last)
        height, image_width = (side << len(sizes) - 1 for side in smallest)
        layers: list[nn.Module] = [Surround(height, image_width), mix(self.in_channels, sizes[-1])]
        for size_in, size_out in pairwise(reversed(sizes)):
            layers += [*residuals(size_in, len(sizes)), Shrink(size_in, size_out)]
        layers += [*residuals(last, len(sizes)), End(last, *smallest)]
        self.blocks = nn.Sequential(*layers, *([mix(last, last)] if self.told == "projection" else []))
        self.head = nn.Linear(last, 1, bias=False)
        nn.init.normal_(self.head.weight, std=last**-0.5)
        if self.told == "projection":
            assert isinstance(self.embedding.weight, Tensor)
            scale(self.embedding.weight, last**-0.5)

    @property
    def is_homogeneous(self) -> bool:
        """Whether its logit is its gradient times its input (see homogeneous.py): not where it sees or guesses a condition beside it."""
        return self.told in (None, "projection")

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.flatten(1)
