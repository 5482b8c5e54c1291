"""Sliced Wasserstein distances: between features, and between the patches of images at each scale, as for ProGAN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.divergences.line import check_order, random_directions, sliced_costs
from elegan.errors import DataError, OptionError
from elegan.metrics.pairs import check_pixels, filtered
from elegan.pictures import Pixels

PATCH, PATCHES, DIRECTIONS = 7, 128, 4 * 128
SMALLEST = 16
"""The side of the coarsest level, at least."""

PART = 2**20
"""Values that are filtered at one time."""

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def sliced_wasserstein(one: Tensor, other: Tensor, directions: Tensor, order: float = 1) -> float:
    """(mean over directions of W_p^p)^(1/p), W_p between the projections of features (n, d) and (m, d); p is the order.

    directions: (k, d), of length 1. In one dimension W_p^p is the integral of |difference of quantile functions|^p (Bonneel
    et al., 2015); these are step functions, and it is their integral to rounding, for unequal n and m too. In
    float64 if the features are, else in float32. DataError for features that are no finite (n, d) of one d, OptionError
    for directions that do not fit and an order below 1.
    """
    for features in (one, other):
        check_features(features)
    if one.shape[1] != other.shape[1]:
        raise DataError(f"features have one dimension, got {one.shape[1]} and {other.shape[1]}; take one extractor for both.")
    check_directions(directions, one.shape[1])
    check_order(order)
    return float(sliced_costs(one, other, directions, order).mean() ** (1 / order))


@dataclass(frozen=True)
class PyramidDistances:
    """The distance at each level of the pyramid, finest first; sizes are their (h, w). All are times 1000."""

    sizes: tuple[tuple[int, int], ...]
    distances: tuple[float, ...]

    @property
    def mean(self) -> float:
        return sum(self.distances) / len(self.distances)


def pyramid_sliced_wasserstein(one: Pixels, other: Pixels, *, seed: int = 0) -> PyramidDistances:
    """SWD of ProGAN between images uint8 (n, h, w, c) and (m, h, w, c), 1 to 4 channels (Karras et al., 2018, section 5).

    At each level of the Laplacian pyramid 128 patches of 7 x 7 pixels with all channels, at random places of each image;
    each channel of a set's patches is brought to mean 0 and deviation 1, so that sets that differ in nothing but brightness
    or contrast of a channel are equal, and a channel that does not vary is 0. Then sliced Wasserstein-1 along 512 directions
    (4 x 128), times 1000. It is no W2, and between two draws of one distribution it is above 0: print that of real
    against real beside it. Published numbers are of 8,192 or 16,384 images.

    Levels are halved, rounded up, while the shorter side stays at least 16. Places are drawn for each set by itself: those of
    image i follow from seed, level and i. 75 KB are held for each image of three channels. DataError for images that are no
    uint8 (n, h, w, c), of unlike sizes or channels, or with a side below 16.
    """
    for pixels in (one, other):
        check_pixels(pixels)
    if one.shape[1:] != other.shape[1:]:
        raise DataError(f"images have one size and number of channels, got {one.shape[1:]} and {other.shape[1:]}; resize them first.")
    sizes = level_sizes(*one.shape[1:3])
    distances = []
    for level in range(len(sizes)):
        patches = [standardised(level_patches(side, level, len(sizes), (seed, level, use))) for use, side in enumerate((one, other))]
        directions = random_directions(DIRECTIONS, patches[0].shape[1], (seed, level, len(patches)))
        distances.append(1000 * sliced_wasserstein(patches[0], patches[1], directions))
    return PyramidDistances(sizes, tuple(distances))


def level_sizes(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """(h, w) of each level, finest first."""
    if min(height, width) < SMALLEST:
        raise DataError(f"the pyramid's coarsest level is {SMALLEST} pixels wide and high, and images are {height} x {width}.")
    sizes = [(height, width)]
    while min(half := ((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2)) >= SMALLEST:
        sizes.append(half)
    return tuple(sizes)


def level_patches(pixels: Pixels, level: int, levels: int, seed: tuple[int, ...]) -> Tensor:
    """float32 (128 n, c, 7, 7): patches of one level of the pyramids of uint8 (n, h, w, c)."""
    places = torch.from_numpy(np.random.default_rng(seed).random((len(pixels), PATCHES, 2)))
    step, parts = max(1, PART // pixels[0].size), []
    for i in range(0, len(pixels), step):
        images = torch.from_numpy(pixels[i : i + step].astype(np.float64)).permute(0, 3, 1, 2)
        parts.append(cut(laplacian(images, level, levels), places[i : i + step]).float())
    return torch.cat(parts)


def cut(images: Tensor, places: Tensor) -> Tensor:
    """(n, c, h, w) and where in [0, 1), (n, k, 2) -> (n k, c, 7, 7)."""
    rooms = torch.tensor([side - PATCH + 1 for side in images.shape[2:]])
    top, left = (places * rooms).long().unbind(2)
    windows = images.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # (n, c, h - 6, w - 6, 7, 7), a view
    return windows[torch.arange(len(images)).unsqueeze(1), :, top, left].flatten(0, 1)


def standardised(patches: Tensor) -> Tensor:
    """(n, c, 7, 7) -> (n, 49 c), written in place: each channel with mean 0 and deviation 1, or 0 where it is constant."""
    for channel in patches.unbind(1):
        values = channel.double()
        values -= values.mean()
        deviation = float(values.square().mean().sqrt())
        channel.copy_(values / (deviation or 1.0))
    return patches.flatten(1)


def laplacian(images: Tensor, level: int, levels: int) -> Tensor:
    """One level of the pyramid of (n, c, h, w): what the next loses, and of the last what there is (Burt and Adelson, 1983)."""
    for _ in range(level):
        images = halved(images)
    return images if level == levels - 1 else images - doubled(halved(images), images)


def halved(images: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, c, ceil(h / 2), ceil(w / 2)): every second pixel of the blurred images."""
    return binomial(images)[:, :, ::2, ::2]


def doubled(images: Tensor, like: Tensor) -> Tensor:
    """Back to the size of `like`: zeros between pixels, blurred, times 4."""
    spread = torch.zeros_like(like)
    spread[:, :, ::2, ::2] = images
    return 4 * binomial(spread)


def binomial(images: Tensor) -> Tensor:
    """(n, c, h, w), blurred by 1 4 6 4 1 both ways; mirrored at the edges, edge pixels not repeated."""
    return filtered(F.pad(images, (2, 2, 2, 2), mode="reflect"), BINOMIAL)


def check_features(features: Tensor) -> None:
    """DataError unless these are features (n, d) of a floating-point type, at least one, all finite."""
    if features.dim() != 2 or features.numel() == 0 or not features.is_floating_point():
        raise DataError(f"features are floating-point numbers (n, d), nothing empty, got {features.dtype} {tuple(features.shape)}.")
    if not bool(features.isfinite().all()):
        raise DataError("features have a NaN or an infinity; look at the images and at the extractor they come from.")


def check_directions(directions: Tensor, dimension: int) -> None:
    if directions.dim() != 2 or len(directions) == 0 or directions.shape[1] != dimension:
        raise OptionError(f"directions: got {tuple(directions.shape)}; they are (k, {dimension}) here, like the features.")
    if not bool(((directions.double().square().sum(1).sqrt() - 1).abs() < 1e-4).all()):
        raise OptionError("directions: some are not of length 1; divide each by its length.")
