"""How alike two images are, pair by pair: PSNR, SSIM and MS-SSIM, in float64.

Images are uint8 (n, h, w, c), with three channels in the order R, G, B; n pairs give n values. Both sides are the 8-bit
images themselves, so a network's output is quantised before it is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.errors import DataError, OptionError, nearest
from elegan.pictures import Pixels as Pixels  # other metrics take it from here

Channel = Literal["rgb", "y"]

RANGE = 255.0
RADIUS, SIGMA = 5, 1.5
C1, C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the five scales, finest first (Wang et al., 2003, section 4.2). They add up to 1.0001, and are used so."""

PART = 2**18
"""Values of one side that are compared at one time; more leave the processor's cache."""


def psnr(one: Pixels, other: Pixels, *, channel: Channel = "rgb", crop: int = 0) -> Tensor:
    """(n,): 10 log10(255^2 / MSE) in dB of each pair of images uint8 (n, h, w, c), MSE over all pixels and channels.

    Equal images have infinity; `mean_psnr` says what a mean makes of it. channel: "rgb" compares all channels as they are,
    "y" the luma Y = 16 + 65.481 R + 128.553 G + 24.966 B of ITU-R BT.601, R, G, B in [0, 1], not rounded to 8 bits
    (MATLAB's rgb2ycbcr rounds it), with 255 as its range still. crop: so many pixels are left out at each side, the scale
    in super-resolution. DataError for images that are no uint8 (n, h, w, c) or of unlike shapes; OptionError for an unknown
    channel, for "y" of other images than RGB, and for a crop that leaves nothing.
    """
    return of_each_pair(peak_signal_to_noise, one, other, channel, crop)


def mean_psnr(values: Tensor) -> tuple[float, int]:
    """The mean in dB over the pairs that differ, and how many pairs are equal, from PSNRs (n,).

    One pair of equal images would make a plain mean infinite, whatever the others are. Infinite only if no pair differs.
    DataError where there is no value, or a NaN.
    """
    if len(values) == 0 or bool(values.isnan().any()):
        raise DataError(f"a mean of PSNRs takes at least one and no NaN; got {values.tolist()[:5]}.")
    differ = values[values.isfinite()]
    return (float(differ.mean()) if len(differ) else float("inf")), len(values) - len(differ)


def ssim(one: Pixels, other: Pixels, *, channel: Channel = "rgb", crop: int = 0) -> Tensor:
    """(n,): structural similarity of each pair of images uint8 (n, h, w, c), at most 1 (Wang et al., 2004, equation 13).

    A Gaussian window of 11 x 11 pixels with sigma 1.5, weights that add up to 1 and so population (co)variances, K1 = 0.01,
    K2 = 0.03, range 255; the mean over all places where the window lies inside the image, as the authors' code has it, and
    over channels. skimage with gaussian_weights=True, use_sample_covariance=False mirrors the image at its borders, edge
    pixels included, but then leaves out the outermost 5 pixels of the map: the same number. Its default, a uniform window
    of 7 x 7 with sample covariances, is another; so is torchmetrics, which keeps the mirrored border in the mean.
    channel, crop and errors as in `psnr`; DataError for images below 11 x 11 after the crop.
    """

    def similarity(x: Tensor, y: Tensor) -> Tensor:
        return similarities(x, y)[0]

    return of_each_pair(similarity, one, other, channel, crop, 2 * RADIUS + 1)


def ms_ssim(one: Pixels, other: Pixels, *, scales: int = 5) -> Tensor:
    """(n,): multi-scale structural similarity of each pair of images uint8 (n, h, w, c), from 0 to 1 (Wang et al., 2003).

    The product over scales of the contrast-structure term, at the coarsest of all of SSIM, to the power of its weight
    (equation 7). Each term is a mean as in `ssim`, over channels too; a negative one, of images that contradict each other,
    counts as 0, since its power is no number. From scale to scale the mean of 2 x 2 pixels; an odd last row or column is
    mirrored, as in the authors' code. Five scales need images from 176 x 176 on: below, DataError says so, and fewer
    `scales` take the first weights, divided by their sum. That is another quantity: say so beside the number.
    """
    if not 1 <= scales <= len(WEIGHTS):
        raise OptionError(f"scales: got {scales}; there are weights for 1 to {len(WEIGHTS)}.")
    weights = [weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales]] if scales < len(WEIGHTS) else list(WEIGHTS)

    def product(x: Tensor, y: Tensor) -> Tensor:
        terms = []
        for _ in weights:
            whole, contrast = similarities(x, y)
            terms.append(contrast)
            x, y = (F.avg_pool2d(side, 2, ceil_mode=True) for side in (x, y))
        terms[-1] = whole
        return torch.stack([term.clamp(min=0) ** weight for term, weight in zip(terms, weights, strict=True)]).prod(0)

    return of_each_pair(product, one, other, "rgb", 0, smallest_side(scales), scales)


