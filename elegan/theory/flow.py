"""What a generator on a line does to its noise, in numbers and as the picture of Goodfellow et al., 2014, figure 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elegan.divergences import discrete
from elegan.divergences.line import quantile_costs
from elegan.divergences.mixtures import on_a_line
from elegan.game import GAN
from elegan.losses.objectives import Objective
from elegan.rules.two_player import TwoPlayer
from elegan.theory.drawing import GENERATED, JUDGE, QUIET, REAL, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P_DATA = on_a_line([0.65, 0.35], [-1.5, 1.5], [0.5, 0.4])
BORDERS = (-0.5, 0.7)
"""Two standard deviations inwards from each peak."""

SAMPLES = 20_000
REACH, BINS = 4.0, 100
"""p_g is taken in so many bins from -REACH to REACH; what is beyond counts as one more."""

PLACES = torch.linspace(-REACH, REACH, 801, dtype=torch.float64)
LINES = 41
"""Noises whose way is drawn."""

FIRST = 0.5
"""Where a logarithmic axis has round 0."""

TOP = 1.05
"""Of the picture's axis, which densities share with D."""


def even_shares(count: int) -> Tensor:
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


@cache
def noises() -> Tensor:
    """(SAMPLES,): at even quantiles of a normal distribution, so that they are drawn without chance."""
    drawn: Tensor = torch.special.ndtri(even_shares(SAMPLES))
    return drawn


@cache
def reals() -> Tensor:
    """(SAMPLES,): even quantiles of p_data."""
    places = torch.linspace(-2 * REACH, 2 * REACH, 100_001, dtype=torch.float64)
    return torch.from_numpy(np.interp(even_shares(SAMPLES), P_DATA.cdf(places), places))


@cache
def edges() -> Tensor:
    return torch.linspace(-REACH, REACH, BINS + 1, dtype=torch.float64)


def masses_of_data() -> Tensor:
    """(BINS + 1,): the probability of each bin, and of what is beyond."""
    inside = P_DATA.cdf(edges()).diff()
    return torch.cat([inside, (1 - inside.sum()).clamp(min=0).unsqueeze(0)])


def shares_of_data() -> tuple[float, float, float]:
    """Below, between and above the borders."""
    low, high = P_DATA.cdf(torch.tensor(BORDERS)).tolist()
    return low, high - low, 1 - high


@dataclass(frozen=True, eq=False)
class Look:
    """A game after `step` rounds.

    samples: (SAMPLES,), G of `noises`. scores: logits at `PLACES`. probability: whether their sigmoid is one. real, fake: the mean
    of D, or of the score, over p_data and over p_g. losses: of D, without penalties, and of G.
    """

    step: int
    samples: Tensor
    scores: Tensor
    probability: bool
    real: float
    fake: float
    losses: tuple[float, float]

    @cached_property
    def masses(self) -> Tensor:
        """(BINS + 1,): p_g in bins, and beyond."""
        inside = torch.histogram(self.samples, edges()).hist
        return torch.cat([inside, (SAMPLES - inside.sum()).unsqueeze(0)]) / SAMPLES

    @cached_property
    def jensen_shannon(self) -> float:
        return discrete.jensen_shannon(masses_of_data(), self.masses)

    @cached_property
    def wasserstein(self) -> float:
        return float(quantile_costs(self.samples.sort().values.unsqueeze(0), reals().unsqueeze(0), 1))

    @property
    def shares(self) -> tuple[float, float, float]:
        """Below, between and above the borders."""
        low, high = BORDERS
        below, above = float((self.samples < low).double().mean()), float((self.samples > high).double().mean())
        return below, 1 - below - above, above

    def uphill(self, later: Look | None) -> float | None:
        """The share of all the way that samples go until `later` on which the score rises of the D that they answer to; None
        where they go none."""
        if later is None:
            return None
        way = later.samples - self.samples
        slope = np.interp(self.samples, PLACES, np.gradient(later.scores.numpy(), PLACES.numpy()))
        length = float(way.abs().sum())
        return float(way.abs()[way * torch.from_numpy(slope) > 0].sum()) / length if length else None


class Watcher:
    """Takes looks at a game on a line, whose objective is this."""

    def __init__(self, gan: GAN, objective: Objective) -> None:
        assert isinstance(gan, TwoPlayer)
        self.gan, self.objective = gan, objective
        # A relativistic loss pairs real and generated samples, and pairs of equal quantiles would be no random ones.
        self.order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def look(self, step: int) -> Look:
        samples: Tensor = self.gan.generator(noises().float().unsqueeze(1), None).flatten()
        real, fake = self.score(reals())[self.order], self.score(samples)
        losses = float(self.objective.discriminator(real, fake)), float(self.objective.generator_loss(fake, real))
        probability = self.objective.probability
        means = [float((one.sigmoid() if probability else one).mean()) for one in (real, fake)]
        return Look(step, samples.double(), self.score(PLACES).double(), probability, means[0], means[1], losses)

    def score(self, places: Tensor) -> Tensor:
        scores: Tensor = self.gan.discriminator(places.float()[:, None, None, None], None)
        return scores


