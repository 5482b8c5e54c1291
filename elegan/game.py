"""The contract: a GAN is a game; its variant yields moves and the engine carries them out.

A **player** is a set of networks that are updated together. A **move** is one update of one player: its name and a
loss without arguments, so that the engine decides how the loss is evaluated (precision, who is frozen, how often).
A variant's `play(batch, step)` yields the moves of one round in order. Nothing in here touches an optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor, nn

from elegan.optimizers import Optimizer
from elegan.randomness import BatchRandomness, Randomness


@dataclass(frozen=True)
class Attribute:
    """A number that each image has: an age, or 1 and 0 for yes and no. Networks see `low` to `high` as -1 to 1.

    examples: its values in some images of the data, the same images for each attribute, so that samples can be asked
    for as they come.
    """

    name: str
    low: float
    high: float
    examples: tuple[float, ...]


FRAME = 2.5
"""A picture of points reaches so many scales to both sides."""


@dataclass(frozen=True)
class Axis:
    """A coordinate of points: networks see (value - centre) / scale."""

    name: str
    centre: float
    scale: float


@dataclass(frozen=True)
class Spec:
    """What one sample is: an image of shape (channels, height, width) in [-1, 1], and what may be asked of it.

    That is one of `classes`, by their names, or a value of each of `attributes`, or nothing; never both. Or it is a point,
    with a channel for each of `axes`, height and width 1, around 0 with a scale of about 1, and no bounds.
    """

    channels: int
    height: int
    width: int
    classes: tuple[str, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    axes: tuple[Axis, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    @property
    def is_point(self) -> bool:
        return bool(self.axes)

    @property
    def frame(self) -> list[tuple[float, float]]:
        """For each axis the values between which a picture of points is drawn."""
        return [(axis.centre - FRAME * axis.scale, axis.centre + FRAME * axis.scale) for axis in self.axes]

    def points_of(self, samples: Tensor) -> Tensor:
        """What networks make, (n, d, 1, 1), as points of the data, (n, d) float64."""
        points = samples.flatten(1).cpu().double()
        return points * points.new_tensor([axis.scale for axis in self.axes]) + points.new_tensor([axis.centre for axis in self.axes])

    def seen(self, points: Tensor) -> Tensor:
        """Points of the data (n, d) float64 as networks see them: (n, d, 1, 1) float32. A large centre costs no digits."""
        centred = points - points.new_tensor([axis.centre for axis in self.axes])
        return (centred / points.new_tensor([axis.scale for axis in self.axes])).float()[:, :, None, None]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def conditional(self) -> bool:
        return bool(self.classes or self.attributes)

    def unconditional(self) -> Spec:
        return replace(self, classes=(), attributes=())

    def scaled(self, values: Tensor) -> Tensor:
        """Attributes' values (n, k) as networks see them: float32, `low` -> -1, `high` -> 1; a constant one is 0."""
        low = values.new_tensor([attribute.low for attribute in self.attributes])
        width = values.new_tensor([attribute.high - attribute.low or inf for attribute in self.attributes])
        return (2 * (values - low) / width - (width < inf).to(values)).float()

    def conditions_of(self, seeds: Sequence[int]) -> Tensor | None:
        """What each seed is asked to be where nothing else is said: seed i is of class i modulo their number, or like
        example i modulo their number. Class numbers (n,) int64, scaled values (n, k) float32, or None."""
        if self.classes:
            return torch.tensor([seed % len(self.classes) for seed in seeds])
        if self.attributes:
            rows = list(zip(*(attribute.examples for attribute in self.attributes), strict=True))
            return self.scaled(torch.tensor([rows[seed % len(rows)] for seed in seeds], dtype=torch.float64))
        return None


@dataclass(frozen=True)
class Batch:
    """What every task is made of: make `real`, given `condition`.

    real: (n, c, h, w) in [-1, 1]. condition: class numbers (n,), scaled attributes (n, k), or None. progress: the share
    of the training that is done, in [0, 1). `whole` is false for a micro-batch, when a round is divided: then a variant
    keeps nothing between its moves, so that one graph is alive at a time.
    """

    real: Tensor
    condition: Tensor | None
    random: BatchRandomness
    whole: bool = True
    progress: float = 0.0

    def __len__(self) -> int:
        return len(self.real)

    def first(self, count: int, *, whole: bool = True) -> Batch:
        """Its first `count` samples."""
        return replace(self._part(0, count), whole=whole)

    def split(self, parts: int) -> list[Batch]:
        """`parts` equal micro-batches; the batch itself if `parts` is 1. ValueError if they do not divide it."""
        if parts == 1:
            return [self]
        if parts < 1 or len(self) % parts:
            raise ValueError(f"{parts} micro-batches do not divide a batch of {len(self)}")
        size = len(self) // parts
        return [self._part(i * size, (i + 1) * size) for i in range(parts)]

    def _part(self, start: int, stop: int) -> Batch:
        random = replace(self.random, start=self.random.start + start, stop=self.random.start + stop)
        condition = None if self.condition is None else self.condition[start:stop]
        return replace(self, real=self.real[start:stop], condition=condition, random=random, whole=False)


