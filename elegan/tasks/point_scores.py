"""Measuring points: how many modes a model found and how well, and distances from other real points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elegan.errors import DataError, OptionError
from elegan.tasks.material import Asked, check_numbers

if TYPE_CHECKING:
    import torch

    from elegan.data import PointData
    from elegan.divergences.mixtures import GaussianMixture
    from elegan.engine.run import Run
    from elegan.metrics.modes import Quality
    from elegan.metrics.report import Evaluation, Score
    from elegan.tasks.model import Model

COUNT = 2500
"""Points that published comparisons measure (Lin et al., 2018, section 4.2)."""

MOST_COMPARED = 5000
"""Distances are of so many points at most: their cost goes with the square."""

FALLS_SHORT = 0.9
"""High quality below this part of what the distribution itself has is worth a word."""

OTHERS = 2
"""Seeds from here on draw points that are in no split."""

UNEQUAL = 0.02
"""A KL of the modes' shares by so much above a perfect sampler's is worth a word, if it is three times that too."""

NARROW, WIDE, FEWEST = 0.7, 1.3, 50
"""Modes beyond these parts of their real standard deviation are worth a word, where each has so many points on average."""


def measure_points(run: Run, asked: Asked) -> Evaluation:
    """Points of seeds from 0 on, against as many real ones that the model did not learn from, where the distribution is known."""
    import torch

    import elegan
    from elegan.metrics.report import Evaluation
    from elegan.tasks.loading import load
    from elegan.tasks.scores import drawn

    check(asked)
    model = load(run, model=asked.model, best=asked.best, device=asked.device)
    where, count = asked.against or str(run.config["data"]), asked.count or COUNT
    reference, split = real_points(where, asked.split, model)
    seeds = range(asked.seed * count, (asked.seed + 1) * count)
    samples, compared = torch.from_numpy(model.sample(seeds)), min(count, MOST_COMPARED)
    rows = drawn(len(reference), 2 * compared, asked.seed)
    real, others = (torch.from_numpy(reference.points[part.numpy()]) for part in (rows[:compared], rows[compared:]))
    found, said = distances(*(in_scales(points, model) for points in (samples[:compared], real, others)))
    if reference.mixture is not None:
        scores, more = of_modes(samples, reference.mixture, asked.seed)
        found, said = [*scores, *found], [*more, *said]
    made: dict[str, Any] = {"source": str(run.path), "step": model.step, "count": count, "seeds": f"{seeds[0]}-{seeds[-1]}"}
    told = {"data": reference.name, "split": split, "count": len(real), "fingerprint": reference.fingerprint}
    return Evaluation(
        tuple(found),
        tuple(said or ["Nothing is wrong that these numbers can show."]),
        {
            "samples": made,
            "reference": told,
            "extractor": {"name": "points"},
            "distances": f"each axis in its scale, {compared:,} points",
            "seed": asked.seed,
            "elegan": elegan.__version__,
        },
        (*model.notes, *about(run, reference)),
    )


def about(run: Run, reference: PointData) -> list[str]:
    from elegan.data.points import has_splits

    learned = run.record["data"]
    if reference.fingerprint == learned["fingerprint"]:
        return ["The real points are those that the model learned from: name others with --against, or copies would go unnoticed."]
    if reference.where == learned["where"] and not has_splits(reference.where):
        return [f"{reference.where} is not what it was when this run was trained."]
    return []


def in_scales(points: torch.Tensor, model: Model) -> torch.Tensor:
    """(n, d): as the networks see them, so that no axis counts for more because of its unit."""
    return model.spec.seen(points).flatten(1).double()


def check(asked: Asked) -> None:
    """OptionError for what only images have, or numbers that cannot be."""
    check_numbers(asked, least=50)
    for name in ("train", "weights", "perceptual"):
        if getattr(asked, name):
            raise OptionError(f"--{name}: this run makes points, which no network has to judge. Leave it out.")
    if asked.features != "auto":
        raise OptionError(f"--features {asked.features}: this run makes points, which no network has to judge. Leave it out.")


def real_points(where: str, split: str, model: Model) -> tuple[PointData, str]:
    """The test split where there is one; DataError for points that are not here, or have other axes than the model's."""
    from elegan.data.points import has_splits, open_points

    split = split or ("test" if has_splits(where) else "train")
    found = open_points(where, split)
    if found is None:
        raise DataError(f"{where} holds no points to compare with. Name some with --against: ring, grid, or a .csv or .npy file.")
    if len(found.spec.axes) != len(model.spec.axes):
        raise DataError(
            f"{where} has points with {len(found.spec.axes)} axes, the run makes some with {len(model.spec.axes)}. Name others."
        )
    return found, split


