"""StyleGAN (Karras et al., 2019): styles set mean and deviation of the generator's maps; both networks grow."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

from elegan.game import Preset, Recipe, Spec
from elegan.rules.growing import GrowingStyled, Growth
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe
from elegan.rules.styled import Style, Styled


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks("stylegan", latent=512, width=64, discriminator_width=64, depth=8, discriminator_norm="none"),
    style: Style = Style(path_length_weight=0.0),
    grow_until: Annotated[
        float, "the share of the training after which the networks are as large as the images; 0 for from the start"
    ] = 0.5,
    game: Game = Game(penalty="r1", penalty_weight=10.0),
    learning: Learning = Learning(
        lr=1e-3, discriminator_lr=1e-3, beta1=0.0, beta2=0.99, batch=32, steps=780_000, average_half_life=10_000.0
    ),
    telling: Telling = Telling("concatenate", "projection"),
) -> Recipe:
    """The published networks for 256x256 and settings, for days on a GPU. Latents are styles."""
    style.check(networks.network)
    growth = Growth(grow_until)
    growth.check(networks.network)
    rule = partial(GrowingStyled, growth=growth) if grow_until else Styled
    found = image_recipe(spec, networks, game, learning, telling, partial(rule, style=style))
    return replace(found, idle={**found.idle, **style.idle()})


PRESETS: dict[str, Preset] = {}
