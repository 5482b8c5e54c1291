"""What ADA does to frequencies and pixels (Karras et al., 2020, appendix B): filters, noise and cutout."""

from __future__ import annotations

import torch
from torch import Tensor

from elegan.augment.diffaugment import covered
from elegan.augment.draws import Draws
from elegan.augment.wavelets import BANDS, along, bands

POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""How much of an image's energy is expected in each band, from the lowest up: that of natural images falls as 1 / frequency."""


def filtered(images: Tensor, draws: Draws) -> Tensor:
    """Each of four bands of frequencies * 2^N(0, 1), with the same expected energy after each; the same filter for both axes."""
    gains = gains_of_bands(draws)
    rows, columns = (torch.einsum("nb,bij->nij", gains, bands(size).to(images))[:, None] for size in images.shape[2:])
    return along(images, rows, columns)


def gains_of_bands(draws: Draws) -> Tensor:
    """(n, BANDS)."""
    gains: Tensor | float = 1.0
    for band in range(BANDS):
        factor = draws.factor(f"band_{band}", 1.0)
        energy = POWER[band] * factor.square() + (1 - POWER[band])
        each = torch.ones(len(factor), BANDS, dtype=factor.dtype, device=factor.device)
        each[:, band] = factor
        gains = gains * each / energy.sqrt()[:, None]
    assert isinstance(gains, Tensor)
    return gains


def noisy(images: Tensor, draws: Draws) -> Tensor:
    """N(0, s^2) on each number of an image; s is |N(0, 0.1^2)|."""
    std = draws.normal("noise_size", 0.1).abs()
    return images + std[:, None, None, None] * draws.random.normal(f"{draws.stream}/noise", *images.shape[1:]).to(images)


def cut(images: Tensor, draws: Draws) -> Tensor:
    """A rectangle of half of each side becomes 0; its centre is anywhere in the image."""
    rows = covered(draws.share("cutout_row", 1), images.shape[2])
    columns = covered(draws.share("cutout_column", 1), images.shape[3])
    hidden = draws.happens("cutout")[:, None, None] & rows[:, :, None] & columns[:, None, :]
    return images * ~hidden[:, None]
