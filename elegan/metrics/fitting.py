"""How the networks that judge are trained: a fixed number of steps, the last weights kept, nothing selected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

Progress = Callable[[int, int], None]

LARGE = 32
"""From this side on, bfloat16 is faster where the processor has it; below, a step is too short to gain."""


def fit(optimizer: torch.optim.Optimizer, peak: float, steps: int, loss: Callable[[], Tensor], progress: Progress | None = None) -> None:
    """`steps` updates for `loss()`, by a learning rate that rises to `peak` and falls to nothing (Smith and Topin, 2018)."""
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    for step in range(steps):
        found = loss()
        optimizer.zero_grad()
        torch.autograd.backward(found)
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """PyTorch's own random numbers begin at `seed` in here; afterwards they are what they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def half_precision(side: int) -> torch.autocast:
    """Autocast to bfloat16 where that is faster: for images of this side, on this processor."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return torch.autocast("cpu", torch.bfloat16, enabled=side >= LARGE and supported)
