"""Whether samples copy training images. Every number stands beside that of real images which the model has not seen.

There are two kinds of evidence. Closeness: samples are nearer to training images than held-out images are. So are samples
that are narrow or blurred. Membership: samples are nearer to training images than to held-out images; copying does that.

Held-out images may be of another kind than training images, as MNIST's are of other writers. Then honest samples, which are like
training images, are nearer to these too. So some of the training images take the samples' place in the same comparison with the
rest: what they show is no evidence.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from math import copysign, exp, inf, lgamma, sqrt

import torch
from torch import Tensor

from elegan.errors import DataError
from elegan.metrics.neighbours import checked, nearest

EVIDENT = 3.0
"""Evidence is what lies more than so many standard errors from chance: there are several comparisons, and errors are estimates."""

CLOSEST = 0.01
"""What is closer than this share of held-out images, or than 5 of them, counts as close."""


@dataclass(frozen=True)
class Membership:
    """How well a score tells training images from held-out ones.

    auc: the area under the ROC curve; 0.5 if it does not tell them. low, high: a 95% interval. deviations: from 0.5, in
    standard errors of chance. caught: the share of training images whose score is higher than that of all but the first few
    held-out images. false_alarms: the share that this would be by chance. caught_deviations: the chance of so many, as that of
    so many standard errors of a normal distribution.
    """

    auc: float
    standard_error: float
    low: float
    high: float
    deviations: float
    caught: float
    false_alarms: float
    caught_deviations: float


def membership(train: Tensor, held_out: Tensor) -> Membership:
    """The membership inference that takes the images with the higher scores for training images; scores (m,) and (n,).

    Equal scores count half. The standard error is that of Hanley and McNeil (1982); the interval holds all areas within 1.96 of
    their own standard errors of the one found, so it has a length at 0 and 1 too. A few images that are certainly recognised hardly
    move the area: they are counted apart, at a low rate of false alarms (Carlini et al., 2022). DataError for no scores, or NaN.
    """
    train, held_out = train.detach().double().flatten(), held_out.detach().double().flatten()
    if min(len(train), len(held_out)) == 0 or train.isnan().any() or held_out.isnan().any():
        raise DataError("membership is inferred from scores of training and of held-out images, at least one each, and none NaN.")
    m, n, few = len(train), len(held_out), first_few(len(held_out))
    auc, caught = wins(train, held_out) / (m * n), int((train > held_out.sort(descending=True).values[few - 1]).sum())
    low, high = (_limit(auc, end, m, n) for end in (0.0, 1.0))
    tested = mann_whitney(train, held_out), deviations_of_caught(caught, few, m, n)
    return Membership(auc, auc_error(auc, m, n), low, high, tested[0], caught / m, few / (n + 1), tested[1])


def first_few(held_out: int) -> int:
    """How many held-out images set the limit of what is close."""
    return min(held_out, max(5, round(CLOSEST * held_out)))


def deviations_of_caught(caught: int, few: int, m: int, n: int) -> float:
    """How unlikely it is that of m + n exchangeable scores so many of the m are higher than the n's few-th.

    That is so if of the caught + few - 1 highest of all less than `few` are of the n: a hypergeometric probability.
    """
    first = caught + few - 1
    logs = [_log_choose(n, i) + _log_choose(m, first - i) - _log_choose(m + n, first) for i in range(few) if 0 <= first - i <= m]
    chance = min(1 - 1e-15, max(1e-300, sum(map(exp, logs))))
    return -float(torch.special.ndtri(torch.tensor(chance, dtype=torch.float64)))


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def auc_error(auc: float, m: int, n: int) -> float:
    """The standard error of an area under the ROC curve, exact for exponential scores (Hanley and McNeil, 1982, equation 1)."""
    above, below = auc / (2 - auc) - auc**2, 2 * auc**2 / (1 + auc) - auc**2
    return sqrt(max(0.0, auc * (1 - auc) + (m - 1) * above + (n - 1) * below) / (m * n))


def _limit(auc: float, end: float, m: int, n: int) -> float:
    """The area farthest from `auc` towards `end` that is compatible with it, by bisection."""
    inside, outside = auc, end
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if abs(auc - middle) <= 1.96 * auc_error(middle, m, n) else (inside, middle)
    return inside


def wins(x: Tensor, y: Tensor) -> float:
    """In how many of the m n pairs x is the larger; ties count half. This is Mann and Whitney's U."""
    y = y.sort().values
    below, not_above = (torch.searchsorted(y, x.contiguous(), side=side).double().sum() for side in ("left", "right"))
    return float(below + not_above) / 2


