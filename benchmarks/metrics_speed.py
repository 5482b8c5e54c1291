"""Metrics of features against the usual way of computing them, interleaved in one run, on data made here.

Usage: python benchmarks/metrics_speed.py [frechet ...] [--repeats 5]

Both sides take turns, so that a busy machine slows both; medians are compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from scipy.linalg import sqrtm  # type: ignore[import-untyped]
from study import machine

from elegan.metrics.frechet import Statistics, frechet_distance, statistics

FEATURES = 2048


def take_turns(ours: Callable[[], float], usual: Callable[[], float], repeats: int) -> dict[str, Any]:
    """Median seconds of both, the ratio, and by what share the values differ."""
    times: dict[str, list[float]] = {"ours": [], "usual": []}
    values: dict[str, float] = {}
    for _ in range(repeats):
        for name, function in (("ours", ours), ("usual", usual)):
            started = time.perf_counter()
            values[name] = function()
            times[name].append(time.perf_counter() - started)
    seconds = {name: median(taken) for name, taken in times.items()}
    return {
        "seconds": seconds["ours"],
        "usual_seconds": seconds["usual"],
        "ratio": seconds["usual"] / seconds["ours"],
        "difference": abs(values["ours"] - values["usual"]) / abs(values["usual"]),
    }


def frechet(repeats: int) -> dict[str, Any]:
    """The Fréchet distance of two statistics of 2048 features, against `scipy.linalg.sqrtm` of the product of covariances."""
    one, other = decaying(seed=1, scale=1.0), decaying(seed=2, scale=1.05)

    def ours() -> float:
        return frechet_distance(replace(one), replace(other))  # copies, so that nothing is kept from one turn to the next

    def usual() -> float:
        a, b = one.covariance().numpy(), other.covariance().numpy()
        traces = np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b)).real
        return float((one.mean - other.mean).square().sum() + traces)

    return take_turns(ours, usual, repeats) | {"target": 12.0, "allowed_difference": 1e-8}


def decaying(seed: int, scale: float) -> Statistics:
    """Of 5000 samples whose variances fall as 1/k, in an order that is shuffled, with all features mixed a little."""
    generator = torch.Generator().manual_seed(seed)
    deviations = (torch.arange(1, FEATURES + 1) ** -0.5)[torch.randperm(FEATURES, generator=torch.Generator().manual_seed(0))]
    drawn = torch.randn(5000, FEATURES, generator=generator) * deviations * scale
    return statistics(drawn + 0.5 * drawn.roll(1, 1) + 0.25 * drawn.roll(7, 1))


CASES: dict[str, Callable[[int], dict[str, Any]]] = {"frechet": frechet}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=list(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    for chosen in asked.cases:
        for key, value in (CASES[chosen](asked.repeats) | machine()).items():
            print(f"{key}: {value:.3g}" if isinstance(value, float) else f"{key}: {value}")
        print()
