from __future__ import annotations

import importlib
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import skimage.metrics
import torch
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
from torch import Tensor

from elegan.errors import DataError, OptionError
from elegan.metrics import pairs
from elegan.metrics.pairs import WEIGHTS, luma, mean_psnr, ms_ssim, psnr, ssim
from elegan.pictures import Pixels


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def disturbed(pixels: Pixels, seed: int, deviation: float = 30) -> Pixels:
    values = pixels + np.random.default_rng(seed).normal(0, deviation, pixels.shape)
    return values.clip(0, 255).astype(np.uint8)


def smooth(seed: int, side: int, n: int = 2, channels: int = 3) -> Pixels:
    """Blocks of 8 x 8 with a gradient over them: something for every scale."""
    blocks = noise(seed, n, side // 8 + 1, side // 8 + 1, channels).repeat(8, 1).repeat(8, 2)[:, :side, :side]
    slope = np.linspace(0, 90, side)[:, None, None]
    return (blocks * 0.6 + slope).astype(np.uint8)


def constant(*values: int, side: int = 16, channels: int = 1) -> Pixels:
    return np.stack([np.full((side, side, channels), value, np.uint8) for value in values])


@contextmanager
def torchmetrics_ssim() -> Iterator[Any]:
    """torchmetrics' own SSIM, without the rest of the package, which cannot be imported where torchvision is not."""
    spec = find_spec("torchmetrics")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    root, before = spec.submodule_search_locations[0], set(sys.modules)
    try:
        for name in ("torchmetrics", "torchmetrics.functional", "torchmetrics.functional.image"):
            package = ModuleType(name)
            package.__path__ = [root + name.removeprefix("torchmetrics").replace(".", "/")]
            package._logger = logging.getLogger(name)  # type: ignore[attr-defined]
            sys.modules[name] = package
        yield importlib.import_module("torchmetrics.functional.image.ssim")
    finally:
        for name in set(sys.modules) - before:
            if name.startswith("torchmetrics"):
                del sys.modules[name]


def skimage_ssim(one: Any, other: Any, **options: Any) -> float:
    """As Wang et al. (2004) have it; without options for images of one channel."""
    options = {"data_range": 255, "gaussian_weights": True, "use_sample_covariance": False} | options
    return float(skimage.metrics.structural_similarity(one, other, **options))  # type: ignore[no-untyped-call]


def planes(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.astype(np.float64)).permute(0, 3, 1, 2)


def close(found: Tensor, expected: list[float], tolerance: float = 1e-12) -> None:
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=tolerance, atol=tolerance)


def test_psnr_of_a_known_difference() -> None:
    """A difference of 5 everywhere is an MSE of 25; of 255 in all pixels 0 dB; of 16 in one of 256 pixels an MSE of 1."""
    one = constant(100, 0, 50)
    other = constant(105, 255, 50)
    other[2, 3, 4] += 16
    close(psnr(one, other), [10 * math.log10(255**2 / 25), 0.0, 10 * math.log10(255**2)])


def test_psnr_is_that_of_skimage() -> None:
    one, other = noise(0, 3, 9, 7, 3), noise(1, 3, 9, 7, 3)
    oracle: Any = skimage.metrics.peak_signal_noise_ratio
    close(psnr(one, other), [oracle(a, b, data_range=255) for a, b in zip(one, other, strict=True)])


def test_equal_images_have_an_infinite_psnr_that_does_not_hide_the_others() -> None:
    one = noise(0, 3, 8, 8, 3)
    other = one.copy()
    other[1] = 255 - one[1]
    values = psnr(one, other)
    assert values[0] == values[2] == float("inf")
    assert mean_psnr(values) == (values[1].item(), 2)
    assert mean_psnr(values[:1]) == (float("inf"), 1)
    assert mean_psnr(torch.tensor([20.0, 30.0])) == (25.0, 0)


