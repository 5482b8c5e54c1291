"""A classifier of one data set, trained on its real images in a minute: it says which class a sample is of, and its last maps are
features. Trained on samples instead, it says how useful they are (Ravuri and Vinyals, 2019)."""

from __future__ import annotations

from math import log2

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import DataError
from elegan.metrics.extractors import Extractor, Features, digest, to_tensor
from elegan.metrics.fitting import Progress, fit, half_precision, seeded
from elegan.pictures import Pixels

Labels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

STEPS, BATCH, RATE, PEAK = 1500, 64, 1e-3, 3e-3
DIGIT = 8
"""Up to this side each pixel of the last maps is a feature; beyond, the mean of each map."""


class DataClassifier(nn.Module):
    """Images (n, c, h, w) in [-1, 1], of one size from 8 to 256 -> class logits (n, k)."""

    def __init__(self, shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.shape, self.num_classes = shape, num_classes
        channels, height, width = shape
        halvings = max(2, int(log2(min(height, width) / 4)))
        layers: list[nn.Module] = []
        for i in range(halvings):
            size = 32 * 2 ** min(i, 2)
            layers += [nn.Conv2d(channels, size, 3, padding=1), nn.BatchNorm2d(size), nn.ReLU(), nn.MaxPool2d(2)]
            channels = size
        self.maps = nn.Sequential(*layers)
        size = channels * (height // 2**halvings) * (width // 2**halvings)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(size, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.maps(images))
        return logits

    @torch.no_grad()
    def features(self, pixels: Pixels) -> Features:
        """The last maps, or their means, and the logits, of uint8 (n, h, w, c)."""
        maps = self.maps(to_tensor(pixels).contiguous(memory_format=torch.channels_last))
        logits: Tensor = self.head(maps)
        return Features(maps.mean((2, 3)) if min(self.shape[1:]) > DIGIT else maps.flatten(1), logits)


def train_classifier(
    pixels: Pixels, labels: Labels, num_classes: int = 0, *, seed: int = 0, progress: Progress | None = None
) -> DataClassifier:
    """Adam with a one-cycle rate on uint8 (n, h, w, c) and class numbers (n,). num_classes: the largest label + 1 without it.

    The last weights are kept, nothing is selected; nothing but the seed is drawn from. DataError for a single class.
    """
    count = num_classes or int(labels.max()) + 1
    if count < 2:
        raise DataError("a classifier needs images of at least two classes.")
    _, height, width, channels = pixels.shape
    random = np.random.default_rng(seed)
    with seeded(seed):
        classifier = DataClassifier((channels, height, width), count).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(classifier.parameters(), lr=RATE, weight_decay=1e-5)

        def loss() -> Tensor:
            chosen = random.integers(0, len(pixels), BATCH)
            with half_precision(min(height, width)):
                logits = classifier(to_tensor(pixels[chosen]).contiguous(memory_format=torch.channels_last))
            return F.cross_entropy(logits.float(), torch.from_numpy(labels[chosen]))

        fit(optimizer, PEAK, STEPS, loss, progress)
    trained: DataClassifier = classifier.eval()
    return trained


def classifier_extractor(classifier: DataClassifier) -> Extractor:
    return Extractor("classifier", digest(classifier), "none", classifier.features, classifier.shape)


def predict(classifier: DataClassifier, pixels: Pixels) -> Labels:
    """Class numbers (n,)."""
    logits = classifier_extractor(classifier).features(pixels).logits
    assert logits is not None
    found: Labels = logits.argmax(1).numpy()
    return found


def accuracy(classifier: DataClassifier, pixels: Pixels, labels: Labels) -> float:
    """The share of images to which the classifier gives their label."""
    return float((predict(classifier, pixels) == labels).mean())
