"""The relativistic pairing GAN with R1 and R2 (Jolicoeur-Martineau, 2019; Huang et al., 2024): it keeps all modes. Labels are not used."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.rules.options import Game, Learning, Networks, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks(width=32, discriminator_width=32, discriminator_norm="none"),
    game: Game = Game(objective="relativistic_paired", penalty="r1+r2", penalty_interval=2),
    learning: Learning = Learning(lr=1e-3, discriminator_lr=1e-3, beta1=0.0, beta2=0.99, schedule="linear", steps=10_000),
) -> Recipe:
    """Each sample against a real one, and the discriminator's slope bounded at both. DCGAN's networks, without its batch norm in
    the discriminator; fully connected ones for points."""
    return image_recipe(spec, networks, game, learning)


POINTS = {
    **{"network": "mlp", "width": 128, "discriminator_width": 128, "depth": 3, "activation": "relu", "waves": 64, "latent": 8},
    **{"batch": 512, "steps": 15_000, "lr": 3e-3, "discriminator_lr": 3e-3, "schedule": "exponential", "average_half_life": 20_000.0},
    **{"penalty_weight": 0.01, "penalty_interval": 4},
    **{"instance_noise": 0.2, "instance_noise_until": 0.4, "instance_noise_fall": "geometric"},
}
"""Noise that falls by even factors lets the discriminator see coarse shapes first and narrow peaks last, and waves let it see these
at all. ReLU makes the generator's steps from peak to peak steep; large batches keep peaks from becoming too narrow."""

PRESETS = {
    "points": Preset(
        POINTS,
        sides=(1, 1),
        command="elegan train ring",
        cost="4 minutes on one CPU core",
        score="ring: 8 of 8 modes, 97.6% of high quality; grid: 25 of 25, 95.4% (ten seeds each; docs/results.md)",
    ),
    "small": Preset(
        {},
        sides=(16, 40),
        command="elegan train ./images --model rpgan",
        cost="24 minutes on one CPU core",
        score="all 1,000 modes of stacked MNIST, KL 0.035 where real digits have 0.025 (docs/results.md)",
    ),
    "medium": Preset(
        {"penalty_weight": 0.3, "penalty_end": 0.4, "penalty_interval": 4, "steps": 6000},
        sides=(41, 96),
        command="elegan train ./images --model rpgan --mirror --minutes 20",
        cost="20 minutes on one CPU core, 6,913 steps",
        score="distance 10.4 to real faces where dcgan has 21.2, nearer by 4.4 to 17.0 (two seeds; docs/results.md)",
    ),
}
