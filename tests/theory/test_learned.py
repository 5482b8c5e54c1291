from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from torch import Tensor

from elegan.divergences import quadrature
from elegan.divergences.estimate import Estimate
from elegan.divergences.f_divergences import F_DIVERGENCES
from elegan.divergences.mixtures import around, on_a_line
from elegan.errors import DataError, OptionError
from elegan.losses.objectives import OBJECTIVES
from elegan.losses.penalties import penalty
from elegan.theory import learned
from elegan.theory.learned import Lessons, Student, bound, f_divergence, jensen_shannon, wasserstein

LEFT, RIGHT, NEAR = on_a_line([1], [-1], [1]), on_a_line([1], [1], [1]), on_a_line([1], [0], [1])
QUICK = Lessons(width=16, steps=200, batch=64, lr=1e-2)
TINY = Lessons(width=8, steps=40, batch=32, lr=1e-2)


def pair(count: int) -> tuple[Tensor, Tensor]:
    return LEFT.sample(count, 1), RIGHT.sample(count, 2)


def best_logits(name: str, ratio: Tensor) -> Tensor:
    """v with g(v) = f'(p/q), by hand from the table; for Neyman that of Pearson with p and q exchanged."""
    best = {
        "kl": 1 + ratio.log(),
        "pearson": 2 * (ratio - 1),
        "neyman": 2 * (1 / ratio - 1),
        "hellinger": ratio.log() / 2,
        "total_variation": 20 * (ratio - 1).sign(),
    }
    return best.get(name, ratio.log())


@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_the_best_discriminator_reads_the_divergence(name: str) -> None:
    """That of quadrature, up to sampling, for N(0, 1) and N(1, 1)."""
    exact = quadrature.f_divergence(NEAR.log_density, RIGHT.log_density, around(NEAR, RIGHT), name)
    real, fake = (
        best_logits(name, (NEAR.log_density(points) - RIGHT.log_density(points)).exp())
        for points in (NEAR.sample(200_000, 3), RIGHT.sample(200_000, 4))
    )
    found = bound(name, real, fake, "")
    assert found.value == pytest.approx(exact, rel=0.04)
    assert found.low is not None
    assert exact - 0.1 * abs(exact) < found.low < exact
    worse = bound(name, real + 0.5, fake + 0.5, "")
    assert name == "total_variation" or worse.value < found.value  # tanh is flat out there


@pytest.mark.parametrize("name", ["kl", "reverse_kl", "pearson", "gan", "hellinger"])
def test_the_lower_end_is_below_the_divergence_in_95_of_100_repetitions(name: str) -> None:
    """Of the best discriminator, whose bound is the divergence; 300 samples, of which those that decide KL are rare."""
    exact = quadrature.f_divergence(LEFT.log_density, RIGHT.log_density, around(LEFT, RIGHT), name)
    x, y = (best_logits(name, (-2 * points.sample(300 * 400, 5).flatten()).exp()).reshape(400, 300) for points in (LEFT, RIGHT))
    lows = [bound(name, real, fake, "").low for real, fake in zip(x, y, strict=True)]
    assert np.mean([low <= exact for low in lows if low is not None]) > 0.94


def test_a_difference_of_means_by_hand() -> None:
    gains, costs = torch.tensor([1.0, 3.0, 0.0, 0.0]).double(), torch.tensor([6.0, 5.0, 1.0, 2.0]).double()
    value, reach = learned.difference_of_means(gains, costs, 2)
    assert value == 2 - 1.5
    # Variances 2 and 1/2 over 2 samples each; the least gain is 2 below the mean, the largest cost 4.5 above it.
    assert reach == pytest.approx(1.644854 * (2 / 2 + 0.5 / 2) ** 0.5 + 3 * (2 / 2 + 4.5 / 2))


def test_certainty_ends_where_samples_do() -> None:
    """All that tells 1000 samples apart is that they are apart: KL is infinite, and they show it to be above some log 33."""
    found = bound("kl", torch.full((1000,), 500.0).double(), torch.full((1000,), -500.0).double(), "")
    assert found.value == pytest.approx(1 + log(1000 / 30), abs=0.1)
    # The costliest sample of P would cost Q's mean 1000 / 30 / 1000 each, that of Q would cost P's its 20 + 4.5, three times.
    assert found.low == pytest.approx(found.value - 3 * (1 / 30 + 0.0245), abs=0.01)
    assert bound("gan", torch.full((1000,), 500.0).double(), torch.full((1000,), -500.0).double(), "").value == pytest.approx(0, abs=1e-8)


