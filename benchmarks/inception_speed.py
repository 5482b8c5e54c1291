"""elegan's Inception network against torch-fidelity's, interleaved in one run, with the same random weights and images.

Usage: python benchmarks/inception_speed.py [images] [repeats]

Both sides take images of 8 bits and give pool3 features; the reference is as shipped, with 32 images at one time. bfloat16 is
for scores that only follow progress. Sides take turns, so that a busy machine slows all; medians of ratios are compared.
torchvision, which torch-fidelity imports and its Inception does not use, is replaced by an empty stand-in.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from study import machine
from torch import Tensor

from elegan.metrics.inception import Inception, inception_shapes

IMAGES = 32
REPEATS = 5
SIDE = 32
TARGETS = {"float32": 1.7, "bfloat16": 4.5}


def random_weights() -> dict[str, Tensor]:
    """Under which activations neither vanish nor explode."""
    random, found = torch.Generator().manual_seed(0), {}
    for name, shape in inception_shapes().items():
        normal = torch.randn(shape, generator=random)
        scale = (2 / normal[0].numel()) ** 0.5 if name.endswith("conv.weight") else 0.1
        found[name] = normal.mul(0.3).exp() if name.endswith(("running_var", "bn.weight")) else normal * scale
    return found


def reference(weights: dict[str, Tensor]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """torch-fidelity's network: uint8 (n, 3, h, w) -> features (n, 2048) alone."""
    stand_in = {name: MagicMock() for name in ("", ".datasets", ".transforms", ".transforms.functional")}
    for name in ("CIFAR10", "CIFAR100", "STL10"):
        setattr(stand_in[".datasets"], name, object)
    with patch.dict(sys.modules, {f"torchvision{name}": one for name, one in stand_in.items()}):
        package = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    with tempfile.TemporaryDirectory() as folder:
        torch.save(weights, Path(folder) / "weights.pth")
        network = package.FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=f"{folder}/weights.pth")
    found: Callable[[Tensor], tuple[Tensor, ...]] = network
    return found


def sides(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> dict[str, Callable[[], Tensor]]:
    weights = random_weights()
    theirs, images = reference(weights), torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def shipped() -> Tensor:
        with torch.no_grad():
            return torch.cat([theirs(part)[0] for part in torch.split(images, 32)])

    exact, fast = Inception(weights), Inception(weights, torch.bfloat16)
    return {"reference": shipped, "float32": lambda: exact.outputs(pixels).features, "bfloat16": lambda: fast.outputs(pixels).features}


def measure(count: int, repeats: int) -> dict[str, object]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    runs = sides(pixels)
    features = {name: run() for name, run in runs.items()}  # the warm-up
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    found: dict[str, object] = {f"{name}_images_per_second": count / median(taken) for name, taken in seconds.items()}
    for name, target in TARGETS.items():
        found[f"{name}_ratio"] = median(their / our for their, our in zip(seconds["reference"], seconds[name], strict=True))
        found[f"{name}_target"] = target
        found[f"{name}_relative_error"] = ((features[name] - features["reference"]).abs().max() / features["reference"].abs().max()).item()
    return found | machine()


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    for key, value in measure(*(words + [IMAGES, REPEATS][len(words) :])).items():
        print(f"{key}: {value:.3g}" if isinstance(value, float) else f"{key}: {value}")
