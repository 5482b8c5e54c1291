"""Nearest neighbours among features, exact, in blocks: memory does not grow with the number of pairs.

Squared distances come fast as |x|^2 + |y|^2 - 2 x.y, the products in bfloat16 where the processor has it and in float32
elsewhere, with bounds on what rounding did. Where the bounds leave a decision open the distance is taken again in float64,
from the differences themselves, so equal points are at distance 0. Where they leave much open, products are taken again first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import inf

import torch
from torch import Tensor

from elegan.errors import DataError

BLOCK = 1024
"""Rows and columns of the largest matrix of distances."""

SPARE = {torch.bfloat16: 11, torch.float32: 3, torch.float64: 3}
"""Candidates beyond the neighbours asked for; with them the bounds rarely leave open which points are the nearest."""

WIDE = 512
"""From this width on products take most of the time, and coarser ones save more of it than the decisions cost that they leave open."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """indices: (n, k) int64, the nearest first, of equals any. squares: (n, k) float64, squared distances."""

    indices: Tensor
    squares: Tensor

    @property
    def distances(self) -> Tensor:
        """(n, k) float64."""
        return self.squares.sqrt()


def nearest(queries: Tensor, references: Tensor, k: int) -> Neighbours:
    """For each of `queries` (m, d) its k nearest in `references` (n, d), by Euclidean distance.

    DataError for features that are not finite, of other widths, or too few.
    """
    queries, references = checked(queries), checked(references)
    if queries.shape[1] != references.shape[1]:
        raise DataError(f"features of {queries.shape[1]} numbers cannot be compared with features of {references.shape[1]}.")
    require(references, k, k)
    return _certain(queries, references, k, None, precisions(references))


def nearest_others(features: Tensor, k: int) -> Neighbours:
    """For each of `features` (n, d) its k nearest among the others; an equal point is another, at distance 0.

    DataError as for `nearest`; it takes more than k points.
    """
    features = checked(features)
    require(features, k, k + 1)
    own = torch.arange(len(features), device=features.device)
    return _certain(features, features, k, own, precisions(features))


def radii(features: Tensor, k: int) -> Tensor:
    """(n,) float64: the distance of each of `features` (n, d) to the k-th nearest of the others."""
    return nearest_others(features, k).distances[:, k - 1]


def checked(features: Tensor) -> Tensor:
    """`features` (n, d) in float32 or float64, without their gradient; DataError if they are of another shape, or not finite."""
    features = features.detach()
    if features.dim() != 2 or features.numel() == 0:
        raise DataError(f"features are of the shape (n, d), n and d from 1, got {tuple(features.shape)}.")
    if not reach(features) < inf:
        rows = int((~features.isfinite().all(1)).sum())
        raise DataError(f"{rows} of {len(features)} images have features that are not finite: look at these images, and at the extractor.")
    return features if features.dtype in (torch.float32, torch.float64) else features.float()


def reach(features: Tensor) -> float:
    """The largest size of a number; nan if one is nan."""
    low, high = features.aminmax()
    return float(torch.maximum(-low, high))


def require(features: Tensor, k: int, least: int) -> None:
    if k < 1 or len(features) < least:
        raise DataError(f"{k} nearest neighbours need a k from 1, and at least {least} images, got {len(features)}: give more, or lower k.")


def precisions(features: Tensor) -> tuple[torch.dtype, ...]:
    """What products of such features are taken in: in each after the first where the one before leaves too much open."""
    fast = features.device.type == "cpu" and getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return (torch.bfloat16, torch.float32, torch.float64)[0 if fast and features.shape[1] >= WIDE else 1 :]


@dataclass(frozen=True, eq=False)
class Points:
    """Points around a common centre, for near the origin there is little to cancel.

    centred: (n, d), as products take them. norms: (n,), their squared lengths. slack: (n,), so that |x|^2 + |y|^2 - 2 x.y is
    off by at most the sum of both.
    """

    centred: Tensor
    norms: Tensor
    slack: Tensor

    def __len__(self) -> int:
        return len(self.centred)

    def __getitem__(self, chosen: slice) -> Points:
        return Points(self.centred[chosen], self.norms[chosen], self.slack[chosen])


def around_one_centre(references: Tensor, *others: Tensor, dtype: torch.dtype = torch.float32) -> list[Points]:
    """`references` and `others`, each (n, d), around the mean of `references`, for products in `dtype`.

    In float64 if squares would overflow in float32, or for float32 if PyTorch may round its factors to fewer digits.
    """
    shortened = dtype == torch.float32 and torch.get_float32_matmul_precision() != "highest"
    if shortened or max(map(reach, (references, *others))) >= 1e15:
        dtype = torch.float64
    centre = references.mean(0, dtype=torch.promote_types(references.dtype, _sums(dtype))).to(references.dtype)
    sets = [_rounded(features, centre, dtype) for features in (references, *others)]
    share = _rounding(dtype, references.shape[1], max(loss for _, _, loss in sets))
    least = 4 * references.shape[1] * torch.finfo(_sums(dtype)).tiny
    return [Points(centred, norms, share * norms + least) for centred, norms, _ in sets]


def _sums(dtype: torch.dtype) -> torch.dtype:
    """What sums of products in `dtype` are taken in."""
    return torch.promote_types(dtype, torch.float32)


def _rounded(features: Tensor, centre: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, float]:
    """`features` - `centre` in `dtype`, the squared lengths before, and the largest share of a length that this rounding takes."""
    sums = _sums(dtype)
    rounded = torch.empty(features.shape, dtype=dtype, device=features.device)
    norms, lost = (torch.zeros(len(features), dtype=torch.float64, device=features.device) for _ in range(2))
    chunk = _chunk(features)
    for part in (slice(start, start + chunk) for start in range(0, len(features), chunk)):
        centred = features[part].to(torch.promote_types(features.dtype, sums)).sub(centre).to(sums)
        rounded[part] = centred
        norms[part] = centred.double().square().sum(1)
        if dtype != sums:
            lost[part] = centred.sub_(rounded[part]).double().square().sum(1)
    loss = float((lost / norms.clamp(min=torch.finfo(torch.float64).tiny)).max().sqrt())
    return rounded, norms.to(sums), loss


def _rounding(dtype: torch.dtype, width: int, loss: float) -> float:
    """The share of |x|^2 + |y|^2 by which |x|^2 + |y|^2 - 2 x.y is off at most; `loss`: of a length, by rounding x and y."""
    # In any order a sum of m products is off by at most m eps / 2 of the sum of their sizes. Here it has d products and a norm,
    # whose sizes sum to at most 2 (|x|^2 + |y|^2); 8 pays for centring, for the norms and for what is added to them.
    share = torch.finfo(_sums(dtype)).eps * (1.1 * width + 8)
    if dtype == _sums(dtype):
        return share
    # 2 x.y is off by at most loss (2 + loss) 2 |x| |y| as x and y are rounded, and by eps / 2 of its size as it is rounded
    # itself, after a sum in float32. 2 |x| |y| is at most |x|^2 + |y|^2; a hundredth is what rounding x and y adds to their lengths.
    return share + 1.01 * (loss * (2 + loss) + torch.finfo(dtype).eps / 2)


def lower_bounds(queries: Points, references: Points) -> Tensor:
    """(m, n): what squared distances are at least. At most they are this and twice the slack of both points."""
    products = torch.mm(queries.centred, references.centred.T).to(queries.norms.dtype)
    return products.mul_(-2).add_(references.norms - references.slack).add_((queries.norms - queries.slack)[:, None])


def squares_of_pairs(queries: Tensor, references: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(p,) float64: exact squared distances of queries[rows[i]] and references[columns[i]]."""
    chunk = _chunk(queries)
    squares = torch.empty(len(rows), dtype=torch.float64, device=rows.device)
    for start in range(0, len(rows), chunk):
        part = slice(start, start + chunk)
        differences = queries.index_select(0, rows[part]).double().sub_(references.index_select(0, columns[part]))
        squares[part] = differences.square_().sum(1)
    return squares


