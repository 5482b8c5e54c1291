"""Any divergence of probabilities, from samples sorted into bins."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import numpy as np
import torch
from torch import Tensor

from elegan.divergences.discrete import jensen_shannon
from elegan.divergences.estimate import Estimate, estimate
from elegan.divergences.inputs import probabilities, same_space
from elegan.divergences.samples import NORMAL, SMALLEST
from elegan.errors import DataError, OptionError

LARGEST = 10**6
"""Bins altogether."""

DRAWS, OWN_DRAWS = 100, 20
"""Histograms that are drawn anew: pairs for the spread, and single ones, whose mean alone counts."""


def histogram(
    x: Tensor, y: Tensor, divergence: Callable[[Tensor, Tensor], float] = jensen_shannon, bins: int = 50, seed: int = 0
) -> Estimate:
    """An f-divergence of the shares of samples x (n, d) and y (m, d) in bins: a function of `discrete`, from probabilities (k,).

    bins: of equal width along each axis, between the smallest and the largest value of both. There are two errors: sampling
    makes it too high, by about bins / n where p and q are equal; bins can only lower it, as what differs within a bin is not
    seen (an f-divergence falls under every map). The interval is for the divergence in these bins, so its low end holds for p and
    q themselves, and its high end if bins are fine. Inf, without an interval, where a bin decides so, as one that y lacks does for KL.

    Draws from the histograms tell the spread and how much too high it can be, so bins should hold several samples on average.
    OptionError for no bins, or more than a million altogether.
    """
    x, y = same_space(x, y)
    if bins < 1 or bins ** x.shape[1] > LARGEST:
        raise OptionError(f"bins: got {bins} along each of {x.shape[1]} axes; give 1 to {LARGEST:,} bins altogether.")
    counts = _counts(x, y, bins)
    value, method = divergence(*counts), f"histogram, {bins} bins" + (f" along each of {x.shape[1]} axes" if x.shape[1] > 1 else "")
    if min(len(x), len(y)) < SMALLEST:
        return estimate(value, None, f"{method}; no interval below {SMALLEST} samples")
    reach, bias = _errors(counts, divergence, value, seed)
    if reach == inf:
        return estimate(value, None, f"{method}; a bin without samples can make it infinite, so there is no interval")
    return estimate(value, reach, f"{method}; sampling makes it up to {bias:.2g} too high, bins too low", bias=bias, least=0.0)


def _counts(x: Tensor, y: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Both (bins^d,), int64, but for the bins that are empty in both."""
    try:
        edges = [np.histogram_bin_edges(axis.numpy(), bins) for axis in torch.cat([x, y]).T]
    except ValueError as error:
        raise DataError(
            f"bins: {bins} do not fit between the smallest and the largest value, which differ by rounding. Take fewer."
        ) from error
    found = [torch.from_numpy(np.histogramdd(one.numpy(), edges)[0]).flatten().long() for one in (x, y)]
    there = (found[0] + found[1]) > 0
    return found[0][there], found[1][there]


def _errors(counts: tuple[Tensor, Tensor], divergence: Callable[[Tensor, Tensor], float], value: float, seed: int) -> tuple[float, float]:
    """How far an interval goes to each side, and how much too high the value may be; inf where a draw is infinite.

    Sampling once more adds the bias once more. Of a divergence that has a kink at 0, as total variation has, that shows too little
    where p and q are nearly equal; there the divergences of draws from what they are drawn from show it.
    """
    random = np.random.default_rng(seed)
    p, q = ([torch.from_numpy(draw) for draw in random.multinomial(int(one.sum()), probabilities(one), DRAWS)] for one in counts)
    anew = torch.tensor([divergence(a, b) for a, b in zip(p, q, strict=True)], dtype=torch.float64)
    own = sum(divergence(draw, one) for draws, one in zip((p, q), counts, strict=True) for draw in draws[:OWN_DRAWS]) / OWN_DRAWS
    if inf in (value, own) or not anew.isfinite().all():
        return inf, inf
    bias = max(float(anew.mean()) - value, own)
    return NORMAL * float(anew.std()), bias
