"""A generator whose first layer is known, for the mathematics of exploring."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from elegan.game import LatentGAN, Spec
from elegan.randomness import Randomness


class Known(LatentGAN):
    """Latents (n, layers, size), normal, each layer through its own linear map, joined to the condition's two numbers if there is
    one; their sum is the image, (n, 1, 8, 8), after `activation`."""

    def __init__(self, layers: int = 1, size: int = 6, *, told: bool = False, activation: nn.Module | None = None) -> None:
        super().__init__(Spec(1, 8, 8, ("a", "b") if told else ()))
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.maps = nn.ModuleList(nn.Linear(size + 2 * told, 64) for _ in range(layers))
            self.embedding = nn.Embedding(2, 2)
        self.generator = nn.ModuleList([self.maps, self.embedding])
        self.size, self.told, self.activation = size, told, activation or nn.Identity()

    def latents(self, random: Randomness, condition: Tensor | None) -> Tensor:
        return random.normal("latent", len(self.maps), self.size)

    def render(self, latents: Tensor, condition: Tensor | None) -> Tensor:
        more = [self.embedding(condition)] if self.told else []
        total = sum(one(torch.cat([*more, part], 1)) for one, part in zip(self.maps, latents.unbind(1), strict=True))
        image: Tensor = self.activation(total)
        return image.view(-1, 1, 8, 8)

    def truncated(self, latents: Tensor, condition: Tensor | None, truncation: float) -> Tensor:
        return latents * truncation

    def matrices(self) -> list[Tensor]:
        """What each layer's numbers meet."""
        return [one.weight.detach()[:, -self.size :].double() for one in self.maps]  # type: ignore[union-attr, index, operator]


@pytest.fixture
def known() -> type[Known]:
    return Known
