"""BigGAN (Brock et al., 2019): residual networks with self-attention, noise for every block, and large batches."""

from __future__ import annotations

from elegan.game import Preset, Recipe, Spec
from elegan.networks.dcgan import num_doublings
from elegan.rules.automatic import against_learning_by_heart, batch_for, lasting
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe


def recipe(
    spec: Spec,
    *,
    networks: Networks = Networks("biggan", latent=120, width=96, discriminator_width=96, discriminator_norm="spectral"),
    game: Game = Game(objective="hinge", discriminator_steps=2, orthogonal=1e-4),
    learning: Learning = Learning(lr=5e-5, discriminator_lr=2e-4, beta1=0.0, batch=2048, steps=330_000, average_half_life=2.8e7),
    telling: Telling = Telling("batch_norm", "projection"),
) -> Recipe:
    """The paper's settings for ImageNet at 128x128, for days on many accelerators.

    A round is a discriminator's step, so that the generator moves 165,000 times. The average has the paper's decay of 0.9999 for
    each of these. `--accumulate` divides the batch where memory is short; batch norm then sees a part at a time. At 256x256 the
    paper has latent 140.
    """
    return image_recipe(spec, networks, game, learning, telling)


def automatic(spec: Spec, images: int, device: str, batch: int | None = None) -> dict[str, object]:
    """What suits images of this size, so many of them, and this device. A batch is what fits into memory, far from the paper's 2,048:
    --accumulate 8 with --batch 2048 is nearer to it. Each layer has as much of the noise, so that samples can be mixed."""
    cpu = device == "cpu"
    batch = batch or batch_for(spec) * (1 if cpu else 8)
    chosen = {**NARROW, "width": 8, "discriminator_width": 8, "lr": 1e-3, "discriminator_lr": 4e-4} if cpu else {}
    latent = 140 if (num_doublings(spec.height, spec.width) + 1) % 7 == 0 else 120
    return {**chosen, "latent": latent, "batch": batch, **lasting(batch, device), **against_learning_by_heart(images, device)}


NARROW: dict[str, object] = {
    "width": 12,
    "discriminator_width": 12,
    "discriminator_steps": 1,
    "batch": 64,
    "average_half_life": 10_000.0,
    "schedule": "linear",
}
"""Networks that a CPU can train, and a fall of learning rates for a short training."""

PRESETS = {
    "tiny": Preset(
        {**NARROW, "lr": 2e-3, "discriminator_lr": 1e-3, "steps": 1500},
        sides=(8, 15),
        command="elegan train digits --model biggan",
        cost="a minute on one CPU core",
        score="99.5% recognised, 95.3% useful (three seeds; docs/results.md)",
    ),
    "small": Preset(
        {**NARROW, "batch": 32, "lr": 7e-4, "discriminator_lr": 3e-4, "steps": 8000},
        sides=(16, 40),
        command="elegan train fashion_mnist/train.parquet --model biggan",
        cost="13 minutes on one CPU core",
        score="91.8% recognised, coverage 80.5% (three seeds; docs/results.md)",
    ),
    "medium": Preset(
        {**NARROW, "width": 8, "discriminator_width": 8, "lr": 1e-3, "discriminator_lr": 4e-4, "steps": 6000},
        sides=(41, 96),
        command="elegan train ./images --model biggan",
    ),
}
