"""Blits against loops; general transformations against exact values and against SciPy."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from elegan.augment.ada import ada
from elegan.augment.draws import Draws
from elegan.augment.geometry import generals
from elegan.randomness import BatchRandomness, Randomness

Chosen = Callable[[object], Randomness]
SIZES = [(16, 16), (9, 24), (24, 8)]


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def blitted(x: Tensor, random: Randomness) -> Tensor:
    return ada(x, random, "test", 1.0, ["blit"])


def general(x: Tensor, random: Randomness, groups: tuple[str, ...] = ("geometry",)) -> Tensor:
    return ada(x, random, "test", 1.0, groups)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_flip_mirrors_columns(size: tuple[int, int], chosen: Chosen) -> None:
    x = images(2, 3, *size)
    found = blitted(x, chosen({"flip": [0.4, 0.6]}))
    assert torch.equal(found[0], x[0])
    for column in range(size[1]):
        assert torch.equal(found[1, :, :, column], x[1, :, :, size[1] - 1 - column])


def test_quarter_turns_turn_square_images(chosen: Chosen) -> None:
    x = images(4, 2, 7, 7)
    found = blitted(x, chosen({"quarter_turns": [0.1, 0.3, 0.6, 0.9]}))
    for turns in range(4):
        assert torch.equal(found[turns], torch.rot90(x[turns], turns, (1, 2)))


def test_a_quarter_turn_of_another_image_shows_its_middle(chosen: Chosen) -> None:
    """8x16 turned is 16x8: of that the middle 8 rows are seen, and beside them what the mirror shows."""
    x = images(1, 1, 8, 16)
    found = blitted(x, chosen({"quarter_turns": [0.3]}))
    assert torch.equal(found[0, 0, :, 4:12], torch.rot90(x[0, 0], 1)[4:12, :])
    assert torch.equal(found[0, 0, :, :4], torch.rot90(x[0, 0], 1)[4:12, [4, 3, 2, 1]])


@pytest.mark.parametrize("size", [*SIZES, (1, 5), (2, 3)], ids=str)
def test_whole_shifts_move_and_mirror_what_comes_in(size: tuple[int, int], chosen: Chosen) -> None:
    height, width = size
    x = images(3, 2, *size)
    draws = [[0.0, 0.999], [0.9, 0.3], [0.5, 0.5]]
    found = blitted(x, chosen({"whole_shift": draws}))
    for i, (right, down) in enumerate(draws):
        right, down = round((2 * right - 1) / 8 * width), round((2 * down - 1) / 8 * height)
        for row in range(height):
            for column in range(width):
                source = mirrored(row - down, height), mirrored(column - right, width)
                assert torch.equal(found[i, :, row, column], x[i, :, source[0], source[1]])


def mirrored(place: int, size: int) -> int:
    while not 0 <= place < size:
        place = -place if place < 0 else 2 * (size - 1) - place
    return place


def test_flip_turn_and_shift_come_in_this_order(chosen: Chosen) -> None:
    x = images(1, 1, 16, 16)
    found = blitted(x, chosen({"flip": [0.9], "quarter_turns": [0.3], "whole_shift": [[0.999, 0.5]]}))
    turned = torch.rot90(x[0, 0].flip(1), 1)
    assert torch.equal(found[0, 0, :, 2:], turned[:, :-2])


def waves(rows: np.ndarray, columns: np.ndarray, height: int, width: int) -> np.ndarray:
    """A smooth image that is its own mirror image at every edge: known between pixels and beyond edges too."""
    down, right = pi * rows / (height - 1), pi * columns / (width - 1)
    return 0.5 * np.cos(down) * np.cos(2 * right) + 0.3 * np.cos(2 * down) - 0.2 * np.cos(right)


def pixels(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:height, :width]
    return rows.astype(float), columns.astype(float)


def turning(angle: float) -> np.ndarray:
    """Of (x, y, 1), by this angle from x to y."""
    return np.array([[cos(angle), -sin(angle), 0], [sin(angle), cos(angle), 0], [0, 0, 1]])


def forward(numbers: dict[str, float], height: int, width: int) -> np.ndarray:
    """Where a place of the image goes, in pixels from the centre: the steps of appendix B, the first rightmost."""
    scale, widening = 2 ** (0.2 * numbers.get("scale", 0)), 2 ** (0.2 * numbers.get("widening", 0))
    before, after = (pi * (2 * numbers.get(name, 0.5) - 1) for name in ("turn_before", "turn_after"))
    move = np.eye(3)
    move[:2, 2] = numbers.get("right", 0) / 8 * width, numbers.get("down", 0) / 8 * height
    stretched = np.diag([widening, 1 / widening, 1]) @ turning(-before) @ np.diag([scale, scale, 1])
    return move @ turning(-after) @ stretched


def sources(matrix: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = pixels(height, width)
    places = np.stack([columns - (width - 1) / 2, rows - (height - 1) / 2, np.ones_like(rows)])
    x, y, _ = np.einsum("ij,jhw->ihw", np.linalg.inv(matrix), places)
    return y + (height - 1) / 2, x + (width - 1) / 2


def given(numbers: dict[str, float]) -> dict[str, list[object]]:
    """As the pipeline asks for them."""
    rows: dict[str, list[object]] = {name: [value] for name, value in numbers.items() if name not in ("right", "down")}
    if "right" in numbers:
        rows["shift"] = [[numbers["right"], numbers["down"]]]
    return rows


GENERALS: list[dict[str, float]] = [
    {"scale": 1.5},
    {"scale": -1.0},
    {"turn_before": 0.6},
    {"turn_after": 0.35},
    {"widening": 1.0},
    {"right": 0.6, "down": -0.9},
    {"right": 3.0, "down": 20.0},
    {"scale": -0.7, "turn_before": 0.1, "widening": -1.3, "turn_after": 0.8, "right": -0.4, "down": 0.3},
]


@pytest.mark.parametrize("size", [(32, 32), (24, 40)], ids=str)
@pytest.mark.parametrize("numbers", GENERALS, ids=lambda numbers: "+".join(numbers))
def test_general_transformations_show_what_was_elsewhere(numbers: dict[str, float], size: tuple[int, int], chosen: Chosen) -> None:
    """An exact reference: the largest error is that of linear interpolation of the fastest wave at twice the resolution."""
    image = torch.from_numpy(waves(*pixels(*size), *size))[None, None]
    expected = waves(*sources(forward(numbers, *size), *size), *size)
    found = general(image, chosen(given(numbers)))[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=4e-3)


@pytest.mark.parametrize("numbers", GENERALS[:6] + GENERALS[7:], ids=lambda numbers: "+".join(numbers))
def test_general_transformations_agree_with_scipy(numbers: dict[str, float], chosen: Chosen) -> None:
    size = 40, 32
    noise = images(*size).numpy()
    smooth = scipy.ndimage.gaussian_filter(noise, 2.5, mode="mirror")
    smooth /= np.abs(smooth).max()
    expected = scipy.ndimage.map_coordinates(smooth, sources(forward(numbers, *size), *size), order=5, mode="mirror")
    found = general(torch.from_numpy(smooth)[None, None], chosen(given(numbers)))[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=0.025)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.006


def test_blits_come_before_general_transformations(chosen: Chosen) -> None:
    size = 32, 32
    image = torch.from_numpy(waves(*pixels(*size), *size))[None, None]
    numbers: dict[str, float] = {"turn_before": 0.6, "scale": 1.0}
    flip = np.diag([-1.0, 1, 1])
    expected = waves(*sources(forward(numbers, *size) @ flip, *size), *size)
    found = general(image, chosen(given(numbers) | {"flip": [0.9]}), ("blit", "geometry"))[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=4e-3)


@pytest.mark.parametrize("size", [(16, 16), (9, 24), (4, 4), (1, 7)], ids=str)
def test_moving_by_almost_nothing_changes_almost_nothing_edges_included(size: tuple[int, int], chosen: Chosen) -> None:
    x = images(2, 3, *size)
    torch.testing.assert_close(general(x, chosen({"shift": [[1e-9, 0], [0, 1e-9]]})), x, atol=1e-6, rtol=0)


def test_shrinking_folds_no_frequencies_over(chosen: Chosen) -> None:
    """A stripe on every other pixel is finer than half its size can show: little is left, where picking pixels keeps all of it."""
    columns = torch.arange(64)
    x = (1.0 - 2 * (columns % 2)).double().expand(1, 1, 64, 64)
    found = general(x, chosen({"scale": [-5.0]}))  # 2^(0.2 * -5) = a half
    assert found[..., 20:44, 20:44].abs().max() < 0.1


def test_an_image_that_does_not_move_stays_bit_for_bit(chosen: Chosen) -> None:
    x = images(3, 3, 16, 16)
    found = general(x, chosen({"shift": [[0.0, 0.0], [0.5, 0.5], [0.0, 0.0]]}))
    assert torch.equal(found[[0, 2]], x[[0, 2]])
    assert not torch.equal(found[1], x[1])


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_any_turn_happens_with_p(p: float) -> None:
    """20,000 draws: within 4.5 standard deviations."""
    count = 20_000
    draws = Draws(BatchRandomness(0, 0, 0, count, count), "test", p, torch.float64)
    matrices = generals(draws, 8, 8)[:, :2, :2]
    turned = (matrices[:, 0, 1].abs() > 1e-12).double().mean()
    assert abs(float(turned) - p) < 4.5 * (p * (1 - p) / count) ** 0.5
