"""Fashion-MNIST, 28x28, on two cores: the model and preset that `elegan train fashion_mnist/train.parquet` takes by itself, and StyleGAN2.

Usage: ELEGAN_DATA=FOLDER python benchmarks/fashion_mnist.py [cgan|stylegan2 ...]

GANs and classifiers see the 60,000 training images, the 10,000 test images judge. Grids of seeds 0 to 63 of the first
seed are kept in docs/pictures. The last weights are judged, nothing is selected. The study can be stopped and taken up again.
"""

from __future__ import annotations

import sys
from typing import Any

from labelled import measure
from study import study

PICTURES = {"cgan": "fashion-mnist.png", "stylegan2": "fashion-mnist-stylegan2.png"}


def measure_arm(arm: str, seed: int) -> dict[str, Any]:
    return measure("fashion_mnist", arm, seed, samples=10_000, picture=PICTURES[arm] if seed == 0 else "")


if __name__ == "__main__":
    study("fashion_mnist", sys.argv[1:] or list(PICTURES), range(3), measure_arm)
