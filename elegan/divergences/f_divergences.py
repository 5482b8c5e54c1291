"""f-divergences and their variational form (Nowozin et al., 2016): D_f(P||Q) = E_q f(p/q) = sup_T E_p T - E_q f*(T).

p is the density of real samples, q of generated ones. A discriminator gives v, any real number, and T = g(v): g maps it
into the domain of f*, increases, and "real" is where T is above f'(1). Names of the two chi-squares are swapped in places; f says which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch.nn.functional as F
from torch import Tensor

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class FDivergence:
    """One row of the table (Nowozin et al., 2016, tables 1, 2 and 6); all functions work on each element.

    f: of the ratio u = p/q > 0; convex, and 0 at 1 except for `gan`. conjugate: f*(t), for t in its domain. activation:
    g(v). conjugate_of_activation: f*(g(v)) in one stable piece. threshold: f'(1). optimal: T* = f'(p/q), from p/q.
    """

    f: Function
    conjugate: Function
    activation: Function
    conjugate_of_activation: Function
    threshold: float
    optimal: Function


def exponential(x: Tensor) -> Tensor:
    """e^x up to 20, beyond it its tangent there: convex, with a continuous slope, and finite with its slope in float32."""
    return x.clamp(max=20).exp() * (1 + F.relu(x - 20))


def jensen_shannon(u: Tensor) -> Tensor:
    return u * u.log() - (u + 1) * ((1 + u) / 2).log()


def gan(u: Tensor) -> Tensor:
    return u * u.log() - (u + 1) * (u + 1).log()


F_DIVERGENCES: dict[str, FDivergence] = {
    "kl": FDivergence(
        f=lambda u: u * u.log(),
        conjugate=lambda t: (t - 1).exp(),
        activation=lambda v: v,
        conjugate_of_activation=lambda v: exponential(v - 1),
        threshold=1.0,
        optimal=lambda u: 1 + u.log(),
    ),
    # The paper writes -e^v. With -e^-v, which maps onto the same domain, more says "real" here as everywhere else.
    "reverse_kl": FDivergence(
        f=lambda u: -u.log(),
        conjugate=lambda t: -1 - (-t).log(),
        activation=lambda v: -exponential(-v),
        conjugate_of_activation=lambda v: v - 1,
        threshold=-1.0,
        optimal=lambda u: -1 / u,
    ),
    "pearson": FDivergence(
        f=lambda u: (u - 1).square(),
        conjugate=lambda t: t.square() / 4 + t,
        activation=lambda v: v,
        conjugate_of_activation=lambda v: v.square() / 4 + v,
        threshold=0.0,
        optimal=lambda u: 2 * (u - 1),
    ),
    "neyman": FDivergence(
        f=lambda u: (1 - u).square() / u,
        conjugate=lambda t: 2 - 2 * (1 - t).sqrt(),
        activation=lambda v: 1 - exponential(-v),
        conjugate_of_activation=lambda v: 2 - 2 * exponential(-v / 2),
        threshold=0.0,
        optimal=lambda u: 1 - u**-2,
    ),
    "hellinger": FDivergence(  # squared, without the factor 1/2
        f=lambda u: (u.sqrt() - 1).square(),
        conjugate=lambda t: t / (1 - t),
        activation=lambda v: 1 - exponential(-v),
        conjugate_of_activation=lambda v: exponential(v) - 1,
        threshold=0.0,
        optimal=lambda u: 1 - u**-0.5,
    ),
    "jensen_shannon": FDivergence(  # twice the Jensen-Shannon divergence
        f=jensen_shannon,
        conjugate=lambda t: -(2 - t.exp()).log(),
        activation=lambda v: log(2) - F.softplus(-v),
        conjugate_of_activation=lambda v: F.softplus(v) - log(2),
        threshold=0.0,
        optimal=lambda u: (2 * u / (1 + u)).log(),
    ),
    "gan": FDivergence(  # twice the Jensen-Shannon divergence, minus ln 4: the value of the minimax game
        f=gan,
        conjugate=lambda t: -(1 - t.exp()).log(),
        activation=lambda v: -F.softplus(-v),
        conjugate_of_activation=F.softplus,
        threshold=-log(2),
        optimal=lambda u: (u / (1 + u)).log(),
    ),
    "total_variation": FDivergence(
        f=lambda u: (u - 1).abs() / 2,
        conjugate=lambda t: t,
        activation=lambda v: v.tanh() / 2,
        conjugate_of_activation=lambda v: v.tanh() / 2,
        threshold=0.0,
        optimal=lambda u: (u - 1).sign() / 2,
    ),
}
