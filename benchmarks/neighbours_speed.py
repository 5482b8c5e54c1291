"""Precision, recall, density and coverage in blocks against full matrices of distances, the usual way.

Usage: python benchmarks/neighbours_speed.py [--images 10000] [--features 2048] [--repeats 5]

The usual way is that of the package prdc (Naeem et al., 2020): three matrices of distances by scikit-learn, in 8 threads, and
numpy's argpartition for the k-th neighbours; here once for both k, and with the surfaces where each paper has them. Both
sides take turns, each time in a process of its own, so that a busy machine slows both and peaks of memory can be told apart;
medians are compared. Seconds are those of the computation, without imports and data; memory is the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from sklearn.metrics import pairwise_distances
from study import machine
from torch import Tensor

from elegan.metrics.fidelity import fidelity

TARGET_RATIO, TARGET_GIB = 4.0, 1.2
Four = tuple[float, float, float, float]
Matrix = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def features(images: int, width: int) -> tuple[Tensor, Tensor]:
    """Real and generated features: 64 directions and some noise, cut at zero as by a ReLU."""
    torch.manual_seed(0)
    directions = torch.randn(64, width)
    real, generated = (scale * torch.randn(images, 64) @ directions for scale in (1.0, 0.95))
    return (real + 2 * torch.randn(images, width)).relu_(), (generated + 2 * torch.randn(images, width)).relu_()


def distances(x: Matrix, y: Matrix) -> Matrix:
    found: Matrix = pairwise_distances(x, y, metric="euclidean", n_jobs=8)
    return found


def nearest_others(points: Matrix, k: int) -> Matrix:
    """(n, k): each point's distances to the k nearest others, in order."""
    among = distances(points, points)
    chosen = np.argpartition(among, k, axis=1)[:, : k + 1]
    return np.sort(np.take_along_axis(among, chosen, 1), 1)[:, 1:]


def usual(real: Tensor, generated: Tensor) -> Four:
    around_real, around_generated = nearest_others(real.numpy(), 5), nearest_others(generated.numpy(), 3)
    between = distances(real.numpy(), generated.numpy())
    inside = between < around_real[:, 4:]
    precision = (between <= around_real[:, 2:3]).any(0).mean()
    recall = (between <= around_generated[None, :, 2]).any(1).mean()
    return float(precision), float(recall), float(inside.sum(0).mean() / 5), float(inside.any(1).mean())


def ours(real: Tensor, generated: Tensor) -> Four:
    found = fidelity(real, generated)
    return found.precision, found.recall, found.density, found.coverage


SIDES: dict[str, Callable[[Tensor, Tensor], Four]] = {"usual": usual, "elegan": ours}


def measure(side: str, images: int, width: int) -> dict[str, Any]:
    """In this process: seconds, its peak of memory in GiB, and the four values."""
    real, generated = features(images, width)
    SIDES[side](real[:64], generated[:64])  # what is loaded on first use
    started = time.perf_counter()
    values = SIDES[side](real, generated)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "values": values}


def in_a_process(side: str, images: int, width: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--images", str(images), "--features", str(width), "--side", side]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def compare(images: int, width: int, repeats: int) -> dict[str, Any]:
    turns = [{side: in_a_process(side, images, width) for side in SIDES} for _ in range(repeats)]
    usual_side, our_side = ([turn[side] for turn in turns] for side in SIDES)
    ratios = [one["seconds"] / other["seconds"] for one, other in zip(usual_side, our_side, strict=True)]
    return {
        "images": images,
        "features": width,
        "usual_seconds": median(one["seconds"] for one in usual_side),
        "seconds": median(one["seconds"] for one in our_side),
        "ratio": median(ratios),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "target": TARGET_RATIO,
        "usual_gib": max(one["gib"] for one in usual_side),
        "gib": max(one["gib"] for one in our_side),
        "target_gib": TARGET_GIB,
        "values": our_side[0]["values"],
        "largest_difference": max(abs(a - b) for a, b in zip(usual_side[0]["values"], our_side[0]["values"], strict=True)),
        **machine(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process, and print JSON")
    chosen = parser.parse_args()
    if chosen.side:
        print(json.dumps(measure(chosen.side, chosen.images, chosen.features)))
    else:
        for key, value in compare(chosen.images, chosen.features, chosen.repeats).items():
            print(f"{key}: {value:.3g}" if isinstance(value, float) else f"{key}: {value}")
