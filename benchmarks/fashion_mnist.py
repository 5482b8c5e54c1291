"""Fashion-MNIST, 28x28, on two cores: the model and preset that `elegan train fashion_mnist/train.parquet` takes by itself.

Usage: ELEGAN_DATA=FOLDER python benchmarks/fashion_mnist.py

GANs and classifiers see the 60,000 training images, the 10,000 test images judge. The grid of seeds 0 to 63 of the first
seed is kept in docs/pictures. The last weights are judged, nothing is selected.
"""

from __future__ import annotations

from typing import Any

from labelled import measure
from study import study


def measure_arm(arm: str, seed: int) -> dict[str, Any]:
    return measure("fashion_mnist", arm, seed, samples=10_000, picture="fashion-mnist.png" if seed == 0 else "")


if __name__ == "__main__":
    study("fashion_mnist", ["cgan"], range(3), measure_arm)
