"""CIFAR-10, 32x32: strong models beside DCGAN and SNGAN, 15 minutes on two cores each, two seeds, judged alike.

Usage: ELEGAN_DATA=FOLDER python benchmarks/strong.py steps [ARM ...]  how many steps fit into the time; on a quiet machine, once
       ELEGAN_DATA=FOLDER python benchmarks/strong.py [ARM ...]        the study; it can be stopped and taken up again

Each model has the settings that it has for such images without any flag. GANs and the judging classifier see the training
images, the 10,000 test images judge 10,000 samples of the last weights; nothing is selected. The judge is a classifier of
this data (its accuracy is in each result), so distances are not comparable with published ones, which are of Inception's. The
pictures stay on this machine: the licence of the data is unclear.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from judge import coverage
from labelled import open_split
from study import data_folder, fix_steps, fixed_steps, study, train_by_command, words_of

import elegan
from elegan.metrics.classifier import DataClassifier, accuracy, classifier_extractor, train_classifier
from elegan.metrics.frechet import frechet_distance, frechet_interval, statistics
from elegan.metrics.kernel import kernel_distance

MODELS = ("dcgan", "sngan", "biggan", "stylegan2", "r3gan")
MINUTES, SAMPLES = 15, 10_000
JUDGES: list[DataClassifier] = []
"""The judge, once it is trained: the same for all arms and seeds."""


def asked(arm: str) -> dict[str, Any]:
    return {"data": str(data_folder() / "cifar10" / "train.parquet"), "model": arm}


def the_judge(images: Any, labels: Any) -> DataClassifier:
    if not JUDGES:
        JUDGES.append(train_classifier(images, labels))
    return JUDGES[0]


def measure(arm: str, seed: int) -> dict[str, Any]:
    _, images, labels = open_split("cifar10", "train")
    _, test_images, test_labels = open_split("cifar10", "test")
    steps = fixed_steps("strong", arm)
    judge = the_judge(images, labels)
    extractor = classifier_extractor(judge)
    result: dict[str, Any] = {"judge": extractor.digest, "judge_accuracy": accuracy(judge, test_images, test_labels), "samples": SAMPLES}
    with tempfile.TemporaryDirectory() as out:
        run, seconds = train_by_command(*words_of({**asked(arm), "seed": seed, "steps": steps, "out": out}))
        trained, config = elegan.load(run), elegan.Run(run).config
        pixels = trained.sample(range(SAMPLES))
        keep = Path(tempfile.gettempdir()) / f"cifar-{arm}-{seed}.png"
        elegan.sample(str(run), seeds="0-63", out=keep)
        print(f"seeds 0 to 63, to look at: {keep}")
    result |= {"seconds": seconds, "steps": steps, "images": steps * int(config["batch"])}
    real, found = extractor.features(test_images).values, extractor.features(pixels)
    reference = statistics(real)
    interval = frechet_interval(reference, found.values)
    kernel = kernel_distance(real, found.values)
    result |= {"frechet": frechet_distance(reference, statistics(found.values)), "frechet_interval": [interval.low, interval.high]}
    result |= {"kernel": kernel.mean, "kernel_error": kernel.standard_error, "coverage": coverage(judge, test_images, pixels)}
    if trained.spec.classes:
        assert found.logits is not None
        wanted = np.array(trained.classes_of(tuple(range(SAMPLES))))
        result["recognised"] = float((found.logits.argmax(1).numpy() == wanted).mean())
    return result


if __name__ == "__main__":
    if sys.argv[1:2] == ["steps"]:
        fix_steps("strong", MINUTES, {model: asked(model) for model in sys.argv[2:] or MODELS})
    else:
        study("strong", sys.argv[1:] or MODELS, range(2), measure)
