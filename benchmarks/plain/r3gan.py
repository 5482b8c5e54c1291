"""R3GAN at 32x32, narrow (Huang et al., 2024), as the published code writes the step: grouped convolutions, the generated batch made for
each move anew, and R1 and R2 taken of the logits that the loss is of."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS, LATENT, BASE = 3, 64, 4
SIZES, GROUP, BLOCKS = (256, 128, 64, 32), 16, 2
GAMMA, RATE, DECAY = 0.05, 2e-4, 0.995


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = 2 * channels
        self.first, self.last = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1, bias=False)
        self.middle = nn.Conv2d(inner, inner, 3, padding=1, groups=inner // GROUP)
        self.bend = nn.LeakyReLU(0.2)
        for layer in (self.first, self.middle):
            nn.init.kaiming_normal_(layer.weight, 0.2)
            layer.weight.data *= (BLOCKS * len(SIZES)) ** -0.25
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.last(self.bend(self.middle(self.bend(self.first(x)))))
        return out


def mix(size_in: int, size_out: int) -> nn.Conv2d:
    return nn.Conv2d(size_in, size_out, 1, bias=False)


class Resize(nn.Module):
    """Doubles or halves maps with the kernel [1, 3, 3, 1], each channel alone."""

    kernel: Tensor

    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / (4 if up else 8)
        self.register_buffer("kernel", (line[:, None] * line).repeat(channels, 1, 1, 1))
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        resize = F.conv_transpose2d if self.up else F.conv2d
        return resize(x, self.kernel, stride=2, padding=1, groups=x.shape[1])


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pictures = nn.Parameter(torch.randn(SIZES[0], BASE, BASE))
        self.strength = nn.Linear(LATENT, SIZES[0], bias=False)
        layers: list[nn.Module] = [Residual(SIZES[0]) for _ in range(BLOCKS)]
        for size_in, size_out in pairwise(SIZES):
            layers += [mix(size_in, size_out), Resize(size_out, up=True), *(Residual(size_out) for _ in range(BLOCKS))]
        self.layers = nn.Sequential(*layers, mix(SIZES[-1], CHANNELS))

    def forward(self, noise: Tensor) -> Tensor:
        images: Tensor = self.layers(self.strength(noise)[:, :, None, None] * self.pictures)
        return images


class Discriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [mix(CHANNELS, SIZES[-1])]
        for size_in, size_out in pairwise(reversed(SIZES)):
            layers += [*(Residual(size_in) for _ in range(BLOCKS)), Resize(size_in, up=False), mix(size_in, size_out)]
        self.layers = nn.Sequential(*layers, *(Residual(SIZES[0]) for _ in range(BLOCKS)))
        self.pictures = nn.Parameter(torch.randn(SIZES[0], BASE, BASE) / BASE)
        self.head = nn.Linear(SIZES[0], 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head((self.layers(x) * self.pictures).sum((2, 3)))
        return logits.squeeze(1)


def slope(logits: Tensor, images: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2


def trainer(images: Tensor, batch: int) -> Callable[[], None]:
    """A function that does one round on random images of `images`, (n, 3, 32, 32) uint8."""
    made, judge = Generator(), Discriminator()
    average = copy.deepcopy(made)
    optimize_g = torch.optim.Adam(made.parameters(), RATE, (0.0, 0.99))
    optimize_d = torch.optim.Adam(judge.parameters(), RATE, (0.0, 0.99))

    def discriminator_step(real: Tensor) -> None:
        optimize_d.zero_grad()
        real, fake = real.detach().requires_grad_(), made(torch.randn(batch, LATENT)).detach().requires_grad_()
        real_logits, fake_logits = judge(real), judge(fake)
        loss = F.softplus(fake_logits - real_logits).mean()
        loss = loss + GAMMA * (slope(real_logits, real) + slope(fake_logits, fake))
        torch.autograd.backward(loss)
        optimize_d.step()
        loss.item()

    def round() -> None:
        real = images[torch.randint(len(images), (batch,))].float() / 127.5 - 1
        discriminator_step(real)
        optimize_g.zero_grad()
        with torch.no_grad():
            real_logits = judge(real)
        fake_logits = judge(made(torch.randn(batch, LATENT)))
        torch.autograd.backward(F.softplus(real_logits - fake_logits).mean())
        optimize_g.step()
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), made.parameters(), strict=True):
                mine.lerp_(theirs, 1 - DECAY)

    return round
