"""WGAN (Arjovsky et al., 2017): a critic instead of a classifier, kept Lipschitz by clipping its weights."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks(),
    game: Game = Game(objective="wasserstein", clip_weights=0.01, discriminator_steps=5),
    learning: Learning = Learning(optimizer="rmsprop", lr=5e-5, discriminator_lr=5e-5, beta2=0.99, steps=50_000),
    telling: Telling = Telling(),
) -> Recipe:
    """The settings of algorithm 1: five critic steps with RMSprop. Told the class where there is one, as in cgan."""
    return image_recipe(spec, networks, game, learning, telling)


PRESETS = {
    "tiny": Preset(
        {"lr": 1e-3, "discriminator_lr": 1e-3, "clip_weights": 0.03, "steps": 8000},
        sides=(8, 15),
        command="elegan train digits --model wgan",
        cost="144 s on one CPU core",
        score="97.7% recognised, 97.1% useful (three seeds; docs/results.md)",
    ),
    "small": Preset(
        {"lr": 5e-4, "discriminator_lr": 5e-4, "clip_weights": 0.02, "steps": 15_000},
        sides=(16, 40),
        command="elegan train mnist/train.parquet --model wgan",
        cost="26 minutes on one CPU core",
        score="93.5% recognised, 92.9% useful (one seed; docs/results.md)",
    ),
}
