"""Samples whose faults are known, measured as any others: which number sees which fault, and which is blind to it.

Usage: ELEGAN_DATA=FOLDER python benchmarks/known_answers.py

The model is thought to have learned from the first 10,000 images of MNIST; its samples are 2,000 other training images, as a
perfect generator would make, or those 2,000 with a fault. 2,000 test images judge. Results: one file for each fault.
"""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from study import RESULTS, data_folder, study

import elegan
from elegan.pictures import Pixels
from elegan.tasks.evaluate import measured
from elegan.tasks.judges import extractor_for
from elegan.tasks.material import Asked, Material

LEARNED, SAMPLES, FEW = 10_000, 2_000, 200
CASES = ("perfect", "copies", "drops-7-8-9", "blurred", "noisy", "few")


def part(data: elegan.ImageData, rows: slice, name: str) -> elegan.ImageData:
    assert data.labels is not None
    return replace(data, images=data.images[rows], labels=data.labels[rows], name=name, fingerprint=f"{data.fingerprint}-{name}")


def blur(images: Pixels) -> Pixels:
    return np.stack([np.asarray(Image.fromarray(one[..., 0]).filter(ImageFilter.GaussianBlur(1)))[..., None] for one in images])


def noise(images: Pixels, seed: int) -> Pixels:
    noisy: Pixels = (images + np.random.default_rng(seed).normal(0, 20, images.shape)).clip(0, 255).astype(np.uint8)
    return noisy


def samples_of(case: str, train: elegan.ImageData, seed: int) -> tuple[Pixels, np.ndarray[Any, np.dtype[np.int64]]]:
    assert train.labels is not None
    rows = np.random.default_rng(seed).permutation(np.arange(LEARNED, len(train)))[:SAMPLES]
    if case == "copies":
        rows = np.random.default_rng(seed).permutation(LEARNED)[:SAMPLES]
    if case == "drops-7-8-9":
        rows = rows[train.labels[rows] < 7]
    if case == "few":
        rows = rows[:FEW]
    images, labels = train.images[rows], train.labels[rows]
    if case == "blurred":
        images = blur(images)
    if case == "noisy":
        images = noise(images, seed)
    return images, labels


def measure(case: str, seed: int) -> dict[str, Any]:
    folder, listener = data_folder() / "mnist", elegan.Listener()
    train, test = (elegan.prepare(elegan.open_data(str(folder / f"{split}.parquet"))) for split in ("train", "test"))
    learned, reference = part(train, slice(0, LEARNED), "learned"), part(test, slice(0, SAMPLES), "reference")
    images, labels = samples_of(case, train, seed)
    described = {"source": case, "step": None, "count": len(images), "seeds": None, "conditions": "as they are"}
    material = Material(images, labels, described, reference, learned, learned, "test")
    extractor = extractor_for("classifier", learned, None, False, "cpu", listener)
    found = measured(material, extractor, Asked(case, seed=seed), listener)
    return {"findings": list(found.findings), **{score.name: score.value for score in found.scores}}


SHOWN = (
    "Fréchet distance (classifier)",
    "kernel distance (classifier)",
    "precision",
    "recall",
    "coverage",
    "intra-class distance ratio (classifier)",
    "sharpness",
    "grain",
    "KL of classes",
    "recognised",
    "useful",
    "authentic",
    "membership AUC",
)


def table() -> str:
    """Markdown: a row for each number, a column for each case; means over the seeds."""
    found = {case: [json.loads(path.read_text()) for path in sorted((RESULTS / "known_answers").glob(f"{case}-*.json"))] for case in CASES}
    lines = [f"| | {' | '.join(CASES)} |", "|---" * (len(CASES) + 1) + "|"]
    for name in SHOWN:
        lines.append(f"| {name} | {' | '.join(f'{mean(result[name] for result in found[case]):.3g}' for case in CASES)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    study("known_answers", CASES, range(3), measure)
    print(table())
