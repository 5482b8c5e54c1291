"""WGAN-GP (Gulrajani et al., 2017): a critic without batch norm, kept 1-Lipschitz by a penalty on its gradient."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks(latent=128, discriminator_norm="none"),
    game: Game = Game(objective="wasserstein", penalty="gradient_penalty", penalty_weight=10.0, discriminator_steps=5),
    learning: Learning = Learning(lr=1e-4, discriminator_lr=1e-4, beta1=0.0, beta2=0.9, steps=50_000),
    telling: Telling = Telling(),
) -> Recipe:
    """Five critic steps for each generator step; told the class where there is one, as in cgan. --network resnet: the paper's
    residual networks."""
    return image_recipe(spec, networks, game, learning, telling)


PRESETS = {
    "tiny": Preset(
        {"lr": 5e-4, "discriminator_lr": 5e-4, "steps": 4000},
        sides=(8, 15),
        command="elegan train digits --model wgan_gp",
        cost="157 s on one CPU core",
        score="98.8% recognised, 97.5% useful (three seeds; docs/results.md)",
    ),
    "small": Preset(
        {"lr": 5e-4, "discriminator_lr": 5e-4, "steps": 5000},
        sides=(16, 40),
        command="elegan train mnist/train.parquet --model wgan_gp",
        cost="13 minutes on one CPU core",
        score="96.5% recognised, 95.7% useful (one seed; docs/results.md)",
    ),
}
