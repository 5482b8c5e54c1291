"""A discriminator as an estimator: what it reads, on samples it learned from and on fresh ones, by their number and its own size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import log
from typing import TYPE_CHECKING, Annotated

from torch import Tensor

from elegan.divergences import quadrature
from elegan.divergences.f_divergences import F_DIVERGENCES
from elegan.divergences.mixtures import GaussianMixture, around, on_a_line
from elegan.errors import OptionError
from elegan.theory.demonstration import Cell, Demonstration, Table, Tell, tell_nobody
from elegan.theory.drawing import GENERATED, JUDGE, QUIET, REAL, label
from elegan.theory.learned import CriticEstimate, Lessons, Student, bound, critic_reading, taught, taught_critic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNTS, WIDTHS = (30, 100, 300, 1000, 10_000), (2, 16, 128)
"""Samples of each kind that teach, and units of a hidden layer."""

FEWEST, MOST = 1000, 10_000_000
FRESH = 50_000
"""Samples of each kind that read, in the second table."""

STEPS, CRITIC_STEPS = 600, 2000
PEAKS, PLAIN = on_a_line([0.7, 0.3], [-2.0, 1.5], [0.4, 0.6]), on_a_line([1.0], [0.0], [1.5])
"""What the second table is of: two peaks and a Gaussian, which it takes several units to tell apart."""

WEIGHT = 10.0
"""Of the critic's penalty, as of Gulrajani et al., 2017."""

HARD = 0.1
"""A bound is said to be far off from this share of the exact value on."""

COLOURS = (GENERATED, REAL, JUDGE)


@dataclass(frozen=True)
class Reading:
    """One divergence: its exact value, what was read on the samples that taught and on as many fresh ones."""

    name: str
    exact: float
    learned: float
    fresh: float

    @property
    def off(self) -> float:
        """As a share of the size of the exact value, which is below 0 for "gan"; below 0 is too low."""
        return (self.fresh - self.exact) / abs(self.exact)


@dataclass(frozen=True)
class Size:
    """Jensen-Shannon, read by a discriminator of this width that `count` samples of each kind taught."""

    count: int
    width: int
    learned: float
    fresh: float


def estimate(
    *,
    distance: Annotated[float, "between the means of P and Q, two Gaussians of standard deviation 1"] = 2.0,
    samples: Annotated[int, "of each that teach, and as many fresh ones that read, in the first table"] = 20_000,
    seed: Annotated[int, "of samples, first weights and batches"] = 0,
    tell: Tell = tell_nobody,
) -> Demonstration:
    """Divergences read off trained discriminators, beside the exact values; how many samples it takes, and how large a discriminator.

    Goodfellow et al., 2014; Nowozin et al., 2016; Gulrajani et al., 2017; Arora et al., 2017. OptionError for too few samples, or a
    distance that is none.
    """
    if not FEWEST <= samples <= MOST:
        raise OptionError(f"--samples: got {samples}, expected {FEWEST} to {MOST}; the second table shows what fewer do.")
    if not 0.2 <= distance <= 6:
        raise OptionError(f"--distance: got {distance}, expected a number from 0.2 to 6: beyond it few samples tell the values.")
    p, q = on_a_line([1], [-distance / 2], [1]), on_a_line([1], [distance / 2], [1])
    total = len(F_DIVERGENCES) + 1 + len(COUNTS) * len(WIDTHS)
    readings = [*read_all(p, q, samples, seed, lambda done: tell(done, total))]
    critic = read_critic(p, q, samples, seed)
    sizes = [*read_sizes(seed, lambda done: tell(len(F_DIVERGENCES) + 1 + done, total))]
    jsd = quadrature.jensen_shannon(PEAKS.log_density, PLAIN.log_density, around(PEAKS, PLAIN))
    return Demonstration(
        f"Two Gaussians {distance:g} apart, seen through samples alone",
        (bounds_table(readings, samples), critic_table(critic, distance), sizes_table(sizes, jsd)),
        (*of_bounds(readings), *of_critic(critic, distance), *of_sizes(sizes, jsd)),
        lambda figure: draw(figure, readings, sizes, jsd),
        size=(12.0, 4.4),
    )


