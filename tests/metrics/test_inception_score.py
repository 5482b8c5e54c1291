from __future__ import annotations

import sys
from math import exp, log
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import Tensor

from elegan.errors import DataError, OptionError
from elegan.metrics.inception_score import inception_score


def logits(n: int, classes: int, seed: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(n, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def sure(n: int, classes: int) -> Tensor:
    """Each class in turn, with probability 1, as logarithms: 0 and -inf."""
    return torch.eye(classes)[torch.arange(n) % classes].log()


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    return pytest.importorskip("torch_fidelity.metric_isc").isc_features_to_metric


def test_sure_and_even_predictions_score_the_number_of_classes() -> None:
    found = inception_score(sure(70, 7), splits=1)
    assert found.mean == pytest.approx(7, rel=1e-14)
    assert [found.interval.low, found.interval.value, found.interval.high] == pytest.approx([7, 7, 7], rel=1e-14)
    assert found.standard_deviation == 0


def test_the_same_prediction_always_scores_one() -> None:
    found = inception_score(logits(1, 5, 0).expand(40, 5), splits=4)
    assert found.mean == pytest.approx(1, rel=1e-14)
    assert [found.interval.low, found.interval.high] == pytest.approx([1, 1], rel=1e-14)
    assert inception_score(torch.zeros(40, 5)).mean == pytest.approx(1, rel=1e-14)


def test_two_predictions_that_mirror_each_other() -> None:
    """KL((.9, .1) || (.5, .5)) = log 2 + .9 log .9 + .1 log .1 for both."""
    p = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=torch.float64)
    assert inception_score(p.log(), splits=1).mean == pytest.approx(exp(log(2) + 0.9 * log(0.9) + 0.1 * log(0.1)), rel=1e-14)


@pytest.mark.parametrize("splits", [1, 10])
@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0])
def test_the_score_is_the_references(reference: Any, scale: float, splits: int) -> None:
    """103 samples, so splits of unequal size, too; both get the order that the seed gives."""
    given = logits(103, 12, 1, scale)
    order = torch.randperm(103, generator=torch.Generator().manual_seed(5))
    expected = reference(given[order], splits, shuffle=False)
    found = inception_score(given, splits, seed=5)
    assert found.mean == pytest.approx(expected["inception_score_mean"], rel=1e-12)
    assert found.standard_deviation == pytest.approx(expected["inception_score_std"], rel=1e-9, abs=1e-14)
    assert found.splits == splits


def test_samples_that_are_sorted_by_class_are_shuffled(reference: Any) -> None:
    """Each of 10 splits would hold one class, and score 1."""
    given = 30 * torch.eye(10, dtype=torch.float64).repeat_interleave(50, 0)
    assert reference(given, 10, shuffle=False)["inception_score_mean"] == pytest.approx(1)
    assert inception_score(given).mean > 9


def test_a_constant_added_to_the_logits_changes_nothing() -> None:
    given = logits(40, 6, 2)
    assert inception_score(given + 1e4, splits=2).mean == pytest.approx(inception_score(given, splits=2).mean, rel=1e-10)


def test_huge_logits_are_sure_predictions() -> None:
    assert inception_score(1e4 * torch.eye(4).repeat(5, 1), splits=1).mean == pytest.approx(4, rel=1e-14)


def test_float32_logits_are_widened_first() -> None:
    given = logits(40, 6, 3).float()
    assert inception_score(given) == inception_score(given.double())


def test_the_seed_alone_decides_the_splits() -> None:
    given = logits(100, 6, 4)
    first = inception_score(given, seed=1)
    torch.manual_seed(99)
    assert inception_score(given, seed=1) == first
    assert inception_score(given, seed=2).standard_deviation != first.standard_deviation
    assert inception_score(given, 1, seed=2).mean == pytest.approx(inception_score(given, 1, seed=1).mean, rel=1e-14)


def test_the_interval_covers_the_mean_of_many_sets() -> None:
    """Of sets split as these are, so with the bias of splits of 20."""
    found = [inception_score(logits(200, 3, 100 + seed), splits=10, seed=seed) for seed in range(40)]
    mean, deviation = np.mean([one.mean for one in found]), np.std([one.mean for one in found])
    assert 34 <= sum(one.interval.low <= mean <= one.interval.high for one in found) <= 40
    assert np.mean([one.interval.high - one.interval.low for one in found]) / 3.92 == pytest.approx(deviation, rel=0.25)
    assert all(one.interval.value == one.mean for one in found)


def test_small_splits_score_too_low_as_documented() -> None:
    """By a share of (c - 1) / 2n = 0.09 for 10 classes and 50 samples; the mean of 200 splits is known to 0.002."""
    classes = torch.randint(10, (200 * 50,), generator=torch.Generator().manual_seed(0))
    found = inception_score(torch.eye(10)[classes].log(), splits=200)
    assert found.mean / 10 == pytest.approx(1 - 9 / 100, abs=0.008)


@pytest.mark.parametrize("row", [[float("nan"), 0.0], [float("inf"), 0.0], [float("-inf"), float("-inf")]])
def test_rows_without_probabilities_are_counted(row: list[float]) -> None:
    given = torch.zeros(5, 2)
    given[1] = given[3] = torch.tensor(row)
    with pytest.raises(DataError, match="2 of 5 samples have no probabilities"):
        inception_score(given, splits=1)


@pytest.mark.parametrize("given", [torch.zeros(5), torch.zeros(5, 0), torch.zeros(5, 2, dtype=torch.int64), torch.zeros(5, 2, 2)])
def test_another_shape_or_type_is_named(given: Tensor) -> None:
    with pytest.raises(DataError, match="logits: got torch"):
        inception_score(given, splits=1)


@pytest.mark.parametrize(("count", "splits"), [(19, 10), (1, 1), (0, 1), (20, 0)])
def test_each_split_needs_two_samples(count: int, splits: int) -> None:
    with pytest.raises(OptionError, match=f"splits: got {splits} for {count} samples"):
        inception_score(torch.zeros(count, 3), splits)