def _chunk(features: Tensor) -> int:
    """How many rows have numbers that fit into a cache, in float64."""
    return max(1, 2**17 // features.shape[1])


def parts(total: int) -> Iterator[slice]:
    """Slices of at most BLOCK that make up 0 to `total`."""
    return (slice(start, min(start + BLOCK, total)) for start in range(0, total, BLOCK))


def _certain(queries: Tensor, references: Tensor, k: int, own: Tensor | None, dtypes: tuple[torch.dtype, ...]) -> Neighbours:
    """The neighbours; `own` is each query's own index in `references`, which is none of them.

    By products in the first of `dtypes`, and in the next where two neighbours lie closer than these tell apart.
    """
    found, certain = _search(queries, references, k, own, dtypes[0])
    if certain.all() or not dtypes[1:]:
        return found
    open_rows = (~certain).nonzero()[:, 0]
    if 2 * len(open_rows) > len(queries):  # all again cost less, where one distance serves two points
        return _certain(queries, references, k, own, dtypes[1:])
    own = own[open_rows] if own is not None else None
    again = _certain(queries[open_rows], references, k, own, dtypes[1:])
    found.indices[open_rows], found.squares[open_rows] = again.indices, again.squares
    return found


def _search(queries: Tensor, references: Tensor, k: int, own: Tensor | None, dtype: torch.dtype) -> tuple[Neighbours, Tensor]:
    """The neighbours, and whether it is certain (m,) that there are no others."""
    everything = len(references) - (own is not None)
    count = min(k + SPARE[dtype], everything)
    indices, lower, upper = _candidates(queries, references, count, own, dtype)
    # Only a candidate whose lower bound is not above the k-th upper bound can be among the k nearest.
    rows, columns = (lower <= upper.kthvalue(k).values[:, None]).nonzero(as_tuple=True)
    squares = torch.full_like(lower, inf)
    squares[rows, columns] = squares_of_pairs(queries, references, rows, indices[rows, columns])
    squares, order = squares.topk(k, largest=False)
    certain = squares[:, -1] <= (lower[:, -1].clamp(min=0) if count < everything else inf)
    return Neighbours(indices.gather(1, order), squares), certain


def _candidates(queries: Tensor, references: Tensor, count: int, own: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Of each query the references with the lowest lower bounds, in this order: indices, lower and upper bounds, (m, count).

    If both are the same tensor each distance is taken once, for its two points.
    """
    if same := queries is references:
        there = here = around_one_centre(references, dtype=dtype)[0]
    else:
        there, here = around_one_centre(references, queries, dtype=dtype)
    best = _Lowest(len(queries), count, queries.device)
    for rows, columns in product(parts(len(queries)), parts(len(references))):
        if same and columns.start < rows.start:
            continue
        lower = lower_bounds(here[rows], there[columns])
        if own is not None:
            _leave_out(lower, own[rows] - columns.start)
        best.offer(rows, columns, lower)
        if same and columns.start > rows.start:
            best.offer(columns, rows, lower.T.contiguous())
    return best.indices, best.values, best.values + 2 * (here.slack[:, None].double() + there.slack[best.indices])


def _leave_out(lower: Tensor, own: Tensor) -> None:
    """Makes column own[i] of row i infinite, where there is one."""
    rows = ((own >= 0) & (own < lower.shape[1])).nonzero()[:, 0]
    lower[rows, own[rows]] = inf


class _Lowest:
    """The lowest of the numbers offered for each of m rows, in order: values (m, count) float64, and their columns, indices (m, count)."""

    def __init__(self, rows: int, count: int, device: torch.device) -> None:
        self.values = torch.full((rows, count), inf, dtype=torch.float64, device=device)
        self.indices = torch.zeros((rows, count), dtype=torch.int64, device=device)

    def offer(self, rows: slice, columns: slice, numbers: Tensor) -> None:
        values, found = numbers.topk(min(self.values.shape[1], numbers.shape[1]), largest=False)
        values, found = torch.cat([self.values[rows], values], 1), torch.cat([self.indices[rows], found + columns.start], 1)
        self.values[rows], chosen = values.topk(self.values.shape[1], largest=False)
        self.indices[rows] = found.gather(1, chosen)
