"""Which divergence covers all peaks and which seeks one: a Gaussian fitted to two peaks by each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import erf, exp, log, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch

from elegan.divergences import quadrature
from elegan.divergences.mixtures import GaussianMixture, around, on_a_line
from elegan.theory.demonstration import Table
from elegan.theory.drawing import GENERATED, JUDGE, QUIET, REAL, label, line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STD = 0.6
"""Of each of the two peaks."""

FITTED: dict[str, Callable[..., float]] = {
    "KL(p||q)": quadrature.kl,
    "KL(q||p)": quadrature.reverse_kl,
    "Jensen-Shannon": quadrature.jensen_shannon,
    "Wasserstein-1": quadrature.wasserstein,
}


@dataclass(frozen=True)
class Fit:
    """A Gaussian that no near one betters by this divergence. best: nor does any that another start led to."""

    divergence: str
    mean: float
    std: float
    value: float
    best: bool = False

    def covers(self, peaks: GaussianMixture) -> bool:
        return all(abs(float(peak) - self.mean) < 2 * self.std for peak in peaks.means)

    def sought(self, peaks: GaussianMixture) -> float | None:
        """The one peak that it keeps to, if it does."""
        near = [peak for peak in peaks.means[:, 0].tolist() if abs(peak - self.mean) < 2 * STD]
        return None if self.covers(peaks) or not near else float(near[0])

    def word(self, peaks: GaussianMixture) -> str:
        return "covers" if self.covers(peaks) else "seeks" if self.sought(peaks) is not None else "neither"

    def between(self, peaks: GaussianMixture) -> float:
        """Its mass where the peaks have next to nothing."""
        low, high = valley(peaks)
        return (erf((high - self.mean) / self.std / sqrt(2)) - erf((low - self.mean) / self.std / sqrt(2))) / 2


def valley(peaks: GaussianMixture) -> tuple[float, float]:
    """Two standard deviations inwards from each peak."""
    first, last = peaks.means[:, 0].tolist()
    return first + 2 * STD, last - 2 * STD


def fitted(peaks: GaussianMixture) -> list[Fit]:
    """The optima of each divergence, from several starts: on each peak, and over both."""
    found: list[Fit] = []
    for name in FITTED:
        optima = list(distinct(sorted((fit(name, peaks, *start) for start in starts(peaks)), key=lambda one: one.value)))
        found += [Fit(name, one.mean, one.std, one.value, one.value < optima[0].value + 1e-6) for one in optima]
    return found


def starts(peaks: GaussianMixture) -> list[tuple[float, float]]:
    places = peaks.means[:, 0].tolist()
    return [*((place, STD) for place in places), moments(peaks)]


def moments(peaks: GaussianMixture) -> tuple[float, float]:
    """Mean and standard deviation."""
    means = peaks.means[:, 0]
    mean = peaks.weights @ means
    return float(mean), sqrt(float(peaks.weights @ (means - mean).square()) + STD**2)


def fit(name: str, peaks: GaussianMixture, mean: float, std: float) -> Fit:
    """Downhill from this mean and standard deviation (Nelder and Mead, 1965)."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    def value(place: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        q = on_a_line([1], [float(place[0])], [exp(float(place[1]))])
        return FITTED[name](peaks.log_density, q.log_density, around(peaks, q))

    end = minimize(value, (mean, log(std)), method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9})
    return Fit(name, round(float(end.x[0]), 5) + 0.0, exp(float(end.x[1])), float(end.fun))  # -0.0 + 0.0 is 0.0


def distinct(fits: list[Fit]) -> Iterator[Fit]:
    """Each optimum once, however many starts led to it."""
    seen: list[Fit] = []
    for one in fits:
        if all(abs(one.mean - other.mean) + abs(one.std - other.std) > 0.01 for other in seen):
            seen.append(one)
            yield one


def two_peaks(share: float, apart: float) -> GaussianMixture:
    """p: `share` of it around -apart / 2, the rest around apart / 2."""
    return on_a_line([share, 1 - share], [-apart / 2, apart / 2], [STD, STD])


def table_of_fits(peaks: GaussianMixture, fits: list[Fit]) -> Table:
    low, high = valley(peaks)
    rows = [(one.divergence, one.best, one.mean, one.std, one.value, one.between(peaks), one.word(peaks)) for one in fits]
    columns = ("minimised", "global", "mean", "std", "value", f"mass in [{low:.1f}, {high:.1f}]", "it")
    return Table(columns, tuple(rows), "One Gaussian q fitted to p, which has two peaks; it covers what is within two of its std")


def sentences_on_fits(peaks: GaussianMixture, fits: list[Fit]) -> tuple[str, ...]:
    return tuple(said_of(one, peaks) for one in fits if one.best)


def said_of(one: Fit, peaks: GaussianMixture) -> str:
    low, high = peaks.cdf(torch.tensor(valley(peaks), dtype=torch.float64)).tolist()
    placed = f"mean {one.mean:.3f}, standard deviation {one.std:.3f}"
    if one.covers(peaks):
        return (
            f"{one.divergence} covers both ({placed}); {one.between(peaks):.1%} of its mass is between them, where p has {high - low:.1%}."
        )
    if (peak := one.sought(peaks)) is None:
        return f"{one.divergence} neither covers both nor keeps to one ({placed})."
    return f"{one.divergence} seeks: it takes the peak at {peak:g} ({placed}) and leaves the other."


STYLES = {"KL(p||q)": (REAL, "-"), "Wasserstein-1": ("black", "--"), "KL(q||p)": (GENERATED, "-"), "Jensen-Shannon": (JUDGE, "--")}


def draw_fits(axes: Axes, peaks: GaussianMixture, fits: list[Fit]) -> None:
    places = torch.from_numpy(line(float(peaks.means.min()) - 3, float(peaks.means.max()) + 3))
    axes.fill_between(places, peaks.density(places), color=QUIET, alpha=0.35, linewidth=0, label="p")
    for one in fits:
        density, (colour, style) = on_a_line([1], [one.mean], [one.std]).density(places), STYLES[one.divergence]
        axes.plot(places, density, color=colour, linestyle=style, label=f"{one.divergence}: {one.word(peaks)}")
    label(axes, "The Gaussian q that is nearest to p, by", "x", "density", legend=True)
