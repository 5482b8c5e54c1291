from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import inf, isfinite, sqrt

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from elegan.errors import DataError
from elegan.metrics.memorisation import (
    MemorisationReport,
    auc_error,
    c_t,
    closeness,
    deviations,
    deviations_of_caught,
    mann_whitney,
    membership,
    memorisation,
    nearer_to_train,
    wins,
)


def normal(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


TRAIN, HELD_OUT, SAMPLES = normal(300, 12, 1), normal(150, 12, 2), normal(200, 12, 3)
SCORES = {
    "apart": (normal(40, 1, 1)[:, 0] + 1, normal(25, 1, 2)[:, 0]),
    "with ties": ((normal(40, 1, 1)[:, 0] + 0.5).mul(2).round(), normal(25, 1, 2)[:, 0].mul(2).round()),
    "the wrong way": (normal(9, 1, 1)[:, 0] - 2, normal(30, 1, 2)[:, 0]),
    "certain": (torch.tensor([3.0, 2.0]), torch.tensor([1.0, 0.0, -1.0])),
    "all equal": (torch.zeros(4), torch.zeros(6)),
}


@pytest.mark.parametrize("name", SCORES)
def test_the_area_is_that_of_scikit_learn(name: str) -> None:
    train, held_out = SCORES[name]
    labels = np.repeat([1, 0], [len(train), len(held_out)])
    expected = roc_auc_score(labels, torch.cat([train, held_out]).numpy())
    assert membership(train, held_out).auc == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in SCORES if name != "all equal"])
def test_deviations_are_those_of_scipy(name: str) -> None:
    x, y = (scores.double() for scores in SCORES[name])
    expected = stats.mannwhitneyu(x.numpy(), y.numpy(), use_continuity=False, method="asymptotic", alternative="less")
    assert wins(x, y) == expected.statistic
    assert stats.norm.cdf(mann_whitney(x, y)) == pytest.approx(expected.pvalue, rel=1e-9)
    assert membership(x, y).deviations == mann_whitney(x, y)


def test_equal_scores_tell_nothing() -> None:
    found = membership(*SCORES["all equal"])
    assert (found.auc, found.deviations, found.caught) == (0.5, 0, 0)
    assert found.low < 0.5 < found.high


@pytest.mark.parametrize(("rate", "m", "n"), [(1.0, 12, 7), (3.0, 5, 9), (0.1, 10, 10)])
def test_the_error_of_the_area_is_exact_for_exponential_scores(rate: float, m: int, n: int) -> None:
    """20,000 draws: the standard deviation is known to about 1%, the mean to 4 standard errors."""
    random = np.random.default_rng(0)
    x, y = random.exponential(1.0, (20_000, m, 1)), random.exponential(rate, (20_000, 1, n))
    areas, expected = (x > y).mean((1, 2)), 1 / (1 + rate)
    assert abs(areas.mean() - expected) < 4 * areas.std() / sqrt(20_000)
    assert auc_error(expected, m, n) == pytest.approx(areas.std(), rel=0.03)


def test_the_error_of_the_area_at_its_ends_and_in_the_middle() -> None:
    assert auc_error(0.5, 30, 20) == pytest.approx(sqrt(51 / (12 * 600)), abs=1e-15)  # that of Mann and Whitney's U
    assert auc_error(1.0, 30, 20) == 0
    assert auc_error(0.0, 30, 20) == 0


@pytest.mark.parametrize("name", SCORES)
def test_the_interval_holds_the_areas_within_their_own_errors(name: str) -> None:
    train, held_out = SCORES[name]
    found, sizes = membership(train, held_out), (len(train), len(held_out))
    assert 0 <= found.low < found.high <= 1
    assert found.low <= found.auc <= found.high
    for end in (found.low, found.high):
        if end != found.auc:
            assert abs(found.auc - end) == pytest.approx(1.96 * auc_error(end, *sizes), abs=1e-9)
    assert (found.low > 0.5) == ((found.auc - 0.5) / auc_error(0.5, *sizes) > 1.96)


