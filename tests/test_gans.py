"""The contract, held for every variant in elegan/gans: a new file there is tested with no edit here."""

from __future__ import annotations

import copy
import importlib
import signal
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import elegan.gans
from elegan.engine.average import Average, sampling
from elegan.engine.loop import Intervals, Listener, Training, optimizer_tensors
from elegan.engine.run import Run
from elegan.engine.turns import Settings, Turns
from elegan.game import GAN, Attribute, Batch, Move, Recipe, Spec
from elegan.learning import prepare_networks
from elegan.networks.style import BatchDeviation, Noise
from elegan.optimizers import Adam
from elegan.randomness import SeedRandomness
from elegan.tasks.recipes import RecipeModule, check_signature, purpose

Batches = Callable[[int], Batch]
BatchesOf = Callable[..., Batches]

NAMES = elegan.gans.names()
ATTRIBUTES = (Attribute("age", 18.0, 80.0, (18.0, 80.0, 40.0)), Attribute("smiling", -1.0, 1.0, (1.0, -1.0, 1.0)))
SPECS = {
    "labelled": Spec(1, 8, 8, ("a", "b", "c")),
    "unlabelled": Spec(3, 21, 37),
    "attributes": Spec(4, 8, 9, attributes=ATTRIBUTES),
}
SMALL = {"width": 8, "discriminator_width": 8, "widest": 16, "latent": 8}

every_variant = pytest.mark.parametrize("name", NAMES)
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def module(name: str) -> Any:
    return importlib.import_module(f"elegan.gans.{name}")


def small_recipe(name: str, spec: Spec, **options: object) -> Recipe:
    """The variant with small networks and with those of `options` that it has."""
    found = RecipeModule(name, module(name))
    known = {key: value for key, value in {**SMALL, **options}.items() if key in found.parameters}
    return found.make(spec, known)


def build(recipe: Recipe) -> GAN:
    torch.manual_seed(0)
    gan = recipe.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prepare_networks(gan)
    return gan  # type: ignore[no-any-return]


def without_the_batch(network: nn.Module) -> None:
    """Layers that look at the batch as a whole, or draw noise of their own, do so no more."""
    for name, child in network.named_children():
        if isinstance(child, _BatchNorm):
            setattr(network, name, nn.Identity())
        elif isinstance(child, BatchDeviation):
            setattr(network, name, nn.ZeroPad3d((0, 0, 0, 0, 0, 1)))  # one more channel
        elif isinstance(child, Noise):
            child.eval()
        else:
            without_the_batch(child)


def condition(gan: GAN, count: int) -> Tensor | None:
    return gan.spec.conditions_of(range(count))


