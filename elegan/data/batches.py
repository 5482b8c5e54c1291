"""Batches for training: which images belong to which step follows from the seed and the step alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from elegan.data.points import PointData
from elegan.data.preparation import ImageData
from elegan.data.source import Rows
from elegan.game import Batch
from elegan.randomness import BatchRandomness, key


class Batches:
    """The batches of `data`, without state: the same step gives the same batch in every process and after every resume.

    Each epoch passes over all images once, in an order of its own; batches run on over the border of epochs, and a
    batch may be larger than the data. mirror: turn each image left to right with probability 1/2. part: the samples of
    each batch that this process makes, without it all.
    """

    def __init__(
        self, data: ImageData | PointData, *, batch: int, seed: int, mirror: bool = False, part: range | None = None, device: torch.device
    ) -> None:
        self.data = data
        self.batch = batch
        self.seed = seed
        self.mirror = mirror
        self.part = range(batch) if part is None else part
        self.device = device
        self._order = lru_cache(maxsize=2)(self._permutation)

    def at(self, step: int) -> Batch:
        """The n samples of `step` that are this part's: real (n, c, h, w) float32, images in [-1, 1] and channels last; condition.

        condition: class numbers (n,) int64, scaled attributes (n, k) float32, or None.
        """
        rows = self.rows(step)[self.part.start : self.part.stop]
        random = BatchRandomness(self.seed, step, self.part.start, self.part.stop, self.batch, self.device)
        return Batch(self._real(rows, random), self._condition(rows), random)

    def rows(self, step: int) -> Rows:
        """The numbers of the images of `step`, (batch,), those of other parts too."""
        epoch, place = divmod(step * self.batch, len(self.data))
        if place + self.batch <= len(self.data):
            return self._order(epoch)[place : place + self.batch]
        positions = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs, places = np.divmod(positions, len(self.data))
        parts = [self._order(int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> Rows:
        return np.random.Generator(np.random.PCG64(key(self.seed, "order", epoch))).permutation(len(self.data))

    def _condition(self, rows: Rows) -> Tensor | None:
        if self.data.labels is not None:
            return torch.from_numpy(self.data.labels[rows]).to(self.device)
        if self.data.values is not None:
            return self.data.spec.scaled(torch.from_numpy(self.data.values[rows])).to(self.device)
        return None

    def _real(self, rows: Rows, random: BatchRandomness) -> Tensor:
        real = self.data.real(rows, self.device)
        if self.mirror:
            real = torch.where(random.uniform("data/mirror", 1, 1, 1) < 0.5, real.flip(3), real)
        return real
