"""The contract: a GAN is a game; its variant yields moves and the engine carries them out.

A **player** is a set of networks that are updated together. A **move** is one update of one player: its name and a
loss without arguments, so that the engine decides how the loss is evaluated (precision, who is frozen, how often).
A variant's `play(batch, step)` yields the moves of one round in order. Nothing in here touches an optimizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elegan.errors import OptionError


@dataclass(frozen=True)
class Spec:
    """What one sample is: an image of shape (channels, height, width) in [-1, 1], and the names of its classes, if any."""

    channels: int
    height: int
    width: int
    classes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def unlabelled(self) -> Spec:
        return replace(self, classes=())


class Randomness(Protocol):
    """Random numbers, one row for each sample. `stream` names their use, so that no two uses share numbers."""

    def normal(self, stream: str, *shape: int) -> Tensor: ...
    def uniform(self, stream: str, *shape: int) -> Tensor: ...


def key(*parts: object) -> int:
    """A 63-bit seed that depends on `parts` alone: the same on every machine, in every process, after every resume."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class BatchRandomness:
    """Random numbers of samples `start` to `stop` of the `total` samples of one step.

    They are drawn for the whole step and cut out, so that sample i gets the same numbers however a step is divided
    into micro-batches or over processes. They are drawn on the CPU, so that every device gets the same.
    """

    seed: int
    step: int
    start: int
    stop: int
    total: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def normal(self, stream: str, *shape: int) -> Tensor:
        return self._cut(torch.randn(self.total, *shape, generator=self._generator(stream)))

    def uniform(self, stream: str, *shape: int) -> Tensor:
        return self._cut(torch.rand(self.total, *shape, generator=self._generator(stream)))

    def _generator(self, stream: str) -> torch.Generator:
        return torch.Generator().manual_seed(key(self.seed, self.step, stream))

    def _cut(self, drawn: Tensor) -> Tensor:
        return drawn[self.start : self.stop].to(self.device)


@dataclass(frozen=True)
class SeedRandomness:
    """Random numbers of samples that each have a seed of their own: seed i always gives the same row."""

    seeds: tuple[int, ...]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def normal(self, stream: str, *shape: int) -> Tensor:
        return self._rows(torch.randn, stream, shape)

    def uniform(self, stream: str, *shape: int) -> Tensor:
        return self._rows(torch.rand, stream, shape)

    def _rows(self, draw: Callable[..., Tensor], stream: str, shape: tuple[int, ...]) -> Tensor:
        rows = [draw(*shape, generator=torch.Generator().manual_seed(key(seed, stream))) for seed in self.seeds]
        return torch.stack(rows).to(self.device)


@dataclass(frozen=True)
class Batch:
    """What every task is made of: make `real`, given `condition`.

    real: (n, c, h, w) in [-1, 1]. condition: class numbers (n,), or None. `whole` is false for a micro-batch, when
    a round is divided: then a variant keeps nothing between its moves, so that one graph is alive at a time.
    """

    real: Tensor
    condition: Tensor | None
    random: BatchRandomness
    whole: bool = True

    def __len__(self) -> int:
        return len(self.real)

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
        return Batch(self.real[start:stop], condition, random, whole=False)


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

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        """The moves of round `step`, in order. Which moves come may depend on `step` and on the state, never on data."""
        raise NotImplementedError

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        """One sample (n, c, h, w) in [-1, 1] for each row of `random`; `condition` is (n,), or None."""
        raise NotImplementedError

    def settle(self, player: str) -> None:
        """What has to hold after each update of `player`: a projection such as weight clipping. Nothing by default."""

    def note(self, name: str, value: Tensor) -> None:
        """Keep a number that shows how the game goes; the engine logs its mean over the round."""
        self.notes.setdefault(name, []).append(value.detach().float().mean())


@dataclass(frozen=True)
class Adam:
    """Settings of one player's optimizer (Kingma and Ba, 2015)."""

    lr: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if not (self.lr > 0 and all(0 <= beta < 1 for beta in self.betas) and self.eps > 0):
            raise OptionError(
                f"Adam needs a rate above 0 and betas from 0 to below 1; got rate {self.lr}, betas {self.betas}, eps {self.eps}."
            )


@dataclass(frozen=True)
class Recipe:
    """All that training needs to know of a variant.

    build: makes the networks; called after seeding. optimizers: one for each player. batch: real images in a round.
    steps: rounds. average_half_life: images after which a weight's share in the average has halved; 0 keeps none.
    uses_labels: whether the networks are told the class where the data has classes.
    """

    build: Callable[[], GAN]
    optimizers: Mapping[str, Adam]
    batch: int
    steps: int
    average_half_life: float = 0.0
    uses_labels: bool = False


@dataclass(frozen=True)
class Preset:
    """Options of a recipe that are known to work, with the command, what it cost and what it reached.

    It is taken without being asked for where the image's shorter side is within `sides`.
    """

    options: Mapping[str, object]
    sides: tuple[int, int] = (0, -1)
    command: str = ""
    cost: str = ""
    score: str = ""


@contextmanager
def turn(gan: GAN, player: str | None) -> Iterator[None]:
    """Only `player` learns in here: the others' weights ask for no gradient and their running statistics stand still.

    Freezing comes before the forward pass: that is what saves the other players' weight gradients, in compiled
    networks too. Turns nest; leaving one restores what was before. `None` freezes everybody.
    """
    before: list[tuple[nn.Parameter | _BatchNorm, bool]] = []
    for name, networks in gan.players.items():
        for part in learning_parts(networks):
            before.append((part, learns(part)))
            set_learns(part, name == player)
    try:
        yield
    finally:
        for part, wanted in before:
            set_learns(part, wanted)


def set_learning(networks: Iterable[nn.Module], wanted: bool) -> None:
    """Whether the weights of `networks` ask for gradients and their batch norms follow the data.

    A batch norm that does not follow still normalises by the batch's own statistics while training.
    """
    for part in learning_parts(networks):
        set_learns(part, wanted)


def learning_parts(networks: Iterable[nn.Module]) -> list[nn.Parameter | _BatchNorm]:
    """What can learn: weights, by gradients, and batch norms, by running statistics."""
    parts: list[nn.Parameter | _BatchNorm] = []
    for network in networks:
        for module in network.modules():
            parts += [weight for weight in module._parameters.values() if weight is not None]
            if isinstance(module, _BatchNorm):
                parts.append(module)
    return parts


def learns(part: nn.Parameter | _BatchNorm) -> bool:
    return part.track_running_stats if isinstance(part, _BatchNorm) else part.requires_grad


def set_learns(part: nn.Parameter | _BatchNorm, wanted: bool) -> None:
    if isinstance(part, _BatchNorm):
        part.track_running_stats = wanted
    else:
        part.requires_grad_(wanted)