def mann_whitney(x: Tensor, y: Tensor) -> float:
    """U of x (m,) and y (n,) less its mean, in standard deviations of chance, with the correction for ties; 0 if all are equal."""
    m, n = len(x), len(y)
    ties = torch.unique(torch.cat([x, y]), return_counts=True)[1].double()
    repeated = float((ties**3 - ties).sum()) / ((m + n) * max(1, m + n - 1))
    return deviations(wins(x, y) - m * n / 2, sqrt(max(0.0, m * n / 12 * (m + n + 1 - repeated))))


def deviations(difference: float, error: float) -> float:
    """The difference in standard errors; 0 if there is none, whatever the error."""
    if difference == 0 or error > 0:
        return difference / (error or 1.0)
    return copysign(inf, difference)


def c_t(train: Tensor, held_out: Tensor, generated: Tensor, cells: int = 3, seed: int = 0) -> float | None:
    """C_T (Meehan et al., 2020, section 3): far below 0 if samples are nearer to training images than held-out images are, far
    above if they are farther.

    Features are of shape (n, d). k-means divides the space into cells; in each a Mann-Whitney test compares the distances to
    the nearest training image of the cell, and the deviations are averaged with the cells' shares of held-out images as weights.
    As in the evaluation of Stein et al. (2023) there are 3 cells in 64 principal components of the training images, and cells
    with no more than 20 samples are left out. None if all are.
    """
    projected, labels = _cells((train, held_out, generated), cells, seed)
    weights, found = 0, 0.0
    for cell in range(cells):
        ours, real, samples = (features[label == cell] for features, label in zip(projected, labels, strict=True))
        if len(samples) > 20 and min(len(ours), len(real)) > 0:
            weights += len(real)
            found += len(real) * mann_whitney(*(nearest(features, ours, 1).squares[:, 0] for features in (samples, real)))
    return found / weights if weights else None


