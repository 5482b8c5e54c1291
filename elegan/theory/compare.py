"""Divergences beside each other: what each is, what it sees as distributions part, and what minimising it makes of two peaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch

from elegan.divergences import discrete
from elegan.divergences.mixtures import GaussianMixture
from elegan.errors import OptionError
from elegan.theory.covering import Fit, draw_fits, fitted, sentences_on_fits, table_of_fits, two_peaks
from elegan.theory.demonstration import Cell, Demonstration, Table
from elegan.theory.drawing import GENERATED, JUDGE, QUIET, REAL, label, line
from elegan.theory.measures import BANDWIDTH, FAR, MEASURES, SAMPLES, Study, slope, study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SLOPE, STEEP = 0.1, 1e6
"""A divergence with less of a slope pulls no more, one with more of it cannot be followed."""

RARE = (*(10.0**-k for k in range(1, 9)), 0.0)
"""Probabilities that Q gives to what P has half of the time."""


def compare(
    *,
    share: Annotated[float, "how much of the two-peaked density is in its first peak"] = 0.65,
    apart: Annotated[float, "how far its peaks are apart; each has a standard deviation of 0.6"] = 4.0,
) -> Demonstration:
    """Divergences side by side: their bounds, what they see of a distance, and which one misses a peak.

    An f-divergence compares densities, a Wasserstein distance and a kernel's discrepancy compare places (Arjovsky et al., 2017,
    example 1). Which peaks a fitted density covers depends on the direction of KL (Bishop, 2006, section 10.1.2).
    OptionError for a share that is not between 0 and 1, and for peaks that are not 3 to 40 apart.
    """
    if not 0 < share < 1:
        raise OptionError(f"--share: got {share}, expected a number between 0 and 1.")
    if not 3 <= apart <= 40:
        raise OptionError(f"--apart: got {apart}, expected 3 to 40: nearer peaks have no valley between them.")
    peaks = two_peaks(share, apart)
    found, fits = [study(measure) for measure in MEASURES], fitted(peaks)
    tables = (table_of_kinds(found), table_of_parting(found), table_of_rarity(), table_of_fits(peaks, fits))
    said = (*sentences_on_parting(found), sentence_on_rarity(), *sentences_on_fits(peaks, fits))
    return Demonstration("Divergences, side by side", tables, said, lambda figure: draw(figure, peaks, fits), size=(13.0, 4.2))


def table_of_kinds(found: list[Study]) -> Table:
    rows = [(one.measure.name, one.symmetric, one.metric, one.least, one.largest, one.of_one, one.needs, one.measure.used) for one in found]
    columns = ("divergence", "symmetric", "metric", "least", "largest", "two samples of one", "needs", "GANs")
    return Table(columns, tuple(rows), f"What each is; of two samples of {SAMPLES} from one Gaussian; which GANs lower it")


def table_of_parting(found: list[Study]) -> Table:
    rows: list[tuple[Cell, ...]] = [(one.measure.name, *one.disjoint, one.tells_how_far, *one.slopes) for one in found]
    columns = ("divergence", "points 2 apart", "4 apart", "tells how far", "slope at 1", f"slope at {FAR:g}")
    return Table(columns, tuple(rows), "Disjoint: two points. Overlapping less and less: the slope while two unit Gaussians part")


def table_of_rarity() -> Table:
    rows: list[tuple[Cell, ...]] = [(f"{rare:.0e}" if rare else "0", *rarities(rare)) for rare in RARE]
    return Table(
        ("e", "KL(P||Q)", "KL(Q||P)", "Jensen-Shannon", "total variation", "Wasserstein-1"), tuple(rows), "P = (1/2, 1/2), Q = (1 - e, e)"
    )


def rarities(rare: float) -> tuple[float, ...]:
    p, q = torch.tensor([0.5, 0.5], dtype=torch.float64), torch.tensor([1 - rare, rare], dtype=torch.float64)
    kinds = (discrete.kl, discrete.reverse_kl, discrete.jensen_shannon, discrete.total_variation)
    return (*(kind(p, q) for kind in kinds), discrete.wasserstein(p, q, torch.arange(2)))


def sentences_on_parting(found: list[Study]) -> tuple[str, ...]:
    blind = [one for one in found if not one.tells_how_far]
    said = [f"No distance without overlap: {names(blind)} are the same for two points 2 apart and 4 apart."]
    if densities := [one for one in found if one.needs == "densities"]:
        who = "them" if densities == blind else names(densities)
        said.append(
            f"For {who} two samples of one distribution are as unlike as can be: from samples, a discriminator has to estimate them."
        )
    flat, pulling = [one for one in found if one.slopes[1] < SLOPE], [one for one in found if SLOPE <= one.slopes[1] < STEEP]
    said.append(
        f"At {FAR:g} standard deviations {names(flat)} have slopes of {largest(flat):.1g} and less, and a generator is not told where "
        f"to go. {names(pulling)} still pull, with {min(one.slopes[1] for one in pulling):g} and more."
    )
    safe = [one for one in pulling if one.tells_how_far]
    said.append(f"So where distributions may not overlap at all, take {names(safe, 'or')}.")
    if steep := [one for one in found if one.slopes[1] >= STEEP]:
        said.append(f"{names(steep)} have slopes of {largest(steep):.0e} there: no learning rate is for both ends.")
    if short := [one for one in flat if one.tells_how_far]:
        said.append(f"{names(short)} tells distances of a few bandwidths, here {BANDWIDTH:g}: choose the bandwidth by the distances.")
    return tuple(said)


def names(found: list[Study], joined: str = "and") -> str:
    *most, last = (one.measure.name for one in found)
    return f"{', '.join(most)} {joined} {last}" if most else last


def largest(found: list[Study]) -> float:
    return max(one.slopes[1] for one in found)


def sentence_on_rarity() -> str:
    before, after = rarities(RARE[-2]), rarities(RARE[-1])
    return (
        f"Where nothing may be missed, lower KL(P||Q): it is {before[0]:.2f} if Q gives half of P a probability of {RARE[-2]:.0e}, and "
        f"{after[0]:g} if it gives none. KL(Q||P) does not notice ({before[1]:.6f} and {after[1]:.6f}), and Jensen-Shannon neither "
        f"({before[2]:.6f} and {after[2]:.6f})."
    )


PULLS = {
    "KL(P||Q)": ("KL, both ways", REAL),
    "Wasserstein-1": ("Wasserstein-1", "black"),
    "Jensen-Shannon": ("Jensen-Shannon", JUDGE),
    "squared MMD": ("squared MMD", QUIET),
}


def draw(figure: Figure, peaks: GaussianMixture, fits: list[Fit]) -> None:
    covering, parting, rarity = figure.subplots(1, 3)
    draw_fits(covering, peaks, [one for one in fits if one.best])
    draw_parting(parting)
    draw_rarity(rarity)


def draw_parting(axes: Axes) -> None:
    apart = line(0.1, FAR, 33)
    for measure in MEASURES:
        if measure.name in PULLS:
            name, colour = PULLS[measure.name]
            axes.plot(apart, [slope(measure, float(distance)) for distance in apart], color=colour, label=name)
    axes.set_yscale("log")
    label(axes, "What still pulls two Gaussians together", "distance of their means", "slope of the divergence", legend=True)


def draw_rarity(axes: Axes) -> None:
    rare = 10.0 ** line(-8, -1, 60)
    values = np.array([rarities(float(e)) for e in rare])
    for name, column, colour in (
        ("KL(P||Q)", 0, REAL),
        ("KL(Q||P)", 1, GENERATED),
        ("Wasserstein-1", 4, "black"),
        ("Jensen-Shannon", 2, JUDGE),
    ):
        axes.plot(rare, values[:, column], color=colour, label=name)
    axes.set_xscale("log")
    label(axes, "Where Q nearly misses half of P", "e, of P = (1/2, 1/2) and Q = (1 - e, e)", "value", legend=True)
