"""320 facades, 64x64: rpgan with no augmentation, with DiffAugment and with ADA; 15 minutes on one core each, two seeds.

Usage: ELEGAN_DATA=FOLDER python benchmarks/little_data.py steps [ARM ...]  how many steps fit into the time; on a quiet machine, once
       ELEGAN_DATA=FOLDER python benchmarks/little_data.py [ARM ...]        the study; it can be stopped and taken up again
       with OMP_NUM_THREADS=1 both, for one core

All arms have the same time, so that augmentation has to be worth the steps that it costs. ADA's were fixed at a probability of 0.5
first, 2,051; but it came to 0.14, and they took 684 seconds where the other arms' took 982 and 1,002: so it has 2,950.
GANs see the 320 photographs of the training split, the other 80 are held out. The judge is a network that learned without labels from
all 400, once: it decides nothing in training. Its kernel distance of 5,000 samples to the 400, with its standard error, says how good
samples are, and that to the 80 alone whether this is because photographs are copied. As all arms are measured against the same 400,
the difference of two is surer than their distances here: it is printed with an interval of its own, over both seeds; what other
trainings would have changed is not in it. How much the discriminator has learned by heart is the gap between its logits of photographs
it was trained on and of those held out, in standard deviations of the latter. Distances are times 1,000. The pictures stay on this
machine: the licence of the data is unclear.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute
import pyarrow.parquet
import torch
from study import data_folder, fix_steps, fixed_steps, study, train_by_command, words_of
from unlabelled import described, print_difference

import elegan
from elegan.metrics.contrastive import encoder_extractor, train_encoder
from elegan.metrics.extractors import Extractor, to_tensor
from elegan.metrics.kernel import kernel_distance, kernel_parts
from elegan.pictures import Pixels

ARMS: dict[str, dict[str, object]] = {
    "plain": {"augment": "none"},
    "diffaugment": {"augment": "colour+translation+cutout"},
    "ada": {"augment": "ada", "augment_images": 20_000.0},
}
MINUTES, SAMPLES, SIDE, SEEDS = 15, 5000, 64, range(2)
JUDGES: list[Extractor] = []


def divide(folder: Path) -> tuple[Path, Path]:
    """Two parquet files: photographs to train on, and held-out ones."""
    table = pyarrow.parquet.read_table(data_folder() / "paired_facades" / "facades_128.parquet")
    paths = folder / "facades.parquet", folder / "held_out.parquet"
    for path, split in zip(paths, ("train", "val"), strict=True):
        chosen = table.filter(pyarrow.compute.equal(table["split"], split)).select(["photo"]).rename_columns(["image"])
        pyarrow.parquet.write_table(chosen.replace_schema_metadata(None), path)
    return paths


def asked(arm: str, where: Path) -> dict[str, Any]:
    return {"data": str(where), "model": "rpgan", "size": SIDE, "mirror": True, **ARMS[arm]}


def fix_steps_of(arms: Iterable[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        where = divide(Path(name))[0]
        fix_steps("little-data", MINUTES, {arm: asked(arm, where) for arm in arms})


def prepared(path: Path) -> Pixels:
    return elegan.prepare(elegan.open_data(str(path)), size=(SIDE, SIDE)).images


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
    steps = fixed_steps("little-data", arm)
    with tempfile.TemporaryDirectory() as name:
        where, held = divide(Path(name))
        train, held_out = prepared(where), prepared(held)
        judge = the_judge(np.concatenate([train, held_out]))
        run, seconds = train_by_command(*words_of({**asked(arm, where), "seed": seed, "steps": steps, "out": name}))
        keep = Path(tempfile.gettempdir()) / f"facades-{arm}-{seed}.png"
        elegan.sample(str(run), seeds="0-63", out=keep)
        print(f"seeds 0 to 63, to look at: {keep}")
        result = {"judge": judge.digest, "samples": SAMPLES, "steps": steps, "seconds": seconds}
        return {**result, **quality(run, judge, train, held_out)}


def quality(run: Path, judge: Extractor, train: Pixels, held_out: Pixels) -> dict[str, Any]:
    model, record = elegan.load(run), elegan.Run(run).log[-1]
    samples = model.sample(range(SAMPLES))
    unknown, generated = (judge.features(images).values for images in (held_out, samples))
    everything = torch.cat([judge.features(train).values, unknown])
    found, to_unknown = kernel_distance(everything, generated, size=200), kernel_distance(unknown, generated, size=len(unknown))
    seen, unseen, parts = logits(model, train), logits(model, held_out), kernel_parts(generated, everything)
    return {
        **{"kernel": 1000 * found.mean, "kernel_error": 1000 * found.standard_error},
        **{"kernel_held_out": 1000 * to_unknown.mean, "kernel_held_out_error": 1000 * to_unknown.standard_error},
        **{"logit_trained_on": float(seen.mean()), "logit_held_out": float(unseen.mean())},
        **{"logit_samples": float(logits(model, samples[:400]).mean()), "overfitting": float((seen.mean() - unseen.mean()) / unseen.std())},
        "augment_probability": record.get("augment_probability", 0.0),
        **described(parts),
    }


if __name__ == "__main__":
    if sys.argv[1:2] == ["steps"]:
        fix_steps_of(sys.argv[2:] or ARMS)
    else:
        arms = sys.argv[1:] or list(ARMS)
        study("little-data", arms, SEEDS, measure)
        if "plain" in arms:
            for arm in [arm for arm in arms if arm != "plain"]:
                print_difference("little-data", arm, "plain", SEEDS)
