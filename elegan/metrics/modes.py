"""How many modes a model has found, and in which shares: classes, stacked digits, mixtures of Gaussians.

Divergences are those of the samples' shares from the reference's, in nats. A perfect sampler does not reach 0, for its n draws
are a sample too; what it reaches stands beside each number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elegan.divergences.discrete import jensen_shannon, kl
from elegan.divergences.mixtures import GaussianMixture, grid, ring
from elegan.errors import DataError, OptionError, nearest

Classes = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

HIGH_QUALITY = 3.0
"""A sample is of high quality if it lies within so many standard deviations of a mode (Lin et al., 2018, section 4.1)."""


@dataclass(frozen=True)
class Coverage:
    """Which classes n samples fall into.

    modes: how many of the reference's `total` classes have a sample. kl: reverse KL, of the samples' shares from the
    reference's; inf if a sample is of a class that the reference lacks. smallest: the smallest share of a class that it has.
    p_value: of the chi-square test that the samples have the reference's shares; it is not to be relied on where a class has
    fewer than 5 expected samples. expected_modes, floor: `modes` and `kl` of a perfect sampler, on average over its draws.
    """

    n: int
    modes: int
    total: int
    kl: float
    smallest: float
    p_value: float
    expected_modes: float
    floor: float

    def __str__(self) -> str:
        return (
            f"{self.modes} of {self.total} modes (a perfect sampler: {self.expected_modes:.1f}), KL {self.kl:.4f} (a perfect sampler: "
            f"{self.floor:.4f}), smallest share {self.smallest:.3%}, equal shares p = {self.p_value:.2g}, n = {self.n:,}"
        )


def labelled_coverage(found: Classes, num_classes: int, reference: Values | None = None) -> Coverage:
    """Coverage of classes, from the class (n,) that a classifier finds in each sample.

    reference: shares or counts (num_classes,) of real images; without it all classes are equally frequent. The floor of KL is
    (k - 1) / 2n for k classes; it holds where n is well above k. DataError for no samples, or for classes that are none.
    """
    found, shares = _classes(found, num_classes), _shares(reference, num_classes)
    counts, n, present = np.bincount(found, minlength=num_classes), len(found), shares > 0
    return Coverage(
        n=n,
        modes=int((counts[present] > 0).sum()),
        total=int(present.sum()),
        kl=of_shares(kl, counts / n, shares),
        smallest=float(counts[present].min() / n),
        p_value=chi_square(counts, shares),
        expected_modes=float((1 - (1 - shares) ** n).sum()),
        floor=(int(present.sum()) - 1) / (2 * n),
    )


def stacked_modes(digits: Classes) -> Classes:
    """Modes (n,) from 0 to 999 of stacked MNIST, from the digit (n, 3) that a classifier finds in each channel.

    DataError for another shape, or for what is no digit.
    """
    digits = np.asarray(digits)
    if digits.ndim != 2 or digits.shape[1] != 3:
        raise DataError(f"stacked digits are of the shape (n, 3), one of each channel, got {digits.shape}.")
    flat = _classes(digits.flatten(), 10)
    modes: Classes = flat.reshape(-1, 3) @ np.array([100, 10, 1])
    return modes


def of_shares(divergence: Callable[[Tensor, Tensor], float], p: Values, q: Values) -> float:
    return divergence(torch.from_numpy(p), torch.from_numpy(q))


def chi_square(counts: Classes, shares: Values) -> float:
    """The p-value of Pearson's test that `counts` (k,) are draws from `shares` (k,); 0 for a count where there is no share."""
    present = shares > 0
    if counts[~present].any():
        return 0.0
    expected = counts.sum() * shares[present]
    statistic, freedom = ((counts[present] - expected) ** 2 / expected).sum(), int(present.sum()) - 1
    return _upper_gamma(freedom / 2, statistic / 2) if freedom else 1.0


def _upper_gamma(shape: float, x: float) -> float:
    return float(torch.special.gammaincc(*torch.tensor([shape, x], dtype=torch.float64)))


def _classes(found: Classes, num_classes: int) -> Classes:
    found = np.asarray(found)
    if found.ndim != 1 or len(found) == 0 or found.dtype.kind not in "iu":
        raise DataError(f"classes are whole numbers of the shape (n,), n from 1, got {found.dtype} of shape {found.shape}.")
    if found.min() < 0 or found.max() >= num_classes:
        raise DataError(f"there are {num_classes} classes, from 0 to {num_classes - 1}; got numbers from {found.min()} to {found.max()}.")
    return found


def _shares(reference: Values | None, num_classes: int) -> Values:
    values = np.ones(num_classes) if reference is None else np.asarray(reference, np.float64)
    if values.shape != (num_classes,) or not np.isfinite(values).all() or (values < 0).any() or values.sum() == 0:
        raise DataError(f"the reference has a share or a count for each of {num_classes} classes, none negative and not all 0.")
    shares: Values = values / values.sum()
    return shares


