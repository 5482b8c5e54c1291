"""MNIST, 28x28, on two cores: the conditional GAN, the unconditional DCGAN and the classic fully connected GAN.

Usage: ELEGAN_DATA=FOLDER python benchmarks/mnist.py [ARM ...]

GANs and classifiers see the 60,000 training images, the 10,000 test images judge. The grid of seeds 0 to 63 is kept in
docs/pictures. The last weights are judged, nothing is selected.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from labelled import keep_grid, measure
from study import study

ARMS = {"cgan": range(3), "dcgan": range(3), "gan": range(1)}


def measure_arm(arm: str, seed: int) -> dict[str, Any]:
    return measure("mnist", arm, seed, samples=10_000, look=partial(keep_grid, name=f"mnist-{arm}.png") if seed == 0 else None)


if __name__ == "__main__":
    for arm in sys.argv[1:] or ARMS:
        study("mnist", [arm], ARMS[arm], measure_arm)
