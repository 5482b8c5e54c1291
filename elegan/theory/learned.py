"""Divergences read off a trained discriminator, from samples of two distributions alone.

x (n, d) are samples of P and y (m, d) of Q. Half of them, drawn at random, teach the discriminator; the other half, which it never saw,
gives the reading, unless `fresh` samples are given for that, and then all of x and y teach. Any discriminator gives a lower bound on
average over fresh samples, and the best one gives the divergence itself: one that learned badly, or learned few samples by heart, reads
too low. On the samples it learned from it would read too high. DataError for other shapes, unlike d, NaN, infinity or fewer than 50
samples of one kind in one half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf, log, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.divergences.estimate import Estimate
from elegan.divergences.f_divergences import F_DIVERGENCES, FDivergence
from elegan.divergences.inputs import same_space
from elegan.errors import DataError, OptionError, nearest
from elegan.game import GAN, Axis, Batch, Move, Spec
from elegan.losses.objectives import OBJECTIVES, Objective, variational
from elegan.losses.penalties import Penalty, Score, Value, gradient_norms, interpolates, one_sided_gradient_penalty
from elegan.networks.mlp import MLPDiscriminator
from elegan.optimizers import Adam
from elegan.randomness import BatchRandomness, Randomness, key
from elegan.theory.demonstration import Tell, tell_nobody
from elegan.theory.playing import Match, drawing_from, rows_of

FEWEST = 50
"""Samples of one distribution that teach, or that give a reading."""

NORMAL = 1.644854
"""Standard errors below a mean within which 95% of repetitions are: a bound has one end."""

UNSEEN = 3.0
"""What none of n samples showed has a probability of at most 3/n, at 95% (Hanley and Lippman-Hand, 1983)."""

CERTAIN, ENOUGH = 30, 10.0
"""A discriminator is cut off where single samples that were not drawn would matter: a gain or a cost counts as 1/30 of the samples at
most, or 10. So the room for the unseen is at most 0.1 on each side for many samples, no reading of KL is above some log n (McAllester and
Stratos, 2020), and logits stay where the table's exponentials are exponentials."""

PART = 2**14
"""Points that go through a network at one time."""

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Lessons:
    """How a discriminator is taught. width, depth: units of a hidden layer, and how many of these. batch: samples of each distribution
    in one of `steps` updates. lr: Adam's, which falls to 0 as a cosine. seed: of weights, batches and halves."""

    width: int = 64
    depth: int = 2
    steps: int = 2000
    batch: int = 512
    lr: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "depth", "steps", "batch"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}: got {getattr(self, name)}, expected a whole number from 1 on.")


USUAL = Lessons()


@dataclass(frozen=True)
class CriticEstimate(Estimate):
    """W1 by a critic: value = raw / slope. raw: the difference of its means, in the units of the points. slope: its steepest one on
    fresh samples and between them, which a critic of the distance itself has as 1."""

    raw: float
    slope: float


def jensen_shannon(x: Tensor, y: Tensor, *, fresh: Pair | None = None, lessons: Lessons = USUAL, tell: Tell = tell_nobody) -> Estimate:
    """The Jensen-Shannon divergence, from 0 to ln 2, by the GAN's value: V = E log D(x) + E log(1 - D(y)) is at most 2 JSD - ln 4
    (Goodfellow et al., 2014, theorem 1)."""
    found = f_divergence(x, y, "gan", fresh=fresh, lessons=lessons, tell=tell)
    assert found.low is not None
    return Estimate((found.value + log(4)) / 2, found.kind, (found.low + log(4)) / 2, None, f"(V + ln 4) / 2 {found.method}")


def f_divergence(
    x: Tensor, y: Tensor, name: str, *, fresh: Pair | None = None, lessons: Lessons = USUAL, tell: Tell = tell_nobody
) -> Estimate:
    """The f-divergence of that name in `F_DIVERGENCES`, by E g(v(x)) - E f*(g(v(y))) (Nowozin et al., 2016, equations 4 and 6).

    Where samples decide that are rarer than some 30 in all, as for the chi-squares of distributions far apart, it reads too low.
    """
    learned, read = divide(x, y, fresh, lessons.seed)
    student = taught(*learned, name, lessons, tell)
    return bound(name, student.logits(read[0]), student.logits(read[1]), f"by a discriminator taught {len(learned[0])} + {len(learned[1])}")


def wasserstein(
    x: Tensor, y: Tensor, *, weight: float = 10.0, fresh: Pair | None = None, lessons: Lessons = USUAL, tell: Tell = tell_nobody
) -> CriticEstimate:
    """Wasserstein-1 by Euclidean distance, by a critic with a gradient penalty of that weight, as by Gulrajani et al. (2017).

    A penalty allows slopes above 1, so the plain difference of means is too high; it is divided by the steepest slope. So that no outlier
    spoils the quotient, the penalty is `steep_and_steepest`. The weight is that for points divided by their standard deviation, so that
    the units make no difference.
    """
    learned, read = divide(x, y, fresh, lessons.seed)
    critic = taught_critic(*learned, weight, lessons, tell, price=steep_and_steepest)
    return critic_reading(critic, *read, f"by a critic taught {len(learned[0])} + {len(learned[1])}")


