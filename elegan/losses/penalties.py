"""Penalties on the discriminator's gradient with respect to its input.

All work on a score function (images (n, c, h, w) -> logits (n,)) that already knows its condition, and give a mean over
the batch. The gradient is exact, which makes the penalty's own gradient a second derivative, or, where the name begins
with "finite", measured along a random direction, which does without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.errors import OptionError, nearest
from elegan.randomness import Randomness

Score = Callable[[Tensor], Tensor]
Stream = Literal["real", "fake"]


class KnownSlopes:
    """A score function; and of some images the slopes are `known` already, with the graph that leads to them."""

    def __init__(self, score: Score, *known: tuple[Tensor, Tensor]) -> None:
        self.score, self.known = score, known

    def slopes_at(self, images: Tensor) -> Tensor | None:
        return next((slopes for one, slopes in self.known if images is one), None)

    def __call__(self, images: Tensor) -> Tensor:
        return self.score(images)


Value = Callable[[Score, Tensor, Tensor, Randomness], Tensor]


def squared_gradient_norms(score: Score, images: Tensor) -> Tensor:
    """(n,): the squared length of d score(x) / dx of each sample, over all its pixels and channels. At least in float32.

    No gradient reaches the images themselves, but where `score` knows their slopes.
    """
    slopes = score.slopes_at(images) if isinstance(score, KnownSlopes) else None
    if slopes is None:
        images = images.detach().to(torch.promote_types(images.dtype, torch.float32)).requires_grad_()
        slopes = slopes_of(score(images), images)
    return slopes.flatten(1).square().sum(1)


def slopes_of(scores: Tensor, images: Tensor) -> Tensor:
    """(n, c, h, w): the gradient of scores (n,) with respect to the images that they are of, to be differentiated."""
    (slopes,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return slopes


def gradient_norms(score: Score, images: Tensor) -> Tensor:
    """(n,): the length of that gradient."""
    # The square root has no finite derivative at 0, where a fresh or clipped critic can be.
    return (squared_gradient_norms(score, images) + 1e-12).sqrt()


def interpolates(real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """Points drawn evenly between each real sample and a generated one (Gulrajani et al., 2017, section 4)."""
    share = random.uniform("interpolate", *[1] * (real.dim() - 1)).to(real.dtype)
    return real + share * (fake - real)


def gradient_penalty(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """E (||grad|| - 1)^2 at points drawn between real and generated samples (Gulrajani et al., 2017, equation 3)."""
    return (gradient_norms(score, interpolates(real, fake, random)) - 1).square().mean()


def one_sided_gradient_penalty(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """E max(0, ||grad|| - 1)^2 at the same points: a 1-Lipschitz critic may also be flatter (Petzka et al., 2018)."""
    return F.relu(gradient_norms(score, interpolates(real, fake, random)) - 1).square().mean()


DRAGAN_NOISE = 0.1
"""Its standard deviation in images in [-1, 1]; about what the uniform noise of common implementations comes to."""


def dragan(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """E (||grad|| - 1)^2 at real samples with normal noise, so around the data only (Kodali et al., 2017)."""
    noise = DRAGAN_NOISE * random.normal("dragan", *real.shape[1:]).to(real.dtype)
    return (gradient_norms(score, real + noise) - 1).square().mean()


def r1(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """E ||grad||^2 / 2 at real samples (Mescheder et al., 2018, equation 9); its weight is their gamma."""
    return squared_gradient_norms(score, real).mean() / 2


def r2(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """E ||grad||^2 / 2 at generated samples (Mescheder et al., 2018, equation 10)."""
    return squared_gradient_norms(score, fake).mean() / 2


def r1_and_r2(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """R1 + R2: needed by a relativistic loss, which R1 alone does not keep from diverging (Huang et al., 2024)."""
    return r1(score, real, fake, random) + r2(score, real, fake, random)


STEP = 0.05
"""How far finite differences go in each pixel: at 0.01 bfloat16's rounding is as large as the difference, and at 0.2 the
estimate is a tenth too low (a convolutional discriminator of 32x32 images at a loss of 0.0004)."""


def half_squared_slope(score: Score, images: Tensor, direction: Tensor) -> Tensor:
    """E (d s(x) / d direction)^2 / 2, by a central difference; direction: like images.

    For directions u ~ N(0, I), E (u . grad)^2 = ||grad||^2: an estimate of E ||grad||^2 / 2 that is unbiased up to the
    step's own error, of order step^2. One sample's has twice the square of its mean as its variance. Lin et al. (2025)
    take (s(x) - s(x + step u))^2, so from one side, where curvature counts as slope, and without the factor 1 / (2 step^2).
    """
    images, step = images.detach(), STEP * direction.to(images.dtype)
    return ((score(images + step) - score(images - step)) / (2 * STEP)).square().mean() / 2


def finite_r1(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """R1 along one random direction for each sample, without a second derivative."""
    return half_squared_slope(score, real, random.normal("finite_r1", *real.shape[1:]))


def finite_r2(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """R2 along one random direction for each sample, without a second derivative."""
    return half_squared_slope(score, fake, random.normal("finite_r2", *fake.shape[1:]))


def finite_r1_and_r2(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    return finite_r1(score, real, fake, random) + finite_r2(score, real, fake, random)


@dataclass(frozen=True)
class Penalty:
    """A penalty, its weight, and every how many updates it is applied (then `interval` times as strongly).

    double_backward: whether its gradient is a second derivative of the score; one that needs none may be taken of a
    compiled network. at_samples: at which samples of the loss it is taken, whose scores then serve both. end, until: the
    weight falls as half a cosine to this share of itself, until this share of the training is done (Huang et al., 2024,
    appendix D: a large one smooths, while samples are far from the data).
    """

    value: Value
    weight: float
    interval: int = 1
    double_backward: bool = True
    at_samples: tuple[Stream, ...] = ()
    end: float = 1.0
    until: float = 1.0

    def due(self, step: int) -> bool:
        return step % self.interval == 0

    def weight_at(self, progress: float) -> float:
        """The weight when this share of the training is done."""
        left = (1 + cos(pi * min(1.0, progress / self.until))) / 2
        return self.weight * (self.end + (1 - self.end) * left)

    def __call__(self, score: Score, real: Tensor, fake: Tensor, random: Randomness, progress: float = 0.0) -> Tensor:
        return self.weight_at(progress) * self.interval * self.value(score, real, fake, random)


PenaltyName = Literal[
    "none",
    "gradient_penalty",
    "one_sided_gradient_penalty",
    "dragan",
    "r1",
    "r2",
    "r1+r2",
    "finite_r1",
    "finite_r2",
    "finite_r1+r2",
]
EXACT: dict[str, Value] = {
    "gradient_penalty": gradient_penalty,
    "one_sided_gradient_penalty": one_sided_gradient_penalty,
    "dragan": dragan,
    "r1": r1,
    "r2": r2,
    "r1+r2": r1_and_r2,
}
AT_SAMPLES: dict[str, tuple[Stream, ...]] = {"r1": ("real",), "r2": ("fake",), "r1+r2": ("real", "fake")}
FINITE: dict[str, Value] = {"finite_r1": finite_r1, "finite_r2": finite_r2, "finite_r1+r2": finite_r1_and_r2}
PENALTIES = EXACT | FINITE


def penalty(name: str, weight: float, interval: int = 1, end: float = 1.0, until: float = 1.0) -> Penalty | None:
    """The penalty of this name, or None for "none" or weight 0; OptionError with the nearest name otherwise, and for shares that
    are none."""
    if name not in (*PENALTIES, "none"):
        raise OptionError(f"--penalty: got {name!r}. {nearest(name, [*PENALTIES, 'none'])}")
    if interval < 1:
        raise OptionError(f"--penalty-interval: got {interval}; it counts updates, so it is at least 1.")
    if not 0 <= end <= 1:
        raise OptionError(f"--penalty-end: got {end}, expected the share of --penalty-weight that is left at last, from 0 to 1.")
    if not 0 < until <= 1:
        raise OptionError(f"--penalty-until: got {until}, expected a share above 0 and up to 1.")
    if name == "none" or weight == 0:
        return None
    return Penalty(PENALTIES[name], weight, interval, name in EXACT, AT_SAMPLES.get(name, ()), end, until)