def draws(p: GaussianMixture, q: GaussianMixture, count: int, seed: int) -> tuple[Tensor, Tensor]:
    return p.sample(count, 2 * seed), q.sample(count, 2 * seed + 1)


def read_all(p: GaussianMixture, q: GaussianMixture, samples: int, seed: int, tell: Callable[[int], None]) -> Iterator[Reading]:
    """Every f-divergence, and Jensen-Shannon as half of what the table of f-divergences calls so."""
    lessons, learned, fresh = Lessons(steps=STEPS, seed=seed), draws(p, q, samples, 2 * seed), draws(p, q, samples, 2 * seed + 1)
    for done, name in enumerate(F_DIVERGENCES):
        student = taught(*learned, name, lessons)
        found = [read(name, student, pair) for pair in (learned, fresh)]
        exact = quadrature.f_divergence(p.log_density, q.log_density, around(p, q), name)
        yield Reading(name, exact, *found)
        tell(done + 1)


def read(name: str, student: Student, pair: tuple[Tensor, Tensor]) -> float:
    return bound(name, student.logits(pair[0]), student.logits(pair[1]), "").value


def read_critic(p: GaussianMixture, q: GaussianMixture, samples: int, seed: int) -> CriticEstimate:
    critic = taught_critic(*draws(p, q, samples, 2 * seed), WEIGHT, Lessons(steps=CRITIC_STEPS, seed=seed))
    return critic_reading(critic, *draws(p, q, samples, 2 * seed + 1), "")


def read_sizes(seed: int, tell: Callable[[int], None]) -> Iterator[Size]:
    """Jensen-Shannon by discriminators of each width, taught by few samples and by many; always read on as many fresh ones."""
    fresh = draws(PEAKS, PLAIN, FRESH, 2 * seed + 1)
    for done, (count, width) in enumerate(product(COUNTS, WIDTHS)):
        learned = draws(PEAKS, PLAIN, count, 2 * seed)
        student = taught(*learned, "gan", Lessons(width=width, steps=STEPS, batch=min(256, count), seed=seed))
        found = [(read("gan", student, pair) + log(4)) / 2 for pair in (learned, fresh)]
        yield Size(count, width, *found)
        tell(done + 1)


def bounds_table(readings: list[Reading], samples: int) -> Table:
    rows = tuple((reading.name, reading.exact, reading.learned, reading.fresh, reading.off) for reading in readings)
    columns = ("f-divergence", "exact", "on the samples it learned from", "on fresh ones", "off by, relative")
    return Table(columns, rows, f"Bounds by a discriminator each, {samples:,} samples of each kind")


def critic_table(critic: CriticEstimate, distance: float) -> Table:
    """`distance` is the exact Wasserstein-1, and 1 + d / (2 lambda) the slope between two points so far apart, in the critic's units."""
    rows: tuple[tuple[Cell, ...], ...] = (
        ("the plain difference of means", critic.raw, critic.raw / distance - 1),
        ("its steepest slope", critic.slope, None),
        ("divided", critic.value, critic.value / distance - 1),
        ("exact", distance, None),
    )
    return Table(("Wasserstein-1 by a critic", "value", "off by, relative"), rows, f"Gradient penalty of weight {WEIGHT:g}")


def sizes_table(sizes: list[Size], jsd: float) -> Table:
    rows = tuple((count, *(cell for size in sizes if size.count == count for cell in (size.learned, size.fresh)), jsd) for count in COUNTS)
    columns = ("samples", *(f"{width}: {kind}" for width in WIDTHS for kind in ("learned", "fresh")), "exact")
    return Table(
        columns,
        rows,
        f"Jensen-Shannon of two peaks and a Gaussian, by the discriminator's width: on its own samples, on {FRESH:,} fresh ones",
    )


