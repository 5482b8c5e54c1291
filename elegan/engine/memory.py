"""How much memory a training takes, told before it starts from a round of a few images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from elegan.engine.measure import unchanged
from elegan.engine.turns import Settings, Turns
from elegan.game import GAN, Batch
from elegan.optimizers import Optimizer

FEW = 4
"""Images of the round that is played for it: as many as a group for the deviation over a batch."""

PASSING = 1.3
"""What comes and goes between the graphs' tensors: with it the estimate was 0.96 to 1.13 times the growth of a process (dcgan and
stylegan2 at 64x64, r3gan at 32x32)."""

NEARLY_DONE = 1 - 1e-6

MOMENTS = 2
"""Numbers that Adam keeps for each weight."""


class Ledger:
    """Bytes of tensors that graphs hold for their backward pass, at this moment and at most. Shared memory counts once."""

    def __init__(self, but: set[int]) -> None:
        self.but, self.holders, self.bytes, self.most = but, Counter[int](), 0, 0

    def hold(self, tensor: Tensor) -> Held:
        return Held(self, tensor)

    def add(self, place: int, size: int) -> None:
        self.holders[place] += 1
        if self.holders[place] == 1 and place not in self.but:
            self.bytes += size
            self.most = max(self.most, self.bytes)

    def drop(self, place: int, size: int) -> None:
        self.holders[place] -= 1
        if self.holders[place] == 0 and place not in self.but:
            self.bytes -= size


class Held:
    """A tensor in a graph: in the ledger until the graph lets go of it."""

    def __init__(self, ledger: Ledger, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self.ledger, self.tensor, self.entry = ledger, tensor, (storage.data_ptr(), storage.nbytes())
        ledger.add(*self.entry)

    def __del__(self) -> None:
        self.ledger.drop(*self.entry)


def memory_needed(gan: GAN, optimizers: Mapping[str, Optimizer], settings: Settings, batches: Callable[[int], Batch]) -> int:
    """About how many bytes training takes at its worst moment: weights, gradients, moments, the average, and the graphs of a batch.

    The graphs are those of rounds of a few images, which grow with the batch: the first, in which lazy terms are due, and those after
    it until every player has moved, all as if the training were nearly done: networks that grow are grown, and what is augmented with a
    probability is all augmented.
    """
    batch = batches(0)
    part = max(1, len(batch) // settings.accumulate)
    few = replace(batch.first(min(FEW, part), whole=settings.accumulate == 1), progress=NEARLY_DONE)
    ledger = Ledger({tensor.untyped_storage().data_ptr() for tensor in [*gan.parameters(), *gan.buffers()]})
    with unchanged(gan), torch.autograd.graph.saved_tensors_hooks(ledger.hold, lambda held: held.tensor):
        gan.rehearse(1.0)
        turns, step = Turns(gan, optimizers, replace(settings, accumulate=1)), 0
        while step == 0 or (step < gan.period and not all(turns.updates.values())):
            turns.round(few, step)
            step += 1
    weights = sum(weight.numel() * weight.element_size() for weight in gan.parameters())
    return int(PASSING * ledger.most * part / len(few)) + weights * (3 + MOMENTS)  # themselves, their gradients, the average


def memory_free(device: torch.device) -> int | None:
    """Bytes that are to be had on the device; None where that is not known."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by PyTorch, to use again
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return min((found for found in (of_machine(), of_container()) if found is not None), default=None) if device.type == "cpu" else None


def of_machine() -> int | None:
    """What Linux would give without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def of_container() -> int | None:
    """What a container with a limit may still take; files that it keeps in memory could make room."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return limit - used + next(int(value) for name, value in lines if name == "inactive_file")
    except (OSError, ValueError, StopIteration):
        return None
