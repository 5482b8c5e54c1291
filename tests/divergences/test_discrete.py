from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from scipy.spatial.distance import jensenshannon  # type: ignore[import-untyped]
from torch import Tensor

from elegan.divergences import discrete
from elegan.divergences.f_divergences import F_DIVERGENCES
from elegan.divergences.integrands import F_INTEGRANDS, f_integrand
from elegan.errors import DataError, OptionError


def shares(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawn(seed: int, k: int = 6) -> Tensor:
    return torch.rand(k, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.01


FAIR, BIASED = shares(0.5, 0.5), shares(0.9, 0.1)
ALL = {
    "kl": 0.510826,
    "reverse_kl": 0.368064,
    "jeffreys": 0.878890,
    "jensen_shannon": 0.101749,
    "jensen_shannon_distance": 0.318982,
    "total_variation": 0.4,
    "squared_hellinger": 0.105573,
    "bhattacharyya": 0.111572,
    "pearson": 1.777778,
    "neyman": 0.64,
}
"""A fair coin against one of 0.9."""

SYMMETRIC = ["jeffreys", "jensen_shannon", "jensen_shannon_distance", "total_variation", "squared_hellinger", "bhattacharyya"]


def value(name: str, p: Tensor, q: Tensor) -> float:
    return float(getattr(discrete, name)(p, q))


@pytest.mark.parametrize("name", ALL)
def test_a_fair_coin_against_a_biased_one(name: str) -> None:
    assert value(name, FAIR, BIASED) == pytest.approx(ALL[name], abs=1e-6)


def test_the_coins_by_other_measures() -> None:
    assert discrete.bits(discrete.jensen_shannon(FAIR, BIASED)) == pytest.approx(0.146793, abs=1e-6)
    assert discrete.wasserstein(FAIR, BIASED, torch.tensor([0, 1])) == pytest.approx(0.4, abs=1e-15)
    assert discrete.wasserstein(FAIR, BIASED, torch.tensor([0, 3]), order=2) == pytest.approx(math.sqrt(0.4 * 9), abs=1e-12)
    assert discrete.energy_distance(FAIR, BIASED, torch.tensor([0, 1])) == pytest.approx(2 * 0.4**2, abs=1e-12)
    expected = 0.4**2 * (2 - 2 * math.exp(-1 / (2 * 0.5**2)))
    assert discrete.mmd_squared(FAIR, BIASED, torch.tensor([0, 1]), 0.5) == pytest.approx(expected, abs=1e-12)


def test_the_f_divergences_are_those_of_the_table() -> None:
    """q f(p/q) summed, for every row; the coins' own values are tested with the table."""
    p, q = drawn(0), drawn(1)
    p, q = p / p.sum(), q / q.sum()
    assert F_INTEGRANDS.keys() == F_DIVERGENCES.keys()
    for name, row in F_DIVERGENCES.items():
        assert discrete.f_divergence(p, q, name) == pytest.approx(float((q * row.f(p / q)).sum()), abs=1e-12), name


def test_the_game_of_a_perfect_discriminator() -> None:
    """V = 2 JSD - ln 4, and E log D + E log(1 - D) at D = p / (p + q)."""
    p, q = drawn(0) / drawn(0).sum(), drawn(1) / drawn(1).sum()
    optimal = p / (p + q)
    game = float(p @ optimal.log() + q @ (1 - optimal).log())
    assert discrete.f_divergence(p, q, "gan") == pytest.approx(game, abs=1e-12)
    assert 2 * discrete.jensen_shannon(p, q) - math.log(4) == pytest.approx(game, abs=1e-12)


def test_what_other_games_reach() -> None:
    """The best hinge discriminator sign(p - q) pays 2 (1 - TV), the best of least squares to 1 and -1 makes a chi-square.

    The generator that wants 0 of (p - q) / (p + q) pays half the sum of (p - q)^2 / (p + q), Neyman's of (p + q) / 2 against q
    (Mao et al., 2017, equation 10, which calls it Pearson's).
    """
    p, q = drawn(0) / drawn(0).sum(), drawn(1) / drawn(1).sum()
    sign, ratio = (p - q).sign(), (p - q) / (p + q)
    hinge = float(p @ (1 - sign).relu() + q @ (1 + sign).relu())
    assert hinge == pytest.approx(2 * (1 - discrete.total_variation(p, q)), abs=1e-12)
    squares = float(p @ ratio.square() + q @ ratio.square())
    assert squares == pytest.approx(2 * discrete.neyman((p + q) / 2, q), abs=1e-12)


def test_other_libraries_agree() -> None:
    p, q = drawn(2, 40), drawn(3, 40)
    assert discrete.kl(p, q) == pytest.approx(stats.entropy(p, q), abs=1e-12)
    assert discrete.reverse_kl(p, q) == pytest.approx(stats.entropy(q, p), abs=1e-12)
    assert discrete.jensen_shannon_distance(p, q) == pytest.approx(jensenshannon(p, q), abs=1e-12)
    positions = 3 * drawn(4, 40)
    assert discrete.wasserstein(p, q, positions) == pytest.approx(stats.wasserstein_distance(positions, positions, p, q), abs=1e-12)
    energy = stats.energy_distance(positions, positions, p, q) ** 2
    assert discrete.energy_distance(p, q, positions) == pytest.approx(energy, abs=1e-12)


def test_points_in_the_plane_take_a_linear_program() -> None:
    p, q = drawn(2, 12), drawn(3, 12)
    places = torch.randn(12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    expected = stats.wasserstein_distance_nd(places.numpy(), places.numpy(), p.numpy(), q.numpy())
    assert discrete.wasserstein(p, q, places) == pytest.approx(expected, abs=1e-9)
    upright = torch.stack([torch.zeros(12, dtype=torch.float64), places[:, 0]], 1)
    assert discrete.wasserstein(p, q, upright, order=2) == pytest.approx(discrete.wasserstein(p, q, places[:, 0], order=2), abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_inequalities(seed: int) -> None:
    p, q = drawn(seed), drawn(seed + 100)
    tv, hellinger, kl = discrete.total_variation(p, q), discrete.squared_hellinger(p, q), discrete.kl(p, q)
    assert tv <= math.sqrt(kl / 2)  # Pinsker
    assert tv <= math.sqrt(1 - math.exp(-kl))  # Bretagnolle and Huber
    assert hellinger <= tv <= math.sqrt(2 * hellinger)
    assert 2 * hellinger <= kl <= math.log1p(discrete.pearson(p, q))
    assert 0 < discrete.jensen_shannon(p, q) < math.log(2) * tv


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_ones(name: str) -> None:
    p, q = drawn(0), drawn(1)
    assert value(name, p, q) == pytest.approx(value(name, q, p), abs=1e-15)


def test_the_jensen_shannon_distance_obeys_the_triangle_inequality() -> None:
    """So does total variation; the divergence itself does not."""
    places = [shares(1 - x, x) for x in (0.0, 0.3, 1.0)]
    for measure in (discrete.jensen_shannon_distance, discrete.total_variation):
        assert measure(places[0], places[2]) <= measure(places[0], places[1]) + measure(places[1], places[2]) + 1e-15
    apart = [discrete.jensen_shannon(places[i], places[j]) for i, j in ((0, 2), (0, 1), (1, 2))]
    assert apart[0] > apart[1] + apart[2]


@pytest.mark.parametrize("name", ALL)
def test_equal_distributions(name: str) -> None:
    for p in (drawn(0, 100), shares(0, 0, 1), torch.full((7,), 1 / 7)):
        assert value(name, p, p) == pytest.approx(0, abs=1e-15)
        assert value(name, p, 3 * p) == pytest.approx(0, abs=1e-7)


DISJOINT = {"total_variation": 1.0, "squared_hellinger": 1.0, "jensen_shannon": math.log(2), "jensen_shannon_distance": math.log(2) ** 0.5}


@pytest.mark.parametrize("name", ALL)
def test_nothing_in_common(name: str) -> None:
    expected = DISJOINT.get(name, math.inf)
    assert value(name, shares(0.5, 0.5, 0, 0), shares(0, 0, 0.3, 0.7)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "q_lacks_one", "p_lacks_one"),
    [
        ("kl", math.inf, math.log(2)),
        ("reverse_kl", math.log(2), math.inf),
        ("jeffreys", math.inf, math.inf),
        ("pearson", math.inf, 1.0),
        ("neyman", 1.0, math.inf),
        ("total_variation", 0.5, 0.5),
        ("squared_hellinger", 1 - math.sqrt(0.5), 1 - math.sqrt(0.5)),
        ("bhattacharyya", math.log(2) / 2, math.log(2) / 2),
        ("jensen_shannon", 0.75 * math.log(4 / 3), 0.75 * math.log(4 / 3)),
    ],
)
def test_a_probability_of_zero(name: str, q_lacks_one: float, p_lacks_one: float) -> None:
    """(1/2, 1/2) and (1, 0), by hand; an outcome that neither has changes nothing."""
    both, one = shares(0.5, 0.5, 0), shares(1, 0, 0)
    assert value(name, both, one) == pytest.approx(q_lacks_one, abs=1e-15)
    assert value(name, one, both) == pytest.approx(p_lacks_one, abs=1e-15)


@pytest.mark.parametrize("name", F_INTEGRANDS)
def test_zeros_are_the_limits_of_small_numbers(name: str) -> None:
    for p, q in product((shares(0, 1), shares(0.4, 0.6)), (shares(0, 1), shares(0.2, 0.8))):
        found = discrete.f_divergence(p, q, name)
        near = discrete.f_divergence(p.clamp(min=1e-200), q.clamp(min=1e-200), name)
        assert near > 50 if found == math.inf else near == pytest.approx(found, abs=1e-12)


def test_probabilities_below_what_a_ratio_can_hold() -> None:
    """p / q is above float64 here; KL is not."""
    tiny = shares(1e-320, 1.0)
    assert discrete.kl(shares(0.5, 0.5), tiny) == pytest.approx(0.5 * (math.log(0.5) - math.log(1e-320)) + 0.5 * math.log(0.5), rel=1e-6)
    assert discrete.pearson(shares(1e-170, 1), shares(1e-300, 1)) == pytest.approx(1e-40, rel=1e-9)


def test_counts_of_any_type_are_divided_by_their_sums() -> None:
    for counts in (torch.tensor([5, 5]), torch.tensor([1e308, 1e308], dtype=torch.float64), torch.tensor([True, True]), FAIR.half()):
        assert discrete.kl(counts, torch.tensor([9, 1])) == pytest.approx(ALL["kl"], abs=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        shares(),
        shares(0, 0),
        shares(0.5, -0.5),
        shares(math.nan, 1),
        shares(math.inf, 1),
        torch.ones(2, 2),
        torch.ones(2, dtype=torch.cfloat),
    ],
)
def test_what_is_no_distribution(wrong: Tensor) -> None:
    for name in ALL:
        with pytest.raises(DataError, match="probabilities or counts"):
            value(name, wrong, FAIR)
        with pytest.raises(DataError, match="probabilities or counts"):
            value(name, FAIR, wrong)


def test_what_does_not_fit() -> None:
    with pytest.raises(DataError, match="p has 2 outcomes and q has 3"):
        discrete.jensen_shannon(FAIR, shares(1, 1, 1))
    with pytest.raises(DataError, match="got 3 for 2 outcomes"):
        discrete.wasserstein(FAIR, BIASED, torch.arange(3))
    with pytest.raises(DataError, match="NaN or infinity"):
        discrete.energy_distance(FAIR, BIASED, shares(0, math.nan))
    with pytest.raises(OptionError, match=r"order: got 0\.5"):
        discrete.wasserstein(FAIR, BIASED, torch.arange(2), order=0.5)
    with pytest.raises(OptionError, match="bandwidth: got 0"):
        discrete.mmd_squared(FAIR, BIASED, torch.arange(2), 0)
    with pytest.raises(OptionError, match="Did you mean 'neyman'"):
        f_integrand("neymann")


def test_transport_on_a_line_by_hand() -> None:
    """All of 0 goes to 3 and 1, in that order: half goes 1, half goes 3."""
    p, q, positions = shares(0, 1, 0), shares(1, 0, 1), torch.tensor([3.0, 0.0, 1.0])
    assert discrete.wasserstein(p, q, positions) == pytest.approx(2, abs=1e-15)
    assert discrete.wasserstein(p, q, positions, order=2) == pytest.approx(math.sqrt(5), abs=1e-15)
    assert discrete.wasserstein(p, p, positions) == 0
    distance = [discrete.wasserstein(shares(1, 0), shares(0, 1), shares(0, apart)) for apart in (1, 2, 100)]
    np.testing.assert_allclose(distance, [1, 2, 100], rtol=1e-15)
