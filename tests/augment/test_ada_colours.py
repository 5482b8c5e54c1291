"""Colours against the 4x4 matrices of the paper, one after the other, and against colour by colour arithmetic."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from math import pi

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from elegan.augment.ada import ada
from elegan.randomness import Randomness

Chosen = Callable[[object], Randomness]
AXIS = np.ones(3) / 3**0.5


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def recoloured(x: Tensor, random: Randomness) -> Tensor:
    return ada(x, random, "test", 1.0, ["colour"])


def matrix(numbers: dict[str, float]) -> np.ndarray:
    """(4, 4): appendix B's product for one image."""
    result = np.eye(4)
    result[:3, 3] += 0.2 * numbers.get("brightness", 0)
    contrast = 2 ** (0.5 * numbers.get("contrast", 0))
    result = np.diag([contrast, contrast, contrast, 1]) @ result
    along = np.zeros((4, 4))
    along[:3, :3] = np.outer(AXIS, AXIS)
    result = (np.eye(4) - 2 * along * int(numbers.get("luma_flip", 0) >= 0.5)) @ result
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(AXIS * pi * (2 * numbers.get("hue", 0.5) - 1)).as_matrix()
    result = turn @ result
    return np.asarray((along + (np.eye(4) - along) @ np.diag([2 ** numbers.get("saturation", 0)] * 3 + [1])) @ result)


CASES: list[dict[str, float]] = [
    {"brightness": 1.3},
    {"contrast": -0.8},
    {"luma_flip": 0.2},
    {"luma_flip": 0.7},
    {"hue": 0.1},
    {"saturation": 1.1},
    {"brightness": -0.7, "contrast": 0.4, "luma_flip": 0.9, "hue": 0.8, "saturation": -0.9},
]


@pytest.mark.parametrize("numbers", CASES, ids=lambda numbers: "+".join(numbers))
def test_colours_are_the_papers_matrices(numbers: dict[str, float], chosen: Chosen) -> None:
    x = images(1, 3, 5, 4)
    found = recoloured(x, chosen({name: [value] for name, value in numbers.items()}))
    expected = np.einsum("ij,jhw->ihw", matrix(numbers)[:3, :3], x[0].numpy()) + matrix(numbers)[:3, 3][:, None, None]
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("numbers", CASES, ids=lambda numbers: "+".join(numbers))
def test_grey_images_get_the_matrices_mean_over_channels(numbers: dict[str, float], chosen: Chosen) -> None:
    x = images(1, 1, 5, 4)
    found = recoloured(x, chosen({name: [value] for name, value in numbers.items()}))
    mean = matrix(numbers)[:3].mean(0)
    np.testing.assert_allclose(found.numpy(), x.numpy() * mean[:3].sum() + mean[3], atol=1e-12)


def test_a_third_of_the_hues_is_red_to_green_to_blue(chosen: Chosen) -> None:
    """Of pure colours colorsys turns hue in the same way: by a third, channels change places."""
    third = 0.5 + 1 / 3  # 2 * this - 1 is two thirds of pi
    x = images(1, 3, 2, 2)
    found = recoloured(x, chosen({"hue": [third]}))
    torch.testing.assert_close(found, x[:, [2, 0, 1]])
    red = torch.tensor([1.0, 0, 0], dtype=torch.float64).view(1, 3, 1, 1)
    assert recoloured(red, chosen({"hue": [third]})).flatten().tolist() == pytest.approx(colorsys.hsv_to_rgb(1 / 3, 1, 1), abs=1e-12)


def test_hue_and_saturation_keep_luma_and_mirroring_luma_keeps_them(chosen: Chosen) -> None:
    x = images(1, 3, 4, 4)
    found = recoloured(x, chosen({"hue": [0.83], "saturation": [0.7]}))
    torch.testing.assert_close(found.mean(1), x.mean(1))
    found = recoloured(x, chosen({"luma_flip": [0.7]}))
    torch.testing.assert_close(found.mean(1), -x.mean(1))
    torch.testing.assert_close(found - found.mean(1, keepdim=True), x - x.mean(1, keepdim=True))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_keeps_its_values(channels: int, chosen: Chosen) -> None:
    x = images(1, channels, 4, 4)
    numbers = {name: [value] for name, value in CASES[-1].items()}
    found = recoloured(x, chosen(numbers))
    assert torch.equal(found[:, -1], x[:, -1])
    torch.testing.assert_close(found[:, :-1], recoloured(x[:, :-1], chosen(numbers)))