def smallest_side(scales: int) -> int:
    """Of images that so many scales of MS-SSIM take: the window fits into the coarsest."""
    return (2 * RADIUS + 1) << (scales - 1)


def peak_signal_to_noise(x: Tensor, y: Tensor) -> Tensor:
    return 10 * torch.log10(RANGE**2 / (x - y).square().mean((1, 2, 3)))  # 1 / 0 is infinite


def similarities(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) each: SSIM, and its contrast-structure term alone, of float64 (n, c, h, w)."""
    mean_x, mean_y = blurred(x), blurred(y)
    variances = blurred(x.square() + y.square()) - mean_x.square() - mean_y.square()
    covariance = blurred(x * y) - mean_x * mean_y
    contrast = (2 * covariance + C2) / (variances + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    return (luminance * contrast).mean((1, 2, 3)), contrast.mean((1, 2, 3))


def blurred(images: Tensor) -> Tensor:
    """(n, c, h, w) -> (n, c, h - 10, w - 10): the window's mean wherever it lies inside."""
    weights = [exp(-(offset**2) / (2 * SIGMA**2)) for offset in range(-RADIUS, RADIUS + 1)]
    return filtered(images, [weight / sum(weights) for weight in weights])


def filtered(images: Tensor, taps: Sequence[float]) -> Tensor:
    """(n, c, h, w) -> (n, c, h - k + 1, w - k + 1): k taps along both sides, where they lie inside."""
    for side in (2, 3):
        size = images.shape[side] - len(taps) + 1
        total = taps[0] * images.narrow(side, 0, size)
        for i, tap in enumerate(taps[1:], 1):
            total.add_(images.narrow(side, i, size), alpha=tap)  # in float64 several times as fast as a convolution
        images = total
    return images


def of_each_pair(
    measure: Callable[[Tensor, Tensor], Tensor],
    one: Pixels,
    other: Pixels,
    channel: str,
    crop: int,
    smallest: int = 1,
    scales: int = 1,
) -> Tensor:
    """(n,): `measure` of float64 (m, c, h, w) and the like, for so many pairs at a time as fit."""
    check_pairs(one, other)
    check_region(one.shape, channel, crop, smallest, scales)
    step = max(1, PART // one[0].size)
    starts = range(0, len(one), step)
    return torch.cat([measure(*(planes(side[i : i + step], channel, crop) for side in (one, other))) for i in starts])


def planes(pixels: Pixels, channel: str, crop: int) -> Tensor:
    """uint8 (n, h, w, c) -> float64 (n, c, h, w) in [0, 255], cropped; of one channel if it is the luma."""
    _, height, width, _ = pixels.shape
    images = torch.from_numpy(pixels[:, crop : height - crop, crop : width - crop].astype(np.float64)).permute(0, 3, 1, 2)
    return luma(images) if channel == "y" else images.contiguous()


def luma(images: Tensor) -> Tensor:
    """(n, 3, h, w) in [0, 255], R, G, B -> (n, 1, h, w) in [16, 235]."""
    red, green, blue = (images / 255).unbind(1)
    return (16 + 65.481 * red + 128.553 * green + 24.966 * blue).unsqueeze(1)


def check_pixels(pixels: Pixels) -> None:
    """DataError unless these are images uint8 (n, h, w, c), at least one, with 1 to 4 channels."""
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        kind = getattr(pixels, "dtype", type(pixels).__name__)
        raise DataError(f"images are NumPy arrays of 8-bit numbers (uint8), got {kind}; quantise them first.")
    if pixels.ndim != 4 or pixels.size == 0 or pixels.shape[3] > 4:
        raise DataError(f"images have the shape (n, h, w, c) with 1 to 4 channels and nothing empty, got {pixels.shape}.")


def check_pairs(one: Pixels, other: Pixels) -> None:
    for pixels in (one, other):
        check_pixels(pixels)
    if one.shape != other.shape:
        raise DataError(f"pairs of images have one shape, got {one.shape} and {other.shape}; pair and resize them first.")


def check_region(shape: tuple[int, ...], channel: str, crop: int, smallest: int, scales: int) -> None:
    _, height, width, channels = shape
    if channel not in ("rgb", "y"):
        raise OptionError(f"channel: got {channel!r}. {nearest(channel, ('rgb', 'y'))}")
    if channel == "y" and channels != 3:
        raise OptionError(f"channel 'y' is made of R, G and B, and the images have {channels} channels; take 'rgb': all there are.")
    if crop < 0 or 2 * crop >= min(height, width):
        raise OptionError(f"crop: got {crop} pixels of {height} x {width} at each side; it is at least 0 and leaves some.")
    if min(height, width) - 2 * crop < smallest:
        found = f"{height - 2 * crop} x {width - 2 * crop}"
        fewer = f"; take fewer scales than {scales}, or larger images" if scales > 1 else ""
        raise DataError(f"SSIM takes images of at least {smallest} x {smallest} pixels here, got {found}{fewer}.")
