"""Colour transformations of ADA (Karras et al., 2020, appendix B), all in one matrix for each image."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from elegan.augment.draws import Draws

LUMA = torch.full((3, 3), 1 / 3, dtype=torch.float64)
"""The part of a colour along (1, 1, 1)."""

CHROMA = torch.eye(3, dtype=torch.float64) - LUMA
"""The part across it."""

QUARTER = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=torch.float64) / 3**0.5
"""CHROMA turned by 90 degrees around (1, 1, 1)."""


def recoloured(images: Tensor, draws: Draws) -> Tensor:
    """Brightness + N(0, 0.2^2), contrast * 2^N(0, 0.5^2), luma mirrored, hue turned, saturation * 2^N(0, 1), in this order.

    Brightness and contrast scale and shift; mirroring changes the sign of the part along (1, 1, 1); hue and saturation turn
    and scale the part across it. Images (n, 3, h, w); those of another number of channels have no hue and no saturation, and
    each channel is treated as a grey image.
    """
    brightness = draws.normal("brightness", 0.2)
    contrast = draws.factor("contrast", 0.5)
    along = contrast * (1 - 2 * draws.whole("luma_flip", 2))
    offset = (along * brightness)[:, None, None]
    if images.shape[1] != 3:
        return images * along[:, None, None, None] + offset[:, None]
    hue, across = draws.uniform("hue", pi), contrast * draws.factor("saturation", 1.0)
    parts = zip((along, across * hue.cos(), across * hue.sin()), (LUMA, CHROMA, QUARTER), strict=True)
    matrix = torch.stack([size[:, None, None] * part.to(images) for size, part in parts]).sum(0)
    return (matrix @ images.flatten(2) + offset).view_as(images)
