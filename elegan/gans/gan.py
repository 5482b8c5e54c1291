"""The classic GAN (Goodfellow et al., 2014): fully connected networks, mirrored."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.rules.options import Game, Learning, Networks, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks("mlp", width=256, discriminator_width=256, discriminator_norm="none"),
    game: Game = Game(),
    learning: Learning = Learning(batch=128, steps=40_000),
) -> Recipe:
    """Fully connected networks: noise -> hidden units -> pixels, and back to one logit. Labels are not used."""
    return image_recipe(spec, networks, game, learning)


PRESETS = {
    "tiny": Preset(
        {"steps": 8000},
        sides=(8, 15),
        command="elegan train digits --model gan",
        cost="33 s on one CPU core",
        score="smallest class 7.0%, coverage 58% (three seeds; docs/results.md)",
    ),
}
