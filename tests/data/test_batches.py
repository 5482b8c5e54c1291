"""Batches follow from seed and step alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from elegan.data import Batches, ImageData, open_data, prepare

CPU = torch.device("cpu")


@pytest.fixture
def digits() -> ImageData:
    return prepare(open_data("digits"))


def test_a_batch_is_a_pure_function_of_its_step(digits: ImageData) -> None:
    one, other = (Batches(digits, batch=64, seed=3, mirror=True, device=CPU) for _ in range(2))
    forward = [one.at(step) for step in range(50)]
    for step in (49, 3, 22, 23, 0):
        again = other.at(step)
        assert torch.equal(forward[step].real, again.real)
        before = forward[step].condition
        assert before is not None
        assert again.condition is not None
        assert torch.equal(before, again.condition)
        assert torch.equal(forward[step].random.normal("z", 4), again.random.normal("z", 4))


def test_seeds_and_steps_differ(digits: ImageData) -> None:
    batches = Batches(digits, batch=64, seed=3, device=CPU)
    assert not torch.equal(batches.at(0).real, batches.at(1).real)
    assert not torch.equal(batches.at(0).real, Batches(digits, batch=64, seed=4, device=CPU).at(0).real)


@pytest.mark.parametrize("batch", [1, 7, 64, 1437, 4000])
def test_each_epoch_is_a_permutation(digits: ImageData, batch: int) -> None:
    batches = Batches(digits, batch=batch, seed=0, device=CPU)
    rows = np.concatenate([batches.rows(step) for step in range(-(-3 * 1437 // batch))])[: 3 * 1437].reshape(3, 1437)
    assert all(np.array_equal(np.sort(epoch), np.arange(1437)) for epoch in rows)
    assert not np.array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], np.arange(1437))


def test_pixels_and_classes_belong_together(digits: ImageData) -> None:
    batches = Batches(digits, batch=32, seed=0, device=CPU)
    batch, rows = batches.at(5), batches.rows(5)
    assert digits.labels is not None
    assert batch.condition is not None
    assert batch.condition.dtype == torch.int64
    assert batch.condition.tolist() == digits.labels[rows].tolist()
    expected = torch.from_numpy(digits.images[rows].astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1
    assert torch.equal(batch.real, expected)
    assert batch.real.min() == -1
    assert batch.real.max() == 1
    assert (batch.random.start, batch.random.stop, batch.random.total) == (0, 32, 32)


def test_batches_are_channels_last(folder: Callable[..., Path]) -> None:
    data = prepare(open_data(str(folder({"1.png": {}, "2.png": {}}))))
    batch = Batches(data, batch=5, seed=0, device=CPU).at(0)
    assert batch.real.shape == (5, 3, 16, 16)
    assert batch.condition is None
    assert batch.real.is_contiguous(memory_format=torch.channels_last)


def test_mirroring_turns_about_half_left_to_right(digits: ImageData) -> None:
    plain = Batches(digits, batch=512, seed=0, device=CPU).at(2).real
    mirrored = Batches(digits, batch=512, seed=0, mirror=True, device=CPU).at(2).real
    same = (plain == mirrored).flatten(1).all(1)
    turned = (plain.flip(3) == mirrored).flatten(1).all(1)
    assert (same | turned).all()
    assert 200 < turned.sum() < 312


def test_the_images_themselves_stay_untouched(digits: ImageData) -> None:
    before = digits.images.copy()
    Batches(digits, batch=8, seed=0, device=CPU).at(0).real.zero_()
    assert np.array_equal(digits.images, before)


def test_attributes_are_scaled_and_belong_to_their_images(folder: Callable[..., Path]) -> None:
    rows = "".join(f"{i}.png,{10 + i},{i % 2},7\n" for i in range(21))
    files = {f"{i}.png": {"seed": i} for i in range(21)} | {"labels.csv": f"file,age,male,same\n{rows}".encode()}
    data = prepare(open_data(str(folder(files)), attributes="age,male,same"))
    batches = Batches(data, batch=8, seed=0, device=CPU)
    for step in range(4):
        condition, ages = batches.at(step).condition, torch.from_numpy(batches.rows(step))
        assert condition is not None
        assert condition.dtype == torch.float32
        assert torch.allclose(condition[:, 0], (ages / 10 - 1).float())
        assert torch.equal(condition[:, 1], (ages % 2 * 2 - 1).float())
        assert torch.equal(condition[:, 2], torch.zeros(8))
