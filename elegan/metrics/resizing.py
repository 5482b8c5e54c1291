"""Images as the networks that judge them take them: resized by the rule of a published protocol, on which its numbers depend."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from elegan.errors import DataError, OptionError, nearest
from elegan.metrics.pairs import Pixels, check_pixels

Resize = Literal["tf1", "clean"]
"""tf1: as the graph of the TensorFlow 1 Inception does, on which FID was defined (Heusel et al., 2017). clean: Parmar et al. (2022)."""


def resized(pixels: Pixels, side: int, resize: Resize = "tf1", device: torch.device | str = "cpu") -> Tensor:
    """uint8 (n, h, w, c) with 1 or 3 channels -> float32 (n, 3, side, side) in [0, 255], never rounded; grey is repeated.

    Raises DataError for other arrays, OptionError for an unknown rule.
    """
    check_pixels(pixels)
    if pixels.shape[3] not in (1, 3):
        raise DataError(f"networks judge images with 1 or 3 channels, got {pixels.shape}; leave out the others.")
    if resize == "tf1":
        planes = resize_tf1(pixels, side, device)
    elif resize == "clean":
        planes = resize_clean(pixels, side).to(device)
    else:
        raise OptionError(f"--resize: got {resize!r}. {nearest(resize, ['tf1', 'clean'])}")
    return planes.expand(-1, 3, -1, -1)


def resize_tf1(pixels: Pixels, side: int, device: torch.device | str = "cpu") -> Tensor:
    """Bilinear as `resize_bilinear` of TensorFlow 1: uint8 (n, h, w, c) -> float32 (n, c, side, side).

    Output pixel i lies at i * size / side: the corners, not the centres, are aligned, and nothing is averaged where the image
    shrinks. Rows and columns are independent, so it is two products with matrices of two entries a row.
    """
    images = torch.from_numpy(np.array(pixels)).to(device).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    down, across = (tf1_matrix(size, side).to(device) for size in images.shape[2:])
    return down @ images @ across.T


def tf1_matrix(size: int, side: int) -> Tensor:
    """(side, size): what each of `size` pixels in a row gives to each of `side`."""
    # TensorFlow has the position in float32; at 1024 pixels an exact one would differ by 0.01 grey levels.
    position = torch.arange(side, dtype=torch.float32) * torch.tensor(size / side, dtype=torch.float32)
    before = position.long()
    share = position - before
    matrix, rows = torch.zeros(side, size), torch.arange(side)
    matrix[rows, before] = 1 - share
    matrix[rows, (before + 1).clamp_max(size - 1)] += share  # the last pixel is its own neighbour
    return matrix


def resize_clean(pixels: Pixels, side: int) -> Tensor:
    """Bicubic with antialiasing by Pillow, each channel in float: uint8 (n, h, w, c) -> float32 (n, c, side, side), clipped to [0, 255]."""
    n, height, width, channels = pixels.shape
    planes = np.moveaxis(pixels, 3, 1).reshape(n * channels, height, width).astype(np.float32)
    found = [np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.BICUBIC)) for plane in planes]
    return torch.from_numpy(np.stack(found)).clamp_(0, 255).view(n, channels, side, side)
