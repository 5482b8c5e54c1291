"""320 facades, 64x64: StyleGAN2 with no augmentation, with DiffAugment and with ADA; 15 minutes on two cores each, two seeds.

Usage: ELEGAN_DATA=FOLDER python benchmarks/little_data.py rates        how many steps fit into the time; on a quiet machine, once
       ELEGAN_DATA=FOLDER python benchmarks/little_data.py [ARM ...]    the study; it can be stopped and taken up again

GANs see the 320 photographs of the training split, the other 80 are held out. The judge is a network that learned without labels
from all 400, once: it decides nothing in training. Its kernel distance of 5,000 samples to the 400, with its standard
error, says how good samples are; how much the discriminator has learned by heart is the gap between its logits of
photographs it was trained on and of those held out, in standard deviations of the latter. Distances are times 1,000. The
pictures stay on this machine: the licence of the data is unclear.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.compute
import pyarrow.parquet
import torch
from study import RESULTS, data_folder, machine, study, train_by_command

import elegan
from elegan.metrics.contrastive import encoder_extractor, train_encoder
from elegan.metrics.extractors import Extractor, to_tensor
from elegan.metrics.kernel import kernel_distance
from elegan.pictures import Pixels

ARMS: dict[str, tuple[str, ...]] = {
    "plain": ("--augment", "none"),
    "diffaugment": ("--augment", "colour+translation+cutout"),
    "ada": (),
}
MINUTES, SAMPLES, SIDE = 15, 5000, "64"
RATES = RESULTS / "little-data" / "rates.json"
JUDGES: list[Extractor] = []


def divide(folder: Path) -> tuple[Path, Path]:
    """Two parquet files: photographs to train on, and held-out ones."""
    table = pyarrow.parquet.read_table(data_folder() / "paired_facades" / "facades_128.parquet")
    paths = folder / "facades.parquet", folder / "held_out.parquet"
    for path, split in zip(paths, ("train", "val"), strict=True):
        chosen = table.filter(pyarrow.compute.equal(table["split"], split)).select(["photo"]).rename_columns(["image"])
        pyarrow.parquet.write_table(chosen.replace_schema_metadata(None), path)
    return paths


def words(arm: str, where: Path) -> tuple[str, ...]:
    return (str(where), "--model", "stylegan2", "--size", SIDE, "--mirror", *ARMS[arm])


def measure_rates() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        where = str(divide(Path(name))[0])
        for arm, flags in ARMS.items():
            options: dict[str, Any] = dict(zip([flag.removeprefix("--") for flag in flags[::2]], flags[1::2], strict=True))
            found[arm] = elegan.plan(where, model="stylegan2", size=SIDE, mirror=True, minutes=MINUTES, **options).steps
    RATES.parent.mkdir(parents=True, exist_ok=True)
    RATES.write_text(json.dumps({"minutes": MINUTES, "steps": found, **machine()}, indent=2) + "\n")
    print(RATES.read_text())


def prepared(path: Path) -> Pixels:
    return elegan.prepare(elegan.open_data(str(path)), size=(int(SIDE), int(SIDE))).images


def the_judge(images: Pixels) -> Extractor:
    if not JUDGES:
        JUDGES.append(encoder_extractor(train_encoder(images)))
    return JUDGES[0]


@torch.no_grad()
def logits(model: elegan.Model, images: Pixels) -> torch.Tensor:
    """What the discriminator of a trained run says of images, unaugmented."""
    discriminator: torch.nn.Module = model.gan.discriminator  # type: ignore[assignment]
    parts = [discriminator.eval()(to_tensor(images[i : i + 16])) for i in range(0, len(images), 16)]
    return torch.cat(parts)


def measure(arm: str, seed: int) -> dict[str, Any]:
    import numpy as np

    steps = json.loads(RATES.read_text())["steps"][arm]
    with tempfile.TemporaryDirectory() as name:
        where, held = divide(Path(name))
        train, held_out = prepared(where), prepared(held)
        everything = np.concatenate([train, held_out])
        judge = the_judge(everything)
        run, seconds = train_by_command(*words(arm, where), "--seed", str(seed), "--steps", str(steps), "--out", name)
        model, record = elegan.load(run), elegan.Run(run).log[-1]
        samples = model.sample(range(SAMPLES))
        keep = Path(tempfile.gettempdir()) / f"facades-{arm}-{seed}.png"
        elegan.sample(str(run), seeds="0-63", out=keep)
        print(f"seeds 0 to 63, to look at: {keep}")
        seen, unseen = logits(model, train), logits(model, held_out)
    found = kernel_distance(judge.features(everything).values, judge.features(samples).values, size=200)
    return {
        **{"judge": judge.digest, "samples": SAMPLES, "steps": steps, "seconds": seconds},
        **{"kernel": 1000 * found.mean, "kernel_error": 1000 * found.standard_error},
        **{"logit_trained_on": float(seen.mean()), "logit_held_out": float(unseen.mean())},
        **{"logit_samples": float(logits(model, samples[:400]).mean()), "overfitting": float((seen.mean() - unseen.mean()) / unseen.std())},
        "augment_probability": record.get("augment_probability", 0.0),
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["rates"]:
        measure_rates()
    else:
        study("little-data", sys.argv[1:] or ARMS, range(2), measure)