class Move(NamedTuple):
    """One update: who moves, and the loss that the player lowers."""

    player: str
    loss: Callable[[], Tensor]


class GAN(nn.Module):
    """A game between players. A variant says who plays (`players`), how a round goes (`play`) and how to `sample`.

    `averaged` names the networks that samples are made with; the engine can keep a running average of them.
    """

    averaged: tuple[str, ...] = ("generator",)

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.notes: dict[str, list[Tensor]] = {}

    @property
    def players(self) -> Mapping[str, tuple[nn.Module, ...]]:
        """The networks of each player, by the player's name. No network belongs to two players."""
        raise NotImplementedError

    @property
    def period(self) -> int:
        """Rounds after which the work of a round repeats: several steps of one player, and lazy terms, take turns."""
        return 1

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        """The moves of round `step`, in order. Which moves come may depend on `step` and on the state, never on data."""
        raise NotImplementedError

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        """One sample (n, c, h, w), an image's in [-1, 1], for each row of `random`; `condition` as in a Batch."""
        raise NotImplementedError

    def settle(self, player: str) -> None:
        """What has to hold after each update of `player`: a projection such as weight clipping. Nothing by default."""

    def shared(self, player: str) -> list[Tensor]:
        """What each process sums up of its own share of the batch during the moves of `player`, and steers by: the engine replaces
        it by the mean over processes before the update. Nothing by default."""
        return []

    def rehearse(self, share: float) -> None:
        """What makes rounds dearer as the game goes on, such as the probability of an augmentation, is brought to this share of its
        most: the engine measures time and memory so, and puts all back. Nothing by default."""

    def views(self, batch: Batch) -> dict[str, Tensor]:
        """Pictures (n, c, h, w) that show how the game goes, beside its samples, by name; none by default."""
        return {}

    def note(self, name: str, value: Tensor) -> None:
        """Keep a number that shows how the game goes; the engine logs its mean over the round."""
        self.notes.setdefault(name, []).append(value.detach().float().mean())


class LatentGAN(GAN):
    """A GAN whose samples follow from latents (n, layers, size), the first layer the coarsest: what one needs to walk among them."""

    def latents(self, random: Randomness, condition: Tensor | None) -> Tensor:
        """(n, layers, size), one for each row of `random`."""
        raise NotImplementedError

    def render(self, latents: Tensor, condition: Tensor | None) -> Tensor:
        """Samples (n, c, h, w) of latents (n, layers, size); in evaluation mode the same each time, an image's in [-1, 1]."""
        raise NotImplementedError

    def truncated(self, latents: Tensor, condition: Tensor | None, truncation: float) -> Tensor:
        """Latents moved towards the middle: 1 leaves them where they are, less gives likelier and more alike samples."""
        raise NotImplementedError

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        return self.render(self.latents(random, condition), condition)


@dataclass(frozen=True)
class Recipe:
    """All that training needs to know of a variant.

    build: makes the networks; called after seeding. optimizers: one for each player. batch: real images in a round.
    steps: rounds. average_half_life: images after which a weight's share in the average has halved; 0 keeps none.
    conditional: whether the networks are told the class, or the attributes, where the data has them. idle: options that
    make no difference with these values of the others, and why; who gives one is told.
    """

    build: Callable[[], GAN]
    optimizers: Mapping[str, Optimizer]
    batch: int
    steps: int
    average_half_life: float = 0.0
    conditional: bool = False
    idle: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """Options of a recipe that are known to work, with the command, what it cost and what it reached.

    It is taken without being asked for where the image's shorter side is within `sides`, if they are given; a point's is 1.
    """

    options: Mapping[str, object]
    sides: tuple[int, int] | None = None
    command: str = ""
    cost: str = ""
    score: str = ""