def test_the_interval_holds_the_truth_in_19_of_20_cases() -> None:
    """Normal scores one deviation apart: the area is Phi(1 / sqrt 2). Of 300 intervals 285 hold it, less 3.4 deviations at worst."""
    truth = stats.norm.cdf(1 / sqrt(2))
    found = [membership(normal(30, 1, 2 * seed)[:, 0] + 1, normal(40, 1, 2 * seed + 1)[:, 0]) for seed in range(300)]
    assert 272 <= sum(one.low <= truth <= one.high for one in found) <= 299


@pytest.mark.parametrize(("m", "n", "few"), [(5, 4, 2), (3, 6, 1), (4, 4, 4)])
def test_the_chance_of_images_caught_by_counting_all_orders(m: int, n: int, few: int) -> None:
    orders = [set(chosen) for chosen in combinations(range(m + n), m)]  # ranks of training scores, the highest first
    limits = [sorted(set(range(m + n)) - order)[few - 1] for order in orders]
    caught = [sum(rank < limit for rank in order) for order, limit in zip(orders, limits, strict=True)]
    for number in range(1, m + 1):
        expected = np.mean([one >= number for one in caught])
        assert stats.norm.sf(deviations_of_caught(number, few, m, n)) == pytest.approx(expected, rel=1e-9)
    assert deviations_of_caught(0, few, m, n) < -7


def test_the_chance_of_images_caught_among_many() -> None:
    for caught, few, m, n in ((30, 5, 500, 300), (900, 100, 50_000, 10_000), (50_000, 100, 50_000, 10_000)):
        expected = stats.hypergeom.logcdf(few - 1, m + n, n, caught + few - 1)
        found = deviations_of_caught(caught, few, m, n)
        assert isfinite(found)
        if expected > -600:
            assert stats.norm.logsf(found) == pytest.approx(expected, rel=1e-7)


def test_a_few_images_that_are_certainly_recognised_count() -> None:
    """30 of 600 stand out: the area does not show it, the count does. As many false alarms would be one in 600 images."""
    train, held_out = normal(600, 1, 1)[:, 0], normal(600, 1, 2)[:, 0]
    train[:30] = 100
    found = membership(train, held_out)
    assert found.deviations < 3
    assert found.caught_deviations > 4
    assert found.caught == pytest.approx(30 / 600, abs=0.02)
    assert found.false_alarms == 6 / 601


def test_scores_that_tell_nothing_seldom_say_otherwise() -> None:
    """Of 400 draws 1% are beyond 2.33 deviations: 4, and no more than 13 but once in 10,000 times."""
    found = [membership(normal(60, 1, 2 * seed)[:, 0], normal(90, 1, 2 * seed + 1)[:, 0]) for seed in range(400)]
    assert sum(one.deviations > 2.33 for one in found) <= 13
    assert sum(one.caught_deviations > 2.33 for one in found) <= 13


@pytest.mark.parametrize(("train", "held_out"), [([], [1.0]), ([1.0], []), ([float("nan")], [1.0]), ([1.0], [float("nan")])])
def test_scores_that_cannot_be_compared_are_refused(train: list[float], held_out: list[float]) -> None:
    with pytest.raises(DataError, match="at least one each, and none NaN"):
        membership(torch.tensor(train), torch.tensor(held_out))


def test_no_difference_is_no_deviation() -> None:
    assert deviations(0.0, 0.0) == 0
    assert deviations(1.0, 0.5) == 2
    assert deviations(-1.0, 0.0) == -inf


