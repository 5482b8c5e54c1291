from __future__ import annotations

import math

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]

from elegan.divergences.mixtures import GaussianMixture, around, on_a_line
from elegan.errors import DataError

PEAKS = on_a_line([3, 7], [-2, 1.5], [0.3, 0.8])
PLANE = GaussianMixture(
    torch.tensor([0.25, 0.75]),
    torch.tensor([[0.0, 0.0], [3.0, -1.0]]),
    torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.8], [0.8, 0.5]]]),
)
EXACT = torch.float64


def test_density_and_distribution_function_on_a_line() -> None:
    x = torch.linspace(-5, 5, 41, dtype=EXACT)
    expected = 0.3 * stats.norm.pdf(x, -2, 0.3) + 0.7 * stats.norm.pdf(x, 1.5, 0.8)
    torch.testing.assert_close(PEAKS.density(x), torch.from_numpy(expected), rtol=1e-12, atol=0)
    torch.testing.assert_close(PEAKS.density(x.unsqueeze(1)), PEAKS.density(x))
    expected = 0.3 * stats.norm.cdf(x, -2, 0.3) + 0.7 * stats.norm.cdf(x, 1.5, 0.8)
    torch.testing.assert_close(PEAKS.cdf(x), torch.from_numpy(expected), rtol=1e-12, atol=1e-15)


def test_density_in_the_plane() -> None:
    x = torch.randn(30, 2, dtype=EXACT, generator=torch.Generator().manual_seed(0)) * 2
    parts = [stats.multivariate_normal(m.numpy(), c.numpy()).pdf(x) for m, c in zip(PLANE.means, PLANE.covariances, strict=True)]
    torch.testing.assert_close(PLANE.density(x), torch.from_numpy(0.25 * parts[0] + 0.75 * parts[1]), rtol=1e-12, atol=0)


def test_the_logarithm_reaches_far_beyond_the_density() -> None:
    x = torch.tensor([100.0], dtype=EXACT)
    assert PEAKS.density(x).item() == 0
    assert PEAKS.log_density(x).item() == pytest.approx(math.log(0.7) + stats.norm.logpdf(100, 1.5, 0.8), rel=1e-12)


def test_samples_have_the_moments_and_follow_from_the_seed() -> None:
    count = 20_000
    drawn = PLANE.sample(count, seed=1)
    assert drawn.shape == (count, 2)
    assert torch.equal(drawn, PLANE.sample(count, seed=1))
    assert not torch.equal(drawn, PLANE.sample(count, seed=2))
    mean = PLANE.weights @ PLANE.means
    apart = PLANE.means - mean
    covariance = torch.einsum("k,kij->ij", PLANE.weights, PLANE.covariances + apart.unsqueeze(2) * apart.unsqueeze(1))
    assert (drawn.mean(0) - mean).abs().max() < 4 * (covariance.diagonal().max() / count).sqrt()
    assert (drawn.T.cov() - covariance).abs().max() < 0.15
    assert stats.kstest(PEAKS.sample(2000, seed=3).flatten(), lambda x: PEAKS.cdf(torch.from_numpy(x)).numpy()).pvalue > 0.01


def test_between_which_numbers_its_mass_lies() -> None:
    low, high = around(PEAKS, on_a_line([1], [10], [0.1]))
    assert (low, high) == pytest.approx((-4.9, 10.8))
    assert PEAKS.cdf(torch.tensor([low], dtype=EXACT)).item() < 1e-15


def test_what_is_no_mixture() -> None:
    means, covariances = torch.zeros(2, 1), torch.ones(2, 1, 1)
    with pytest.raises(DataError, match=r"got \(3,\), \(2, 1\) and \(2, 1, 1\)"):
        GaussianMixture(torch.ones(3), means, covariances)
    with pytest.raises(DataError, match="some are negative"):
        GaussianMixture(torch.tensor([1.0, -1.0]), means, covariances)
    for wrong, message in ((0 * covariances, "singular"), (-covariances, "no covariance"), (covariances * math.nan, "NaN")):
        with pytest.raises(DataError, match=message):
            GaussianMixture(torch.ones(2), means, wrong)
    with pytest.raises(DataError, match=r"points \(n, 2\), got \(3,\)"):
        PLANE.density(torch.zeros(3))
    with pytest.raises(DataError, match="points in 2 dimensions"):
        PLANE.cdf(torch.zeros(3, 2))
