"""Doubling and halving, against sums written out and against each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elegan.networks.resampling import double, halve

SIZES = [(2, 2), (2, 6), (8, 8), (10, 4)]


def maps(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def filtered(line: list[float]) -> list[float]:
    """A line of pixels through [1, 2, 1] / 4; beyond its ends it goes on as it ended."""
    longer = [line[0], *line, line[-1]]
    return [(a + 2 * b + c) / 4 for a, b, c in zip(longer, longer[1:], longer[2:], strict=False)]


def doubled(line: list[float]) -> list[float]:
    return filtered([pixel for pixel in line for _ in range(2)])


def halved(line: list[float]) -> list[float]:
    low = filtered(line)
    return [(a + b) / 2 for a, b in zip(low[::2], low[1::2], strict=True)]


def along_both(x: Tensor, one: object) -> Tensor:
    """`one`, a function of lines, along rows and then along columns."""
    rows = torch.tensor([[[one(row) for row in image] for image in sample] for sample in x.tolist()], dtype=x.dtype)  # type: ignore[operator]
    columns = [[[one(column) for column in image] for image in sample] for sample in rows.transpose(2, 3).tolist()]  # type: ignore[operator]
    return torch.tensor(columns, dtype=x.dtype).transpose(2, 3)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_doubling_is_each_pixel_twice_and_a_low_pass_filter(size: tuple[int, int]) -> None:
    torch.testing.assert_close(double(maps(*size)), along_both(maps(*size), doubled), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_halving_is_the_same_filter_and_a_mean(size: tuple[int, int]) -> None:
    torch.testing.assert_close(halve(maps(*size)), along_both(maps(*size), halved), rtol=1e-12, atol=1e-12)


def test_the_filter_of_a_single_pixel() -> None:
    """[1, 3, 3, 1] / 4 in both directions for doubling, / 8 for halving (a pixel is of 3 parts in the near one, 1 in the far)."""
    line = torch.tensor([1.0, 3, 3, 1])
    one = torch.zeros(1, 1, 5, 5)
    one[0, 0, 2, 2] = 1
    torch.testing.assert_close(double(one)[0, 0, 3:7, 3:7], line[:, None] * line / 16)
    assert float(double(one).sum()) == pytest.approx(4.0)
    one = torch.zeros(1, 1, 8, 8)
    one[0, 0, 4, 4] = 1
    torch.testing.assert_close(halve(one)[0, 0, 1:3, 1:3], torch.tensor([[1.0, 3], [3, 9]]) / 64)


@pytest.mark.parametrize("resample", [double, halve])
def test_constant_maps_stay_constant_edges_included(resample: object) -> None:
    x = torch.full((1, 2, 6, 4), 0.7, dtype=torch.float64)
    found = resample(x)  # type: ignore[operator]
    torch.testing.assert_close(found, torch.full_like(found, 0.7), rtol=1e-14, atol=0)


def test_each_is_the_transpose_of_the_other() -> None:
    """<halve(x), y> is a quarter of <x, double(y)>: the two networks are mirrors."""
    x, y = maps(12, 8, seed=1), maps(6, 4, seed=2)
    torch.testing.assert_close((halve(x) * y).sum(), (x * double(y)).sum() / 4)


@pytest.mark.parametrize("resample", [double, halve])
def test_gradients_and_their_gradients_are_exact(resample: object) -> None:
    x = maps(4, 6).requires_grad_()
    assert torch.autograd.gradcheck(resample, x)  # type: ignore[arg-type]
    assert torch.autograd.gradgradcheck(resample, x)  # type: ignore[arg-type]


@pytest.mark.parametrize("resample", [double, halve])
def test_layout_and_precision_stay_what_they_are(resample: object) -> None:
    x = maps(8, 8).to(torch.bfloat16, memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        found = resample(x)  # type: ignore[operator]
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.float(), resample(x.float()), rtol=0.02, atol=0.02)  # type: ignore[operator]
