"""Optimal transport with an entropic term, which large sets allow: Sinkhorn's iterations on logarithms (Cuturi, 2013).

OT_e(p, q) is the least of <pi, cost> + e KL(pi || p x q) over couplings pi. It is not 0 for p = q; the Sinkhorn divergence
OT_e(p, q) - OT_e(p, p) / 2 - OT_e(q, q) / 2 is (Feydy et al., 2019). With e -> 0 both tend to the optimal cost, with e -> infinity
the divergence tends to half the energy distance where the cost is |x - y|.
"""

from __future__ import annotations

import torch
from torch import Tensor

from elegan.divergences.inputs import probabilities
from elegan.errors import DataError, OptionError

ROUNDS, PRODUCTS = 200, 30
"""Each round is one iteration on logarithms, and then 30 as products of matrices with vectors, which are many times as fast."""

PRECISE = 1e-7
"""How much mass, of 1, may be in the wrong place at the end. The cost's own error goes with its square."""


def entropic_cost(p: Tensor, q: Tensor, cost: Tensor, epsilon: float) -> float:
    """OT_e for probabilities or counts p (n,) and q (m,) and cost (n, m), in units of the cost.

    OptionError for an epsilon that is not positive, or so small for these costs that 6200 iterations do not do.
    """
    p, q = probabilities(p), probabilities(q)
    if cost.shape != (len(p), len(q)) or not bool(cost.isfinite().all()):
        raise DataError(f"the cost is finite and of the shape ({len(p)}, {len(q)}), that of p and q, got {tuple(cost.shape)}.")
    f, g = potentials(p, q, cost.detach().cpu().double(), epsilon)
    return float(p @ f + q @ g)


def potentials(p: Tensor, q: Tensor, cost: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """f (n,) and g (m,), float64, with OT_e = p f + q g: the optimal coupling is p q exp((f + g - cost) / e)."""
    check_epsilon(epsilon)
    costs = cost / epsilon, (cost / epsilon).T.contiguous()
    f = torch.zeros_like(p)
    for _ in range(ROUNDS):
        g = _best(f, p, costs[1])
        new = _best(g, q, costs[0])
        if _misplaced(p, f, new) < PRECISE:
            return epsilon * new, epsilon * g
        f = new + _products(p, q, torch.exp(new.unsqueeze(1) + g - costs[0]))
    raise _too_small(epsilon, cost)


def self_potential(p: Tensor, cost: Tensor, epsilon: float) -> Tensor:
    """f (n,) with OT_e(p, p) = 2 p f, for a symmetric cost (n, n). Half steps do not swing to and fro (Feydy et al., 2019)."""
    check_epsilon(epsilon)
    f = torch.zeros_like(p)
    for _ in range(ROUNDS):
        new = _best(f, p, cost / epsilon)
        if _misplaced(p, f, new) < PRECISE:
            return epsilon * (f + new) / 2
        f = (f + new) / 2
    raise _too_small(epsilon, cost)


def check_epsilon(epsilon: float) -> None:
    if not 0 < epsilon < float("inf"):
        raise OptionError(f"epsilon: got {epsilon}; it is a positive number in units of the cost, such as 5% of the mean cost.")


def _best(potential: Tensor, weights: Tensor, cost: Tensor) -> Tensor:
    """The other side's potential that makes the coupling's sums right: (n,) from (m,), for cost (n, m), all in units of epsilon."""
    best: Tensor = -torch.logsumexp((potential + weights.log()) - cost, 1)
    return best


def _products(p: Tensor, q: Tensor, coupling: Tensor) -> Tensor:
    """(n,): what some more iterations add to f, or 0 where numbers grow beyond float64."""
    u = torch.ones_like(p)
    for _ in range(PRODUCTS):
        v = 1 / (coupling.T @ (p * u))
        u = 1 / (coupling @ (q * v))
    change: Tensor = u.log()
    return change if change.isfinite().all() else torch.zeros_like(p)


def _misplaced(p: Tensor, old: Tensor, new: Tensor) -> float:
    return float(p @ torch.expm1(old - new).abs())


def _too_small(epsilon: float, cost: Tensor) -> OptionError:
    return OptionError(
        f"epsilon: {epsilon:.3g} is too small for costs of {float(cost.mean()):.3g} on average: after {ROUNDS * (1 + PRODUCTS)} iterations "
        "mass is still in the wrong place. Raise it, or take the exact cost of fewer points."
    )
