"""What turns images into features: one contract for every network, published or trained here.

A distance between sets of images is one between their features, so the extractor is part of a metric's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elegan.errors import DataError
from elegan.pictures import Pixels

MOST, PIXELS = 250, 2**20
"""So many images go through an extractor at one time, and fewer where they have more pixels than this together."""


class Features(NamedTuple):
    """values: float32 (n, d). logits: float32 (n, k), where the extractor is also a classifier."""

    values: Tensor
    logits: Tensor | None = None


@dataclass(frozen=True)
class Extractor:
    """name: such as inception or classifier. digest: of its weights. resize: how images come to its size, in words.

    compute: uint8 (n, h, w, c) -> Features. shape: the only (c, h, w) it takes; None if it takes any.
    """

    name: str
    digest: str
    resize: str
    compute: Callable[[Pixels], Features]
    shape: tuple[int, int, int] | None = None

    def features(self, pixels: Pixels, progress: Callable[[int, int], None] | None = None) -> Features:
        """Features of images uint8 (n, h, w, c). DataError for images of a shape it does not take."""
        self.check(pixels)
        parts, batch = [], max(1, min(MOST, PIXELS // (pixels.shape[1] * pixels.shape[2])))
        for start in range(0, len(pixels), batch):
            parts.append(self.compute(pixels[start : start + batch]))
            if progress is not None:
                progress(min(start + batch, len(pixels)), len(pixels))
        logits = [part.logits for part in parts if part.logits is not None]
        return Features(torch.cat([part.values for part in parts]), torch.cat(logits) if logits else None)

    def check(self, pixels: Pixels) -> None:
        if len(pixels) == 0:
            raise DataError(f"there are no images for {self.name} to look at.")
        height, width, channels = pixels.shape[1:]
        if self.shape not in (None, (channels, height, width)):
            expected = "{1} x {2} pixels with {0} channels".format(*self.shape)
            raise DataError(f"{self.name} looks at images of {expected}, got {height} x {width} with {channels}.")


def to_tensor(pixels: Pixels) -> Tensor:
    """uint8 (n, h, w, c) -> float32 (n, c, h, w) in [-1, 1]."""
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1


def digest(network: nn.Module) -> str:
    """A hash of the weights and buffers: which network judged."""
    state = hashlib.sha256()
    for name, value in network.state_dict().items():
        state.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return state.hexdigest()[:16]
