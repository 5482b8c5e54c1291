"""How sure a number is: intervals around statistics of samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from statistics import NormalDist

import torch
from torch import Tensor

from elegan.errors import DataError, OptionError


@dataclass(frozen=True)
class Interval:
    """A value, and bounds that hold what it estimates in a share of `level` of repetitions with fresh samples."""

    value: float
    low: float
    high: float
    level: float


def normal_interval(value: float, standard_error: float, level: float = 0.95, least: float = float("-inf")) -> Interval:
    """The interval of a value whose error is normal; `least`: what the value cannot be below. OptionError unless 0 < level < 1."""
    reach = NormalDist().inv_cdf((1 + _share(level)) / 2) * standard_error
    return Interval(value, max(least, value - reach), value + reach, level)


def mean_of(values: Tensor) -> float:
    return values.double().mean().item()


def bootstrap(
    values: Tensor, statistic: Callable[[Tensor], float] = mean_of, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The percentile interval of `statistic` over resamples of the rows of `values` (n, ...) (Efron, 1979).

    Each resample has n rows, drawn with replacement by the seed alone. For a statistic that needs more than one tensor, give
    values = torch.arange(n) and a function of indices.

    It is for statistics that hardly depend on n, such as means. Resampling repeats samples, and so adds to a bias of order
    1/n the same bias once more: Fréchet distances rise by as much as they are too high already, and intervals miss them.
    For these see `frechet.frechet_interval`; for distances to nearest neighbours, which a repeated sample finds at 0, draw
    fewer samples without replacement.

    DataError for fewer than 2 rows, or where a statistic is not finite. OptionError for a level outside (0, 1) or fewer
    than 100 resamples, whose percentiles say nothing.
    """
    count = len(values)
    if count < 2:
        raise DataError(f"bootstrap: got {count} samples; at least 2 are needed. Give more.")
    if resamples < 100:
        raise OptionError(f"resamples: got {resamples}; percentiles need at least 100.")
    tail = (1 - _share(level)) / 2
    generator = torch.Generator().manual_seed(seed)
    draws = [statistic(values[torch.randint(count, (count,), generator=generator).to(values.device)]) for _ in range(resamples)]
    value = statistic(values)
    if not all(map(isfinite, [value, *draws])):
        raise DataError("bootstrap: the statistic is NaN or infinite. Look at the samples that it is taken of.")
    low, high = torch.tensor(draws, dtype=torch.float64).quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(value, low, high, level)


def _share(level: float) -> float:
    if not 0 < level < 1:
        raise OptionError(f"level: got {level}; it is a share between 0 and 1, such as 0.95.")
    return level
