"""ACGAN (Odena et al., 2017): the discriminator is not told the class but guesses it."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks(),
    game: Game = Game(),
    learning: Learning = Learning(),
    telling: Telling = Telling(discriminator_condition="auxiliary"),
) -> Recipe:
    """DCGAN's networks; both players also lower the cross-entropy of the guess, of real and of generated images."""
    return image_recipe(spec, networks, game, learning, telling)


PRESETS = {
    "tiny": Preset(
        {"beta1": 0.0, "steps": 1500},
        sides=(8, 15),
        command="elegan train digits --model acgan",
        cost="70 s on one CPU core",
        score="98.8% recognised, 92.8% useful (three seeds; docs/results.md)",
    ),
    "small": Preset(
        {"steps": 5000},
        sides=(16, 40),
        command="elegan train mnist/train.parquet --model acgan",
        cost="10 minutes on one CPU core",
        score="97.2% recognised, 84.5% useful (one seed; docs/results.md)",
    ),
}
