"""What never learns, and what is shared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

from elegan.engine.average import Average, estimate_statistics
from elegan.engine.turns import Settings, Turns
from elegan.game import GAN, Batch, Move, Spec
from elegan.learning import learning_weights, prepare_networks, turn
from elegan.optimizers import Adam
from elegan.randomness import BatchRandomness, Randomness, layer_randomness


class Heads(GAN):
    """One player of two networks on one trunk, whose first layer is frozen; a generator with dropout and batch norm."""

    def __init__(self) -> None:
        super().__init__(Spec(1, 2, 2))
        self.frozen, trunk = nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 4)
        self.one, self.two = nn.Sequential(self.frozen, trunk, nn.Linear(4, 1)), nn.Sequential(trunk, nn.Linear(4, 1))
        self.generator = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.BatchNorm1d(4), nn.Unflatten(1, (1, 2, 2)))

    @property
    def players(self) -> Mapping[str, tuple[nn.Module, ...]]:
        return {"heads": (self.one, self.two), "generator": (self.generator,)}

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        yield Move("heads", lambda: (self.one(batch.real.flatten(1)) + self.two(batch.real.flatten(1))).square().mean())
        yield Move("generator", lambda: self.sample(batch.random, None).square().mean())

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        images: Tensor = self.generator(random.normal("latent", 3))
        return images


def batch(step: int = 0) -> Batch:
    return Batch(torch.ones(4, 1, 2, 2), None, BatchRandomness(0, step, 0, 4, 4))


def heads() -> Heads:
    torch.manual_seed(0)
    gan = Heads()
    prepare_networks(gan)
    return gan


def test_a_weight_that_the_variant_froze_never_learns() -> None:
    gan = heads()
    prepare_networks(gan)  # a second time must not take the rest for frozen too
    before = gan.frozen.weight.clone()
    Turns(gan, {"heads": Adam(), "generator": Adam()}, Settings()).round(batch(), 0)
    assert torch.equal(gan.frozen.weight, before)
    with turn(gan, "heads"):
        assert not gan.frozen.weight.requires_grad
        assert gan.two[0].weight.requires_grad


def test_a_shared_weight_is_updated_once_and_put_back() -> None:
    gan = heads()
    assert len(learning_weights(gan.players["heads"])) == 6
    with turn(gan, "heads"):
        pass
    assert not any(weight.requires_grad for weight in gan.parameters())


def test_what_the_layers_of_a_mac_draw_follows_from_the_seed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a generator that stands in for that of its GPU."""
    generator = torch.Generator().manual_seed(7)
    monkeypatch.setattr(torch.mps, "_get_default_mps_generator", lambda: generator)
    drawn = []
    for _ in range(2):
        with layer_randomness(3, torch.device("mps")):
            drawn.append(torch.rand(4, generator=generator))
    assert torch.equal(*drawn)
    assert torch.equal(torch.rand(4, generator=generator), torch.rand(4, generator=torch.Generator().manual_seed(7)))


def test_statistics_of_a_generator_with_dropout_are_a_function_of_its_weights() -> None:
    gan = heads()
    view = Average(gan, 0.0).view(gan)
    found = []
    for seed in (1, 2):
        with layer_randomness(seed, torch.device("cpu")):
            estimate_statistics(view, [batch(0), batch(1)])
        found.append(view.generator[2].running_var.clone())
    assert torch.equal(*found)
    assert view.generator.training
