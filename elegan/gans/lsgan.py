"""LSGAN (Mao et al., 2017): least squares instead of cross-entropy."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks(),
    game: Game = Game(objective="least_squares"),
    learning: Learning = Learning(),
    telling: Telling = Telling(),
) -> Recipe:
    """DCGAN's networks told the class where there is one, as in cgan, with the objective of equation 9."""
    return image_recipe(spec, networks, game, learning, telling)


PRESETS = {
    "tiny": Preset(
        {"beta1": 0.0, "steps": 1500},
        sides=(8, 15),
        command="elegan train digits --model lsgan",
        cost="77 s on one CPU core",
        score="99.3% recognised, 97.8% useful (three seeds; docs/results.md)",
    ),
    "small": Preset(
        {"steps": 5000},
        sides=(16, 40),
        command="elegan train mnist/train.parquet --model lsgan",
        cost="12 minutes on one CPU core",
        score="98.6% recognised, 96.9% useful (one seed; docs/results.md)",
    ),
}
