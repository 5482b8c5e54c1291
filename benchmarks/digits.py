"""What the first command reaches: `elegan train digits`, three seeds, on the built-in digits.

Usage: python benchmarks/digits.py

The GAN and the classifiers see the 1,437 training digits; the 360 held-out digits judge. Time is the whole process,
from start to picture. The last weights are judged, nothing is selected.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from judge import suspiciously_close
from study import keep_picture, study, train_by_command

import elegan
from elegan.metrics.classifier import accuracy, predict, train_classifier

SAMPLES = 5000


def measure(arm: str, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as out:
        run, seconds = train_by_command("digits", "--seed", str(seed), "--out", out)
        if seed == 0:
            keep_picture(run / "samples.png", "digits.png")
        model = elegan.load(run)
        record = elegan.Run(run).record
        samples = model.sample(range(SAMPLES))
        labels = np.array(model.classes_of(tuple(range(SAMPLES)), None))
    train, test = (elegan.prepare(elegan.open_data("digits", split=split)) for split in ("train", "test"))
    assert train.labels is not None
    assert test.labels is not None
    judge = train_classifier(train.images, train.labels, seed=seed)
    close, close_real = suspiciously_close(samples, train.images, test.images)
    return {
        "seconds": seconds,
        "precision": record["precision"],
        "steps": model.step,
        "recognised": float((predict(judge, samples) == labels).mean()),
        "usefulness": accuracy(train_classifier(samples, labels, seed=seed), test.images, test.labels),
        "judge_accuracy": accuracy(judge, test.images, test.labels),
        "suspiciously_close": close,
        "suspiciously_close_real": close_real,
        "samples": SAMPLES,
    }


if __name__ == "__main__":
    study("digits", ["default"], range(3), measure)
