"""Optimal transport on a line, where the quantile functions decide: W_p^p is the integral of |F^-1(u) - G^-1(u)|^p over (0, 1)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.errors import OptionError

PROJECTIONS = 2**23
"""Projections that are sorted at one time."""


def check_order(order: float) -> None:
    """OptionError unless this is an order of a Wasserstein distance."""
    if not 1 <= order < float("inf"):
        raise OptionError(f"order: got {order}; it is a finite number from 1 on.")


def quantile_costs(a: Tensor, b: Tensor, order: float) -> Tensor:
    """(k,): the integral over (0, 1) of |difference of quantile functions|^order, for sorted rows (k, n) and (k, m).

    All values of a row weigh the same. The quantile functions are steps, and it is their integral to rounding.
    """
    n, m = a.shape[1], b.shape[1]
    if n == m:
        return (a - b).double().abs().pow(order).mean(1)
    # The steps end at multiples of 1/n and of 1/m: counted in 1/(n m), all are whole numbers.
    ends = torch.unique(torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]))
    widths = ends.diff(prepend=ends.new_zeros(1)).double() / (n * m)
    costs: Tensor = (a[:, (ends - 1) // m] - b[:, (ends - 1) // n]).double().abs().pow(order) @ widths
    return costs


def weighted_cost(p: Tensor, x: Tensor, q: Tensor, y: Tensor, order: float) -> float:
    """The same for probabilities p (n,) at positions x (n,) and q (m,) at y (m,), in any order."""
    (x, of_x), (y, of_y) = x.sort(), y.sort()
    p, q = p[of_x].cumsum(0), q[of_y].cumsum(0)
    ends = torch.cat([p / p[-1], q / q[-1], p.new_zeros(1)]).sort().values
    middles = (ends[1:] + ends[:-1]) / 2  # steps that end together but for rounding leave a sliver of no weight
    gaps = x[torch.searchsorted(p / p[-1], middles)] - y[torch.searchsorted(q / q[-1], middles)]
    return float(gaps.abs().pow(order) @ ends.diff())


def sliced_costs(x: Tensor, y: Tensor, directions: Tensor, order: float) -> Tensor:
    """(k,) float64: W_p^p of the projections of points (n, d) and (m, d) onto each of the directions (k, d) (Bonneel et al., 2015).

    Projections are in float64 if the points are, else in float32.
    """
    step = max(1, PROJECTIONS // (len(x) + len(y)))
    parts = [directions[i : i + step] for i in range(0, len(directions), step)]
    return torch.cat([quantile_costs(projections(x, along), projections(y, along), order) for along in parts])


def random_directions(count: int, dimension: int, seed: int | tuple[int, ...]) -> Tensor:
    """float64 (count, dimension): evenly from the sphere, each row of length 1."""
    drawn = torch.from_numpy(np.random.default_rng(seed).standard_normal((count, dimension)))
    return F.normalize(drawn, dim=1)


def projections(points: Tensor, directions: Tensor) -> Tensor:
    """(n, d) and (k, d) -> (k, n), each row in ascending order."""
    dtype = torch.promote_types(points.dtype, torch.float32)
    rows = directions.to(dtype) @ points.to(dtype).T
    return torch.from_numpy(np.sort(rows.numpy(), axis=1))  # several times as fast as Tensor.sort, which finds indices too
