from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from elegan.errors import DataError
from elegan.metrics.sharpness import detail, error_of_median, grain, sharpness
from elegan.pictures import Pixels


def textures(n: int, seed: int = 0) -> Pixels:
    """Smooth noise, as photographs have."""
    coarse = np.random.default_rng(seed).integers(0, 255, (n, 8, 8), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((24, 24), Image.Resampling.BICUBIC)) for one in coarse])[..., None]


def blurred(pixels: Pixels) -> Pixels:
    return np.stack([np.asarray(Image.fromarray(one[..., 0]).filter(ImageFilter.GaussianBlur(1))) for one in pixels])[..., None]


def test_a_point_a_constant_and_a_slope() -> None:
    images = np.zeros((3, 5, 5, 1), np.uint8)
    images[0, 2, 2] = 255
    images[1] = 7
    images[2] = np.arange(5, dtype=np.uint8)[:, None] * 20
    # the Laplacian of a point: 4 in the middle, -1 beside it
    assert detail(images) == pytest.approx([(16 + 4) / 9, 0, 0], abs=1e-12)


def test_independent_noise_adds_twenty_times_its_variance() -> None:
    random = np.random.default_rng(0)
    noise = random.normal(128, 20, (50, 64, 64, 3)).round().clip(0, 255).astype(np.uint8)
    assert detail(noise).mean() == pytest.approx(20 * (20**2 + 1 / 12) / 255**2, rel=0.01)


def test_blur_is_below_one() -> None:
    real, others = textures(200), textures(200, seed=1)
    same, error = sharpness(others, real)
    assert abs(np.log(same)) < 3 * error
    assert sharpness(blurred(others), real)[0] < 0.6
    assert sharpness(real, real)[0] == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_grain_is_the_noise_that_was_added_whatever_the_edges(channels: int) -> None:
    random = np.random.default_rng(0)
    images = np.full((20, 64, 64, channels), 100.0)
    images[:, :, 32:] = 200  # an edge
    assert grain(images.astype(np.uint8)) == pytest.approx(0, abs=1e-9)
    noisy = (images + random.normal(0, 8, images.shape)).round().astype(np.uint8)
    assert grain(noisy).mean() == pytest.approx(8, rel=0.05)


def test_the_error_of_a_median_is_what_repeated_samples_show() -> None:
    random = np.random.default_rng(0)
    samples = random.gamma(2, 3, (400, 300))
    spread = np.median(samples, axis=1).std()
    assert np.mean([error_of_median(one) for one in samples]) == pytest.approx(spread, rel=0.2)


def test_what_has_no_detail_is_said() -> None:
    flat = np.zeros((4, 8, 8, 1), np.uint8)
    assert sharpness(flat, textures(4)[:, :8, :8])[0] == 0
    with pytest.raises(DataError, match="no detail"):
        sharpness(textures(4), flat)
    with pytest.raises(DataError, match="at least 3 x 3"):
        detail(np.zeros((1, 2, 9, 1), np.uint8))
