"""The kernel distance between features of samples and of held-out real images.

It is the unbiased squared MMD with the kernel (<x, y> / d + 1)^3 (KID; Binkowski et al., 2018), on the features of a network that
learned without labels instead of Inception's: it is not comparable with a published KID.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor


def kernel_distance(one: Tensor, other: Tensor, subsets: int = 50, size: int = 500, seed: int = 0) -> tuple[float, float]:
    """Mean over random subsets of the unbiased squared MMD, and its standard error. Features (n, d), (m, d), each brought to
    mean 0 and standard deviation 1 in the second."""
    mean, scale = other.mean(0), other.std(0).clamp(min=1e-6)
    one, other = (one - mean) / scale, (other - mean) / scale
    random = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        a, b = (x[random.choice(len(x), size, replace=False)] for x in (one, other))
        values.append(unbiased(a, b))
    return float(np.mean(values)), float(np.std(values, ddof=1) / subsets**0.5)


def unbiased(a: Tensor, b: Tensor) -> float:
    n, d = a.shape
    within = [(x @ x.T / d + 1) ** 3 for x in (a, b)]
    across = (a @ b.T / d + 1) ** 3
    own = sum(float((k.sum() - k.diagonal().sum()) / (n * (n - 1))) for k in within)
    return own - 2 * float(across.mean())
