"""Faces, 64x64, on two cores: what the default for such images reaches in its time, against where it stood at a tenth of it.

Usage: ELEGAN_DATA=FOLDER python benchmarks/faces.py

The GAN and the judging network see the first 7,000 faces, the last 1,000 are held out. The judge is fixed before the GAN is
trained. Distances are times 1,000. The pictures stay on this machine: the licence of the data forbids to publish them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet
from study import data_folder, study, train_by_command
from unlabelled import kernel_distance

import elegan
from elegan.metrics.contrastive import encoder_extractor, train_encoder
from elegan.metrics.extractors import Extractor
from elegan.pictures import Pixels

TRAIN, SAMPLES = 7000, 5000


def divide(folder: Path) -> tuple[Path, Path]:
    """Two parquet files: faces to train on, and held-out ones."""
    table = pyarrow.parquet.read_table(data_folder() / "faces_utk64" / "train.parquet").select(["image"])
    paths = folder / "faces.parquet", folder / "held_out.parquet"
    for path, part in zip(paths, (table.slice(0, TRAIN), table.slice(TRAIN)), strict=True):
        pyarrow.parquet.write_table(part.replace_schema_metadata(None), path)
    return paths


JUDGES: list[Extractor] = []
"""The judge, once it is trained: the same for all seeds."""


def the_judge(train: Pixels) -> Extractor:
    if not JUDGES:
        JUDGES.append(encoder_extractor(train_encoder(train)))
    return JUDGES[0]


def measure(arm: str, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train, held_out = (elegan.prepare(elegan.open_data(str(path))).images for path in divide(folder))
        judge = the_judge(train)
        reference = judge.features(held_out).values.double()
        steps = elegan.plan(str(folder / "faces.parquet"), seed=seed).steps
        words = (str(folder / "faces.parquet"), "--seed", str(seed), "--out", str(folder / "runs"))
        result: dict[str, Any] = {"judge": judge.digest, "samples": SAMPLES, "held_out": len(held_out), "steps": steps}
        result["real"], result["real_error"] = scaled(kernel_distance(judge.features(train).values.double(), reference))
        for moment, share in (("tenth", 10), ("final", 1)):
            run, seconds = train_by_command(*words, "--steps", str(steps // share))
            samples = elegan.load(run).sample(range(SAMPLES))
            result[moment], result[f"{moment}_error"] = scaled(kernel_distance(judge.features(samples).values.double(), reference))
            result["seconds"] = result.get("seconds", 0.0) + seconds
        keep = Path(tempfile.gettempdir()) / f"faces-{seed}.png"
        elegan.sample(str(run), seeds="0-63", out=keep)
        print(f"seeds 0 to 63, to look at: {keep}")
    result["way_to_real"] = (result["tenth"] - result["final"]) / (result["tenth"] - result["real"])
    return result


def scaled(distance: tuple[float, float]) -> tuple[float, float]:
    return 1000 * distance[0], 1000 * distance[1]


if __name__ == "__main__":
    study("faces", ["default"], range(3), measure)
