from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats  # type: ignore[import-untyped]
from scipy.optimize import brentq  # type: ignore[import-untyped]
from torch import Tensor

from elegan.divergences import quadrature
from elegan.divergences.f_divergences import F_DIVERGENCES
from elegan.divergences.integration import integrals
from elegan.divergences.mixtures import GaussianMixture, around, on_a_line
from elegan.divergences.quadrature import Between, LogDensity
from elegan.errors import DataError, OptionError

NAMES = (
    "kl",
    "reverse_kl",
    "jeffreys",
    "jensen_shannon",
    "jensen_shannon_distance",
    "total_variation",
    "squared_hellinger",
    "bhattacharyya",
    "pearson",
    "neyman",
    "wasserstein",
    "energy_distance",
)


def normal(mean: float, std: float) -> GaussianMixture:
    return on_a_line([1], [mean], [std])


def uniform(low: float, high: float) -> LogDensity:
    return lambda x: torch.where((x >= low) & (x <= high), -math.log(high - low), -math.inf)


def measured(name: str, p: GaussianMixture, q: GaussianMixture, **options: float) -> float:
    return float(getattr(quadrature, name)(p.log_density, q.log_density, around(p, q), **options))


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [  # KL, reverse KL, JSD, TV, squared Hellinger, W1, W2 squared
        ((0, 1), (1, 1), (0.5, 0.5, 0.111421, 0.382925, 0.117503, 1, 1)),
        ((0, 1), (1, 2), (0.443147, 1.306853, 0.128175, 0.390066, 0.149195, 1.166631, 2)),
        ((-1, 1), (1, 1), (2, 2, 0.336831, 0.682689, 0.393469, 2, 4)),
    ],
)
def test_gaussians(p: tuple[float, float], q: tuple[float, float], expected: tuple[float, ...]) -> None:
    names = ("kl", "reverse_kl", "jensen_shannon", "total_variation", "squared_hellinger", "wasserstein")
    found = [measured(name, normal(*p), normal(*q)) for name in names]
    found.append(measured("wasserstein", normal(*p), normal(*q), order=2) ** 2)
    assert found == pytest.approx(expected, abs=1e-6)
    assert found[-1] == pytest.approx((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2, abs=1e-9)


@pytest.mark.parametrize(("apart", "slope"), [(1, 0.1990), (3, 0.1479), (5, 0.0237), (8, 0.000196)])
def test_the_slope_of_jensen_shannon_vanishes_and_that_of_wasserstein_does_not(apart: float, slope: float) -> None:
    step = 1e-3

    def rise(name: str) -> float:
        return (measured(name, normal(0, 1), normal(apart + step, 1)) - measured(name, normal(0, 1), normal(apart - step, 1))) / (2 * step)

    def moved(x: float) -> float:
        """By hand: half the integral of dq/da log(2 q / (p + q)), where dq/da = (x - a) q."""
        p, q = stats.norm.pdf(x), stats.norm.pdf(x, apart)
        return float((x - apart) * q * np.log(2 * q / (p + q)) / 2)

    assert rise("jensen_shannon") == pytest.approx(integrate.quad(moved, -10, 18, epsabs=1e-12)[0], abs=1e-6)
    assert rise("jensen_shannon") == pytest.approx(slope, abs=6e-5 if slope > 0.001 else 1e-6)
    assert rise("wasserstein") == pytest.approx(1, abs=1e-9)


P, Q = on_a_line([0.3, 0.7], [-2, 1.5], [0.3, 0.8]), on_a_line([0.5, 0.5], [-2, 2], [0.6, 0.5])


def p_density(x: float) -> float:
    return float(0.3 * stats.norm.pdf(x, -2, 0.3) + 0.7 * stats.norm.pdf(x, 1.5, 0.8))


def q_density(x: float) -> float:
    return float(0.5 * stats.norm.pdf(x, -2, 0.6) + 0.5 * stats.norm.pdf(x, 2, 0.5))


def test_mixtures_are_integrated_as_scipy_does() -> None:
    """Divided where both densities cross, so that no piece has a kink."""
    grid = np.linspace(-5, 5, 81)
    gaps = [p_density(x) - q_density(x) for x in grid]
    cuts = [brentq(lambda x: p_density(x) - q_density(x), *grid[i : i + 2], xtol=1e-14) for i in range(80) if gaps[i] * gaps[i + 1] < 0]
    assert len(cuts) == 5
    ends = sorted([-8, -4, -2, 0, 2, 4, 8, *cuts])

    def integral(f: Callable[[float, float], float]) -> float:
        pieces = [integrate.quad(lambda x: f(p_density(x), q_density(x)), a, b, epsabs=1e-11)[0] for a, b in pairwise(ends)]
        return float(sum(pieces))

    assert measured("total_variation", P, Q) == pytest.approx(integral(lambda p, q: abs(p - q) / 2), abs=1e-8)
    mixed = integral(lambda p, q: (p * math.log(2 * p / (p + q)) + q * math.log(2 * q / (p + q))) / 2)
    assert measured("jensen_shannon", P, Q) == pytest.approx(mixed, abs=1e-8)


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_the_table_of_f_divergences_on_a_fine_grid(name: str) -> None:
    """The trapezoidal rule, which is as good as any for functions that vanish at both ends, but for kinks."""
    x, other = torch.linspace(-14, 14, 200_001, dtype=torch.float64), on_a_line([0.5, 0.5], [-2, 2], [0.6, 0.9])
    p, q = P.density(x), other.density(x)
    expected = torch.trapezoid(q * F_DIVERGENCES[name].f(p / q), x).item()
    assert quadrature.f_divergence(P.log_density, other.log_density, around(P, other), name) == pytest.approx(expected, rel=1e-8)


def test_a_large_value_that_lies_where_neither_density_does() -> None:
    """The chi-square of P and Q is finite, as Q's wider peak wins in the end, and comes from around 30."""
    x = torch.linspace(15, 60, 100_001, dtype=torch.float64)
    expected = torch.trapezoid((2 * P.log_density(x) - Q.log_density(x)).exp(), x).item()
    assert measured("pearson", P, Q) == pytest.approx(expected, rel=1e-8)
    assert expected > 1e60


def test_transport_of_mixtures() -> None:
    """By a million quantiles each, found between the values of the distribution functions on a grid."""
    x, u = torch.linspace(-9, 9, 400_001, dtype=torch.float64), (np.arange(10**6) + 0.5) / 10**6
    quantiles = [np.interp(u, one.cdf(x).numpy(), x.numpy()) for one in (P, Q)]
    for order in (1, 2):
        expected = (np.abs(quantiles[0] - quantiles[1]) ** order).mean() ** (1 / order)
        assert measured("wasserstein", P, Q, order=order) == pytest.approx(expected, abs=1e-6), order
    between = np.trapezoid(2 * (P.cdf(x) - Q.cdf(x)).square(), x)
    assert measured("energy_distance", P, Q) == pytest.approx(between, abs=1e-8)


def test_the_energy_distance_of_gaussians() -> None:
    """E|d + s Z| has a closed form: 2 E|x - y| - E|x - x'| - E|y - y'|."""

    def mean_size(apart: float, std: float) -> float:
        return std * math.sqrt(2 / math.pi) * math.exp(-((apart / std) ** 2) / 2) + apart * math.erf(apart / std / math.sqrt(2))

    expected = 2 * mean_size(1, math.sqrt(5)) - mean_size(0, math.sqrt(2)) - mean_size(0, math.sqrt(8))
    assert measured("energy_distance", normal(0, 1), normal(1, 2)) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_equal_densities(name: str) -> None:
    assert measured(name, P, P) == pytest.approx(0, abs=1e-9 if name != "jensen_shannon_distance" else 1e-5)


DISJOINT = {
    "jensen_shannon": math.log(2),
    "jensen_shannon_distance": math.sqrt(math.log(2)),
    "total_variation": 1,
    "squared_hellinger": 1,
    "wasserstein": math.pi,
    "energy_distance": 2 * math.pi - 2 / 3,
}


@pytest.mark.parametrize("name", NAMES)
def test_disjoint_supports(name: str) -> None:
    found = getattr(quadrature, name)(uniform(0, 1), uniform(math.pi, math.pi + 1), (-1, 5))
    assert found == pytest.approx(DISJOINT.get(name, math.inf), abs=1e-8)


def test_jumps_anywhere() -> None:
    """Uniform on (0, 1) within uniform on (-0.3, 1.7), by hand."""
    one, other, between = uniform(0, 1), uniform(-0.3, 1.7), (-1.0, 2.0)
    assert quadrature.kl(one, other, between) == pytest.approx(math.log(2), abs=1e-8)
    assert quadrature.reverse_kl(one, other, between) == math.inf
    assert quadrature.total_variation(one, other, between) == pytest.approx(0.5, abs=1e-8)
    assert quadrature.wasserstein(one, other, between) == pytest.approx((0.3**2 + 0.7**2) / 2, abs=1e-8)


def test_tails_below_what_float64_holds_still_count() -> None:
    """At 1 the narrow one's density is e^-5000. And far apart, where the densities are both 0 between the peaks."""
    narrow = normal(0, 0.01)
    assert measured("kl", normal(0, 1), narrow) == pytest.approx(math.log(0.01) + 5000 - 0.5, rel=1e-12)
    assert measured("kl", normal(0, 1), normal(100, 1)) == pytest.approx(5000, rel=1e-12)
    assert measured("jensen_shannon", normal(0, 1), normal(100, 1)) == pytest.approx(math.log(2), abs=1e-12)


def test_integrals_that_are_infinite() -> None:
    def cauchy(x: Tensor) -> Tensor:
        return -math.log(math.pi) - torch.log1p(x.square())

    gaussian = normal(0, 1).log_density
    assert measured("neyman", normal(0, 1), normal(0, 2)) == math.inf  # p^2 / q grows like e^(x^2 / 4)
    assert quadrature.pearson(cauchy, gaussian, (-5, 5)) == math.inf
    assert quadrature.neyman(cauchy, gaussian, (-5, 5)) < 1
    for measure in (quadrature.kl, quadrature.wasserstein):
        with pytest.raises(DataError, match="does not settle"):
            measure(cauchy, gaussian, (-5, 5))


def test_narrow_peaks_are_found_or_missed_aloud() -> None:
    wide = normal(0, 3)
    found = measured("jensen_shannon", on_a_line([0.5, 0.5], [-10, 10], [1e-3, 1e-3]), wide)
    assert 0.69 < found < math.log(2)
    spikes = on_a_line([0.5, 0.5], [-10, 10], [1e-6, 1e-6])
    with pytest.raises(DataError, match=r"p integrates to .*, not to 1"):
        measured("jensen_shannon", spikes, wide)


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (lambda x: -x.square(), "p integrates to 1.77245385 and q to 1"),
        (lambda x: x * math.nan, "NaN"),
        (lambda x: torch.zeros(1), "of the same shape, got \\(1,\\)"),
    ],
)
def test_what_is_no_log_density(p: LogDensity, message: str) -> None:
    with pytest.raises(DataError, match=message):
        quadrature.kl(p, normal(0, 1).log_density, (-8, 8))


