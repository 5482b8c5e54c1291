from __future__ import annotations

import sys
from collections.abc import Callable
from math import sqrt
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.linalg import sqrtm, svdvals  # type: ignore[import-untyped]
from torch import Tensor

from elegan.errors import DataError
from elegan.metrics import frechet
from elegan.metrics.frechet import Statistics, fid_infinity, frechet_distance, frechet_interval, statistics
from elegan.metrics.intervals import bootstrap


def normal(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def features(n: int, d: int, seed: int, decay: float = 0.0, mean: float = 0.0) -> Tensor:
    """Samples whose variances fall as 1 / k^decay, along directions that differ a little from seed to seed."""
    turned = torch.linalg.qr(torch.linalg.qr(normal(d, d, 99))[0] + 0.02 * normal(d, d, 1000 + seed))[0]
    deviations = torch.arange(1, d + 1, dtype=torch.float64) ** (-decay / 2)
    return torch.einsum("nk,dk->nd", normal(n, d, seed) * deviations, turned) + mean


def gaussian(mean: list[float], covariance: list[list[float]], count: int = 11) -> Statistics:
    """Statistics of `count` samples with exactly this mean and covariance."""
    return Statistics(count, torch.tensor(mean).double(), torch.tensor(covariance).double() * (count - 1))


def of_samples(one: Tensor, other: Tensor) -> float:
    """From singular values of all samples' products, without a covariance: exact at any rank (the nuclear norm of X'Y)."""
    x, y = one - one.mean(0), other - other.mean(0)
    n, m = len(x) - 1, len(y) - 1
    means = (one.mean(0) - other.mean(0)).square().sum()
    roots = torch.linalg.svdvals(x @ y.T).sum() / sqrt(n * m)
    return float(means + x.square().sum() / n + y.square().sum() / m - 2 * roots)


def side_by_side(parts: list[Statistics]) -> Statistics:
    """Of features that are independent from part to part, of a count above their dimension."""
    blocks = [part.covariance() * 399 for part in parts]
    return Statistics(400, torch.cat([part.mean for part in parts]), torch.block_diag(*blocks))  # type: ignore[no-untyped-call]


def by_root(one: Statistics, other: Statistics) -> float:
    """As most implementations have it."""
    a, b = one.covariance().numpy(), other.covariance().numpy()
    return float((one.mean - other.mean).square().sum() + np.trace(a) + np.trace(b) - 2 * np.trace(sqrtm(a @ b)).real)


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    return pytest.importorskip("torch_fidelity.metric_fid")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (gaussian([0], [[1]]), gaussian([1], [[1]]), 1.0),
        (gaussian([0], [[1]]), gaussian([1], [[4]]), 2.0),
        (gaussian([-1], [[1]]), gaussian([1], [[1]]), 4.0),
        (gaussian([0, 0], [[2, 1], [1, 2]]), gaussian([1, -1], [[3, 0], [0, 1]]), 10 - 2 * sqrt(14)),
        (gaussian([0, 0, 0], [[1, 0, 0], [0, 4, 0], [0, 0, 9]]), gaussian([0, 0, 0], [[4, 0, 0], [0, 4, 0], [0, 0, 1]]), 1 + 0 + 4),
        (gaussian([0, 0], [[1, 1], [1, 1]]), gaussian([0, 0], [[1, -1], [-1, 1]]), 4.0),  # lines that cross at right angles
        (gaussian([0, 0], [[1, 1], [1, 1]]), gaussian([0, 0], [[4, 0], [0, 0]]), 2 + 4 - 2 * 2),
        (gaussian([0, 0], [[1e8, 0], [0, 1e-8]]), gaussian([0, 0], [[1e8, 0], [0, 4e-8]]), 1e-8),
    ],
)
def test_closed_forms(one: Statistics, other: Statistics, expected: float) -> None:
    scale = float(one.covariance().trace())
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-14, abs=1e-15 * scale)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-14, abs=1e-15 * scale)


