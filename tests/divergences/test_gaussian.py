from __future__ import annotations

import math

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from scipy.linalg import sqrtm  # type: ignore[import-untyped]
from torch import Tensor

from elegan.divergences import gaussian, quadrature
from elegan.divergences.gaussian import Gaussian, normal
from elegan.divergences.mixtures import on_a_line
from elegan.errors import DataError, OptionError


def matrix(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def drawn(seed: int, d: int) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(d, d + 2, dtype=torch.float64, generator=generator)
    return Gaussian(torch.randn(d, dtype=torch.float64, generator=generator), root @ root.T / d)


PAIRS = {
    "shifted": (normal(0, 1), normal(1, 1)),
    "wider": (normal(0, 1), normal(1, 2)),
    "apart": (normal(-1, 1), normal(1, 1)),
}
PLANE = (
    Gaussian(torch.zeros(2), matrix((2, 1), (1, 2))),
    Gaussian(matrix((1, -1))[0], matrix((3, 0), (0, 1))),
)
TABLE = {  # KL, reverse KL, squared Hellinger, W1, W2 squared
    "shifted": (0.5, 0.5, 0.117503, 1, 1),
    "wider": (0.443147, 1.306853, 0.149195, 1.166631, 2),
    "apart": (2, 2, 0.393469, 2, 4),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_values_on_a_line(pair: str) -> None:
    p, q = PAIRS[pair]
    found = (
        gaussian.kl(p, q),
        gaussian.reverse_kl(p, q),
        gaussian.squared_hellinger(p, q),
        gaussian.wasserstein(p, q, order=1),
        gaussian.wasserstein(p, q, order=2) ** 2,
    )
    assert found == pytest.approx(TABLE[pair], abs=1e-6)
    assert gaussian.jeffreys(p, q) == pytest.approx(TABLE[pair][0] + TABLE[pair][1], abs=2e-6)


def test_total_variation_and_chi_square_of_equal_deviations() -> None:
    assert gaussian.total_variation(*PAIRS["shifted"]) == pytest.approx(0.382925, abs=1e-6)
    assert gaussian.total_variation(*PAIRS["apart"]) == pytest.approx(0.682689, abs=1e-6)
    for distance, deviation in ((1, 1), (2, 1), (1, 3)):
        p, q = normal(0, deviation), normal(distance, deviation)
        assert gaussian.pearson(p, q) == pytest.approx(math.expm1(distance**2 / deviation**2), abs=1e-12)
        assert gaussian.neyman(p, q) == pytest.approx(gaussian.pearson(p, q), abs=1e-12)


def test_values_in_the_plane() -> None:
    p, q = PLANE
    assert gaussian.kl(p, q) == pytest.approx(1, abs=1e-12)
    assert gaussian.wasserstein(p, q, order=2) ** 2 == pytest.approx(10 - 2 * math.sqrt(14), abs=1e-12)
    assert gaussian.wasserstein(p, q, order=2) ** 2 == pytest.approx(2.516685, abs=1e-6)
    assert gaussian.squared_hellinger(p, q) == pytest.approx(0.225585, abs=1e-6)


@pytest.mark.parametrize("d", [1, 2, 7])
def test_other_libraries_agree(d: int) -> None:
    p, q = drawn(0, d), drawn(1, d)
    own, other = (stats.multivariate_normal(one.mean.numpy(), one.covariance.numpy()) for one in (p, q))
    cross = -other.logpdf(p.mean.numpy()) + float((q.covariance.inverse() @ p.covariance).trace()) / 2
    assert gaussian.kl(p, q) == pytest.approx(cross - own.entropy(), rel=1e-10)
    root = torch.from_numpy(sqrtm((p.covariance @ q.covariance).numpy()).real)
    squared = (p.mean - q.mean).square().sum() + (p.covariance + q.covariance - 2 * root).trace()
    assert gaussian.wasserstein(p, q, order=2) == pytest.approx(squared.sqrt().item(), rel=1e-10)


@pytest.mark.parametrize("pair", [(0.0, 1.0, 1.0, 1.0), (0.0, 1.0, 1.0, 2.0), (2.0, 0.5, -1.0, 0.4), (0.0, 1.0, 0.3, 0.75)])
@pytest.mark.parametrize("name", ["kl", "reverse_kl", "jeffreys", "squared_hellinger", "bhattacharyya", "pearson", "neyman"])
def test_quadrature_agrees(name: str, pair: tuple[float, float, float, float]) -> None:
    closed = getattr(gaussian, name)(normal(*pair[:2]), normal(*pair[2:]))
    p, q = (on_a_line([1], [mean], [std]).log_density for mean, std in (pair[:2], pair[2:]))
    assert getattr(quadrature, name)(p, q, (-10, 10)) == pytest.approx(closed, rel=1e-9)


def test_chi_square_is_infinite_where_one_is_twice_as_wide_as_the_other() -> None:
    narrow = normal(0, 1)
    assert gaussian.pearson(normal(0, math.sqrt(1.999)), narrow) < math.inf
    assert gaussian.pearson(normal(0, math.sqrt(2)), narrow) == math.inf
    assert gaussian.pearson(normal(0, 5), narrow) == math.inf
    assert gaussian.neyman(narrow, normal(0, 5)) == math.inf


def test_chi_square_in_the_plane_is_that_of_independent_axes() -> None:
    """1 + chi-square multiplies over them, and turning the plane changes nothing."""
    axes = [(normal(0, 1), normal(1, 1.5)), (normal(0.5, 0.7), normal(0, 0.8))]
    turn = matrix((0.6, -0.8), (0.8, 0.6))
    p, q = (
        Gaussian(
            turn @ torch.cat([pair[i].mean for pair in axes]), turn @ torch.block_diag(*[pair[i].covariance for pair in axes]) @ turn.T
        )
        for i in (0, 1)
    )
    expected = math.prod(1 + gaussian.pearson(*pair) for pair in axes) - 1
    assert gaussian.pearson(p, q) == pytest.approx(expected, rel=1e-12)
    assert gaussian.bhattacharyya(p, q) == pytest.approx(sum(gaussian.bhattacharyya(*pair) for pair in axes), rel=1e-12)


def test_total_variation_in_the_plane_is_that_along_the_line_between_the_means() -> None:
    p, q = Gaussian(torch.zeros(2), matrix((4, 0), (0, 9))), Gaussian(torch.tensor([0.0, 6.0]), matrix((4, 0), (0, 9)))
    assert gaussian.total_variation(p, q) == pytest.approx(2 * stats.norm.cdf(1) - 1, abs=1e-12)
    assert gaussian.wasserstein(p, q, order=1) == pytest.approx(6, abs=1e-12)


def test_equal_ones() -> None:
    for p in (normal(3, 2), drawn(0, 5)):
        for measure in (gaussian.kl, gaussian.bhattacharyya, gaussian.squared_hellinger, gaussian.pearson, gaussian.total_variation):
            assert measure(p, p) == pytest.approx(0, abs=1e-12)
        assert gaussian.wasserstein(p, p, order=2) == pytest.approx(0, abs=1e-6)
        assert gaussian.wasserstein(p, p, order=1) == 0


def test_small_differences_keep_their_digits() -> None:
    p, q = normal(0, 1), normal(1e-5, 1)
    assert gaussian.squared_hellinger(p, q) == pytest.approx(1.25e-11, rel=1e-6)
    assert gaussian.pearson(p, q) == pytest.approx(1e-10, rel=1e-6)


def test_singular_covariances_have_transport_and_nothing_else() -> None:
    point, flat = normal(2, 0), Gaussian(torch.zeros(2), matrix((1, 1), (1, 1)))
    assert gaussian.wasserstein(point, normal(0, 1), order=2) == pytest.approx(math.sqrt(5), abs=1e-12)
    assert gaussian.wasserstein(normal(0, 1), normal(0, 0), order=1) == pytest.approx(math.sqrt(2 / math.pi), abs=1e-12)
    assert gaussian.wasserstein(flat, Gaussian(torch.zeros(2), torch.zeros(2, 2)), order=2) == pytest.approx(math.sqrt(2), abs=1e-12)
    for measure in (gaussian.kl, gaussian.reverse_kl, gaussian.bhattacharyya, gaussian.pearson):
        with pytest.raises(DataError, match="singular"):
            measure(point, normal(0, 1))
        with pytest.raises(DataError, match="singular"):
            measure(flat, PLANE[0])


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        (torch.zeros(2), torch.eye(3), "got \\(2,\\) and \\(3, 3\\)"),
        (torch.zeros(()), torch.eye(1), "a mean \\(d,\\)"),
        (torch.zeros(0), torch.zeros(0, 0), "a mean \\(d,\\)"),
        (torch.tensor([math.nan]), torch.eye(1), "NaN or infinity"),
        (torch.zeros(2), matrix((1, 2), (0, 1)), "symmetric"),
        (torch.zeros(2), matrix((1, 2), (2, 1)), "negative eigenvalue"),
    ],
)
def test_what_is_no_gaussian(mean: Tensor, covariance: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Gaussian(mean, covariance)


def test_what_has_no_closed_form() -> None:
    with pytest.raises(DataError, match="equal covariances"):
        gaussian.total_variation(*PAIRS["wider"])
    with pytest.raises(DataError, match="on a line or for equal covariances"):
        gaussian.wasserstein(*PLANE, order=1)
    with pytest.raises(OptionError, match="order: got 3"):
        gaussian.wasserstein(*PLANE, order=3)
    for measure in (gaussian.kl, gaussian.wasserstein, gaussian.total_variation):
        with pytest.raises(DataError, match="1 and in 2 dimensions"):
            measure(normal(0, 1), PLANE[0])
