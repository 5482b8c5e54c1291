from __future__ import annotations

import importlib.util
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.errors import DataError, OptionError
from elegan.metrics.pairs import Pixels
from elegan.metrics.resizing import resize_clean, resize_tf1, resized, tf1_matrix


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """torch-fidelity's resize, without the package around it."""
    package = importlib.util.find_spec("torch_fidelity")
    if package is None:
        pytest.skip("an oracle that needs torchvision to be installed whole: pip install --no-deps torch-fidelity lpips")
    path = f"{(package.submodule_search_locations or [''])[0]}/interpolate_compat_tensorflow.py"
    found = importlib.util.spec_from_file_location("interpolate_compat_tensorflow", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "shape", [(28, 28, 1), (32, 32, 3), (64, 100, 3), (13, 1, 3), (299, 299, 1), (300, 598, 1), (1024, 16, 1), (512, 700, 1)]
)
def test_tf1_is_the_references(reference: ModuleType, shape: tuple[int, int, int]) -> None:
    pixels = noise(1, *shape)
    expected = reference.interpolate_bilinear_2d_like_tensorflow1x(tensor(pixels), size=(299, 299), align_corners=False)
    torch.testing.assert_close(resize_tf1(pixels, 299), expected, rtol=0, atol=5e-4)


def test_tf1_aligns_corners_and_averages_nothing() -> None:
    row = np.array([0, 100, 200, 40], np.uint8).reshape(1, 1, 4, 1)
    assert resize_tf1(row, 2)[0, 0, 0].tolist() == [0, 200]  # every other one
    assert resize_tf1(row, 8)[0, 0, 0].tolist() == [0, 50, 100, 150, 200, 120, 40, 40]
    assert resize_tf1(row.transpose(0, 2, 1, 3), 2)[0, 0, :, 0].tolist() == [0, 200]


@pytest.mark.parametrize("size", [1, 2, 28, 299, 300, 1000])
def test_a_tf1_pixel_is_a_mean_of_two(size: int) -> None:
    matrix = tf1_matrix(size, 299)
    torch.testing.assert_close(matrix.sum(1), torch.ones(299))
    assert (matrix >= 0).all()
    assert ((matrix > 0).sum(1) <= 2).all()


@pytest.mark.parametrize("resize", ["tf1", "clean"])
def test_images_of_the_right_size_stay_as_they_are(resize: str) -> None:
    pixels = noise(2, 20, 20, 3)
    assert torch.equal(resized(pixels, 20, resize), tensor(pixels))


@pytest.mark.parametrize("shape", [(16, 16, 3), (64, 50, 1), (40, 16, 3)])
def test_clean_is_antialiased_bicubic(shape: tuple[int, int, int]) -> None:
    pixels = noise(2, *shape)
    expected = F.interpolate(tensor(pixels), (24, 24), mode="bicubic", antialias=True).clamp(0, 255)
    torch.testing.assert_close(resize_clean(pixels, 24), expected, rtol=0, atol=1e-3)


def test_clean_is_clipped_and_never_rounded() -> None:
    found = resize_clean(noise(1, 16, 16, 1) // 128 * 255, 40)
    assert found.min() == 0
    assert found.max() == 255
    assert (found != found.round()).any()


def test_an_image_is_resized_for_itself() -> None:
    pixels = noise(3, 9, 12, 3)
    for resize in ("tf1", "clean"):
        together = resized(pixels, 21, resize)
        assert together.shape == (3, 3, 21, 21)
        for i in range(3):
            torch.testing.assert_close(resized(pixels[i : i + 1], 21, resize)[0], together[i])


@pytest.mark.parametrize("resize", ["tf1", "clean"])
def test_grey_is_repeated(resize: str) -> None:
    grey = noise(2, 8, 8, 1)
    assert torch.equal(resized(grey, 30, resize), resized(grey.repeat(3, axis=3), 30, resize))


@pytest.mark.parametrize("value", [0, 93, 255])
def test_a_constant_image_stays_constant(value: int) -> None:
    pixels = np.full((1, 11, 14, 1), value, np.uint8)
    for resize in ("tf1", "clean"):
        torch.testing.assert_close(resized(pixels, 299, resize), torch.full((1, 3, 299, 299), float(value)), rtol=0, atol=1e-4)


def test_pixels_that_may_not_be_written_are_read(recwarn: pytest.WarningsRecorder) -> None:
    pixels = noise(1, 4, 4, 1)
    pixels.flags.writeable = False
    assert torch.equal(resized(pixels, 4), resized(pixels.copy(), 4))
    assert not recwarn.list


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(channels: int) -> None:
    with pytest.raises(DataError, match="1 or 3 channels"):
        resized(noise(1, 4, 4, channels), 8)


@pytest.mark.parametrize("pixels", [noise(1, 4, 4, 1).astype(np.float32), noise(4, 4, 1), noise(0, 4, 4, 1), torch.zeros(1, 4, 4, 1)])
def test_what_is_no_pixels_is_refused(pixels: Pixels) -> None:
    with pytest.raises(DataError, match="images"):
        resized(pixels, 8)


def test_an_unknown_rule_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"--resize: got 'tf2'\. Did you mean 'tf1'\?"):
        resized(noise(1, 4, 4, 1), 8, "tf2")  # type: ignore[arg-type]
