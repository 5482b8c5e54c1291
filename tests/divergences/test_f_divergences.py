from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from elegan.divergences.f_divergences import F_DIVERGENCES, exponential

NAMES = list(F_DIVERGENCES)
DOMAINS = {  # of f*: its ends
    "kl": (-math.inf, math.inf),
    "reverse_kl": (-math.inf, 0.0),
    "pearson": (-math.inf, math.inf),
    "neyman": (-math.inf, 1.0),
    "hellinger": (-math.inf, 1.0),
    "jensen_shannon": (-math.inf, math.log(2)),
    "gan": (-math.inf, 0.0),
    "total_variation": (-0.5, 0.5),
}
FAIR_AGAINST_BIASED = {  # a coin of 0.5 against one of 0.9
    "kl": 0.510826,
    "reverse_kl": 0.368064,
    "pearson": 1.777778,
    "neyman": 0.64,
    "hellinger": 0.211146,
    "jensen_shannon": 0.203498,
    "gan": -1.182796,
    "total_variation": 0.4,
}


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def bound(name: str, p: Tensor, q: Tensor, t: Tensor) -> float:
    return float((p * t - q * F_DIVERGENCES[name].conjugate(t)).sum())


def exact(name: str, p: Tensor, q: Tensor) -> float:
    return float((q * F_DIVERGENCES[name].f(p / q)).sum())


def test_every_divergence_has_an_oracle_here() -> None:
    assert F_DIVERGENCES.keys() == DOMAINS.keys() == FAIR_AGAINST_BIASED.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_fair_coin_against_a_biased_one(name: str) -> None:
    assert exact(name, numbers(0.5, 0.5), numbers(0.9, 0.1)) == pytest.approx(FAIR_AGAINST_BIASED[name], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_bound_is_tight_at_the_optimal_function_and_below_it_elsewhere(name: str) -> None:
    p, q = numbers(0.1, 0.2, 0.3, 0.4), numbers(0.35, 0.15, 0.45, 0.05)
    optimal = F_DIVERGENCES[name].optimal(p / q)
    assert bound(name, p, q, optimal) == pytest.approx(exact(name, p, q), abs=1e-12)
    shrunk = F_DIVERGENCES[name].threshold + 0.8 * (optimal - F_DIVERGENCES[name].threshold)
    assert bound(name, p, q, shrunk) < exact(name, p, q) - 1e-3


def test_a_function_that_is_half_too_low_gives_a_lower_bound_of_kl() -> None:
    p, q = numbers(0.5, 0.5), numbers(0.9, 0.1)
    assert bound("kl", p, q, F_DIVERGENCES["kl"].optimal(p / q) - 0.5) == pytest.approx(0.404295, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_conjugates_are_the_suprema(name: str) -> None:
    """f*(t) = sup over u > 0 of u t - f(u), on a fine grid of u. Pearson's is for u of either sign: the same from t = -2 on."""
    divergence, u = F_DIVERGENCES[name], torch.logspace(-6, 6, 400_001, dtype=torch.float64)
    t = divergence.activation(torch.linspace(-1.9, 3.0, 11, dtype=torch.float64))
    suprema = torch.stack([(u * one - divergence.f(u)).max() for one in t])
    torch.testing.assert_close(divergence.conjugate(t), suprema, rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_optimal_function_is_the_slope_of_f_and_the_threshold_that_at_one(name: str) -> None:
    divergence, u = F_DIVERGENCES[name], numbers(0.02, 0.5, 1.0, 3.0, 40.0).requires_grad_()
    (slope,) = torch.autograd.grad(divergence.f(u).sum(), u)
    torch.testing.assert_close(divergence.optimal(u.detach()), slope)
    assert slope[2].item() == pytest.approx(divergence.threshold, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_activations_increase_and_fill_the_domain_of_the_conjugate(name: str) -> None:
    low, high = DOMAINS[name]
    t = F_DIVERGENCES[name].activation(torch.linspace(-15, 15, 61, dtype=torch.float64))
    assert (t.diff() > 0).all()
    assert ((low < t) & (t < high)).all()
    assert t[0] < -14 or t[0].item() == pytest.approx(low, abs=1e-6)
    assert t[-1] > 14 or t[-1].item() == pytest.approx(high, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_conjugate_of_the_activation_is_their_composition(name: str) -> None:
    divergence, v = F_DIVERGENCES[name], torch.linspace(-12, 12, 49, dtype=torch.float64)
    torch.testing.assert_close(divergence.conjugate_of_activation(v), divergence.conjugate(divergence.activation(v)), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_all_is_finite_in_float32_far_out(name: str) -> None:
    for function in (F_DIVERGENCES[name].activation, F_DIVERGENCES[name].conjugate_of_activation):
        v = torch.tensor([-1e4, -100.0, -21.0, 0.0, 21.0, 100.0, 1e4], requires_grad=True)
        value = function(v)
        (slope,) = torch.autograd.grad(value.sum(), v)
        assert value.isfinite().all()
        assert slope.isfinite().all()


def test_the_exponential_goes_on_as_its_tangent_beyond_twenty() -> None:
    x = numbers(-30.0, 0.0, 19.0, 20.0, 21.0, 1e4).requires_grad_()
    (slope,) = torch.autograd.grad(exponential(x).sum(), x)
    top = math.exp(20)
    torch.testing.assert_close(exponential(x).detach(), numbers(math.exp(-30), 1.0, math.exp(19), top, 2 * top, top * 9981))
    torch.testing.assert_close(slope, numbers(math.exp(-30), 1.0, math.exp(19), top, top, top))
