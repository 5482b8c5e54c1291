"""The game of networks that grow while they play: small images first (Karras et al., 2018, section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from elegan.errors import OptionError
from elegan.game import Batch, Move
from elegan.networks.growing import coarse
from elegan.networks.stylegan import StyleGANDiscriminator, StyleGANGenerator
from elegan.rules.styled import Styled


@dataclass(frozen=True)
class Growth:
    """How long the networks grow: until this share of the training; with 0 they are grown from the start."""

    until: float

    def check(self, network: str) -> None:
        """OptionError for what is no share, and for networks that cannot grow."""
        if not 0 <= self.until <= 1:
            raise OptionError(f"--grow-until: got {self.until}, expected a share from 0 to 1.")
        if self.until and network != "stylegan":
            raise OptionError(f"--network {network} cannot grow. Use --grow-until 0 with it.")

    def at(self, progress: float, doublings: int) -> float:
        """The doublings in use. Each comes in an equal part of the time: in its first half nothing changes, in the second it fades in."""
        if progress >= self.until:
            return float(doublings)
        whole, part = divmod(progress / self.until * doublings, 1)
        return whole + max(0.0, 2 * part - 1)


class GrowingStyled(Styled):
    """Both networks grow with the progress of the training, and real images show as much detail as generated ones."""

    generator: StyleGANGenerator
    discriminator: StyleGANDiscriminator

    def __init__(self, *positional: Any, growth: Growth, **named: Any) -> None:
        super().__init__(*positional, **named)
        self.growth = growth
        self.grow(growth.at(0.0, self.generator.synthesis.doublings))

    def grow(self, growth: float) -> None:
        for network in (self.generator.synthesis, self.discriminator.blocks):
            network.grow(growth)

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        doublings = self.generator.synthesis.doublings
        # a training that is made longer, or begins with another's networks, has less of its way behind it, and networks do not shrink
        growth = max(self.growth.at(batch.progress, doublings), float(self.generator.synthesis.growth))
        self.grow(growth)
        yield from super().play(replace(batch, real=coarse(batch.real, growth, doublings)), step)

    def views(self, batch: Batch) -> dict[str, Tensor]:
        synthesis = self.generator.synthesis
        return super().views(replace(batch, real=coarse(batch.real, float(synthesis.growth), synthesis.doublings)))
