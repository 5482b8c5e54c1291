"""Penalties on the discriminator's gradient with respect to its input.

All work on a score function (images (n, c, h, w) -> logits (n,)) that already knows its condition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from elegan.errors import OptionError, nearest
from elegan.randomness import Randomness

Score = Callable[[Tensor], Tensor]


def squared_gradient_norms(score: Score, images: Tensor) -> Tensor:
    """(n,): the squared length of d score(x) / dx of each sample, over all its pixels and channels."""
    images = images.detach().float().requires_grad_()
    (gradient,) = torch.autograd.grad(score(images).sum(), images, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def gradient_penalty(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """E (||grad|| - 1)^2 at points drawn between real and generated samples (Gulrajani et al., 2017, equation 3)."""
    share = random.uniform("interpolate", *[1] * (real.dim() - 1)).to(real.dtype)
    squared = squared_gradient_norms(score, real + share * (fake - real))
    # The square root has no finite derivative at 0, where a fresh or clipped critic can be.
    return ((squared + 1e-12).sqrt() - 1).square().mean()


def r1(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """E ||grad||^2 / 2 at real samples (Mescheder et al., 2018, equation 9); its weight is their gamma."""
    return squared_gradient_norms(score, real).mean() / 2


@dataclass(frozen=True)
class Penalty:
    """A penalty, its weight, and every how many updates it is applied (then `interval` times as strongly)."""

    value: Callable[[Score, Tensor, Tensor, Randomness], Tensor]
    weight: float
    interval: int = 1

    def due(self, step: int) -> bool:
        return step % self.interval == 0

    def __call__(self, score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
        return self.weight * self.interval * self.value(score, real, fake, random)


PenaltyName = Literal["none", "gradient_penalty", "r1"]
PENALTIES = {"gradient_penalty": gradient_penalty, "r1": r1}


def penalty(name: str, weight: float, interval: int = 1) -> Penalty | None:
    """The penalty of this name, or None for "none" or weight 0; OptionError with the nearest name otherwise."""
    if name not in (*PENALTIES, "none"):
        raise OptionError(f"penalty: got {name!r}. {nearest(name, [*PENALTIES, 'none'])}")
    if interval < 1:
        raise OptionError(f"penalty_interval: got {interval}; it counts updates, so it is at least 1.")
    if name == "none" or weight == 0:
        return None
    return Penalty(PENALTIES[name], weight, interval)
