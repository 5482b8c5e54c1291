from __future__ import annotations

from math import exp, inf, isnan, log, pi, sqrt

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from scipy.spatial.distance import jensenshannon  # type: ignore[import-untyped]
from torch import Tensor

from elegan.divergences.mixtures import GaussianMixture, alike, grid, ring
from elegan.errors import DataError, OptionError
from elegan.metrics.modes import (
    MIXTURES,
    ceiling,
    chi_square,
    labelled_coverage,
    mixture,
    quality,
    stacked_modes,
)

UNEVEN = np.array([0.5, 0.3, 0.15, 0.05])


def draws(shares: np.ndarray, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(shares), n, p=shares)


def test_coverage_by_hand() -> None:
    found = labelled_coverage(np.array([0, 0, 0, 1, 1, 1, 1, 3]), 4)
    expected_kl = 3 / 8 * log(3 / 2) + 4 / 8 * log(2) + 1 / 8 * log(1 / 2)
    assert (found.n, found.modes, found.total, found.smallest) == (8, 3, 4, 0)
    assert found.kl == pytest.approx(expected_kl, abs=1e-12)
    assert found.p_value == pytest.approx(stats.chisquare([3, 4, 0, 1]).pvalue, rel=1e-9)
    assert found.expected_modes == pytest.approx(4 * (1 - 0.75**8), abs=1e-12)
    assert found.floor == 3 / 16


def test_it_is_the_reverse_divergence() -> None:
    """A dropped class makes the other direction infinite; the reported one is finite and of the samples' shares."""
    found = labelled_coverage(np.array([0] * 5 + [1] * 5), 3)
    assert found.kl == pytest.approx(log(3 / 2), abs=1e-12)


def test_equal_shares_are_tested_as_by_scipy() -> None:
    counts = np.array([48, 33, 14, 5])
    assert chi_square(counts, UNEVEN) == pytest.approx(stats.chisquare(counts, 100 * UNEVEN).pvalue, rel=1e-9)
    assert chi_square(np.array([100, 0]), np.array([1.0, 0.0])) == 1
    assert chi_square(np.array([100, 1]), np.array([1.0, 0.0])) == 0


def test_p_values_of_a_perfect_sampler_are_even() -> None:
    """300 draws: below 0.1 lie 30, and between 13 and 50 but in one of 1,000 cases."""
    p_values = [labelled_coverage(draws(UNEVEN, 400, seed), 4, UNEVEN).p_value for seed in range(300)]
    assert 13 < sum(p < 0.1 for p in p_values) < 50
    assert labelled_coverage(draws(UNEVEN, 400, 0), 4).p_value < 1e-6


@pytest.mark.parametrize("reference", [None, UNEVEN, UNEVEN * 60_000])
def test_the_floor_and_the_expected_modes_are_those_of_a_perfect_sampler(reference: np.ndarray | None) -> None:
    shares = np.full(4, 1 / 4) if reference is None else UNEVEN
    found = [labelled_coverage(draws(shares, 300, seed), 4, reference) for seed in range(400)]
    kl = np.array([one.kl for one in found])
    assert abs(kl.mean() - found[0].floor) < 4 * kl.std() / 20 + 2e-4  # the next term is of order 1 / n^2
    few = [labelled_coverage(draws(shares, 6, seed), 4, reference) for seed in range(400)]
    modes = np.array([one.modes for one in few])
    assert abs(modes.mean() - few[0].expected_modes) < 4 * modes.std() / 20


def test_classes_that_the_reference_lacks() -> None:
    found = labelled_coverage(np.array([0, 1, 2]), 3, np.array([5.0, 5.0, 0.0]))
    assert (found.kl, found.p_value, found.modes, found.total) == (inf, 0, 2, 2)
    assert labelled_coverage(np.array([0, 1]), 3, np.array([5.0, 5.0, 0.0])).kl == 0


def test_one_class_and_one_sample() -> None:
    found = labelled_coverage(np.array([0]), 1)
    assert (found.modes, found.kl, found.p_value, found.expected_modes, found.floor) == (1, 0, 1, 1, 0)


def test_tensors_and_small_numbers_will_do() -> None:
    found = np.array([0, 1, 1, 2])
    assert labelled_coverage(torch.from_numpy(found), 3) == labelled_coverage(found.astype(np.uint8), 3) == labelled_coverage(found, 3)  # type: ignore[arg-type]


