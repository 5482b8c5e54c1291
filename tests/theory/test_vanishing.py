"""The vanishing gradient, against closed forms, another library's quadrature, and differences of values."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, log, pi, sqrt

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm
from torch import Tensor

from elegan.divergences.f_divergences import F_DIVERGENCES
from elegan.errors import OptionError
from elegan.losses.objectives import OBJECTIVES
from elegan.theory import vanishing as part
from elegan.theory.demonstration import Demonstration


@pytest.fixture(scope="module")
def found() -> Demonstration:
    return part.vanishing()


def mean(function: Callable[[float], float], at: float, std: float = 1.0) -> float:
    """E function(x), x ~ N(at, std^2), by scipy."""
    return float(quad(lambda x: function(x) * norm.pdf(x, at, std), at - 12 * std, at + 12 * std, epsabs=1e-13, limit=400)[0])


@pytest.mark.parametrize(("s", "expected"), [(1, 0.1990), (3, 0.1479), (5, 0.0237), (8, 0.000196)])
def test_the_slope_of_jensen_shannon_vanishes_as_published(s: float, expected: float) -> None:
    assert part.slope("JSD", s, 1.0) == pytest.approx(expected, abs=10.0 ** -(len(str(expected)) - 2) / 2)


def test_values_and_slopes_of_the_table(found: Demonstration) -> None:
    rows = {row[0]: row for row in found.tables[0].rows}
    assert rows[0.0] == (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, pytest.approx(1))
    assert rows[1.0][1] == pytest.approx(0.111421, abs=1e-6)
    assert rows[2.0][1] == pytest.approx(0.336831, abs=1e-6)
    assert rows[10.0][1] == pytest.approx(log(2), abs=1e-6)
    for s, row in rows.items():
        assert row[3:] == (pytest.approx(s**2 / 2, abs=1e-8), pytest.approx(s, abs=1e-9), pytest.approx(s, abs=1e-8), pytest.approx(1))


@pytest.mark.parametrize("name", part.DIVERGENCES)
@pytest.mark.parametrize(("s", "std"), [(0.5, 1.0), (3.0, 1.0), (4.0, 2.0), (2.0, 0.7)])
def test_slopes_are_those_of_the_values(name: str, s: float, std: float) -> None:
    step = 1e-3
    difference = (part.divergence(name, s + step, std) - part.divergence(name, s - step, std)) / (2 * step)
    assert part.slope(name, s, std) == pytest.approx(difference, abs=2e-6)


def test_a_slope_far_out_has_all_its_digits() -> None:
    """1.4e-12 of the largest one, found by mpmath with 30 digits: -integral of q (x - s) / std^2 log(1 + p/q) / 2."""
    assert part.slope("JSD", 10.0, 0.7) == pytest.approx(7.29380581167308889951848307542e-12, rel=1e-6)
    assert part.slope("JSD", 10.0, 1.0) == pytest.approx(2.23205010723035342002634734262e-6, rel=1e-9)


def test_what_is_below_rounding_is_called_0() -> None:
    assert part.slope("JSD", 0.0, 1.0) == 0
    assert part.slope_of_mean(lambda x: torch.ones_like(x), 3.0, 1.0) == 0


def test_point_masses(found: Demonstration) -> None:
    assert found.tables[1].rows[0] == (0.0, 0.0, 0.0, 0.0, 0.0)
    for row in found.tables[1].rows[1:]:
        assert row == (row[0], pytest.approx(log(2)), inf, pytest.approx(1), pytest.approx(row[0]))


def sigmoid(x: float) -> float:
    return float(expit(x))


SLOPES: dict[str, Callable[[float], float]] = {
    "minimax": lambda v: -sigmoid(v),
    "non_saturating": lambda v: -sigmoid(-v),
    "wasserstein": lambda v: -1,
    "least_squares": lambda v: v - 1,
    "hinge": lambda v: -1,
    "relativistic_paired": lambda v: -sigmoid(-2 * v),
    "relativistic_average": lambda v: -2 * sigmoid(-2 * v),
    "f_kl": lambda v: -1,
    "f_reverse_kl": lambda v: -exp(-v),
    "f_pearson": lambda v: -1,
    "f_hellinger": lambda v: -exp(-v),
    "f_jensen_shannon": lambda v: -sigmoid(-v),
    "f_total_variation": lambda v: -(1 - np.tanh(v) ** 2) / 2,
}
"""Of each generator's loss in the logit of a generated sample, by hand; a real sample has minus that logit."""