def of_bounds(readings: list[Reading]) -> tuple[str, ...]:
    near = [reading for reading in readings if abs(reading.off) < HARD]
    far = [f"{reading.name} ({reading.off:+.0%})" for reading in readings if reading not in near]
    said = []
    if near:
        names, worst = ", ".join(reading.name for reading in near), max(near, key=lambda reading: abs(reading.off))
        said.append(f"Within {HARD:.0%} on fresh samples: {names}; {worst.name} is off most, {worst.off:+.1%}.")
    if above := [reading.name for reading in readings if reading.fresh > reading.exact]:
        said.append(f"Above the exact value: {', '.join(above)}. A bound holds on average over fresh samples, not for each draw of them.")
    if far:
        said.append(f"Further off: {', '.join(far)}.")
    return tuple(said)


def of_critic(critic: CriticEstimate, distance: float) -> tuple[str, ...]:
    return (
        f"The critic's difference of means is {critic.raw / distance - 1:+.1%} off: its slope comes to {critic.slope:.3f}, not to 1. "
        f"Divided by its slope it is {critic.value / distance - 1:+.1%} off.",
        "The penalty pulls the slope to 1, and the difference of means pulls it up: for two points d apart they balance at a slope of "
        "1 + d / (2 lambda), so that the difference is d + d^2 / (2 lambda).",
    )


def of_sizes(sizes: list[Size], jsd: float) -> tuple[str, ...]:
    few, many = ([size for size in sizes if size.count == count] for count in (COUNTS[0], COUNTS[-1]))
    by_heart, best, small = [size for size in few if size.learned > jsd > size.fresh], max(many, key=lambda size: size.fresh), many[0]
    said = []
    for heart in by_heart[-1:]:
        said.append(
            f"Taught by {heart.count} samples, width {heart.width} reads {heart.learned:.3f} on these and {heart.fresh:.3f} on fresh "
            f"ones, of {jsd:.3f}: it knows them by heart. Only fresh samples give a bound."
        )
    said.append(f"Taught by {best.count:,}, width {best.width} reads {best.fresh:.4f} on fresh ones, {best.fresh / jsd - 1:+.1%}.")
    if small.fresh < (1 - HARD) * jsd:
        said.append(
            f"Taught by as many in {STEPS} updates, width {small.width} reads {small.fresh:.3f}: it is too small, or learned too little."
        )
    return tuple(said)


def draw(figure: Figure, readings: list[Reading], sizes: list[Size], jsd: float) -> None:
    bounds, curves = figure.subplots(1, 2)
    places = range(len(readings))
    bounds.axhline(1, color=QUIET, linewidth=0.8)
    bounds.plot(
        places, [reading.learned / reading.exact for reading in readings], "o", color=GENERATED, label="on the samples it learned from"
    )
    bounds.plot(places, [reading.fresh / reading.exact for reading in readings], "o", color=REAL, label="on fresh samples")
    bounds.set_xticks(places, [reading.name.replace("_", "\n") for reading in readings], fontsize=8)
    label(bounds, "What is read, by the exact value", y="read / exact", legend=True)
    draw_sizes(curves, sizes, jsd)


def draw_sizes(panel: Axes, sizes: list[Size], jsd: float) -> None:
    for width, colour in zip(WIDTHS, COLOURS, strict=True):
        mine = [size for size in sizes if size.width == width]
        counts = [size.count for size in mine]
        panel.plot(counts, [size.fresh for size in mine], color=colour, marker="o", label=f"width {width}, on fresh samples")
        panel.plot(counts, [size.learned for size in mine], color=colour, linestyle=":", label="on those it learned from")
    panel.axhline(jsd, color="black", linewidth=0.8)
    panel.set_xscale("log")
    shown = [value for size in sizes for value in (size.learned, size.fresh)]
    panel.set_ylim(min(0.0, *shown) - 0.02, max(jsd, *shown) + 0.15)  # room for the legend
    label(panel, "Jensen-Shannon (black: exact)", "samples of each kind", "nats", legend=True)