@pytest.mark.parametrize("values", [[], [20.0, float("nan")]])
def test_a_mean_of_nothing_or_of_a_nan_is_an_error(values: list[float]) -> None:
    with pytest.raises(DataError, match="at least one and no NaN"):
        mean_psnr(torch.tensor(values))


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), 16.0),
        ((255, 255, 255), 235.0),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
        ((51, 102, 204), 16 + 0.2 * 65.481 + 0.4 * 128.553 + 0.8 * 24.966),
    ],
)
def test_the_luma_of_colours(colour: tuple[int, int, int], expected: float) -> None:
    """BT.601's excursions: 16 for black and 235 for white, not 0 to 255; red is 81.5, which as blue would be 41."""
    pixels = np.tile(np.array(colour, np.uint8), (1, 2, 2, 1))
    torch.testing.assert_close(luma(planes(pixels)), torch.full((1, 1, 2, 2), expected, dtype=torch.float64))


def test_psnr_of_the_luma() -> None:
    """Red that differs by 51 is a fifth of 65.481 in Y; it is R in the first channel that counts so."""
    one = np.zeros((1, 8, 8, 3), np.uint8)
    red, blue = one.copy(), one.copy()
    red[..., 0], blue[..., 2] = 51, 51
    close(psnr(one, red, channel="y"), [20 * math.log10(255 / (65.481 / 5))])
    close(psnr(one, blue, channel="y"), [20 * math.log10(255 / (24.966 / 5))])


def test_the_luma_is_not_rounded() -> None:
    """A difference of 1 in blue is 0.098 of Y: rounded, the images would be equal."""
    one = np.zeros((1, 8, 8, 3), np.uint8)
    other = one.copy()
    other[..., 2] = 1
    close(psnr(one, other, channel="y"), [20 * math.log10(255 / (24.966 / 255))])


def test_the_luma_in_ssim() -> None:
    one = smooth(0, 32)
    other = disturbed(one, 1)
    both = [luma(planes(side))[:, 0].numpy() for side in (one, other)]
    expected = [skimage_ssim(a, b) for a, b in zip(*both, strict=True)]
    close(ssim(one, other, channel="y"), expected)


@pytest.mark.parametrize("crop", [1, 4])
@pytest.mark.parametrize("measure", [psnr, ssim])
def test_a_crop_leaves_the_inner_part(measure: Any, crop: int) -> None:
    one, other = noise(0, 2, 21, 23, 3), noise(1, 2, 21, 23, 3)
    inner = slice(crop, -crop)
    found = measure(one, other, crop=crop)
    torch.testing.assert_close(found, measure(one[:, inner, inner], other[:, inner, inner]))
    assert not torch.isclose(found, measure(one, other)).any()
    spoiled = other.copy()
    spoiled[:, :crop] = spoiled[:, -crop:] = spoiled[:, :, :crop] = spoiled[:, :, -crop:] = 0
    assert torch.equal(measure(one, spoiled, crop=crop), found)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_ssim_is_that_of_skimage(channels: int) -> None:
    one = noise(0, 2, 24, 31, channels)
    other = disturbed(one, 1)
    expected = [skimage_ssim(a, b, channel_axis=2) for a, b in zip(one, other, strict=True)]
    close(ssim(one, other), expected)
    assert not np.isclose(ssim(one, other)[0], skimage_ssim(one[0], other[0], channel_axis=2, gaussian_weights=False))


def test_ssim_of_one_window_by_hand() -> None:
    """An image of 11 x 11 has one place for the window, so its SSIM is the formula itself, with weights made anew."""
    one, other = noise(0, 1, 11, 11, 1), noise(1, 1, 11, 11, 1)
    ys, xs = np.mgrid[-5:6, -5:6]
    weights = np.exp(-(ys**2 + xs**2) / 4.5)
    weights /= weights.sum()
    x, y = one[0, :, :, 0].astype(float), other[0, :, :, 0].astype(float)
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy, cov = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum(), (weights * (x - mx) * (y - my)).sum()
    expected = (2 * mx * my + 6.5025) * (2 * cov + 58.5225) / ((mx**2 + my**2 + 6.5025) * (vx + vy + 58.5225))
    close(ssim(one, other), [expected])