def test_slopes_in_the_logit_are_those_by_hand(found: Demonstration) -> None:
    rows = {str(row[0]): row[1:] for row in found.tables[2].rows}
    assert rows.keys() == SLOPES.keys() == OBJECTIVES.keys()
    for name, slopes in rows.items():
        assert slopes == pytest.approx([SLOPES[name](v) for v in part.LOGITS], rel=1e-9), name
    assert rows["minimax"][0] == pytest.approx(-4.5e-5, abs=5e-7)
    assert rows["non_saturating"][0] == pytest.approx(-0.99995, abs=5e-6)


def density(x: float) -> float:
    return exp(-(x**2) / 2) / sqrt(2 * pi)


FELT: dict[str, Callable[[float], float]] = {
    # log p/q = s (s/2 - x), so its slope in x is -s
    "minimax": lambda s: s * mean(lambda x: sigmoid(s * (s / 2 - x)), s),
    "non_saturating": lambda s: s * mean(lambda x: sigmoid(-s * (s / 2 - x)), s),
    "wasserstein": lambda s: 1,
    "least_squares": lambda s: s * mean(lambda x: sigmoid(s * (s / 2 - x)) * sigmoid(-s * (s / 2 - x)) ** 2, s),
    "hinge": lambda s: 2 * density(s / 2),  # the score jumps by 2 at s / 2
    "relativistic_paired": lambda s: s * mean(lambda apart: sigmoid(s * apart), s, sqrt(2)),
    "f_kl": lambda s: s,
    "f_reverse_kl": lambda s: s * exp(s**2),
    "f_pearson": lambda s: 2 * s,
    "f_hellinger": lambda s: s / 2 * exp(3 * s**2 / 8),
    "f_jensen_shannon": lambda s: s * mean(lambda x: sigmoid(-s * (s / 2 - x)), s),
    "f_total_variation": lambda s: density(s / 2),
}
"""The slope in s at the best discriminator, by hand or by scipy."""


@pytest.mark.parametrize("name", FELT)
def test_what_is_felt_at_the_best_discriminator(name: str, found: Demonstration) -> None:
    (row,) = [row[1:] for row in found.tables[3].rows if row[0] == name]
    assert row == pytest.approx([FELT[name](s) for s in part.APART[1:]], rel=1e-8, abs=1e-11)


def test_only_one_objective_is_left_out(found: Demonstration) -> None:
    assert {str(row[0]) for row in found.tables[3].rows if None in row} == {part.UNBOUNDED} == OBJECTIVES.keys() - FELT.keys()


@pytest.mark.parametrize("name", [name for name in FELT if name != "wasserstein"])
def test_only_the_distance_in_standard_deviations_matters(name: str) -> None:
    found, alone = part.felt(name, 4.0, 2.0), part.felt(name, 2.0, 1.0)
    assert alone is not None
    assert found == pytest.approx(alone / 2, rel=1e-8)


def quantiles(at: float, count: int = 200) -> Tensor:
    return torch.from_numpy(norm.ppf((np.arange(count) + 0.5) / count, at))


