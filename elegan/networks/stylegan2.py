"""The networks of StyleGAN2 (Karras et al., 2020) for any size from 8 to 1024.

Sizes that are no 4 * 2^k: the generator crops, as in dcgan.py, and the discriminator continues the image beyond its edges by as much.
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.networks.dcgan import num_doublings, smallest_map, stage_widths
from elegan.networks.equalised import GAIN, EqualisedConv2d, EqualisedLinear, activated, at_least_float32
from elegan.networks.layers import CentreCrop, Clamp, Surround
from elegan.networks.leaky import SLOPE
from elegan.networks.resampling import double_smoothly, smooth, smooth_and_halve
from elegan.networks.style import Noise, StyleDiscriminator, StyleGenerator, Summary


class ModulatedConv2d(nn.Module):
    """Map (n, c, h, w) and style (n, size) -> (n, c', h, w), or (n, c', 2h, 2w): section 2.2 of the paper.

    The style scales the kernel's inputs, w' = s w (equation 1); demodulation divides by the expected size of each output,
    w'' = w' / sqrt(sum w'^2 + 1e-8) (equation 3). Both are done to the maps before and after, not to kernels: that is the same
    number for number, and the whole batch shares one convolution. `gain` multiplies the result.
    """

    def __init__(self, size_in: int, size_out: int, kernel: int, style: int, *, doubles: bool = False, demodulates: bool = True) -> None:
        super().__init__()
        self.style = EqualisedLinear(style, size_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(size_out, size_in, kernel, kernel))
        self.weight_gain = 1 / sqrt(size_in * kernel**2)
        self.doubles, self.demodulates = doubles, demodulates

    def forward(self, x: Tensor, style: Tensor, gain: float = 1.0) -> tuple[Tensor, Tensor | None]:
        """The convolution, and what each of its channels (n, c', 1, 1) still has to be multiplied with, if anything."""
        scales = self.style(style)
        weight = self.weight * self.weight_gain
        if not self.demodulates:
            return F.conv2d(x * (scales * gain).to(x.dtype)[:, :, None, None], weight), None
        sizes = F.linear(scales.square(), weight.square().sum((2, 3)))
        factors = gain * torch.rsqrt(at_least_float32(sizes) + 1e-8)
        x = x * scales.to(x.dtype)[:, :, None, None]
        return self.convolve(x, weight), factors[:, :, None, None]

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if not self.doubles:
            return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        # zeros between the pixels, the 3x3 kernel, then the low-pass filter
        return smooth(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 1, gain=4.0)


class StyledLayer(nn.Module):
    """A modulated 3x3 convolution, noise, bias, leaky ReLU: (n, c, h, w) -> (n, c', height, width)."""

    def __init__(self, size_in: int, size_out: int, style: int, height: int, width: int, *, doubles: bool = False) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(size_in, size_out, 3, style, doubles=doubles)
        self.noise = Noise(height, width)
        self.bias = nn.Parameter(torch.zeros(size_out))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        convolved, factors = self.convolution(x, style, GAIN)
        assert factors is not None
        bias = (self.bias * GAIN).to(convolved.dtype)[:, None, None]
        x = torch.addcmul(bias, convolved, factors.to(convolved.dtype)) + self.noise(len(x), GAIN).to(convolved.dtype)
        return F.leaky_relu(x, SLOPE)


class Paint(nn.Module):
    """A map and a style -> an image (n, c, h, w): a modulated 1x1 convolution without demodulation."""

    def __init__(self, size_in: int, channels: int, style: int) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(size_in, channels, 1, style, demodulates=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        image: Tensor = self.convolution(x, style)[0]
        painted: Tensor = image + self.bias.to(image.dtype)[:, None, None]
        return painted


class Synthesis(nn.Module):
    """Styles (n, layers, size) -> images (n, c, h, w): a learned constant, and two layers and a layer of paint for each doubling.

    The image is the sum of what each size of the map paints, doubled up to the full size (the skip connections of figure 7).
    """

    def __init__(self, shape: tuple[int, int, int], width: int, widest: int, style: int) -> None:
        super().__init__()
        channels, height, image_width = shape
        stages = num_doublings(height, image_width) + 1
        sizes, (rows, columns) = stage_widths(width, widest, stages), smallest_map(height, image_width)
        self.num_layers = 2 * stages
        self.constant = nn.Parameter(torch.randn(sizes[0], rows, columns))
        layers, paints = [StyledLayer(sizes[0], sizes[0], style, rows, columns)], [Paint(sizes[0], channels, style)]
        for i, (size_in, size_out) in enumerate(pairwise(sizes)):
            place = rows << i + 1, columns << i + 1
            layers += [StyledLayer(size_in, size_out, style, *place, doubles=True), StyledLayer(size_out, size_out, style, *place)]
            paints.append(Paint(size_out, channels, style))
        self.layers, self.paints = nn.ModuleList(layers), nn.ModuleList(paints)
        self.crop, self.clamp = CentreCrop(height, image_width), Clamp()

    def forward(self, styles: Tensor) -> Tensor:
        x = self.layers[0](self.constant.expand(len(styles), -1, -1, -1), styles[:, 0])
        image: Tensor = self.paints[0](x, styles[:, 1])
        for i, paint in enumerate(self.paints[1:], start=1):
            for j in (2 * i - 1, 2 * i):
                x = self.layers[j](x, styles[:, j])
            image = double_smoothly(image) + paint(x, styles[:, 2 * i + 1])
        samples: Tensor = self.clamp(self.crop(image))
        return samples


class StyleGAN2Generator(StyleGenerator):
    """See StyleGenerator. Widths of 32 at 1024x1024, and 64 at 256x256, with 512, are the published sizes."""

    make_synthesis = Synthesis


class Half(nn.Module):
    """The binomial filter and every second pixel: (n, c, h, w) -> (n, c, h // 2, w // 2)."""

    def forward(self, x: Tensor) -> Tensor:
        return smooth_and_halve(x)


class Smooth(nn.Module):
    """The binomial filter before a 3x3 convolution with stride 2: (n, c, h, w) -> (n, c, h + 1, w + 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return smooth(x, 2)


class ResidualDown(nn.Module):
    """(n, c, h, w) -> (n, c', h // 2, w // 2): two 3x3 convolutions, and a 1x1 convolution beside them; the sum keeps its size."""

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            activated(EqualisedConv2d(size_in, size_in, 3, padding=1, gain=GAIN)),
            Smooth(),
            activated(EqualisedConv2d(size_in, size_out, 3, stride=2, gain=GAIN * sqrt(0.5))),
        )
        self.skip = nn.Sequential(Half(), EqualisedConv2d(size_in, size_out, 1, bias=False, gain=sqrt(0.5)))

    def forward(self, x: Tensor) -> Tensor:
        down: Tensor = self.skip(x) + self.residual(x)
        return down


class ResidualBlocks(nn.Sequential):
    """Image (n, c, h, w) -> features (n, c', 1, 1)."""

    def __init__(self, in_channels: int, sizes: list[int], rows: int, columns: int) -> None:
        doublings = len(sizes) - 1
        layers: list[nn.Module] = [Surround(rows << doublings, columns << doublings)]
        layers.append(activated(EqualisedConv2d(in_channels, sizes[-1], 1, gain=GAIN)))
        layers += [ResidualDown(size_in, size_out) for size_in, size_out in pairwise(reversed(sizes))]
        super().__init__(*layers, Summary(sizes[0], rows, columns))


class StyleGAN2Discriminator(StyleDiscriminator):
    """See StyleDiscriminator."""

    make_blocks = ResidualBlocks
