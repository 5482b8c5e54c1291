from __future__ import annotations

from math import comb, sqrt

import pytest
import torch
from torch import Tensor

from elegan.errors import DataError, OptionError
from elegan.metrics.intervals import Interval, bootstrap, normal_interval


def normal(n: int, seed: int) -> Tensor:
    return torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_normal_interval_reaches_as_many_standard_errors_as_its_level_asks() -> None:
    found = normal_interval(3.0, 2.0)
    assert [found.value, found.low, found.high, found.level] == pytest.approx([3, 3 - 3.919927969, 3 + 3.919927969, 0.95])
    assert normal_interval(0.0, 1.0, level=0.6826894921).high == pytest.approx(1)
    assert normal_interval(3.0, 0.0) == Interval(3.0, 3.0, 3.0, 0.95)


def test_a_normal_interval_stays_above_the_least() -> None:
    found = normal_interval(1.0, 2.0, least=0.0)
    assert [found.low, found.high] == pytest.approx([0, 1 + 3.919927969])


def binomial_quantile(n: int, p: float, share: float) -> int:
    total = 0.0
    for k in range(n + 1):
        total += comb(n, k) * p**k * (1 - p) ** (n - k)
        if total >= share:
            return k
    return n


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_percentiles_of_a_share_are_those_of_its_binomial_distribution(level: float) -> None:
    """Resampled sums of 12 ones among 40 values are binomial; 10,000 resamples find each percentile to one step."""
    values = (torch.arange(40) < 12).double()
    found = bootstrap(values, resamples=10_000, level=level)
    assert found.value == pytest.approx(0.3)
    assert found.low * 40 == pytest.approx(binomial_quantile(40, 0.3, (1 - level) / 2), abs=1)
    assert found.high * 40 == pytest.approx(binomial_quantile(40, 0.3, (1 + level) / 2), abs=1)
    assert found.high - found.low == pytest.approx(2 * normal_interval(0, sqrt(0.3 * 0.7 / 40), level).high, abs=0.025)


def test_it_covers_a_mean_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(150):
        found = bootstrap(normal(40, seed) + 5, resamples=100, level=0.9, seed=seed)
        hits += found.low <= 5 <= found.high
    assert 0.82 <= hits / 150 <= 0.95  # 40 values: a percentile interval is a little narrow


def test_rows_are_resampled_whole() -> None:
    values = torch.stack([normal(30, 0), normal(30, 0)], 1)

    def gap(rows: Tensor) -> float:
        return (rows[:, 0] - rows[:, 1]).abs().sum().item()

    assert bootstrap(values, gap, resamples=100) == Interval(0.0, 0.0, 0.0, 0.95)


def test_a_function_of_indices_may_use_several_tensors() -> None:
    x, y = normal(50, 1), normal(50, 2)
    of_indices = bootstrap(torch.arange(50), lambda i: (x[i] * y[i]).mean().item(), seed=3)
    of_rows = bootstrap(torch.stack([x, y], 1), lambda rows: (rows[:, 0] * rows[:, 1]).mean().item(), seed=3)
    assert of_indices == of_rows
    assert of_indices.low < of_indices.value < of_indices.high


def test_the_seed_alone_decides_the_draw() -> None:
    values = normal(50, 0)
    first = bootstrap(values, seed=1)
    torch.manual_seed(99)
    assert bootstrap(values, seed=1) == first
    assert bootstrap(values, seed=2) != first


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, float("nan")])
def test_a_level_is_a_share(level: float) -> None:
    with pytest.raises(OptionError, match="level: got"):
        normal_interval(0.0, 1.0, level)
    with pytest.raises(OptionError, match="level: got"):
        bootstrap(normal(10, 0), level=level)


def test_too_little_is_one_clear_line() -> None:
    with pytest.raises(DataError, match="got 1 samples; at least 2"):
        bootstrap(normal(1, 0))
    with pytest.raises(OptionError, match="resamples: got 99"):
        bootstrap(normal(10, 0), resamples=99)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_statistic_that_is_not_finite_is_an_error(bad: float) -> None:
    values = normal(10, 0)
    values[3] = bad
    with pytest.raises(DataError, match="NaN or infinite"):
        bootstrap(values)
