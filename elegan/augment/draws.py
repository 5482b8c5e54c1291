"""Numbers of one augmentation for each image of a batch: with probability p as drawn, else those that change nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from elegan.randomness import Randomness


@dataclass(frozen=True)
class Draws:
    """p: the probability of each use, a number or a tensor without axes. What is drawn is (n, *shape) of `dtype`; an image's
    numbers of one use are as drawn, or all change nothing."""

    random: Randomness
    stream: str
    p: float | Tensor
    dtype: torch.dtype

    def with_probability(self, p: float | Tensor) -> Draws:
        return replace(self, p=p)

    def happens(self, use: str) -> Tensor:
        """(n,) bool: whether this use changes the image."""
        return self.random.uniform(f"{self.stream}/{use}/happens") < self.p

    def share(self, use: str, *shape: int) -> Tensor:
        """From [0, 1), for every image."""
        return self.random.uniform(f"{self.stream}/{use}", *shape).to(self.dtype)

    def whole(self, use: str, count: int) -> Tensor:
        """0 to count - 1, all as likely; else 0."""
        return self._where_it_happens(use, (self.share(use) * count).floor())

    def uniform(self, use: str, most: float, *shape: int) -> Tensor:
        """From -most to most; else 0."""
        return self._where_it_happens(use, (2 * self.share(use, *shape) - 1) * most)

    def normal(self, use: str, std: float, *shape: int) -> Tensor:
        """N(0, std^2); else 0."""
        return self._where_it_happens(use, self.random.normal(f"{self.stream}/{use}", *shape).to(self.dtype) * std)

    def factor(self, use: str, std: float) -> Tensor:
        """2^N(0, std^2); else 1."""
        return torch.exp2(self.normal(use, std))

    def _where_it_happens(self, use: str, values: Tensor) -> Tensor:
        return torch.where(self.happens(use).view(-1, *[1] * (values.dim() - 1)), values, 0.0)
