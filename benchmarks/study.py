"""Studies: commands that can be stopped and taken up again, with one committed result for each arm and seed."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

import elegan
from elegan.pictures import Pixels, to_image

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parent.parent / "docs" / "pictures"


def study(name: str, arms: Iterable[str], seeds: Iterable[int], measure: Callable[[str, int], dict[str, Any]]) -> None:
    """Measure each (arm, seed) that has no result yet, write it to `results/NAME/ARM-SEED.json`, and print the table."""
    arms, seeds = list(arms), list(seeds)
    for arm in arms:
        for seed in seeds:
            path = RESULTS / name / f"{arm}-{seed}.json"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"arm": arm, "seed": seed, **measure(arm, seed), **machine()}, indent=2) + "\n")
                print(path.read_text(), flush=True)
    for arm in arms:
        print_arm(arm, [json.loads((RESULTS / name / f"{arm}-{seed}.json").read_text()) for seed in seeds])


def fix_steps(name: str, minutes: float, arms: Mapping[str, Mapping[str, Any]]) -> None:
    """Write into `results/NAME/steps.json` how many steps of each arm fit into the time, as `elegan train --minutes` would fix them here
    and now; arms: what `elegan.plan` is given, of all arms or of those that became faster. On a quiet machine, once: then every
    seed does the same work, however busy it is."""
    path = RESULTS / name / "steps.json"
    found = json.loads(path.read_text())["steps"] if path.exists() else {}
    found |= {arm: elegan.plan(**asked, minutes=minutes).steps for arm, asked in arms.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"minutes": minutes, "steps": found, **machine()}, indent=2) + "\n")
    print(path.read_text())


def fixed_steps(name: str, arm: str) -> int:
    return int(json.loads((RESULTS / name / "steps.json").read_text())["steps"][arm])


def words_of(asked: Mapping[str, Any]) -> list[str]:
    """What `elegan.plan` is given, as one types it for `elegan train`."""
    rest = {name: value for name, value in asked.items() if name != "data"}
    flags = [[f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])] for name, value in rest.items()]
    return [str(asked["data"]), *(word for words in flags for word in words)]


def print_arm(arm: str, results: list[dict[str, Any]]) -> None:
    """Mean and standard deviation over the seeds of every number."""
    print(f"{arm} ({len(results)} seeds)")
    for key, value in results[0].items():
        if isinstance(value, float):
            values = [float(result[key]) for result in results]
            print(f"  {key}: {mean(values):.4f}" + (f" +- {stdev(values):.4f}" if len(values) > 1 else ""))


def machine() -> dict[str, Any]:
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "processor": processor(), "python": platform.python_version()}


def processor() -> str:
    """The processor's name, and whether it has bfloat16 instructions (avx512_bf16) or matrix units (amx)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    flags = next((line for line in lines if line.startswith("flags")), "")
    return name + "".join(f", {flag}" for flag in ("avx512_bf16", "amx_bf16") if flag in flags)


def train_by_command(*words: str) -> tuple[Path, float]:
    """`elegan train WORDS` as a process of its own: the run, and the seconds from start to end."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "elegan", "train", *words, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    return Path(json.loads(done.stdout)["run"]), time.perf_counter() - start


def keep_picture(picture: Path, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    shutil.copy(picture, PICTURES / name)


def write_images(pixels: Pixels, folder: Path) -> None:
    """(n, h, w, c) as n files, 00.png and so on, for commands that are given images."""
    for i, image in enumerate(pixels):
        to_image(image).save(folder / f"{i:02d}.png")


def data_folder() -> Path:
    """The folder with the real data sets; ends the program with what to do if it is not named."""
    if not os.environ.get("ELEGAN_DATA"):
        sys.exit("set ELEGAN_DATA to the folder with the real data sets, such as mnist/train.parquet")
    return Path(os.environ["ELEGAN_DATA"])
