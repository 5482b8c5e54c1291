"""A penalty whose weight falls over the training, and the learning rate that burns in beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import cos, pi

import pytest
import torch

from elegan.errors import OptionError
from elegan.game import Batch, Spec
from elegan.losses.penalties import Penalty, penalty, r1
from elegan.optimizers import Adam
from elegan.randomness import BatchRandomness
from elegan.rules.options import Game, Learning, Networks, Telling, image_recipe

RANDOM = BatchRandomness(seed=0, step=0, start=0, stop=6, total=6)


def test_the_weight_falls_as_half_a_cosine_and_stays() -> None:
    falling = Penalty(r1, 8.0, end=0.25, until=0.5)
    found = [falling.weight_at(progress) for progress in (0.0, 0.125, 0.25, 0.5, 0.9, 1.0)]
    assert found == pytest.approx([8.0, 2 + 3 * (1 + cos(pi / 4)), 5.0, 2.0, 2.0, 2.0])


def test_a_weight_that_does_not_fall_is_itself_throughout() -> None:
    assert {Penalty(r1, 8.0).weight_at(progress) for progress in (0.0, 0.3, 1.0)} == {8.0}


def test_the_penalty_is_as_strong_as_its_weight_then() -> None:
    images, falling = torch.randn(6, 1, 4, 4), penalty("r1", 8.0, 2, 0.25, 0.5)
    assert falling is not None
    values = [float(falling(lambda x: x.square().sum((1, 2, 3)), images, images, RANDOM, progress)) for progress in (0.0, 0.25, 0.7)]
    assert values == pytest.approx([values[0], values[0] * 5 / 8, values[0] / 4])
    assert values[0] == pytest.approx(2 * 8.0 * float((2 * images).square().sum((1, 2, 3)).mean()) / 2)


@pytest.mark.parametrize(("end", "until"), [(-0.1, 1.0), (1.1, 1.0), (float("nan"), 1.0), (0.5, 0.0), (0.5, 1.1)])
def test_shares_that_are_none_are_refused(end: float, until: float) -> None:
    with pytest.raises(OptionError, match=r"--penalty-(end|until): got"):
        penalty("r1", 1.0, 1, end, until)


def test_the_game_pays_what_its_progress_says(batches_of: Callable[..., Callable[[int], Batch]]) -> None:
    spec, networks = Spec(1, 8, 8), Networks(width=4, discriminator_width=4, discriminator_norm="none")
    game = Game(penalty="r1", penalty_weight=3.0, penalty_end=0.1, penalty_until=0.5)
    torch.manual_seed(0)
    gan = image_recipe(spec, networks, game, Learning(), Telling()).build()
    noted = []
    for progress in (0.0, 0.25, 0.5):
        for move in gan.play(replace(batches_of(spec)(0), progress=progress), 0):
            move.loss()
        noted.append(float(gan.notes.pop("penalty")[0]))
    assert noted[1:] == pytest.approx([0.55 * noted[0], 0.1 * noted[0]], rel=1e-5)


def test_a_learning_rate_burns_in_to_a_quarter_within_a_tenth() -> None:
    adam = Adam(2e-4, schedule="burn_in")
    assert [adam.rate(progress) for progress in (0.0, 0.05, 0.1, 0.5, 1.0)] == pytest.approx([2e-4, 1.25e-4, 5e-5, 5e-5, 5e-5])
