"""Judging samples of labelled data with a small convolutional classifier; shared by the benchmarks.

recognised: the share of samples that a classifier trained on real images gives the class they were asked for.
usefulness: the accuracy, on real test images, of a classifier trained on samples alone.
coverage: the share of real test images that have a sample among their nearest neighbours (Naeem et al., 2020).
closeness: the share of samples suspiciously close to a real training image, beside that of held-out real images.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Labels = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


class Classifier(nn.Module):
    """Images (n, c, h, w) in [-1, 1] -> class logits (n, k)."""

    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * (height // 4) * (width // 4), classes))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


def to_tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_classifier(pixels: Pixels, labels: Labels, *, steps: int = 1500, batch: int = 64, seed: int = 0) -> Classifier:
    """Adam with a one-cycle rate; the last weights are kept, nothing is selected."""
    torch.manual_seed(seed)
    _, height, width, channels = pixels.shape
    classifier = Classifier(channels, height, width, int(labels.max()) + 1)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        chosen = generator.integers(0, len(pixels), batch)
        loss = F.cross_entropy(classifier(to_tensor(pixels[chosen])), torch.from_numpy(labels[chosen]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return classifier.eval()


@torch.no_grad()
def predict(classifier: Classifier, pixels: Pixels) -> Labels:
    """Class numbers (n,)."""
    parts = [classifier(to_tensor(pixels[i : i + 1000])).argmax(1) for i in range(0, len(pixels), 1000)]
    found: Labels = torch.cat(parts).numpy()
    return found


def accuracy(classifier: Classifier, pixels: Pixels, labels: Labels) -> float:
    return float((predict(classifier, pixels) == labels).mean())


@torch.no_grad()
def coverage(classifier: Classifier, real: Pixels, samples: Pixels, neighbours: int = 5) -> float:
    """The share of `real` images with a sample nearer than their 5th nearest other real image, in the classifier's last features.

    A perfect sampler reaches 1 - 1/2^5 = 97% with as many samples as images (Naeem et al., 2020, section 3.3).
    """
    ours, theirs = ([features(classifier, to_tensor(p[i : i + 1000])) for i in range(0, len(p), 1000)] for p in (real, samples))
    points = torch.cat(theirs)
    everything = torch.cat(ours)
    covered = 0
    for part in ours:
        radius = torch.cdist(part, everything).kthvalue(neighbours + 1, dim=1).values  # the first is the image itself
        covered += int((torch.cdist(part, points).min(1).values < radius).sum())
    return covered / len(real)


def features(classifier: Classifier, images: Tensor) -> Tensor:
    """(n, f): the classifier's last maps; the mean of each where an image is larger than 8 pixels."""
    maps: Tensor = classifier.features(images)
    return maps.mean((2, 3)) if images.shape[-1] > 8 else maps.flatten(1)


def nearest_distances(pixels: Pixels, reference: Pixels, rank: int = 1) -> Tensor:
    """(n,): the Euclidean distance of each image to its nearest (or `rank`-th nearest) in `reference`, in pixels of [-1, 1]."""
    others = to_tensor(reference).flatten(1)
    parts = [to_tensor(pixels[i : i + 500]).flatten(1) for i in range(0, len(pixels), 500)]
    return torch.cat([torch.cdist(part, others).kthvalue(rank, dim=1).values for part in parts])


def suspiciously_close(samples: Pixels, train: Pixels, held_out: Pixels) -> tuple[float, float]:
    """The share of samples, and of held-out real images, that are suspiciously close to a training image.

    Close is what only the closest 5% of training images are to another training image.
    """
    limit = nearest_distances(train, train, rank=2).quantile(0.05)
    shares = [float((nearest_distances(images, train) < limit).float().mean()) for images in (samples, held_out)]
    return shares[0], shares[1]
