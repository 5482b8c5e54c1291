"""What suits images of a size, so many of them, and a device: options that the large variants work out where none are given."""

from __future__ import annotations

from math import log2, sqrt

from elegan.game import Spec

FEW = 100_000
"""Below this many images a discriminator can learn them by heart, so that it sees them augmented."""

SMALL = 40
"""Sides up to here are those of small images."""


def side(spec: Spec) -> float:
    """Of a square with as many pixels."""
    return sqrt(spec.height * spec.width)


def batch_for(spec: Spec) -> int:
    """Real images in a round: fewer where they are large, which is what fits into memory."""
    return next(batch for batch, most in ((32, 40), (16, 256), (8, 512), (4, float("inf"))) if side(spec) <= most)


def width_for(spec: Spec, device: str) -> dict[str, object]:
    """Channels on the largest map, and at most: the published ones of StyleGAN2 on a GPU, far fewer on a CPU."""
    if device == "cpu":
        width, widest = 16 if side(spec) <= 64 else 8, 128
    else:
        width, widest = 2 ** round(log2(min(512, max(8, (16384 if side(spec) < 512 else 32768) / side(spec))))), 512
    return {"width": width, "discriminator_width": width, "widest": widest}


def equalised_rates(spec: Spec, batch: int, device: str) -> dict[str, object]:
    """Learning rates of networks with equalised layers, and gamma of R1: 0.0002 pixels / batch (Karras et al., 2020b, appendix C).

    Weights of size 1 hardly move in some thousand steps of the published 0.0025. So on a CPU, whose trainings are short, rates are
    larger and fall, and gamma is 8 times as large: on CIFAR-10, after 20,000 images, the Frechet distance was 3.3, where rates
    of 0.0025 had 5.0 with networks twice as wide.
    """
    gamma, published = 0.0002 * spec.height * spec.width / batch, 2e-3 if side(spec) >= 1024 else 2.5e-3
    if device == "cpu":
        return {"lr": 1e-2, "discriminator_lr": 5e-3, "schedule": "linear", "penalty_weight": round(8 * gamma, 4)}
    return {"lr": published, "discriminator_lr": published, "penalty_weight": round(gamma, 4)}


def lasting(batch: int, device: str) -> dict[str, object]:
    """The average's half-life, of the same appendix, and rounds of training: hours on a CPU, a day or two on a GPU."""
    return {"average_half_life": batch * 10_000.0 / 32, "steps": (300_000 if device == "cpu" else 5_000_000) // batch}


def against_learning_by_heart(images: int, device: str) -> dict[str, object]:
    """ADA, whose probability rises fast enough for the length of the training: in a fiftieth of it in the paper, in a fifteenth of
    what a CPU does by itself, of which many people wait for a part only."""
    return {"augment": "ada", "augment_images": 20_000.0 if device == "cpu" else 500_000.0} if images < FEW else {}
