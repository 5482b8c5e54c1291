"""The networks that are trained to judge: the classifier of a data set, and the encoder that learns without labels."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest
import torch

from elegan.errors import DataError
from elegan.metrics import classifier, contrastive
from elegan.metrics.classifier import accuracy, classifier_extractor, predict, train_classifier
from elegan.metrics.contrastive import Encoder, contrast, encoder_extractor, train_encoder, view
from elegan.metrics.extractors import MOST, Extractor, Features, digest
from elegan.metrics.fitting import fit, seeded
from elegan.pictures import Pixels


def stripes(n: int, side: int = 8, channels: int = 1, seed: int = 0) -> tuple[Pixels, np.ndarray]:
    """Noisy stripes, lying (class 0) or standing (class 1)."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    pattern = np.where(np.arange(side) % 4 < 2, 200, 50)
    lying = np.broadcast_to(pattern[:, None], (side, side))
    images = np.stack([lying if label == 0 else lying.T for label in labels])[..., None]
    noisy = images + random.integers(-40, 40, (n, side, side, channels))
    return noisy.clip(0, 255).astype(np.uint8), labels


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 40)
    monkeypatch.setattr(contrastive, "STEPS", 12)
    monkeypatch.setattr(contrastive, "BATCH", 32)


def test_a_classifier_learns_its_classes() -> None:
    trained = train_classifier(*stripes(200))
    pixels, labels = stripes(100, seed=1)
    assert accuracy(trained, pixels, labels) == 1.0
    assert predict(trained, pixels).tolist() == labels.tolist()


@pytest.mark.parametrize("side", [8, 21, 32])
def test_a_classifier_of_any_size_gives_features_and_logits(side: int) -> None:
    pixels, labels = stripes(64, side, 3)
    found = classifier_extractor(train_classifier(pixels, labels, 5)).features(pixels)
    assert found.logits is not None
    assert found.logits.shape == (64, 5)
    assert found.values.shape == (64, 256 if side == 8 else 128 if side == 32 else 64)


def train_small_classifier(seed: int) -> torch.nn.Module:
    return train_classifier(*stripes(64), seed=seed)


def train_small_encoder(seed: int) -> torch.nn.Module:
    return train_encoder(stripes(64)[0], seed=seed)


@pytest.mark.parametrize("train", [train_small_classifier, train_small_encoder])
def test_training_a_judge_depends_on_its_seed_alone(train: Callable[[int], torch.nn.Module]) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = digest(train(0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert one == digest(train(0))
    assert one != digest(train(1))


def test_an_encoder_learns_to_know_an_image_again() -> None:
    pixels, _ = stripes(64, 16)
    told: list[tuple[int, int]] = []
    trained = train_encoder(pixels, progress=lambda done, of: told.append((done, of)))
    assert told[0] == (1, 12)
    assert told[-1] == (12, 12)
    found = encoder_extractor(trained).features(pixels)
    assert found.logits is None
    assert found.values.shape == (64, 128)
    assert found.values.std(0).mean() > 0.01


def test_contrast_is_zero_for_partners_far_from_others_and_chance_for_equal_ones() -> None:
    apart = torch.eye(4).repeat(2, 1)
    expected = -log(np.exp(5) / (np.exp(5) + 6))
    assert float(contrast(apart)) == pytest.approx(expected, rel=1e-5)
    assert float(contrast(torch.ones(8, 4))) == pytest.approx(log(7), rel=1e-5)


def test_a_view_shows_a_part_in_other_colours() -> None:
    images = torch.rand(6, 3, 16, 16) * 2 - 1
    random = torch.Generator().manual_seed(0)
    one, other = view(images, random), view(images, random)
    assert one.shape == images.shape
    assert bool(one.isfinite().all())
    assert not torch.equal(one, other)
    assert torch.equal(one, view(images, torch.Generator().manual_seed(0)))


def test_too_little_to_learn_from_is_said() -> None:
    pixels, labels = stripes(20)
    with pytest.raises(DataError, match="at least 32 images to learn from, got 20"):
        train_encoder(pixels)
    with pytest.raises(DataError, match="at least two classes"):
        train_classifier(pixels, labels * 0)


def test_features_are_those_of_one_batch() -> None:
    encoder = Encoder((1, 8, 8)).eval()
    pixels, _ = stripes(MOST + 3)
    told: list[tuple[int, int]] = []
    found = encoder_extractor(encoder).features(pixels, lambda done, of: told.append((done, of)))
    assert told == [(MOST, MOST + 3), (MOST + 3, MOST + 3)]
    with torch.no_grad():
        expected = encoder(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1)
    torch.testing.assert_close(found.values, expected, atol=1e-5, rtol=1e-5)


def test_images_of_another_shape_are_refused() -> None:
    extractor = encoder_extractor(Encoder((3, 8, 8)).eval())
    with pytest.raises(DataError, match="8 x 8 pixels with 3 channels, got 8 x 8 with 1"):
        extractor.features(stripes(4)[0])
    with pytest.raises(DataError, match="no images"):
        extractor.features(np.zeros((0, 8, 8, 3), np.uint8))
    anything = Extractor("any", "", "none", lambda pixels: Features(torch.zeros(len(pixels), 2)))
    assert anything.features(stripes(4)[0]).values.shape == (4, 2)


def test_the_digest_is_of_every_weight_and_buffer() -> None:
    one = Encoder((1, 8, 8))
    before = digest(one)
    norm = next(module for module in one.modules() if isinstance(module, torch.nn.BatchNorm2d))
    assert norm.running_mean is not None
    norm.running_mean[0] += 1
    assert digest(one) != before


def test_fit_goes_down_and_seeds_restore() -> None:
    weight = torch.nn.Parameter(torch.tensor([4.0]))
    fit(torch.optim.Adam([weight], lr=0.1), 0.3, 100, lambda: (weight**2).sum())
    assert abs(weight.item()) < 0.5
    with seeded(3):
        one = torch.rand(2)
    with seeded(3):
        assert torch.equal(one, torch.rand(2))
