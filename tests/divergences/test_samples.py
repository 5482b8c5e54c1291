from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from elegan.divergences import discrete, gaussian, neighbours, quadrature, samples
from elegan.divergences.estimate import Estimate
from elegan.divergences.gaussian import Gaussian
from elegan.divergences.histograms import histogram
from elegan.divergences.mixtures import around, on_a_line
from elegan.errors import DataError, OptionError

Measure = Callable[[Tensor, Tensor], Estimate]


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def holds(found: Estimate, exact: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= exact <= found.high


def hits(measure: Measure, draw: Callable[[int], tuple[Tensor, Tensor]], exact: float, times: int = 12) -> int:
    return sum(holds(measure(*draw(seed)), exact) for seed in range(times))


N = 300


def pair(mean: float, std: float, d: int = 1) -> Callable[[int], tuple[Tensor, Tensor]]:
    """Samples of N(0, I) and N(mean, std^2 I), more of the one."""
    return lambda seed: (normal(2 * seed, N + 60, d), mean + std * normal(2 * seed + 1, N, d))


SHIFTED, WIDER, EQUAL = (1.0, 1.0), (1.0, 2.0), (0.0, 1.0)


@pytest.mark.parametrize("other", [EQUAL, SHIFTED, WIDER])
@pytest.mark.parametrize("order", [1, 2])
def test_wasserstein_on_a_line(other: tuple[float, float], order: int) -> None:
    exact = gaussian.wasserstein(gaussian.normal(0, 1), gaussian.normal(*other), order)
    assert hits(lambda x, y: samples.wasserstein(x, y, order), pair(*other), exact) >= 11


def test_wasserstein_of_the_samples_is_that_of_scipy() -> None:
    x, y = normal(0, 31), normal(1, 20).round()
    found = samples.wasserstein(x, y)
    assert found.value == pytest.approx(stats.wasserstein_distance(x, y), abs=1e-12)
    assert (found.kind, found.low, found.high) == ("estimate", None, None)
    x, y = normal(2, 12, 3), normal(3, 9, 3)
    assert samples.wasserstein(x, y).value == pytest.approx(stats.wasserstein_distance_nd(x, y), abs=1e-9)
    assert samples.wasserstein(x, x[torch.randperm(12)]).value == 0


def test_wasserstein_in_the_plane() -> None:
    for apart in (0.0, 1.0):
        for seed in range(3):
            x, y = normal(2 * seed, 101, 2), apart + normal(2 * seed + 1, 101, 2)
            exact = gaussian.wasserstein(Gaussian(torch.zeros(2), torch.eye(2)), Gaussian(torch.full((2,), apart), torch.eye(2)), order=2)
            assert holds(samples.wasserstein(x, y, order=2), exact)


@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_sliced_wasserstein_of_shifted_gaussians(apart: float) -> None:
    """Along each direction W2 is that of the means, so on average over them |d|^2 / 3 in space: here d = 1 1 1."""
    measure = lambda x, y: samples.sliced_wasserstein(x, y, order=2, directions=200)  # noqa: E731
    assert hits(measure, pair(apart, 1, d=3), apart, times=10) >= 9


def test_sliced_wasserstein_says_how_much_directions_matter() -> None:
    x = normal(0, 100, 3)
    shifts = torch.tensor([1.0, 0, 0]).double()
    found = [samples.sliced_wasserstein(x, x + shifts, directions=400, seed=seed).value for seed in range(10)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)  # E |cos| on the sphere
    said = float(samples.sliced_wasserstein(x, x + shifts, directions=400).method.split("error of ")[1].split("%")[0]) / 100
    assert np.std(found, ddof=1) / 0.5 == pytest.approx(said, rel=0.6)


@pytest.mark.parametrize("other", [EQUAL, SHIFTED, WIDER])
def test_energy_distance_and_mmd(other: tuple[float, float]) -> None:
    p, q = on_a_line([1], [0], [1]), on_a_line([1], [other[0]], [other[1]])
    exact = quadrature.energy_distance(p.log_density, q.log_density, around(p, q))
    assert hits(samples.energy_distance, pair(*other), exact) >= 10

    def kernel_mean(variance: float, apart: float = 0.0) -> float:  # of exp(-d^2 / 2) for d normal
        return math.exp(-(apart**2) / (1 + variance) / 2) / math.sqrt(1 + variance)

    exact = kernel_mean(2) + kernel_mean(2 * other[1] ** 2) - 2 * kernel_mean(1 + other[1] ** 2, other[0])
    assert hits(lambda x, y: samples.mmd_squared(x, y, bandwidth=1), pair(*other), exact) >= 10


def test_unbiased_ones_are_right_on_average() -> None:
    found = [samples.energy_distance(normal(2 * i, 20), normal(2 * i + 1, 25)) for i in range(200)]
    values = np.array([one.value for one in found])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(200)
    assert (values < 0).any()


def test_the_bandwidth_is_the_median_distance() -> None:
    x, y = torch.tensor([0.0, 1.0]), torch.tensor([3.0, 10.0])  # distances 1 2 3 7 9 10: the lower median is 3
    assert samples.mmd_squared(x, y) == samples.mmd_squared(x, y, bandwidth=3)
    assert "bandwidth 3" in samples.mmd_squared(x, y).method
    with pytest.raises(DataError, match="median distance of the points is 0"):
        samples.mmd_squared(torch.zeros(5), torch.zeros(5))
    assert samples.mmd_squared(torch.zeros(5), torch.zeros(5), bandwidth=1).value == 0


def gaussian_entropic_cost(a: float, one: float, b: float, other: float, epsilon: float) -> float:
    """OT_e of N(a, one) and N(b, other) for squared distances (Janati et al., 2020, theorem 1)."""
    s = epsilon / 2
    root = math.sqrt(4 * one * other + s**2)
    return (a - b) ** 2 + one + other - root + s * (1 - math.log(2 * s)) + s * math.log(root + s)


@pytest.mark.parametrize("other", [EQUAL, WIDER])
def test_the_sinkhorn_divergence_of_gaussians(other: tuple[float, float]) -> None:
    mean, std = other
    exact = gaussian_entropic_cost(0, 1, mean, std**2, 0.5)
    exact -= (gaussian_entropic_cost(0, 1, 0, 1, 0.5) + gaussian_entropic_cost(0, std**2, 0, std**2, 0.5)) / 2
    assert hits(lambda x, y: samples.sinkhorn_divergence(x, y, epsilon=0.5), pair(mean, std), exact, times=6) >= 5


def test_the_sinkhorn_divergence_lies_between_transport_and_energy() -> None:
    x, y = normal(0, 40, 2), normal(1, 40, 2) + 1
    assert samples.sinkhorn_divergence(x, x).value == pytest.approx(0, abs=1e-9)
    near = samples.sinkhorn_divergence(x, y, order=1, epsilon=0.02).value
    assert near == pytest.approx(samples.wasserstein(x, y).value, rel=0.02)
    # Over all pairs, a sample with itself too.
    places, p = torch.cat([x, y]), torch.cat([torch.ones(40), torch.zeros(40)])
    energy = discrete.energy_distance(p, 1 - p, places)
    assert samples.sinkhorn_divergence(x, y, order=1, epsilon=1e4).value == pytest.approx(energy / 2, rel=1e-3)


@pytest.mark.parametrize(("other", "d"), [(EQUAL, 1), (SHIFTED, 1), (WIDER, 1), (EQUAL, 2), ((0.5, 1.0), 2)])
def test_neighbours_find_kl_on_average(other: tuple[float, float], d: int) -> None:
    p = Gaussian(torch.zeros(d), torch.eye(d))
    q = Gaussian(torch.full((d,), other[0]), other[1] ** 2 * torch.eye(d))
    values = np.array([neighbours.kl(*pair(*other, d=d)(seed)).value for seed in range(15)])
    assert values.mean() == pytest.approx(gaussian.kl(p, q), abs=3 * values.std() / math.sqrt(15) + 0.03)


@pytest.mark.parametrize("k", [1, 4])
def test_neighbours_by_hand(k: int) -> None:
    """The formula, with all distances sorted."""
    x, y = normal(0, 15, 3), normal(1, 11, 3)
    among_x, among_y = torch.cdist(x, x).sort(1).values[:, k], torch.cdist(x, y).sort(1).values[:, k - 1]
    expected = 3 * (among_y / among_x).log().mean().item() + math.log(11 / 14)
    assert neighbours.kl(x, y, k).value == pytest.approx(expected, abs=1e-12)


def test_neighbours_give_no_interval_and_say_what_sampling_does() -> None:
    found = [neighbours.kl(*pair(*SHIFTED)(seed)) for seed in range(20)]
    assert {(one.low, one.high) for one in found} == {(None, None)}
    said = np.mean([float(one.method.split("+- ")[1].split(" ")[0]) for one in found])
    assert 1.3 < said / np.std([one.value for one in found]) < 4  # two standard deviations
    assert "+-" not in neighbours.kl(normal(0, 100), normal(1, 100)).method


def test_neighbours_of_equal_points() -> None:
    copies = normal(0, 5).repeat(3)
    with pytest.raises(DataError, match="some have 2 equal ones"):
        neighbours.kl(copies, normal(1, 20), 2)
    assert math.isfinite(neighbours.kl(copies, normal(1, 20), 3).value)
    with pytest.raises(DataError, match="equal ones"):
        neighbours.kl(normal(1, 20), normal(1, 20), 1)
    for k, n, m in ((0, 5, 5), (5, 5, 9), (5, 9, 4)):
        with pytest.raises(OptionError, match=f"neighbours: got {k}"):
            neighbours.kl(normal(0, n), normal(1, m), k)


def binned(divergence: Callable[[Tensor, Tensor], float], other: tuple[float, float], x: Tensor, y: Tensor, bins: int) -> float:
    """Of N(0, 1) and the other in the bins that these samples make, exact; what lies outside goes to the end bins."""
    edges = torch.linspace(min(x.min(), y.min()), max(x.max(), y.max()), bins + 1, dtype=torch.float64)
    edges[0], edges[-1] = -math.inf, math.inf
    shares = [torch.from_numpy(stats.norm.cdf(edges, *one)).diff() for one in ((0, 1), other)]
    return divergence(*shares)


@pytest.mark.parametrize("other", [EQUAL, SHIFTED, WIDER])
@pytest.mark.parametrize("divergence", [discrete.jensen_shannon, discrete.total_variation, discrete.squared_hellinger])
def test_histograms(divergence: Callable[[Tensor, Tensor], float], other: tuple[float, float]) -> None:
    draws = [pair(*other)(seed) for seed in range(6)]
    held = [holds(histogram(x, y, divergence, bins=12), binned(divergence, other, x, y, 12)) for x, y in draws]
    assert sum(held) >= 5


def test_histograms_say_how_much_too_high_they_are() -> None:
    """Where p = q, by (bins - 1) / 8 (1 / n + 1 / m) for Jensen-Shannon, a quarter of chi-square's mean over two."""
    found = [histogram(*(torch.rand(2000, generator=torch.Generator().manual_seed(2 * s + i)) for i in (0, 1)), bins=40) for s in range(5)]
    expected = 39 / 8 * 2 / 2000
    assert np.mean([one.value for one in found]) == pytest.approx(expected, rel=0.25)
    for one in found:
        assert float(one.method.split("up to ")[1].split(" ")[0]) == pytest.approx(expected, rel=0.25)


def test_a_histogram_by_hand() -> None:
    x, y = torch.tensor([0.0, 1, 1, 4]), torch.tensor([0.0, 0, 0, 1])
    shares = torch.tensor([0.25, 0.5, 0, 0.25]), torch.tensor([0.75, 0.25, 0, 0])
    assert histogram(x, y, bins=4).value == pytest.approx(discrete.jensen_shannon(*shares), abs=1e-12)
    plane = histogram(torch.stack([x, x], 1), torch.stack([y, y], 1), bins=4)
    assert plane.value == pytest.approx(discrete.jensen_shannon(*shares), abs=1e-12)
    assert "along each of 2 axes" in plane.method
    assert histogram(x, y, bins=1).value == 0
    assert histogram(torch.zeros(9), torch.zeros(5)).value == 0


def test_a_histogram_whose_bins_are_empty() -> None:
    apart = histogram(normal(0, 100), normal(1, 100) + 100, discrete.kl)
    assert (apart.value, apart.low, apart.high) == (math.inf, None, None)
    assert "no interval" in apart.method
    assert histogram(normal(0, 100), normal(1, 100) + 100).value == pytest.approx(math.log(2), abs=1e-12)
    with pytest.raises(OptionError, match="bins: got 2000 along each of 2 axes"):
        histogram(normal(0, 9, 2), normal(1, 9, 2), bins=2000)
    with pytest.raises(DataError, match="differ by rounding"):
        histogram(torch.tensor([1e16, 1e16 + 2]).double(), torch.tensor([1e16]).double())


MEASURES: dict[str, Measure] = {
    "wasserstein": samples.wasserstein,
    "sliced_wasserstein": samples.sliced_wasserstein,
    "sinkhorn_divergence": samples.sinkhorn_divergence,
    "energy_distance": samples.energy_distance,
    "mmd_squared": samples.mmd_squared,
    "kl": neighbours.kl,
    "histogram": histogram,
}


@pytest.mark.parametrize("name", MEASURES)
def test_few_samples_have_no_interval(name: str) -> None:
    found = MEASURES[name](normal(0, 20, 2), normal(1, 20, 2) + 1)
    assert math.isfinite(found.value)
    assert (found.kind, found.low, found.high) == ("estimate", None, None)


@pytest.mark.parametrize("name", MEASURES)
def test_the_same_samples_give_the_same_estimate(name: str) -> None:
    x, y = normal(0, 60).float(), normal(1, 70).float()
    assert MEASURES[name](x, y) == MEASURES[name](x.unsqueeze(1), y.unsqueeze(1)) == MEASURES[name](x.double(), y.double())


@pytest.mark.parametrize("name", MEASURES)
def test_samples_that_cannot_be_compared(name: str) -> None:
    good = normal(0, 60, 2)
    for wrong, message in (
        (normal(0, 60, 3), "cannot be compared"),
        (normal(0, 0, 2), "nothing empty"),
        (normal(0, 6, 2, 2), "of the shape"),
        (torch.full((60, 2), math.nan), "60 of 60 hold NaN"),
    ):
        for one in ((good, wrong), (wrong, good)):
            with pytest.raises(DataError, match=message):
                MEASURES[name](*one)


@pytest.mark.parametrize("name", ["energy_distance", "mmd_squared", "sinkhorn_divergence"])
def test_one_sample_is_too_few(name: str) -> None:
    with pytest.raises(DataError, match="got 1; at least 2"):
        MEASURES[name](normal(0, 1, 2), normal(1, 5, 2))


def test_options_that_do_not_fit() -> None:
    x, y = normal(0, 5), normal(1, 5)
    for measure in (samples.wasserstein, samples.sliced_wasserstein, samples.sinkhorn_divergence):
        with pytest.raises(OptionError, match=r"order: got 0\.5"):
            measure(x, y, order=0.5)  # type: ignore[operator]
    with pytest.raises(OptionError, match="directions: got 1"):
        samples.sliced_wasserstein(x, y, directions=1)


def test_an_estimate_in_words() -> None:
    assert str(Estimate(0.33683, "estimate", 0.3, 0.4, "histogram, 50 bins")) == "0.3368 (estimate, 95%: 0.3 to 0.4; histogram, 50 bins)"
    assert str(Estimate(0.5, "lower bound", None, None, "KL")) == "0.5 (lower bound; KL)"