def distances(samples: torch.Tensor, real: torch.Tensor, others: torch.Tensor) -> tuple[list[Score], list[str]]:
    """others: more real points; what they score stands beside, if they are as many."""
    from elegan.divergences.samples import energy_distance, sliced_wasserstein
    from elegan.metrics.report import Score

    scores, said = [], []
    for name, measure in (("sliced Wasserstein-1", sliced_wasserstein), ("energy distance", energy_distance)):
        found, usual = measure(samples, real), measure(others, real) if len(others) == len(real) else None
        scores.append(Score(name, found.value, found.low, found.high, usual.value if usual else None, "lower"))
        if usual and found.low is not None and usual.high is not None and found.low > usual.high:
            said.append(f"Unlike the real points: {name} {found.value:.3g}, of other real points {usual.value:.3g}.")
    return scores, said


def of_modes(samples: torch.Tensor, mixture: GaussianMixture, seed: int) -> tuple[list[Score], list[str]]:
    """By the rule of published comparisons: a point is of high quality within 3 standard deviations of a mode. Beside it, what as
    many points of the distribution itself have."""
    from elegan.metrics.modes import quality
    from elegan.metrics.report import Score
    from elegan.tasks.scores import share_score

    found, own = quality(samples, mixture), quality(mixture.sample(len(samples), OTHERS + seed), mixture)
    scores = [
        Score("modes", found.modes, real=own.modes, better="higher"),
        share_score("high quality", found.high_quality, found.n, found.ceiling, ""),  # above the distribution's own is too narrow
    ]
    if found.kl is not None and found.jsd is not None:
        scores += [
            Score("KL of modes", found.kl, real=found.floor, better="lower"),
            Score("JSD of modes", found.jsd, real=own.jsd, better="lower"),
        ]
    for name, pick in (("narrowest mode", min), ("widest mode", max)):
        if ratios := known(found):
            scores.append(Score(name, pick(ratios), real=pick(known(own), default=1.0), better="one"))
    return scores, faults(found, own)


def known(found: Quality) -> list[float]:
    """The spreads of modes that have one."""
    ratios: list[float] = found.std_ratios[~found.std_ratios.isnan()].tolist()
    return ratios


def faults(found: Quality, own: Quality) -> list[str]:
    said = []
    if found.modes < own.modes:
        said.append(f"Lost modes: {found.total - found.modes} of {found.total} have no point within 3 standard deviations.")
    if found.high_quality < FALLS_SHORT * own.high_quality:
        stray, usual = f"{1 - found.high_quality:.1%}", f"{1 - own.high_quality:.1%}"
        said.append(f"Between the modes: {stray} of the points are near none, of the distribution's own {usual}.")
    if found.kl is not None and found.floor is not None and found.kl > max(3 * found.floor, found.floor + UNEQUAL):
        said.append(f"Unequal modes: a KL of {found.kl:.3f} from equal shares, of a perfect sampler's points {found.floor:.3f}.")
    ratios = known(found) if found.n >= FEWEST * found.total else []
    if ratios and min(ratios) < NARROW:
        said.append(f"Too narrow: a mode has {min(ratios):.2f} of the standard deviation that it should have.")
    if ratios and max(ratios) > WIDE:
        said.append(f"Too wide: a mode has {max(ratios):.2f} of the standard deviation that it should have.")
    return said
