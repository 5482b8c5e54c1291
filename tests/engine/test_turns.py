from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elegan.engine.average import Average
from elegan.engine.turns import Settings, Turns, make_optimizer
from elegan.errors import NotFiniteError
from elegan.game import GAN, Batch, Move, Spec
from elegan.learning import prepare_networks
from elegan.losses.objectives import objective
from elegan.losses.penalties import Penalty, penalty, r1
from elegan.networks.layers import spectral_norm
from elegan.networks.mlp import MLPDiscriminator, MLPGenerator
from elegan.optimizers import Adam
from elegan.randomness import BatchRandomness, Randomness
from elegan.rules.two_player import TwoPlayer

Batches = Callable[[int], Batch]
MakeTurns = Callable[..., Turns]


def infinite_loss(*logits: Tensor) -> Tensor:
    return logits[0].mean() + torch.inf


def infinite_gradient(*logits: Tensor) -> Tensor:
    return (logits[0] * 0).abs().sqrt().sum()  # 0, with the slope of a square root there


def state(turns: Turns) -> dict[str, Any]:
    moments = {name: copy.deepcopy(optimizer.state_dict()["state"]) for name, optimizer in turns.optimizers.items()}
    return {"weights": copy.deepcopy(turns.gan.state_dict()), "moments": moments, "updates": dict(turns.updates)}


def assert_same(found: object, expected: object) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize(("loss", "what"), [(infinite_loss, "loss"), (infinite_gradient, "gradient")])
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_a_number_that_is_not_finite_stops_before_it_is_used(
    player: str, loss: Callable[..., Tensor], what: str, make_turns: MakeTurns, batches: Batches
) -> None:
    turns, bad = make_turns(), make_turns(**{player: loss})
    turns.round(batches(0), 0)
    turns.gan.objective = bad.gan.objective
    before = state(turns)
    with pytest.raises(NotFiniteError, match=f"the {player}'s {what} is no longer finite at step 1 "):
        turns.round(batches(1), 1)
    after = state(turns)
    if player == "generator":  # the discriminator's move before it was a good one
        assert after["updates"] == {"discriminator": 2, "generator": 1}
        after["moments"].pop("discriminator"), before["moments"].pop("discriminator")
        after["updates"] = before["updates"]
        for key in [key for key in before["weights"] if key.startswith("discriminator")]:
            del before["weights"][key], after["weights"][key]
    assert_same(after, before)


def test_after_a_number_that_is_not_finite_a_good_round_is_as_if_nothing_had_happened(make_turns: MakeTurns, batches: Batches) -> None:
    turns, calm = make_turns(), make_turns()
    good = turns.gan.objective
    turns.gan.objective = make_turns(discriminator=infinite_gradient).gan.objective
    with pytest.raises(NotFiniteError):
        turns.round(batches(0), 0)
    turns.gan.objective = good
    assert_same(turns.round(batches(1), 1), calm.round(batches(1), 1))
    assert_same(state(turns), state(calm))


