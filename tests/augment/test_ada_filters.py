"""The wavelets, the bands that are made of them, noise and cutout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from elegan.augment.ada import ada
from elegan.augment.corruptions import POWER, gains_of_bands
from elegan.augment.draws import Draws
from elegan.augment.wavelets import BANDS, SYM2, SYM6, bands, doubling, filters, halving
from elegan.randomness import BatchRandomness, Randomness

Chosen = Callable[[object], Randomness]


def images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(("wavelet", "moments"), [(SYM2, 2), (SYM6, 6)], ids=["sym2", "sym6"])
def test_wavelets_are_orthonormal_with_their_vanishing_moments(wavelet: tuple[float, ...], moments: int) -> None:
    taps, places = np.array(wavelet), np.arange(len(wavelet))
    assert len(wavelet) == 2 * moments
    assert taps.sum() == pytest.approx(2**0.5, abs=1e-12)
    for shift in range(moments):
        assert taps[2 * shift :] @ taps[: len(taps) - 2 * shift] == pytest.approx(float(shift == 0), abs=2e-12)
    for moment in range(moments):
        assert ((-1.0) ** places * (places / len(taps)) ** moment) @ taps == pytest.approx(0, abs=1e-9)
    high = (-1.0) ** places * (places / len(taps)) ** moments @ taps
    assert abs(high) > 1e-4


@pytest.mark.parametrize("size", [1, 2, 5, 8, 33])
def test_halving_undoes_doubling(size: int) -> None:
    torch.testing.assert_close(halving(size) @ doubling(size), torch.eye(size, dtype=torch.float64), atol=1e-11, rtol=0)


def test_bands_are_those_of_the_wavelet() -> None:
    """Two vanishing moments leave one low-pass: cos^4(w/2) (1 + 2 sin^2(w/2)) is its power. A band is what an octave's low-pass
    takes away of what the finer octaves let through. By numpy's FFT."""
    frequencies = np.linspace(0, np.pi, 65)
    low = [np.cos(f / 2) ** 4 * (1 + 2 * np.sin(f / 2) ** 2) for f in (frequencies, 2 * frequencies, 4 * frequencies)]
    expected = [low[0] * low[1] * low[2], low[0] * low[1] * (1 - low[2]), low[0] * (1 - low[1]), 1 - low[0]]
    assert filters().shape == (BANDS, 43)
    found = np.fft.rfft(np.fft.ifftshift(np.pad(filters(), ((0, 0), (43, 42))), axes=1))
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-12)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-12)


@pytest.mark.parametrize("size", [(48, 64), (9, 5)], ids=str)
def test_filtering_is_scipys_convolution_of_mirrored_images(size: tuple[int, int], chosen: Chosen) -> None:
    x, factors = images(1, 1, *size), [0.4, -1.0, 0.8, 1.5]
    found = ada(x, chosen({f"band_{band}": [factor] for band, factor in enumerate(factors)}), "test", 1.0, ["filter"])
    gains = np.ones(BANDS)
    for band, factor in enumerate(factors):
        each = np.ones(BANDS)
        each[band] = 2**factor
        gains *= each / np.sqrt(np.array([10, 1, 1, 1]) / 13 @ each**2)
    expected = x[0, 0].numpy()
    for axis in (0, 1):
        expected = scipy.ndimage.convolve1d(expected, gains @ filters(), axis=axis, mode="mirror")
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-12)


def test_each_amplification_keeps_the_expected_energy() -> None:
    draws = Draws(BatchRandomness(0, 0, 0, 64, 64), "test", 0.5, torch.float64)
    gains = gains_of_bands(draws)
    assert (gains == 1).all(1).any()
    one = torch.stack([gain for gain in gains if len(gain.unique()) == 2])  # one band amplified: two different gains
    assert len(one) > 5
    torch.testing.assert_close(one.square() @ one.new_tensor(POWER), torch.ones(len(one), dtype=one.dtype))


def test_bands_of_a_side_add_up_to_doing_nothing() -> None:
    torch.testing.assert_close(bands(12).sum(0), torch.eye(12, dtype=torch.float64), atol=1e-12, rtol=0)


def test_noise_has_its_own_size_for_each_image(chosen: Chosen) -> None:
    x, drawn = torch.zeros(3, 1, 2, 2, dtype=torch.float64), images(3, 1, 2, 2)
    found = ada(x, chosen({"noise_size": [1.5, -1.0, 0.0], "noise": drawn.tolist()}), "test", 1.0, ["noise"])
    torch.testing.assert_close(found, drawn * torch.tensor([0.15, 0.1, 0.0], dtype=torch.float64)[:, None, None, None])


@pytest.mark.parametrize("channels", [2, 4])
def test_noise_and_filters_leave_alpha_alone_and_cutout_does_not(channels: int) -> None:
    x, random = images(4, channels, 16, 16), BatchRandomness(0, 0, 0, 4, 4)
    found = ada(x, random, "test", 1.0, ["filter", "noise"])
    assert torch.equal(found[:, -1], x[:, -1])
    assert (found[:, :-1] != x[:, :-1]).any((1, 2, 3)).all()
    assert (ada(x, random, "test", 1.0, ["cutout"])[:, -1] == 0).any((1, 2)).all()


@pytest.mark.parametrize(("centre", "rows"), [(0.0, range(2)), (0.5, range(2, 6)), (0.999, range(6, 8))])
def test_cutout_is_half_of_each_side(centre: float, rows: range, chosen: Chosen) -> None:
    x = images(1, 3, 8, 16)
    found = ada(x, chosen({"cutout": [0.0], "cutout_row": [centre], "cutout_column": [0.5]}), "test", 1.0, ["cutout"])
    expected = x.clone()
    expected[:, :, rows.start : rows.stop, 4:12] = 0
    assert torch.equal(found, expected)
