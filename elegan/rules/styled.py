"""The game of a style-based generator: TwoPlayer with style mixing and path length regularisation."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from typing import Annotated, Any

import torch
from torch import Tensor

from elegan.errors import OptionError
from elegan.game import Batch
from elegan.losses.path_length import PathLength, path_lengths
from elegan.networks.style import StyleGenerator
from elegan.randomness import Randomness, SeedRandomness
from elegan.rules.noise import draw
from elegan.rules.two_player import TwoPlayer

CENTRE_SAMPLES = 4096
"""How many samples' styles the centre is the mean of."""

PATH_LENGTH_SHARE = 2
"""Path lengths are of so many times fewer samples than a batch has (Karras et al., 2020, appendix B)."""


STYLED = ("stylegan2", "stylegan")
"""The networks whose generators make images of styles."""


@dataclass(frozen=True)
class Style:
    """What keeps styles apart and even."""

    mixing: Annotated[float, "the share of samples whose later layers take the style of another noise"] = 0.9
    path_length_weight: Annotated[float, "weight of the path length penalty; 0 for none"] = 2.0
    path_length_interval: Annotated[int, "applied every so many updates of the generator, and then so many times as strongly"] = 4

    def check(self, network: str) -> None:
        if network not in STYLED:
            raise OptionError(
                f"--network {network} makes no images of styles. Use --network {' or '.join(STYLED)}, or another model: rpgan for points."
            )
        if not 0 <= self.mixing <= 1:
            raise OptionError(f"--mixing: got {self.mixing}, expected a share from 0 to 1.")
        if self.path_length_interval < 1:
            raise OptionError(f"--path-length-interval: got {self.path_length_interval}; it counts updates, so it is at least 1.")

    def idle(self) -> dict[str, str]:
        """Options that make no difference beside the others, and why."""
        return {} if self.path_length_weight else {"path_length_interval": "there is no path length penalty"}


class Styled(TwoPlayer):
    """A generator that makes images of styles, and styles of noise; latents are styles."""

    generator: StyleGenerator

    def __init__(self, *positional: Any, style: Style, **named: Any) -> None:
        super().__init__(*positional, **named)
        self.style, self.path_length = style, PathLength()

    @property
    def period(self) -> int:
        moves = self.style.path_length_interval if self.style.path_length_weight else 1
        return lcm(super().period, moves * self.discriminator_steps)

    def generate(self, random: Randomness, condition: Tensor | None) -> Tensor:
        noise = draw(self.noise, random, self.latent)
        if not self.style.mixing:
            return super().generate(random, condition)
        images: Tensor = self.generator(noise, condition, *self.mixture(random))
        return images

    def mixture(self, random: Randomness) -> tuple[Tensor, Tensor]:
        """Another noise (n, latent), and the layer (n,) from which it takes over: one of 1 to the last, or none of them."""
        layers = self.generator.layers_in_use
        mixes, where = random.uniform("mixes"), random.uniform("crossover")
        crossover = torch.where(mixes < self.style.mixing, 1 + (where * (layers - 1)).long(), layers)
        return draw(self.noise, random, self.latent, "other latent"), crossover

    def generator_loss(self, batch: Batch, fake: Tensor, step: int) -> Tensor:
        loss, move = super().generator_loss(batch, fake, step), step // self.discriminator_steps
        if not self.style.path_length_weight or move % self.style.path_length_interval:
            return loss
        return loss + self.style.path_length_weight * self.style.path_length_interval * self.uneven_paths(batch)

    def uneven_paths(self, batch: Batch) -> Tensor:
        """In float32 and uncompiled, because there is a second derivative."""
        few = slice(max(1, len(batch) // PATH_LENGTH_SHARE))
        condition = None if batch.condition is None else batch.condition[few]
        noise = draw(self.noise, batch.random, self.latent, "path latent")[few]
        other, crossover = self.mixture(batch.random)
        with torch.autocast(noise.device.type, enabled=False):
            styles = self.generator.styles(noise, condition, other[few], crossover[few])
            images = self.generator.synthesis.forward(styles)
            penalty: Tensor = self.path_length(path_lengths(images, styles, batch.random.normal("path", *self.spec.shape)[few]))
        self.note("path_length", self.path_length.average)
        return penalty

    def shared(self, player: str) -> list[Tensor]:
        return [*super().shared(player), *(self.path_length.shared if player == "generator" else [])]

    def settle(self, player: str) -> None:
        super().settle(player)
        if player == "generator":
            self.path_length.adjust()

    def latents(self, random: Randomness, condition: Tensor | None) -> Tensor:
        return self.generator.styles(draw(self.noise, random, self.latent), condition)

    def render(self, latents: Tensor, condition: Tensor | None) -> Tensor:
        images: Tensor = self.generator.synthesis(latents)
        return images

    def truncated(self, latents: Tensor, condition: Tensor | None, truncation: float) -> Tensor:
        """Styles moved towards the mean style (Karras et al., 2019, section B): of the class, or of attributes, asked for."""
        if truncation == 1:
            return latents
        return torch.lerp(self.centre(condition, latents.device), latents, truncation)

    def centre(self, condition: Tensor | None, device: torch.device) -> Tensor:
        """The mean style (n or 1, 1, size) of many noises, the same each time."""
        noise = draw(self.noise, SeedRandomness(tuple(range(CENTRE_SAMPLES)), device), self.latent)
        if condition is None:
            mean: Tensor = self.generator.mapping(noise, None).mean(0)
            return mean[None, None]
        asked, which = torch.unique(condition, dim=0, return_inverse=True)
        means = [self.generator.mapping(noise, one.expand(len(noise), *one.shape)).mean(0) for one in asked]
        return torch.stack(means)[which][:, None]
