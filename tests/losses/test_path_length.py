"""Path lengths of linear maps, whose derivative is known, and the running average."""

from __future__ import annotations

from math import gamma, sqrt

import pytest
import torch
from torch import Tensor

from elegan.losses.path_length import DECAY, PathLength, path_lengths

SHAPE = (3, 4, 5)


def linear(layers: int, size: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(layers, size, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def made(matrix: Tensor, n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Images that are linear in styles, and the styles."""
    styles = torch.randn(n, *matrix.shape[:2], dtype=matrix.dtype, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    return torch.einsum("nls,lschw->nchw", styles, matrix), styles


def normal(n: int) -> Tensor:
    return torch.randn(n, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_the_lengths_of_a_linear_map_are_those_of_its_transpose() -> None:
    matrix, y = linear(2, 6), normal(5)
    found = path_lengths(*made(matrix, 5), y)
    for length, one in zip(found.tolist(), y, strict=True):
        products = [[float((matrix[layer, i] * one).sum()) / sqrt(4 * 5) for i in range(6)] for layer in range(2)]
        assert length == pytest.approx(sqrt(sum(sum(p * p for p in layer) for layer in products) / 2))


def test_the_mean_length_of_an_orthogonal_map_is_known() -> None:
    """Rows of length a, at right angles: |A^T y| / sqrt(h w) = a chi / sqrt(h w), with chi of as many degrees as styles have numbers."""
    rows = torch.linalg.qr(linear(1, 8)[0].flatten(1).T)[0].T.reshape(1, 8, *SHAPE)
    found = path_lengths(*made(3 * rows, 4000), normal(4000))
    assert float(found.mean()) == pytest.approx(3 * sqrt(2) * gamma(4.5) / gamma(4) / sqrt(20), rel=0.02)


def test_the_size_of_an_image_does_not_count() -> None:
    """An image whose every pixel is the style is as long a path at any size, on average."""
    means = []
    for side in (4, 16):
        styles = torch.ones(2000, 1, 1, requires_grad=True)
        images = styles[:, :, :, None].expand(-1, 1, side, side)
        directions = torch.randn(2000, 1, side, side, generator=torch.Generator().manual_seed(side))
        means.append(float(path_lengths(images, styles, directions).mean()))
    assert means == pytest.approx([sqrt(2 / torch.pi)] * 2, rel=0.06)


def test_the_average_follows_by_a_hundredth() -> None:
    penalty = PathLength()
    assert DECAY == 0.99
    expected = 0.0
    for mean in (2.0, 5.0, 1.0):
        expected = 0.99 * expected + 0.01 * mean
        lengths = torch.tensor([mean - 0.5, mean + 0.5])
        found = penalty(lengths)
        penalty.adjust()
        assert float(penalty.average) == pytest.approx(expected, rel=1e-6)
        assert float(found) == pytest.approx((mean - expected) ** 2 + 0.25, rel=1e-5)
    assert {"average", "sums"} == penalty.state_dict().keys()
    penalty.adjust()
    assert float(penalty.average) == pytest.approx(expected, rel=1e-6), "a move without lengths moves nothing"


def test_the_average_of_a_divided_move_is_that_of_the_whole() -> None:
    whole, divided, lengths = PathLength(), PathLength(), torch.tensor([1.0, 2.0, 5.0, 6.0])
    whole(lengths)
    for part in lengths.split(2):
        divided(part)
    for penalty in (whole, divided):
        penalty.adjust()
    torch.testing.assert_close(divided.average, whole.average)


def test_even_paths_as_long_as_ever_cost_nothing() -> None:
    penalty = PathLength()
    penalty.average.fill_(3.0)
    assert float(penalty(torch.full((4,), 3.0))) == 0
    assert float(penalty(torch.tensor([2.0, 4.0]))) == pytest.approx(1.0)


def test_the_penalty_has_the_gradient_of_finite_differences() -> None:
    """By the scale of the map: lengths are proportional to it, and the average is a number that is not followed back."""
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    penalty, y = PathLength().double(), normal(5)
    penalty.average.fill_(0.7)
    penalty(path_lengths(*made(scale * linear(2, 6), 5), y)).backward()
    lengths = path_lengths(*made(linear(2, 6), 5), y).detach()
    average = 0.99 * 0.7 + 0.01 * (1.3 * lengths).mean()
    assert scale.grad is not None
    torch.testing.assert_close(scale.grad, (2 * (1.3 * lengths - average) * lengths).mean())
