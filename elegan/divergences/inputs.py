"""What may come in: probabilities and points, checked and in float64 on the CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from elegan.errors import DataError


def probabilities(weights: Tensor) -> Tensor:
    """Probabilities or counts (k,) over their sum; DataError unless they are finite, none negative and not all 0."""
    if weights.dim() != 1 or len(weights) == 0 or weights.is_complex():
        raise DataError(f"probabilities or counts are of the shape (k,), k from 1, got {weights.dtype} of shape {tuple(weights.shape)}.")
    values = weights.detach().cpu().double()
    if not values.isfinite().all() or (values < 0).any():
        raise DataError("probabilities or counts: some are negative, NaN or infinite. Give the number or the share of each outcome.")
    if not (values > 0).any():
        raise DataError("probabilities or counts: all are 0. At least one outcome must occur.")
    values = values / values.max()  # their sum may be above what float64 holds
    return values / values.sum()


def same_outcomes(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Both as probabilities (k,); DataError where they are of unlike k."""
    p, q = probabilities(p), probabilities(q)
    if len(p) != len(q):
        raise DataError(f"p has {len(p)} outcomes and q has {len(q)}; give a 0 to those that one of them lacks.")
    return p, q


def points(values: Tensor, least: int = 1) -> Tensor:
    """(n, d) of (n, d), or of (n,) for numbers; DataError unless they are finite, at least `least` of them."""
    if values.dim() not in (1, 2) or values.numel() == 0 or values.is_complex():
        raise DataError(f"points are of the shape (n, d), or (n,) on a line, nothing empty, got {values.dtype} {tuple(values.shape)}.")
    if len(values) < least:
        raise DataError(f"points: got {len(values)}; at least {least} are needed. Draw more.")
    found = values.detach().cpu().double().reshape(len(values), -1)
    if not found.isfinite().all():
        rows = int((~found.isfinite().all(1)).sum())
        raise DataError(f"points: {rows} of {len(found)} hold NaN or infinity. Look at where they come from.")
    return found


def same_space(x: Tensor, y: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Both as points (n, d) and (m, d); DataError where they are of unlike d."""
    x, y = points(x, least), points(y, least)
    if x.shape[1] != y.shape[1]:
        raise DataError(f"points of {x.shape[1]} numbers cannot be compared with points of {y.shape[1]}.")
    return x, y


def distances(x: Tensor, y: Tensor) -> Tensor:
    """(n, m): Euclidean distances of points (n, d) and (m, d), 0 between equal ones."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
