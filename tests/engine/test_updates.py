"""Update rules and learning rates on a game that can be played by hand: one player lowers x y, the other raises it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import cos, pi

import pytest
import torch
from torch import Tensor, nn

from elegan.engine.turns import Settings, Turns, UpdateName
from elegan.errors import OptionError
from elegan.game import GAN, Batch, Move, Spec
from elegan.learning import prepare_networks
from elegan.optimizers import SCHEDULES, SGD, Adam, Optimizer, RMSprop, ScheduleName
from elegan.randomness import BatchRandomness, Randomness

RATE = 0.1


class Number(nn.Module):
    def __init__(self, start: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(start))


class Bilinear(GAN):
    """The discriminator raises x y, then the generator lowers it: the simplest game whose simultaneous play diverges."""

    def __init__(self, moves: tuple[str, ...] = ("discriminator", "generator")) -> None:
        super().__init__(Spec(1, 1, 1))
        self.generator, self.discriminator, self.moves = Number(1.0), Number(0.5), moves

    @property
    def players(self) -> Mapping[str, tuple[nn.Module, ...]]:
        return {"discriminator": (self.discriminator,), "generator": (self.generator,)}

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        signs = {"discriminator": -1.0, "generator": 1.0}
        for player in self.moves:
            yield Move(player, lambda player=player: signs[player] * self.product())  # type: ignore[misc]

    def product(self) -> Tensor:
        return self.generator.value * self.discriminator.value

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        raise NotImplementedError

    @property
    def state(self) -> tuple[float, float]:
        return float(self.generator.value), float(self.discriminator.value)


def batch(progress: float = 0.0) -> Batch:
    return Batch(torch.zeros(2, 1, 1, 1), None, BatchRandomness(0, 0, 0, 2, 2), progress=progress)


def turns_of(gan: GAN, update: UpdateName, optimizer: Optimizer | None = None) -> Turns:
    prepare_networks(gan)
    chosen = optimizer or SGD(RATE)
    return Turns(gan, {"discriminator": chosen, "generator": chosen}, Settings(update=update))


def alternating(x: float, y: float) -> tuple[float, float]:
    y = y + RATE * x
    return x - RATE * y, y


def simultaneous(x: float, y: float) -> tuple[float, float]:
    return x - RATE * y, y + RATE * x


def extragradient(x: float, y: float) -> tuple[float, float]:
    ahead = simultaneous(x, y)
    return x - RATE * ahead[1], y + RATE * ahead[0]


@pytest.mark.parametrize("by_hand", [alternating, simultaneous, extragradient])
def test_each_rule_is_what_it_says(by_hand: object) -> None:
    assert callable(by_hand)
    gan = Bilinear()
    turns = turns_of(gan, by_hand.__name__)  # type: ignore[arg-type]
    expected = gan.state
    for step in range(200):
        turns.round(batch(), step)
        expected = by_hand(*expected)
        assert gan.state == pytest.approx(expected, abs=1e-5)
    assert turns.updates == {"discriminator": 200, "generator": 200}


def test_only_extragradient_comes_to_rest() -> None:
    """Gidel et al., 2019, section 2: simultaneous updates spiral outwards, alternating ones circle."""
    distances = {}
    for update in ("alternating", "simultaneous", "extragradient"):
        gan = Bilinear()
        turns = turns_of(gan, update)  # type: ignore[arg-type]
        for step in range(600):
            turns.round(batch(), step)
        distances[update] = (gan.state[0] ** 2 + gan.state[1] ** 2) ** 0.5
    assert distances["extragradient"] < 0.1
    assert 0.8 < distances["alternating"] < 1.5
    assert distances["simultaneous"] > 10


@pytest.mark.parametrize("update", ["simultaneous", "extragradient"])
def test_moving_twice_in_a_round_needs_alternation(update: UpdateName) -> None:
    gan = Bilinear(("discriminator", "discriminator", "generator"))
    with pytest.raises(OptionError, match=r"moves twice in a round\. Use alternating"):
        turns_of(gan, update).round(batch(), 0)
    assert all(weight.grad is None for weight in gan.parameters())


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1, 1, 1, 1]),
        ("linear", [1, 0.75, 0.5, 0.25]),
        ("late_linear", [1, 1, 1, 0.5]),
        ("cosine", [(1 + cos(pi * share)) / 2 for share in (0, 0.25, 0.5, 0.75)]),
        ("exponential", [0.01**share for share in (0, 0.25, 0.5, 0.75)]),
    ],
)
def test_a_schedule_multiplies_the_learning_rate(schedule: ScheduleName, factors: list[float]) -> None:
    for share, factor in zip((0.0, 0.25, 0.5, 0.75), factors, strict=True):
        gan = Bilinear(("generator",))
        turns_of(gan, "alternating", SGD(RATE, schedule=schedule)).round(batch(share), 0)
        assert gan.state == pytest.approx((1.0 - factor * RATE * 0.5, 0.5))
    assert SCHEDULES[schedule](1.0) == pytest.approx({"constant": 1.0, "exponential": 0.01}.get(schedule, 0.0))


def test_each_optimizer_moves_as_its_paper_says() -> None:
    gradient = 0.5  # of the generator, which is at 1
    for optimizer, move in (
        (SGD(RATE), RATE * gradient),
        (RMSprop(RATE, alpha=0.75), RATE * gradient / (0.25 * gradient**2) ** 0.5),
        (Adam(RATE, betas=(0, 0.9)), RATE),  # type: ignore[arg-type]
    ):
        gan = Bilinear(("generator",))
        turns_of(gan, "alternating", optimizer).round(batch(), 0)
        assert gan.state[0] == pytest.approx(1.0 - move, abs=1e-5)


def test_momentum_is_kept_between_rounds() -> None:
    gan = Bilinear(("generator",))
    turns = turns_of(gan, "alternating", SGD(RATE, momentum=0.5))
    for step in range(2):
        turns.round(batch(), step)
    assert gan.state[0] == pytest.approx(1.0 - RATE * 0.5 - RATE * (0.5 + 0.5 * 0.5))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Adam(0.0), "lr: got 0.0, expected a learning rate above 0"),
        (lambda: Adam(float("nan")), "lr: got nan"),
        (lambda: Adam(betas=(1.0, 0.9)), "beta1: got 1.0, expected a number from 0 to below 1"),
        (lambda: Adam(eps=0.0), "eps: got 0.0"),
        (lambda: RMSprop(alpha=-1.0), "alpha: got -1.0"),
        (lambda: SGD(momentum=2.0), "momentum: got 2.0"),
        (lambda: SGD(schedule="cosin"), "Did you mean 'cosine'"),
    ],
)
def test_impossible_settings_are_refused(make: object, said: str) -> None:
    assert callable(make)
    with pytest.raises(OptionError) as caught:
        make()
    assert said in str(caught.value)
