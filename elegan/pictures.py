"""Samples as pictures: 8-bit images, grids, points in a plane, PNG files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image
from torch import Tensor

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Points = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def to_pixels(samples: Tensor) -> Pixels:
    """(n, c, h, w) in [-1, 1] -> uint8 (n, h, w, c): truncation of 127.5 x + 128, which maps 0 to 128."""
    scaled = (samples.float() * 127.5 + 128).clamp(0, 255)
    pixels: Pixels = scaled.byte().permute(0, 2, 3, 1).cpu().numpy()
    return pixels


def to_image(pixels: Pixels) -> Image.Image:
    """(h, w, c) with 1 to 4 channels -> a picture in mode L, LA, RGB or RGBA."""
    channels = pixels.shape[2]
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels, MODES[channels])


def grid(pixels: Pixels, columns: int, smallest_side: int = 512) -> Image.Image:
    """Pictures (n, h, w, c) row by row, a grey line between them; enlarged by a whole number until the shorter side has
    `smallest_side` pixels."""
    n, height, width, channels = pixels.shape
    rows = -(-n // columns)
    cells = np.full((rows * columns, height + 1, width + 1, channels), 96, np.uint8)
    cells[:n, :height, :width] = pixels
    sheet = cells.reshape(rows, columns, height + 1, width + 1, channels).swapaxes(1, 2)
    sheet = sheet.reshape(rows * (height + 1), columns * (width + 1), channels)[:-1, :-1]
    scale = max(1, -(-smallest_side // min(sheet.shape[:2])))
    return to_image(sheet.repeat(scale, axis=0).repeat(scale, axis=1))


def scatter(points: Points, frame: Sequence[tuple[float, float]], side: int = 512) -> Image.Image:
    """Points (n, d), by their first two axes: darker where more of them are. With one axis, a histogram.

    frame: the smallest and largest value shown, for each axis; what lies beyond is not seen.
    """
    if points.shape[1] == 1:
        return histogram(points[:, 0], frame[0], side)
    across, down = (((points[:, axis] - low) / (high - low)) for axis, (low, high) in enumerate(frame[:2]))
    counts, _, _ = np.histogram2d(1 - down, across, bins=side, range=[(0, 1), (0, 1)])
    padded = np.pad(counts, 1)
    dots = sum(padded[y : y + side, x : x + side] for y in range(3) for x in range(3))  # each point covers 3 x 3 pixels
    return Image.fromarray((255 * np.exp(-0.8 * dots)).astype(np.uint8))


def histogram(values: Points, frame: tuple[float, float], side: int, bins: int = 128) -> Image.Image:
    counts, _ = np.histogram(values, bins, frame)
    heights = np.repeat(counts / max(1, counts.max()) * 0.95 * side, side // bins)
    return Image.fromarray(np.where(side - np.arange(side)[:, None] <= heights, 64, 255).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def grid_columns(num_classes: int, count: int) -> int:
    """A column for each class, so that seed i stands in the column of its class; without classes a square."""
    if 2 <= num_classes <= 16:
        return num_classes
    return max(1, round(math.sqrt(count)))