def test_ssim_of_equal_and_of_constant_images() -> None:
    same = np.concatenate([noise(0, 1, 16, 16, 1), constant(77), constant(0)])
    close(ssim(same, same), [1.0, 1.0, 1.0])
    close(ssim(constant(0, 100), constant(255, 110)), [6.5025 / (255**2 + 6.5025), (22000 + 6.5025) / (22100 + 6.5025)])


def test_many_images_are_compared_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = noise(0, 5, 12, 12, 3), noise(1, 5, 12, 12, 3)
    whole = [psnr(one, other), ssim(one, other)]
    monkeypatch.setattr(pairs, "PART", 2 * 12 * 12 * 3)
    for found, expected in zip([psnr(one, other), ssim(one, other)], whole, strict=True):
        torch.testing.assert_close(found, expected)


def test_ms_ssim_is_that_of_torchmetrics_where_the_border_is_flat() -> None:
    """torchmetrics takes the mirrored border into the coarsest scale's mean; here that scale is constant. Its weights are float32."""
    fine = constant(100, side=176)
    fine[:, ::2, ::2] += 40
    fine[:, 1::2, 1::2] += 40
    other = fine // 2 + 30
    with torchmetrics_ssim() as oracle:
        expected = oracle.multiscale_structural_similarity_index_measure(planes(fine), planes(other), data_range=255.0).item()
    close(ms_ssim(fine, other), [expected], 1e-8)
    assert expected < 0.99


def test_ms_ssim_is_the_product_of_torchmetrics_terms() -> None:
    """Its contrast terms are over the valid region; its map of SSIM has the border, which is cut here. Means are over channels."""
    one = smooth(0, 176, n=1, channels=2)
    other = disturbed(one, 1)
    x, y, expected = planes(one), planes(other), 1.0
    with torchmetrics_ssim() as oracle:
        measure = oracle.structural_similarity_index_measure
        for weight in WEIGHTS[:-1]:
            expected *= measure(x, y, data_range=255.0, return_contrast_sensitivity=True)[1].item() ** weight
            x, y = torch.nn.functional.avg_pool2d(x, 2), torch.nn.functional.avg_pool2d(y, 2)
        _, whole = measure(x, y, data_range=255.0, return_full_image=True)
    expected *= whole[:, :, 5:-5, 5:-5].mean().item() ** WEIGHTS[-1]
    close(ms_ssim(one, other), [expected])
    assert expected < 0.98


def halved(image: Any) -> Any:
    """The mean of 2 x 2 pixels, odd sides mirrored first, written out."""
    padded = np.pad(image, [(0, image.shape[0] % 2), (0, image.shape[1] % 2)], mode="symmetric")
    return (padded[::2, ::2] + padded[1::2, ::2] + padded[::2, 1::2] + padded[1::2, 1::2]) / 4


def contrast(x: Any, y: Any) -> float:
    """The contrast-structure term by scipy's Gaussian filter, with 11 taps, over the valid region."""
    mx, my, xx, yy, xy = (gaussian_filter(z, 1.5, truncate=3.5)[5:-5, 5:-5] for z in (x, y, x * x, y * y, x * y))
    return float(((2 * (xy - mx * my) + 58.5225) / (xx - mx**2 + yy - my**2 + 58.5225)).mean())


def test_ms_ssim_with_odd_sides_and_fewer_scales() -> None:
    """47 -> 24 -> 12: three scales, their weights divided by the sum of the three."""
    one = smooth(0, 47, n=1, channels=1)
    other = disturbed(one, 1)
    x, y, terms = one[0, :, :, 0].astype(float), other[0, :, :, 0].astype(float), []
    for _ in range(2):
        terms.append(contrast(x, y))
        x, y = halved(x), halved(y)
    terms.append(skimage_ssim(x, y))
    weights = np.array(WEIGHTS[:3]) / sum(WEIGHTS[:3])
    close(ms_ssim(one, other, scales=3), [float(np.prod(np.array(terms) ** weights))])