class Watched(Turns):
    """Turns that keep each move's player and gradient, and which players' weights and buffers it changed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.moved: list[str] = []
        self.gradients: list[list[Tensor]] = []
        self.changes: list[tuple[str, dict[str, list[str]]]] = []

    def gradient(self, moves: tuple[Move, ...], *args: Any) -> dict[str, Tensor]:
        self.before = copy.deepcopy(self.states())
        readings: dict[str, Tensor] = super().gradient(moves, *args)
        return readings

    def update(self, player: str, *args: Any) -> None:
        super().update(player, *args)
        changed = {
            other: [key for key, value in state.items() if not torch.equal(value, self.before[other][key])]
            for other, state in self.states().items()
        }
        self.moved.append(player)
        self.changes.append((player, changed))

    def states(self) -> dict[str, dict[str, Tensor]]:
        return {
            player: {f"{i}.{key}": value for i, network in enumerate(networks) for key, value in network.state_dict().items()}
            for player, networks in self.gan.players.items()
        }

    def parameter_names(self) -> set[str]:
        return {f"{i}.{key}" for networks in self.gan.players.values() for i, n in enumerate(networks) for key, _ in n.named_parameters()}

    def gradient_norm(self, player: str) -> Tensor:
        self.gradients.append([p.grad.clone() for p in self.weights[player] if p.grad is not None])
        return super().gradient_norm(player)


def watched(name: str, spec: Spec, settings: Settings, **options: object) -> Watched:
    recipe = small_recipe(name, spec, **options)
    return Watched(build(recipe), recipe.optimizers, settings)


@every_variant
def test_the_signature_is_a_configuration(name: str) -> None:
    found = RecipeModule(name, module(name))
    check_signature(found)
    assert found.parameters.keys() >= {"steps", "batch"}
    assert all(purpose(hint) for hint in found.hints.values()), "every option says what it is for"
    for option, parameter in found.parameters.items():
        kind = found.types[option]
        if typing.get_origin(kind) is Literal:
            assert parameter.default in typing.get_args(kind), option
        else:
            assert kind in (int, float, str, bool), option
            assert type(parameter.default) is kind, option


@every_variant
def test_a_variant_says_what_it_is_in_one_line(name: str) -> None:
    assert (module(name).recipe.__doc__ or "").strip()
    assert (module(name).__doc__ or "").strip()


@every_variant
def test_presets_are_options_of_the_recipe(name: str) -> None:
    found = RecipeModule(name, module(name))
    for preset in found.presets:
        found.make(SPECS["labelled"], found.resolve(found.presets[preset].options, {}))


@every_variant
@every_spec
def test_a_recipe_is_complete(name: str, spec: Spec) -> None:
    recipe = small_recipe(name, spec, batch=6, steps=7, average_half_life=8.0)
    gan = build(recipe)
    networks = [network for player in gan.players.values() for network in player]
    assert (recipe.batch, recipe.steps) == (6, 7)
    assert recipe.optimizers.keys() == gan.players.keys()
    assert len(set(map(id, networks))) == len(networks), "a network belongs to one player"
    assert set(gan.averaged) <= {child for child, _ in gan.named_children()}
    assert gan.spec.shape == spec.shape
    assert sum(p.numel() for n in networks for p in n.parameters()) == sum(p.numel() for p in gan.parameters())


@every_variant
def test_the_seed_alone_decides_the_first_weights(name: str) -> None:
    recipe = small_recipe(name, SPECS["labelled"])
    first, second = build(recipe).state_dict(), build(recipe).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@every_variant
@every_spec
@pytest.mark.parametrize("accumulate", [1, 2])
def test_rounds_are_finite_and_every_player_moves(name: str, spec: Spec, accumulate: int, batches_of: BatchesOf) -> None:
    turns = watched(name, spec, Settings(accumulate=accumulate))
    for step in range(6):
        before = len(turns.moved)
        readings = turns.round(batches_of(spec)(step), step)
        assert all(value.isfinite() for value in readings.values())
        assert readings.keys() >= {f"{player}_{what}" for player in turns.moved[before:] for what in ("loss", "gradient")}
    assert set(turns.moved) == turns.gan.players.keys()
    assert turns.updates == {player: turns.moved.count(player) for player in turns.gan.players}


@every_variant
@every_spec
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_move_changes_the_movers_weights_and_no_others(name: str, spec: Spec, accumulate: int, batches_of: BatchesOf) -> None:
    turns = watched(name, spec, Settings(accumulate=accumulate))
    for step in range(6):
        turns.round(batches_of(spec)(step), step)
    for mover, changed in turns.changes:
        weights = {player: turns.parameter_names() & set(keys) for player, keys in changed.items()}
        assert weights[mover]
        assert not any(keys for player, keys in weights.items() if player != mover)


@every_variant
@every_spec
def test_a_move_changes_the_movers_buffers_and_no_others(name: str, spec: Spec, batches_of: BatchesOf) -> None:
    """In a divided round. In a whole one a batch may be generated once, in a turn nested in another player's move; then
    what holds is the next test: statistics advance once for each update of their owner."""
    turns = watched(name, spec, Settings(accumulate=2))
    for step in range(6):
        turns.round(batches_of(spec)(step), step)
    for mover, changed in turns.changes:
        assert {player for player, keys in changed.items() if keys} == {mover}


@every_variant
def test_running_statistics_advance_once_for_each_update(name: str, batches_of: BatchesOf) -> None:
    turns = watched(name, SPECS["labelled"], Settings())
    for step in range(6):
        turns.round(batches_of(SPECS["labelled"])(step), step)
    for player, networks in turns.gan.players.items():
        counts = {int(m.num_batches_tracked) for network in networks for m in network.modules() if isinstance(m, _BatchNorm)}
        assert counts <= {turns.updates[player]}


@every_variant
@every_spec
def test_samples_are_of_the_spec_and_repeat(name: str, spec: Spec, batches_of: BatchesOf) -> None:
    recipe = small_recipe(name, spec)
    gan = build(recipe)
    average = Average(gan, 8.0)
    turns = Turns(gan, recipe.optimizers, Settings(), average)
    for step in range(2):
        turns.round(batches_of(spec)(step), step)
    for sampler in (gan, average.view(gan)):
        with sampling(sampler) as ready:
            first, again = (ready.sample(SeedRandomness((0, 1, 2)), condition(ready, 3)) for _ in range(2))
            other = ready.sample(SeedRandomness((3, 1, 2)), condition(ready, 3))
        assert first.shape == (3, *spec.shape)
        assert first.isfinite().all()
        assert first.abs().max() <= 1
        assert torch.equal(first, again)
        assert not torch.allclose(first[0], other[0], atol=1e-7)


@every_variant
def test_a_player_that_knows_classes_is_told_them(name: str) -> None:
    gan = build(small_recipe(name, SPECS["labelled"]))
    with torch.no_grad():
        for weight in gan.parameters():  # a conditional batch norm starts as a plain one
            weight.add_(0.05 * torch.randn_like(weight))
    with sampling(gan):
        samples = gan.sample(SeedRandomness((5, 5)), torch.tensor([0, 1]))
    assert torch.allclose(samples[0], samples[1], atol=1e-7) is not bool(gan.spec.classes)


def training(name: str, spec: Spec, folder: Path, batches: Batches, steps_between_saves: int) -> Training:
    recipe = small_recipe(name, spec, discriminator_steps=2, average_half_life=20.0)
    gan = build(recipe)
    turns = Turns(gan, recipe.optimizers, Settings(accumulate=2, seed=1), Average(gan, 20.0))
    run = Run(folder)
    if not run.exists():
        run.create({}, {})
    return Training(turns, batches, run, Intervals(steps_between_saves, log=1), Listener())


@every_variant
@every_spec
@pytest.mark.parametrize("rounds", [3])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    name: str, spec: Spec, rounds: int, tmp_path: Path, batches_of: BatchesOf
) -> None:
    batches = batches_of(spec)
    straight = training(name, spec, tmp_path / "straight", batches, 100)
    straight.train(2 * rounds)
    half = training(name, spec, tmp_path / "halves", batches, 100)
    half.listener.progress = lambda progress: signal.raise_signal(signal.SIGTERM) if progress.step == rounds else None
    assert half.train(2 * rounds) == "SIGTERM"
    resumed = training(name, spec, tmp_path / "halves", batches, 100)
    resumed.resume()
    assert resumed.step == rounds
    resumed.train(2 * rounds)
    for expected, found in (
        (straight.weights(), resumed.weights()),
        (optimizer_tensors(straight.turns), optimizer_tensors(resumed.turns)),
    ):
        assert expected.keys() == found.keys()
        assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    assert any(key.startswith("average.") for key in straight.weights())
    assert resumed.turns.updates == straight.turns.updates
    assert (tmp_path / "halves/samples.png").read_bytes() == (tmp_path / "straight/samples.png").read_bytes()
    timeless = [[{k: v for k, v in line.items() if "second" not in k} for line in t.run.log] for t in (straight, resumed)]
    assert timeless[0] == timeless[1]


@every_variant
@every_spec
def test_accumulation_equals_the_large_batch(name: str, spec: Spec, batches_of: BatchesOf) -> None:
    batches = batches_of(spec, 12)
    found = []
    for parts in (1, 2, 3):
        recipe = small_recipe(name, spec, discriminator_steps=1, penalty="r1", path_length_weight=0.0)
        gan = build(recipe)
        without_the_batch(gan)
        turns = Watched(gan, recipe.optimizers, Settings(accumulate=parts))
        readings = turns.round(batches(0), 0)
        found.append((turns.gradients, readings))
    assert len(found[0][0]) == 2
    for gradients, readings in found[1:]:
        torch.testing.assert_close(gradients, found[0][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(readings, found[0][1], rtol=1e-4, atol=1e-5)


@every_variant
def test_compiled_networks_give_the_same_numbers(name: str, batches_of: BatchesOf) -> None:
    spec, found = SPECS["labelled"], []
    torch._dynamo.reset()
    for compiled in (False, True):
        recipe = small_recipe(name, spec, discriminator_steps=2, penalty="r1")
        gan = build(recipe)
        if compiled:
            for network in [network for networks in gan.players.values() for network in networks]:
                network.compile(backend="aot_eager")
        # a large eps: a bias before a batch norm has no gradient but rounding, which Adam would make a step of
        optimizers = {player: Adam(1e-3, eps=1e-2) for player in recipe.optimizers}
        turns = Turns(gan, optimizers, Settings())
        for step in range(2):
            turns.round(batches_of(spec)(step), step)
        with torch._dynamo.config.patch(error_on_recompile=True):  # two rounds have met all there is to meet
            for step in (2, 3):
                readings = turns.round(batches_of(spec)(step), step)
        found.append((readings, gan.state_dict()))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=1e-4)


@every_variant
def test_bfloat16_stays_close_to_float32(name: str, batches_of: BatchesOf) -> None:
    spec, first = SPECS["labelled"], {}
    for precision in ("fp32", "bf16"):
        turns = watched(name, spec, Settings(precision=precision), discriminator_steps=1)
        for step in range(4):
            readings = turns.round(batches_of(spec)(step), step)
            assert all(value.isfinite() for value in readings.values())
            first.setdefault(precision, readings)
        assert {p.dtype for p in turns.gan.parameters()} == {torch.float32}
        assert {g.dtype for gradients in turns.gradients for g in gradients} == {torch.float32}
    for player in turns.gan.players:
        torch.testing.assert_close(first["bf16"][f"{player}_loss"], first["fp32"][f"{player}_loss"], rtol=0.03, atol=0.03)
    assert any(not torch.equal(first["bf16"][key], first["fp32"][key]) for key in first["fp32"]), "bf16 was in use"