def test_closeness_by_hand() -> None:
    """Training images at 0, 1 and 10, whose nearest others are 1, 1 and 9 away."""
    found = closeness(column(0, 1, 10), column(-2, 1.5, 30), column(0.5, 3, 11, 10))
    assert found.nearest_train.tolist()[1:] == [1, 2, 2]
    assert found.relative.tolist() == pytest.approx([0.5, 2, 1 / 9, 0])
    assert found.authentic == 1 / 4
    assert found.authentic_held_out == 2 / 3
    assert found.authentic_error == pytest.approx(sqrt(3 / 7 * 4 / 7 * (1 / 4 + 1 / 3)))
    assert found.distance_ratio == pytest.approx(0.75 / 2)
    assert (found.closest, found.closest_expected) == (1.0, 3 / 4)  # the 3 closest of 3 held-out images


@pytest.mark.parametrize("repeats", [1, 2])
def test_authenticity_is_that_of_full_distances(repeats: int) -> None:
    train = TRAIN.repeat(repeats, 1).double().numpy()
    among = np.linalg.norm(train[:, None] - train[None], axis=2)
    np.fill_diagonal(among, np.inf)
    expected = []
    for points in (SAMPLES, HELD_OUT):
        between = np.linalg.norm(points.double().numpy()[:, None] - train[None], axis=2)
        expected.append((between.min(1) > among.min(1)[between.argmin(1)]).mean())
    found = closeness(TRAIN.repeat(repeats, 1), HELD_OUT, SAMPLES)
    assert [found.authentic, found.authentic_held_out] == expected
    assert (expected[0] == 1) == (repeats == 2)  # each training image has an equal, and nothing is nearer than that


def test_closeness_to_equal_images() -> None:
    same = torch.ones(6, 3)
    found = closeness(same, same, torch.cat([same, same + 1]))
    assert found.relative.tolist() == [0.0] * 6 + [inf] * 6
    assert (found.authentic, found.authentic_held_out, found.distance_ratio) == (0.5, 0, None)


def by_definition_of_c_t(sets: list[np.ndarray], labels: list[np.ndarray]) -> float:
    """From training, held-out and generated features and their cells."""
    weights, deviation = [], []
    for cell in np.unique(labels[0]):
        ours, real, samples = (points[label == cell] for points, label in zip(sets, labels, strict=True))
        if len(samples) > 20:
            search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(ours)
            x, y = (search.kneighbors(points)[0][:, 0] for points in (samples, real))
            spread = sqrt(len(x) * len(y) * (len(x) + len(y) + 1) / 12)
            deviation.append((stats.mannwhitneyu(x, y).statistic - len(x) * len(y) / 2) / spread)
            weights.append(len(real))
    return float(np.dot(weights, deviation) / sum(weights))


