"""StyleGAN2 (Karras et al., 2020): styles modulate the layers of the generator; lazy R1 and even paths keep it steady."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import log2, sqrt

from elegan.game import Preset, Recipe, Spec
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe
from elegan.rules.styled import Style, Styled


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks("stylegan2", latent=512, width=64, discriminator_width=64, depth=8, discriminator_norm="none"),
    style: Style = Style(),
    game: Game = Game(penalty="r1", penalty_weight=1.0, penalty_interval=16),
    learning: Learning = Learning(
        lr=2.5e-3, discriminator_lr=2.5e-3, beta1=0.0, beta2=0.99, batch=64, steps=390_000, average_half_life=20_000.0
    ),
    telling: Telling = Telling("concatenate", "projection"),
) -> Recipe:
    """The published networks and settings for 256x256, for days on a GPU; presets have others. Latents are styles."""
    style.check(networks.network)
    found = image_recipe(spec, networks, game, learning, telling, partial(Styled, style=style))
    return replace(found, idle={**found.idle, **style.idle()})


def automatic(spec: Spec, images: int, device: str) -> dict[str, object]:
    """What suits images of this size, so many of them, and this device.

    The weight of R1, the learning rate and the average are those that the authors' follow-up works out (Karras et al., 2020b, appendix
    C): gamma = 0.0002 h w / batch. A CPU gets narrow networks, and a training of hours and not of days.
    """
    side, cpu = sqrt(spec.height * spec.width), device == "cpu"
    batch = 32 if side <= 40 else 16 if side <= 256 else 8 if side <= 512 else 4
    width = (1024 if cpu else 16384 if side < 512 else 32768) / side
    width = 2 ** round(log2(min(512, max(8, width))))
    chosen = {
        **{"width": width, "discriminator_width": width, "widest": 256 if cpu else 512, "batch": batch},
        **{"latent": 128 if cpu else 512, "depth": 2 if cpu else 8, "path_length_weight": 0.0 if cpu or side <= 40 else 2.0},
        **{"penalty_weight": round(0.0002 * spec.height * spec.width / batch, 4), "average_half_life": batch * 10_000.0 / 32},
        **{"lr": 2e-3 if side >= 1024 else 2.5e-3, "discriminator_lr": 2e-3 if side >= 1024 else 2.5e-3},
        "steps": (300_000 if cpu else 5_000_000) // batch,
    }
    return chosen | ({"augment": "ada", "augment_images": 100_000.0 if cpu else 500_000.0} if images < FEW else {})


FEW = 100_000
"""Below this many images the discriminator can learn them by heart, so that it sees them augmented."""

PRESETS: dict[str, Preset] = {}
