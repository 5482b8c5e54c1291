"""A small game for the engine's tests: fully connected networks, 2x2 pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elegan.engine.average import Average
from elegan.engine.loop import Intervals, Listener, Training
from elegan.engine.run import Run
from elegan.engine.turns import Settings, Turns
from elegan.game import Batch, Spec
from elegan.learning import prepare_networks
from elegan.losses.objectives import objective
from elegan.networks.layers import BatchNorm2d
from elegan.networks.mlp import MLPDiscriminator, MLPGenerator
from elegan.optimizers import Adam
from elegan.rules.two_player import TwoPlayer

SPEC = Spec(1, 2, 2)
LOSSES = Callable[..., Tensor]


class NormedGenerator(nn.Module):
    """A generator with a batch norm after its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 4, 1), BatchNorm2d(4), nn.Conv2d(4, 1, 1)

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        maps = noise.view(-1, 3, 1, 1) * torch.ones(1, 1, 2, 2)
        images: Tensor = self.last(self.norm(self.first(maps))).tanh()
        return images


@pytest.fixture
def make_gan() -> Callable[..., TwoPlayer]:
    """make_gan(normed=..., discriminator=..., generator=..., **options): the losses of the objective may be replaced."""

    def make(*, normed: bool = False, discriminator: LOSSES | None = None, generator: LOSSES | None = None, **options: Any) -> TwoPlayer:
        torch.manual_seed(0)
        chosen = objective("non_saturating")
        chosen = dataclasses.replace(chosen, discriminator=discriminator or chosen.discriminator, generator=generator or chosen.generator)
        network = NormedGenerator() if normed else MLPGenerator(SPEC.shape, latent=3, width=5)
        gan = TwoPlayer(SPEC, network, MLPDiscriminator(SPEC.shape, width=5), chosen, latent=3, **options)
        prepare_networks(gan)
        return gan

    return make


@pytest.fixture
def make_turns(make_gan: Callable[..., TwoPlayer]) -> Callable[..., Turns]:
    """make_turns(settings, average, **options of make_gan)."""

    def make(settings: Settings | None = None, average: float = 0.0, **options: object) -> Turns:
        gan = make_gan(**options)
        adam = {"generator": Adam(1e-2), "discriminator": Adam(1e-2)}
        return Turns(gan, adam, settings or Settings(), Average(gan, average) if average else None)

    return make


@pytest.fixture
def batches(batches_of: Callable[..., Callable[[int], Batch]]) -> Callable[[int], Batch]:
    return batches_of(SPEC, 8)


@pytest.fixture
def make_training(
    make_turns: Callable[..., Turns], batches: Callable[[int], Batch], tmp_path: Path
) -> Callable[..., tuple[Training, list[str]]]:
    """make_training(save=..., keep=..., **options of make_turns): a training in tmp_path/run, and what it says."""

    def make(save: int = 2, keep: int = 3, log: int = 1, **options: object) -> tuple[Training, list[str]]:
        run, said = Run(tmp_path / "run"), list[str]()
        if not run.exists():
            run.create({"model": "toy"}, {"device": "cpu"})
        return Training(make_turns(**options), batches, run, Intervals(save, keep, log), Listener(message=said.append)), said

    return make
