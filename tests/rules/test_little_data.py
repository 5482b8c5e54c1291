"""Adaptive augmentation and LeCam within a game: who steers by what, and what a person is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import elegan
from elegan.augment.adaptive import Adaptive
from elegan.engine.turns import Settings, Turns
from elegan.game import Batch, Recipe, Spec
from elegan.learning import prepare_networks
from elegan.losses.lecam import LeCam
from elegan.randomness import BatchRandomness
from elegan.rules.options import Game, Learning, Networks, image_recipe
from elegan.rules.two_player import TwoPlayer

SPEC, COUNT = Spec(3, 8, 8), 8


def recipe(**options: object) -> Recipe:
    networks = Networks(latent=4, width=4, discriminator_width=4, discriminator_norm="none")
    return image_recipe(SPEC, networks, Game(**options), Learning())  # type: ignore[arg-type]


def turns(**options: object) -> Turns:
    torch.manual_seed(0)
    made = recipe(**options)
    gan = made.build()
    prepare_networks(gan)
    return Turns(gan, made.optimizers, Settings())


def batch(step: int) -> Batch:
    real = torch.randn(COUNT, *SPEC.shape, generator=torch.Generator().manual_seed(step)).clamp(-1, 1)
    return Batch(real, None, BatchRandomness(0, step, 0, COUNT, COUNT))


def certain(gan: TwoPlayer, sign: float) -> None:
    """The discriminator is sure that everything is real, or that nothing is."""
    torch.nn.init.constant_(gan.discriminator.head.bias, 100.0 * sign)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 0.5 + 4 * COUNT / 1000), (-1.0, 0.5 - 4 * COUNT / 1000)])
def test_the_probability_follows_the_signs_of_real_logits(sign: float, expected: float) -> None:
    played = turns(augment="ada_blit", augment_probability=0.5, augment_images=1000.0)
    assert isinstance(played.gan, TwoPlayer)
    certain(played.gan, sign)
    for step in range(4):
        readings = played.round(batch(step), step)
        assert float(readings["augment_probability"]) == 0.5
    assert isinstance(played.gan.augment, Adaptive)
    assert float(played.gan.augment.p) == pytest.approx(expected)


@pytest.mark.parametrize("objective", ["relativistic_paired", "wasserstein"])
@pytest.mark.parametrize("offset", [-1000.0, 1000.0])
def test_what_can_be_added_to_all_logits_does_not_move_the_probability(objective: str, offset: float) -> None:
    """Real images are told from generated ones with certainty; the border is far from 0."""
    gan = turns(objective=objective, augment="ada_blit", augment_probability=0.5, augment_images=1000.0).gan
    assert isinstance(gan, TwoPlayer)
    assert isinstance(gan.augment, Adaptive)
    gan.batch = COUNT
    for _ in range(4):
        gan.steadied(torch.randn(COUNT) + offset + 10, torch.randn(COUNT) + offset)
        gan.settle("discriminator")
    assert float(gan.augment.p) == pytest.approx(0.5 + 4 * COUNT / 1000)
    for _ in range(4):
        gan.steadied(torch.full((COUNT,), offset - 10), torch.full((COUNT,), offset))
        gan.settle("discriminator")
    assert float(gan.augment.p) == pytest.approx(0.5)


def test_what_steers_is_saved_and_shared_by_the_discriminators_processes() -> None:
    gan = turns(augment="ada", lecam=0.3).gan
    assert {"augment.p", "augment.signs", "lecam.real", "lecam.fake"} <= gan.state_dict().keys()
    assert len(gan.shared("discriminator")) == 3
    assert gan.shared("generator") == []
    assert turns().gan.shared("discriminator") == []


def test_lecam_adds_the_distances_to_the_averages() -> None:
    plain, steadied = turns(), turns(lecam=0.3)
    assert isinstance(steadied.gan, TwoPlayer)
    assert isinstance(steadied.gan.lecam, LeCam)
    first = [float(game.round(batch(0), 0)["discriminator_loss"]) for game in (plain, steadied)]
    assert first[0] == first[1]  # there are no averages yet
    averages = float(steadied.gan.lecam.real), float(steadied.gan.lecam.fake)
    assert averages != (0.0, 0.0)
    gan, one = steadied.gan, batch(1)
    with torch.no_grad():
        fake = gan.generate(one.random, None)
        real_logits, fake_logits = gan.discriminator(one.real), gan.discriminator(fake)
        by_hand = 0.3 * ((real_logits - averages[1]).square().mean() + (fake_logits - averages[0]).square().mean())
        expected = gan.objective.discriminator(real_logits, fake_logits) + by_hand
    found = steadied.round(one, 1)["discriminator_loss"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_both_players_see_augmented_images() -> None:
    gan, seen = turns(augment="ada", augment_probability=1.0, augment_images=float("inf")).gan, []
    assert isinstance(gan, TwoPlayer)
    assert isinstance(gan.augment, Adaptive)
    forward: Callable[..., torch.Tensor] = gan.augment.forward
    gan.augment.forward = lambda images, random, stream: seen.append(stream) or forward(images, random, stream)  # type: ignore[func-returns-value, assignment]
    for move in gan.play(batch(0), 0):
        move.loss()
    assert seen == ["real", "fake", "generator"]


def test_a_picture_shows_what_the_discriminator_sees_beside_samples(tmp_path: Path) -> None:
    gan = turns(augment="translation").gan
    assert gan.views(batch(0))["augmented"].shape == (2 * COUNT, *SPEC.shape)
    assert turns().gan.views(batch(0)) == {}
    noisy = turns(augment="translation", instance_noise=0.5).gan
    begun, done = (noisy.views(replace(batch(0), progress=progress))["augmented"][:COUNT] for progress in (0.0, 1.0))
    assert torch.equal(done, gan.views(batch(0))["augmented"][:COUNT])
    assert (begun - done).std() > 0.4
    small = {"width": 4, "discriminator_width": 4, "batch": 8, "steps": 1, "precision": "fp32"}
    run = elegan.train("digits", model="dcgan", augment="cutout", out=str(tmp_path), **small)
    assert (run.path / "augmented.png").is_file()
    plain = elegan.train("digits", model="dcgan", out=str(tmp_path), **small)
    assert not (plain.path / "augmented.png").exists()


@pytest.mark.parametrize("update", ["alternating", "simultaneous", "extragradient"])
def test_a_look_ahead_does_not_steer(update: str) -> None:
    """Extragradient plays each round twice, and ADA, LeCam and their like count it once."""
    played = turns(augment="ada_blit", augment_probability=0.5, augment_images=1000.0, lecam=0.1)
    played.settings = replace(played.settings, update=update)  # type: ignore[arg-type]
    assert isinstance(played.gan, TwoPlayer)
    certain(played.gan, 1.0)
    for step in range(4):
        played.round(batch(step), step)
    assert isinstance(played.gan.augment, Adaptive)
    assert isinstance(played.gan.lecam, LeCam)
    assert float(played.gan.augment.p) == pytest.approx(0.5 + 4 * COUNT / 1000)
    assert int(played.gan.lecam.rounds) == 4
