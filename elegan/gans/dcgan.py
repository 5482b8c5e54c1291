"""DCGAN (Radford et al., 2016): strided convolutions, batch norm, no pooling. Labels are not used."""

from __future__ import annotations

from elegan.game import Adam, Preset, Recipe, Spec
from elegan.losses import objectives, penalties
from elegan.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from elegan.rules.two_player import TwoPlayer


def recipe(
    spec: Spec,
    *,
    latent: int = 100,
    width: int = 64,
    objective: str = "non_saturating",
    penalty: str = "none",
    penalty_weight: float = 1.0,
    penalty_interval: int = 1,
    discriminator_steps: int = 1,
    lr: float = 2e-4,
    discriminator_lr: float = 2e-4,
    beta1: float = 0.5,
    batch: int = 64,
    steps: int = 20_000,
    average_half_life: float = 10_000.0,
) -> Recipe:
    """The published networks and settings, at any size from 8 to 256. Labels are not used."""
    game = objectives.objective(objective)
    gradient_penalty = penalties.penalty(penalty, penalty_weight, penalty_interval)

    def build() -> TwoPlayer:
        return TwoPlayer(
            spec.unlabelled(),
            DCGANGenerator(spec.shape, latent=latent, width=width),
            DCGANDiscriminator(spec.shape, width=width),
            game,
            latent=latent,
            discriminator_steps=discriminator_steps,
            penalty=gradient_penalty,
        )

    optimizers = {"generator": Adam(lr, (beta1, 0.999)), "discriminator": Adam(discriminator_lr, (beta1, 0.999))}
    return Recipe(build, optimizers, batch, steps, average_half_life)


PRESETS: dict[str, Preset] = {}
