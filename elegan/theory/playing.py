"""Games on points in memory, played by the engine that trains everything else; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from elegan.engine.turns import Settings, Turns, UpdateName
from elegan.game import GAN, Axis, Batch, Spec
from elegan.learning import prepare_networks
from elegan.optimizers import Optimizer
from elegan.randomness import BatchRandomness, key, layer_randomness

CPU = torch.device("cpu")


class Match:
    """A game between networks that `build` makes; the seed decides their first weights and all that is drawn.

    batches: the batch of a step, from its number; see `drawing_from`. readings: losses and what else was noted in the latest round.
    """

    def __init__(
        self,
        build: Callable[[], GAN],
        optimizers: Mapping[str, Optimizer],
        batches: Callable[[int], Batch],
        *,
        seed: int = 0,
        update: UpdateName = "alternating",
    ) -> None:
        with layer_randomness(key(seed, "weights"), CPU):
            self.gan = build()
        prepare_networks(self.gan)
        self.turns = Turns(self.gan, optimizers, Settings(seed=seed, update=update))
        self.batches = batches
        self.readings: dict[str, float] = {}

    def rounds(self, steps: int) -> Iterator[int]:
        """Play `steps` rounds from the start; gives the number of rounds done after each, so that one can look between them."""
        for step in range(steps):
            readings = self.turns.round(replace(self.batches(step), progress=step / steps), step)
            self.readings = {name: float(value) for name, value in readings.items()}
            yield step + 1

    def play(self, steps: int) -> None:
        for _ in self.rounds(steps):
            pass


def drawing_from(points: Tensor, batch: int, seed: int) -> Callable[[int], Batch]:
    """Batches of rows of points (n, d), each drawn anew from all of them: real is (batch, d, 1, 1) float32."""
    samples = points.float()[:, :, None, None]

    def at(step: int) -> Batch:
        random = BatchRandomness(seed, step, 0, batch, batch)
        return Batch(rows_of(samples, random, "real"), None, random)

    return at


def rows_of(samples: Tensor, random: BatchRandomness, stream: str) -> Tensor:
    """A row of `samples` for each row of `random`, any as likely as any other."""
    shares = random.uniform(stream).double()
    return samples[(shares * len(samples)).long()]


def plane_of(dimension: int) -> Spec:
    """Points with so many axes, which networks see as they are."""
    return Spec(dimension, 1, 1, axes=tuple(Axis(f"x{i}", 0.0, 1.0) for i in range(dimension)))
