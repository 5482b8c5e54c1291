"""Optimal transport of any cost between two sets of weighted points, exact, where the sizes allow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from elegan.divergences.inputs import probabilities
from elegan.errors import DataError, OptionError

LARGEST_ASSIGNMENT = 2000
"""Points on each side; time goes with their cube, and 2000 take some ten seconds."""

LARGEST_PROGRAM = 100_000
"""Pairs of points in a linear program; 300 x 300 take some seconds."""


def optimal_cost(p: Tensor, q: Tensor, cost: Tensor) -> float:
    """The least of sum pi_ij cost_ij over couplings pi of p (n,) and q (m,); cost: (n, m), of either sign.

    p and q are probabilities or counts, divided by their sums. Where n = m and all weigh the same, an assignment is optimal
    (Birkhoff's theorem), up to 2000 points; otherwise it is a linear program, up to 100,000 pairs of points that weigh something.
    For costs |x - y|^r its r-th root is W_r. OptionError beyond these sizes, DataError for a cost that does not fit.
    """
    p, q = probabilities(p), probabilities(q)
    if cost.shape != (len(p), len(q)) or not bool(cost.isfinite().all()):
        raise DataError(f"the cost is finite and of the shape ({len(p)}, {len(q)}), that of p and q, got {tuple(cost.shape)}.")
    cost = cost.detach().cpu().double()[p > 0][:, q > 0]
    p, q = p[p > 0], q[q > 0]
    if len(p) == len(q) and p.min() == p.max() and q.min() == q.max():
        return _assignment(cost)
    return _program(p, q, cost)


def _assignment(cost: Tensor) -> float:
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    if len(cost) > LARGEST_ASSIGNMENT:
        raise OptionError(f"an assignment of {len(cost)} points takes too long; draw {LARGEST_ASSIGNMENT}, or take `sinkhorn_divergence`.")
    rows, columns = linear_sum_assignment(cost.numpy())
    return float(cost[torch.from_numpy(rows), torch.from_numpy(columns)].mean())


def _program(p: Tensor, q: Tensor, cost: Tensor) -> float:
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron, vstack  # type: ignore[import-untyped]

    n, m = cost.shape
    if n * m > LARGEST_PROGRAM:
        raise OptionError(
            f"a linear program of {n} x {m} points takes too long; {LARGEST_PROGRAM:,} pairs are the limit. Draw fewer, or equally "
            f"many of equal weight up to {LARGEST_ASSIGNMENT}, or take `sinkhorn_divergence`."
        )
    rows, columns = kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))
    # The last sum follows from the others, and with it rounding could make the program infeasible.
    sums, scale = torch.cat([p, q[:-1]]).numpy(), float(cost.abs().max()) or 1.0
    found = linprog(cost.flatten().numpy() / scale, A_eq=vstack([rows, columns]).tocsr()[:-1], b_eq=sums, method="highs")
    if found.status != 0:
        raise DataError(f"the linear program of {n} x {m} points was not solved: {found.message}")
    return float(found.fun) * scale
