"""SNGAN (Miyato et al., 2018): every layer of the discriminator is divided by its largest singular value."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks("resnet", latent=128, width=256, discriminator_width=128, discriminator_norm="spectral"),
    game: Game = Game(objective="hinge", discriminator_steps=5),
    learning: Learning = Learning(beta1=0.0, beta2=0.9, schedule="linear", steps=50_000),
    telling: Telling = Telling("batch_norm", "projection"),
) -> Recipe:
    """Residual networks and hinge loss; the class by conditional batch norm and projection (Miyato and Koyama, 2018)."""
    return image_recipe(spec, networks, game, learning, telling)


PRESETS = {
    "tiny": Preset(
        {"width": 48, "discriminator_width": 48, "discriminator_steps": 1, "lr": 2e-3, "discriminator_lr": 1e-3, "steps": 1500},
        sides=(8, 15),
        command="elegan train digits --model sngan",
        cost="97 s on one CPU core",
        score="99.2% recognised, 95.9% useful (three seeds; docs/results.md)",
    ),
    "small": Preset(
        {"width": 48, "discriminator_width": 48, "discriminator_steps": 1, "lr": 1e-3, "discriminator_lr": 4e-4, "steps": 4000},
        sides=(16, 40),
        command="elegan train mnist/train.parquet --model sngan",
        cost="22 minutes on one CPU core",
        score="99.6% recognised, 95.6% useful (one seed; docs/results.md)",
    ),
}
