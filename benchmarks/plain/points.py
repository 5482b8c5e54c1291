"""RpGAN with R1 and R2 on points in a plane, as a fast script would write it: the operations of elegan's preset, and nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT, WIDTH, BATCH, RATE, NOISE, GAMMA, INTERVAL, DECAY = 8, 128, 256, 3e-3, 0.1, 0.01, 4, 0.99


def network(size_in: int, size_out: int) -> nn.Module:
    hidden = [layer for pair in pairwise([size_in, WIDTH, WIDTH, WIDTH]) for layer in (nn.Linear(*pair), nn.LeakyReLU(0.2))]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, size_out))


def trainer(points: Tensor, steps: int) -> Callable[[], None]:
    """A function that does one round on random rows of `points`, (n, 2) float32; schedules are those of `steps` rounds."""
    made, judge = network(LATENT, 2), network(2, 1)
    average = copy.deepcopy(made)
    optimize_g = torch.optim.Adam(made.parameters(), RATE, (0.0, 0.99), fused=True)
    optimize_d = torch.optim.Adam(judge.parameters(), RATE, (0.0, 0.99), fused=True)
    mine, theirs = list(average.parameters()), list(made.parameters())
    done = 0

    def noisy(samples: Tensor) -> Tensor:
        return samples + NOISE * (1 - done / steps) * torch.randn_like(samples)

    def slope(samples: Tensor) -> Tensor:
        samples = samples.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(judge(noisy(samples)).sum(), samples, create_graph=True)
        return gradient.square().sum(1).mean() / 2

    def round() -> None:
        nonlocal done
        for optimizer in (optimize_d, optimize_g):
            optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * done / steps)) / 2
        real, fake = points[torch.randint(len(points), (BATCH,))], made(torch.randn(BATCH, LATENT))
        loss = F.softplus(judge(noisy(fake.detach())) - judge(noisy(real))).mean()
        if done % INTERVAL == 0:
            loss = loss + INTERVAL * GAMMA * (slope(real) + slope(fake))
        optimize_d.zero_grad()
        torch.autograd.backward(loss)
        optimize_d.step()
        judge.requires_grad_(False)
        with torch.no_grad():
            on_real = judge(noisy(real))
        loss = F.softplus(on_real - judge(noisy(fake))).mean()
        optimize_g.zero_grad()
        torch.autograd.backward(loss)
        optimize_g.step()
        judge.requires_grad_(True)
        torch._foreach_lerp_([weight.data for weight in mine], [weight.data for weight in theirs], 1 - DECAY)
        done += 1

    return round
