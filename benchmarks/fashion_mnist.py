"""Fashion-MNIST, 28x28: the model and preset that `elegan train fashion_mnist/train.parquet` takes by itself, and strong models.

Usage: ELEGAN_DATA=FOLDER python benchmarks/fashion_mnist.py [cgan|biggan|stylegan2 ...]

GANs and classifiers see the 60,000 training images, the 10,000 test images judge. Pictures of the first seed are kept in
docs/pictures: grids of seeds 0 to 63, and StyleGAN2 explored. The last weights are judged, nothing is selected. The study can be
stopped and taken up again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from labelled import keep_grid, measure, open_split
from study import PICTURES, keep_picture, study, write_images

import elegan

ARMS = ("cgan", "biggan", "stylegan2")
PROJECTED = 8
"""So many of the first test images are projected."""


def measure_arm(arm: str, seed: int) -> dict[str, Any]:
    def look(run: Path) -> None:
        keep_grid(run, "fashion-mnist.png" if arm == "cgan" else f"fashion-mnist-{arm}.png")
        if arm == "stylegan2":
            explore(run)

    return measure("fashion_mnist", arm, seed, samples=10_000, look=None if seed else look)


def explore(run: Path) -> None:
    """What `elegan mix`, `interpolate`, `directions` and `project` make by themselves; of samples, the first seeds."""
    elegan.mix(run, out=PICTURES / "fashion-mnist-mixed.png")
    elegan.interpolate(run, grid="1x5", frames=8, out=PICTURES / "fashion-mnist-walk.webp")
    elegan.directions(run, count=4, out=PICTURES / "fashion-mnist-directions.png")
    with tempfile.TemporaryDirectory() as folder:
        write_images(open_split("fashion_mnist", "test")[1][:PROJECTED], Path(folder))
        found = elegan.project(run, folder, edit="0:2")
    for picture in map(Path, found.pictures.values()):
        if picture.suffix == ".png":
            keep_picture(picture, f"fashion-mnist-{picture.name}")


if __name__ == "__main__":
    study("fashion_mnist", sys.argv[1:] or ARMS, range(3), measure_arm)
