"""Divergences side by side: properties that are known, slopes by other formulas, and fits that no grid point betters."""

from __future__ import annotations

from dataclasses import replace
from math import erf, exp, inf, log, pi, sqrt

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats  # type: ignore[import-untyped]

from elegan.errors import OptionError
from elegan.theory import compare as module
from elegan.theory import covering, measures
from elegan.theory.compare import compare, rarities
from elegan.theory.covering import Fit, fit, said_of, starts, two_peaks
from elegan.theory.measures import FAR, MEASURES, SAMPLES, Measure, Study, slope, study

BY_NAME = {measure.name: measure for measure in MEASURES}


@pytest.fixture(scope="module")
def studies() -> dict[str, Study]:
    return {measure.name: study(measure) for measure in MEASURES}


@pytest.mark.parametrize(
    ("name", "symmetric", "metric", "largest", "disjoint", "needs"),
    [
        ("KL(P||Q)", False, "no", inf, (inf, inf), "densities"),
        ("KL(Q||P)", False, "no", inf, (inf, inf), "densities"),
        ("Jensen-Shannon", True, "its root", log(2), (log(2), log(2)), "densities"),
        ("total variation", True, "itself", 1, (1, 1), "densities"),
        ("squared Hellinger", True, "its root", 1, (1, 1), "densities"),
        ("Pearson chi-square", False, "no", inf, (inf, inf), "densities"),
        ("Neyman chi-square", False, "no", inf, (inf, inf), "densities"),
        ("Wasserstein-1", True, "itself", inf, (2, 4), "samples"),
        ("Wasserstein-2", True, "itself", inf, (2, 4), "samples"),
        ("energy distance", True, "its root", inf, (4, 8), "samples"),
        ("squared MMD", True, "its root", 2, (2 - 2 * exp(-2), 2 - 2 * exp(-8)), "samples"),
    ],
)
def test_properties_that_are_known(
    studies: dict[str, Study], name: str, symmetric: bool, metric: str, largest: float, disjoint: tuple[float, float], needs: str
) -> None:
    found = studies[name]
    assert (found.symmetric, found.metric, found.needs) == (symmetric, metric, needs)
    assert found.least == pytest.approx(0, abs=1e-12)
    assert (found.largest, *found.disjoint) == pytest.approx((largest, *disjoint), abs=1e-12)
    assert found.tells_how_far == (disjoint[0] < disjoint[1])


def test_all_divergences_are_there(studies: dict[str, Study]) -> None:
    assert len(studies) == 11


def test_the_search_sees_what_is_no_metric() -> None:
    """(E|x - y|)^2 of the means breaks the triangle inequality; its root does not."""
    squared = Measure("", lambda p, q, x: float((p - q) @ x.double()) ** 2, lambda apart: apart**2, "")
    assert (study(squared).metric, study(squared).symmetric) == ("its root", True)
    cubed = replace(squared, exact=lambda p, q, x: abs(float((p - q) @ x.double())) ** 3)
    assert study(cubed).metric == "no"


def test_two_samples_of_one_distribution_as_another_library_has_them(studies: dict[str, Study]) -> None:
    drawn = np.random.default_rng([0, 1]).standard_normal(2 * SAMPLES)
    x, y = drawn[:SAMPLES], drawn[SAMPLES:]
    assert studies["Wasserstein-1"].of_one == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-9)
    assert studies["energy distance"].of_one == pytest.approx(stats.energy_distance(x, y) ** 2, rel=1e-6)
    assert studies["Wasserstein-2"].of_one == pytest.approx(sqrt(np.mean((np.sort(x) - np.sort(y)) ** 2)), rel=1e-9)
    kernel = [[np.exp(-(np.subtract.outer(a, b) ** 2) / 2).mean() for b in (x, y)] for a in (x, y)]
    assert studies["squared MMD"].of_one == pytest.approx(kernel[0][0] + kernel[1][1] - 2 * kernel[0][1], rel=1e-9)


@pytest.mark.parametrize("apart", [1.0, 3.0, FAR])
def test_slopes_of_parting_gaussians_by_their_derivatives(apart: float) -> None:
    expected = {
        "KL(P||Q)": apart,
        "KL(Q||P)": apart,
        "total variation": exp(-(apart**2) / 8) / sqrt(2 * pi),
        "squared Hellinger": apart / 4 * exp(-(apart**2) / 8),
        "Pearson chi-square": 2 * apart * exp(apart**2),
        "Neyman chi-square": 2 * apart * exp(apart**2),
        "Wasserstein-1": 1.0,
        "Wasserstein-2": 1.0,
        "energy distance": 2 * erf(apart / 2),
        "squared MMD": 2 / sqrt(3) * apart / 3 * exp(-(apart**2) / 6),
    }
    for name, value in expected.items():
        assert slope(BY_NAME[name], apart) == pytest.approx(value, rel=1e-4), name


def test_the_slope_of_jensen_shannon() -> None:
    """Half the integral of q' log(q / m), on a grid: the other terms of the derivative are that of the integral of q, which is 0."""
    x = np.linspace(-12, 22, 200_001)
    for apart in (1.0, 3.0, 5.0, FAR):
        p, q = stats.norm.pdf(x), stats.norm.pdf(x, apart)
        expected = np.trapezoid((x - apart) * q * np.log(2 * q / (p + q)), x) / 2
        assert slope(BY_NAME["Jensen-Shannon"], apart) == pytest.approx(expected, rel=1e-4)
    assert slope(BY_NAME["Jensen-Shannon"], FAR) == pytest.approx(0.000196, abs=1e-6)


