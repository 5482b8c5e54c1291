"""DCGAN at 64x64, width 64, as PyTorch's own tutorial would write the step: the generated batch is made for each move anew,
and every backward pass fills the gradients of both networks."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT, WIDTH, CHANNELS = 100, 64, 3


def generator() -> nn.Module:
    w = WIDTH
    layers: list[nn.Module] = [nn.ConvTranspose2d(LATENT, 8 * w, 4, bias=False), nn.BatchNorm2d(8 * w), nn.ReLU()]
    for size_in, size_out in ((8 * w, 4 * w), (4 * w, 2 * w), (2 * w, w)):
        layers += [nn.ConvTranspose2d(size_in, size_out, 4, 2, 1, bias=False), nn.BatchNorm2d(size_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(w, CHANNELS, 4, 2, 1), nn.Tanh())


def discriminator() -> nn.Module:
    w = WIDTH
    layers: list[nn.Module] = [nn.Conv2d(CHANNELS, w, 4, 2, 1), nn.LeakyReLU(0.2)]
    for size_in, size_out in ((w, 2 * w), (2 * w, 4 * w), (4 * w, 8 * w)):
        layers += [nn.Conv2d(size_in, size_out, 4, 2, 1, bias=False), nn.BatchNorm2d(size_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8 * w, 1, 4), nn.Flatten(0))


def trainer(images: Tensor, batch: int) -> Callable[[], None]:
    """A function that does one round on random images of `images`, (n, 3, 64, 64) uint8."""
    made, judge = generator(), discriminator()
    average = copy.deepcopy(made)
    optimize_g = torch.optim.Adam(made.parameters(), 2e-4, (0.5, 0.999))
    optimize_d = torch.optim.Adam(judge.parameters(), 2e-4, (0.5, 0.999))

    def round() -> None:
        real = images[torch.randint(len(images), (batch,))].float() / 127.5 - 1
        optimize_d.zero_grad()
        fake = made(torch.randn(batch, LATENT, 1, 1))
        loss = F.softplus(-judge(real)).mean() + F.softplus(judge(fake.detach())).mean()
        torch.autograd.backward(loss)
        optimize_d.step()
        optimize_g.zero_grad()
        fake = made(torch.randn(batch, LATENT, 1, 1))
        torch.autograd.backward(F.softplus(-judge(fake)).mean())
        optimize_g.step()
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), made.parameters(), strict=True):
                mine.lerp_(theirs, 0.005)
        loss.item()

    return round