def test_coverage_is_printed_beside_what_can_be_reached() -> None:
    said = str(labelled_coverage(draws(np.full(1000, 1 / 1000), 26_000, 0), 1000))
    assert "1000 of 1000 modes (a perfect sampler: 1000.0)" in said
    assert "(a perfect sampler: 0.0192)" in said
    assert "n = 26,000" in said


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([], "n from 1"),
        ([[1]], r"shape \(1, 1\)"),
        ([0.0, 1.0], "float64"),
        ([0, 3], "3 classes, from 0 to 2; got numbers from 0 to 3"),
        ([-1, 0], "from -1 to 0"),
    ],
)
def test_classes_that_are_none_are_refused(found: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        labelled_coverage(np.array(found), 3)


@pytest.mark.parametrize("reference", [[1, 1], [0, 0, 0], [1, -1, 1], [1, np.nan, 1], [[1, 1, 1]]])
def test_references_that_are_no_shares_are_refused(reference: list[float]) -> None:
    with pytest.raises(DataError, match="for each of 3 classes"):
        labelled_coverage(np.array([0]), 3, np.array(reference))


def test_stacked_digits_are_a_thousand_modes() -> None:
    every = np.stack(np.meshgrid(*[np.arange(10)] * 3, indexing="ij"), -1).reshape(-1, 3)
    assert stacked_modes(every).tolist() == list(range(1000))
    assert stacked_modes(np.array([[1, 2, 3], [0, 0, 9]])).tolist() == [123, 9]
    found = labelled_coverage(stacked_modes(every[:640]), 1000)
    assert found.modes == 640
    assert found.kl == pytest.approx(log(1000 / 640))


def test_what_is_no_stack_of_digits_is_refused() -> None:
    with pytest.raises(DataError, match=r"\(n, 3\), one of each channel, got \(3,\)"):
        stacked_modes(np.array([1, 2, 3]))
    with pytest.raises(DataError, match="10 classes, from 0 to 9"):
        stacked_modes(np.array([[1, 2, 10]]))


def test_a_ring_has_as_many_different_modes_as_it_says() -> None:
    """With both ends of the circle two of eight modes would be one."""
    means = ring(8, radius=2.0).means
    torch.testing.assert_close(means.norm(dim=1), torch.full((8,), 2.0, dtype=torch.float64))
    assert torch.pdist(means).min() == pytest.approx(2 * 2 * np.sin(pi / 8))


def test_a_grid_is_centred() -> None:
    assert {tuple(mean) for mean in grid().means.tolist()} == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert grid(2, 3.0).means.tolist() == [[-1.5, -1.5], [-1.5, 1.5], [1.5, -1.5], [1.5, 1.5]]


def test_published_mixtures() -> None:
    """Modes, the smallest distance between two, and the standard deviation."""
    found = {
        name: (len(one.means), torch.pdist(one.means).min().item(), one.covariances[0, 1, 1].sqrt().item())
        for name, one in MIXTURES.items()
    }
    chord = 2 * np.sin(pi / 8)
    assert found["pacgan_ring"] == pytest.approx((8, chord, 0.01))
    assert found["pacgan_grid"] == pytest.approx((25, 2, 0.05))
    assert found["unrolled_ring"] == pytest.approx((8, 2 * chord, 0.02))
    assert found["wgan_gp_ring"] == pytest.approx((8, 2 * chord / 1.414, 0.02 / 1.414))
    assert found["wgan_gp_grid"] == pytest.approx((25, 2 / 2.828, 0.05 / 2.828))
    assert mixture("pacgan_grid") is MIXTURES["pacgan_grid"]
    with pytest.raises(OptionError, match=r"got 'pacgan_rin'\. Did you mean 'pacgan_ring'\?"):
        mixture("pacgan_rin")


@pytest.mark.parametrize("name", MIXTURES)
def test_the_mixture_itself_reaches_ceiling_and_floor(name: str) -> None:
    """Within 4 standard errors of 40,000 draws."""
    chosen = mixture(name)
    found = quality(chosen.sample(40_000, seed=1), chosen)
    assert found.modes == found.total == len(chosen.means)
    assert found.ceiling == pytest.approx(1 - exp(-4.5), abs=1e-12)
    assert abs(found.high_quality - found.ceiling) < 4 * sqrt(found.ceiling * (1 - found.ceiling) / 40_000)
    assert found.kl is not None
    assert found.floor is not None
    assert found.floor == pytest.approx((found.total - 1) / (2 * 40_000 * found.ceiling), rel=0.01)
    assert abs(found.kl - found.floor) < 4 * sqrt((found.total - 1) / 2) / 40_000
    errors = (found.std_ratios - 1) * sqrt(4 * 40_000 / found.total)
    assert errors.abs().max() < 4.5


def test_the_ceiling_in_other_dimensions() -> None:
    for d in (1, 2, 5, 1200):
        assert ceiling(d) == pytest.approx(stats.chi2.cdf(9, d), abs=1e-12)
    found = alike(torch.zeros(1, 3, dtype=torch.float64), 1.0)
    assert quality(found.sample(20_000, 0), found).std_ratios.item() == pytest.approx(1, abs=0.02)


def test_distances_are_in_deviations_of_each_peak() -> None:
    """A long peak: 2.9 deviations along it are high quality, and the same distance across it is not."""
    long = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([[[4.0, 0.0], [0.0, 0.25]]]))
    found = quality(torch.tensor([[5.8, 0.0], [0.0, 5.8], [0.0, 1.4]]), long)
    assert found.high_quality == 2 / 3
    assert quality(long.sample(20_000, 0), long).std_ratios.item() == pytest.approx(1, abs=0.02)


