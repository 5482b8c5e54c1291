"""How fast a game goes here. Rounds are played for it; afterwards the networks are what they were."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import ceil

import torch

from elegan.engine.turns import Settings, Turns
from elegan.game import GAN, Batch
from elegan.optimizers import Optimizer

ROUNDS = 5
"""Enough to meet a generator move of the usual five critic steps."""

USUAL = 0.25
"""What makes rounds dearer as a game goes on is at this share of its most where time is measured. It is not known before where it will
end; ADA came to 0.07 to 0.14 in short trainings, and most of the cost is there at 0.25."""

LONGEST_PERIOD = 64
"""Rounds are not timed for longer: what comes more rarely than that hardly counts."""

Batches = Callable[[int], Batch]


def seconds_per_round(gan: GAN, optimizers: Mapping[str, Optimizer], settings: Settings, batches: Batches) -> float:
    """The mean time of a round after a warm-up, over whole periods of the game."""
    turns, period = Turns(gan, optimizers, settings), min(gan.period, LONGEST_PERIOD)
    rounds = period * ceil(ROUNDS / period)
    rehearsed(turns, batches, ROUNDS)
    return rehearsed(turns, batches, rounds) / rounds


def faster_precision(gan: GAN, optimizers: Mapping[str, Optimizer], settings: Settings, batches: Batches) -> tuple[str, dict[str, float]]:
    """ "bf16" where it is at least 1.1 times as fast as float32, else "fp32"; and the seconds of a round in each.

    The two take turns, so that a busy machine slows both alike, and the fastest rounds are compared: those after the first, in which
    all lazy terms come at once.
    """
    contestants = {name: Turns(gan, optimizers, replace(settings, precision=name)) for name in ("fp32", "bf16")}
    for turns in contestants.values():
        rehearsed(turns, batches, ROUNDS)
    repeats = [{name: rehearsed(turns, batches, ROUNDS, first=1) / ROUNDS for name, turns in contestants.items()} for _ in range(3)]
    best = {name: min(repeat[name] for repeat in repeats) for name in contestants}
    return ("bf16" if best["fp32"] >= 1.1 * best["bf16"] else "fp32"), best


@contextmanager
def unchanged(gan: GAN) -> Iterator[None]:
    """Weights and buffers are put back. A copy of the networks would not do: a copy of a compiled network is not compiled."""
    before = copy.deepcopy(gan.state_dict())
    try:
        yield
    finally:
        gan.load_state_dict(before)


def rehearsed(turns: Turns, batches: Batches, rounds: int, first: int = 0) -> float:
    """The time of so many rounds from the state that the game is in: what it steers by, and how far it has grown, is put back."""
    with unchanged(turns.gan):
        turns.gan.rehearse(USUAL)
        return time_rounds(turns, batches, rounds, first)


def time_rounds(turns: Turns, batches: Batches, rounds: int, first: int = 0) -> float:
    """The time of so many rounds from number `first` on, spread evenly over the training: networks may grow with it."""
    prepared = [batches(step) for step in range(min(rounds, ROUNDS))]  # some, in turn: all of a long period may not fit into memory
    synchronise(turns.device)
    start = time.perf_counter()
    for step in range(rounds):
        turns.round(replace(prepared[step % len(prepared)], progress=(step + 0.5) / rounds), first + step)
    synchronise(turns.device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
