"""Integrals over the whole line, by panels that are halved until none is rough.

The line is x = c + h t / (1 - t^2) for t in (-1, 1), so that no tail is cut off. On each panel of t there are 15 points of
Gauss and Legendre, and the same integral from every second of them says how rough the integrand is. A kink or a jump is
found by halving: some 20 or 40 times, and only there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.polynomial import legendre
from numpy.typing import NDArray
from torch import Tensor

from elegan.errors import DataError, OptionError

POINTS = 15
PRECISE = 1e-11
"""How far two rules may differ on one panel, relative to the integral where that is above 1. The better one is far more exact."""

ROUNDS = 48
"""Of halving: beyond them t has no more digits."""

HALVINGS = 40
"""Of a panel, to find a quantile in it."""

HALF = 0.5 + 1e-9
"""Of the mass, and a little more: each point is nearer to one end at least."""

FARTHEST = 1 - 1e-12
"""The largest t of a quantile: x stays finite where a density has no mass left."""


def _to_integrals(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1 + n, n): from values at n nodes to the Legendre series of the integral from -1 of the polynomial through them."""
    to_series = np.linalg.inv(legendre.legvander(nodes, len(nodes) - 1))
    return np.asarray(legendre.legint(to_series, lbnd=-1))


_NODES, _WEIGHTS = legendre.leggauss(POINTS)
_INTEGRALS = _to_integrals(_NODES)
NODES, WEIGHTS = torch.from_numpy(_NODES), torch.from_numpy(_WEIGHTS)
ROUGH_WEIGHTS = torch.from_numpy(legendre.legval(1.0, _to_integrals(_NODES[1::2])))
UP_TO_NODES = torch.from_numpy(legendre.legval(_NODES, _INTEGRALS))  # [i, j]: of value i, in the integral from -1 to node j


@dataclass(frozen=True, eq=False)
class Panels:
    """Points of the line in panels, from left to right: edges are those of t, (m + 1,); centre and scale are c and h."""

    edges: Tensor
    centre: float
    scale: float

    @cached_property
    def t(self) -> Tensor:
        """(m, 15)."""
        return self.edges[:-1, None] + self.halves * (1 + NODES)

    @cached_property
    def halves(self) -> Tensor:
        """(m, 1): half of each panel's width in t."""
        return self.edges.diff().unsqueeze(1) / 2

    @cached_property
    def x(self) -> Tensor:
        """(m, 15)."""
        return self.place(self.t)

    @cached_property
    def steps(self) -> Tensor:
        """(m, 15): what a value at x counts in an integral over x, but for the weights of the rule."""
        return self.halves * self.scale * (1 + self.t**2) / ((1 - self.t) * (1 + self.t)) ** 2

    def place(self, t: Tensor) -> Tensor:
        return self.centre + self.scale * t / ((1 - t) * (1 + t))

    def masses(self, values: Tensor) -> Tensor:
        """(..., m): the integral over each panel of values (..., m, 15)."""
        return (values * self.steps) @ WEIGHTS

    def rough_masses(self, values: Tensor) -> Tensor:
        return (values * self.steps)[..., 1::2] @ ROUGH_WEIGHTS

    def up_to(self, values: Tensor) -> Tensor:
        """(m, 15): the integral of values (m, 15) from -infinity to each x."""
        masses = self.masses(values)
        return (masses.cumsum(0) - masses).unsqueeze(1) + (values * self.steps) @ UP_TO_NODES

    def from_nearer_end(self, values: Tensor) -> Tensor:
        """(m, 15): the same of values whose whole integral is 0, so that what is left in a far tail is not rounding."""
        masses, inside = self.masses(values), (values * self.steps) @ UP_TO_NODES
        left = (masses.cumsum(0) - masses).unsqueeze(1) + inside
        right = inside - masses.flip(0).cumsum(0).flip(0).unsqueeze(1)
        return torch.where(self.t < 0, left, right)

    def transported(self, p: Tensor, q: Tensor) -> Tensor:
        """(m, 15): where the quantile of density p that each x is lies for density q; both are values (m, 15).

        Each x is counted from the end it is nearer to: from the other one the shares of a tail would be rounded away.
        """
        left = self._quantiles(p, q)
        right = Panels(-self.edges.flip(0), -self.centre, self.scale)._quantiles(p.flip(0, 1), q.flip(0, 1))
        return torch.where(left.isnan(), -right.flip(0, 1), left)

    def _quantiles(self, p: Tensor, q: Tensor) -> Tensor:
        """(m, 15): where the integral of q from the left reaches that of p, as shares of the whole; NaN in the right half."""
        shares, masses = self.up_to(p) / self.masses(p).sum(), self.masses(q)
        near, ends = shares < HALF, masses.cumsum(0)
        goals = shares[near].clamp(min=0) * ends[-1]
        panel = torch.searchsorted(ends, goals).clamp(max=len(ends) - 1)
        goals = goals - (ends - masses)[panel]
        series = _INTEGRALS @ (q * self.steps).numpy().T[:, panel.numpy()]  # (16, points)
        low, high = np.full(len(panel), -1.0), np.full(len(panel), 1.0)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = legendre.legval(middle, series, tensor=False) < goals.numpy()
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        t = self.edges[:-1][panel] + self.halves[panel, 0] * (1 + torch.from_numpy((low + high) / 2))
        return torch.full_like(p, torch.nan).masked_scatter(near, self.place(t.clamp(-FARTHEST, FARTHEST)))


def integrals(functions: Callable[[Panels], Tensor], between: tuple[float, float], panels: int = 64) -> Tensor:
    """(k,): the integrals over the line of k functions at once, given as values (k, m, 15) at the points of panels.

    between: where most of what counts lies; it sets where the points are dense, and cuts nothing off. A function that is
    infinite somewhere, or grows beyond float64, makes inf. DataError for NaN, or where halving does not help: for most
    such integrals there is no finite value.
    """
    low, high = between
    if not float("-inf") < low < high < float("inf"):
        raise OptionError(f"between: got {between}; it is two numbers, the smaller one first, with most of both densities between them.")
    edges = torch.linspace(-1, 1, panels + 1, dtype=torch.float64)
    for _ in range(ROUNDS):
        grid = Panels(edges, (low + high) / 2, (high - low) / 2)
        if not grid.x.isfinite().all():  # it was rough up to the end of the line
            break
        values = functions(grid)
        if values.isnan().any():
            raise DataError("a density gave NaN; look at its value far out, and where it is 0: the logarithm of 0 is -inf.")
        rough = _rough(grid, values)
        if not rough.any():
            return grid.masses(values).sum(1)
        middles = (edges[:-1] + edges[1:])[rough] / 2
        edges = torch.cat([edges, middles]).sort().values
    raise DataError("the integral does not settle: it is infinite, or a density has a pole or cannot be told from noise.")


def _rough(grid: Panels, values: Tensor) -> Tensor:
    """(m,): the panels on which both rules differ for one of the functions (k, m, 15); one whose integral is infinite has no say."""
    masses, rough = grid.masses(values), grid.rough_masses(values)
    limits = PRECISE * masses.abs().sum(1, keepdim=True).clamp(min=1)
    return (((masses - rough).abs() > limits) & limits.isfinite()).any(0)
