"""The classic GAN (Goodfellow et al., 2014): fully connected networks, mirrored."""

from __future__ import annotations

from typing import Annotated

from elegan.game import Preset, Recipe, Spec
from elegan.networks.mlp import MLPDiscriminator, MLPGenerator
from elegan.rules.options import Game, Learning
from elegan.rules.two_player import TwoPlayer


def recipe(
    spec: Spec,
    *,
    latent: Annotated[int, "numbers of noise that a sample is made from"] = 100,
    hidden: Annotated[int, "units between noise and pixels"] = 256,
    game: Game = Game(),
    learning: Learning = Learning(batch=128, steps=40_000),
) -> Recipe:
    """Fully connected networks: noise -> hidden -> pixels, and back to one logit. Labels are not used."""

    def build() -> TwoPlayer:
        generator = MLPGenerator(latent, [hidden], spec.shape)
        discriminator = MLPDiscriminator([hidden], spec.shape)
        return game.play(spec.unconditional(), generator, discriminator, latent)

    game.check()
    return learning.recipe(build, idle=game.idle())


PRESETS = {
    "tiny": Preset(
        {"steps": 8000},
        sides=(8, 15),
        command="elegan train digits --model gan",
        cost="33 s on one CPU core",
        score="smallest class 7.0%, coverage 58% (three seeds; docs/results.md)",
    ),
}
