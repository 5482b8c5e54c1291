from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve  # type: ignore[import-untyped]
from scipy.stats import wasserstein_distance  # type: ignore[import-untyped]
from torch import Tensor

from elegan.divergences import line
from elegan.divergences.line import random_directions
from elegan.errors import DataError, OptionError
from elegan.metrics import sliced
from elegan.metrics.sliced import (
    doubled,
    halved,
    laplacian,
    level_patches,
    level_sizes,
    pyramid_sliced_wasserstein,
    sliced_wasserstein,
    standardised,
)
from elegan.pictures import Pixels

AXIS = torch.ones(1, 1, dtype=torch.float64)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("one", "other", "order", "expected"),
    [
        ((0, 1), (0.5,), 1, 0.5),
        ((0, 1), (0.5,), 2, 0.5),
        ((0, 0, 1), (0, 1), 1, 1 / 6),  # the quantile functions are 0 and 1 between 1/2 and 2/3, else equal
        ((0, 0, 1), (1, 0), 2, (1 / 6) ** 0.5),
        ((0, 0, 3), (0, 3), 4, 3 * (1 / 6) ** 0.25),
        ((1, 2, 3), (3, 1, 2), 1, 0),
        ((2, 2, 2), (2,), 3, 0),
        ((0, 4), (1, 1), 1, 2),
        ((0, 4), (1, 1), 2, 5**0.5),
    ],
)
def test_one_dimension_by_hand(one: tuple[float, ...], other: tuple[float, ...], order: float, expected: float) -> None:
    assert sliced_wasserstein(column(*one), column(*other), AXIS, order) == pytest.approx(expected, abs=1e-15)
    assert sliced_wasserstein(column(*other), column(*one), -AXIS, order) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 7), (7, 11), (12, 18), (1, 30), (30, 1)])
def test_one_dimension_is_that_of_scipy(n: int, m: int) -> None:
    one, other = normal(0, n, 1), 2 * normal(1, m, 1).round()  # with ties
    expected = wasserstein_distance(one.flatten().numpy(), other.flatten().numpy())
    assert sliced_wasserstein(one, other, AXIS) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [1, 1.5, 2, 5])
def test_unlike_counts_are_those_of_repeated_samples(order: float) -> None:
    """12 and 18 samples, each three times and twice, are 36 and 36 that pair off in their order."""
    one, other, directions = normal(0, 12, 4), normal(1, 18, 4) + 1, random_directions(9, 4, 0)
    repeated = [side.repeat_interleave(times, 0) @ directions.T for side, times in ((one, 3), (other, 2))]
    gaps = repeated[0].sort(0).values - repeated[1].sort(0).values
    expected = gaps.abs().pow(order).mean().item() ** (1 / order)
    assert sliced_wasserstein(one, other, directions, order) == pytest.approx(expected, rel=1e-12)


def test_directions_are_averaged_under_the_root() -> None:
    """A shift by (3, 4): 3 along one axis and 4 along the other, so sqrt((9 + 16) / 2) and not 3.5 at order 2."""
    one = normal(0, 8, 2)
    other = one[torch.randperm(8, generator=torch.Generator().manual_seed(0))] + torch.tensor([3, -4])
    assert sliced_wasserstein(one, other, torch.eye(2), 1) == pytest.approx(3.5)
    assert sliced_wasserstein(one, other, torch.eye(2), 2) == pytest.approx(12.5**0.5)


def test_identical_sets_are_at_distance_0() -> None:
    one = normal(0, 9, 3)
    assert sliced_wasserstein(one, one.flip(0), random_directions(20, 3, 0), 2) == pytest.approx(0, abs=1e-15)
    assert sliced_wasserstein(one, one.repeat(4, 1), random_directions(20, 3, 0)) == pytest.approx(0, abs=1e-15)


def test_few_directions_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, directions = normal(0, 5, 3), normal(1, 8, 3), random_directions(7, 3, 0)
    whole = sliced_wasserstein(one, other, directions)
    monkeypatch.setattr(line, "PROJECTIONS", 2 * (5 + 8))
    assert sliced_wasserstein(one, other, directions) == pytest.approx(whole, rel=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_of_other_types(dtype: torch.dtype) -> None:
    one, other, directions = normal(0, 20, 3).to(dtype), normal(1, 30, 3).to(dtype), random_directions(7, 3, 0)
    expected = sliced_wasserstein(one.double(), other.double(), directions)
    assert sliced_wasserstein(one, other, directions) == pytest.approx(expected, rel=1e-6)


def test_directions_come_evenly_from_the_sphere() -> None:
    drawn = random_directions(4000, 5, 3)
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(4000, dtype=torch.float64))
    torch.testing.assert_close(drawn.T @ drawn / 4000, torch.eye(5, dtype=torch.float64) / 5, rtol=0, atol=0.02)
    assert drawn.mean(0).abs().max() < 0.03
    assert torch.equal(random_directions(4000, 5, 3), drawn)
    assert not torch.isclose(random_directions(4000, 5, 4), drawn).any(1).all()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (torch.zeros(4, 2), "one dimension, got 3 and 2"),
        (torch.zeros(0, 3), r"nothing empty, got torch.float32 \(0, 3\)"),
        (torch.zeros(3), r"\(n, d\), nothing empty, got torch.float32 \(3,\)"),
        (torch.zeros(4, 3, dtype=torch.int64), "floating-point numbers"),
        (torch.tensor([[0, 1, float("nan")]]), "NaN or an infinity"),
        (torch.tensor([[0, 1, float("inf")]]), "NaN or an infinity"),
    ],
)
def test_features_that_do_not_fit(other: Tensor, message: str) -> None:
    for pair in ((torch.zeros(4, 3), other), (other, torch.zeros(4, 3))):
        with pytest.raises(DataError, match=message if "got 3 and 2" not in message else "one dimension"):
            sliced_wasserstein(*pair, torch.eye(3))


