from __future__ import annotations

import sys
from itertools import permutations
from math import comb
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import Tensor

import elegan.metrics.fidelity as module
import elegan.metrics.neighbours as neighbours
from elegan.errors import DataError
from elegan.metrics.fidelity import Fidelity, density_coverage, expected_coverage, fidelity, precision_recall

ALL_ONE = Fidelity(1.0, 1.0, 1.0, 1.0)


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def by_definition(real: Tensor, generated: Tensor, k: int, density_k: int) -> Fidelity:
    """The formulas one by one, on full matrices of float64 differences."""
    x, y = real.double().numpy(), generated.double().numpy()
    real_real, fake_fake, fake_real = (np.square(a[:, None] - b[None]).sum(2) for a, b in ((x, x), (y, y), (y, x)))
    np.fill_diagonal(real_real, np.inf)
    np.fill_diagonal(fake_fake, np.inf)
    real_radius, fake_radius = np.sort(real_real, 1)[:, k - 1], np.sort(fake_fake, 1)[:, k - 1]
    inside = fake_real < np.sort(real_real, 1)[:, density_k - 1]
    precision, recall = (fake_real <= real_radius).any(1).mean(), (fake_real <= fake_radius[:, None]).any(0).mean()
    return Fidelity(precision, recall, inside.sum() / (density_k * len(y)), inside.any(0).mean())


def assert_same(found: Fidelity, expected: Fidelity) -> None:
    assert vars(found) == pytest.approx(vars(expected), abs=1e-12)


