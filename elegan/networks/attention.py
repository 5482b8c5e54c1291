"""Self-attention over the positions of a map (Zhang et al., 2019, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST_SIDE, SMALLEST_IMAGE = 64, 32
"""Maps are attended to up to this side, and images from this side on have one that is."""


def attended_level(height: int, width: int) -> int | None:
    """How often the image is halved to the map that is attended to; None on small images, which have none.

    It is the largest map of at most 64 pixels on its shorter side, and half the image at most: 128 -> 1 (64x64), 32 -> 1 (16x16),
    256 -> 2 (64x64).
    """
    side = min(height, width)
    return next(level for level in range(1, side) if side >> level <= LARGEST_SIDE) if side >= SMALLEST_IMAGE else None


class SelfAttention(nn.Module):
    """(n, c, h, w) -> (n, c, h, w): the input plus gamma times what each position gathers from the whole map; h and w are 2 or more.

    Queries and keys have c/8 channels, values c/2; keys and values are the largest of each 2x2 positions. gamma is 0 at first.
    Of plain products, as PyTorch's fused attention has no second derivative on a GPU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, values = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.key = nn.Conv2d(channels, inner, 1, bias=False)
        self.value = nn.Conv2d(channels, values, 1, bias=False)
        self.last = nn.Conv2d(values, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        queries = self.query(x).flatten(2)
        keys, values = F.max_pool2d(self.key(x), 2).flatten(2), F.max_pool2d(self.value(x), 2).flatten(2)
        shares = torch.bmm(queries.mT, keys).softmax(2)  # (n, positions, positions / 4)
        gathered = torch.bmm(values, shares.to(values.dtype).mT).view(len(x), -1, *x.shape[2:])
        gain: Tensor = self.last(gathered)
        return x + self.gamma * gain
