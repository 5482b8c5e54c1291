"""The game of Goodfellow et al. (2014): a generator against a discriminator. Most variants differ in values only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import torch
from torch import Tensor, nn

from elegan.game import GAN, Batch, Move, Spec
from elegan.learning import turn
from elegan.losses.objectives import Objective
from elegan.losses.penalties import Penalty
from elegan.randomness import Randomness


class TwoPlayer(GAN):
    """k discriminator steps, then one generator step. Both networks get the condition if there is one.

    generator: noise (n, latent), condition -> (n, c, h, w). discriminator: (n, c, h, w), condition -> logits (n,).
    """

    def __init__(
        self,
        spec: Spec,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        *,
        latent: int,
        discriminator_steps: int = 1,
        penalty: Penalty | None = None,
    ) -> None:
        super().__init__(spec)
        self.generator, self.discriminator = generator, discriminator
        self.objective, self.penalty = objective, penalty
        self.latent, self.discriminator_steps = latent, discriminator_steps

    @property
    def players(self) -> Mapping[str, tuple[nn.Module, ...]]:
        return {"discriminator": (self.discriminator,), "generator": (self.generator,)}

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        generator_moves = (step + 1) % self.discriminator_steps == 0
        fake = self.fakes(batch, generator_moves)
        yield Move("discriminator", lambda: self.discriminator_loss(batch, fake().detach(), step))
        if generator_moves:
            yield Move("generator", lambda: self.objective.generator(self.score(fake(), batch.condition)))

    def fakes(self, batch: Batch, generator_moves: bool) -> Callable[[], Tensor]:
        """The generated batch, when called: made once for both moves, or anew in each if the round is divided."""

        def make() -> Tensor:
            return self.generate(batch.random, batch.condition)

        def make_to_keep() -> Tensor:
            with turn(self, "generator"):
                return make()

        return cache(make_to_keep) if batch.whole and generator_moves else make

    def discriminator_loss(self, batch: Batch, fake: Tensor, step: int) -> Tensor:
        real_logits, fake_logits = self.score(batch.real, batch.condition), self.score(fake, batch.condition)
        self.note_logits(real_logits, fake_logits)
        loss = self.objective.discriminator(real_logits, fake_logits)
        if self.penalty is None or not self.penalty.due(step):
            return loss
        return loss + self.penalise(self.penalty, batch, fake)

    def penalise(self, penalty: Penalty, batch: Batch, fake: Tensor) -> Tensor:
        """In float32 and uncompiled: compiled networks have no second derivative, and bfloat16 loses small ones."""
        with torch.autocast(fake.device.type, enabled=False):
            value = penalty(
                lambda images: self.discriminator.forward(images, batch.condition).float(), batch.real, fake.float(), batch.random
            )
        self.note("penalty", value)
        return value

    def score(self, images: Tensor, condition: Tensor | None) -> Tensor:
        logits: Tensor = self.discriminator(images, condition)
        return logits.float()

    def note_logits(self, real: Tensor, fake: Tensor) -> None:
        """D(x) and D(G(z)), 0.5 each where nobody can tell; for a critic without probabilities its scores."""
        probability = self.objective.probability
        self.note("real_probability" if probability else "real_score", real.sigmoid() if probability else real)
        self.note("fake_probability" if probability else "fake_score", fake.sigmoid() if probability else fake)

    def generate(self, random: Randomness, condition: Tensor | None) -> Tensor:
        images: Tensor = self.generator(random.normal("latent", self.latent), condition)
        return images

    def sample(self, random: Randomness, condition: Tensor | None) -> Tensor:
        return self.generate(random, condition)
