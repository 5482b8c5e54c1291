"""The two-player game: what the discriminator sees, who pays for what, and what holds after an update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import erf, sqrt
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.augment import augmentation
from elegan.engine.turns import Settings, Turns
from elegan.errors import OptionError
from elegan.game import Attribute, Batch, Spec
from elegan.learning import prepare_networks
from elegan.losses.objectives import objective
from elegan.losses.orthogonality import orthogonality
from elegan.losses.penalties import penalty
from elegan.networks.conditions import Conditions
from elegan.networks.r3gan import R3GANDiscriminator
from elegan.randomness import Randomness, SeedRandomness
from elegan.rules.noise import InstanceNoise, draw
from elegan.rules.options import NETWORKS, Game, Learning, Networks, Telling, image_recipe
from elegan.rules.two_player import Remedies, TwoPlayer

SPEC = Spec(1, 8, 8)
Batches = Callable[[int], Batch]


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 64)

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        images: Tensor = self.layer(noise).tanh().view(-1, 1, 8, 8)
        return images


class Discriminator(nn.Module):
    """Keeps what it sees; with `outputs` it guesses a condition too."""

    def __init__(self, outputs: int = 0) -> None:
        super().__init__()
        self.layer, self.outputs = nn.Linear(64, 1 + outputs), outputs
        self.saw: list[Tensor] = []

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        self.saw.append(images.detach().clone())
        found: Tensor = self.layer(images.flatten(1))
        return found if self.outputs else found.squeeze(1)


def game(name: str = "non_saturating", outputs: int = 0, spec: Spec = SPEC, **options: Any) -> TwoPlayer:
    torch.manual_seed(0)
    return TwoPlayer(spec, Generator(), Discriminator(outputs), objective(name), latent=3, **options)


def play(gan: TwoPlayer, batch: Batch, step: int = 0) -> dict[str, Tensor]:
    """The losses of a round in which nobody learns."""
    return {move.player: move.loss() for move in gan.play(batch, step)}


def darker(images: Tensor, random: Randomness, stream: str) -> Tensor:
    return images - 100 - 10 * len(stream)


@pytest.mark.parametrize(("name", "looks"), [("r1", 4), ("r1+r2", 4), ("dragan", 5), ("finite_r1", 6)])
def test_the_discriminator_sees_nothing_but_augmented_images(name: str, looks: int, batches_of: Callable[..., Batches]) -> None:
    gan = game("relativistic_paired", penalty=penalty(name, 1.0), remedies=Remedies(augment=darker))
    play(gan, batches_of(SPEC)(0))
    saw = gan.discriminator.saw
    assert len(saw) == looks  # real, generated, what the penalty adds to these; then generated and real beside it
    assert all(float(images.max()) < -90 for images in saw)


@pytest.mark.parametrize("name", ["r1", "r2", "r1+r2"])
def test_a_penalty_at_samples_is_what_it_would_be_by_itself(name: str, batches_of: Callable[..., Batches]) -> None:
    """The scores of the loss serve both: value and gradient are those of scoring anew."""
    found = []
    for at_samples in (True, False):
        chosen = penalty(name, 3.0)
        assert chosen is not None
        gan = game("non_saturating", penalty=chosen if at_samples else replace(chosen, at_samples=()))
        gan.discriminator.layer = nn.Sequential(nn.Linear(64, 5), nn.Softplus(), nn.Linear(5, 1))
        loss = next(iter(gan.play(batches_of(SPEC)(0), 0))).loss()
        found.append((loss.detach(), torch.autograd.grad(loss, list(gan.discriminator.parameters()))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["r1", "r2", "r1+r2"])
@pytest.mark.parametrize("told", ["projection", "auxiliary"])
def test_a_homogeneous_discriminator_has_the_gradients_of_any_other(
    name: str, told: str, batches_of: Callable[..., Batches], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise and an augmentation that are no linear functions of the image are before it."""
    spec, found = Spec(1, 8, 8, ("a", "b")), []
    for homogeneous in (True, False):
        remedies = Remedies(augment=augmentation("colour+translation"), instance_noise=InstanceNoise(0.3))
        gan = game("relativistic_paired", spec=spec, penalty=penalty(name, 3.0), remedies=remedies)
        gan.discriminator = R3GANDiscriminator((1, 8, 8), width=16, conditions=Conditions(classes=2), told=told)  # type: ignore[arg-type]
        for weight in gan.discriminator.parameters():
            nn.init.normal_(weight, std=0.2, generator=torch.Generator().manual_seed(weight.numel()))
        assert gan.discriminator.is_homogeneous == (told == "projection")
        if not homogeneous:
            monkeypatch.setattr(R3GANDiscriminator, "is_homogeneous", False)
        loss = next(iter(gan.play(batches_of(spec)(0), 0))).loss()
        found.append((loss.detach(), torch.autograd.grad(loss, list(gan.discriminator.parameters()))))
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_each_look_has_random_numbers_of_its_own(batches_of: Callable[..., Batches]) -> None:
    streams = []

    def note(images: Tensor, random: Randomness, stream: str) -> Tensor:
        streams.append(stream)
        return images

    play(game("relativistic_paired", penalty=penalty("dragan", 1.0), remedies=Remedies(augment=note)), batches_of(SPEC)(0))
    assert len(set(streams)) == len(streams) == 5