def test_draws_depend_on_the_seed_and_their_number_alone() -> None:
    chosen = mixture("pacgan_grid")
    whole = chosen.sample(1000, seed=3)
    for n in (1, 17, 999):
        assert torch.equal(chosen.sample(n, seed=3), whole[:n])
    assert not torch.equal(chosen.sample(1000, seed=4), whole)
    assert (whole.shape, whole.dtype) == ((1000, 2), torch.float64)


def test_all_modes_are_equally_frequent() -> None:
    chosen = mixture("pacgan_grid")
    found = torch.cdist(chosen.sample(5000, seed=0).double(), chosen.means).argmin(1)
    assert labelled_coverage(found.numpy(), 25).p_value > 0.001


def test_quality_by_hand() -> None:
    """Two modes at -1 and 1 with deviation 0.1: four points of high quality, one on the limit, one between."""
    chosen = alike(torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64), 0.125)
    points = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [1.0, 0.25], [1.25, 0.0], [1.375, 0.0], [0.0, 0.0]])
    found = quality(points, chosen)
    assert (found.n, found.modes, found.total) == (6, 2, 2)
    assert found.high_quality == 4 / 6  # 3 deviations away is not within them
    assert found.kl == pytest.approx(1 / 4 * log(1 / 2) + 3 / 4 * log(3 / 2), abs=1e-12)
    assert found.jsd == pytest.approx(jensenshannon([1 / 4, 3 / 4], [1 / 2, 1 / 2]) ** 2, abs=1e-12)
    assert found.floor == 1 / 8
    assert isnan(found.std_ratios[0])
    within = 1 - 4.5 * exp(-4.5) / (1 - exp(-4.5))  # the variance that is left of a Gaussian in the plane, cut at 3 deviations
    assert found.std_ratios[1].item() == pytest.approx(sqrt(1 / 48) / (0.125 * sqrt(within)), rel=1e-9)


def spoiled(points: Tensor, kind: str, chosen: GaussianMixture) -> Tensor:
    modes = torch.cdist(points.double(), chosen.means).argmin(1)
    centres = chosen.means[modes]
    changed = {
        "drops three": points[modes > 2],
        "narrow": centres + 0.5 * (points - centres),
        "wide": centres + 2 * (points - centres),
        "uneven": points[(modes > 3) | (torch.arange(len(points)) % 10 == 0)],
        "elsewhere": points + 0.7,
    }
    return changed[kind]


def test_what_is_wrong_with_samples_shows() -> None:
    chosen = mixture("pacgan_ring")
    points = chosen.sample(4000, seed=2)
    found = {kind: quality(spoiled(points, kind, chosen), chosen) for kind in ("drops three", "narrow", "wide", "uneven", "elsewhere")}
    assert found["drops three"].modes == 5
    assert found["drops three"].kl == pytest.approx(log(8 / 5), abs=0.01)
    assert found["narrow"].high_quality == 1
    assert found["narrow"].std_ratios.max() < 0.56
    assert found["wide"].high_quality == pytest.approx(1 - exp(-4.5 / 4), abs=0.03)
    assert found["wide"].std_ratios.min() > 1.3
    uneven = np.array([0.1] * 4 + [1.0] * 4) / 4.4
    assert found["uneven"].kl == pytest.approx(stats.entropy(uneven, np.full(8, 1 / 8)), abs=0.03)
    lost = found["elsewhere"]
    assert (lost.modes, lost.high_quality, lost.kl, lost.jsd, lost.floor) == (0, 0, None, None, None)
    assert str(lost) == "0 of 8 modes, high quality 0.00% (the mixture itself: 98.89%), n = 4,000"


def test_quality_is_printed_beside_what_can_be_reached() -> None:
    chosen = mixture("pacgan_grid")
    said = str(quality(chosen.sample(2500, seed=0), chosen))
    assert said.startswith("25 of 25 modes, high quality 98.")
    assert "(the mixture itself: 98.89%), KL 0.00" in said
    assert "(the mixture itself: 0.0049)" in said
    assert said.endswith("n = 2,500")


def test_points_that_do_not_fit_are_refused() -> None:
    chosen = ring()
    for shape in ((0, 2), (4, 3), (4,)):
        with pytest.raises(DataError, match=r"points of the shape \(n, 2\), n from 1"):
            quality(torch.zeros(shape), chosen)
    with pytest.raises(DataError, match="1 of 4 points are not finite: the generator has diverged"):
        quality(torch.tensor([[0.0, 0], [0, torch.inf], [1, 0], [0, 1]]), chosen)
