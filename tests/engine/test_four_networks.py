"""The contract holds for games of another shape: a small CycleGAN (Zhu et al., 2017), written here alone.

Two generators are one player, two discriminators another; a pool of earlier fakes is part of the state.
`real` is a picture of domain A and `condition` one of domain B.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

from elegan.engine.average import Average, sampling
from elegan.engine.loop import load_optimizers, load_weights, optimizer_tensors
from elegan.engine.turns import Settings, Turns
from elegan.game import GAN, Batch, Move, Spec
from elegan.learning import prepare_networks
from elegan.networks.layers import BatchNorm2d, spectral_norm
from elegan.optimizers import Adam
from elegan.randomness import BatchRandomness, Randomness, SeedRandomness, key

SPEC = Spec(1, 4, 4)


def translator() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 1, 1), nn.Tanh())


def patch_judge() -> nn.Module:
    return nn.Sequential(spectral_norm(nn.Conv2d(1, 3, 2, stride=2)), nn.LeakyReLU(0.2), nn.Conv2d(3, 1, 1))


class Pool(nn.Module):
    """The last `size` fakes; half of those it is given it keeps and gives back older ones (Shrivastava et al., 2017)."""

    images: Tensor
    filled: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, *SPEC.shape))
        self.register_buffer("filled", torch.tensor(0))

    def swap(self, fakes: Tensor, random: Randomness, stream: str) -> Tensor:
        given = []
        chances = random.uniform(f"{stream}/chance")
        places = (random.uniform(f"{stream}/place") * len(self.images)).long()
        for fake, chance, place in zip(fakes, chances, places, strict=True):
            if self.filled < len(self.images):
                self.images[self.filled] = fake
                self.filled += 1
                given.append(fake)
            elif chance < 0.5:
                given.append(self.images[place].clone())
                self.images[place] = fake
            else:
                given.append(fake)
        return torch.stack(given)


class CycleGAN(GAN):
    averaged = ("a_to_b", "b_to_a")

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.a_to_b, self.b_to_a = translator(), translator()
        self.judge_a, self.judge_b = patch_judge(), patch_judge()
        self.pool_a, self.pool_b = Pool(6), Pool(6)

    @property
    def players(self) -> Mapping[str, tuple[nn.Module, ...]]:
        return {"generators": (self.a_to_b, self.b_to_a), "discriminators": (self.judge_a, self.judge_b)}

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        yield Move("generators", lambda: self.generators_loss(batch))
        yield Move("discriminators", lambda: self.discriminators_loss(batch))

    def generators_loss(self, batch: Batch) -> Tensor:
        a, b = pair(batch)
        fake_b, fake_a = self.a_to_b(a), self.b_to_a(b)
        adversarial = (self.judge_b(fake_b) - 1).square().mean() + (self.judge_a(fake_a) - 1).square().mean()
        cycle = (self.b_to_a(fake_b) - a).abs().mean() + (self.a_to_b(fake_a) - b).abs().mean()
        self.note("cycle", cycle)
        return (adversarial + 10 * cycle).float()

    def discriminators_loss(self, batch: Batch) -> Tensor:
        a, b = pair(batch)
        old_a = self.pool_a.swap(self.b_to_a(b).detach(), batch.random, "pool/a")
        old_b = self.pool_b.swap(self.a_to_b(a).detach(), batch.random, "pool/b")
        losses = [(judge(real) - 1).square().mean() + judge(old).square().mean()
                  for judge, real, old in ((self.judge_a, a, old_a), (self.judge_b, b, old_b))]  # fmt: skip
        return torch.stack(losses).mean().float() / 2

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        images: Tensor = self.b_to_a(condition)
        return images


def pair(batch: Batch) -> tuple[Tensor, Tensor]:
    assert batch.condition is not None
    return batch.real, batch.condition


def batches(step: int) -> Batch:
    generator = torch.Generator().manual_seed(key("pair", step))
    a, b = (torch.rand(4, *SPEC.shape, generator=generator) * 2 - 1 for _ in range(2))
    return Batch(a, b.abs(), BatchRandomness(0, step, 0, 4, 4))


def make(settings: Settings) -> Turns:
    torch.manual_seed(0)
    gan = CycleGAN()
    prepare_networks(gan)
    return Turns(gan, dict.fromkeys(gan.players, Adam(2e-3)), settings, Average(gan, 20.0))


def play(turns: Turns, first: int, last: int) -> None:
    for step in range(first, last):
        assert all(value.isfinite() for value in turns.round(batches(step), step).values())


Numbers = dict[str, Tensor]


def state(turns: Turns) -> tuple[Numbers, Numbers, Numbers]:
    assert turns.average is not None
    return turns.gan.state_dict(), turns.average.state_dict(), optimizer_tensors(turns)


every_setting = pytest.mark.parametrize(
    "settings",
    [Settings(), Settings(accumulate=2), Settings(precision="bf16"), Settings(clip=0.1)],
    ids=["plain", "divided", "bf16", "cut"],
)


@every_setting
def test_both_players_move_and_the_pool_fills(settings: Settings) -> None:
    turns = make(settings)
    before = copy.deepcopy(turns.gan.state_dict())
    play(turns, 0, 4)
    assert turns.updates == {"generators": 4, "discriminators": 4}
    unchanged = [name for name, value in turns.gan.state_dict().items() if torch.equal(value, before[name])]
    assert unchanged == []
    assert turns.gan.pool_a.filled == 6


@every_setting
def test_the_game_resumes_bit_for_bit(settings: Settings) -> None:
    straight, first, second = make(settings), make(settings), make(settings)
    play(straight, 0, 6)
    play(first, 0, 3)
    gan, average, moments = copy.deepcopy(state(first))
    load_weights(second.gan, second.average, {f"gan.{k}": v for k, v in gan.items()} | {f"average.{k}": v for k, v in average.items()})
    load_optimizers(second, moments)
    play(second, 3, 6)
    torch.testing.assert_close(state(second), state(straight), rtol=0, atol=0)


@every_setting
def test_a_move_changes_the_movers_networks_alone(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    turns, changed = make(settings), []
    before = copy.deepcopy(turns.gan.state_dict())
    update = turns.update

    def watch(player: str, progress: float) -> None:
        update(player, progress)
        after = turns.gan.state_dict().items()
        changed.append((player, {name.split(".")[0] for name, value in after if not torch.equal(value, before[name])}))
        before.update(copy.deepcopy(turns.gan.state_dict()))

    monkeypatch.setattr(turns, "update", watch)
    play(turns, 0, 3)
    own = {"generators": {"a_to_b", "b_to_a"}, "discriminators": {"judge_a", "judge_b", "pool_a", "pool_b"}}
    assert [player for player, _ in changed] == ["generators", "discriminators"] * 3
    assert all(names <= own[player] and len(names) >= 2 for player, names in changed)


def test_samples_come_from_both_averaged_networks() -> None:
    turns = make(Settings())
    play(turns, 0, 2)
    assert turns.average is not None
    view = turns.average.view(turns.gan)
    source = batches(0).condition
    with sampling(view):
        found = view.sample(SeedRandomness((0, 1, 2, 3)), source)
    assert found.shape == (4, *SPEC.shape)
    with sampling(turns.gan):
        assert not torch.allclose(found, turns.gan.sample(SeedRandomness((0, 1, 2, 3)), source))
    assert view.a_to_b is turns.average.networks["a_to_b"]


def test_training_lowers_the_cycle_loss() -> None:
    turns = make(Settings())
    readings = [float(turns.round(batches(step % 4), step)["cycle"]) for step in range(150)]
    assert sum(readings[-10:]) < 0.8 * sum(readings[:10])
