"""How fast training goes on a device: images a second, memory, and the share of the device's peak.

Usage: python benchmarks/device.py [cuda|cpu] [dcgan|sngan|stylegan2-256|r3gan-32|biggan-128 ...] [--batch N ...]

Each case is measured in float32 and bfloat16, and with compiled networks where there is a compiler. Floating-point operations
are counted by PyTorch over one round; the peak is that of dense bfloat16 matrix products, by the device's data sheet, or
measured by a product of two 4096x4096 matrices where the device is not in the table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from study import machine
from throughput import CASES as NARROW
from throughput import pictures
from torch.utils.flop_counter import FlopCounterMode

from elegan.data.batches import Batches
from elegan.engine.average import Average
from elegan.engine.measure import synchronise
from elegan.engine.turns import Settings, Turns
from elegan.learning import prepare_networks
from elegan.tasks.recipes import find_recipe

CASES: dict[str, dict[str, Any]] = NARROW | {
    # as published: NVIDIA names 80 images a second for an A100, with lazy R1 and path lengths
    "stylegan2-256": {
        **{"model": "stylegan2", "side": 256, "batch": 32, "steps": 16},
        "options": {"width": 64, "discriminator_width": 64, "widest": 512, "latent": 512, "depth": 8},
    },
    "r3gan-32": {"model": "r3gan", "side": 32, "batch": 128, "steps": 1, "options": {}},
    "biggan-128": {"model": "biggan", "side": 128, "batch": 64, "steps": 2, "classes": 1000, "options": {}},
}
"""Those of throughput.py, which are narrow enough for a CPU, and published ones for GPUs. steps: rounds of a whole period."""

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
SECONDS = 8.0


def make_turns(name: str, batch: int, device: torch.device, precision: str, compiled: bool, folder: Path) -> tuple[Turns, Batches]:
    case = CASES[name]
    data, found = pictures(case["side"], case.get("classes", 0), folder), find_recipe(case.get("model", name))
    recipe = found.make(data.spec, found.resolve({}, {"batch": batch, **case["options"]}))
    torch.manual_seed(0)
    gan = recipe.build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    prepare_networks(gan)
    if compiled:
        for network in [network for networks in gan.players.values() for network in networks]:
            network.compile()
    turns = Turns(gan, recipe.optimizers, Settings(precision), Average(gan, recipe.average_half_life))
    return turns, Batches(data, batch=batch, seed=0, device=device)


def measure(name: str, batch: int, device: torch.device, precision: str, compiled: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        turns, batches = make_turns(name, batch, device, precision, compiled, Path(folder))
        rounds = CASES[name]["steps"]
        counter = FlopCounterMode(display=False)
        with counter:
            for step in range(rounds):
                turns.round(batches.at(step), step)
        step = play(turns, batches, rounds, 3 * rounds)  # compilation and the choice of kernels
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        started, first = time.perf_counter(), step
        while time.perf_counter() - started < SECONDS:
            step = play(turns, batches, step, rounds)
        rate = (step - first) * batch / (time.perf_counter() - started)
    operations = counter.get_total_flops() / (rounds * batch)
    return {
        "case": name,
        "batch": batch,
        "precision": precision,
        "compiled": compiled,
        "images_per_second": rate,
        "operations_per_image": operations,
        "share_of_peak": rate * operations / peak(device),
        "memory": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    }


def play(turns: Turns, batches: Batches, step: int, rounds: int) -> int:
    for _ in range(rounds):
        turns.round(batches.at(step), step)
        step += 1
    synchronise(turns.device)
    return step


def peak(device: torch.device) -> float:
    """Floating-point operations a second."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return next((value for known, value in PEAKS.items() if known in name), 0.0) or measured_peak(device)


def measured_peak(device: torch.device) -> float:
    a = torch.randn(4096, 4096, device=device, dtype=torch.bfloat16)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        a @ a
        synchronise(device)
        times.append(time.perf_counter() - started)
    return 2 * 4096**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("device", nargs="?", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("cases", nargs="*", default=["dcgan", "sngan"])
    parser.add_argument("--batch", nargs="*", type=int)
    asked = parser.parse_args()
    device = torch.device(asked.device)
    print(json.dumps(machine() | ({"device": torch.cuda.get_device_name(device)} if device.type == "cuda" else {})))
    for name in asked.cases:
        for batch in asked.batch or [CASES[name]["batch"]]:
            for precision, compiled in [("fp32", False), ("bf16", False), *([("bf16", True)] if shutil.which("g++") else [])]:
                print(json.dumps(measure(name, batch, device, precision, compiled)), flush=True)


if __name__ == "__main__":
    main()