def divide(x: Tensor, y: Tensor, fresh: Pair | None, seed: int) -> tuple[Pair, Pair]:
    """What teaches and what gives the reading. Samples that come in pairs, in equal numbers, stay together."""
    if fresh is not None:
        (x, y), (fresh_x, fresh_y) = same_space(x, y, FEWEST), same_space(*fresh, FEWEST)
        same_space(x, fresh_x)
        return (x, y), (fresh_x, fresh_y)
    x, y = same_space(x, y, 2 * FEWEST)
    (taught_x, read_x), (taught_y, read_y) = (halves(points, seed) for points in (x, y))
    return (taught_x, taught_y), (read_x, read_y)


def halves(points: Tensor, seed: int) -> Pair:
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(key(seed, "halves")))
    return points[order[::2]], points[order[1::2]]


class OnePlayer(GAN):
    """A discriminator alone, of a batch's real samples against rows of `generated` (m, d, 1, 1), which stay as they are."""

    def __init__(
        self, spec: Spec, generated: Tensor, discriminator: MLPDiscriminator, objective: Objective, penalty: Penalty | None = None
    ) -> None:
        super().__init__(spec)
        self.generated, self.discriminator, self.objective, self.penalty = generated, discriminator, objective, penalty

    @property
    def players(self) -> Mapping[str, tuple[MLPDiscriminator]]:
        return {"discriminator": (self.discriminator,)}

    def play(self, batch: Batch, step: int) -> Iterator[Move]:
        yield Move("discriminator", lambda: self.loss(batch))

    def loss(self, batch: Batch) -> Tensor:
        fake = rows_of(self.generated, batch.random, "fake")
        loss = self.objective.discriminator(self.discriminator(batch.real), self.discriminator(fake))
        return loss if self.penalty is None else loss + self.penalty(self.discriminator, batch.real, fake, batch.random)


class Student:
    """A discriminator that learns to tell x (n, d) of P from y (m, d) of Q, of points as `spec` has them seen."""

    def __init__(self, x: Tensor, y: Tensor, spec: Spec, objective: Objective, lessons: Lessons, penalty: Penalty | None = None) -> None:
        def build() -> OnePlayer:
            network = MLPDiscriminator(spec.shape, width=lessons.width, depth=lessons.depth)
            return OnePlayer(spec, spec.seen(y), network, objective, penalty)

        rate, seed = Adam(lessons.lr, (0.9, 0.999), schedule="cosine"), key(lessons.seed, "lessons")
        batches = drawing_from(spec.seen(x).flatten(1), lessons.batch, seed)
        self.match, self.spec, self.steps = Match(build, {"discriminator": rate}, batches, seed=seed), spec, lessons.steps
        assert isinstance(self.match.gan, OnePlayer)
        self.network = self.match.gan.discriminator

    def rounds(self) -> Iterator[int]:
        """Learn; gives the number of updates done after each."""
        return self.match.rounds(self.steps)

    def learn(self, tell: Tell) -> None:
        for done in self.rounds():
            if done % 50 == 0 or done == self.steps:
                tell(done, self.steps)

    @torch.no_grad()
    def logits(self, points: Tensor) -> Tensor:
        """(n,) float64."""
        return torch.cat([self.network(part) for part in parts(self.spec.seen(points))]).double()

    def slopes(self, seen: Tensor) -> Tensor:
        """(n,) float64: the length of the gradient at points as the network sees them, (n, d, 1, 1)."""
        return torch.cat([gradient_norms(self.network, part).detach() for part in parts(seen)]).double()


def parts(points: Tensor) -> list[Tensor]:
    return [points[start : start + PART] for start in range(0, len(points), PART)]


def taught(x: Tensor, y: Tensor, name: str, lessons: Lessons = USUAL, tell: Tell = tell_nobody) -> Student:
    """A discriminator that has learned the bound of `name`: its logits are v.

    Neyman's chi-square is Pearson's with P and Q exchanged, and learned so: e^-v of real samples, its own activation, grows beyond all
    bounds in the first hundred updates, where Pearson's squares settle.
    """
    if name not in F_DIVERGENCES:
        raise OptionError(f"f-divergence: got {name!r}. {nearest(name, F_DIVERGENCES)}")
    if name == "neyman":
        return taught(y, x, "pearson", lessons, tell)
    both = torch.cat([x, y])
    student = Student(x, y, seen_in(both, both.std(0)), variational(F_DIVERGENCES[name], probability=False), lessons)
    student.learn(tell)
    return student


def taught_critic(
    x: Tensor, y: Tensor, weight: float, lessons: Lessons = USUAL, tell: Tell = tell_nobody, price: Value = one_sided_gradient_penalty
) -> Student:
    """A critic that has learned Wasserstein-1, under a penalty for slopes above 1 only (Petzka et al., 2018).

    On a line the best critic is the same as under Gulrajani's, which raises slopes below 1 too; but that one has the mirror image of the
    best critic as a second optimum, and critics on a line often end there and read minus the distance: 6 of 12 for N(-1, 1) and N(1, 1).
    """
    if not 0 < weight < inf:
        raise OptionError(f"weight: got {weight}, expected a number above 0. Gulrajani's is 10.")
    both = torch.cat([x, y])
    spec = seen_in(both, both.var(0).mean().sqrt().expand(both.shape[1]))
    student = Student(x, y, spec, OBJECTIVES["wasserstein"], lessons, Penalty(price, weight))
    student.learn(tell)
    return student


