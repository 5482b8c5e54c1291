"""What a network is told beside its input, and how that becomes features."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Conditions:
    """A class number of `classes`, (n,) int64, or `numbers` values, (n, k) float32, near [-1, 1]; with neither, nothing."""

    classes: int = 0
    numbers: int = 0

    def __bool__(self) -> bool:
        return bool(self.classes or self.numbers)

    @property
    def outputs(self) -> int:
        """How many logits guess the condition: one for each class, or one for each number."""
        return self.classes or self.numbers

    def features(self, size: int, *, bias: bool = False) -> nn.Module:
        """A layer from a condition to features (n, size): a row for each class, or a linear map of the numbers.

        bias: whether numbers of 0 may have features too; a class always has its own.
        """
        return nn.Embedding(self.classes, size) if self.classes else nn.Linear(self.numbers, size, bias=bias)
