"""The kernel distance of two sets of features: the unbiased squared maximum mean discrepancy under a cubic polynomial kernel.

With features of the 2015 Inception network it is the KID (Binkowski et al., 2018). Unlike the Fréchet distance it takes no
shape of distribution for granted and has no bias at any count, so it can be below 0. It is often printed times 1000; here it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot

import torch
from torch import Tensor

from elegan.errors import OptionError
from elegan.metrics.frechet import check_dimensions, checked

BLOCK = 1024
"""Kernel values are made in squares of so many rows and columns."""


@dataclass(frozen=True)
class KernelDistance:
    """The mean of the estimates over subsets, their standard deviation (of a population, as published), and a standard error.

    The standard deviation says how much subsets of this size differ, so how far one estimate from so few samples may be
    off. The standard error is that of the mean, as an estimate of the distance of the distributions: it counts what other
    samples and other subsets would have changed, and is too large where subsets are small or the distributions nearly equal.
    """

    mean: float
    standard_deviation: float
    standard_error: float
    subsets: int
    size: int


def subset_size(one: int, other: int, size: int = 1000) -> int:
    """The size of subsets for sets of these counts: `size`, or the smaller set where that has fewer."""
    return min(one, other, size)


def kernel_distance(one: Tensor, other: Tensor, subsets: int = 100, size: int = 1000, seed: int = 0) -> KernelDistance:
    """The kernel distance of features (n, d) and (m, d) over subsets drawn by the seed, each without replacement.

    k(x, y) = (x'y / d + 1)^3 and, in each subset, mean k(x, x') + mean k(y, y') - 2 mean k(x, y), where a sample is not
    paired with itself within its set. Products are in float32, or in float64 where features are; sums are in float64.

    DataError for unlike dimensions, NaN, infinity or fewer than 2 samples. OptionError for subsets larger than a set, which
    are another protocol and not taken silently: ask `subset_size`, and say what it gave.
    """
    one, other = _checked(one, other)
    if not 2 <= size <= min(len(one), len(other)):
        raise OptionError(f"size: got subsets of {size} for sets of {len(one)} and {len(other)}; take one from 2 to the smaller count.")
    if subsets < 1:
        raise OptionError(f"subsets: got {subsets}; at least 1 is needed.")
    generator = torch.Generator().manual_seed(seed)
    drawn = [(_draw(len(one), size, generator), _draw(len(other), size, generator)) for _ in range(subsets)]
    if _all_pairs_are_fewer(len(one), len(other), subsets, size):
        estimates, spreads = _estimates(one, other, _members(len(one), [x for x, _ in drawn]), _members(len(other), [y for _, y in drawn]))
    else:
        every = torch.ones(size, 1, dtype=torch.float64)
        parts = [_estimates(one[x], other[y], every, every) for x, y in drawn]
        estimates, spreads = torch.cat([part for part, _ in parts]), torch.cat([part for _, part in parts], 1)
    return _summary(estimates, spreads, len(one), len(other), size)


def mmd_squared(one: Tensor, other: Tensor) -> float:
    """The same estimate from all samples at once: features (n, d) and (m, d), of any counts from 2. Its cost goes with (n + m)^2."""
    one, other = _checked(one, other)
    every = [torch.ones(len(features), 1, dtype=torch.float64) for features in (one, other)]
    return _estimates(one, other, *every)[0].item()


@dataclass(frozen=True)
class KernelParts:
    """The kernel distance of all samples to a reference, `value`, with what is needed to compare it with another's.

    error_of_samples: what other samples would change it by, a standard error. of_reference (m,): each reference sample's part in it.
    """

    value: float
    error_of_samples: float
    of_reference: Tensor

    @property
    def standard_error(self) -> float:
        """What other samples and another reference would change the value by."""
        return hypot(self.error_of_samples, _error_of(self.of_reference))


def kernel_parts(samples: Tensor, reference: Tensor) -> KernelParts:
    """`mmd_squared` of features (n, d) and (m, d), in parts. Raises what it raises."""
    samples, reference = _checked(samples, reference)
    every = [torch.ones(len(features), 1, dtype=torch.float64) for features in (samples, reference)]
    of_samples, of_reference = (part[:, 0] for part in _parts(samples, reference, *every))
    return KernelParts((of_samples.mean() + of_reference.mean()).item(), _error_of(of_samples), of_reference)


def kernel_difference(one: KernelParts, other: KernelParts) -> tuple[float, float]:
    """How much further `one` is from the reference than `other`, and the standard error of that.

    Both are measured against the same samples in the same order, so that what other reference samples would change in both alike
    falls out: where they are off in alike ways the error is far smaller than the two distances' own, where in opposite ways
    larger. OptionError for references of unlike sizes.
    """
    if len(one.of_reference) != len(other.of_reference):
        sizes = f"{len(one.of_reference)} and {len(other.of_reference)}"
        raise OptionError(f"kernel_difference: got references of {sizes} samples; measure both against the same samples.")
    error = hypot(one.error_of_samples, other.error_of_samples, _error_of(one.of_reference - other.of_reference))
    return one.value - other.value, error


def _error_of(parts: Tensor) -> float:
    """What other samples would change an estimate by, a standard error, from each sample's part (n,) in it."""
    return 2 * (parts.var() / len(parts)).sqrt().item()


def _checked(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    one, other = checked(one, least=2), checked(other, least=2)
    check_dimensions(one.shape[1], other.shape[1])
    dtype = torch.promote_types(torch.promote_types(one.dtype, other.dtype), torch.float32)
    return one.to(dtype), other.to(dtype)


def _all_pairs_are_fewer(n: int, m: int, subsets: int, size: int) -> bool:
    """Than those of all subsets: then each pair is made once, and subsets are sums over the pairs."""
    return (n + m) ** 2 < subsets * (2 * size) ** 2


def _draw(count: int, size: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(count, generator=generator)[:size]


def _members(count: int, drawn: list[Tensor]) -> Tensor:
    """(count, subsets): 1 where a sample is in a subset."""
    return torch.zeros(count, len(drawn), dtype=torch.float64).scatter_(0, torch.stack(drawn, 1), 1.0)


def _summary(estimates: Tensor, spreads: Tensor, n: int, m: int, size: int) -> KernelDistance:
    of_subsets = estimates.var(correction=0)
    # A mean over subsets of n samples varies with the n samples as an estimate from all of them does, and with the draw.
    of_samples = 4 * (spreads[0].mean() / n + spreads[1].mean() / m)
    error = (of_samples + of_subsets / len(estimates)).sqrt()
    return KernelDistance(estimates.mean().item(), of_subsets.sqrt().item(), error.item(), len(estimates), size)


def _estimates(one: Tensor, other: Tensor, in_one: Tensor, in_other: Tensor) -> tuple[Tensor, Tensor]:
    """(s,) estimates of subsets and (2, s) variances of a sample's part in them; in_one, in_other: (n, s), (m, s) members."""
    sizes = [inside.sum(0) for inside in (in_one, in_other)]
    parts = _parts(one, other, in_one, in_other)
    means = [(inside * part).sum(0) / size for part, inside, size in zip(parts, (in_one, in_other), sizes, strict=True)]
    spreads = [
        (inside * (part - mean).square()).sum(0) / (size - 1)
        for part, mean, inside, size in zip(parts, means, (in_one, in_other), sizes, strict=True)
    ]
    return means[0] + means[1], torch.stack(spreads)


def _parts(one: Tensor, other: Tensor, in_one: Tensor, in_other: Tensor) -> tuple[Tensor, Tensor]:
    """(n, s) and (m, s): each sample's part in the estimate of each subset, which is the sum of both means over the members."""
    of_one, of_other = _between(one, other, in_one, in_other)
    return (
        _within(one, in_one) / (in_one.sum(0) - 1) - of_one / in_other.sum(0),
        _within(other, in_other) / (in_other.sum(0) - 1) - of_other / in_one.sum(0),
    )


def _between(one: Tensor, other: Tensor, in_one: Tensor, in_other: Tensor) -> tuple[Tensor, Tensor]:
    """(n, s): for each x the sum of k(x, y) over the members y of each subset, and (m, s) the same for each y."""
    of_one, of_other = torch.zeros_like(in_one), torch.zeros_like(in_other)
    for rows in _blocks(len(one)):
        for columns in _blocks(len(other)):
            values = _kernel(one[rows], other[columns])
            of_one[rows] += values @ in_other[columns]
            of_other[columns] += values.T @ in_one[rows]
    return of_one, of_other


def _within(features: Tensor, inside: Tensor) -> Tensor:
    """(n, s): for each x the sum of k(x, x') over the other members x' of each subset. Each pair is made once."""
    sums = torch.zeros_like(inside)
    for rows in _blocks(len(features)):
        sums[rows] += _kernel(features[rows], features[rows]).fill_diagonal_(0) @ inside[rows]
        for columns in _blocks(len(features), rows.stop):
            values = _kernel(features[rows], features[columns])
            sums[rows] += values @ inside[columns]
            sums[columns] += values.T @ inside[rows]
    return sums


def _blocks(count: int, start: int = 0) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK, count)) for first in range(start, count, BLOCK))


def _kernel(one: Tensor, other: Tensor) -> Tensor:
    """(n, m) in float64: (x'y / d + 1)^3."""
    products = torch.from_numpy(one.numpy() @ other.numpy().T)  # numpy makes half of a product with itself and mirrors that
    return products.double().div_(one.shape[1]).add_(1).pow_(3)