def steep_and_steepest(score: Score, real: Tensor, fake: Tensor, random: Randomness) -> Tensor:
    """The mean of max(0, ||grad|| - 1)^2 at the samples and between them, and its largest value in the batch once more.

    The mean alone, between samples alone, hardly feels places where samples are rare, and the best critic is steepest there: on a line its
    slope is 1 + |F - G| / (2 weight r) for distribution functions F and G and the density r of the points where the penalty is taken.
    In a plane it came to 1.46, and the quotient was 29% too low; with this penalty to 1.02 and 4.5% (benchmarks/learned_divergences.py).
    """
    points = torch.cat([interpolates(real, fake, random), real, fake])
    excess = F.relu(gradient_norms(score, points) - 1).square()
    return excess.mean() + excess.max()


def seen_in(points: Tensor, scales: Tensor) -> Spec:
    """Points around their mean, in these scales (d,); what never varies is left in its own."""
    centres, scales = points.mean(0), torch.where(scales > 0, scales, 1.0)
    if not bool(centres.isfinite().all() and scales.isfinite().all()):
        raise DataError("points: their mean or spread is above what float64 holds. Divide them by some large number.")
    axes = (Axis(f"x{i}", *numbers) for i, numbers in enumerate(zip(centres.tolist(), scales.tolist(), strict=True)))
    return Spec(points.shape[1], 1, 1, axes=tuple(axes))


def bound(name: str, real: Tensor, fake: Tensor, method: str) -> Estimate:
    """The bound on that f-divergence by the logits of a student of `taught` at fresh samples of P (n,) and of Q (m,)."""
    if name == "neyman":
        return bound("pearson", fake, real, method)
    divergence = F_DIVERGENCES[name]
    every = as_sure_as_allowed(divergence, real, fake)
    gains, costs = divergence.activation(every), divergence.conjugate_of_activation(every)
    value, reach = difference_of_means(gains, costs, len(real))
    trivial = float(divergence.f(torch.ones((), dtype=torch.float64)))
    return Estimate(value, "lower bound", max(trivial, value - reach), None, f"{method}, read on {len(real)} + {len(fake)} fresh samples")


def as_sure_as_allowed(divergence: FDivergence, real: Tensor, fake: Tensor) -> Tensor:
    """(n + m,): the logits, no farther out than so many samples can carry. Any discriminator gives a bound, this one too."""
    lowest_gain, highest_cost = -max(ENOUGH, len(real) / CERTAIN), max(ENOUGH, len(fake) / CERTAIN)
    every = torch.cat([real, fake])
    tried = torch.cat([every, torch.linspace(-20, 20, 401, dtype=torch.float64)])
    carried = (divergence.activation(tried) >= lowest_gain) & (divergence.conjugate_of_activation(tried) <= highest_cost)
    low, high = tried[carried].aminmax()
    return every.clamp(low, high)


def difference_of_means(gains: Tensor, costs: Tensor, split: int) -> tuple[float, float]:
    """E gain of P - E cost of Q, and how much less it may be, at 95%; both are known at all samples, the first `split` of them of P.

    Beside the standard error there is room for what the samples never showed: gains and costs as bad as the worst anywhere.
    """
    gain, cost = gains[:split], costs[split:]
    error = sqrt(float(gain.var()) / len(gain) + float(cost.var()) / len(cost))
    unseen = float(gain.mean() - gains.min()) / len(gain) + float(costs.max() - cost.mean()) / len(cost)
    return float(gain.mean() - cost.mean()), NORMAL * error + UNSEEN * unseen


def critic_reading(critic: Student, x: Tensor, y: Tensor, method: str) -> CriticEstimate:
    """W1 by a critic of `taught_critic`, at fresh samples x (n, d) and y (m, d)."""
    scale = critic.spec.axes[0].scale
    values = scale * critic.logits(torch.cat([x, y]))
    raw, reach = difference_of_means(values, values, len(x))
    slope = steepest(critic, x, y)
    value, low = (number / slope if slope else 0.0 for number in (raw, raw - reach))
    method = (
        f"{method}, read on {len(x)} + {len(y)} fresh samples; {raw:.4g} divided by its steepest slope there and between them, {slope:.4g}"
    )
    return CriticEstimate(value, "lower bound", max(0.0, low), None, method, raw, slope)


def steepest(critic: Student, x: Tensor, y: Tensor) -> float:
    """The largest slope at the samples and at a point between each x and a y."""
    x, y = critic.spec.seen(x), critic.spec.seen(y)
    pairs = min(len(x), len(y))
    between = interpolates(x[:pairs], y[:pairs], BatchRandomness(0, 0, 0, pairs, pairs))
    return max(float(critic.slopes(points).max()) for points in (x, y, between))
