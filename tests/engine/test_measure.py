from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from elegan.augment.adaptive import Adaptive
from elegan.engine import measure
from elegan.engine.memory import memory_needed
from elegan.engine.turns import Settings, Turns
from elegan.game import Batch
from elegan.losses.penalties import penalty
from elegan.optimizers import Adam
from elegan.randomness import Randomness
from elegan.rules.two_player import Remedies, TwoPlayer

ADAM = {"generator": Adam(), "discriminator": Adam()}


@pytest.mark.parametrize("how", [measure.seconds_per_round, measure.faster_precision])
def test_measuring_changes_nothing(how: Callable[..., object], make_gan: Callable[..., TwoPlayer], batches: Callable[[int], Batch]) -> None:
    gan = make_gan(normed=True)
    before = copy.deepcopy(gan.state_dict())
    how(gan, ADAM, Settings(), batches)
    torch.testing.assert_close(gan.state_dict(), before, rtol=0, atol=0)
    assert gan.notes == {}
    assert all(p.grad is None for p in gan.parameters())


@pytest.mark.parametrize(
    ("how", "share"),
    [(measure.seconds_per_round, 0.25), (measure.faster_precision, 0.25), (memory_needed, 1.0)],
    ids=["time", "both", "memory"],
)
def test_augmentation_is_measured_as_it_will_be_and_not_as_it_begins(
    how: Callable[..., object], share: float, make_gan: Callable[..., TwoPlayer], batches: Callable[[int], Batch]
) -> None:
    """Else `--minutes` would promise more steps than fit, and the estimate of memory would lack what augmentation takes."""
    seen: list[float] = []

    class Watched(Adaptive):
        def forward(self, images: Tensor, random: Randomness, stream: str) -> Tensor:
            seen.append(float(self.p))
            return images

    gan = make_gan(remedies=Remedies(augment=Watched(images=1e9)))
    how(gan, ADAM, Settings(), batches)
    assert min(seen) == pytest.approx(share, abs=1e-3)
    assert float(gan.state_dict()["augment.p"]) == 0.0


@pytest.mark.parametrize("how", [measure.seconds_per_round, measure.faster_precision])
def test_each_count_of_rounds_begins_where_the_game_is(
    how: Callable[..., object], make_gan: Callable[..., TwoPlayer], batches: Callable[[int], Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else networks that the warm-up has grown would be timed as grown all the time."""
    gan, begun, time_rounds = make_gan(normed=True), list[dict[str, Tensor]](), measure.time_rounds

    def watched(*how: Any) -> float:
        begun.append(copy.deepcopy(gan.state_dict()))
        return time_rounds(*how)

    monkeypatch.setattr(measure, "time_rounds", watched)
    how(gan, ADAM, Settings(), batches)
    assert len(begun) > 1
    for state in begun[1:]:
        torch.testing.assert_close(state, begun[0], rtol=0, atol=0)


@pytest.mark.parametrize(("bf16", "chosen"), [(0.5, "bf16"), (0.90, "bf16"), (0.95, "fp32"), (2.0, "fp32")])
def test_bfloat16_is_chosen_where_it_is_a_tenth_faster(
    bf16: float, chosen: str, make_gan: Callable[..., TwoPlayer], batches: Callable[[int], Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With times that are made up: one busy moment for each precision, which the fastest rounds pass over."""
    measured: list[str] = []

    def pretend(turns: Turns, batches: object, rounds: int, first: int = 0) -> float:
        precision = turns.settings.precision
        measured.append(precision)
        busy = 10 if measured.count(precision) == 3 else 1
        return rounds * busy * (bf16 if precision == "bf16" else 1.0)

    monkeypatch.setattr(measure, "time_rounds", pretend)
    found, seconds = measure.faster_precision(make_gan(), ADAM, Settings(), batches)
    assert found == chosen
    assert seconds == {"fp32": 1.0, "bf16": pytest.approx(bf16)}


def test_a_compiled_game_is_measured_compiled(make_gan: Callable[..., TwoPlayer], batches: Callable[[int], Batch]) -> None:
    """What is measured decides precision and the number of steps for the minutes asked, so it has to be what will run."""
    gan, graphs = make_gan(), []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    gan.generator.compile(backend=backend)
    measure.seconds_per_round(gan, ADAM, Settings(), batches)
    assert graphs


@pytest.mark.parametrize(
    ("options", "period", "rounds"),
    [
        ({}, 1, 5),
        ({"discriminator_steps": 3}, 3, 6),
        ({"penalty": penalty("r1", 1.0, 16)}, 16, 16),
        ({"discriminator_steps": 100}, 100, 64),
    ],
)
def test_the_time_of_a_round_is_taken_over_whole_periods(
    options: dict[str, Any],
    period: int,
    rounds: int,
    make_gan: Callable[..., TwoPlayer],
    batches: Callable[[int], Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a lazy penalty, due in the first round, would count too much, and a rare generator move not at all."""
    gan, timed = make_gan(**options), list[int]()

    def pretend(turns: Turns, batches: object, rounds: int, first: int = 0) -> float:
        timed.append(rounds)
        return 2.0 * rounds

    monkeypatch.setattr(measure, "time_rounds", pretend)
    assert gan.period == period
    assert measure.seconds_per_round(gan, ADAM, Settings(), batches) == 2.0
    assert timed == [5, rounds]
