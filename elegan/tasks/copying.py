"""Whether samples are copies: of training images, beside held-out ones, in numbers and in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from elegan.tasks.scores import MOST_NEIGHBOURS, MOST_TRAINING, READ, finds_copies, rows_of, share_score

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from elegan.metrics.extractors import Extractor
    from elegan.metrics.memorisation import MemorisationReport
    from elegan.metrics.report import Score
    from elegan.pictures import Pixels
    from elegan.tasks.material import Material
    from elegan.tasks.scores import Seen

COPY_SIDE = 16
"""Copies are looked for at this side at most: means of pixels, so that a pixel's shift is no great distance."""

SHOWN, NEIGHBOURS = 16, 5
"""Samples in the picture, and training images beside each."""


@dataclass(frozen=True)
class Space:
    """Where copies are looked for: numbers (n, d) of samples, held-out and training images, and which of the images these are."""

    samples: Tensor
    held_out: Tensor
    training: Tensor
    sample_rows: Tensor
    training_rows: Tensor


def space_of(material: Material, seen: Seen, extractor: Extractor, seed: int) -> Space | None:
    """The judge's features, if it finds copies, or else pixels; None without training images apart from the reference."""
    training = material.training
    if training is None or seen.training is None or seen.training_rows is None:
        return None
    of_samples, of_held_out = (rows_of(len(images), MOST_NEIGHBOURS, seed) for images in (material.samples, material.reference))
    if finds_copies(extractor):
        return Space(seen.samples[of_samples], seen.reference[of_held_out], seen.training, of_samples, seen.training_rows)
    of_training = rows_of(len(training), MOST_TRAINING, seed)
    return Space(
        means_of_pixels(material.samples, of_samples),
        means_of_pixels(material.reference.images, of_held_out),
        means_of_pixels(training.images, of_training),
        of_samples,
        of_training,
    )


def means_of_pixels(images: Pixels, rows: Tensor) -> Tensor:
    """float32 (n, d) of images uint8 (n, h, w, c): pixels, or means of squares of them where sides are longer than `COPY_SIDE`."""
    import torch
    import torch.nn.functional as F

    parts = []
    for part in torch.split(rows, READ):
        x = torch.from_numpy(images[part.numpy()]).permute(0, 3, 1, 2).float() / 255
        factor = -(-max(x.shape[2:]) // COPY_SIDE)
        parts.append((F.avg_pool2d(x, factor, ceil_mode=True, count_include_pad=False) if factor > 1 else x).flatten(1))
    return torch.cat(parts)


def memorised(space: Space, seed: int) -> MemorisationReport:
    from elegan.metrics.memorisation import memorisation

    return memorisation(space.training, space.held_out, space.samples, seed=seed)


def scores(report: MemorisationReport) -> list[Score]:
    from elegan.metrics.report import Score

    closeness, membership = report.closeness, report.by_distance
    usual = 0.5 if report.control is None else report.control.by_distance.auc
    return [
        share_score("authentic", closeness.authentic, report.generated, closeness.authentic_held_out, ""),
        Score("membership AUC", membership.auc, membership.low, membership.high, usual),
    ]


def nearest_training_images(material: Material, space: Space) -> Image:
    """A row for each of some samples, evenly from all there are: the sample, a gap, and the training images nearest to it."""
    import numpy as np
    import torch

    from elegan.metrics.neighbours import nearest
    from elegan.pictures import grid

    assert material.training is not None
    shown = torch.linspace(0, len(space.samples) - 1, min(SHOWN, len(space.samples))).long()
    found = nearest(space.samples[shown], space.training, min(NEIGHBOURS, len(space.training))).indices
    samples = material.samples[space.sample_rows[shown].numpy()][:, None]
    beside = material.training.images[space.training_rows[found].numpy()]
    cells = np.concatenate([samples, np.full_like(samples, 96), beside], axis=1)
    return grid(cells.reshape(-1, *cells.shape[2:]), cells.shape[1])