@pytest.mark.parametrize("decay", [0.0, 1.0, 3.0])
def test_it_is_the_formula_with_a_matrix_root(reference: Any, decay: float) -> None:
    x, y = features(300, 64, 1, decay), features(250, 64, 2, decay, 0.01)
    found = frechet_distance(statistics(x), statistics(y))
    assert found == pytest.approx(by_root(statistics(x), statistics(y)), rel=1e-10)
    both = (reference.fid_features_to_statistics(z) for z in (x, y))
    assert found == pytest.approx(reference.fid_statistics_to_metric(*both, False)["frechet_inception_distance"], rel=1e-10)


RANKS = [(300, 250, 40), (41, 300, 40), (40, 300, 40), (30, 300, 40), (30, 25, 40), (2, 300, 40), (2, 2, 40), (3, 90, 100)]


@pytest.mark.parametrize("decay", [0.0, 2.0, 6.0, 12.0])
@pytest.mark.parametrize(("n", "m", "d"), RANKS)
def test_covariances_of_any_rank_and_spread(n: int, m: int, d: int, decay: float) -> None:
    """With fewer samples than dimensions `by_root` is off by about 1e-8 of the distance, or has an imaginary part."""
    x, y = features(n, d, 1, decay), features(m, d, 2, decay, 0.01)
    assert frechet_distance(statistics(x), statistics(y)) == pytest.approx(of_samples(x, y), rel=1e-11)
    assert frechet_distance(statistics(y), statistics(x)) == pytest.approx(of_samples(x, y), rel=1e-11)


@pytest.mark.parametrize("decay", [1.0, 3.0, 4.0, 6.0])
def test_eigenvalues_are_left_for_singular_values_in_time(monkeypatch: pytest.MonkeyPatch, decay: float) -> None:
    """Alike sets, so that little is left of the traces, and variances over up to 13 orders of magnitude."""
    x, y = features(900, 150, 1, decay), features(1000, 150, 1, decay, 0.001)[100:]
    counting = MagicMock(side_effect=svdvals)
    monkeypatch.setattr(frechet, "svdvals", counting)
    assert frechet_distance(statistics(x), statistics(y)) == pytest.approx(of_samples(x, y), rel=1e-9)
    assert counting.call_count == (decay > 3)


def test_features_of_sizes_orders_of_magnitude_apart_all_count() -> None:
    scale = torch.tensor([1e-7, 1e-4, 1.0, 1e3, 1e5] * 4).double()
    for n in (200, 12):
        x, y = normal(n, 20, 1), 2 * normal(n, 20, 2)
        apart = [frechet_distance(statistics(x[:, i::5] * scale[i]), statistics(y[:, i::5] * scale[i])) for i in range(5)]
        one, other = (side_by_side([statistics(z[:, i::5] * scale[i]) for i in range(5)]) for z in (x, y))
        assert one.root.shape[1] == 5 * min(4, n - 1)
        assert frechet_distance(one, other) == pytest.approx(sum(apart), rel=1e-12)


@pytest.mark.parametrize(("n", "d"), [(200, 10), (11, 10), (8, 30), (2, 30), (2, 1)])
def test_a_set_is_at_no_distance_from_itself(n: int, d: int) -> None:
    found = statistics(features(n, d, 3, 1.0, 5.0))
    assert 0 <= frechet_distance(found, found) <= 1e-13 * float(found.covariance().trace())


def test_constant_features() -> None:
    """A point at distance 3 from a set: 9 and the set's own variance; two points: the square of their distance."""
    point = statistics(torch.full((5, 4), 0.1))
    moved = statistics(torch.full((7, 4), 0.1) + torch.tensor([3.0, 0, 0, 0]))
    assert frechet_distance(point, moved) == pytest.approx(9, rel=1e-6)  # 0.1 in float32
    assert frechet_distance(point, point) == 0
    spread = statistics(normal(30, 4, 1) + 2)
    expected = (spread.mean - point.mean).square().sum() + spread.covariance().trace()
    assert frechet_distance(point, spread) == pytest.approx(float(expected), rel=1e-14)


