"""The networks of StyleGAN (Karras et al., 2019) for any size from 8 to 1024, which can grow.

Sizes that are no 4 * 2^k: as in stylegan2.py.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from elegan.networks.dcgan import num_doublings, smallest_map, stage_widths
from elegan.networks.equalised import GAIN, EqualisedConv2d, EqualisedLinear, activated, at_least_float32
from elegan.networks.growing import Growing, enlarge, reduce
from elegan.networks.layers import CentreCrop, Clamp, Surround
from elegan.networks.leaky import LeakyReLU
from elegan.networks.resampling import double, halve
from elegan.networks.style import Noise, StyleDiscriminator, StyleGenerator, Summary


class AdaptiveNorm(nn.Module):
    """Map (n, c, h, w) and style (n, size) -> the map with mean and deviation of each channel as the style says: equation 1.

    The gain is 1 + a linear map of the style, the bias another.
    """

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.style = EqualisedLinear(style, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        gain, bias = at_least_float32(self.style(style))[:, :, None, None].chunk(2, dim=1)
        fine = at_least_float32(x)
        variance, mean = torch.var_mean(fine, (2, 3), correction=0, keepdim=True)
        normed = (fine - mean) * ((1 + gain) * torch.rsqrt(variance + 1e-8)) + bias
        return normed.to(x.dtype)


class AdaptedLayer(nn.Module):
    """A 3x3 convolution, noise, bias, leaky ReLU, and the style: (n, c, h, w) -> (n, c', height, width).

    `doubles`: after bilinear doubling, which is doubling and a blur, as in the paper. The layer of the constant has no convolution.
    """

    def __init__(
        self, size_in: int, size_out: int, style: int, height: int, width: int, *, doubles: bool = False, convolves: bool = True
    ) -> None:
        super().__init__()
        self.doubles = doubles
        self.convolution = EqualisedConv2d(size_in, size_out, 3, padding=1, bias=False, gain=GAIN) if convolves else None
        self.noise = Noise(height, width, size_out)
        self.bias = nn.Parameter(torch.zeros(size_out))
        self.activation = LeakyReLU()
        self.norm = AdaptiveNorm(size_out, style)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = double(x) if self.doubles else x
        x = x if self.convolution is None else self.convolution(x)
        added = self.noise(len(x), GAIN) + (self.bias * GAIN)[:, None, None]
        adapted: Tensor = self.norm(self.activation(x + added.to(x.dtype)), style)
        return adapted


class GrowingSynthesis(Growing):
    """Styles (n, layers, size) -> images (n, c, h, w): a learned constant, two layers for each size, and a 1x1 convolution to an image.

    Before it has grown, the image is a small one, enlarged. The constant is drawn at random, as in StyleGAN2: of equal numbers the
    norm would leave nothing.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, widest: int, style: int) -> None:
        channels, height, image_width = shape
        super().__init__(num_doublings(height, image_width))
        sizes, (rows, columns) = stage_widths(width, widest, self.doublings + 1), smallest_map(height, image_width)
        self.num_layers = 2 * len(sizes)
        self.constant = nn.Parameter(torch.randn(sizes[0], rows, columns))
        layers = [AdaptedLayer(sizes[0], sizes[0], style, rows, columns, convolves=False)]
        layers.append(AdaptedLayer(sizes[0], sizes[0], style, rows, columns))
        for i, (size_in, size_out) in enumerate(pairwise(sizes), start=1):
            place = rows << i, columns << i
            layers += [AdaptedLayer(size_in, size_out, style, *place, doubles=True), AdaptedLayer(size_out, size_out, style, *place)]
        self.layers = nn.ModuleList(layers)
        self.paints = nn.ModuleList(EqualisedConv2d(size, channels, 1) for size in sizes)
        self.crop, self.clamp = CentreCrop(height, image_width), Clamp()

    def forward(self, styles: Tensor) -> Tensor:
        stage = self.present()
        x = before = self.constant.expand(len(styles), -1, -1, -1)
        for i in range(stage + 1):
            before = x
            x = self.layers[2 * i](x, styles[:, 2 * i])
            x = self.layers[2 * i + 1](x, styles[:, 2 * i + 1])
        image = self.paints[stage](x)
        if self.fades:
            image = self.faded(enlarge(self.paints[stage - 1](before), 2), image)
        samples: Tensor = self.clamp(self.crop(enlarge(image, 2 ** (self.doublings - stage))))
        return samples


class StyleGANGenerator(StyleGenerator):
    """See StyleGenerator. Widths of 16 at 1024x1024, and 64 at 256x256, with 512, are the published sizes."""

    make_synthesis = GrowingSynthesis
    synthesis: GrowingSynthesis

    @property
    def layers_in_use(self) -> int:
        return 2 * (self.synthesis.stage + 1)


class Down(nn.Module):
    """(n, c, h, w) -> (n, c', h // 2, w // 2): two 3x3 convolutions, a blur, the mean of each 2x2."""

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.first = activated(EqualisedConv2d(size_in, size_in, 3, padding=1, gain=GAIN))
        self.second = EqualisedConv2d(size_in, size_out, 3, padding=1, gain=GAIN)
        self.activation = LeakyReLU()

    def forward(self, x: Tensor) -> Tensor:
        down: Tensor = self.activation(halve(self.second(self.first(x))))
        return down


class GrowingBlocks(Growing):
    """Image (n, c, h, w) -> features (n, c', 1, 1). Before it has grown, it looks at the image reduced to the means of its pixels."""

    def __init__(self, in_channels: int, sizes: list[int], rows: int, columns: int) -> None:
        super().__init__(len(sizes) - 1)
        self.surround = Surround(rows << self.doublings, columns << self.doublings)
        self.eyes = nn.ModuleList(activated(EqualisedConv2d(in_channels, size, 1, gain=GAIN)) for size in sizes)
        self.downs = nn.ModuleList(Down(size_in, size_out) for size_out, size_in in pairwise(sizes))
        self.summary = Summary(sizes[0], rows, columns)

    def forward(self, images: Tensor) -> Tensor:
        stage = self.present()
        images = reduce(self.surround(images), 2 ** (self.doublings - stage))
        x: Tensor = self.eyes[stage](images)
        for i in reversed(range(stage)):
            x = self.downs[i](x)
            if self.fades and i == stage - 1:
                x = self.faded(self.eyes[i](reduce(images, 2)), x)
        features: Tensor = self.summary(x)
        return features


class StyleGANDiscriminator(StyleDiscriminator):
    """See StyleDiscriminator. That of progressive growing (Karras et al., 2018, table 2) with blurred halving."""

    make_blocks = GrowingBlocks
    blocks: GrowingBlocks
