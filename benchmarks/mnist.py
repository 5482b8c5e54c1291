"""MNIST, 28x28, on two cores: the conditional GAN, the unconditional DCGAN and the classic fully connected GAN.

Usage: ELEGAN_DATA=FOLDER python benchmarks/mnist.py [ARM ...]

GANs and classifiers see the 60,000 training images, the 10,000 test images judge. The grid of seeds 0 to 63 is kept in
docs/pictures. The last weights are judged, nothing is selected.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import numpy as np
from judge import accuracy, predict, train_classifier
from study import data_folder, keep_picture, study, train_by_command

import elegan

SAMPLES = 10_000
ARMS = {"cgan": range(3), "dcgan": range(3), "gan": range(1)}


def measure(arm: str, seed: int) -> dict[str, Any]:
    folder = data_folder() / "mnist"
    with tempfile.TemporaryDirectory() as out:
        run, seconds = train_by_command(str(folder / "train.parquet"), "--model", arm, "--seed", str(seed), "--out", out)
        model = elegan.load(run)
        record = elegan.Run(run).record
        samples = model.sample(range(SAMPLES))
        if seed == 0:
            keep_picture(elegan.sample(str(run), seeds="0-63"), f"mnist-{arm}.png")
    train, test = (elegan.prepare(elegan.open_data(str(folder / f"{split}.parquet"))) for split in ("train", "test"))
    assert train.labels is not None
    assert test.labels is not None
    judge = train_classifier(train.images, train.labels, seed=seed)
    result = {"seconds": seconds, "precision": record["precision"], "steps": model.step, "samples": SAMPLES}
    result["judge_accuracy"] = accuracy(judge, test.images, test.labels)
    found = predict(judge, samples)
    shares = np.bincount(found, minlength=10) / SAMPLES
    result |= {"smallest_class_share": float(shares.min()), "class_shares": [round(float(share), 4) for share in shares]}
    if model.spec.classes:
        labels = np.array(model.classes_of(tuple(range(SAMPLES)), None))
        result["recognised"] = float((found == labels).mean())
        result["usefulness"] = accuracy(train_classifier(samples, labels, seed=seed), test.images, test.labels)
    return result


if __name__ == "__main__":
    for arm in sys.argv[1:] or ARMS:
        study("mnist", [arm], ARMS[arm], measure)