@dataclass(frozen=True, eq=False)
class Quality:
    """How n points fit a mixture of `total` modes; of high quality are those within 3 standard deviations of a mode.

    modes: how many modes have such a point. high_quality: the share of such points; for the mixture itself it is `ceiling`, and
    above it samples are too narrow. kl: reverse KL, of the modes' shares of these points from equal ones, jsd: the
    Jensen-Shannon divergence of both; None without such points. floor: `kl` of the mixture itself, on average.
    std_ratios: (total,) float64, each mode's standard deviation over the mixture's, 1 for the mixture itself; nan below 2 points.
    """

    n: int
    modes: int
    total: int
    high_quality: float
    ceiling: float
    kl: float | None
    jsd: float | None
    floor: float | None
    std_ratios: Tensor

    def __str__(self) -> str:
        middle = float(self.std_ratios.nanmedian())
        said = f"{self.modes} of {self.total} modes, high quality {self.high_quality:.2%} (the mixture itself: {self.ceiling:.2%})"
        if self.kl is not None:
            said += f", KL {self.kl:.4f} (the mixture itself: {self.floor:.4f}), JSD {self.jsd:.4f}, spread {middle:.2f} of the mixture's"
        return f"{said}, n = {self.n:,}"


def quality(points: Tensor, mixture: GaussianMixture) -> Quality:
    """How points (n, d) fit a mixture of equally frequent peaks. DataError if they are of another shape, none, or not finite."""
    total, dimension = mixture.means.shape
    if points.dim() != 2 or points.shape[1] != dimension or len(points) == 0:
        raise DataError(f"the mixture has points of the shape (n, {dimension}), n from 1, got {tuple(points.shape)}.")
    if not points.isfinite().all():
        raise DataError(f"{int((~points.isfinite().all(1)).sum())} of {len(points)} points are not finite: the generator has diverged.")
    white = whitened(points, mixture)
    distances, modes = white.square().sum(2).min(0)
    good = distances < HIGH_QUALITY**2
    counts, equal, n = modes[good].bincount(minlength=total).numpy(), np.full(total, 1 / total), int(good.sum())
    return Quality(
        n=len(good),
        modes=int((counts > 0).sum()),
        total=total,
        high_quality=n / len(good),
        ceiling=ceiling(dimension),
        kl=of_shares(kl, counts / n, equal) if n else None,
        jsd=of_shares(jensen_shannon, counts / n, equal) if n else None,
        floor=(total - 1) / (2 * n) if n else None,
        std_ratios=torch.stack([std_ratio(white[mode, good & (modes == mode)]) for mode in range(total)]),
    )


def whitened(points: Tensor, mixture: GaussianMixture) -> Tensor:
    """(k, n, d) float64: where points (n, d) are, seen from each peak and in its standard deviations."""
    apart = points.detach().double().cpu() - mixture.means.unsqueeze(1)
    white: Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky(mixture.covariances), apart.mT, upper=False).mT
    return white


def ceiling(dimension: int) -> float:
    """The share of a Gaussian's own points within 3 standard deviations: 1 - exp(-4.5) in the plane."""
    return 1 - _upper_gamma(dimension / 2, HIGH_QUALITY**2 / 2)


def std_ratio(white: Tensor) -> Tensor:
    """The standard deviation of a peak's points (n, d) of high quality, over that of the peak's own such points."""
    if len(white) < 2:
        return torch.tensor(torch.nan, dtype=torch.float64)
    dimension = white.shape[1]
    cut = (1 - _upper_gamma(dimension / 2 + 1, HIGH_QUALITY**2 / 2)) / ceiling(dimension)  # what is left of the variance within the limit
    ratio: Tensor = (white.var(0).mean() / cut).sqrt()
    return ratio


MIXTURES: dict[str, GaussianMixture] = {
    "pacgan_ring": ring(),  # Lin et al., 2018
    "pacgan_grid": grid(),
    "unrolled_ring": ring(radius=2.0, std=0.02),  # Metz et al., 2017
    "wgan_gp_ring": ring(radius=2 / 1.414, std=0.02 / 1.414),  # Gulrajani et al., 2017: toy data are divided by these numbers
    "wgan_gp_grid": grid(spacing=2 / 2.828, std=0.05 / 2.828),
}
"""Those of published comparisons. High quality and coverage do not depend on the scale."""


def mixture(name: str) -> GaussianMixture:
    """The published mixture of this name; OptionError with the nearest name if there is none."""
    if name not in MIXTURES:
        raise OptionError(f"mixture: got {name!r}. {nearest(name, MIXTURES)}")
    return MIXTURES[name]