def test_two_samples_each() -> None:
    """Lines a and b: |a|^2/2 + |b|^2/2 - |a'b| and the means."""
    x, y = normal(2, 6, 1), normal(2, 6, 2)
    a, b = x[0] - x[1], y[0] - y[1]
    expected = (x.mean(0) - y.mean(0)).square().sum() + a.square().sum() / 2 + b.square().sum() / 2 - (a @ b).abs()
    assert frechet_distance(statistics(x), statistics(y)) == pytest.approx(float(expected), rel=1e-13)


@pytest.mark.parametrize("n", [100, 7])
def test_dead_and_repeated_features(n: int) -> None:
    """Features that are always 0 add nothing; each one twice doubles the distance."""
    x, y = features(n, 10, 1), features(100, 10, 2, 0.0, 0.5)
    expected = of_samples(x, y)
    dead = [torch.cat([torch.zeros(len(z), 3), z, torch.zeros(len(z), 2)], 1) for z in (x, y)]
    twice = [torch.cat([z, z], 1) for z in (x, y)]
    assert frechet_distance(statistics(dead[0]), statistics(dead[1])) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(statistics(twice[0]), statistics(twice[1])) == pytest.approx(2 * expected, rel=1e-12)


def test_population_covariances_are_divided_by_the_count() -> None:
    x, y = features(30, 6, 1), features(20, 6, 2)
    one, other = statistics(x), statistics(y)
    assert torch.allclose(one.covariance(population=True), one.covariance() * 29 / 30, rtol=1e-15)
    a, b = (Statistics(s.count, s.mean, s.covariance(population=True) * (s.count - 1)) for s in (one, other))
    assert frechet_distance(one, other, population=True) == pytest.approx(frechet_distance(a, b), rel=1e-13)
    assert frechet_distance(one, other, population=True) != pytest.approx(frechet_distance(one, other), rel=1e-3)


def test_statistics_are_numpys() -> None:
    """Rows are samples; the other way round the covariance would be 50 x 50."""
    x = features(50, 6, 1, 1.0, 3.0)
    found = statistics(x)
    assert (found.count, found.dimension, found.mean.dtype) == (50, 6, torch.float64)
    np.testing.assert_allclose(found.mean, x.numpy().mean(0), rtol=1e-14)
    for population in (False, True):
        expected = np.cov(x.numpy(), rowvar=False, ddof=not population)
        np.testing.assert_allclose(found.covariance(population), expected, rtol=1e-12, atol=1e-15)


def test_batches_add_up_to_the_whole_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(50, 6, 1, 1.0, 3.0)
    whole = statistics(x)
    parts = [statistics(x[start:stop]) for start, stop in ((0, 1), (1, 20), (20, 50))]
    monkeypatch.setattr(frechet, "ROWS", 7)
    for found in (parts[0] + parts[1] + parts[2], parts[2] + (parts[0] + parts[1]), statistics(x)):
        assert found.count == 50
        torch.testing.assert_close(found.mean, whole.mean, rtol=1e-14, atol=0)
        torch.testing.assert_close(found.scatter, whole.scatter, rtol=1e-12, atol=1e-13)
        assert torch.equal(found.scatter, found.scatter.T)


