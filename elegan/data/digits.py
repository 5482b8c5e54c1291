"""Built-in data that needs no download: the handwritten digits that come with scikit-learn."""

from __future__ import annotations

from importlib import import_module

import numpy as np

from elegan.data.source import Column, Pixels, Source, digest


class DigitsSource(Source):
    """1,797 handwritten digits of 8x8 pixels, grey; every fifth (index 0, 5, ...) is the test split: 1,437 and 360."""

    def __init__(self, split: str) -> None:
        bunch = import_module("sklearn.datasets").load_digits()
        is_test = np.arange(len(bunch.target)) % 5 == 0
        self._rows = np.flatnonzero(is_test if split == "test" else ~is_test)
        # The file stores the ink of each cell as 0..16; uint8 grey is what every other image is.
        self._pixels: Pixels = np.round(bunch.images[self._rows] * 255 / 16).astype(np.uint8)
        column = Column("label", bunch.target[self._rows].tolist(), tuple(map(str, range(10))))
        super().__init__("digits", "digits", columns={"label": column}, class_column="label")

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, i: int) -> Pixels:
        pixels: Pixels = self._pixels[i]
        return pixels

    def item_name(self, i: int) -> str:
        return f"digit {self._rows[i]}"

    def fingerprint_of_images(self) -> str:
        return digest("digits", self._pixels.tobytes())
