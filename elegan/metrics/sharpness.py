"""How sharp and how grainy images are: blur takes fine detail away, noise adds some, and both show against real images."""

from __future__ import annotations

from collections.abc import Callable
from math import hypot
from typing import Any

import numpy as np

from elegan.errors import DataError
from elegan.pictures import Pixels

Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Maps = np.ndarray[tuple[int, ...], np.dtype[np.floating[Any]]]

PIXELS = 2**22
"""So many are looked at together."""

MEDIAN_OF_NORMAL = 0.6744898
"""The median absolute value of a standard normal number."""


def detail(pixels: Pixels) -> Values:
    """(n,): of each image uint8 (n, h, w, c), the mean square of the discrete Laplacian, pixels in [0, 1].

    0 for a constant image; 20 s^2 more where each pixel got independent noise of standard deviation s. DataError below 3 x 3 pixels.
    """
    return of_each(pixels, lambda maps: np.square(maps).mean((1, 2, 3), dtype=np.float64))


def grain(pixels: Pixels) -> Values:
    """(n,): the noise in each image uint8 (n, h, w, c), as the standard deviation in grey levels of 255.

    The median absolute Laplacian, which edges hardly move, over that of independent normal noise (after Immerkaer, 1996, with
    the median of Donoho and Johnstone, 1994). DataError below 3 x 3 pixels.
    """
    scale = 255 / (MEDIAN_OF_NORMAL * 20**0.5)
    return of_each(pixels, lambda maps: scale * np.median(np.abs(maps).reshape(len(maps), -1), axis=1).astype(np.float64))


def of_each(pixels: Pixels, measure: Callable[[Maps], Values]) -> Values:
    """`measure` of the Laplacian (n, h - 2, w - 2, c) of each image."""
    if min(pixels.shape[1:3]) < 3:
        raise DataError(f"sharpness needs images of at least 3 x 3 pixels, got {pixels.shape[1]} x {pixels.shape[2]}.")
    parts, chunk = [], max(1, PIXELS // int(np.prod(pixels.shape[1:])))
    for start in range(0, len(pixels), chunk):
        x = pixels[start : start + chunk].astype(np.float32) / 255
        around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
        parts.append(measure(4 * x[:, 1:-1, 1:-1] - around))
    found: Values = np.concatenate(parts)
    return found


def sharpness(generated: Pixels, real: Pixels) -> tuple[float, float]:
    """The median detail of `generated` relative to that of `real`, and its standard error on the scale of logarithms: below 1
    is blurred. DataError if the real images are constant."""
    ours, theirs = detail(generated), detail(real)
    middle, real_middle = float(np.median(ours)), float(np.median(theirs))
    if real_middle == 0:
        raise DataError("the real images have no detail to compare with: half of them or more are of one colour.")
    own_error = error_of_median(ours) / middle if middle > 0 else 0.0
    return middle / real_middle, hypot(own_error, error_of_median(theirs) / real_middle)


def error_of_median(values: Values) -> float:
    """The standard error of the median, from the order statistics around it that hold it two times in three."""
    n, ordered = len(values), np.sort(values)
    reach = 0.5 * np.sqrt(n)
    low, high = ordered[max(0, int(n / 2 - reach))], ordered[min(n - 1, int(np.ceil(n / 2 + reach)))]
    return float((high - low) / 2)
