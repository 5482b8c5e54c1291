from __future__ import annotations

import sys
from itertools import product
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import Tensor

from elegan.errors import DataError, OptionError
from elegan.metrics import kernel
from elegan.metrics.kernel import kernel_difference, kernel_distance, kernel_parts, mmd_squared, subset_size


def normal(n: int, d: int, seed: int, deviation: float = 1.0, mean: float = 0.0) -> Tensor:
    return mean + deviation * torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def by_definition(one: Tensor, other: Tensor) -> float:
    def k(x: Any, y: Any) -> float:
        return float((np.dot(x, y) / len(x) + 1) ** 3)

    x, y = one.double().numpy(), other.double().numpy()
    within = [np.mean([k(a, b) for (i, a), (j, b) in product(enumerate(z), repeat=2) if i != j]) for z in (x, y)]
    return float(within[0] + within[1] - 2 * np.mean([k(a, b) for a, b in product(x, y)]))


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    return pytest.importorskip("torch_fidelity.metric_kid")


def test_four_numbers_by_hand() -> None:
    """k(0, 1) = 1 and k(1, 2) = 27 within; 1, 1, 8 and 27 between: 1 + 27 - 2 * 37/4."""
    one, other = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    assert mmd_squared(one, other) == pytest.approx(9.5, rel=1e-14)
    assert kernel_distance(one, other, subsets=3, size=2).mean == pytest.approx(9.5, rel=1e-14)


@pytest.mark.parametrize("block", [1024, 7])
@pytest.mark.parametrize(("n", "m"), [(20, 20), (2, 17), (23, 15)])
def test_the_estimate_from_all_samples_is_the_definition(monkeypatch: pytest.MonkeyPatch, n: int, m: int, block: int) -> None:
    monkeypatch.setattr(kernel, "BLOCK", block)
    one, other = normal(n, 5, 0), normal(m, 5, 1, 1.3, 0.5)
    expected = by_definition(one, other)
    assert mmd_squared(one, other) == pytest.approx(expected, rel=1e-12)
    assert mmd_squared(other, one) == pytest.approx(expected, rel=1e-12)


def test_one_subset_of_all_samples_is_the_references(reference: Any) -> None:
    one, other = normal(60, 40, 2).relu(), normal(60, 40, 3, 1.1).relu()
    expected = reference.kid_features_to_metric(one, other, kid_subsets=1, kid_subset_size=60)["kernel_inception_distance_mean"]
    assert kernel_distance(one, other, subsets=1, size=60).mean == pytest.approx(expected, rel=1e-11)
    assert mmd_squared(one, other) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("size", "block"), [(10, 1024), (35, 1024), (35, 16)])
def test_each_subset_is_the_references(monkeypatch: pytest.MonkeyPatch, reference: Any, size: int, block: int) -> None:
    """Small subsets are taken one by one, large ones from the products of all samples."""
    drawn: list[Tensor] = []
    draw = kernel._draw

    def recording(*words: Any) -> Tensor:
        drawn.append(draw(*words))
        return drawn[-1]

    monkeypatch.setattr(kernel, "_draw", recording)
    monkeypatch.setattr(kernel, "BLOCK", block)
    one, other = normal(60, 12, 2).relu(), normal(45, 12, 3, 1.1).relu()
    found = kernel_distance(one, other, subsets=4, size=size)
    assert all(len(set(indices.tolist())) == size for indices in drawn)
    pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
    expected = [reference.kernel_mmd(one[x].numpy(), other[y].numpy()) for x, y in pairs]
    assert found.mean == pytest.approx(np.mean(expected), rel=1e-10)
    assert found.standard_deviation == pytest.approx(np.std(expected), rel=1e-10)
    assert (found.subsets, found.size) == (4, size)


