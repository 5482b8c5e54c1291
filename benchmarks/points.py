"""The ring of 8 and the grid of 25 by the published evaluation: 2,500 points, of high quality within 3 standard deviations of a mode.

Usage: python benchmarks/points.py [--seeds 10] [ARM ...]

Each run is `elegan train ring` (or grid) on one core, as the preset has it; the plain GAN has the same networks, batch and
rounds and its own defaults. What is measured is the end of each run; nothing is selected. One result for each arm and seed.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from statistics import mean, stdev
from typing import Any

import torch
from study import RESULTS, keep_picture, study, train_by_command

import elegan
from elegan.data.points import MIXTURES
from elegan.metrics.modes import quality
from elegan.tasks.recipes import find_recipe

SAMPLES = 2500
SHARED = ("network", "width", "discriminator_width", "depth", "latent", "batch", "steps")
"""Of the preset, what the plain GAN has too."""

ARMS = ("rpgan-ring", "rpgan-grid", "gan-ring", "gan-grid")


def words(arm: str) -> list[str]:
    model, data = arm.split("-")
    if model == "rpgan":
        return [data]
    preset = find_recipe("rpgan").presets["points"].options
    shared = [word for name in SHARED for word in (f"--{name.replace('_', '-')}", str(preset[name]))]
    return [data, "--model", "gan", "--preset", "none", *shared]


def measure(arm: str, seed: int) -> dict[str, Any]:
    os.environ["OMP_NUM_THREADS"] = "1"  # of the command
    with tempfile.TemporaryDirectory() as folder:
        run, seconds = train_by_command(*words(arm), "--seed", str(seed), "--out", folder)
        points = elegan.load(run).sample(f"0-{SAMPLES - 1}")
        if seed == 0:
            keep_picture(run / "samples.png", f"points-{arm}.png")
    found = quality(torch.from_numpy(points), MIXTURES[arm.split("-")[1]]())
    spreads = found.std_ratios[~found.std_ratios.isnan()]
    return {
        "modes": float(found.modes),
        "high_quality": found.high_quality,
        "kl": found.kl,
        "jsd": found.jsd,
        "narrowest": float(spreads.min()) if len(spreads) else None,
        "median_spread": float(spreads.median()) if len(spreads) else None,
        "widest": float(spreads.max()) if len(spreads) else None,
        "seconds": seconds,
    }


def table(arms: list[str]) -> str:
    """Markdown: means and standard deviations over all seeds that were measured; of the spreads the extremes over all modes and seeds."""
    lines = [
        "| | modes | high quality | reverse KL | spread of a mode, narrowest to widest | median | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in arms:
        found = [json.loads(path.read_text()) for path in sorted((RESULTS / "points").glob(f"{arm}-*.json"))]
        column = {name: [result[name] for result in found if result[name] is not None] for name in found[0] if name in KEYS}
        shown = [
            f"{mean(column[name]):{form}}" + (f" ± {stdev(column[name]):{form}}" if len(column[name]) > 1 else "")
            for name, form in (("modes", ".1f"), ("high_quality", ".1%"), ("kl", ".3f"))
        ]
        spreads = f"{min(column['narrowest']):.2f} to {max(column['widest']):.2f}"
        lines.append(f"| {arm} | {' | '.join(shown)} | {spreads} | {mean(column['median_spread']):.2f} | {mean(column['seconds']):.0f} |")
    return "\n".join(lines)


KEYS = ("modes", "high_quality", "kl", "narrowest", "median_spread", "widest", "seconds")

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("arms", nargs="*", default=list(ARMS), help=", ".join(ARMS))
    parser.add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    study("points", asked.arms, range(asked.seeds), measure)
    print(table(asked.arms))
