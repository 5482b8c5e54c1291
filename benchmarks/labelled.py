"""Training a model on labelled data by the command line, and judging its samples on held-out test images."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from judge import coverage, variety
from study import data_folder, keep_picture, train_by_command

import elegan
from elegan.metrics.classifier import Labels, accuracy, predict, train_classifier
from elegan.pictures import Pixels


def open_split(data: str, split: str) -> tuple[str, Pixels, Labels]:
    """What to train on, as a person gives it, and the pixels and labels of a split. data: digits, or a folder of ELEGAN_DATA."""
    where = data if data == "digits" else str(data_folder() / data / f"{split}.parquet")
    source = elegan.open_data(where, split=split) if data == "digits" else elegan.open_data(where)
    prepared = elegan.prepare(source)
    assert prepared.labels is not None
    return where, prepared.images, prepared.labels


def keep_grid(run: Path, name: str) -> None:
    """Seeds 0 to 63 as docs/pictures/NAME."""
    keep_picture(Path(elegan.sample(str(run), seeds="0-63")), name)


def measure(
    data: str, model: str, seed: int, *, samples: int, look: Callable[[Path], None] | None = None, options: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Train with the model's own settings; the last weights are judged. GAN and classifiers see the training images, the test
    images judge. look: is given the run, to keep pictures of it."""
    where, images, labels = open_split(data, "train")
    _, test_images, test_labels = open_split(data, "test")
    with tempfile.TemporaryDirectory() as out:
        run, seconds = train_by_command(where, "--model", model, "--seed", str(seed), "--out", out, *options)
        trained, record = elegan.load(run), elegan.Run(run).record
        pixels = trained.sample(range(samples))
        if look:
            look(run)
    result: dict[str, Any] = {"seconds": seconds, "precision": record["precision"], "steps": trained.step, "samples": samples}
    judge = train_classifier(images, labels, seed=seed)
    result["judge_accuracy"] = accuracy(judge, test_images, test_labels)
    found, classes = predict(judge, pixels), int(labels.max()) + 1
    shares = np.bincount(found, minlength=classes) / samples
    result |= {"smallest_class_share": float(shares.min()), "class_shares": [round(float(share), 4) for share in shares]}
    result["coverage"] = coverage(judge, test_images, pixels[: len(test_images)])
    if trained.spec.classes:
        asked = np.array(trained.classes_of(tuple(range(samples))))
        result["recognised"] = float((found == asked).mean())
        result["variety"] = variety(judge, test_images, test_labels, pixels, asked)
        result["usefulness"] = accuracy(train_classifier(pixels, asked, seed=seed), test_images, test_labels)
    return result
