"""Walks among latents, against scipy's splines and against what arcs and straight lines must do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from elegan.explore.paths import PathName, walk

NAMES: tuple[PathName, ...] = ("slerp", "lerp", "spline")


def keyframes(count: int) -> Tensor:
    return torch.randn(count, 3, 5, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("path", NAMES)
@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_walk_passes_its_keyframes(count: int, path: PathName, closed: bool) -> None:
    points = keyframes(count)
    found = walk(points, 4, path, closed=closed)
    assert found.shape == (count * 4 if closed else (count - 1) * 4 + 1, 3, 5)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[::4], points, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_smooth_walk_is_the_cubic_spline(count: int, closed: bool) -> None:
    points = keyframes(count).double()
    knots = torch.cat([points, points[:1]]) if closed else points
    spline = CubicSpline(np.arange(len(knots)), knots.numpy(), bc_type="periodic" if closed else "natural")
    found = walk(points, 10, "spline", closed=closed)
    np.testing.assert_allclose(found.numpy(), spline(np.arange(len(found)) / 10), atol=1e-12)


def test_an_arc_keeps_the_length_and_takes_even_angles() -> None:
    points = torch.tensor([[[3.0, 0.0]], [[0.0, 3.0]]], dtype=torch.float64)
    found = walk(points, 3, "slerp", closed=False)[:, 0]
    angles = torch.tensor([0.0, 30.0, 60.0, 90.0], dtype=torch.float64).deg2rad()
    torch.testing.assert_close(found, 3 * torch.stack([angles.cos(), angles.sin()], 1))
    straight = walk(points, 2, "lerp", closed=False)[1, 0]
    torch.testing.assert_close(straight, torch.tensor([1.5, 1.5], dtype=torch.float64))


def test_arcs_keep_the_length_of_each_layer() -> None:
    points = torch.nn.functional.normalize(keyframes(4).double(), dim=2) * torch.tensor([1.0, 2.0, 5.0])[:, None]
    lengths = walk(points, 9, "slerp").norm(dim=2)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64).expand_as(lengths))


@pytest.mark.parametrize("path", NAMES)
def test_keyframes_that_are_equal_or_opposite_give_finite_latents(path: PathName) -> None:
    point = keyframes(1)
    for points in (point.expand(3, -1, -1), torch.cat([point, -point]), torch.zeros(2, 1, 4)):
        found = walk(points, 6, path)
        assert bool(found.isfinite().all())
    torch.testing.assert_close(walk(point.expand(3, -1, -1), 5, path), point.expand(15, -1, -1))


def test_a_closed_walk_ends_one_step_before_its_beginning() -> None:
    points = keyframes(3)
    found = walk(points, 8, "lerp")
    torch.testing.assert_close(found[-1], points[2] + (points[0] - points[2]) * 7 / 8)
