from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

Numbers = Mapping[str, Sequence[object]]


@dataclass
class ChosenForADA:
    """The numbers of uses as given, a row for each image; a use without numbers does not happen, while p is below 2."""

    numbers: Numbers
    count: int

    def uniform(self, stream: str, *shape: int) -> Tensor:
        use = stream.split("/", 1)[1]
        if use.endswith("/happens"):
            return torch.full((self.count, *shape), 0.0 if use.removesuffix("/happens") in self.numbers else 1.0)
        return self.normal(stream, *shape)

    def normal(self, stream: str, *shape: int) -> Tensor:
        use = stream.split("/", 1)[1]
        if use not in self.numbers:
            return torch.full((self.count, *shape), torch.nan)
        return torch.tensor(self.numbers[use], dtype=torch.float64).view(self.count, *shape)


@pytest.fixture
def chosen() -> Callable[[Numbers], ChosenForADA]:
    return lambda numbers: ChosenForADA(numbers, len(next(iter(numbers.values()))))
