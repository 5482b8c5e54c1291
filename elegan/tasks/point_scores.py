"""Measuring points: how many peaks a model found and how well, and distances from other real points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elegan.errors import DataError, OptionError
from elegan.tasks.material import Asked

if TYPE_CHECKING:
    import torch

    from elegan.data import PointData
    from elegan.divergences.mixtures import GaussianMixture
    from elegan.engine.run import Run
    from elegan.metrics.report import Evaluation, Score
    from elegan.tasks.loading import Model

COUNT = 2500
"""Points that published comparisons measure (Lin et al., 2018, section 4.2)."""

FALLS_SHORT = 0.9
"""High quality below this part of what the distribution itself has is worth a word."""

NARROW, WIDE = 0.7, 1.3
"""Peaks beyond these parts of their real standard deviation are worth a word."""


def measure_points(run: Run, asked: Asked) -> Evaluation:
    """Points of seeds from 0 on, against as many real ones that the model did not learn from, where the distribution is known."""
    import torch

    from elegan.metrics.report import Evaluation
    from elegan.tasks.loading import load

    check(asked)
    model = load(run, model=asked.model, best=asked.best, device=asked.device)
    where, count = asked.against or str(run.config["data"]), asked.count or COUNT
    reference, split = real_points(where, asked.split, model)
    seeds = range(asked.seed * count, (asked.seed + 1) * count)
    samples, real = torch.from_numpy(model.sample(seeds)), torch.from_numpy(reference.points[:count])
    others = torch.from_numpy(reference.points[count : 2 * count])
    found = distances(samples, real, others if len(others) == len(real) else None)
    said: list[str] = []
    if reference.mixture is not None:
        peaks, said = of_peaks(samples, reference.mixture)
        found = [*peaks, *found]
    made: dict[str, Any] = {"source": str(run.path), "step": model.step, "count": count, "seeds": f"{seeds[0]}-{seeds[-1]}"}
    compared = {"data": reference.name, "split": split, "count": len(real), "fingerprint": reference.fingerprint}
    return Evaluation(
        tuple(found),
        tuple(said or ["Nothing is wrong that these numbers can show."]),
        {"samples": made, "reference": compared, "extractor": {"name": "points"}, "seed": asked.seed, "elegan": version()},
        model.notes,
    )


def version() -> str:
    import elegan

    return elegan.__version__


def check(asked: Asked) -> None:
    """OptionError for what only images have, or numbers that cannot be."""
    if asked.count is not None and asked.count < 50:
        raise OptionError(f"--count: got {asked.count}, expected at least 50 points.")
    for name in ("train", "weights", "perceptual"):
        if getattr(asked, name):
            raise OptionError(f"--{name}: this run makes points, which no network has to judge. Leave it out.")
    if asked.features != "auto":
        raise OptionError(f"--features {asked.features}: this run makes points, which no network has to judge. Leave it out.")


def real_points(where: str, split: str, model: Model) -> tuple[PointData, str]:
    """The test split where there is one; DataError for points that are not here, or have other axes than the model's."""
    from elegan.data import open_points
    from elegan.data.points import has_splits

    split = split or ("test" if has_splits(where) else "train")
    found = open_points(where, split)
    if found is None:
        raise DataError(f"{where} holds no points to compare with. Name some with --against: ring, grid, or a .csv or .npy file.")
    if len(found.spec.axes) != len(model.spec.axes):
        raise DataError(
            f"{where} has points with {len(found.spec.axes)} axes, the run makes some with {len(model.spec.axes)}. Name others."
        )
    return found, split


def distances(samples: torch.Tensor, real: torch.Tensor, others: torch.Tensor | None) -> list[Score]:
    """others: as many more real points; what they score stands beside."""
    from elegan.divergences.samples import energy_distance, sliced_wasserstein
    from elegan.metrics.report import Score

    scores = []
    for name, measure in (("sliced Wasserstein-1", sliced_wasserstein), ("energy distance", energy_distance)):
        found = measure(samples, real)
        by_real = None if others is None else measure(others, real).value
        scores.append(Score(name, found.value, found.low, found.high, by_real, "lower"))
    return scores


def of_peaks(samples: torch.Tensor, mixture: GaussianMixture) -> tuple[list[Score], list[str]]:
    """By the rule of published comparisons: a point is of high quality within 3 standard deviations of a peak."""
    from elegan.metrics.modes import quality
    from elegan.metrics.report import Score
    from elegan.tasks.scores import share_score

    found = quality(samples, mixture)
    scores = [
        Score("modes", found.modes, real=found.total, better="higher"),
        share_score("high quality", found.high_quality, found.n, found.ceiling),
    ]
    if found.kl is not None and found.jsd is not None:
        scores += [Score("KL of modes", found.kl, real=found.floor, better="lower"), Score("JSD of modes", found.jsd, better="lower")]
    ratios = found.std_ratios[~found.std_ratios.isnan()]
    said = []
    if found.modes < found.total:
        said.append(f"Lost modes: {found.total - found.modes} of {found.total} peaks have no point within 3 standard deviations.")
    if found.high_quality < FALLS_SHORT * found.ceiling:
        stray, own = f"{1 - found.high_quality:.1%}", f"{1 - found.ceiling:.1%}"
        said.append(f"Between the peaks: {stray} of the points are near none, of the distribution's own {own}.")
    if len(ratios):
        narrowest, widest = float(ratios.min()), float(ratios.max())
        scores += [Score("narrowest peak", narrowest, real=1.0, better="one"), Score("widest peak", widest, real=1.0, better="one")]
        if narrowest < NARROW:
            said.append(f"Too narrow: a peak has {narrowest:.2f} of the standard deviation that it should have.")
        if widest > WIDE:
            said.append(f"Too wide: a peak has {widest:.2f} of the standard deviation that it should have.")
    return scores, said
