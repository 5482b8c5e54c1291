"""The noise that a generator starts from."""

from __future__ import annotations

from math import erf, sqrt
from typing import Literal

import torch
from torch import Tensor

from elegan.randomness import Randomness

NoiseName = Literal["normal", "uniform", "truncated_normal"]
BOUND = 2.0
"""A truncated normal has nothing beyond two standard deviations."""


def draw(name: NoiseName, random: Randomness, size: int) -> Tensor:
    """(n, size): standard normal, uniform in [-1, 1], or standard normal without what lies beyond `BOUND`."""
    if name == "normal":
        return random.normal("latent", size)
    shares = random.uniform("latent", size)
    if name == "uniform":
        return 2 * shares - 1
    inside = erf(BOUND / sqrt(2))
    return sqrt(2) * torch.erfinv(inside * (2 * shares - 1))
