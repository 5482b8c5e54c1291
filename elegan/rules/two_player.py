"""The game of Goodfellow et al. (2014): a generator against a discriminator. Most variants differ in values only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from math import lcm

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.augment import Augment
from elegan.augment.adaptive import Adaptive
from elegan.game import Batch, LatentGAN, Move, Spec
from elegan.learning import learning_weights, turn
from elegan.losses.lecam import LeCam
from elegan.losses.objectives import Objective
from elegan.losses.orthogonality import orthogonality
from elegan.losses.penalties import KnownSlopes, Penalty, Stream, slopes_of
from elegan.networks.conditions import ToldDiscriminator
from elegan.networks.homogeneous import logits_and_slopes
from elegan.randomness import Randomness
from elegan.rules.noise import NO_NOISE, InstanceNoise, NoiseName, draw, truncate


@dataclass(frozen=True)
class Remedies:
    """What steadies a game, each off by default.

    augment: what the discriminator sees, real and generated, goes through this first. instance_noise: noise on it, which falls
    to nothing. lecam: what keeps the discriminator's logits together. clip_weights: the largest absolute value that a weight of the
    discriminator may have (Arjovsky et al., 2017, algorithm 1). orthogonal: the weight of the generator's orthogonal
    regularisation. auxiliary: the weight of guessing the condition, where the discriminator does (Odena et al., 2017).
    """

    augment: Augment | None = None
    instance_noise: InstanceNoise = NO_NOISE
    lecam: LeCam | None = None
    clip_weights: float = 0.0
    orthogonal: float = 0.0
    auxiliary: float = 1.0


@dataclass(frozen=True)
class Look:
    """Images (n, c, h, w) in front of the discriminator: its output, and where it is known the gradient of the logits with respect to
    the images."""

    images: Tensor
    output: Tensor
    slopes: Tensor | None = None


class TwoPlayer(LatentGAN):
    """k discriminator steps, then one generator step. Both networks get the condition if there is one.

    generator: noise (n, latent), condition -> (n, c, h, w). discriminator: (n, c, h, w), condition -> logits (n,); or
    (n, 1 + k): the logit, and a guess of the condition as logits, for the k classes or attributes.
    """

    def __init__(
        self,
        spec: Spec,
        generator: nn.Module,
        discriminator: nn.Module,
        objective: Objective,
        *,
        latent: int,
        noise: NoiseName = "normal",
        discriminator_steps: int = 1,
        penalty: Penalty | None = None,
        remedies: Remedies | None = None,
    ) -> None:
        super().__init__(spec)
        self.generator, self.discriminator = generator, discriminator
        self.objective, self.penalty, self.remedies = objective, penalty, remedies or Remedies()
        self.latent, self.noise, self.discriminator_steps = latent, noise, discriminator_steps
        self.augment, self.lecam = self.remedies.augment, self.remedies.lecam
        self.batch = 0

    @property
    def players(self) -> Mapping[str, tuple[nn.Module, ...]]:
        return {"discriminator": (self.discriminator,), "generator": (self.generator,)}

    @property
    def period(self) -> int:
        return lcm(self.discriminator_steps, self.penalty.interval if self.penalty else 1)

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        generator_moves = (step + 1) % self.discriminator_steps == 0
        self.batch = batch.random.total
        fake = self.fakes(batch, generator_moves)
        yield Move("discriminator", lambda: self.discriminator_loss(batch, fake().detach(), step))
        if generator_moves:
            yield Move("generator", lambda: self.generator_loss(batch, fake(), step))

    def fakes(self, batch: Batch, generator_moves: bool) -> Callable[[], Tensor]:
        """The generated batch, when called: made once for both moves, or anew in each if the round is divided."""

        def make() -> Tensor:
            return self.generate(batch.random, batch.condition)

        def make_to_keep() -> Tensor:
            with turn(self, "generator"):
                return make()

        return cache(make_to_keep) if batch.whole and generator_moves else make

    def discriminator_loss(self, batch: Batch, fake: Tensor, step: int) -> Tensor:
        penalty = self.penalty if self.penalty is not None and self.penalty.due(step) else None
        looks = [self.look(batch.real, batch, "real", penalty), self.look(fake.to(batch.real.dtype), batch, "fake", penalty)]
        real_logits, fake_logits = (logits(look.output) for look in looks)
        self.note_logits(real_logits, fake_logits)
        loss = self.objective.discriminator(real_logits, fake_logits) + self.steadied(real_logits, fake_logits)
        for look in looks:
            loss = loss + self.cost_of_guess(look.output, batch.condition)
        return loss if penalty is None else loss + self.penalise(penalty, batch, *looks)

    def look(self, images: Tensor, batch: Batch, stream: Stream, penalty: Penalty | None) -> Look:
        """What the discriminator says of `images`; with the slopes where a penalty is taken at them."""
        if penalty is None or stream not in penalty.at_samples:
            return Look(images, self.judge(images, batch, stream))
        images = images.detach().requires_grad_()
        if not getattr(self.discriminator, "is_homogeneous", False):
            output = self.judge(images, batch, stream, True)
            return Look(images, output, slopes_of(logits(output), images))
        seen = self.seen(images, batch, stream)
        output, slopes = logits_and_slopes(self.discriminator, seen, batch.condition)
        if seen is not images:
            (slopes,) = torch.autograd.grad(seen, images, slopes, create_graph=True)
        return Look(images, output, slopes)

    def generator_loss(self, batch: Batch, fake: Tensor, step: int) -> Tensor:
        output, real = self.judge(fake, batch, "generator"), None
        if self.objective.relativistic:
            with torch.no_grad():
                real = logits(self.judge(batch.real, batch, "beside the generator"))
        loss = self.objective.generator_loss(logits(output), real) + self.cost_of_guess(output, batch.condition)
        return loss + self.remedies.orthogonal * orthogonality(self.generator) if self.remedies.orthogonal else loss

    def cost_of_guess(self, output: Tensor, condition: Tensor | None) -> Tensor | float:
        """Cross-entropy of the guessed condition; 0 where the discriminator guesses none. Attributes in [-1, 1] are guessed
        as shares of 1."""
        if output.dim() == 1 or condition is None or not self.remedies.auxiliary:
            return 0.0
        guess = output[:, 1:]
        if condition.is_floating_point():
            return self.remedies.auxiliary * F.binary_cross_entropy_with_logits(guess, (condition + 1) / 2)
        return self.remedies.auxiliary * F.cross_entropy(guess, condition)

    def steadied(self, real: Tensor, fake: Tensor) -> Tensor | float:
        """What LeCam adds to the discriminator's loss; it and adaptive augmentation steer by these logits."""
        if isinstance(self.augment, Adaptive):
            self.augment.observe(real if self.objective.probability else real - halfway(real, fake))
            self.note("augment_probability", self.augment.p)
        if self.lecam is None:
            return 0.0
        self.lecam.observe(real.detach(), fake.detach())
        loss: Tensor = self.lecam(real, fake)
        return loss

    def penalise(self, penalty: Penalty, batch: Batch, real: Look, fake: Look) -> Tensor:
        """A penalty at samples takes their slopes as they are. An exact penalty is in bfloat16 too, which turns its gradient by less
        than 2 degrees; finite differences are in float32, or rounding would be all of them."""

        def score(images: Tensor) -> Tensor:
            return logits(self.judge(images, batch, "penalty", penalty.double_backward))

        known = KnownSlopes(score, *((look.images, look.slopes) for look in (real, fake) if look.slopes is not None))
        with nullcontext() if penalty.double_backward else torch.autocast(real.images.device.type, enabled=False):
            value = penalty(known, real.images, fake.images, batch.random, batch.progress)
        self.note("penalty", value)
        return value

    def judge(self, images: Tensor, batch: Batch, stream: str, uncompiled: bool = False) -> Tensor:
        """The discriminator's output, (n,) or (n, 1 + k), on what it sees of `images`. uncompiled: where a gradient of a gradient is to
        come, which compiled networks have not."""
        network = self.discriminator.forward if uncompiled else self.discriminator
        output: Tensor = network(self.seen(images, batch, stream), batch.condition)
        return output.float()

    def seen(self, images: Tensor, batch: Batch, stream: str) -> Tensor:
        """`images` with noise on them and augmented, where that is asked for; `stream` names the draw."""
        std = self.remedies.instance_noise.std(batch.progress)
        if std:
            images = images + std * batch.random.normal(f"{stream}/noise", *images.shape[1:])
        return images if self.augment is None else self.augment(images, batch.random, stream)

    def rehearse(self, share: float) -> None:
        if isinstance(self.augment, Adaptive):
            self.augment.rehearse(share)

    def views(self, batch: Batch) -> dict[str, Tensor]:
        """What the discriminator sees of real images and then of samples, where that is augmented: samples that look augmented before
        it is done to them show that the augmentation has leaked."""
        if self.augment is None or self.spec.is_point:
            return {}
        samples = self.sample(batch.random, batch.condition)
        return {"augmented": torch.cat([self.seen(batch.real, batch, "real"), samples])}

    def note_logits(self, real: Tensor, fake: Tensor) -> None:
        """D(x) and D(G(z)), 0.5 each where nobody can tell; for a critic without probabilities its scores."""
        probability = self.objective.probability
        self.note("real_probability" if probability else "real_score", real.sigmoid() if probability else real)
        self.note("fake_probability" if probability else "fake_score", fake.sigmoid() if probability else fake)

    def shared(self, player: str) -> list[Tensor]:
        steered = (part for part in (self.augment, self.lecam) if isinstance(part, Adaptive | LeCam))
        return [tensor for part in steered for tensor in part.shared] if player == "discriminator" else []

    def settle(self, player: str) -> None:
        if player != "discriminator":
            return
        if isinstance(self.augment, Adaptive):
            self.augment.adjust(self.batch)
        if self.lecam is not None:
            self.lecam.adjust()
        if self.remedies.clip_weights:
            weights = self.clipped_weights()
            torch._foreach_clamp_min_(weights, -self.remedies.clip_weights)
            torch._foreach_clamp_max_(weights, self.remedies.clip_weights)

    def clipped_weights(self) -> list[Tensor]:
        """All that the discriminator makes of a sample; not the picture of a condition that it is shown beside it."""
        pictures = [part.picture for part in self.discriminator.modules() if isinstance(part, ToldDiscriminator) and part.picture]
        kept = {id(weight) for picture in pictures for weight in picture.parameters()}
        return [weight.detach() for weight in learning_weights([self.discriminator]) if id(weight) not in kept]

    def generate(self, random: Randomness, condition: Tensor | None) -> Tensor:
        images: Tensor = self.generator(draw(self.noise, random, self.latent), condition)
        return images

    def latents(self, random: Randomness, condition: Tensor | None) -> Tensor:
        """The noise; in as many parts as a generator has that gives each of its blocks one, else in one."""
        noise = draw(self.noise, random, self.latent)
        return noise.view(len(noise), getattr(self.generator, "latent_layers", 1), -1)

    def render(self, latents: Tensor, condition: Tensor | None) -> Tensor:
        samples: Tensor = self.generator(latents.flatten(1), condition)
        return samples

    def truncated(self, latents: Tensor, condition: Tensor | None, truncation: float) -> Tensor:
        return truncate(self.noise, latents, truncation)


def halfway(real: Tensor, fake: Tensor) -> Tensor:
    """Between the mean logits: what ADA takes for the border between real and generated where logits are no log odds. To a relativistic
    discriminator's or a critic's any number can be added, and the game is the same; hinge and least squares have borders of their
    own, of 0 and a half, near which it lies."""
    return (real.detach().mean() + fake.detach().mean()) / 2


def logits(output: Tensor) -> Tensor:
    """(n,): how real, of what a discriminator gives."""
    return output if output.dim() == 1 else output[:, 0]