def test_where_q_is_small() -> None:
    assert rarities(0.1) == pytest.approx((0.510826, 0.368064, 0.101749, 0.4, 0.4), abs=1e-6)
    assert rarities(0) == pytest.approx((inf, log(2), log(4 / 3) * 0.75, 0.5, 0.5), abs=1e-9)
    for e in (1e-3, 1e-8):
        assert rarities(e)[0] == pytest.approx(-log(2) - log(e * (1 - e)) / 2, rel=1e-9)


def test_the_least_forward_kl_has_the_moments() -> None:
    found = fit("KL(p||q)", two_peaks(0.3, 4), 1.0, 1.0)
    assert (found.mean, found.std) == pytest.approx((0.8, sqrt(0.36 + 0.21 * 16)), abs=1e-4)


def on_a_grid(name: str, share: float, apart: float, mean: float, std: float) -> float:
    x = np.linspace(-10, 10, 1001)
    parts = [stats.norm.logpdf(x, place, 0.6) for place in (-apart / 2, apart / 2)]
    log_p, log_q = np.logaddexp(log(share) + parts[0], log(1 - share) + parts[1]), stats.norm.logpdf(x, mean, std)
    p, q, log_m = np.exp(log_p), np.exp(log_q), np.logaddexp(log_p, log_q) - log(2)
    values = {
        "KL(q||p)": q * (log_q - log_p),
        "Jensen-Shannon": (p * (log_p - log_m) + q * (log_q - log_m)) / 2,
        "Wasserstein-1": np.abs(np.cumsum(p - q) * 0.02),
    }
    return float(np.trapezoid(values[name], x))


@pytest.mark.parametrize("name", ["KL(q||p)", "Jensen-Shannon"])
def test_no_point_of_a_grid_betters_the_global_optimum(name: str) -> None:
    peaks = two_peaks(0.65, 4)
    best = min((fit(name, peaks, *start) for start in starts(peaks)), key=lambda one: one.value)
    assert best.value == pytest.approx(on_a_grid(name, 0.65, 4, best.mean, best.std), abs=1e-5)
    tried = [on_a_grid(name, 0.65, 4, mean, std) for mean in np.linspace(-3, 3, 13) for std in np.linspace(0.3, 3, 10)]
    assert best.value < min(tried)


def test_a_wasserstein_fit_is_no_worse_than_its_neighbours() -> None:
    peaks = two_peaks(0.65, 4)
    found = fit("Wasserstein-1", peaks, -0.6, 1.9)
    for mean, std in ((0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)):
        assert found.value < on_a_grid("Wasserstein-1", 0.65, 4, found.mean + mean, found.std + std) + 1e-4


def test_equal_peaks_have_two_best_fits_and_starts_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covering, "FITTED", {"KL(q||p)": covering.FITTED["KL(q||p)"]})
    found = covering.fitted(two_peaks(0.5, 4))
    assert [one.best for one in found] == [True, True, False]
    assert sorted(one.mean for one in found if one.best) == pytest.approx([-1.997, 1.997], abs=1e-3)
    monkeypatch.setattr(covering, "starts", lambda peaks: [(2.0, 0.6), (2.1, 0.5)])
    assert len(covering.fitted(two_peaks(0.5, 4))) == 1


def test_words_follow_from_where_a_fit_lies() -> None:
    peaks = two_peaks(0.65, 4)
    assert "covers both" in said_of(Fit("D", -0.6, 2.0, 0.5), peaks)
    assert "takes the peak at -2 " in said_of(Fit("D", -1.9, 0.6, 0.5), peaks)
    assert "takes the peak at 2 " in said_of(Fit("D", 1.9, 0.6, 0.5), peaks)
    assert "neither" in said_of(Fit("D", 0.0, 0.6, 0.5), peaks)


def test_the_mass_between_the_peaks() -> None:
    low, high = covering.valley(two_peaks(0.65, 4))
    assert (low, high) == pytest.approx((-0.8, 0.8))
    found = Fit("D", 0.3, 1.7, 0.0).between(two_peaks(0.65, 4))
    assert found == pytest.approx(stats.norm.cdf(high, 0.3, 1.7) - stats.norm.cdf(low, 0.3, 1.7), abs=1e-12)


def test_the_whole_and_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = [Fit("KL(p||q)", -0.6, 2.0, 0.55, True), Fit("KL(q||p)", -2.0, 0.6, 0.43, True), Fit("KL(q||p)", 2.0, 0.6, 1.05)]
    monkeypatch.setattr(module, "fitted", lambda peaks: fits)
    found = compare()
    assert [len(table.rows) for table in found.tables] == [11, 11, 9, 3]
    said = " ".join(found.said)
    assert "take Wasserstein-1, Wasserstein-2 or energy distance." in said
    assert "squared MMD tells distances of a few bandwidths" in said
    assert "Pearson chi-square and Neyman chi-square have slopes of 1e+29" in said
    assert said.count("seeks") == 1  # a local optimum is not said to be what the divergence does
    figure = Figure(layout="constrained")
    found.draw(figure)
    assert [len(axes.lines) for axes in figure.axes] == [2, 4, 4]
    assert "KL(p||q): covers" in [text.get_text() for text in figure.axes[0].get_legend().get_texts()]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wrong", "said"), [({"share": 0.0}, "--share"), ({"share": 1.0}, "--share"), ({"apart": 2.0}, "--apart"), ({"apart": 41.0}, "--apart")]
)
def test_options_out_of_range(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=f"{said}: got .*expected"):
        compare(**wrong)


def test_the_bandwidth_of_the_kernel_is_what_is_said() -> None:
    assert measures.BANDWIDTH == 1.0
    assert BY_NAME["squared MMD"].of_normals(2.0) == pytest.approx(2 / sqrt(3) * (1 - exp(-4 / 6)), abs=1e-9)
