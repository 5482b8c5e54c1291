"""Judging samples of labelled data with a small convolutional classifier; shared by the benchmarks.

recognised: the share of samples that a classifier trained on real images gives the class they were asked for.
usefulness: the accuracy, on real test images, of a classifier trained on samples alone.
coverage: the share of real test images that have a sample among their nearest neighbours (Naeem et al., 2020).
variety: the variance of samples within the classes they were asked for, beside that of real test images.
closeness: the share of samples suspiciously close to a real training image, beside that of held-out real images.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from elegan.metrics.classifier import DataClassifier, Labels, classifier_extractor
from elegan.metrics.extractors import to_tensor
from elegan.metrics.fidelity import density_coverage
from elegan.pictures import Pixels


def coverage(classifier: DataClassifier, real: Pixels, samples: Pixels, neighbours: int = 5) -> float:
    """The share of `real` images with a sample nearer than their 5th nearest other real image, in the classifier's last features.

    A perfect sampler reaches 1 - 1/2^5 = 97% with as many samples as images (Naeem et al., 2020, section 3.3).
    """
    extractor = classifier_extractor(classifier)
    return density_coverage(extractor.features(real).values, extractor.features(samples).values, neighbours)[1]


def variety(classifier: DataClassifier, real: Pixels, labels: Labels, samples: Pixels, asked: Labels) -> float:
    """The variance of `samples` within the classes they were asked for, summed over the classifier's last features, over that of `real`
    images: the mean over classes. Near 0 where a generator makes one picture for each class."""
    extractor = classifier_extractor(classifier)
    features, found = extractor.features(real).values, extractor.features(samples).values
    ratios = [found[asked == label].var(0).sum() / features[labels == label].var(0).sum() for label in np.unique(labels)]
    return float(torch.stack(ratios).mean())


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
