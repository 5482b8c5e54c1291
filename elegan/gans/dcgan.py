"""DCGAN (Radford et al., 2016): strided convolutions, batch norm, no pooling. Labels are not used."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.rules.options import Game, Learning, Networks, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks(),
    game: Game = Game(),
    learning: Learning = Learning(),
) -> Recipe:
    """The published networks and settings, at any size from 8 to 1024. Labels are not used."""
    return image_recipe(spec, networks, game, learning)


PRESETS = {
    "tiny": Preset(
        {"beta1": 0.0, "steps": 1500},
        sides=(8, 15),
        command="elegan train digits --model dcgan",
        cost="44 s on one CPU core",
        score="smallest class 8.3%, coverage 65% (three seeds; docs/results.md)",
    ),
    "small": Preset(
        {"steps": 10_000},
        sides=(16, 40),
        command="elegan train mnist/train.parquet --model dcgan",
        cost="10 minutes on two CPU cores",
        score="smallest class 6.2% (three seeds), coverage 65% (one seed; docs/results.md)",
    ),
    "medium": Preset(
        {"width": 32, "discriminator_width": 32, "steps": 6000},
        sides=(41, 96),
        command="elegan train ./images",
        cost="18 minutes on two CPU cores",
        score="97% of the way from a tenth of the training to real faces (three seeds; docs/results.md)",
    ),
}
