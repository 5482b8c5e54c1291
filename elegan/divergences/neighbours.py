"""KL divergence from samples by distances to nearest neighbours, without a density, bins or a network."""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from elegan.divergences.estimate import LEVEL, Estimate, estimate
from elegan.divergences.inputs import same_space
from elegan.divergences.samples import BLOCKS, spread
from elegan.errors import DataError, OptionError


def kl(x: Tensor, y: Tensor, neighbours: int = 5) -> Estimate:
    """KL(p || q) from samples x (n, d) of p and y (m, d) of q (Wang, Kulkarni and Verdu, 2009, equation 5; Perez-Cruz, 2008).

    d / n sum log(v / r) + log(m / (n - 1)), r the distance of each x to its k-th neighbour among the other x, v among the y. It
    tends to KL for every fixed k; it can be below 0. `method` says how much other samples would change it. There is no interval,
    as its bias has no bound: where p has mass and y no sample, however much KL weighs that, v only says how far y is. With 500
    samples of N(1, 4) and of N(0, 1) it is 0.63 on average, and KL 1.31.

    OptionError for neighbours that are not there, DataError where so many samples are equal that a distance is 0: the
    distribution has no density, or samples are rounded. Neighbours are found by a tree, fast up to some 10 dimensions.
    """
    if neighbours < 1:
        raise OptionError(f"neighbours: got {neighbours}; at least 1 is needed.")
    x, y = same_space(x, y)
    if len(x) <= neighbours or len(y) < neighbours:
        raise OptionError(f"neighbours: got {neighbours} for {len(x)} and {len(y)} samples; take fewer, or draw more samples.")
    value, method = _kl(x, y, neighbours), f"{neighbours} nearest neighbours"
    if min(len(x), len(y)) < 2 * BLOCKS * (neighbours + 1):
        return estimate(value, None, method)
    reach = spread(lambda x, y: _kl(x, y, neighbours), x, y)
    return estimate(value, None, f"{method}; by sampling +- {reach:.2g} at {LEVEL:.0%}, beside an unknown bias")


def _kl(x: Tensor, y: Tensor, neighbours: int) -> float:
    among_x, among_y = _distance(x, x, neighbours + 1), _distance(x, y, neighbours)
    if not (among_x.all() and among_y.all()):
        raise DataError(
            f"samples: some have {neighbours} equal ones, so a distance is 0. Take more neighbours, or samples that are not rounded."
        )
    n, d = x.shape
    return float(d * (among_y.log() - among_x.log()).mean()) + log(len(y) / (n - 1))


def _distance(x: Tensor, y: Tensor, rank: int) -> Tensor:
    """(n,): from each x to its neighbour of this rank among y, 1 the nearest."""
    from scipy.spatial import KDTree  # type: ignore[import-untyped]

    found, _ = KDTree(y.numpy()).query(x.numpy(), k=[rank])
    return torch.from_numpy(found[:, 0])
