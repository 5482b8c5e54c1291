"""What the style-based networks share: the mapping network, noise, the standard deviation over a batch, and what is around blocks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.networks.conditions import NOTHING, Conditions, DiscriminatorCondition, GeneratorCondition, ToldDiscriminator
from elegan.networks.dcgan import num_doublings, smallest_map, stage_widths
from elegan.networks.equalised import GAIN, EqualisedConv2d, EqualisedLinear, activated, at_least_float32
from elegan.networks.layers import Norm

MAPPING_RATE = 0.01
"""The mapping network learns a hundredth as fast as the rest (Karras et al., 2019, section C)."""

SOFTNESS = 0.2
"""How loud a condition is beside the noise at first. The authors have 1: on Fashion-MNIST the generator then learns one picture for
each class and hardly leaves it (after 64,000 images 8% of the variance that real images have within classes, where 0.2 has 56%), as
others do without `speak_softly`, whose small features would have unit size here."""


def unit(x: Tensor) -> Tensor:
    """(n, size), each row scaled so that the mean of its squares is 1 (Karras et al., 2018, section 4.2)."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """Noise (n, latent) and condition -> styles w (n, size): noise of unit size and features of the condition, softer, through
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
            x = torch.cat([x, SOFTNESS * unit(self.embedding(condition)).to(x.dtype)], dim=1)
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


class StyleGenerator(nn.Module):
    """Noise (n, latent) and condition -> sample (n, c, h, w); in [-1, 1] but for training, as no tanh bounds it.

    `mapping` makes styles of noise, `synthesis` images of styles, one style for each of its `num_layers` layers. A second noise takes
    over from layer `crossover` (n,) on: style mixing (Karras et al., 2019, section 3.1). width: channels on the largest map; they
    double on each smaller one, up to `widest`. `latent` is the size of a style too; depth: layers of the mapping network.

    A subclass says what its `synthesis` is: made of shape, width, widest and the size of a style.
    """

    make_synthesis: Callable[[tuple[int, int, int], int, int, int], nn.Module]
    synthesis: nn.Module

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        latent: int = 512,
        width: int = 64,
        widest: int = 512,
        depth: int = 8,
        conditions: Conditions = NOTHING,
        told: GeneratorCondition = "concatenate",
    ) -> None:
        super().__init__()
        if conditions and told == "batch_norm":
            raise OptionError("a generator of styles has no batch norm to be told the condition by; use told='concatenate'.")
        self.latent, self.synthesis = latent, type(self).make_synthesis(shape, width, widest, latent)
        self.mapping = Mapping(latent, latent, depth, conditions)

    @property
    def num_layers(self) -> int:
        layers: int = self.synthesis.num_layers  # type: ignore[assignment]
        return layers

    @property
    def layers_in_use(self) -> int:
        """All, but of networks that grow."""
        return self.num_layers

    def forward(
        self, noise: Tensor, condition: Tensor | None = None, other: Tensor | None = None, crossover: Tensor | None = None
    ) -> Tensor:
        images: Tensor = self.synthesis(self.styles(noise, condition, other, crossover))
        return images

    def styles(
        self, noise: Tensor, condition: Tensor | None = None, other: Tensor | None = None, crossover: Tensor | None = None
    ) -> Tensor:
        """(n, layers, size)."""
        styles: Tensor = self.mapping(noise, condition)[:, None].expand(-1, self.num_layers, -1)
        if other is None or crossover is None:
            return styles
        later = torch.arange(self.num_layers, device=noise.device) >= crossover[:, None]
        return torch.where(later[:, :, None], self.mapping(other, condition)[:, None], styles)


class Summary(nn.Module):
    """The smallest map (n, c, h, w) -> (n, c, 1, 1): deviation over the batch, a 3x3 convolution, a linear layer."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.convolution = nn.Sequential(BatchDeviation(), activated(EqualisedConv2d(channels + 1, channels, 3, padding=1, gain=GAIN)))
        self.linear = activated(EqualisedLinear(channels * height * width, channels, gain=GAIN))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.linear(self.convolution(x).flatten(1))
        return features[:, :, None, None]


class StyleDiscriminator(ToldDiscriminator):
    """Sample (n, c, h, w) and condition -> logit (n,); see ToldDiscriminator for what it may be told, and how.

    width, widest: as the generator's. A subclass says what its `blocks` are: made of the image's channels, the channels of maps from the
    smallest to the largest, and the smallest map's rows and columns.
    """

    make_blocks: Callable[[int, list[int], int, int], nn.Module]

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        width: int = 64,
        widest: int = 512,
        conditions: Conditions = NOTHING,
        told: DiscriminatorCondition = "projection",
        norm: Norm = "none",
    ) -> None:
        if norm != "none":
            raise OptionError("the discriminators of the StyleGANs have no norm; their --discriminator-norm is 'none'.")
        sizes = stage_widths(width, widest, num_doublings(*shape[1:]) + 1)
        last = sizes[0]
        super().__init__(shape, conditions, told, map_channels=last, num_features=last)
        self.blocks = type(self).make_blocks(self.in_channels, sizes, *smallest_map(*shape[1:]))
        self.head = EqualisedLinear(last, 1)
        if self.told == "projection":
            assert isinstance(self.embedding.weight, Tensor)
            nn.init.normal_(self.embedding.weight, std=last**-0.5)

    def pooled(self, maps: Tensor) -> Tensor:
        return maps.flatten(1)