@pytest.mark.parametrize("width", [5, 90])
def test_c_t_is_that_of_its_definition(width: int) -> None:
    """Three clusters far apart, which k-means cannot miss; the third has too few samples to count."""
    centres = 100 * torch.eye(3, width)
    sets = [normal(150, width, 1), normal(60, width, 2), 0.8 * normal(80, width, 3)]
    labels = [torch.arange(150) % 3, torch.arange(60) % 2 + (torch.arange(60) % 12 == 0).long(), torch.arange(80).clamp(max=69) // 30]
    train, held_out, generated = (points + centres[label] for points, label in zip(sets, labels, strict=True))
    arrays = [points.double().numpy() for points in (train, held_out, generated)]
    if width > 64:  # principal components by a singular value decomposition
        mean = arrays[0].mean(0)
        directions = np.linalg.svd(arrays[0] - mean, full_matrices=False)[2][:64].T
        arrays = [(array - mean) @ directions for array in arrays]
    found = c_t(train, held_out, generated)
    assert found == pytest.approx(by_definition_of_c_t(arrays, [label.numpy() for label in labels]), abs=1e-6)
    assert found == c_t(train, held_out, generated)


def test_c_t_has_a_sign_for_copies_and_one_for_strangers() -> None:
    copies, strangers = c_t(TRAIN, HELD_OUT, TRAIN[:200] + 0.01 * SAMPLES), c_t(TRAIN, HELD_OUT, 3 * SAMPLES)
    assert copies is not None
    assert strangers is not None
    assert copies < -8
    assert strangers > 8


def test_c_t_of_copies_of_duplicates_and_of_too_few() -> None:
    assert c_t(TRAIN, HELD_OUT, SAMPLES[:20]) is None
    same = torch.ones(30, 4)
    assert c_t(same, same, same) == 0
    assert c_t(same[:1], same[:2], same) == 0


def test_nearer_to_train_by_hand() -> None:
    """Samples at 0 (nearest: training), 2 and 2 (held-out), 5 (as far from both): loads 1 and 0.5, 2 and 0.5, of 4."""
    share, error = nearer_to_train(column(0, 6), column(2, 4), column(0, 2, 2, 5))
    assert share == 1.5 / 4
    loads = np.array([1, 0.5, 2, 0.5]) / 4
    halves = [loads[list(chosen)].sum() for chosen in combinations(range(4), 2)]
    assert error == pytest.approx(np.std(halves), abs=1e-12)


def test_nearer_to_train_has_a_half_by_chance_whatever_the_sizes() -> None:
    """200 draws of training sets thrice the size; without the cut the share is about 3 / 4. Errors are those that are found."""
    found = np.array([nearer_to_train(normal(60, 3, 3 * s), normal(20, 3, 3 * s + 1), normal(40, 3, 3 * s + 2), s) for s in range(200)])
    assert abs(found[:, 0].mean() - 0.5) < 4 * found[:, 0].std() / sqrt(200)
    assert found[:, 1].mean() == pytest.approx(found[:, 0].std(), rel=0.15)
    whole = NearestNeighbors(n_neighbors=1).fit(torch.cat([normal(60, 3, 0), normal(20, 3, 1)]).numpy())
    assert (whole.kneighbors(normal(40, 3, 2).numpy())[1] < 60).mean() > 0.6


def test_samples_of_one_point_are_no_evidence() -> None:
    share, error = nearer_to_train(TRAIN, HELD_OUT, SAMPLES[:1].expand(100, 12))
    assert share in (0, 1)
    assert error == pytest.approx(0.5, abs=0.01)


COPIES = TRAIN[:200] + 0.05 * SAMPLES


@pytest.mark.parametrize(
    ("samples", "copies", "close", "said"),
    [
        (SAMPLES, False, False, "No copying is seen"),
        (COPIES, True, True, "Samples copy training images"),
        (TRAIN[:200], True, True, "Samples copy training images"),
        (torch.cat([SAMPLES[:170], COPIES[:30]]), True, False, "Samples copy training images"),
        (SAMPLES * 0.4, False, True, "so narrow rather than copied"),
        (SAMPLES[:1] + 1e-3 * SAMPLES, False, True, "so narrow rather than copied"),
        (SAMPLES * 3, False, False, "No copying is seen"),
    ],
    ids=["honest", "copies", "exact copies", "some copies", "narrow", "collapsed", "wide"],
)
def test_known_answers(samples: Tensor, copies: bool, close: bool, said: str) -> None:
    report = memorisation(TRAIN, HELD_OUT, samples)
    assert (report.copies, report.close) == (copies, close)
    assert said in report.verdict
    assert report.verdict.endswith(".")
    assert f"{report.by_distance.auc:.3f}" in report.verdict


SHIFTED = 1.3 * HELD_OUT + 0.3
"""Held-out images of another kind than the training images."""


@pytest.mark.parametrize(
    ("samples", "copies"),
    [(normal(200, 12, 4), False), (normal(400, 12, 5), False), (COPIES, True), (TRAIN[:200], True)],
    ids=["honest", "more of them", "copies", "exact copies"],
)
def test_held_out_images_of_another_kind_accuse_nobody(samples: Tensor, copies: bool) -> None:
    """Without the control honest samples would be accused: they are like training images, and these are nearer to one another."""
    report = memorisation(TRAIN, SHIFTED, samples)
    assert replace(report, control=None).copies
    assert report.copies == copies
    assert f"of training images that take their place {report.control.nearer:.1%}" in report.verdict  # type: ignore[union-attr]


def test_held_out_images_of_another_kind_make_nobody_close() -> None:
    """Training images of two kinds, held-out ones of the wider of them alone."""
    train, samples = (torch.cat([0.3 * normal(150, 12, seed), normal(150, 12, seed + 1)]) for seed in (6, 8))
    report = memorisation(train, normal(150, 12, 10), samples)
    assert replace(report, control=None).close
    assert not report.close


def test_the_control_is_the_same_comparison() -> None:
    control = memorisation(TRAIN, HELD_OUT, SAMPLES, seed=2).control
    assert control is not None
    assert (control.train, control.held_out, control.generated, control.control) == (150, 150, 150, None)
    assert memorisation(TRAIN[:3], HELD_OUT, SAMPLES).control is None


def test_honest_samples_are_seldom_accused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tests at 3 deviations: one false accusation in about 250 draws. Two of 40 would be by chance in 1 of 100 cases."""
    monkeypatch.setattr("elegan.metrics.memorisation.c_t", lambda *_, **__: None)  # it takes time, and accuses nobody
    accused = [memorisation(normal(40, 4, 3 * s), normal(40, 4, 3 * s + 1), normal(40, 4, 3 * s + 2)).copies for s in range(40)]
    assert sum(accused) <= 1


def test_the_report_is_made_of_its_parts() -> None:
    logits = normal(300, 1, 5)[:, 0] + 2, normal(150, 1, 6)[:, 0]
    report = memorisation(TRAIN, HELD_OUT, SAMPLES, logits, seed=4)
    assert (report.train, report.held_out, report.generated) == (300, 150, 200)
    assert (report.nearer, report.nearer_error) == nearer_to_train(TRAIN, HELD_OUT, SAMPLES, seed=4)
    assert report.c_t == c_t(TRAIN, HELD_OUT, SAMPLES, seed=4)
    search = NearestNeighbors(n_neighbors=1).fit(SAMPLES.numpy())
    scores = [torch.from_numpy(-search.kneighbors(points.numpy())[0][:, 0]) for points in (TRAIN, HELD_OUT)]
    assert report.by_distance.auc == pytest.approx(membership(*scores).auc, abs=1e-9)
    assert report.by_discriminator == membership(*logits)
    assert f"by the discriminator with an AUC of {membership(*logits).auc:.3f}" in report.verdict
    assert not report.copies  # what the discriminator knows the samples need not show


@pytest.mark.parametrize("d", [1, 70])
def test_constant_and_tiny_sets_have_a_report(d: int) -> None:
    report = memorisation(torch.zeros(2, d), torch.zeros(2, d), torch.zeros(1, d))
    assert (report.copies, report.close, report.c_t, report.nearer, report.by_distance.auc) == (False, False, None, 0.5, 0.5)
    assert isinstance(report, MemorisationReport)
    report = memorisation(torch.zeros(30, d), torch.zeros(30, d), torch.ones(30, d))
    assert (report.copies, report.close) == (False, False)
    assert report.c_t is not None
    assert report.c_t > 5
    assert "nan" not in report.verdict


def test_sets_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(DataError, match="from 2 training and 2 held-out images up, got 300 and 1"):
        memorisation(TRAIN, HELD_OUT[:1], SAMPLES)
    with pytest.raises(DataError, match="features of 11 numbers cannot be compared with features of 12"):
        memorisation(TRAIN, HELD_OUT, SAMPLES[:, :11])
    with pytest.raises(DataError, match="not finite"):
        memorisation(TRAIN, HELD_OUT, SAMPLES / 0)
