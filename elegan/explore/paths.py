"""Walks from one latent to the next: straight, along arcs, or smooth."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from elegan.metrics.perceptual import arc, line

PathName = Literal["slerp", "lerp", "spline"]


def walk(keyframes: Tensor, frames: int, path: PathName, *, closed: bool = True) -> Tensor:
    """The way through keyframes (k, layers, size), k > 1, `frames` steps from each to the next: (k * frames, layers, size), and from
    the last back to the first; or, not closed, ((k - 1) * frames + 1, layers, size).

    "lerp": straight. "slerp": along arcs, layer by layer, which keep the length that normal noise has (Shoemake, 1985; White, 2016).
    "spline": the cubic spline through all of them, with no corners: periodic, or natural if not closed.
    """
    starts, ends = keyframes, keyframes.roll(-1, 0)
    if not closed:
        starts, ends = keyframes[:-1], keyframes[1:]
    shares = torch.arange(frames, dtype=torch.float64, device=keyframes.device).div(frames).view(1, -1, *[1] * (keyframes.dim() - 1))
    if path == "spline":
        found = cubic(keyframes, shares, closed)
    else:
        found = (arc if path == "slerp" else line)(starts[:, None], ends[:, None], shares)
    found = found.flatten(0, 1).to(keyframes.dtype)
    return found if closed else torch.cat([found, keyframes[-1:]])


def cubic(knots: Tensor, shares: Tensor, closed: bool) -> Tensor:
    """(segments, shares, ...): the spline at these shares of each segment, by its second derivatives at the knots."""
    exact = knots.double()
    bends = second_derivatives(exact, closed)
    before, after = (exact, bends), (exact.roll(-1, 0), bends.roll(-1, 0))
    if not closed:
        before, after = (exact[:-1], bends[:-1]), (exact[1:], bends[1:])
    (start, start_bend), (end, end_bend) = (tuple(part[:, None] for part in one) for one in (before, after))
    left = 1 - shares
    return left * start + shares * end + ((left**3 - left) * start_bend + (shares**3 - shares) * end_bend) / 6


def second_derivatives(knots: Tensor, closed: bool) -> Tensor:
    """Those of the cubic spline through knots (k, ...) at distance 1: M[i-1] + 4 M[i] + M[i+1] = 6 (y[i-1] - 2 y[i] + y[i+1])."""
    one = torch.eye(len(knots), dtype=knots.dtype, device=knots.device)
    neighbours = one.roll(1, 0) + one.roll(-1, 0)
    left, right = 4 * one + neighbours, 6 * (neighbours - 2 * one)
    if not closed:  # a natural spline does not bend at its ends
        left[[0, -1]], right[[0, -1]] = one[[0, -1]], 0.0
    found: Tensor = torch.linalg.solve(left, right @ knots.flatten(1))
    return found.view_as(knots)