@pytest.mark.parametrize("name", ["minimax", "least_squares", "hinge", "relativistic_paired", "f_kl", "f_pearson", "f_hellinger"])
def test_the_best_discriminator_is_the_best(name: str) -> None:
    """Bent a little along several functions, up or down, it has a larger loss; and so has one that is twice as steep."""
    s = 1.0
    real, fake = (points.flatten() for points in torch.meshgrid(quantiles(0.0), quantiles(s), indexing="ij"))

    def best(x: Tensor) -> Tensor:
        ratio = part.log_ratio(x, s, 1.0)
        of_f = {"f_kl": 1 + ratio, "f_pearson": 2 * ratio.expm1(), "f_hellinger": ratio / 2}  # g(v) = f'(p/q)
        return {"least_squares": ratio.sigmoid(), "hinge": ratio.sign(), **of_f}.get(name, ratio)

    def loss(score: Callable[[Tensor], Tensor]) -> float:
        return float(OBJECTIVES[name].discriminator(score(real), score(fake)))

    least = loss(best)
    for bend in (torch.ones_like, torch.tanh, torch.sin):
        for size in (-0.2, 0.2):
            assert loss(lambda x, bend=bend, size=size: best(x) + size * bend(x)) > least - 1e-9
    assert loss(lambda x: 2 * best(x)) > least + 1e-3
    if name.startswith("f_"):  # the generator's loss there is -T
        x = quantiles(s)
        expected = -F_DIVERGENCES[name.removeprefix("f_")].optimal(part.log_ratio(x, s, 1.0).exp())
        np.testing.assert_allclose(part.each(name, best(x), best(x)), expected)
        np.testing.assert_allclose(part.losses_at_best(name, x, s, 1.0), expected)


def test_a_relativistic_average_has_no_best_discriminator() -> None:
    """Scores of M below -c and of -M above 1 + c, for P = N(0, 1) and Q = N(1, 1): the loss of averages falls to 0 with c."""

    def loss(c: float) -> float:
        often, rarely = norm.cdf(-c), norm.cdf(-c - 1)
        scores = np.array([1, 0, -1]) / sqrt(often * rarely)
        real = np.array([often, 1 - often - rarely, rarely])
        fake = real[::-1]
        return float(real @ np.logaddexp(0, fake @ scores - scores) + fake @ np.logaddexp(0, scores - real @ scores))

    losses = [loss(c) for c in (0.0, 2.0, 6.0, 12.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.02


def test_sentences_follow_from_the_numbers(found: Demonstration) -> None:
    said = " ".join(found.said)
    assert "less than 0.001 of the largest slope is left of: minimax, least_squares, hinge, f_total_variation." in said
    assert "non_saturating 10, wasserstein 1, relativistic_paired 10" in said
    assert "minimax feels exactly 2 dJSD/ds" in said
    assert "non_saturating feels exactly dKL(Q||P)/ds - 2 dJSD/ds" in said
    assert "minimax leaves a slope of -4.54e-05, non_saturating -0.99995. Below 0.001 in size: minimax, f_total_variation." in said
    wide = " ".join(part.vanishing(std=4.0).said)
    assert "is left of" not in wide
    assert "minimax 0.0" in wide


def test_theorems_are_only_said_where_they_hold(found: Demonstration) -> None:
    rows = {str(row[0]): part.numbers(row) for row in found.tables[3].rows}
    assert len(part.said_of_identities(found.tables[0], rows)) == 2
    assert part.said_of_identities(found.tables[0], {name: [1.001 * value for value in row] for name, row in rows.items()}) == []


@pytest.mark.parametrize("std", [0.0, -1.0, 0.69, 10.1, float("nan"), inf])
def test_other_standard_deviations_are_refused(std: float) -> None:
    with pytest.raises(OptionError, match="--std"):
        part.vanishing(std=std)


@pytest.mark.parametrize("std", [part.NARROWEST, part.WIDEST])
def test_the_ends_of_the_range_give_finite_numbers(std: float) -> None:
    values = [value for row in part.felt_table(std).rows for value in part.numbers(row)]
    assert np.isfinite(values).all()
    assert min(values) >= 0


def test_objectives_with_the_same_slopes_share_a_curve() -> None:
    groups = part.alike(torch.tensor([-3.0, 0.5, 2.0], dtype=torch.float64))
    assert "wasserstein, hinge, f_kl, f_pearson" in groups
    assert "non_saturating, f_jensen_shannon" in groups
    assert len(groups) == len(part.STYLES)


def test_the_figure_has_three_panels(found: Demonstration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "line", lambda low, high, count: np.linspace(low, high, 3))
    figure = Figure()
    found.draw(figure)
    assert [len(axes.get_lines()) for axes in figure.axes] == [4, 3, len(part.STYLES)]
    assert all(axes.get_title() and axes.get_xlabel() and axes.get_legend() for axes in figure.axes)
    assert figure.axes[1].get_lines()[0].get_ydata()[-1] == pytest.approx(2.232e-6, rel=1e-3)
