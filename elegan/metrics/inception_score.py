"""The Inception Score of a classifier's predictions (Salimans et al., 2016): sure of each image, and different over images.

It never sees real images, so it notices neither copies nor what is lost within a class. With another classifier than the
2015 Inception network it is another number.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import exp

import torch
from torch import Tensor

from elegan.errors import DataError, OptionError
from elegan.metrics.intervals import Interval, bootstrap


@dataclass(frozen=True)
class InceptionScore:
    """Mean and standard deviation (of a population, as published) of the scores of splits, and an interval around the mean.

    The interval says where the mean over many sets of as many samples, split as often, lies. A split of n samples in which
    c classes are predicted surely scores too low by a share of about (c - 1) / 2n; that bias is in the mean and stays in it.
    """

    mean: float
    standard_deviation: float
    interval: Interval
    splits: int


def inception_score(logits: Tensor, splits: int = 10, seed: int = 0) -> InceptionScore:
    """exp E KL(p(y|x) || E p(y|x)) from logits (n, classes); probabilities may come as their logarithms, -inf for 0.

    Samples are shuffled by the seed, as sets are often sorted by class, and then divided into `splits` parts one after
    another. A score lies from 1 to the number of classes. All is in float64.

    DataError for NaN, for infinity, or a row without any finite logit. OptionError unless there are 2 samples for each split.
    """
    log = _log_probabilities(logits)
    count = len(log)
    if not 1 <= splits <= count // 2:
        raise OptionError(f"splits: got {splits} for {count} samples; each split needs at least 2. Take fewer splits or give more images.")
    log = log[torch.randperm(count, generator=torch.Generator().manual_seed(seed))]
    bounds = [i * count // splits for i in range(splits + 1)]  # as published: sizes differ by one at most
    divergences = [_divergences(log[a:b]) for a, b in pairwise(bounds)]
    scores = torch.stack([split.mean().exp() for split in divergences])
    mean = scores.mean().item()
    return InceptionScore(mean, scores.std(correction=0).item(), _interval(mean, torch.cat(divergences), seed), splits)


def _log_probabilities(logits: Tensor) -> Tensor:
    """(n, classes) in float64 on the CPU."""
    if logits.dim() != 2 or logits.shape[1] == 0 or not logits.is_floating_point():
        raise DataError(f"logits: got {logits.dtype} of shape {tuple(logits.shape)}; expected (n, classes) floating-point numbers.")
    log = logits.detach().cpu().double().log_softmax(1)
    if log.isnan().any():  # so is each row with NaN, with +inf, or with -inf alone
        raise DataError(f"logits: {int(log.isnan().any(1).sum())} of {len(log)} samples have no probabilities: NaN or infinity.")
    return log


def _divergences(log: Tensor) -> Tensor:
    """(n,): KL(p(y|x) || mean p) of each sample, as cross-entropy minus entropy: 0 log 0 is 0 in both."""
    probabilities = log.exp()
    mean = probabilities.mean(0)
    cross = -torch.special.xlogy(probabilities, mean).sum(1)
    divergences: Tensor = cross - torch.special.entr(probabilities).sum(1)
    return divergences.clamp(min=0)


def _interval(score: float, divergences: Tensor, seed: int) -> Interval:
    """A sample's part in the logarithm of the score is its divergence; resampling those keeps each mean p, and so the bias."""
    found = bootstrap(divergences, seed=seed)
    return Interval(score, score * exp(found.low - found.value), score * exp(found.high - found.value), found.level)
