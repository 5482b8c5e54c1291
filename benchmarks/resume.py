"""Kills a training with SIGKILL at 20 random moments, resumes it each time, and compares it with one that ran through.

Usage: python benchmarks/resume.py

Average, accumulation, gradient clipping and a lazy penalty are on. Everything that is saved must be equal, bit for bit.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from study import study

import elegan

KILLS, STEPS = 20, 1200
WORDS = (
    f"train digits --model cgan --preset none --width 8 --steps {STEPS} --save-every 10 --accumulate 2 --clip 1 --precision fp32".split()
)
PENALTY = ["--penalty", "r1", "--penalty-weight", "0.1", "--penalty-interval", "4"]


def command(out: Path) -> list[str]:
    return [sys.executable, "-m", "elegan", *WORDS, *PENALTY, "--out", str(out)]


def measure(arm: str, seed: int) -> dict[str, Any]:
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        subprocess.run(command(whole), check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        steps = [kill_after_progress(killed, moments) for _ in range(KILLS)]
        subprocess.run(command(killed), check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        one, other = saved_tensors(whole), saved_tensors(killed)
    different = [name for name in one if name not in other or not torch.equal(one[name], other[name])]
    return {
        "kills": len(steps),
        "steps_saved_at_each_kill": steps,
        "tensors": len(one),
        "different_tensors": len(different),
        "steps": STEPS,
    }


def kill_after_progress(out: Path, moments: random.Random) -> int:
    """Start or resume, wait for a save beyond the present one and a random moment more, kill; the step saved then."""
    before = newest_step(out)
    process = subprocess.Popen(command(out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=dict(os.environ))
    while newest_step(out) <= before and process.poll() is None:
        time.sleep(0.01)
    time.sleep(moments.uniform(0, 0.5))
    if process.poll() is not None:
        sys.exit("training ended before it was killed as often as planned: raise STEPS")
    process.kill()
    process.wait()
    return newest_step(out)


def newest_step(out: Path) -> int:
    return max((elegan.Run(path.parent).step for path in out.glob("*/record.json")), default=-1)


def saved_tensors(out: Path) -> dict[str, torch.Tensor]:
    run = next(elegan.Run(path.parent) for path in out.glob("*/record.json"))
    folder = run.checkpoint_folder / f"step-{run.step:08d}"
    files = {path.stem: safetensors.torch.load_file(path) for path in folder.glob("*.safetensors")}
    return {f"{file}/{name}": value for file, tensors in files.items() for name, value in tensors.items()}


if __name__ == "__main__":
    study("resume", ["sigkill"], [0], measure)
