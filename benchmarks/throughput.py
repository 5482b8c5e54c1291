"""elegan's training loop against a plain file that does the same update, interleaved in one run.

Usage: python benchmarks/throughput.py [dcgan|sngan|wgan_gp|biggan|stylegan2|r3gan|points ...]

The plain files lie in `benchmarks/plain`; they import nothing of elegan. elegan's side is the real loop: batches from a
memory-mapped file, bookkeeping, log lines and progress, in the precision that `--precision auto` chooses here. Only saves are
left out, which come every so many minutes. Both sides take turns, so that a busy machine slows both; medians are compared.
Images are the real ones a round consumes: five discriminator steps consume five batches. Networks of both sides must have as many
weights, so that the comparison cannot drift.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from plain import biggan, dcgan, points, r3gan, resnet, stylegan2
from study import machine
from torch import Tensor, nn

from elegan.data.batches import Batches
from elegan.data.points import PointData, open_points
from elegan.data.preparation import ImageData
from elegan.engine.average import Average
from elegan.engine.loop import Intervals, Listener, Training
from elegan.engine.measure import faster_precision
from elegan.engine.run import Run
from elegan.engine.turns import Settings, Turns
from elegan.game import GAN, Batch, Spec
from elegan.learning import prepare_networks
from elegan.tasks.recipes import find_recipe

REPEATS = 7
CASES: dict[str, dict[str, Any]] = {
    "dcgan": {"side": 64, "batch": 64, "rounds": 4, "steps": 1, "options": {}, "target": 2.6},
    "sngan": {"side": 32, "batch": 32, "rounds": 5, "steps": 5, "options": {}, "target": 4.5},
    "wgan_gp": {
        "side": 32,
        "batch": 16,
        "rounds": 5,
        "steps": 5,
        "options": {"network": "resnet", "width": 256, "discriminator_width": 128},
        "target": 3.2,
    },
    "biggan": {
        "side": 32,
        "batch": 32,
        "rounds": 4,
        "steps": 2,
        "classes": biggan.CLASSES,
        "options": {"width": 16, "discriminator_width": 16},
        "target": 2.5,
    },
    # a repeat is a whole period of the penalties
    "stylegan2": {
        "side": 32,
        "batch": 32,
        "rounds": 16,
        "steps": 1,
        "options": {"width": 32, "discriminator_width": 32, "widest": 256, "latent": 128, "depth": 2},
        "target": 2.5,
        "repeats": 5,
    },
    "r3gan": {
        "side": 32,
        "batch": 32,
        "rounds": 4,
        "steps": 1,
        "options": {"width": 32, "discriminator_width": 32, "widest": 256, "penalty_end": 1.0, "schedule": "constant"},
        "target": 2.5,
    },
    # the plain file has the same operations here, so that what is left is what the engine costs
    "points": {"batch": 512, "rounds": 200, "steps": 1, "options": {}, "target": 0.8},
}

TRAINERS: dict[str, Callable[[Tensor, int], Callable[[], None]]] = {
    "dcgan": dcgan.trainer,
    "stylegan2": stylegan2.trainer,
    "r3gan": r3gan.trainer,
}
PLAIN: dict[str, Callable[[], tuple[nn.Module, nn.Module]]] = {
    "dcgan": lambda: (dcgan.generator(), dcgan.discriminator()),
    **dict.fromkeys(("sngan", "wgan_gp"), lambda: (resnet.Generator(), resnet.Discriminator(lambda layer: layer))),
    "biggan": lambda: (biggan.Generator(), biggan.Discriminator()),
    "stylegan2": lambda: (stylegan2.Generator(), stylegan2.Discriminator()),
    "r3gan": lambda: (r3gan.Generator(), r3gan.Discriminator()),
    "points": lambda: (points.network(points.LATENT, 2), points.network(2 + 2 * points.WAVES, 1)),
}
"""Generator and discriminator as the plain files make them."""


class Timed(Turns):
    """Turns that count the seconds spent on the mathematics of a round: losses, gradients, updates, the average."""

    busy = 0.0

    def round(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        started = time.perf_counter()
        readings = super().round(batch, step)
        self.busy += time.perf_counter() - started
        return readings


class Unsaved(Training):
    def save(self) -> None:
        """Not while the clock runs."""


def pictures(side: int, classes: int, folder: Path) -> ImageData:
    """Noise, memory-mapped as prepared images are; speed does not depend on what they show."""
    random = np.random.default_rng(0)
    random.integers(0, 256, (4096, side, side, 3), np.uint8).tofile(folder / "images.bin")
    images = np.memmap(folder / "images.bin", np.uint8, "r", shape=(4096, side, side, 3))
    labels = random.integers(0, classes, 4096) if classes else None
    return ImageData(Spec(3, side, side, tuple(map(str, range(classes)))), images, labels, "noise", "noise", "", folder)


def data_for(name: str, case: dict[str, Any], folder: Path) -> ImageData | PointData:
    ring = open_points("ring") if name == "points" else None
    return ring or pictures(case["side"], case.get("classes", 0), folder)


def elegan_side(name: str, case: dict[str, Any], data: ImageData | PointData, folder: Path) -> tuple[Training, str]:
    found = find_recipe("rpgan" if name == "points" else name)
    chosen = found.presets[name].options if name == "points" else {}
    recipe = found.make(data.spec, found.resolve(chosen, {"batch": case["batch"], **case["options"]}))
    torch.manual_seed(0)
    gan = recipe.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prepare_networks(gan)
    batches = Batches(data, batch=recipe.batch, seed=0, device=torch.device("cpu")).at
    precision, _ = faster_precision(gan, recipe.optimizers, Settings(), batches)
    run = Run(folder / "run")
    run.create({}, {})
    turns = Timed(gan, recipe.optimizers, Settings(precision), Average(gan, recipe.average_half_life))
    return Unsaved(turns, batches, run, Intervals(save=10**9, log=50), Listener()), precision


def plain_side(name: str, case: dict[str, Any], data: ImageData | PointData) -> Callable[[], None]:
    if isinstance(data, PointData):
        return points.trainer(data.real(np.arange(len(data)), torch.device("cpu")).flatten(1), case["rounds"] * (repeats(case) + 1))
    images = torch.from_numpy(np.array(data.images)).permute(0, 3, 1, 2).contiguous()
    if data.labels is not None:
        return biggan.trainer(images, torch.from_numpy(data.labels), case["batch"])
    if name in TRAINERS:
        return TRAINERS[name](images, case["batch"])
    return resnet.trainer(images, case["batch"], spectral=name == "sngan")


def repeats(case: dict[str, Any]) -> int:
    count: int = case.get("repeats", REPEATS)
    return count


def num_weights(networks: Iterable[nn.Module]) -> int:
    return sum(weight.numel() for network in networks for weight in network.parameters())


def check_weights(name: str, gan: GAN) -> None:
    """AssertionError unless each player has as many weights on both sides."""
    ours = [num_weights(gan.players[player]) for player in ("generator", "discriminator")]
    theirs = [num_weights([network]) for network in PLAIN[name]()]
    assert ours == theirs, f"{name}: elegan's generator and discriminator have {ours} weights, the plain file's {theirs}"


def time_both(case: dict[str, Any], play: Callable[[], None], training: Training) -> dict[str, list[float]]:
    """Seconds of each repeat: of either side, and of elegan's beside the mathematics."""
    times: dict[str, list[float]] = {"plain": [], "elegan": [], "other": []}
    for repeat in range(repeats(case) + 1):  # the first is a warm-up
        started = time.perf_counter()
        for _ in range(case["rounds"] // case["steps"]):
            play()
        between = time.perf_counter()
        training.turns.busy = 0.0  # type: ignore[attr-defined]
        training.train(training.step + case["rounds"])
        ended = time.perf_counter()
        if repeat:
            times["plain"].append(between - started)
            times["elegan"].append(ended - between)
            times["other"].append(ended - between - training.turns.busy)  # type: ignore[attr-defined]
    return times


def measure(name: str) -> dict[str, Any]:
    case = CASES[name]
    with tempfile.TemporaryDirectory() as name_of_folder:
        data = data_for(name, case, Path(name_of_folder))
        training, precision = elegan_side(name, case, data, Path(name_of_folder))
        check_weights(name, training.turns.gan)
        times = time_both(case, plain_side(name, case, data), training)
    consumed = case["batch"] * case["rounds"]
    ratios = [plain / ours for plain, ours in zip(times["plain"], times["elegan"], strict=True)]
    return {
        "case": name,
        "precision": precision,
        "images_per_second": consumed / median(times["elegan"]),
        "plain_images_per_second": consumed / median(times["plain"]),
        "ratio": median(ratios),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "target": case["target"],
        "loader_log_and_bookkeeping_share": median(times["other"]) / median(times["elegan"]),
        **machine(),
    }


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CASES:
        for key, value in measure(chosen).items():
            print(f"{key}: {value:.3g}" if isinstance(value, float) else f"{key}: {value}")
        print()
