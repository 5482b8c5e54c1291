"""StyleGAN (Karras et al., 2019): styles set mean and deviation of the generator's maps; both networks grow."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

from elegan.game import Preset, Recipe, Spec
from elegan.rules.automatic import against_learning_by_heart, batch_for, equalised_rates, lasting, width_for
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


def automatic(spec: Spec, images: int, device: str, batch: int | None = None) -> dict[str, object]:
    """What suits images of this size, so many of them, and this device. R1 comes lazily, as in StyleGAN2; a CPU gets narrow networks."""
    batch, cpu = batch or batch_for(spec), device == "cpu"
    return {
        **width_for(spec, device),
        **{"latent": 128 if cpu else 512, "depth": 2 if cpu else 8},
        **{"batch": batch, "penalty_interval": 16},
        **equalised_rates(spec, batch, device),
        **lasting(batch, device),
        **against_learning_by_heart(images, device),
    }


PRESETS: dict[str, Preset] = {}