def test_a_gradient_is_cut_to_the_length_asked_for(make_turns: MakeTurns, batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    free, cut = make_turns(), make_turns(Settings(clip=1e-3))
    used: dict[Turns, list[Tensor]] = {}
    for turns in (free, cut):
        optimizer, used[turns] = turns.optimizers["discriminator"], []

        def step(turns: Turns = turns, original: Callable[[], Any] = optimizer.step) -> None:
            used[turns] += [p.grad.clone() for p in turns.weights["discriminator"] if p.grad is not None]
            original()

        monkeypatch.setattr(optimizer, "step", step)
    readings = [turns.round(batches(0), 0)["discriminator_gradient"] for turns in (free, cut)]
    length = torch.linalg.vector_norm(torch.cat([g.flatten() for g in used[free]]))
    assert length > 0.01
    assert_same(readings[0], readings[1])  # the reading is the length before
    torch.testing.assert_close(readings[0], length)
    torch.testing.assert_close([g * length / 1e-3 for g in used[cut]], used[free], rtol=1e-4, atol=1e-6)


def test_a_gradient_shorter_than_asked_for_is_left_alone(make_turns: MakeTurns, batches: Batches) -> None:
    free, cut = make_turns(), make_turns(Settings(clip=1e3))
    free.round(batches(0), 0)
    cut.round(batches(0), 0)
    assert_same(state(cut), state(free))


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_generator_moves_every_kth_round(k: int, accumulate: int, make_turns: MakeTurns, batches: Batches) -> None:
    turns = make_turns(Settings(accumulate=accumulate), discriminator_steps=k)
    kept = []
    for step in range(10):
        before = copy.deepcopy(turns.gan.generator.state_dict())
        turns.round(batches(step), step)
        kept.append(all(torch.equal(before[key], value) for key, value in turns.gan.generator.state_dict().items()))
    assert turns.updates == {"discriminator": 10, "generator": 10 // k}
    assert kept == [(step + 1) % k != 0 for step in range(10)]


def test_the_first_update_is_adams(make_turns: MakeTurns, batches: Batches) -> None:
    """Adam's first step is the learning rate times the gradient's sign, wherever the gradient is far above eps."""
    turns = make_turns()
    before = turns.gan.discriminator.blocks[1].weight.detach().clone()
    turns.round(batches(0), 0)
    change = turns.gan.discriminator.blocks[1].weight.detach() - before
    torch.testing.assert_close(change.abs(), torch.full_like(change, 1e-2), rtol=1e-3, atol=0)


def test_whole_numbers_are_good_betas() -> None:
    optimizer = make_optimizer([nn.Parameter(torch.zeros(2))], Adam(1e-3, (0, 0.9), 1e-7))  # type: ignore[arg-type]
    assert optimizer.param_groups[0]["betas"] == (0.0, 0.9)
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["eps"]) == (1e-3, 1e-7)


def test_the_same_rounds_give_the_same_weights_whatever_the_global_generator(make_turns: MakeTurns, batches: Batches) -> None:
    first, second = make_turns(), make_turns()
    first.round(batches(0), 0)
    torch.manual_seed(12345)
    second.round(batches(0), 0)
    assert_same(state(second), state(first))


def test_a_round_leaves_the_callers_random_numbers_alone(make_turns: MakeTurns, batches: Batches) -> None:
    turns = make_turns()
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    turns.round(batches(0), 0)
    assert torch.equal(torch.rand(3), expected)


class Lottery(GAN):
    """One player whose network draws dropout; it keeps what it drew. One player alone is a legal game."""

    def __init__(self) -> None:
        super().__init__(Spec(1, 2, 2))
        self.generator = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        self.drawn: list[Tensor] = []
        self.settled: list[str] = []

    @property
    def players(self) -> Mapping[str, tuple[nn.Module, ...]]:
        return {"solo": (self.generator,)}

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        for _ in range(2):
            yield Move("solo", lambda: self.loss(batch))

    def loss(self, batch: Batch) -> Tensor:
        out: Tensor = self.generator(torch.ones(len(batch), 4))
        self.drawn.append(out == 0)
        self.note("out", out)
        return out.square().mean()

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        raise NotImplementedError

    def settle(self, player: str) -> None:
        self.settled.append(player)
        for weight in self.generator.parameters():
            weight.data.clamp_(-0.01, 0.01)


def play_lottery(seed: int, batches: Batches, accumulate: int = 1) -> Lottery:
    torch.manual_seed(0)
    gan = Lottery()
    prepare_networks(gan)
    turns = Turns(gan, {"solo": Adam()}, Settings(seed=seed, accumulate=accumulate), Average(gan, 1e-9))
    for step in range(2):
        turns.round(batches(step), step)
    assert turns.average is not None
    gan.averaged_weight = turns.average.networks["generator"][0].weight
    return gan


@pytest.mark.parametrize("accumulate", [1, 2])
def test_what_layers_draw_repeats_with_the_seed_and_differs_in_each_evaluation(accumulate: int, batches: Batches) -> None:
    first, again, other = (play_lottery(seed, batches, accumulate).drawn for seed in (0, 0, 1))
    assert len(first) == 4 * accumulate
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert len({tuple(drawn.flatten().tolist()) for drawn in first}) == len(first)


def test_projections_come_after_each_update_and_before_the_average(batches: Batches) -> None:
    gan = play_lottery(0, batches)
    assert gan.settled == ["solo"] * 4
    assert gan.averaged_weight.abs().max() <= 0.0100001
    torch.testing.assert_close(gan.averaged_weight, gan.generator[0].weight, atol=1e-6, rtol=0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_notes_are_averaged_over_the_round_and_forgotten(accumulate: int, make_turns: MakeTurns, batches: Batches) -> None:
    turns = make_turns(Settings(accumulate=accumulate))
    readings = turns.round(batches(0), 0)
    assert readings.keys() == {
        "discriminator_loss", "discriminator_gradient", "generator_loss", "generator_gradient", "real_probability", "fake_probability",
    }  # fmt: skip
    assert 0 < float(readings["real_probability"]) < 1
    assert turns.gan.notes == {}
    assert all(value.shape == () and not value.requires_grad for value in readings.values())


def test_no_gradient_outlives_its_move(make_turns: MakeTurns, batches: Batches) -> None:
    turns = make_turns()
    turns.round(batches(0), 0)
    assert all(p.grad is None for p in turns.gan.parameters())
    assert not any(p.requires_grad for p in turns.gan.parameters())


def test_a_frozen_player_costs_no_weight_gradients(make_turns: MakeTurns, batches: Batches) -> None:
    turns, seen = make_turns(), []

    def watch(module: nn.Module, inputs: object, output: Tensor) -> None:
        seen.append({p.requires_grad for p in module.parameters()})

    turns.gan.generator.register_forward_hook(watch)
    turns.gan.discriminator.register_forward_hook(watch)
    turns.round(batches(0), 0)
    assert seen == [{True}, {True}, {True}, {False}]  # shared fake; D on real and fake; D in the generator's move


def test_a_whole_round_makes_its_fakes_once_and_a_divided_one_anew(make_turns: MakeTurns, batches: Batches) -> None:
    counts = {}
    for accumulate in (1, 2):
        turns, calls = make_turns(Settings(accumulate=accumulate)), []
        turns.gan.generator.register_forward_hook(lambda module, inputs, output, calls=calls: calls.append(len(output)))
        turns.round(batches(0), 0)
        counts[accumulate] = calls
    assert counts == {1: [8], 2: [4, 4, 4, 4]}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_networks_with_spectral_norm_play(accumulate: int, batches: Batches) -> None:
    """In both players, as in SAGAN: the generator's estimates advance between a shared batch's forward and its backward."""
    torch.manual_seed(0)
    spec = Spec(1, 2, 2)
    generator, discriminator = MLPGenerator(spec.shape, latent=3, width=5), MLPDiscriminator(spec.shape, width=5)
    for network in (generator, discriminator):
        for layer in [layer for layer in network.modules() if isinstance(layer, nn.Linear)]:
            spectral_norm(layer)
    gan = TwoPlayer(spec, generator, discriminator, objective("non_saturating"), latent=3)
    prepare_networks(gan)
    turns = Turns(gan, dict.fromkeys(gan.players, Adam()), Settings(accumulate=accumulate))
    for step in range(3):
        assert all(value.isfinite() for value in turns.round(batches(step), step).values())


def test_spectral_estimates_advance_once_for_each_update_of_their_owner(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    spec, advanced = Spec(1, 2, 2), []
    discriminator = MLPDiscriminator(spec.shape, width=5)
    spectral_norm(discriminator.blocks[1])
    norm = discriminator.blocks[1].parametrizations.weight[0]
    monkeypatch.setattr(norm, "_iterate", lambda matrix: advanced.append(matrix))
    gan = TwoPlayer(
        spec, MLPGenerator(spec.shape, latent=3, width=5), discriminator, objective("non_saturating"), latent=3, discriminator_steps=2
    )
    prepare_networks(gan)
    turns = Turns(gan, dict.fromkeys(gan.players, Adam()), Settings(accumulate=2))
    for step in range(4):
        turns.round(batches(step), step)
    assert len(advanced) == turns.updates["discriminator"] == 4


def test_no_autocast_spans_a_yield(batches: Batches) -> None:
    states = []

    class Peeking(Lottery):
        def play(self, batch: Batch, step: int) -> Iterator[Move]:
            states.append(torch.is_autocast_enabled("cpu"))
            for move in super().play(batch, step):
                yield move
                states.append(torch.is_autocast_enabled("cpu"))
                states.append(not torch.is_grad_enabled())

        def loss(self, batch: Batch) -> Tensor:
            assert torch.is_autocast_enabled("cpu")
            return super().loss(batch)

    gan = Peeking()
    prepare_networks(gan)
    Turns(gan, {"solo": Adam()}, Settings(precision="bf16")).round(batches(0), 0)
    assert states == [False] * 5


@pytest.mark.parametrize(("name", "alike"), [("r1", False), ("gradient_penalty", False), ("finite_r1", True)])
def test_exact_penalties_follow_the_precision_and_finite_differences_are_in_float32(
    name: str, alike: bool, make_turns: MakeTurns, batches: Batches
) -> None:
    found = []
    for precision in ("fp32", "bf16"):
        turns = make_turns(Settings(precision=precision), penalty=penalty(name, 2.0))
        found.append(turns.round(batches(0), 0)["penalty"])
    assert found[0] > 0
    assert torch.equal(found[0], found[1]) is alike
    torch.testing.assert_close(found[1], found[0], rtol=0.03, atol=0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_lazy_penalties_come_at_their_interval(accumulate: int, make_turns: MakeTurns, batches: Batches) -> None:
    turns = make_turns(Settings(accumulate=accumulate), penalty=Penalty(r1, 2.0, interval=3))
    assert ["penalty" in turns.round(batches(step), step) for step in range(7)] == [True, False, False] * 2 + [True]


def test_prepared_networks_train_and_nobody_learns(make_turns: MakeTurns) -> None:
    gan = make_turns(normed=True).gan
    assert all(module.training for module in gan.modules())
    assert not any(p.requires_grad for p in gan.parameters())
    assert not gan.generator.norm.track_running_stats


def test_batch_randomness_follows_the_step(make_turns: MakeTurns, batches: Batches) -> None:
    """Two rounds on the same images differ where their randomness differs, and only there."""
    batch = batches(0)
    moved = Batch(batch.real, None, BatchRandomness(0, 1, 0, 8, 8))
    readings = [make_turns().round(one, 0)["fake_probability"] for one in (batch, batch, moved)]
    assert torch.equal(readings[0], readings[1])
    assert not torch.equal(readings[0], readings[2])
