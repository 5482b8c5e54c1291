"""The classic GAN (Goodfellow et al., 2014): fully connected networks, mirrored."""

from __future__ import annotations

from elegan.game import Adam, Preset, Recipe, Spec
from elegan.losses import objectives
from elegan.losses.objectives import ObjectiveName
from elegan.networks.mlp import MLPDiscriminator, MLPGenerator
from elegan.rules.two_player import TwoPlayer


def recipe(
    spec: Spec,
    *,
    latent: int = 100,
    hidden: int = 256,
    objective: ObjectiveName = "non_saturating",
    discriminator_steps: int = 1,
    lr: float = 2e-4,
    discriminator_lr: float = 2e-4,
    batch: int = 128,
    steps: int = 40_000,
    average_half_life: float = 10_000.0,
) -> Recipe:
    """Fully connected networks: noise -> hidden -> pixels, and back to one logit. Labels are not used."""
    game = objectives.objective(objective)

    def build() -> TwoPlayer:
        generator = MLPGenerator(latent, [hidden], spec.shape)
        discriminator = MLPDiscriminator([hidden], spec.shape)
        return TwoPlayer(spec.unconditional(), generator, discriminator, game, latent=latent, discriminator_steps=discriminator_steps)

    optimizers = {"generator": Adam(lr), "discriminator": Adam(discriminator_lr)}
    return Recipe(build, optimizers, batch, steps, average_half_life)


PRESETS: dict[str, Preset] = {}