def draw_phases(figure: Figure, chosen: Mapping[str, Look]) -> None:
    rows = figure.subplots(2, len(chosen), sharex=True, height_ratios=(3, 2))
    for column, (name, look) in enumerate(chosen.items()):
        draw_densities(rows[0, column], look)
        draw_flow(rows[1, column], look)
        label(rows[0, column], f"{name}: {look.step:,} rounds, JSD {look.jensen_shannon:.3f}", legend=column == len(chosen) - 1)


def draw_densities(axes: Axes, look: Look) -> None:
    width = 2 * REACH / BINS
    middles = (edges()[1:] + edges()[:-1]) / 2
    data, made = masses_of_data()[:-1] / width, look.masses[:-1] / width
    axes.fill_between(middles, data, color=REAL, alpha=0.3, linewidth=0, label="p_data")
    axes.plot(middles, made.clamp(max=TOP), color=GENERATED, label="p_g")
    axes.plot(PLACES, judged(look), color=JUDGE, label="D" if look.probability else "critic, scaled")
    if look.probability:
        seen = data + made > 0.01
        axes.plot(middles[seen], (data / (data + made))[seen], color=JUDGE, linestyle=":", label="best D")
    axes.axhline(0.5, color=QUIET, linewidth=0.6)
    axes.set_ylim(0, TOP)
    axes.set_xlim(-REACH, REACH)


def judged(look: Look) -> NDArray[np.float64]:
    """D, or the critic's score from its lowest value as 0 to its highest as 1."""
    scores = look.scores.numpy()
    if look.probability:
        return np.asarray(1 / (1 + np.exp(-scores)))
    return np.asarray((scores - scores.min()) / (np.ptp(scores) or 1.0))


def draw_flow(axes: Axes, look: Look) -> None:
    """Lines from noise, below, to what G makes of it, above."""
    from matplotlib.collections import LineCollection

    chosen = torch.linspace(0.005 * SAMPLES, 0.995 * SAMPLES, LINES).long()
    ways = [[(z, 0.0), (x, 1.0)] for z, x in zip(noises()[chosen].tolist(), look.samples[chosen].tolist(), strict=True)]
    axes.add_collection(LineCollection(ways, colors=GENERATED, linewidths=0.7))
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 1], ["z", "G(z)"])
    axes.set_xlim(-REACH, REACH)


def draw_film(look: Look, film: list[Look]) -> Callable[[Figure], None]:
    """The picture of a moment, beside what changes over all of them."""

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("none")  # finding places takes longer than drawing, and here they are known
        densities, flow, distances, means = (figure.add_axes(place) for place in PANELS)
        draw_densities(densities, look)
        label(densities, f"round {look.step:,}")
        draw_flow(flow, look)
        draw_course(distances, film, look, (("JSD", "jensen_shannon", GENERATED), ("W1", "wasserstein", "black")))
        distances.set_yscale("log")
        label(distances, "how far p_g is from p_data")
        names = ("D(x)", "D(G(z))") if look.probability else ("score of x", "of G(z)")
        draw_course(means, film, look, ((names[0], "real", REAL), (names[1], "fake", GENERATED)))
        label(means, "", "rounds")
        for axes in (densities, distances):
            axes.tick_params(labelbottom=False)
        for axes in (distances, means):
            axes.minorticks_off()
        for axes in (densities, distances, means):
            axes.legend(loc="upper right", fontsize=8, frameon=False)  # the best place would be another in each frame

    return draw


PANELS = ((0.04, 0.47, 0.54, 0.46), (0.04, 0.09, 0.54, 0.33), (0.65, 0.53, 0.33, 0.4), (0.65, 0.09, 0.33, 0.33))
"""Left, bottom, width and height of the film's panels, as shares of the picture."""


def draw_course(axes: Axes, film: list[Look], now: Look, lines: tuple[tuple[str, str, str], ...]) -> None:
    """Numbers of all moments over the rounds, and where the moment is."""
    steps = [max(FIRST, one.step) for one in film]
    for name, number, colour in lines:
        axes.plot(steps, [getattr(one, number) for one in film], color=colour, label=name)
    axes.set_xscale("log")
    axes.axvline(max(FIRST, now.step), color=QUIET)
