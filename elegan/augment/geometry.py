"""Where pixels go: pixel blitting and general geometric transformations of ADA (Karras et al., 2020, appendix B).

Each image has the inverse of its transformation, a matrix (3, 3) that takes a place (x, y, 1) of the result to the place in the
image that is seen there, in pixels to the right and down from the centre.
"""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor

from elegan.augment.draws import Draws


def blits(draws: Draws, height: int, width: int) -> Tensor:
    """(n, 3, 3): mirrored, turned by a multiple of 90 degrees, and moved by whole pixels up to an eighth of each side."""
    flip = 1 - 2 * draws.whole("flip", 2)
    turn = rotation(pi / 2 * draws.whole("quarter_turns", 4)).round()
    move = draws.uniform("whole_shift", 1 / 8, 2)
    return scaling(flip, torch.ones_like(flip)) @ turn @ shifting(-(move * move.new_tensor([width, height])).round())


def generals(draws: Draws, height: int, width: int) -> Tensor:
    """(n, 3, 3): scaled by 2^N(0, 0.2^2), turned, widened by another such factor and lowered by the same, turned, and moved by
    N(0, 1/8^2) of each side. Each of both turns happens with 1 - sqrt(1 - p), so that any turn does with p."""
    turns = draws.with_probability(1 - (1 - draws.p) ** 0.5)
    scale, widening = draws.factor("scale", 0.2), draws.factor("widening", 0.2)
    move = draws.normal("shift", 1 / 8, 2)
    before, after = rotation(turns.uniform("turn_before", pi)), rotation(turns.uniform("turn_after", pi))
    stretched = scaling(1 / scale, 1 / scale) @ before @ scaling(1 / widening, widening)
    return stretched @ after @ shifting(-move * move.new_tensor([width, height]))


def scaling(horizontally: Tensor, vertically: Tensor) -> Tensor:
    """Factors (n,) and (n,) -> (n, 3, 3)."""
    return torch.diag_embed(torch.stack([horizontally, vertically, torch.ones_like(vertically)], 1))


def rotation(angle: Tensor) -> Tensor:
    """Radians (n,) -> (n, 3, 3)."""
    matrix = torch.diag_embed(torch.stack([angle.cos(), angle.cos(), torch.ones_like(angle)], 1))
    matrix[:, 0, 1], matrix[:, 1, 0] = -angle.sin(), angle.sin()
    return matrix


def shifting(move: Tensor) -> Tensor:
    """Pixels to the right and down (n, 2) -> (n, 3, 3)."""
    matrix = torch.eye(3, dtype=move.dtype, device=move.device).repeat(len(move), 1, 1)
    matrix[:, :2, 2] = move
    return matrix


def differs(matrices: Tensor) -> Tensor:
    """(n,) bool: which of them (n, 3, 3) move anything."""
    return (matrices != torch.eye(3, dtype=matrices.dtype, device=matrices.device)).flatten(1).any(1)
