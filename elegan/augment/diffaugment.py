"""Differentiable augmentation (DiffAugment; Zhao et al., 2020): colour, translation and cutout, each applied to every image.

Colours may leave [-1, 1]: they are not clipped, so that their gradient is not either.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.randomness import Randomness


def colour(images: Tensor, random: Randomness, stream: str) -> Tensor:
    """Brightness + U(-0.5, 0.5), saturation * U(0, 2) and contrast * U(0.5, 1.5), in this order (section 3.2).

    Saturation is the distance from the pixel's mean over channels, contrast that from the image's mean. Of 2 or 4
    channels the last is alpha and stays as it is.
    """
    if images.shape[1] in (2, 4):
        colours, alpha = torch.split(images, [images.shape[1] - 1, 1], dim=1)
        return torch.cat([colour(colours, random, stream), alpha], dim=1)
    draws = [random.uniform(f"{stream}/{use}", 1, 1, 1).to(images.dtype) for use in ("brightness", "saturation", "contrast")]
    images = images + (draws[0] - 0.5)
    images = torch.lerp(images.mean(1, keepdim=True), images, 2 * draws[1])
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, draws[2] + 0.5)


def translation(images: Tensor, random: Randomness, stream: str) -> Tensor:
    """Shifts by whole pixels, up to an eighth of each side; what comes in is 0 (section 3.2)."""
    height, width = images.shape[2:]
    down = steps(random.uniform(f"{stream}/down"), height // 8)
    right = steps(random.uniform(f"{stream}/right"), width // 8)
    shifted: Tensor = Shift.apply(images, down, right)  # type: ignore[no-untyped-call]
    return shifted


def steps(draws: Tensor, most: int) -> Tensor:
    """Whole numbers from -most to most, all as likely, from numbers in [0, 1)."""
    return (draws * (2 * most + 1)).long() - most


class Shift(torch.autograd.Function):
    """Each image moved by its own `down` and `right` (n,) int64. Its transpose is the shift back, so neither way scatters."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, down: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(down, right)
        return shift(images, down, right)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        down, right = ctx.saved_tensors
        return Shift.apply(gradient, -down, -right), None, None  # type: ignore[no-untyped-call]


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """A window of each image with a border of zeros: the window moves up where the image moves down."""
    height, width = images.shape[2:]
    rows, columns = height // 8, width // 8
    windows = F.pad(images, (columns, columns, rows, rows)).unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(len(images), device=images.device), :, rows - down, columns - right]


def cutout(images: Tensor, random: Randomness, stream: str) -> Tensor:
    """A square of half of each side becomes 0; its centre is anywhere in the image (section 3.2)."""
    rows = covered(random.uniform(f"{stream}/cutout_row", 1), images.shape[2])
    columns = covered(random.uniform(f"{stream}/cutout_column", 1), images.shape[3])
    return images * ~(rows[:, None, :, None] & columns[:, None, None, :])


def covered(centre: Tensor, side: int) -> Tensor:
    """(n, side) bool: the half of a side's pixels around `centre` (n, 1), given in sides; fewer at the border."""
    distance = torch.arange(side, device=centre.device) + 0.5 - side * centre
    half = side // 2 / 2
    return (-half <= distance) & (distance < half)
