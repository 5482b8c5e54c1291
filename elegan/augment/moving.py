"""Carrying out geometric transformations: whole pixels are copied, all others are looked up in a doubled image.

Beyond its edges an image goes on as its mirror image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.augment.geometry import differs
from elegan.augment.wavelets import DELAY, MARGIN, along, doubling, halving, reflected


def moved(images: Tensor, blits: Tensor, generals: Tensor) -> Tensor:
    """Images (n, c, h, w) with `blits` and then `generals` applied, both inverses (n, 3, 3). Only images that move cost time."""
    inverse, smoothly = blits @ generals, differs(generals)
    for which, move in ((smoothly, looked_up), (differs(blits) & ~smoothly, copied)):
        chosen = which.nonzero()[:, 0]
        if len(chosen):
            images = images.index_copy(0, chosen, move(images[chosen], inverse[chosen]))
    return images


def copied(images: Tensor, inverse: Tensor) -> Tensor:
    """Each pixel of the result is one of the image's; the nearest, where a quarter turn of an odd and an even side leaves none."""
    count, channels, height, width = images.shape
    rows, columns = torch.arange(height).to(inverse), torch.arange(width).to(inverse)
    x, y = ((place + 0.5).floor_().long() for place in seen(inverse, rows, columns, height, width))
    places = reflected(y, 0, height - 1) * width + reflected(x, 0, width - 1)
    return images.flatten(2).gather(2, places.view(count, 1, -1).expand(-1, channels, -1)).view_as(images)


def looked_up(images: Tensor, inverse: Tensor) -> Tensor:
    """Both image and result are twice as fine meanwhile, so that neither turning nor shrinking folds frequencies over."""
    height, width = images.shape[2:]
    doubled = along(images, doubling(height), doubling(width))
    result = F.grid_sample(doubled, grid(inverse, height, width), padding_mode="border", align_corners=True)
    return along(result, halving(height), halving(width))


def grid(inverse: Tensor, height: int, width: int) -> Tensor:
    """(n, 2h + 10, 2w + 10, 2): for each pixel of the doubled result the place in the doubled image, from -1 to 1."""
    x, y = seen(inverse, fine_places(inverse, height), fine_places(inverse, width), height, width)
    return torch.stack([on_fine_axis(x, width), on_fine_axis(y, height)], 3)


def fine_places(like: Tensor, size: int) -> Tensor:
    """(2 size + 10,): where the pixels of a doubled axis are on the axis itself."""
    return (torch.arange(2 * (size + MARGIN)).to(like) - DELAY) / 2


def seen(inverse: Tensor, rows: Tensor, columns: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """x and y in the image, (n, rows, columns) each, of the places of the result at these rows and columns. In pixels from the
    first."""
    right, down = columns - (width - 1) / 2, rows[:, None] - (height - 1) / 2
    linear, move = inverse[:, :2, :2, None, None], inverse[:, :2, 2, None, None]
    x = linear[:, 0, 0] * right + (linear[:, 0, 1] * down + (move[:, 0] + (width - 1) / 2))
    y = linear[:, 1, 0] * right + (linear[:, 1, 1] * down + (move[:, 1] + (height - 1) / 2))
    return x, y


def on_fine_axis(places: Tensor, size: int) -> Tensor:
    """Places on an axis, in pixels, as places on the doubled one, from -1 to 1; those beyond it as they are mirrored."""
    last = 2 * (size + MARGIN) - 1
    first = 2 * DELAY / last - 1  # where the first pixel is
    places = (places * (4 / last)).add_(first)
    within = places.abs() <= 1 + 0.04 / last  # a little more: rounding decides nothing
    return torch.where(within, places, reflected(places, first, first + 4 * (size - 1) / last))