def test_a_large_mean_costs_no_digits() -> None:
    """Sums of squares, or sums in float32, would leave nothing of a variance of 1 beside a mean of 1e8."""
    x = normal(1000, 3, 1).mul(2**20).round() / 2**20  # so that x + 1e8 is exact
    found, expected = (sum((statistics(part) for part in z.split(100)[1:]), statistics(z[:100])) for z in (x + 1e8, x))  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found.covariance(), expected.covariance(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_narrow_features_are_widened_first(dtype: torch.dtype) -> None:
    x = (features(40, 5, 1) + 100).to(dtype)
    assert torch.equal(statistics(x).scatter, statistics(x.double()).scatter)


def test_statistics_survive_a_file(tmp_path: Path) -> None:
    found = statistics(features(20, 5, 1))
    found.save(tmp_path / "reals.safetensors")
    loaded = Statistics.load(tmp_path / "reals.safetensors")
    assert loaded.count == 20
    assert torch.equal(loaded.mean, found.mean)
    assert torch.equal(loaded.scatter, found.scatter)
    assert frechet_distance(loaded, found) <= 1e-13


def test_another_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no tensors")
    save_file({"mean": torch.zeros(3)}, tmp_path / "other")
    save_file({"count": torch.tensor(5), "mean": torch.zeros(3).double(), "scatter": torch.zeros(2, 2).double()}, tmp_path / "unfit")
    save_file({"count": torch.tensor(5), "mean": torch.zeros(2), "scatter": torch.zeros(2, 2)}, tmp_path / "narrow")
    for name in ("missing", "text", "other", "unfit", "narrow"):
        with pytest.raises(DataError, match=rf"{name}: .* Compute them again\."):
            Statistics.load(tmp_path / name)


def test_the_bias_is_the_formulas() -> None:
    """d/n + d(d + 1)/(4n) for N(0, I): 0.0225 at d = 4 and n = 400; the mean of 300 sets is known to 0.0008."""
    truth = gaussian([0] * 4, torch.eye(4).tolist())
    found = [frechet_distance(truth, statistics(normal(400, 4, seed))) for seed in range(300)]
    assert np.std(found) / sqrt(300) < 0.0008
    assert np.mean(found) == pytest.approx(4 / 400 + 20 / 1600, abs=0.0024)


def away(d: int) -> Statistics:
    """A Gaussian at a squared distance of 1 from N(0, I)."""
    return gaussian([1.0] + [0.0] * (d - 1), torch.eye(d).tolist(), 10**6)


@pytest.mark.parametrize(("n", "d", "least"), [(60, 6, 0.9), (20, 30, 0.9)])
def test_the_interval_covers_the_mean_at_this_count(n: int, d: int, least: float) -> None:
    reference = away(d)
    found = [frechet_interval(reference, normal(n, d, seed)) for seed in range(300)]
    mean, deviation = np.mean([one.value for one in found]), np.std([one.value for one in found])
    widths = [(one.high - one.value) / 1.959964 for one in found]
    assert least <= np.mean([one.low <= mean <= one.high for one in found]) <= 0.995
    assert 0.95 * deviation < np.mean(widths) < 1.5 * deviation
    assert all(one.value == frechet_distance(reference, statistics(normal(n, d, 0))) for one in found[:1])


def test_of_samples_of_the_reference_it_is_too_wide_rather_than_too_narrow() -> None:
    found = [frechet_interval(gaussian([0] * 6, torch.eye(6).tolist()), normal(60, 6, seed)) for seed in range(200)]
    mean, deviation = np.mean([one.value for one in found]), np.std([one.value for one in found])
    assert np.mean([one.low <= mean <= one.high for one in found]) >= 0.95
    assert deviation < np.mean([(one.high - one.value) / 1.959964 for one in found]) < 1.7 * deviation
    assert min(one.low for one in found) == 0


def test_a_bootstrap_would_miss_what_the_interval_covers() -> None:
    reference, sets = away(12), [normal(60, 12, seed) for seed in range(20)]
    found = [frechet_interval(reference, x) for x in sets]
    mean = np.mean([one.value for one in found])
    assert sum(one.low <= mean <= one.high for one in found) >= 17
    resampled = [bootstrap(x, lambda rows: frechet_distance(reference, statistics(rows)), resamples=100) for x in sets]
    assert sum(one.low > mean for one in resampled) >= 10


def test_a_point_has_no_error() -> None:
    found = frechet_interval(away(3), torch.zeros(10, 3))
    assert (found.low, found.value, found.high) == (4.0, 4.0, 4.0)
    moving = frechet_interval(statistics(torch.zeros(10, 3)), normal(50, 3, 1))
    assert moving.low < moving.value < moving.high


def test_infinity_is_the_intercept_of_the_line_through_growing_sets() -> None:
    reference, x = away(5), normal(400, 5, 1)
    found = fid_infinity(reference, x, seed=3)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(3))
    assert found.sizes == (40, 66, 91, 117, 143, 169, 194, 220, 246, 271, 297, 323, 349, 374, 400)
    assert found.distances == pytest.approx([frechet_distance(reference, statistics(x[order[:size]])) for size in found.sizes], rel=1e-11)
    assert found.value == pytest.approx(np.polyfit(1 / np.array(found.sizes), found.distances, 1)[1], rel=1e-10)