@pytest.mark.parametrize("between", [(1.0, 1.0), (2.0, 1.0), (-math.inf, 1.0), (0.0, math.nan)])
def test_between_is_two_numbers_in_order(between: Between) -> None:
    with pytest.raises(OptionError, match="between: got"):
        quadrature.kl(P.log_density, Q.log_density, between)


def test_other_mistakes() -> None:
    with pytest.raises(OptionError, match="Did you mean 'kl'"):
        quadrature.f_divergence(P.log_density, Q.log_density, around(P, Q), "kll")
    with pytest.raises(OptionError, match="order: got 0"):
        measured("wasserstein", P, Q, order=0)


def test_between_need_not_be_good() -> None:
    """It moves points about, and cuts nothing off."""
    expected = measured("jensen_shannon", P, Q)
    for between in ((-1.0, 1.0), (-100.0, 50.0), (3.0, 5.0)):
        assert quadrature.jensen_shannon(P.log_density, Q.log_density, between) == pytest.approx(expected, abs=1e-9)


def test_many_integrals_at_once() -> None:
    """E 1, E x^2 and E |x - 1/3| of a normal x."""
    found = integrals(
        lambda grid: (
            normal(0, 1).density(grid.x.flatten()).reshape(grid.x.shape)
            * torch.stack([torch.ones_like(grid.x), grid.x.square(), (grid.x - 1 / 3).abs()])
        ),
        (-8, 8),
    )
    folded = math.sqrt(2 / math.pi) * math.exp(-1 / 18) + math.erf(1 / 3 / math.sqrt(2)) / 3
    assert found.tolist() == pytest.approx([1, 1, folded], abs=1e-10)
