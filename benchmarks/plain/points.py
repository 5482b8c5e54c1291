"""RpGAN with R1 and R2 on points in a plane, as a fast script would write it: the operations of elegan's preset, and nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT, WIDTH, WAVES, BATCH, RATE, GAMMA, INTERVAL, DECAY = 8, 128, 64, 512, 3e-3, 0.01, 4, 0.98
NOISE, LEAST, UNTIL = 0.2, 0.05, 0.4


def network(size_in: int, size_out: int) -> nn.Module:
    hidden = [layer for pair in pairwise([size_in, WIDTH, WIDTH, WIDTH]) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, size_out))


def trainer(points: Tensor, steps: int) -> Callable[[], None]:
    """A function that does one round on random rows of `points`, (n, 2) float32; schedules are those of `steps` rounds."""
    made, judge = network(LATENT, 2), network(2 + 2 * WAVES, 1)
    directions = F.normalize(torch.randn(2, WAVES), dim=0) * torch.logspace(math.log10(0.5), math.log10(32), WAVES)
    average = copy.deepcopy(made)
    optimize_g = torch.optim.Adam(made.parameters(), RATE, (0.0, 0.99), fused=True)
    optimize_d = torch.optim.Adam(judge.parameters(), RATE, (0.0, 0.99), fused=True)
    mine, theirs = list(average.parameters()), list(made.parameters())
    done = 0

    def logits(samples: Tensor) -> Tensor:
        share = done / steps / UNTIL
        if share < 1:
            samples = samples + NOISE * LEAST**share * torch.randn_like(samples)
        angles = samples @ directions
        found: Tensor = judge(torch.cat([samples, angles.sin(), angles.cos()], 1))
        return found

    def slope(samples: Tensor) -> Tensor:
        samples = samples.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(logits(samples).sum(), samples, create_graph=True)
        return gradient.square().sum(1).mean() / 2

    def round() -> None:
        nonlocal done
        for optimizer in (optimize_d, optimize_g):
            optimizer.param_groups[0]["lr"] = RATE * 0.01 ** (done / steps)
        real, fake = points[torch.randint(len(points), (BATCH,))], made(torch.randn(BATCH, LATENT))
        loss = F.softplus(logits(fake.detach()) - logits(real)).mean()
        if done % INTERVAL == 0:
            loss = loss + INTERVAL * GAMMA * (slope(real) + slope(fake))
        optimize_d.zero_grad()
        torch.autograd.backward(loss)
        optimize_d.step()
        judge.requires_grad_(False)
        with torch.no_grad():
            on_real = logits(real)
        loss = F.softplus(on_real - logits(fake)).mean()
        optimize_g.zero_grad()
        torch.autograd.backward(loss)
        optimize_g.step()
        judge.requires_grad_(True)
        torch._foreach_lerp_([weight.data for weight in mine], [weight.data for weight in theirs], 1 - DECAY)
        done += 1

    return round