def test_instance_noise_falls_to_nothing(batches_of: Callable[..., Batches]) -> None:
    batch, found = batches_of(SPEC, 400)(0), {}
    for progress in (0.0, 0.5, 1.0):
        gan = game(remedies=Remedies(instance_noise=InstanceNoise(0.4)))
        play(gan, Batch(batch.real, None, batch.random, progress=progress))
        found[progress] = float((gan.discriminator.saw[0] - batch.real).std())
    assert found[0.0] == pytest.approx(0.4, rel=0.02)
    assert found[0.5] == pytest.approx(0.2, rel=0.02)
    assert found[1.0] == 0.0


def test_geometric_noise_falls_by_even_factors_to_a_twentieth_and_then_to_nothing() -> None:
    noise = InstanceNoise(0.4, until=0.5, fall="geometric")
    found = [noise.std(progress) for progress in (0.0, 0.125, 0.25, 0.375, 0.4999999)]
    ratios = [later / earlier for earlier, later in pairwise(found)]
    assert found[0] == 0.4
    assert ratios == pytest.approx([0.05**0.25] * 4, rel=1e-4)
    assert found[-1] == pytest.approx(0.02, rel=1e-4)
    assert noise.std(0.5) == noise.std(0.9) == 0.0


def test_noise_may_end_early() -> None:
    assert InstanceNoise(0.4, until=0.5).std(0.25) == pytest.approx(0.2)
    assert InstanceNoise(0.4, until=0.5).std(0.75) == 0.0
    for share in (0.0, 1.1, -1.0):
        with pytest.raises(OptionError, match="--instance-noise-until"):
            InstanceNoise(0.4, until=share)


def test_weights_are_clipped_after_the_discriminators_update_alone() -> None:
    gan = game(remedies=Remedies(clip_weights=0.01))
    before = gan.discriminator.layer.weight.detach().clone()
    gan.settle("generator")
    assert torch.equal(gan.discriminator.layer.weight, before)
    gan.settle("discriminator")
    assert torch.equal(gan.discriminator.layer.weight, before.clamp(-0.01, 0.01))
    assert before.abs().max() > 0.02
    assert float(gan.generator.layer.weight.detach().abs().max()) > 0.02


@pytest.mark.parametrize(("told", "kept"), [("concatenate", True), ("projection", False)])
def test_clipping_leaves_the_picture_of_a_condition_alone(told: Any, kept: bool) -> None:
    """A clipped picture is nearly black: the critic would not see the class. A projection multiplies the sample."""
    telling = Telling(discriminator_condition=told)
    gan: Any = image_recipe(Spec(1, 8, 8, ("a", "b")), Networks(), Game(clip_weights=0.01), Learning(), telling).build()
    before = gan.discriminator.embedding.weight.detach().clone()
    gan.settle("discriminator")
    assert torch.equal(gan.discriminator.embedding.weight, before if kept else before.clamp(-0.01, 0.01))
    assert gan.discriminator.head.weight.abs().max() <= 0.01