def _cells(sets: tuple[Tensor, ...], cells: int, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Each set of features in the first 64 principal components of the first set, and its points' cells (n,) by k-means."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    arrays = [features.cpu().numpy() for features in sets]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that features are constant, or fewer than the cells
        if arrays[0].shape[1] > 64:
            model = PCA(min(64, len(arrays[0])), random_state=seed).fit(arrays[0])
            arrays = [model.transform(array) for array in arrays]
        arrays = [array.astype("float64") for array in arrays]
        found = KMeans(min(cells, len(arrays[0])), n_init=10, random_state=seed).fit(arrays[0])
    return [torch.from_numpy(array) for array in arrays], [torch.from_numpy(found.predict(array)) for array in arrays]


def nearer_to_train(train: Tensor, held_out: Tensor, generated: Tensor, seed: int = 0) -> tuple[float, float]:
    """The share of samples whose nearest real image is a training image, not a held-out one, and its standard error by chance.

    Distances to the nearest of more images are smaller, so the larger set is cut at random to the size of the smaller one. Then
    a model that copies nothing has 0.5. The error is that of which half of the images was trained on, given the samples: it is
    large where many samples share a nearest image, as those of a collapsed model do. Equal distances count half.
    """
    size = min(len(train), len(held_out))
    generator = torch.Generator().manual_seed(seed)
    train, held_out = (features[torch.randperm(len(features), generator=generator)[:size]] for features in (train, held_out))
    to_train, to_held_out = nearest(generated, train, 1), nearest(generated, held_out, 1)
    nearer = ((to_held_out.squares[:, 0] - to_train.squares[:, 0]).sign() + 1) / 2
    loads = torch.cat([to_train.indices[:, 0].bincount(nearer, size), to_held_out.indices[:, 0].bincount(1 - nearer, size)]) / len(nearer)
    return float(nearer.mean()), sqrt(float((loads - loads.mean()).square().sum()) / 4 * len(loads) / (len(loads) - 1))


@dataclass(frozen=True, eq=False)
class Closeness:
    """How close samples are to training images, beside held-out images.

    nearest_train: (n,) int64, the training image nearest to each sample. relative: (n,) float64, the distance to it over its own
    distance to its nearest other training image. authentic: the share of samples for which that is above 1 (Alaa et al., 2022);
    authentic_held_out is that of held-out images, and authentic_error the standard error of their difference by chance.
    distance_ratio: the median distance of samples to training images over that of held-out images; None if that is 0.
    closest: the share of samples as close to training images as the first few held-out images, closest_expected by chance.
    """

    nearest_train: Tensor
    relative: Tensor
    authentic: float
    authentic_held_out: float
    authentic_error: float
    distance_ratio: float | None
    closest: float
    closest_expected: float


def closeness(train: Tensor, held_out: Tensor, generated: Tensor) -> Closeness:
    """Compares the distances of samples and of held-out images to the nearest training image; features (n, d)."""
    found, found_real = nearest(generated, train, 1), nearest(held_out, train, 1)
    distances, real = found.distances[:, 0], found_real.distances[:, 0]
    own = _own_distances(train, found.indices[:, 0])
    authentic, authentic_real = (distances > own).double(), (real > _own_distances(train, found_real.indices[:, 0])).double()
    pooled = float(torch.cat([authentic, authentic_real]).mean())
    median, limit = float(real.quantile(0.5)), real.sort().values[first_few(len(real)) - 1]
    return Closeness(
        nearest_train=found.indices[:, 0],
        relative=(distances / own).nan_to_num(nan=0.0, posinf=inf),  # a copy is as close as can be, of a duplicate too
        authentic=float(authentic.mean()),
        authentic_held_out=float(authentic_real.mean()),
        authentic_error=sqrt(pooled * (1 - pooled) * (1 / len(distances) + 1 / len(real))),
        distance_ratio=float(distances.quantile(0.5)) / median if median > 0 else None,
        closest=float((distances <= limit).double().mean()),
        closest_expected=int((real <= limit).sum()) / (len(real) + 1),
    )


def _own_distances(train: Tensor, chosen: Tensor) -> Tensor:
    """(n,): the distance of train[chosen[i]] to its nearest other training image: the second distance, for the first is its own 0."""
    distinct, back = torch.unique(chosen, return_inverse=True)
    return nearest(train[distinct], train, 2).distances[:, 1][back]


@dataclass(frozen=True, eq=False)
class MemorisationReport:
    """What `memorisation` found, with the numbers of images it is based on.

    closeness: see `Closeness`. c_t: see `c_t`. nearer, nearer_error: see `nearer_to_train`. by_distance: membership by the
    distance to the nearest sample. by_discriminator: by its logits, if they were given. control: the same of training images in
    the samples' place, against the rest of them; None below 4.
    """

    train: int
    held_out: int
    generated: int
    closeness: Closeness
    c_t: float | None
    nearer: float
    nearer_error: float
    by_distance: Membership
    by_discriminator: Membership | None
    control: MemorisationReport | None = None

    @property
    def copies(self) -> bool:
        """Whether samples evidently copy training images, more than the control does."""
        mine, theirs = self._membership(), self.control._membership() if self.control else (0.0, 0.0, 0.0)
        return any(found - max(0.0, usual) > EVIDENT for found, usual in zip(mine, theirs, strict=True))

    @property
    def close(self) -> bool:
        """Whether samples are evidently closer to training images than held-out images are, and than the control is."""
        mine, theirs = self._closeness(), self.control._closeness() if self.control else (0.0, 0.0)
        return any(found - min(0.0, usual) < -EVIDENT for found, usual in zip(mine, theirs, strict=True))

    def _membership(self) -> tuple[float, float, float]:
        """Standard errors of chance above what chance gives."""
        return deviations(self.nearer - 0.5, self.nearer_error), self.by_distance.deviations, self.by_distance.caught_deviations

    def _closeness(self) -> tuple[float, float]:
        found = self.closeness
        return self.c_t or 0.0, deviations(found.authentic - found.authentic_held_out, found.authentic_error)

    @property
    def verdict(self) -> str:
        """The evidence in a sentence."""
        if self.copies:
            return f"Samples copy training images: {self._evidence()}."
        if self.close:
            return f"Samples are close to training images, but as close to held-out ones, so narrow rather than copied: {self._evidence()}."
        least = min(1.0, 0.5 + EVIDENT * auc_error(0.5, self.train, self.held_out))
        numbers = f"{self.train:,} training and {self.held_out:,} held-out images"
        return f"No copying is seen: {self._evidence()}; with {numbers} an AUC below {least:.3f} would not be evidence."

    def _evidence(self) -> str:
        control = "" if self.control is None else f", of training images that take their place {self.control.nearer:.1%}"
        said = (
            f"{self.closeness.authentic:.1%} of samples are authentic, of held-out images {self.closeness.authentic_held_out:.1%}, "
            f"{self.nearer:.1%} are nearer to a training than to a held-out image (by chance 50% ± {2 * self.nearer_error:.1%}{control}), "
            f"and by distance training images are told from held-out ones with {_shown(self.by_distance)}"
        )
        return said if self.by_discriminator is None else f"{said}, by the discriminator with {_shown(self.by_discriminator)}"


def _shown(found: Membership) -> str:
    caught = f"{found.caught:.1%} of them at {found.false_alarms:.1%} false alarms"
    return f"an AUC of {found.auc:.3f} ({found.low:.3f} to {found.high:.3f}), {caught}"


def memorisation(
    train: Tensor, held_out: Tensor, generated: Tensor, logits: tuple[Tensor, Tensor] | None = None, seed: int = 0
) -> MemorisationReport:
    """Compares samples with training images, beside held-out images of the same kind; all features are of shape (n, d).

    logits: the discriminator's, of training and of held-out images. The sets may be of any sizes: samples and held-out
    images are measured against the same training images, training and held-out images against the same samples, and only in
    `nearer_to_train` two sets are measured against, of which it takes equally many. Nothing here proves that no image is copied.
    DataError for features that are not finite or of other widths, and below 2 training or held-out images.
    """
    train, held_out, generated = checked(train), checked(held_out), checked(generated)
    if min(len(train), len(held_out)) < 2:
        raise DataError(f"copying is told from 2 training and 2 held-out images up, got {len(train)} and {len(held_out)}.")
    found = _compared(train, held_out, generated, logits, seed)
    if len(train) < 4:
        return found
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    place = order[: min(len(generated), len(train) // 2)]
    rest = torch.ones(len(train), dtype=torch.bool).index_fill(0, place, False)
    return replace(found, control=_compared(train[rest], held_out, train[place], None, seed))


def _compared(train: Tensor, held_out: Tensor, generated: Tensor, logits: tuple[Tensor, Tensor] | None, seed: int) -> MemorisationReport:
    nearer, error = nearer_to_train(train, held_out, generated, seed)
    return MemorisationReport(
        train=len(train),
        held_out=len(held_out),
        generated=len(generated),
        closeness=closeness(train, held_out, generated),
        c_t=c_t(train, held_out, generated, seed=seed),
        nearer=nearer,
        nearer_error=error,
        by_distance=membership(*(-nearest(features, generated, 1).distances[:, 0] for features in (train, held_out))),
        by_discriminator=None if logits is None else membership(*logits),
    )
