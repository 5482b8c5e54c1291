"""The kernel distance between features of samples and of held-out real images.

It is the unbiased squared MMD with the kernel (<x, y> / d + 1)^3 (KID; Binkowski et al., 2018), on the features of a network that
learned without labels instead of Inception's: it is not comparable with a published KID.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from study import RESULTS
from torch import Tensor

from elegan.metrics.kernel import KernelParts, kernel_difference

KEPT = 1000
"""Parts of real images in a result: a committed file holds no more numbers."""


def kernel_distance(one: Tensor, other: Tensor, subsets: int = 50, size: int = 500, seed: int = 0) -> tuple[float, float]:
    """Mean over random subsets of the unbiased squared MMD, and its standard error. Features (n, d), (m, d), each brought to
    mean 0 and standard deviation 1 in the second."""
    one, other = standardised(one, other)
    random = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        a, b = (x[random.choice(len(x), size, replace=False)] for x in (one, other))
        values.append(unbiased(a, b))
    return float(np.mean(values)), float(np.std(values, ddof=1) / subsets**0.5)


def standardised(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    mean, scale = other.mean(0), other.std(0).clamp(min=1e-6)
    return (one - mean) / scale, (other - mean) / scale


def unbiased(a: Tensor, b: Tensor) -> float:
    n, d = a.shape
    within = [(x @ x.T / d + 1) ** 3 for x in (a, b)]
    across = (a @ b.T / d + 1) ** 3
    own = sum(float((k.sum() - k.diagonal().sum()) / (n * (n - 1))) for k in within)
    return own - 2 * float(across.mean())


def described(parts: KernelParts, name: str = "all_pairs") -> dict[str, Any]:
    """The distance from all pairs, times 1,000, and what it takes to compare it with another arm's. More than `KEPT` parts are kept
    as means of as many neighbours, which say the same of the error."""
    of_real = parts.of_reference
    if len(of_real) > KEPT:
        of_real = torch.stack([group.mean() for group in of_real.tensor_split(KEPT)])
    words = " ".join(f"{1000 * part:.5g}" for part in of_real.tolist())
    return {name: 1000 * parts.value, f"{name}_error_of_samples": 1000 * parts.error_of_samples, f"{name}_of_real": words}


def parts_of(study: str, arm: str, seeds: Iterable[int], name: str = "all_pairs") -> KernelParts:
    """The mean over the seeds of what `described` wrote."""
    results = [json.loads((RESULTS / study / f"{arm}-{seed}.json").read_text()) for seed in seeds]
    of_real = torch.tensor([[float(part) for part in result[f"{name}_of_real"].split()] for result in results], dtype=torch.float64)
    values, errors = (torch.tensor([result[key] for result in results]) for key in (name, f"{name}_error_of_samples"))
    return KernelParts(float(values.mean()), float(errors.norm() / len(results)), of_real.mean(0))


def print_difference(study: str, arm: str, base: str, seeds: Iterable[int], name: str = "all_pairs") -> None:
    """How much nearer to real images `arm` is than `base`: both are measured against the same, so what other ones would change in
    both alike falls out. What other trainings would have changed is not in its interval."""
    seeds = list(seeds)
    one, other = (parts_of(study, each, seeds, name) for each in (base, arm))
    difference, error = kernel_difference(one, other)
    bounds = f"{difference - 1.96 * error:.1f} to {difference + 1.96 * error:.1f}"
    print(f"{name}: {base} {one.value:.1f} +- {one.standard_error:.1f}, {arm} {other.value:.1f} +- {other.standard_error:.1f};")
    print(f"  {arm} is nearer by {difference:.1f} (95%: {bounds}), seeds {', '.join(map(str, seeds))}")
