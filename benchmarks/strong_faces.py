"""Faces, 64x64: strong models beside DCGAN, 20 minutes on one core each, two seeds; and held-out faces projected into StyleGAN2.

Usage: ELEGAN_DATA=FOLDER python benchmarks/strong_faces.py steps [ARM ...]  how many steps fit into the time; on a quiet machine, once
       ELEGAN_DATA=FOLDER python benchmarks/strong_faces.py [ARM ...]        the study; it can be stopped and taken up again
       with OMP_NUM_THREADS=1 both, for one core

Data, judge and distances are those of faces.py: models see the first 7,000 faces, the last 1,000 are held out, and a network that
learned without labels, fixed beforehand, gives the features. `distance` is the mean over subsets; how much nearer one model is than
another is from all pairs, to the held-out faces and to the training faces, which is surer as they are seven times as many, with an
interval that counts other samples and other faces. Of StyleGAN2 the first 20 held-out faces are projected into w+: PSNR and distance
of what was found, of the mean latent and of the nearest training image, as medians. The command's own distance is made of the
discriminator's maps, by which the search goes; so the judge's features are compared too, which it does not see.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import safetensors.torch
import torch
from faces import SAMPLES, divide, scaled, the_judge
from study import fix_steps, fixed_steps, study, train_by_command, words_of, write_images
from unlabelled import described, kernel_distance, print_difference, standardised

import elegan
from elegan.metrics.extractors import Extractor
from elegan.metrics.kernel import kernel_parts
from elegan.pictures import Pixels

MODELS = ("dcgan", "rpgan", "biggan", "stylegan2", "r3gan")
MINUTES, PROJECTED, SEEDS = 20, 20, range(2)
TEMPORARY = Path(tempfile.gettempdir())
"""Where pictures are left to be looked at: the licence of the data forbids to publish them."""


def asked(arm: str, where: Path) -> dict[str, Any]:
    return {"data": str(where), "model": arm, "mirror": True}


def fix_steps_of(arms: Iterable[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        where = divide(Path(name))[0]
        fix_steps("strong-faces", MINUTES, {arm: asked(arm, where) for arm in arms})


def measure(arm: str, seed: int) -> dict[str, Any]:
    steps = fixed_steps("strong-faces", arm)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where, held = divide(folder)
        train, held_out = (elegan.prepare(elegan.open_data(str(path))).images for path in (where, held))
        judge = the_judge(train)
        reference = judge.features(held_out).values.double()
        run, seconds = train_by_command(*words_of({**asked(arm, where), "seed": seed, "steps": steps, "out": folder / "runs"}))
        samples = elegan.load(run).sample(range(SAMPLES))
        keep = TEMPORARY / f"faces-{arm}-{seed}.png"
        elegan.sample(str(run), seeds="0-63", out=keep)
        print(f"seeds 0 to 63, to look at: {keep}")
        found = judge.features(samples).values.double()
        distance, error = scaled(kernel_distance(found, reference))
        result = {"judge": judge.digest, "samples": SAMPLES, "steps": steps, "seconds": seconds, "distance": distance, "error": error}
        seen = judge.features(train).values.double()
        result["real"], result["real_error"] = scaled(kernel_distance(seen, reference))
        result |= described(kernel_parts(*standardised(found, reference)))
        result |= described(kernel_parts(*standardised(found, seen)), "to_training")
        return result | (projection(run, train, held_out[:PROJECTED], judge, folder) if arm == "stylegan2" else {})


def projection(run: Path, train: Pixels, faces: Pixels, judge: Extractor, folder: Path) -> dict[str, Any]:
    """Medians over `faces` of what `elegan project` says, and of the judge's distances."""
    given = folder / "given"
    given.mkdir()
    write_images(faces, given)
    elegan.directions(str(run), out=TEMPORARY / "faces-directions.png")
    elegan.mix(str(run), out=TEMPORARY / "faces-mixed.png")
    found = elegan.project(str(run), str(given), edit="0:2", out=folder / "projected")
    names = {"projection": "projected", "mean latent": "mean", "nearest training image": "nearest"}
    result: dict[str, Any] = {f"{names[what]}_psnr": median(values) for what, values in found.psnr.items()}
    result |= {f"{names[what]}_distance": median(values) for what, values in found.distances.items()}
    model = elegan.load(run)
    latents = safetensors.torch.load_file(folder / "projected" / "latents.safetensors")["latents"]
    seen, wanted = judge.features(train).values, judge.features(faces).values
    pictures = {"projected": model.render(latents, None), "mean": model.render(model.latents("0", truncation=0.0), None)}
    for name, pixels in pictures.items():
        result[f"{name}_judged"] = median((judge.features(pixels).values - wanted).norm(dim=1).tolist())
    result["nearest_judged"] = median(torch.cdist(wanted, seen).min(1).values.tolist())
    for picture in map(Path, found.pictures.values()):
        shutil.copy(picture, TEMPORARY / f"faces-{picture.name}")
    print(f"projections, edits, mixed samples and directions, to look at: {TEMPORARY}/faces-*.png")
    return result


if __name__ == "__main__":
    if sys.argv[1:2] == ["steps"]:
        fix_steps_of(sys.argv[2:] or MODELS)
    else:
        arms = sys.argv[1:] or MODELS
        study("strong-faces", arms, SEEDS, measure)
        if {"rpgan", "dcgan"} <= set(arms):
            for name in ("all_pairs", "to_training"):
                print_difference("strong-faces", "rpgan", "dcgan", SEEDS, name)