@pytest.mark.parametrize(
    ("directions", "message"),
    [
        (torch.eye(2), r"got \(2, 2\); they are \(k, 3\)"),
        (torch.ones(3), r"got \(3,\)"),
        (torch.zeros(0, 3), r"got \(0, 3\)"),
        (torch.ones(1, 3), "not of length 1"),
        (torch.full((1, 3), float("nan")), "not of length 1"),
    ],
)
def test_directions_that_do_not_fit(directions: Tensor, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        sliced_wasserstein(torch.zeros(4, 3), torch.zeros(4, 3), directions)


@pytest.mark.parametrize("order", [0.5, 0, float("inf"), float("nan")])
def test_orders_begin_at_1(order: float) -> None:
    with pytest.raises(OptionError, match="order: got"):
        sliced_wasserstein(torch.zeros(4, 3), torch.zeros(4, 3), torch.eye(3), order)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (16, 16, [(16, 16)]),
        (28, 28, [(28, 28)]),
        (31, 31, [(31, 31), (16, 16)]),
        (64, 64, [(64, 64), (32, 32), (16, 16)]),
        (33, 100, [(33, 100), (17, 50)]),
        (256, 256, [(256, 256), (128, 128), (64, 64), (32, 32), (16, 16)]),
    ],
)
def test_levels_are_halved_down_to_16_pixels(height: int, width: int, expected: list[tuple[int, int]]) -> None:
    assert list(level_sizes(height, width)) == expected
    assert list(level_sizes(width, height)) == [(w, h) for h, w in expected]


def test_the_levels_of_a_pyramid_add_up_to_the_image() -> None:
    images = normal(0, 2, 3, 66, 71)
    levels = [laplacian(images, level, 3) for level in range(3)]
    assert [level.shape[2:] for level in levels] == [(66, 71), (33, 36), (17, 18)]
    whole = levels[2]
    for level in (levels[1], levels[0]):
        whole = doubled(whole, level) + level
    torch.testing.assert_close(whole, images)


def test_a_level_of_equal_pixels_stays_so_inside() -> None:
    """The blur adds up to 1, and so do the four blurs of zeros between pixels, times 4."""
    images = torch.full((1, 1, 18, 21), 7.0, dtype=torch.float64)
    assert torch.equal(halved(images), torch.full((1, 1, 9, 11), 7.0, dtype=torch.float64))
    assert torch.equal(doubled(halved(images), images), images)


KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def pyramid_by_loop(image: Any, levels: int) -> list[Any]:
    """(h, w) -> the levels, by scipy's two-dimensional convolution, mirrored at the edges."""
    found = [image.astype(np.float64)]
    for _ in range(levels - 1):
        small = convolve(found[-1], KERNEL, mode="mirror")[::2, ::2]
        spread = np.zeros_like(found[-1])
        spread[::2, ::2] = small
        found[-1] = found[-1] - convolve(spread, 4 * KERNEL, mode="mirror")
        found.append(small)
    return found


def patches_by_loop(pixels: Pixels, level: int, levels: int, places: Any) -> Any:
    """(128 n, 49 c): cut one by one, and each channel standardised."""
    cut = []
    for image, of_image in zip(pixels, places, strict=True):
        channels = np.stack([pyramid_by_loop(image[:, :, c], levels)[level] for c in range(image.shape[2])])
        for u, v in of_image:
            top, left = int(u * (channels.shape[1] - 6)), int(v * (channels.shape[2] - 6))
            cut.append(channels[:, top : top + 7, left : left + 7])
    patches = np.stack(cut)
    patches = (patches - patches.mean((0, 2, 3), keepdims=True)) / patches.std((0, 2, 3), keepdims=True)
    return patches.reshape(len(patches), -1)