def test_the_generator_pays_for_orthogonality(batches_of: Callable[..., Batches]) -> None:
    batch = batches_of(SPEC)(0)
    plain, regularised = play(game(), batch), play(game(remedies=Remedies(orthogonal=0.5)), batch)
    weight = game().generator.layer.weight.detach()
    overlap = (weight @ weight.T) * (1 - torch.eye(64))
    torch.testing.assert_close(regularised["generator"] - plain["generator"], 0.5 * overlap.square().sum(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(regularised["discriminator"], plain["discriminator"])


def test_a_relativistic_generator_lowers_the_discriminators_loss_with_the_roles_exchanged(batches_of: Callable[..., Batches]) -> None:
    gan = game("relativistic_paired")
    losses = play(gan, batches_of(SPEC)(0))
    real, fake = (gan.discriminator(images) for images in gan.discriminator.saw[:2])
    torch.testing.assert_close(losses["discriminator"], F.softplus(fake - real).mean())
    torch.testing.assert_close(losses["generator"], F.softplus(real - fake).mean())
    losses["generator"].backward()  # type: ignore[no-untyped-call]
    assert gan.generator.layer.weight.grad is not None


CONDITIONS = {
    "classes": (Spec(1, 8, 8, ("a", "b", "c")), 3),
    "attributes": (Spec(1, 8, 8, attributes=(Attribute("age", 0, 9, (1, 2)), Attribute("old", 0, 1, (0, 1)))), 2),
}


@pytest.mark.parametrize("kind", CONDITIONS)
def test_both_players_pay_for_a_wrong_guess(kind: str, batches_of: Callable[..., Batches]) -> None:
    spec, outputs = CONDITIONS[kind]
    batch = batches_of(spec)(0)
    assert batch.condition is not None
    gan, deaf = (game(outputs=outputs, spec=spec, remedies=Remedies(auxiliary=weight)) for weight in (0.7, 0.0))
    losses, without = play(gan, batch), play(deaf, batch)
    guesses = [gan.discriminator(images)[:, 1:] for images in gan.discriminator.saw[:2]]
    if kind == "classes":
        costs = [F.cross_entropy(guess, batch.condition) for guess in guesses]
    else:
        share = (batch.condition + 1) / 2
        costs = [-(share * guess.sigmoid().log() + (1 - share) * (1 - guess.sigmoid()).log()).mean() for guess in guesses]
    torch.testing.assert_close(losses["discriminator"] - without["discriminator"], 0.7 * (costs[0] + costs[1]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["generator"] - without["generator"], 0.7 * costs[1], rtol=1e-4, atol=1e-5)


def test_noise_is_distributed_as_its_name_says() -> None:
    seeds = SeedRandomness(tuple(range(4000)))
    found = {name: draw(name, seeds, 5) for name in ("normal", "uniform", "truncated_normal")}  # type: ignore[arg-type]
    assert {values.shape for values in found.values()} == {(4000, 5)}
    assert float(found["normal"].std()) == pytest.approx(1.0, abs=0.02)
    assert float(found["normal"].abs().max()) > 3
    assert float(found["uniform"].std()) == pytest.approx(1 / sqrt(3), abs=0.01)
    assert float(found["uniform"].abs().max()) <= 1
    truncated = found["truncated_normal"]
    assert float(truncated.abs().max()) <= 2
    assert float((truncated.abs() < 1).float().mean()) == pytest.approx(erf(1 / sqrt(2)) / erf(2 / sqrt(2)), abs=0.015)


def small(game: Game, **networks: Any) -> Any:
    return image_recipe(Spec(1, 8, 8, ("a", "b")), Networks(width=4, discriminator_width=4, **networks), game, Learning(), Telling())


def test_a_penalty_on_each_samples_gradient_refuses_batch_norm() -> None:
    with pytest.raises(OptionError, match=r"with batch norm does not have\. Use --discriminator-norm none"):
        small(Game(penalty="gradient_penalty"))
    small(Game(penalty="gradient_penalty"), discriminator_norm="none")


def test_fully_connected_networks_are_not_told_by_batch_norm() -> None:
    with pytest.raises(OptionError, match="Use --generator-condition concatenate"):
        Networks("mlp", discriminator_norm="none").check(Telling("batch_norm"))


@pytest.mark.parametrize("network", NETWORKS)
def test_every_remedy_goes_with_every_network(network: str, batches_of: Callable[..., Batches]) -> None:
    """All at once, for one round: each has something to say, and all weights stay finite."""
    pair, spec = NETWORKS[network], Spec(3, 32, 32, ("a", "b"))
    networks = Networks(network, 80, 4, 4, discriminator_norm=pair.norms[-1])  # type: ignore[arg-type]
    everything = Game(
        **{"penalty": "r1+r2", "penalty_interval": 2, "clip_weights": 5.0, "orthogonal": 0.1, "instance_noise": 0.1},
        **{"augment": "ada_full", "augment_probability": 1.0, "lecam": 0.1, "label_smoothing": 0.1},
    )  # type: ignore[arg-type]
    recipe = image_recipe(spec, networks, everything, Learning(), Telling(pair.told[0], "auxiliary"))
    torch.manual_seed(0)
    gan: Any = recipe.build()
    prepare_networks(gan)
    assert float(orthogonality(gan.generator)) > 0
    readings = Turns(gan, recipe.optimizers, Settings()).round(batches_of(spec)(0), 0)
    assert {"penalty", "augment_probability"} <= readings.keys()
    assert all(bool(torch.isfinite(value).all()) for value in [*readings.values(), *gan.state_dict().values()])


def test_a_residual_discriminator_has_no_batch_norm() -> None:
    with pytest.raises(OptionError, match="discriminator-norm spectral or none"):
        small(Game(), network="resnet")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Game(augment="color"), "colour"),
        (Game(objective="hinge", label_smoothing=0.1), "label"),
        (Game(penalty_interval=0), "--penalty-interval"),
        (Game(instance_noise=0.1, instance_noise_until=2.0), "--instance-noise-until"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_built(wrong: Game, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        small(wrong)


def test_options_reach_the_game() -> None:
    chosen = Game(
        "hinge", penalty="r1+r2", penalty_weight=3.0, penalty_interval=4, discriminator_steps=2, clip_weights=0.1, noise="uniform"
    )
    gan = small(chosen).build()
    assert (gan.penalty.weight, gan.penalty.interval, gan.discriminator_steps) == (3.0, 4, 2)
    assert (gan.remedies.clip_weights, gan.augment, gan.noise) == (0.1, None, "uniform")
    assert gan.objective == objective("hinge")


def test_options_that_make_no_difference_are_named() -> None:
    of_mlp, of_noise = (
        {"depth", "activation", "waves", "widest"},
        {
            *("instance_noise_until", "instance_noise_fall"),
            *("augment_probability", "augment_target", "augment_images"),
        },
    )
    of_penalty = {"penalty_weight", "penalty_interval", "penalty_end", "penalty_until"}
    falling = Game(penalty="r1", penalty_end=0.1)
    assert small(Game()).idle.keys() == {*of_mlp, *of_noise, *of_penalty, "auxiliary_weight"}
    assert small(Game(penalty="r1")).idle.keys() == {*of_mlp, *of_noise, "penalty_until", "auxiliary_weight"}
    assert small(falling, network="dcgan").idle.keys() == {*of_mlp, *of_noise, "auxiliary_weight"}
    assert small(falling, network="mlp", discriminator_norm="none").idle.keys() == {"widest", *of_noise, "auxiliary_weight"}
    assert small(replace(falling, instance_noise=0.1, augment="ada")).idle.keys() == {*of_mlp, "auxiliary_weight"}
    spec, networks = Spec(1, 8, 8), Networks(width=4, discriminator_width=4)
    unlabelled = image_recipe(spec, networks, falling, Learning(optimizer="sgd"), Telling())
    told = {"generator_condition", "discriminator_condition", "auxiliary_weight"}
    assert unlabelled.idle.keys() == {*of_mlp, *of_noise, *told, "beta2"}
    guessing = image_recipe(Spec(1, 8, 8, ("a", "b")), networks, falling, Learning(), Telling(discriminator_condition="auxiliary"))
    assert guessing.idle.keys() == {*of_mlp, *of_noise}