def test_pairs_made_once_give_what_subsets_one_by_one_give(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = normal(60, 12, 2), normal(45, 12, 3, 1.1)
    assert kernel._all_pairs_are_fewer(60, 45, 9, 30)
    together = kernel_distance(one, other, subsets=9, size=30)
    monkeypatch.setattr(kernel, "_all_pairs_are_fewer", lambda *_: False)
    monkeypatch.setattr(kernel, "_members", lambda *_: pytest.fail("all pairs were made"))
    one_by_one = kernel_distance(one, other, subsets=9, size=30)
    assert vars(together) == pytest.approx(vars(one_by_one), rel=1e-10)


def test_a_distance_can_be_below_zero_and_is_not_multiplied() -> None:
    """E k(x, x') - E k(x, y) is exact for normal samples: 3 (1 - s^2)^2 / d, with no factor of 1000."""
    alike = [mmd_squared(normal(30, 8, seed), normal(30, 8, 1000 + seed)) for seed in range(300)]
    assert min(alike) < 0 < max(alike)
    assert abs(np.mean(alike)) < 4 * np.std(alike) / 300**0.5
    wider = [mmd_squared(normal(30, 8, seed), normal(30, 8, 1000 + seed, 2**0.5)) for seed in range(300)]
    assert abs(np.mean(wider) - 3 / 8) < 4 * np.std(wider) / 300**0.5 < 0.1


@pytest.mark.parametrize(("count", "size"), [(60, 60), (60, 20), (400, 20)])
def test_the_standard_error_is_honest(count: int, size: int) -> None:
    """The distance of N(0, 1) and N(0, 2) in 4 dimensions is 3/4; 1.96 standard errors reach it in about 95 of 100 trials."""
    sets = [(normal(count, 4, seed), normal(count, 4, 1000 + seed, 2**0.5)) for seed in range(100)]
    found = [kernel_distance(one, other, subsets=10, size=size, seed=seed) for seed, (one, other) in enumerate(sets)]
    means, errors = np.array([one.mean for one in found]), np.array([one.standard_error for one in found])
    assert np.mean(np.abs(means - 0.75) < 1.96 * errors) >= 0.92
    assert 0.95 * means.std() < errors.mean() < 1.8 * means.std()


def test_parts_add_up_to_the_distance() -> None:
    samples, reference = normal(40, 5, 0), normal(30, 5, 1, 1.3, 0.5)
    found = kernel_parts(samples, reference)
    assert found.value == pytest.approx(mmd_squared(samples, reference), rel=1e-12)
    assert found.of_reference.shape == (30,)
    alone = kernel_distance(samples[:30], reference, subsets=1, size=30)
    assert kernel_parts(samples[:30], reference).standard_error == pytest.approx(alone.standard_error, rel=1e-12)


def test_the_error_of_a_difference_is_honest_and_smaller_than_that_of_two_distances() -> None:
    """N(0, 2) and N(0, 1.5) are 3/4 and 3/16 from N(0, 1) in 4 dimensions; 1.96 standard errors reach the difference in about 95 of
    100 trials."""
    found, apart = [], []
    for seed in range(100):
        reference = normal(15, 4, seed)  # so few that most of the error is theirs
        wide, narrow = (kernel_parts(normal(1000, 4, int(1000 * size) + seed, size**0.5), reference) for size in (2, 1.5))
        found.append(kernel_difference(wide, narrow))
        apart.append(np.hypot(wide.standard_error, narrow.standard_error))
    differences, errors = np.array(found).T
    assert np.mean(np.abs(differences - 9 / 16) < 1.96 * errors) >= 0.92
    assert 0.85 * differences.std() < errors.mean() < 1.3 * differences.std()
    assert errors.mean() < 0.8 * np.mean(apart)


def test_a_difference_needs_one_reference() -> None:
    samples = normal(9, 4, 0)
    with pytest.raises(OptionError, match="9 and 8 samples"):
        kernel_difference(kernel_parts(samples, normal(9, 4, 1)), kernel_parts(samples, normal(8, 4, 1)))


def test_the_same_features_are_no_further_than_samples_of_one_distribution() -> None:
    one = normal(30, 8, 0).relu()
    assert mmd_squared(one, one) == pytest.approx(by_definition(one, one), rel=1e-10)
    assert mmd_squared(one, one) < 0  # pairs of a sample and itself count between sets, not within them


def test_constant_features_are_finite() -> None:
    """(a a + 1)^3 + (b b + 1)^3 - 2 (a b + 1)^3 at a = 1, b = 2."""
    found = kernel_distance(torch.ones(9, 4), torch.full((9, 4), 2.0), subsets=5, size=6)
    assert found.mean == pytest.approx(8 + 125 - 54, rel=1e-14)
    assert [found.standard_deviation, found.standard_error] == pytest.approx([0, 0], abs=1e-12)
    assert mmd_squared(torch.ones(9, 4), torch.ones(7, 4)) == pytest.approx(0, abs=1e-12)


def test_float32_products_are_close_to_float64() -> None:
    one, other = normal(200, 300, 4).relu().float(), normal(200, 300, 5, 1.05).relu().float()
    exact = kernel_distance(one.double(), other.double(), subsets=5, size=100)
    found = kernel_distance(one, other, subsets=5, size=100)
    assert found.mean == pytest.approx(exact.mean, abs=1e-8)
    assert found.mean != exact.mean
    assert kernel_distance(one.half(), other.half(), 5, 100).mean == pytest.approx(exact.mean, abs=1e-4)


def test_the_seed_alone_decides_the_subsets() -> None:
    one, other = normal(60, 8, 6), normal(60, 8, 7)
    first = kernel_distance(one, other, 5, 20, seed=1)
    torch.manual_seed(99)
    assert kernel_distance(one, other, 5, 20, seed=1) == first
    assert kernel_distance(one, other, 5, 20, seed=2) != first


def test_a_subset_larger_than_a_set_is_an_error_and_the_smaller_size_is_told() -> None:
    one, other = normal(60, 8, 6), normal(30, 8, 7)
    with pytest.raises(OptionError, match="size: got subsets of 31 for sets of 60 and 30"):
        kernel_distance(one, other, size=31)
    assert subset_size(60, 30) == 30
    assert subset_size(60, 30, 20) == 20
    assert subset_size(10_000, 50_000) == 1000
    assert kernel_distance(one, other, 2, subset_size(60, 30)).size == 30


@pytest.mark.parametrize(("subsets", "size"), [(0, 20), (5, 1), (5, 0)])
def test_subsets_have_a_size_and_a_number(subsets: int, size: int) -> None:
    with pytest.raises(OptionError, match=r"size: got|subsets: got"):
        kernel_distance(normal(60, 8, 6), normal(60, 8, 7), subsets, size)


def test_bad_features_are_one_clear_line() -> None:
    good, bad = normal(10, 3, 0), normal(10, 3, 1)
    bad[2, 1] = float("nan")
    for function in (mmd_squared, lambda a, b: kernel_distance(a, b, 1, 2)):
        for pair, line in (
            ((good, bad), "1 of 10 samples hold NaN"),
            ((good[:1], good), "got 1 samples; at least 2"),
            ((good, good[:, :2]), "3 and 2 dimensions"),
        ):
            with pytest.raises(DataError, match=line):
                function(*pair)