@pytest.mark.parametrize(("channels", "n", "m", "side", "width"), [(1, 2, 2, 32, 32), (3, 3, 2, 33, 20), (4, 1, 2, 16, 16)])
def test_the_protocol_is_that_of_loops(channels: int, n: int, m: int, side: int, width: int) -> None:
    one, other = noise(0, n, side, width, channels), noise(1, m, side, width, channels) // 2
    found = pyramid_sliced_wasserstein(one, other, seed=5)
    levels = 2 if side == 32 else 1
    assert found.sizes == (((32, 32), (16, 16)) if levels == 2 else ((side, width),))
    for level, distance in enumerate(found.distances):
        directions = np.random.default_rng((5, level, 2)).standard_normal((512, 49 * channels))
        directions /= np.sqrt((directions**2).sum(1, keepdims=True))
        a, b = (
            patches_by_loop(side, level, levels, np.random.default_rng((5, level, use)).random((len(side), 128, 2))) @ directions.T
            for use, side in enumerate((one, other))
        )
        if n == m:
            expected = 1000 * np.abs(np.sort(a, 0) - np.sort(b, 0)).mean()
        else:
            expected = 1000 * np.mean([wasserstein_distance(a[:, k], b[:, k]) for k in range(512)])
        assert distance == pytest.approx(expected, rel=1e-6)
    assert found.mean == pytest.approx(np.mean(found.distances))


def test_few_images_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(0, 5, 20, 20, 2)
    whole = level_patches(pixels, 0, 1, (0, 0))
    monkeypatch.setattr(sliced, "PART", 2 * 20 * 20 * 2)
    assert torch.equal(level_patches(pixels, 0, 1, (0, 0)), whole)


def test_places_depend_on_the_image_and_the_seed_alone() -> None:
    pixels = noise(0, 5, 20, 20, 2)
    patches = level_patches(pixels, 0, 1, (0, 0))
    assert patches.shape == (5 * 128, 2, 7, 7)
    assert torch.equal(level_patches(pixels[:2], 0, 1, (0, 0)), patches[: 2 * 128])
    assert not torch.equal(level_patches(pixels, 0, 1, (1, 0)), patches)


def test_places_reach_every_corner() -> None:
    """Of 16 x 16 pixels there are 10 x 10 places; the first and the last occur."""
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(20, 0)
    corners = level_patches(pixels, 0, 1, (0, 0))[:, 0, 0, 0].long()
    assert set(corners.tolist()) == {16 * y + x for y in range(10) for x in range(10)}


def test_seeds_give_the_same_again_and_others_another_number() -> None:
    one, other = noise(0, 3, 16, 16, 1), noise(1, 3, 16, 16, 1)
    first = pyramid_sliced_wasserstein(one, other, seed=1)
    assert pyramid_sliced_wasserstein(one, other, seed=1) == first
    assert pyramid_sliced_wasserstein(one, other, seed=2) != first


def smooth(seed: int) -> Pixels:
    return noise(seed, 20, 4, 4, 1).repeat(4, 1).repeat(4, 2)


def test_other_images_are_further_away_than_another_draw() -> None:
    draw = pyramid_sliced_wasserstein(smooth(0), smooth(1)).mean
    same = pyramid_sliced_wasserstein(smooth(0), smooth(0)).mean
    assert 0 < same < draw < pyramid_sliced_wasserstein(smooth(0), noise(1, 20, 16, 16, 1)).mean / 1.5


def test_brightness_and_contrast_of_a_channel_are_not_seen() -> None:
    """So it is in the protocol: each set is standardised by itself."""
    one, other = noise(0, 3, 32, 32, 2), noise(1, 3, 32, 32, 2) // 4
    changed = other * np.array([1, 3], np.uint8) + np.array([50, 0], np.uint8)
    assert pyramid_sliced_wasserstein(one, changed).distances == pytest.approx(pyramid_sliced_wasserstein(one, other).distances, rel=1e-6)


def test_channels_are_standardised_each_by_its_own() -> None:
    patches = torch.stack([normal(0, 6, 7, 7), 5 * normal(1, 6, 7, 7) + 100, torch.full((6, 7, 7), 9.0)], 1)
    found = standardised(patches.float()).unflatten(1, (3, 49)).double()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found.mean((0, 2)), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.square().mean((0, 2)).sqrt(), torch.tensor([1.0, 1.0, 0.0]).double(), rtol=0, atol=1e-6)


def test_constant_images_are_finite() -> None:
    black, grey = np.zeros((2, 33, 32, 3), np.uint8), np.full((3, 33, 32, 3), 77, np.uint8)
    assert pyramid_sliced_wasserstein(black, grey).distances == (0.0, 0.0)
    half = noise(0, 2, 33, 32, 3)
    half[..., 1] = 13
    assert all(0 < distance < float("inf") for distance in pyramid_sliced_wasserstein(half, grey).distances)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (noise(0, 2, 16, 16, 1), r"one size and number of channels, got \(16, 16, 3\) and \(16, 16, 1\)"),
        (noise(0, 2, 16, 17, 3), "one size and number of channels"),
        (np.full((2, 16, 16, 3), np.nan), "uint8"),
        (noise(0, 0, 16, 16, 3), "nothing empty"),
    ],
)
def test_images_that_do_not_fit(other: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pyramid_sliced_wasserstein(noise(0, 2, 16, 16, 3), other)


def test_images_below_16_pixels() -> None:
    with pytest.raises(DataError, match="coarsest level is 16 pixels wide and high, and images are 40 x 15"):
        pyramid_sliced_wasserstein(noise(0, 2, 40, 15, 3), noise(1, 2, 40, 15, 3))
