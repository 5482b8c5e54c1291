from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import skimage.metrics
import torch
from scipy.spatial.distance import pdist  # type: ignore[import-untyped]
from torch import Tensor

from elegan.errors import DataError, OptionError
from elegan.metrics import diversity
from elegan.metrics.diversity import DiversityRatio, Labels, diversity_ratio, draw_pairs, intra_class_distance, ms_ssim_diversity
from elegan.metrics.pairs import ms_ssim
from elegan.pictures import Pixels


def noise(seed: int, *shape: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels(*values: int) -> Labels:
    return np.array(values, np.int64)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_ms_ssim_diversity_is_the_mean_over_pairs_of_a_class() -> None:
    """At one scale MS-SSIM is SSIM, or 0 for a negative one, and skimage has it; classes stand mixed."""
    blocks = noise(0, 7, 3, 3, 1).repeat(5, 1).repeat(5, 2)
    pixels, classes = (blocks // 4 + 100).astype(np.uint8), labels(4, 1, 4, 4, 1, 1, 4)
    found = ms_ssim_diversity(pixels, classes, scales=1)
    oracle: Any = skimage.metrics.structural_similarity
    expected = {
        label: np.mean(
            [
                max(0, oracle(*pixels[[i, j], :, :, 0], data_range=255, gaussian_weights=True, use_sample_covariance=False))
                for i, j in combinations(np.flatnonzero(classes == label), 2)
            ]
        )
        for label in (1, 4)
    }
    assert found == pytest.approx(expected, rel=1e-12)
    assert 0.1 < expected[1] < 0.9
    assert expected[1] != expected[4]


def test_random_pairs_estimate_the_mean_over_all() -> None:
    """100 of 780 pairs: within 4 standard errors; each seed has its own, and the same again."""
    pixels = (noise(0, 40, 3, 3, 1).repeat(5, 1).repeat(5, 2) // 4 + 100).astype(np.uint8)
    one = labels(*[0] * 40)
    (first, second) = draw_pairs(40, 780, np.random.default_rng(0))
    values = ms_ssim(pixels[first], pixels[second], scales=1)
    found = ms_ssim_diversity(pixels, one, scales=1, seed=3)[0]
    assert 0 < abs(found - values.mean().item()) < 4 * values.std().item() / 10
    assert ms_ssim_diversity(pixels, one, scales=1, seed=3)[0] == found
    assert ms_ssim_diversity(pixels, one, scales=1, seed=4)[0] != found


def test_a_class_of_one_picture_has_1_and_another_class_does_not_hide_it() -> None:
    pixels = np.concatenate([noise(0, 1, 176, 176, 1).repeat(3, 0), noise(1, 2, 176, 176, 1)])
    found = ms_ssim_diversity(pixels, labels(0, 0, 0, 1, 1))
    assert found[0] == pytest.approx(1, abs=1e-12)
    assert found[1] < 0.5


def test_small_images_and_wrong_pixels_are_errors() -> None:
    with pytest.raises(DataError, match="at least 176 x 176 pixels here, got 128 x 128; take fewer scales than 5"):
        ms_ssim_diversity(noise(0, 2, 128, 128, 1), labels(0, 0))
    with pytest.raises(DataError, match="uint8"):
        ms_ssim_diversity(np.full((2, 176, 176, 1), np.nan), labels(0, 0))
    with pytest.raises(OptionError, match="pairs: got 0"):
        ms_ssim_diversity(noise(0, 2, 176, 176, 1), labels(0, 0), pairs=0)


@pytest.mark.parametrize(("n", "most"), [(2, 100), (5, 10), (5, 4), (200, 150)])
def test_pairs_are_of_two_and_do_not_repeat(n: int, most: int) -> None:
    found = list(zip(*draw_pairs(n, most, np.random.default_rng(0)), strict=True))
    every = set(combinations(range(n), 2))
    assert len(found) == len(set(found)) == min(most, len(every))
    assert set(found) <= every
    if most >= len(every):
        assert set(found) == every


def test_pairs_are_drawn_evenly() -> None:
    random, counts = np.random.default_rng(0), dict.fromkeys(combinations(range(4), 2), 0)
    for _ in range(1200):
        for pair in zip(*draw_pairs(4, 2, random), strict=True):
            counts[pair] += 1
    assert all(abs(count - 400) < 4 * 20 for count in counts.values())  # binomial: a deviation below 20


def test_intra_class_distance_by_hand() -> None:
    """A right triangle of 3, 4 and 5 has a mean side of 4; two equal points have 0."""
    features = torch.tensor([[0.0, 0.0], [7.0, 7.0], [3.0, 0.0], [0.0, 4.0], [7.0, 7.0]])
    assert intra_class_distance(features, labels(2, 9, 2, 2, 9)) == pytest.approx({2: 4.0, 9: 0.0}, rel=1e-14)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("dimension", [1, 3, 40])
def test_intra_class_distance_is_that_of_scipy(dimension: int, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer samples than dimensions too, and far from the origin; rows at a time are no matter."""
    features, classes = normal(0, 25, dimension) + offset, labels(*[0, 1, 0, 1, 1] * 5)
    expected = {label: pdist(features.numpy()[classes == label]).mean() for label in (0, 1)}
    assert intra_class_distance(features, classes) == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(diversity, "ROWS", 4)
    assert intra_class_distance(features, classes) == pytest.approx(expected, rel=1e-10)


def test_copies_are_at_distance_0_exactly() -> None:
    """Far from the mean, where the difference of squares alone would leave 1e-8 of the length."""
    features = torch.cat([normal(0, 1, 64).repeat(5, 1), -normal(0, 1, 64).repeat(5, 1)]) + 0.1
    expected = pdist(features.numpy()).mean()
    assert intra_class_distance(features, labels(*[0] * 10))[0] == pytest.approx(expected, rel=1e-14)
    assert intra_class_distance(torch.full((10, 3), 0.1), labels(*[0] * 10)) == {0: 0.0}
    assert intra_class_distance(torch.tensor([[0.0], [-0.0]]), labels(0, 0)) == {0: 0.0}


def ratio(generated: Tensor, real: Tensor, seed: int = 0, replicates: int = 200) -> DiversityRatio:
    """Of two classes, even and odd rows."""
    of_each = [np.arange(len(side), dtype=np.int64) % 2 for side in (generated, real)]
    return diversity_ratio(
        generated=generated, generated_labels=of_each[0], real=real, real_labels=of_each[1], replicates=replicates, seed=seed
    )


def test_the_ratio_is_of_generated_to_real() -> None:
    real = normal(0, 60, 4)
    found = ratio(real[:40] / 2, real)
    expected = [np.mean([pdist(side[i::2]).mean() for i in (0, 1)]) for side in ((real[:40] / 2).numpy(), real.numpy())]
    assert (found.generated, found.real) == pytest.approx(expected, rel=1e-12)
    assert found.ratio == pytest.approx(expected[0] / expected[1], rel=1e-12)
    assert found.low < found.ratio < found.high < 0.75
    assert ratio(real, real).ratio == 1
    assert ratio(3 * real, real).low > 2.5


def test_classes_count_alike_and_between_them_nothing() -> None:
    """One class of many samples at distance 1, one of ten at distance 3, far apart: the mean is 2."""
    small, large = torch.tensor([[0.0], [1.0]]).repeat(15, 1), torch.tensor([[100.0], [103.0]]).repeat(5, 1)
    within = labels(*[0] * 30, *[1] * 10)
    found = diversity_ratio(
        generated=torch.cat([small, large]), generated_labels=within, real=torch.cat([small, large]), real_labels=within, replicates=100
    )
    assert found.real == pytest.approx((15 / 29 + 3 * 5 / 9) / 2)


def test_the_bootstrap_is_that_of_loops() -> None:
    """Draws with repetition, written out: pairs of two draws of one sample are left out."""
    real, classes = normal(0, 12, 3), labels(*[5] * 12)
    found = diversity.resampled_distances(real, classes, 20, np.random.default_rng(7))
    counts = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), 20)
    assert found[0] == pytest.approx(pdist(real.numpy()).mean())
    for replicate, times in zip(found[1:].tolist(), counts, strict=True):
        drawn = np.repeat(np.arange(12), times)
        distances = [(real[i] - real[j]).norm().item() for i, j in combinations(drawn, 2) if i != j]
        assert replicate == pytest.approx(np.mean(distances), rel=1e-10)


def test_the_interval_is_as_wide_as_the_ratio_varies() -> None:
    """60 fresh pairs of sets of one distribution: most intervals have 1, and in logarithms they are as wide as ratios vary.

    Their middle is the ratio: were copies of a draw counted as pairs, it would be 0.1 lower here."""
    draws = [ratio(normal(2 * i, 20, 2), normal(2 * i + 1, 60, 2), replicates=100) for i in range(60)]
    low, found, high = (np.log([getattr(draw, name) for draw in draws]) for name in ("low", "ratio", "high"))
    assert (high - low).mean() / 3.92 == pytest.approx(found.std(), rel=0.25)
    assert ((low <= 0) & (high >= 0)).mean() > 0.85
    assert ((low + high) / 2 - found).mean() == pytest.approx(0, abs=0.05)


def test_seeds_give_the_same_interval_again() -> None:
    one, other = normal(0, 40, 2), normal(1, 40, 2)
    assert ratio(one, other, seed=1) == ratio(one, other, seed=1)
    assert ratio(one, other, seed=1).low != ratio(one, other, seed=2).low


def test_a_generator_of_one_picture_has_no_diversity() -> None:
    found = ratio(torch.full((40, 3), 0.3), normal(0, 40, 3))
    assert (found.generated, found.ratio, found.low, found.high) == (0, 0, 0, 0)


@pytest.mark.parametrize("real", [torch.full((40, 3), 0.3), torch.cat([torch.ones(38, 1), torch.zeros(2, 1)])])
def test_real_samples_that_are_all_one_are_an_error(real: Tensor) -> None:
    with pytest.raises(DataError, match="all one, or nearly all"):
        ratio(normal(0, 40, real.shape[1]), real)


def test_sets_of_unlike_classes_and_few_samples() -> None:
    features = normal(0, 20, 2)
    with pytest.raises(DataError, match=r"same classes, got \[0\] and \[0, 1\]; sample every class"):
        diversity_ratio(generated=features, generated_labels=labels(*[0] * 20), real=features, real_labels=labels(*[0, 1] * 10))
    with pytest.raises(DataError, match="class 1 has 9 samples; at least 10"):
        ratio(normal(0, 19, 2), features)
    with pytest.raises(OptionError, match="replicates: got 99"):
        ratio(features, features, replicates=99)


@pytest.mark.parametrize(
    ("features", "classes", "message"),
    [
        (torch.zeros(3, 2), labels(0, 0, 1), "class 1 has 1 samples; at least 2"),
        (torch.zeros(3, 2), labels(0, 0), "array of 3 whole numbers"),
        (torch.zeros(3, 2), np.zeros(3), "array of 3 whole numbers"),
        (torch.zeros(3, 2), [0, 0, 0], "array of 3 whole numbers"),
        (torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), "array of 3 whole numbers"),
        (torch.tensor([[0.0], [float("nan")]]), labels(0, 0), "NaN or an infinity"),
        (torch.zeros(3), labels(0, 0, 0), r"\(n, d\)"),
        (torch.zeros(0, 2), labels(), "nothing empty"),
        (torch.zeros(3, 2, dtype=torch.int64), labels(0, 0, 0), "floating-point"),
    ],
)
def test_features_and_labels_that_do_not_fit(features: Tensor, classes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as found:
        intra_class_distance(features, classes)
    assert "\n" not in str(found.value)
