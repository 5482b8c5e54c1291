"""Stacked MNIST, 1,000 modes: a digit in each channel of one picture, and no labels. How many modes does a model find?

Usage: ELEGAN_DATA=FOLDER python benchmarks/stacked_mnist.py [ARM ...]

Counts as Lin et al. (2018, section 4.3) have them: 128,000 fixed training images, 26,000 samples, a mode is found if one
sample is in it, reverse KL from equal shares. Digits are padded to 32x32, and told by a classifier of single digits that
learned from MNIST's training images. The networks are ordinary ones of three channels and share nothing between channels.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from labelled import open_split
from PIL import Image
from study import keep_picture, study, train_by_command

import elegan
from elegan.metrics.classifier import DataClassifier, Labels, accuracy, predict, train_classifier
from elegan.metrics.modes import labelled_coverage, stacked_modes
from elegan.pictures import Pixels

TRAIN, SAMPLES = 128_000, 26_000
ARMS = {
    "real": (),
    "relativistic": ("--model", "rpgan"),
    "dcgan": ("--model", "dcgan", "--width", "32", "--discriminator-width", "32", "--steps", "20000"),
}
"""real: stacks of test digits, as a perfect sampler would make them. dcgan: the published settings, for as long."""


def padded(split: str) -> tuple[Pixels, Labels]:
    """Digits uint8 (n, 32, 32, 1), and which they are (n,)."""
    _, images, labels = open_split("mnist", split)
    return np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))), labels


def stacks(digits: Pixels, count: int, seed: int) -> Pixels:
    """uint8 (count, h, w, 3): three digits drawn with replacement, one in each channel."""
    rows = np.random.default_rng(seed).integers(0, len(digits), (count, 3))
    return np.concatenate([digits[rows[:, channel]] for channel in range(3)], axis=3)


def write_parquet(images: Pixels, path: Path) -> None:
    cells = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG", compress_level=1)
        cells.append({"bytes": buffer.getvalue()})
    pyarrow.parquet.write_table(pyarrow.table({"image": cells}), path)


def modes_found(judge: DataClassifier, images: Pixels) -> dict[str, Any]:
    digits = np.stack([predict(judge, np.ascontiguousarray(images[..., channel : channel + 1])) for channel in range(3)], axis=1)
    found = labelled_coverage(stacked_modes(digits), 1000)
    print(found, flush=True)
    return {"modes": float(found.modes), "kl": found.kl, "floor": found.floor, "smallest_mode_share": found.smallest, "samples": found.n}


def measure(arm: str, seed: int) -> dict[str, Any]:
    judge, (test, test_labels) = train_classifier(*padded("train"), seed=seed), padded("test")
    result: dict[str, Any] = {"judge_accuracy": accuracy(judge, test, test_labels)}
    if arm == "real":
        return {**result, **modes_found(judge, stacks(test, SAMPLES, seed))}
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "stacked.parquet"
        write_parquet(stacks(padded("train")[0], TRAIN, seed=0), data)
        run, seconds = train_by_command(str(data), *ARMS[arm], "--seed", str(seed), "--out", name)
        trained = elegan.load(run)
        if seed == 0:
            keep_picture(Path(elegan.sample(str(run), seeds="0-63")), f"stacked-mnist-{arm}.png")
        result |= {"seconds": seconds, "steps": trained.step, "precision": elegan.Run(run).record["precision"]}
        return {**result, **modes_found(judge, trained.sample(range(SAMPLES)))}


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ARMS:
        study("stacked_mnist", [chosen], range(2 if chosen == "dcgan" else 3), measure)