def test_one_scale_is_ssim() -> None:
    one = smooth(0, 24)
    other = disturbed(one, 1)
    close(ms_ssim(one, other, scales=1), ssim(one, other).tolist())


def test_ms_ssim_of_equal_and_of_contrary_images() -> None:
    """The negative of an image has a negative contrast term, whose power is no number: it counts as 0."""
    one = smooth(0, 176, n=1)
    close(ms_ssim(one, one), [1.0])
    close(ms_ssim(constant(9, side=176), constant(9, side=176)), [1.0])
    fine = noise(0, 1, 22, 22, 1)
    assert ssim(fine, 255 - fine).item() < 0
    close(ms_ssim(fine, 255 - fine, scales=2), [0.0])


@pytest.mark.parametrize(("side", "scales", "smallest"), [(175, 5, 176), (87, 4, 88), (21, 2, 22), (10, 1, 11)])
def test_images_too_small_for_their_scales_are_told_the_smallest_size(side: int, scales: int, smallest: int) -> None:
    images = noise(0, 1, side, smallest + 9, 1)
    with pytest.raises(DataError, match=f"at least {smallest} x {smallest} pixels here, got {side} x {smallest + 9}"):
        ms_ssim(images, images, scales=scales)
    larger = noise(0, 1, smallest, smallest, 1)
    assert ms_ssim(larger, larger, scales=scales).item() == pytest.approx(1)


def test_ssim_too_small_after_the_crop() -> None:
    images = noise(0, 1, 18, 18, 3)
    with pytest.raises(DataError, match="at least 11 x 11 pixels here, got 10 x 10"):
        ssim(images, images, crop=4)


@pytest.mark.parametrize("measure", [psnr, ssim, ms_ssim])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (noise(0, 2, 16, 16, 1), r"one shape, got \(2, 16, 16, 3\) and \(2, 16, 16, 1\)"),
        (noise(0, 2, 16, 15, 3), r"one shape, got \(2, 16, 16, 3\) and \(2, 16, 15, 3\)"),
        (noise(0, 3, 16, 16, 3), r"one shape"),
        (np.full((2, 16, 16, 3), np.nan), r"uint8\), got float64"),
        (noise(0, 2, 16, 16, 3).astype(np.int64), r"uint8\), got int64"),
        (torch.zeros(2, 16, 16, 3, dtype=torch.uint8), r"uint8\), got torch.uint8"),
        (None, r"uint8\), got NoneType"),
        (noise(0, 16, 16, 3), r"got \(16, 16, 3\)"),
        (noise(0, 2, 16, 16, 5), r"1 to 4 channels"),
        (noise(0, 0, 16, 16, 3), r"nothing empty, got \(0, 16, 16, 3\)"),
    ],
)
def test_images_that_are_no_pairs_of_pixels(measure: Any, other: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as found:
        measure(noise(0, 2, 16, 16, 3), other)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_options_that_do_not_fit(measure: Any) -> None:
    images = noise(0, 1, 16, 16, 1)
    with pytest.raises(OptionError, match=r"channel: got 'Y'. Known: rgb, y"):
        measure(images, images, channel="Y")
    with pytest.raises(OptionError, match="'y' is made of R, G and B, and the images have 1 channels"):
        measure(images, images, channel="y")
    for crop in (-1, 8, 100):
        with pytest.raises(OptionError, match=f"crop: got {crop} pixels of 16 x 16"):
            measure(images, images, crop=crop)


@pytest.mark.parametrize("scales", [0, 6])
def test_there_are_weights_for_five_scales(scales: int) -> None:
    with pytest.raises(OptionError, match=f"scales: got {scales}; there are weights for 1 to 5"):
        ms_ssim(noise(0, 1, 176, 176, 1), noise(1, 1, 176, 176, 1), scales=scales)