def test_the_jensen_shannon_divergence_is_learned() -> None:
    found = jensen_shannon(*pair(8000), lessons=QUICK)
    assert found.value == pytest.approx(0.336831, rel=0.05)
    assert found.kind == "lower bound"
    assert found.high is None
    assert found.low is not None
    assert 0.9 * 0.336831 < found.low < 0.336831
    assert str(found).startswith(
        f"{found.value:.4g} (lower bound, at least {found.low:.4g} at 95%; (V + ln 4) / 2 by a discriminator taught"
    )


def test_f_divergences_are_learned() -> None:
    x, y = NEAR.sample(8000, 6), RIGHT.sample(8000, 7)
    assert f_divergence(x, y, "kl", lessons=QUICK).value == pytest.approx(0.5, rel=0.1)
    assert f_divergence(x, y, "neyman", lessons=TINY) == f_divergence(y, x, "pearson", lessons=TINY)


def test_wasserstein_is_learned_and_carries_what_it_is_made_of() -> None:
    found = wasserstein(*pair(8000), lessons=QUICK)
    assert found.value == pytest.approx(2, rel=0.05)
    assert found.value == found.raw / found.slope
    assert 1 < found.slope < 1.1
    assert found.low is not None
    assert found.low < found.value


def test_units_make_no_difference_to_wasserstein() -> None:
    x, y = pair(1000)
    plain, large = wasserstein(x, y, lessons=TINY), wasserstein(1e9 + 1e6 * x, 1e9 + 1e6 * y, lessons=TINY)
    assert large.value == pytest.approx(1e6 * plain.value, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "distance", "weight"),
    [("gradient_penalty", 2.0, 10.0), ("gradient_penalty", 0.5, 10.0), ("one_sided_gradient_penalty", 2.0, 1.0)],
)
def test_point_masses_are_read_too_far_apart(name: str, distance: float, weight: float) -> None:
    """The best slope between them is 1 + d / (2 weight), where minus the distance d times the slope, plus the penalty, is least."""
    x, y = torch.zeros(100, 1).double(), torch.full((100, 1), distance).double()
    lessons = Lessons(width=16, steps=150, batch=32, lr=1e-2)
    critic = Student(x, y, learned.seen_in(x, torch.zeros(1)), OBJECTIVES["wasserstein"], lessons, penalty(name, weight))
    critic.learn(lambda done, total: None)
    raw = abs(learned.critic_reading(critic, x, y, "").raw)  # the two-sided penalty has its mirror image, too
    assert raw == pytest.approx(distance + distance**2 / (2 * weight), rel=0.01)


def test_the_best_slope_on_a_line() -> None:
    """h = |F - G| is carried over each point, and r is the density of points between x and y, where the penalty is taken. To each point
    the best slope s is that of the largest h s - weight r (s - 1)^2, so 1 + h / (2 weight r), and the difference of means is their sum."""
    points, weight = torch.linspace(-8, 8, 1601).double(), 10.0
    x, y = pair(20_000)
    critic = learned.taught_critic(x, y, weight, QUICK)
    shares = (torch.arange(200).double() + 0.5) / 200
    stds = (shares**2 + (1 - shares) ** 2).sqrt()
    density = torch.distributions.Normal(2 * shares - 1, stds).log_prob(points[:, None]).exp().mean(1)
    carried = (LEFT.cdf(points) - RIGHT.cdf(points)).abs()
    slope = 1 + carried / (2 * weight * critic.spec.axes[0].scale * density)  # weight, in units of the points
    assert learned.critic_reading(critic, x, y, "").raw == pytest.approx(float(torch.trapezoid(carried * slope, points)), rel=0.01)
    assert float(slope[800]) == pytest.approx(float(critic.slopes(critic.spec.seen(points[800:801, None]))[0]), rel=0.02)


def test_the_steepest_slope_costs_once_more() -> None:
    """Of a score of slope 3 to the right of 0 and 1/2 to the left of it."""
    real, fake = torch.full((4, 1, 1, 1), 1.0), torch.full((4, 1, 1, 1), -1.0)
    shares = torch.tensor([0.25, 0.75, 0.75, 0.75]).reshape(4, 1, 1, 1)

    class Given:
        def uniform(self, stream: str, *shape: int) -> Tensor:
            return shares

    def score(points: Tensor) -> Tensor:
        return torch.where(points > 0, 3 * points, points / 2).flatten()

    # Of 12 points 4 real ones and the first between are to the right: (3 - 1)^2 each.
    assert float(learned.steep_and_steepest(score, real, fake, Given())) == pytest.approx(5 / 12 * 4 + 4)  # type: ignore[arg-type]
    assert float(learned.steep_and_steepest(score, fake, fake, Given())) == 0  # type: ignore[arg-type]


