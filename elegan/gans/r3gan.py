"""R3GAN (Huang et al., 2024): a relativistic GAN with R1 and R2 on modern residual networks without norms."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.rules.automatic import SMALL, against_learning_by_heart, batch_for, lasting, side, width_for
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks("r3gan", latent=64, width=768, discriminator_width=768, widest=768, discriminator_norm="none"),
    game: Game = Game(objective="relativistic_paired", penalty="r1+r2", penalty_weight=0.05, penalty_end=0.1, penalty_until=0.1),
    learning: Learning = Learning(
        lr=2e-4,
        discriminator_lr=2e-4,
        beta1=0.0,
        beta2=0.99,
        schedule="burn_in",
        batch=512,
        steps=490_000,
        average_half_life=5e6,
    ),
    telling: Telling = Telling("concatenate", "projection"),
) -> Recipe:
    """The paper's settings for CIFAR-10 (its table 9), for many days on a GPU.

    While burning in, learning rates fall to a quarter and gamma to a tenth: here in the first tenth of the training, there in 8%.
    Networks for 64x64 have a --width of 384, for 256x256 of 96. Gamma of other data: 0.5 and 1 for ImageNet at 32x32 and 64x64, 2
    and 150 for FFHQ at 64x64 and 256x256. Two of the paper's schedules are not here: beta2 has its last value from the start, where
    theirs rises from 0.9, and the images are not augmented. The average's half-life grows evenly with the images seen, as in all of
    elegan's variants, and not as a cosine.
    """
    return image_recipe(spec, networks, game, learning, telling)


def automatic(spec: Spec, images: int, device: str, batch: int | None = None) -> dict[str, object]:
    """What suits images of this size, so many of them, and this device. The paper has no rule for gamma, so that it grows with the
    number of pixels, as R1's of StyleGAN2; its batches are cut to what fits into memory.

    On a CPU gamma falls all the time: where it fell early, the discriminator became sure and faces of 64x64 worse again after 17,000
    images; where it stayed, they ended worse with more images. Networks are half as wide on larger images, and see more of them in
    the same time. What was tried is in docs/results.md.
    """
    cpu = device == "cpu"
    batch = batch or batch_for(spec) * (1 if cpu else 8)
    large = {"width": 8, "discriminator_width": 8} if side(spec) > SMALL else {}
    narrow = {**NARROW, **large, "penalty_until": 1.0}
    return {
        **(narrow if cpu else width_for(spec, device)),
        **{"penalty_weight": spec.height * spec.width / 1024, "penalty_interval": 4 if cpu else 1},
        **{"batch": batch, **lasting(batch, device), **against_learning_by_heart(images, device)},
    }


NARROW: dict[str, object] = {
    **{"width": 16, "discriminator_width": 16, "widest": 128, "schedule": "linear", "average_half_life": 10_000.0},
    **{"lr": 1e-3, "discriminator_lr": 1e-3, "penalty_weight": 1.0, "penalty_interval": 4},
}
"""Networks that a CPU can train, rates that fall in a short training, and penalties on every fourth update."""

PRESETS = {
    "tiny": Preset(
        {**NARROW, "penalty_weight": 10.0, "penalty_end": 1.0, "batch": 64, "steps": 3000},
        sides=(8, 15),
        command="elegan train digits --model r3gan",
        cost="2 minutes on one CPU core",
        score="98.3% recognised, 95.4% useful (three seeds; docs/results.md)",
    ),
    "small": Preset(
        {**NARROW, "batch": 32, "steps": 10_000},
        sides=(16, 40),
        command="elegan train cifar10/train.parquet --model r3gan --minutes 15",
        cost="15 minutes on two CPU cores, 5,302 steps",
        score="62.8% recognised, coverage 87.3% (two seeds; docs/results.md)",
    ),
}
