"""WGAN-GP (Gulrajani et al., 2017): a critic without batch norm, kept 1-Lipschitz by a penalty on its gradient."""

from __future__ import annotations

from elegan.game import Adam, Preset, Recipe, Spec
from elegan.losses.objectives import OBJECTIVES
from elegan.losses.penalties import Penalty, gradient_penalty
from elegan.rules.convolutional import convolutional_game


def recipe(
    spec: Spec,
    *,
    latent: int = 128,
    width: int = 64,
    penalty_weight: float = 10.0,
    discriminator_steps: int = 5,
    lr: float = 1e-4,
    discriminator_lr: float = 1e-4,
    batch: int = 64,
    steps: int = 50_000,
    average_half_life: float = 10_000.0,
) -> Recipe:
    """Five critic steps for each generator step. Told the class where there is one, as in cgan."""

    game = convolutional_game(
        spec,
        OBJECTIVES["wasserstein"],
        latent=latent,
        width=width,
        discriminator_norm="none",  # the penalty is on each sample's own gradient (section 4 of the paper)
        discriminator_steps=discriminator_steps,
        penalty=Penalty(gradient_penalty, penalty_weight),
    )
    optimizers = {"generator": Adam(lr, (0.0, 0.9)), "discriminator": Adam(discriminator_lr, (0.0, 0.9))}
    return Recipe(game, optimizers, batch, steps, average_half_life, conditional=True)


PRESETS: dict[str, Preset] = {}
