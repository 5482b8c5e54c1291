"""StyleGAN2 at 32x32, narrow (Karras et al., 2020), as the paper describes it: each sample has a kernel of its own, modulated by its style,
and the batch is one convolution with as many groups as samples. R1 every 16 rounds and path lengths every 4 are in the same updates as
the losses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, LATENT, DEPTH, BASE = 3, 128, 2, 4
SIZES = (256, 128, 64, 32)
LAYERS = 2 * len(SIZES)
MAPPING_RATE, GAIN, GROUP = 0.01, sqrt(2), 4
MIXING, GAMMA, R1_INTERVAL, PATH_WEIGHT, PATH_INTERVAL, PATH_DECAY = 0.9, 1.0, 16, 2.0, 4, 0.99
RATE, DECAY = 2.5e-3, 0.999


def bend(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2) * GAIN


LINE = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8


def upfirdn(x: Tensor, before: int, after: int, *, up: int = 1, down: int = 1, gain: float = 1.0) -> Tensor:
    """Zeros between pixels and around the map, the binomial filter times `gain`, and every so many pixels of the result."""
    n, c, h, w = x.shape
    if up > 1:
        x = F.pad(x.reshape(n, c, h, 1, w, 1), (0, up - 1, 0, 0, 0, up - 1)).reshape(n, c, h * up, w * up)
    x = F.pad(x, (before, after, before, after))
    x = F.conv2d(x, (gain * LINE[:, None] * LINE).repeat(c, 1, 1, 1), groups=c)
    return x[:, :, ::down, ::down]


class Linear(nn.Module):
    def __init__(self, size_in: int, size_out: int, *, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size_out, size_in) / rate)
        self.bias = nn.Parameter(torch.full((size_out,), bias / rate))
        self.rate, self.scale = rate, rate / sqrt(size_in)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class Conv(nn.Module):
    def __init__(self, size_in: int, size_out: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size_out, size_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(size_out)) if bias else None
        self.stride, self.padding, self.scale = stride, padding, 1 / sqrt(size_in * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, self.stride, self.padding)


class Modulated(nn.Module):
    """A convolution whose kernel is another for each sample."""

    def __init__(self, size_in: int, size_out: int, kernel: int, *, up: bool = False, demodulate: bool = True) -> None:
        super().__init__()
        self.style = Linear(LATENT, size_in, bias=1.0)
        self.weight = nn.Parameter(torch.randn(size_out, size_in, kernel, kernel))
        self.scale, self.up, self.demodulate = 1 / sqrt(size_in * kernel**2), up, demodulate

    def kernels(self, style: Tensor) -> Tensor:
        """(n, size_out, size_in, kernel, kernel)."""
        weight: Tensor = self.scale * self.weight * self.style(style)[:, None, :, None, None]
        return weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8) if self.demodulate else weight

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        (n, c, h, w), kernels = x.shape, self.kernels(style)
        x = x.reshape(1, n * c, h, w)
        if self.up:
            x = F.conv_transpose2d(x, kernels.transpose(1, 2).flatten(0, 1), stride=2, groups=n)
            return upfirdn(x.view(n, -1, 2 * h + 1, 2 * w + 1), 1, 1, gain=4.0)
        return F.conv2d(x, kernels.flatten(0, 1), padding=kernels.shape[-1] // 2, groups=n).view(n, -1, h, w)


class Styled(nn.Module):
    def __init__(self, size_in: int, size_out: int, *, up: bool = False) -> None:
        super().__init__()
        self.convolution = Modulated(size_in, size_out, 3, up=up)
        self.strength, self.bias = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(size_out))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        x = self.convolution(x, style)
        x = x + self.strength * torch.randn(len(x), 1, *x.shape[2:])
        return bend(x + self.bias[:, None, None])


class Paint(nn.Module):
    def __init__(self, size_in: int) -> None:
        super().__init__()
        self.convolution = Modulated(size_in, CHANNELS, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(CHANNELS))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        image: Tensor = self.convolution(x, style) + self.bias[:, None, None]
        return image


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mapping = nn.ModuleList(Linear(LATENT, LATENT, rate=MAPPING_RATE) for _ in range(DEPTH))
        self.constant = nn.Parameter(torch.randn(1, SIZES[0], BASE, BASE))
        layers = [Styled(SIZES[0], SIZES[0])]
        for size_in, size_out in pairwise(SIZES):
            layers += [Styled(size_in, size_out, up=True), Styled(size_out, size_out)]
        self.layers, self.paints = nn.ModuleList(layers), nn.ModuleList(Paint(size) for size in SIZES)

    def mapped(self, noise: Tensor) -> Tensor:
        x = noise * torch.rsqrt(noise.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            x = bend(layer(x))
        return x

    def styles(self, noise: Tensor, other: Tensor) -> Tensor:
        """(n, layers, size): from a random layer on those of the other noise."""
        styles = self.mapped(noise)[:, None].repeat(1, LAYERS, 1)
        crossover = int(torch.randint(1, LAYERS, ())) if torch.rand(()) < MIXING else LAYERS
        return torch.cat([styles[:, :crossover], self.mapped(other)[:, None].repeat(1, LAYERS - crossover, 1)], dim=1)

    def synthesis(self, styles: Tensor) -> Tensor:
        x = self.layers[0](self.constant.repeat(len(styles), 1, 1, 1), styles[:, 0])
        image: Tensor = self.paints[0](x, styles[:, 1])
        for i in range(1, len(SIZES)):
            x = self.layers[2 * i - 1](x, styles[:, 2 * i - 1])
            x = self.layers[2 * i](x, styles[:, 2 * i])
            image = upfirdn(image, 2, 1, up=2, gain=4.0) + self.paints[i](x, styles[:, 2 * i + 1])
        return image

    def forward(self, noise: Tensor, other: Tensor) -> Tensor:
        return self.synthesis(self.styles(noise, other))


class Down(nn.Module):
    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Conv(size_in, size_in, 3, padding=1), Conv(size_in, size_out, 3, stride=2)
        self.skip = Conv(size_in, size_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = bend(self.conv2(upfirdn(bend(self.conv1(x)), 2, 2)))
        out: Tensor = (y + self.skip(upfirdn(x, 1, 1, down=2))) / sqrt(2)
        return out


def with_deviation(x: Tensor) -> Tensor:
    """One more channel: how much the samples of a group differ."""
    n, _, h, w = x.shape
    groups = x.view(GROUP, n // GROUP, -1)
    deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt().mean(1)
    return torch.cat([x, deviation.repeat(GROUP)[:, None, None, None].expand(n, 1, h, w)], dim=1)


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start = Conv(CHANNELS, SIZES[-1], 1)
        self.blocks = nn.Sequential(*[Down(size_in, size_out) for size_in, size_out in pairwise(reversed(SIZES))])
        self.conv = Conv(SIZES[0] + 1, SIZES[0], 3, padding=1)
        self.linear, self.head = Linear(SIZES[0] * BASE * BASE, SIZES[0]), Linear(SIZES[0], 1)

    def forward(self, x: Tensor) -> Tensor:
        x = bend(self.conv(with_deviation(self.blocks(bend(self.start(x))))))
        logits: Tensor = self.head(bend(self.linear(x.flatten(1))))
        return logits.squeeze(1)


def slope(judge: nn.Module, real: Tensor) -> Tensor:
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(judge(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2


def path_lengths(made: Generator, count: int) -> Tensor:
    styles = made.styles(torch.randn(count, LATENT), torch.randn(count, LATENT))
    images = made.synthesis(styles)
    directions = torch.randn_like(images) / sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * directions).sum(), styles, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def trainer(images: Tensor, batch: int) -> Callable[[], None]:
    """A function that does one round on random images of `images`, (n, 3, 32, 32) uint8; penalties come round after 16 rounds."""
    made, judge = Generator(), Discriminator()
    average = copy.deepcopy(made)
    optimize_g = torch.optim.Adam(made.parameters(), RATE, (0.0, 0.99))
    optimize_d = torch.optim.Adam(judge.parameters(), RATE, (0.0, 0.99))
    done, mean_length = 0, torch.zeros(())

    def generated() -> Tensor:
        found: Tensor = made(torch.randn(batch, LATENT), torch.randn(batch, LATENT))
        return found

    def discriminator_step() -> None:
        real = images[torch.randint(len(images), (batch,))].float() / 127.5 - 1
        optimize_d.zero_grad()
        loss = F.softplus(-judge(real)).mean() + F.softplus(judge(generated().detach())).mean()
        if done % R1_INTERVAL == 0:
            loss = loss + R1_INTERVAL * GAMMA * slope(judge, real)
        torch.autograd.backward(loss)
        optimize_d.step()
        loss.item()

    def generator_step() -> None:
        optimize_g.zero_grad()
        loss = F.softplus(-judge(generated())).mean()
        if done % PATH_INTERVAL == 0:
            lengths = path_lengths(made, batch // 2)
            mean_length.lerp_(lengths.detach().mean(), 1 - PATH_DECAY)
            loss = loss + PATH_INTERVAL * PATH_WEIGHT * (lengths - mean_length).square().mean()
        torch.autograd.backward(loss)
        optimize_g.step()

    def round() -> None:
        nonlocal done
        discriminator_step()
        generator_step()
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), made.parameters(), strict=True):
                mine.lerp_(theirs, 1 - DECAY)
        done += 1

    return round