@pytest.fixture
def torch_fidelity(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    return pytest.importorskip("torch_fidelity.metric_prc")


CASES = {
    "alike": (normal(60, 8, 1), normal(50, 8, 2)),
    "wide": (normal(30, 300, 1), normal(45, 300, 2) * 0.8),
    "on a grid": (normal(60, 2, 1).mul(2).round(), normal(50, 2, 2).mul(2).round()),
    "on a fine grid, far off": (normal(60, 3, 1).mul(2).round() / 8 + 4096, normal(50, 3, 2).mul(2).round() / 8 + 4096),
    "copies": (normal(40, 16, 1), normal(40, 16, 1)[torch.arange(39) // 3]),
    "collapsed": (normal(40, 16, 1), normal(1, 16, 2).expand(30, 16)),
    "twice": (normal(20, 16, 1).repeat(2, 1), normal(20, 16, 2).repeat(2, 1)),
    "six times": (normal(5, 16, 1).repeat(6, 1), normal(5, 16, 1).repeat(7, 1)),
    "in the middle": (normal(40, 16, 1), normal(30, 16, 2) * 0.01),
    "in float64": (normal(30, 5, 1).double() / 3, normal(30, 5, 2).double() / 3),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("k", "density_k"), [(3, 5), (1, 2)])
@pytest.mark.parametrize(("bfloat16", "few"), [(False, 0.0), (True, 0.0), (True, 3.0)])
def test_all_four_are_those_of_the_definitions(
    monkeypatch: pytest.MonkeyPatch, name: str, k: int, density_k: int, bfloat16: bool, few: float
) -> None:
    """Also where bfloat16 leaves open which pairs balls hold, be they taken one by one or again in float32."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bfloat16, raising=False)
    monkeypatch.setattr(neighbours, "WIDE", 1)
    monkeypatch.setattr(module, "FEW", few)
    real, generated = CASES[name]
    expected = by_definition(real, generated, k, density_k)
    for block in (1024, 13):
        monkeypatch.setattr(neighbours, "BLOCK", block)
        assert_same(fidelity(real, generated, k, density_k), expected)
        assert_same(Fidelity(*precision_recall(real, generated, k), *density_coverage(real, generated, density_k)), expected)


@pytest.mark.parametrize("name", ["alike", "wide", "in float64"])
def test_precision_and_recall_are_those_of_torch_fidelity(torch_fidelity: Any, name: str) -> None:
    real, generated = CASES[name]
    expected = torch_fidelity.calculate_precision_recall_full(generated.double(), real.double(), neighborhood=3)
    assert precision_recall(real, generated) == pytest.approx(expected, abs=1e-6)


def test_by_hand() -> None:
    """k = 1: balls around real points are [-1, 1], [0, 2], [1, 5] and [3, 15]; around samples [-5, 1], [-2, 4] and [1, 17]."""
    real, generated = column(0, 1, 3, 9), column(-2, 1, 9)
    assert precision_recall(real, generated, k=1) == (2 / 3, 1.0)
    assert density_coverage(real, generated, k=1) == (2 / 3, 2 / 4)  # 1 lies on the surface of two balls


def test_the_surface_counts_for_precision_and_recall_and_not_for_density_and_coverage() -> None:
    real, generated = column(0, 1), column(2, 3)
    assert precision_recall(real, generated, k=1) == (0.5, 0.5)
    assert density_coverage(real, generated, k=1) == (0.0, 0.0)


def test_a_distance_is_on_the_surface_in_whatever_order_it_was_added() -> None:
    terms = [0.3, 0.6, 0.7]
    assert len({sum(term**2 for term in order) for order in permutations(terms)}) > 1
    steps = torch.tensor(terms, dtype=torch.float64)
    real = torch.stack([torch.zeros(3, dtype=torch.float64), steps])
    for order in permutations(range(3)):
        generated = torch.stack([-steps[list(order)], torch.full((3,), 50.0, dtype=torch.float64)])
        assert precision_recall(real, generated, k=1)[0] == 0.5
        assert density_coverage(real, generated, k=1) == (0.0, 0.0)


@pytest.mark.parametrize(("n", "d"), [(6, 1), (50, 3), (40, 400)])
def test_identical_sets_have_one_of_all(n: int, d: int) -> None:
    real = normal(n, d)
    assert fidelity(real, real.clone()) == ALL_ONE
    assert fidelity(real + 100, real[torch.randperm(n, generator=torch.Generator().manual_seed(1))] + 100) == ALL_ONE


def test_real_and_generated_are_not_swapped() -> None:
    """A collapsed model that makes one good image is precise and recalls nothing; the reverse would be 0.03 and 1."""
    real = normal(60, 4)
    collapsed = real[:1] + 1e-3 * normal(60, 4, 1)
    found = fidelity(real, collapsed)
    assert found.precision == 1
    assert found.recall == 1 / 60
    assert found.coverage < 0.2
    swapped = fidelity(collapsed, real)
    assert swapped.precision == 1 / 60
    assert swapped.recall == 1


def test_samples_far_away_are_neither_precise_nor_dense() -> None:
    """The balls of a model that spreads far too wide hold every real image: recall says nothing about quality."""
    found = fidelity(normal(50, 4), normal(50, 4, 1) * 1000)
    assert (found.precision, found.density, found.coverage) == (0, 0, 0)
    assert found.recall > 0


@pytest.mark.parametrize("value", [0.0, 0.1, -1e20])
def test_constant_images(value: float) -> None:
    """All distances are 0: on the surface of balls of radius 0, which hold nothing else."""
    constant = torch.full((8, 5), value)
    assert fidelity(constant, constant) == Fidelity(1.0, 1.0, 0.0, 0.0)
    assert fidelity(constant, constant + abs(value) + 1) == Fidelity(0.0, 0.0, 0.0, 0.0)


def test_the_smallest_sets() -> None:
    real, generated = normal(4, 2, 1), normal(4, 2, 2)
    assert precision_recall(column(0, 1, 2, 3), column(2, 3, 4, 9)) == (3 / 4, 1.0)
    assert density_coverage(column(0, 1, 2, 3, 4, 5), column(0)) == (3 / 5, 3 / 6)
    with pytest.raises(DataError, match="at least 4 images, got 3"):
        precision_recall(real[:3], generated)
    with pytest.raises(DataError, match="at least 4 images, got 3"):
        precision_recall(real, generated[:3])
    with pytest.raises(DataError, match="at least 6 images, got 5"):
        density_coverage(normal(5, 2), generated)
    with pytest.raises(DataError, match="at least 6 images, got 4"):
        fidelity(real, generated)


def test_unfit_features_are_refused() -> None:
    with pytest.raises(DataError, match="real features have 3 numbers, generated ones 2: take both from one extractor"):
        fidelity(normal(9, 3), normal(9, 2))
    with pytest.raises(DataError, match="1 of 9 images have features that are not finite"):
        fidelity(normal(9, 3), torch.where(torch.arange(9)[:, None] == 4, torch.nan, normal(9, 3)))
    with pytest.raises(DataError, match=r"got \(0, 3\)"):
        density_coverage(normal(9, 3), normal(0, 3))


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 12), (12, 20)])
def test_expected_density_and_coverage_of_equal_distributions(n: int, m: int) -> None:
    """Over 120 draws the means are within 4 standard errors of 1 and of the formula."""
    draws = np.array([density_coverage(normal(n, 3, 2 * seed), normal(m, 3, 2 * seed + 1)) for seed in range(120)])
    means, errors = draws.mean(0), draws.std(0, ddof=1) / 120**0.5
    assert (errors < 0.025).all()
    assert abs(means[0] - 1) < 4 * errors[0]
    assert abs(means[1] - expected_coverage(n, m)) < 4 * errors[1]
    assert abs(expected_coverage(n, m) - expected_coverage(n, m, 4)) > 2 * errors[1]


def test_expected_coverage_in_closed_form() -> None:
    """Of the n + m - 1 points around a centre the k nearest are all real in C(n - 1, k) of C(n + m - 1, k) cases."""
    assert expected_coverage(9, 6, 2) == pytest.approx(1 - comb(8, 2) / comb(14, 2), abs=1e-15)
    assert expected_coverage(10**7, 10**7) == pytest.approx(0.96875, abs=1e-6)
    assert expected_coverage(10, 0) == 0


def test_order_does_not_matter() -> None:
    real, generated = normal(40, 4, 1), normal(30, 4, 2)
    assert fidelity(real.flip(0), generated.flip(0)) == pytest.approx(fidelity(real, generated))