def test_a_penalty_on_both_sides_can_end_in_the_mirror_image() -> None:
    x, y = pair(1000)
    readings = {}
    for name in ("gradient_penalty", "one_sided_gradient_penalty"):
        for seed in (0, 7):
            lessons = Lessons(width=16, steps=50, batch=64, lr=5e-3, seed=seed)
            critic = Student(x, y, learned.seen_in(x, torch.ones(1)), OBJECTIVES["wasserstein"], lessons, penalty(name, 10.0))
            critic.learn(lambda done, total: None)
            readings[name, seed] = learned.critic_reading(critic, x, y, "").raw
    assert readings["gradient_penalty", 0] > 1.5
    assert readings["gradient_penalty", 7] < -1.5
    assert readings["one_sided_gradient_penalty", 0] > 1.5
    assert readings["one_sided_gradient_penalty", 7] > 1.5


def test_the_same_samples_are_0_apart() -> None:
    x, _ = pair(400)
    assert jensen_shannon(x, x, lessons=TINY).value == pytest.approx(0, abs=1e-3)
    assert wasserstein(x, x, lessons=TINY).value == 0


def test_points_that_never_vary() -> None:
    zeros = torch.zeros(100, 2)
    assert jensen_shannon(zeros, zeros, lessons=TINY).value == pytest.approx(0, abs=1e-3)
    assert wasserstein(zeros, zeros, lessons=TINY).value == 0
    lessons = Lessons(width=16, steps=300, batch=32, lr=1e-2)
    assert jensen_shannon(zeros, zeros + 1, lessons=lessons).value == pytest.approx(log(2), abs=0.01)
    assert wasserstein(zeros, zeros + 1, lessons=lessons).value == pytest.approx(2**0.5, rel=0.02)


def test_fresh_samples_give_the_reading_and_all_others_teach() -> None:
    x, y = pair(300)
    found = jensen_shannon(x, y, fresh=(x[:60], x[:60]), lessons=QUICK)
    assert "taught 300 + 300, read on 60 + 60 fresh samples" in found.method
    assert found.value < 0  # what it learned to tell apart is the same in them


def test_halves_are_all_points_once() -> None:
    points = torch.arange(101.0).unsqueeze(1)
    first, second = learned.halves(points, 0)
    assert (len(first), len(second)) == (51, 50)
    assert torch.equal(torch.cat([first, second]).sort(0).values, points)
    assert not torch.equal(first.sort(0).values, points[::2])


@pytest.mark.parametrize("measure", [jensen_shannon, wasserstein, lambda x, y, **more: f_divergence(x, y, "kl", **more)])
def test_what_cannot_be_measured_is_one_clear_line(measure) -> None:  # type: ignore[no-untyped-def]
    x, y = pair(200)
    with pytest.raises(DataError, match="points of 1 numbers cannot be compared with points of 2"):
        measure(x, torch.zeros(200, 2))
    with pytest.raises(DataError, match="got 99; at least 100 are needed"):
        measure(x[:99], y)
    with pytest.raises(DataError, match="got 49; at least 50 are needed"):
        measure(x, y, fresh=(x[:49], y))
    with pytest.raises(DataError, match="points of 1 numbers cannot be compared with points of 3"):
        measure(x, y, fresh=(torch.zeros(200, 3), torch.zeros(200, 3)))
    with pytest.raises(DataError, match="1 of 200 hold NaN"):
        measure(x, torch.where(torch.arange(200).unsqueeze(1) == 3, torch.nan, y))
    with pytest.raises(DataError, match="above what float64 holds"):
        measure(1e200 * x, y)


def test_options_that_do_not_fit() -> None:
    x, y = pair(200)
    with pytest.raises(OptionError, match="Did you mean 'pearson'"):
        f_divergence(x, y, "pearsom")
    with pytest.raises(OptionError, match="weight: got 0"):
        wasserstein(x, y, weight=0)
    with pytest.raises(OptionError, match="steps: got 0"):
        Lessons(steps=0)


def test_a_lower_bound_in_words() -> None:
    assert str(Estimate(0.4, "lower bound", 0.25, None, "KL")) == "0.4 (lower bound, at least 0.25 at 95%; KL)"
