"""Doubling and halving, against sums written out and against each other."""

from __future__ import annotations

from functools import partial

import pytest
import scipy.ndimage
import scipy.signal
import torch
from torch import Tensor

from elegan.networks.resampling import binomial, double, double_smoothly, halve, smooth, smooth_and_halve

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


@pytest.mark.parametrize("resample", [double, halve, double_smoothly, smooth_and_halve, partial(smooth, padding=2)])
def test_gradients_and_their_gradients_are_exact(resample: object) -> None:
    x = maps(4, 6).requires_grad_()
    assert torch.autograd.gradcheck(resample, x)  # type: ignore[arg-type]
    assert torch.autograd.gradgradcheck(resample, x)  # type: ignore[arg-type]


@pytest.mark.parametrize("resample", [double, halve, double_smoothly, smooth_and_halve, partial(smooth, padding=2)])
def test_layout_and_precision_stay_what_they_are(resample: object) -> None:
    x = maps(8, 8).to(torch.bfloat16, memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        found = resample(x)  # type: ignore[operator]
    assert found.dtype == torch.bfloat16
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.float(), resample(x.float()), rtol=0.02, atol=0.02)  # type: ignore[operator]


def upfirdn(x: Tensor, gain: float, up: int, down: int, first: int, size: tuple[int, ...]) -> Tensor:
    """Zeros between the pixels, the binomial filter, every so many pixels from `first` on, along both axes; zeros beyond an edge."""
    line = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8
    found = x.numpy()
    for axis, length in zip((2, 3), size, strict=True):
        found = scipy.signal.upfirdn(gain * line.numpy(), found, up=up, axis=axis)
        keep = torch.arange(length) * down + first
        found = found.take(keep.numpy(), axis=axis)
    return torch.from_numpy(found)


ODD = [*SIZES, (3, 5), (7, 2)]


def test_the_binomial_filter_keeps_the_mean() -> None:
    assert float(binomial(maps(2, 2)).sum()) == pytest.approx(3.0)
    line = [1, 3, 3, 1]
    assert binomial(maps(2, 2), gain=64.0)[2, 0].tolist() == [[a * b for b in line] for a in line]


@pytest.mark.parametrize("padding", [1, 2])
@pytest.mark.parametrize("size", ODD, ids=str)
def test_smoothing_is_the_binomial_filter_with_zeros_around(size: tuple[int, int], padding: int) -> None:
    found = smooth(maps(*size), padding, gain=2.0)
    shape = size[0] + 2 * padding - 3, size[1] + 2 * padding - 3
    assert found.shape[2:] == shape
    torch.testing.assert_close(found, upfirdn(maps(*size), 2**0.5, 1, 1, 3 - padding, shape), rtol=1e-12, atol=1e-12)


def test_smoothing_is_scipys_correlation() -> None:
    kernel = binomial(maps(2, 2))[0, 0].numpy()
    around = torch.nn.functional.pad(maps(6, 5), (2, 2, 2, 2))
    for image, expected in zip(smooth(maps(6, 5), 2).flatten(0, 1), around.flatten(0, 1), strict=True):
        found = scipy.ndimage.correlate(expected.numpy(), kernel, mode="constant", origin=-1)[1:-2, 1:-2]
        torch.testing.assert_close(image, torch.from_numpy(found[:7, :6]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", ODD, ids=str)
def test_smoothing_and_halving_keeps_every_second_pixel(size: tuple[int, int]) -> None:
    shape = size[0] // 2, size[1] // 2
    expected = upfirdn(maps(*size), 1.0, 1, 2, 2, shape)
    torch.testing.assert_close(smooth_and_halve(maps(*size)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", ODD, ids=str)
def test_doubling_smoothly_fills_zeros_between_the_pixels(size: tuple[int, int]) -> None:
    shape = 2 * size[0], 2 * size[1]
    torch.testing.assert_close(double_smoothly(maps(*size)), upfirdn(maps(*size), 2.0, 2, 1, 1, shape), rtol=1e-12, atol=1e-12)


def test_a_constant_map_stays_what_it_is_inside_and_fades_at_the_edges() -> None:
    """Of [1, 3, 3, 1] / 8, an edge has 7/8 in one direction after halving; of the zeros between, every second counts: 3/4."""
    one = torch.ones(1, 1, 6, 6, dtype=torch.float64)
    low, high = smooth_and_halve(one)[0, 0], double_smoothly(one)[0, 0]
    assert low[1].tolist() == [7 / 8, 1.0, 7 / 8]
    assert high[5].tolist() == [3 / 4, *[1.0] * 10, 3 / 4]
    assert float(low[0, 0]) == (7 / 8) ** 2


def test_the_smooth_ones_are_mirrors_too() -> None:
    x, y = maps(12, 8, seed=1), maps(6, 4, seed=2)
    torch.testing.assert_close((smooth_and_halve(x) * y).sum(), (x * double_smoothly(y)).sum() / 4)