def test_sizes_start_at_5000_where_there_are_many() -> None:
    assert fid_infinity(away(1), normal(60_000, 1, 1)).sizes[0] == 5000
    assert fid_infinity(away(1), normal(20, 1, 1)).sizes[:3] == (2, 3, 5)


def test_infinity_reaches_the_distance_of_the_distributions_as_often_as_its_error_says() -> None:
    """It is 1; with 200 samples in 6 dimensions the distance itself is 0.0825 too high."""
    found = [fid_infinity(away(6), normal(200, 6, seed), seed) for seed in range(100)]
    values, errors = np.array([one.value for one in found]), np.array([one.standard_error for one in found])
    assert np.mean([one.distances[-1] - one.value for one in found]) == pytest.approx(6 / 200 + 42 / 800, abs=0.03)
    assert 0.9 <= np.mean(np.abs(values - 1) < 1.96 * errors) <= 0.99
    assert errors.mean() == pytest.approx(values.std(), rel=0.2)


def test_infinity_shuffles_by_the_seed_alone() -> None:
    x = normal(300, 3, 1)
    x = x[x[:, 0].argsort()]  # the first tenth would lie at one end
    first = fid_infinity(away(3), x, seed=1)
    torch.manual_seed(99)
    assert fid_infinity(away(3), x, seed=1) == first
    assert fid_infinity(away(3), x, seed=2).value != first.value
    assert abs(first.value - 1) < 4 * first.standard_error


def test_infinity_is_finite_with_fewer_samples_than_dimensions_and_of_a_point() -> None:
    for found in (fid_infinity(away(30), normal(25, 30, 1)), fid_infinity(statistics(torch.zeros(9, 3)), normal(25, 3, 1))):
        assert np.isfinite([found.value, found.standard_error, *found.distances]).all()
        assert found.standard_error > 0
    still = fid_infinity(away(3), torch.zeros(25, 3))
    assert still.value == pytest.approx(4, rel=1e-12)
    assert still.standard_error == 0


def test_infinity_needs_20_samples() -> None:
    with pytest.raises(DataError, match="got 19 samples; at least 20"):
        fid_infinity(away(3), normal(19, 3, 1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "function",
    [statistics, lambda x: frechet_interval(away(3), x), lambda x: fid_infinity(away(3), x)],
    ids=["statistics", "interval", "infinity"],
)
def test_what_is_not_finite_is_counted(function: Callable[[Tensor], Any], bad: float) -> None:
    x = normal(30, 3, 1)
    x[4, 1] = x[7, 0] = x[7, 2] = bad
    with pytest.raises(DataError, match="2 of 30 samples hold NaN or infinity"):
        function(x)


def test_one_sample_has_no_covariance() -> None:
    single, several = statistics(normal(1, 3, 1)), statistics(normal(5, 3, 2))
    for use in (single.covariance, lambda: frechet_distance(single, several), lambda: frechet_distance(several, single)):
        with pytest.raises(DataError, match="got 1 samples; a covariance needs at least 2"):
            use()


def test_unlike_dimensions_are_one_clear_line() -> None:
    three, four = statistics(normal(9, 3, 1)), statistics(normal(9, 4, 1))
    for use in (lambda: frechet_distance(three, four), lambda: three + four, lambda: frechet_interval(three, normal(9, 4, 1))):
        with pytest.raises(DataError, match="3 and 4 dimensions"):
            use()


@pytest.mark.parametrize("given", [torch.zeros(4), torch.zeros(4, 0), torch.zeros(4, 2, dtype=torch.int64), torch.zeros(4, 2, 2)])
def test_another_shape_or_type_is_named(given: Tensor) -> None:
    with pytest.raises(DataError, match=r"features: got torch\.\w+ of shape"):
        statistics(given)


def test_no_samples_are_an_error() -> None:
    with pytest.raises(DataError, match="got 0 samples"):
        statistics(torch.zeros(0, 3))
