"""Random numbers that follow from a seed and from what they are for, never from how the work is divided."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


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
        return (drawn if len(drawn) == self.stop - self.start else drawn[self.start : self.stop]).to(self.device)


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


@contextmanager
def layer_randomness(seed: int, device: torch.device) -> Iterator[None]:
    """What layers draw themselves, such as dropout, follows from `seed` in here; the caller's generators are put back.

    `torch.manual_seed` would do on one line, but it seeds every kind of device, and where CUDA is not used it keeps a
    stack trace of each call: a tenth of a small network's step.
    """
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    elif device.type == "mps":
        generators.append(torch.mps._get_default_mps_generator())
    states = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
