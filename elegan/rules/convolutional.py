"""The two-player game on DCGAN's networks, which several variants share."""

from __future__ import annotations

from collections.abc import Callable

from elegan.game import Spec
from elegan.losses.objectives import Objective
from elegan.losses.penalties import Penalty
from elegan.networks.dcgan import DCGANDiscriminator, DCGANGenerator, Norm
from elegan.rules.two_player import TwoPlayer


def convolutional_game(
    spec: Spec,
    objective: Objective,
    *,
    latent: int,
    width: int,
    discriminator_norm: Norm = "batch",
    discriminator_steps: int = 1,
    penalty: Penalty | None = None,
) -> Callable[[], TwoPlayer]:
    """What builds the game; both networks are told the class if `spec` has classes."""

    def build() -> TwoPlayer:
        generator = DCGANGenerator(spec.shape, latent=latent, width=width, num_classes=spec.num_classes)
        discriminator = DCGANDiscriminator(spec.shape, width=width, num_classes=spec.num_classes, norm=discriminator_norm)
        return TwoPlayer(spec, generator, discriminator, objective, latent=latent, discriminator_steps=discriminator_steps, penalty=penalty)

    return build
