"""The residual networks of WGAN-GP and SNGAN at 32x32, and both papers' rounds of five discriminator steps and one of the
generator."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

LATENT, GENERATOR_WIDTH, DISCRIMINATOR_WIDTH = 128, 256, 128
Wrap = Callable[[nn.Module], nn.Module]


class Up(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)
        self.skip = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.interpolate(F.relu(self.norm1(x)), scale_factor=2))
        y = self.conv2(F.relu(self.norm2(y)))
        out: Tensor = y + self.skip(F.interpolate(x, scale_factor=2))
        return out


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = GENERATOR_WIDTH
        self.start = nn.Linear(LATENT, 16 * width)
        self.blocks = nn.Sequential(Up(width), Up(width), Up(width))
        self.end = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 3, 3, 1, 1), nn.Tanh())

    def forward(self, noise: Tensor) -> Tensor:
        images: Tensor = self.end(self.blocks(self.start(noise).view(-1, GENERATOR_WIDTH, 4, 4)))
        return images


class Down(nn.Module):
    def __init__(self, size_in: int, width: int, wrap: Wrap, *, first: bool = False, down: bool = True) -> None:
        super().__init__()
        self.first, self.down = first, down
        self.conv1, self.conv2 = wrap(nn.Conv2d(size_in, width, 3, 1, 1)), wrap(nn.Conv2d(width, width, 3, 1, 1))
        self.skip = wrap(nn.Conv2d(size_in, width, 1)) if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        skip: Tensor = x
        if self.down:
            y = F.avg_pool2d(y, 2)
            skip = self.skip(F.avg_pool2d(x, 2)) if self.first else F.avg_pool2d(self.skip(x), 2)
        out: Tensor = y + skip
        return out


class Discriminator(nn.Module):
    def __init__(self, wrap: Wrap) -> None:
        super().__init__()
        width = DISCRIMINATOR_WIDTH
        down = [Down(3, width, wrap, first=True), Down(width, width, wrap)]
        self.blocks = nn.Sequential(*down, Down(width, width, wrap, down=False), Down(width, width, wrap, down=False))
        self.head = wrap(nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(F.relu(self.blocks(x)).sum((2, 3)))
        return logits.squeeze(1)


def penalty(judge: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    share = torch.rand(len(real), 1, 1, 1)
    between = (real + share * (fake - real)).requires_grad_()
    (gradient,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
    lengths: Tensor = gradient.flatten(1).norm(dim=1)
    return 10 * ((lengths - 1) ** 2).mean()


def trainer(images: Tensor, batch: int, *, spectral: bool) -> Callable[[], None]:
    """A function that does five discriminator steps (SNGAN with hinge loss, or WGAN-GP) and one of the generator."""
    made, judge = Generator(), Discriminator(spectral_norm if spectral else lambda layer: layer)
    average = copy.deepcopy(made)
    optimize_g = torch.optim.Adam(made.parameters(), 2e-4, (0.0, 0.9))
    optimize_d = torch.optim.Adam(judge.parameters(), 2e-4, (0.0, 0.9))

    def discriminator_step() -> None:
        real = images[torch.randint(len(images), (batch,))].float() / 127.5 - 1
        optimize_d.zero_grad()
        fake = made(torch.randn(batch, LATENT)).detach()
        real_logits, fake_logits = judge(real), judge(fake)
        if spectral:
            loss = F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
        else:
            loss = fake_logits.mean() - real_logits.mean() + penalty(judge, real, fake)
        torch.autograd.backward(loss)
        optimize_d.step()
        loss.item()

    def round() -> None:
        for _ in range(5):
            discriminator_step()
        optimize_g.zero_grad()
        torch.autograd.backward(-judge(made(torch.randn(batch, LATENT))).mean())
        optimize_g.step()
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), made.parameters(), strict=True):
                mine.lerp_(theirs, 0.005)

    return round
