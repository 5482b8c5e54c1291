"""The estimate of memory, against sums by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from elegan.engine import memory
from elegan.engine.memory import Ledger, memory_free, memory_needed
from elegan.engine.turns import Settings
from elegan.game import Batch
from elegan.optimizers import Adam
from elegan.rules.two_player import TwoPlayer

ADAM = {"generator": Adam(), "discriminator": Adam()}


def test_what_graphs_hold_is_counted_and_let_go() -> None:
    """x -> x W -> relu: the graph keeps x, W (a weight: not counted) and the result of the relu."""
    weight, x = nn.Parameter(torch.randn(10, 20)), torch.randn(5, 10)
    ledger = Ledger({weight.untyped_storage().data_ptr()})
    with torch.autograd.graph.saved_tensors_hooks(ledger.hold, lambda held: held.tensor):
        result = torch.relu(x @ weight)
    assert ledger.bytes == 4 * (5 * 10 + 5 * 20)
    result.sum().backward()
    del result
    assert ledger.bytes == 0
    assert ledger.most == 4 * (5 * 10 + 5 * 20)


def test_memory_that_is_shared_counts_once() -> None:
    x, ledger = torch.randn(6, 4, requires_grad=True), Ledger(set())
    with torch.autograd.graph.saved_tensors_hooks(ledger.hold, lambda held: held.tensor):
        parts = [x[:3] * x[3:], x * x]
    assert ledger.bytes == 4 * 24
    del parts
    assert ledger.bytes == 0


def test_it_grows_with_the_batch_and_shrinks_with_micro_batches(
    make_gan: Callable[..., TwoPlayer], batches: Callable[[int], Batch]
) -> None:
    gan = make_gan(normed=True)
    before = copy.deepcopy(gan.state_dict())
    count = len(batches(0))
    whole = memory_needed(gan, ADAM, Settings(), batches)
    half = memory_needed(gan, ADAM, Settings(accumulate=2), batches)
    weights = 5 * sum(4 * weight.numel() for weight in gan.parameters())
    assert whole > weights
    assert half - weights <= (whole - weights) * 0.51
    few = memory_needed(gan, ADAM, Settings(), lambda step: batches(step).first(count // 2))
    assert few - weights == pytest.approx((whole - weights) / 2, abs=2)
    torch.testing.assert_close(gan.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in gan.parameters())


def test_free_memory_is_that_of_the_machine_or_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/meminfo": "MemTotal: 4000 kB\nMemAvailable:    3000 kB\n",
        "/sys/fs/cgroup/memory.max": "1000000\n",
        "/sys/fs/cgroup/memory.current": "600000\n",
        "/sys/fs/cgroup/memory.stat": "anon 5\ninactive_file 100000\n",
    }
    monkeypatch.setattr(Path, "read_text", lambda self: files[str(self)] if str(self) in files else missing())
    assert memory_free(torch.device("cpu")) == 500_000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert memory_free(torch.device("cpu")) == 3000 * 1024
    del files["/proc/meminfo"]
    assert memory_free(torch.device("cpu")) is None
    assert memory.memory_free(torch.device("mps")) is None


def missing() -> str:
    raise FileNotFoundError


def test_the_generators_move_counts_where_it_comes_later(make_gan: Callable[..., TwoPlayer], batches: Callable[[int], Batch]) -> None:
    """Its graph, of both networks, is the largest; with three discriminator steps it comes in the third round."""
    gans = [make_gan(normed=True, discriminator_steps=steps) for steps in (1, 3)]
    once, thrice = (memory_needed(gan, ADAM, Settings(accumulate=2), batches) for gan in gans)
    assert thrice == pytest.approx(once, rel=0.1)  # what a graph saves may share memory with another that is gone
