from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

import elegan.metrics.neighbours as module
from elegan.errors import DataError
from elegan.metrics.neighbours import around_one_centre, lower_bounds, nearest, nearest_others, precisions, radii, squares_of_pairs


def normal(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture(params=[1024, 7])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """One block for all pairs, or many with a rest."""
    monkeypatch.setattr(module, "BLOCK", request.param)
    return int(request.param)


@pytest.fixture(params=["float32", "bfloat16"])
def first(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What products are taken in first, on any processor and for features of any width."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: request.param == "bfloat16", raising=False)
    monkeypatch.setattr(module, "WIDE", 1)
    return str(request.param)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.dtype, int]]:
    """What products were taken in, and for how many queries, one search after another."""
    calls: list[tuple[torch.dtype, int]] = []
    search = module._search

    def counted(queries: Tensor, references: Tensor, k: int, own: Tensor | None, dtype: torch.dtype) -> object:
        calls.append((dtype, len(queries)))
        return search(queries, references, k, own, dtype)

    monkeypatch.setattr(module, "_search", counted)
    return calls


def reference(queries: Tensor, references: Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(references.double().numpy())
    distances, indices = found.kneighbors(queries.double().numpy())
    return distances, indices


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "d", "k"), [(5, 1, 5), (40, 3, 4), (33, 200, 2)])
def test_nearest_are_those_of_scikit_learn(block: int, first: str, dtype: torch.dtype, n: int, d: int, k: int) -> None:
    queries, references = normal(23, d, 1, dtype), normal(n, d, 2, dtype) + 3
    found = nearest(queries, references, k)
    distances, indices = reference(queries, references, k)
    assert np.array_equal(found.indices.numpy(), indices)
    np.testing.assert_allclose(found.distances.numpy(), distances, rtol=1e-9, atol=0)
    assert found.squares.dtype == torch.float64


@pytest.mark.parametrize(("n", "d", "k"), [(6, 1, 5), (40, 3, 4), (33, 200, 2)])
def test_the_others_leave_out_the_point_itself(block: int, first: str, n: int, d: int, k: int) -> None:
    features = normal(n, d)
    found = nearest_others(features, k)
    distances, indices = reference(features, features, k + 1)
    assert np.array_equal(found.indices.numpy(), indices[:, 1:])
    np.testing.assert_allclose(found.distances.numpy(), distances[:, 1:], rtol=1e-9, atol=0)
    np.testing.assert_array_equal(radii(features, k).numpy(), found.distances[:, -1].numpy())


def test_hand_computed_radii() -> None:
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert radii(line, 1).tolist() == [1, 1, 2, 4]
    assert radii(line, 2).tolist() == [3, 2, 3, 6]
    assert radii(line, 3).tolist() == [7, 6, 4, 7]


def test_an_equal_point_is_another_point_at_distance_zero(block: int, first: str) -> None:
    """Leaving out all zeros, or the first column, instead of the point's own index fails here."""
    twins = normal(12, 64).repeat(2, 1) + 1000
    found = nearest_others(twins, 1)
    assert found.indices[:, 0].tolist() == [*range(12, 24), *range(12)]
    assert found.squares.tolist() == [[0.0]] * 24
    assert (radii(twins, 2) > 1).all()
    assert nearest(twins, twins, 2).squares.abs().max() == 0


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_all_points_equal(first: str, value: float) -> None:
    points = torch.full((20, 9), value)
    assert radii(points, 5).tolist() == [0.0] * 20
    found = nearest_others(points, 5)
    assert all(i not in row and len(set(row)) == 5 for i, row in enumerate(found.indices.tolist()))


def test_clusters_far_apart_are_searched_again_in_float64(block: int, first: str, searches: list[tuple[torch.dtype, int]]) -> None:
    """Within a cluster squared distances are about 1e-2, beside squared lengths of 1e10: float32 sums hold noise only."""
    features = normal(48, 6, 1, torch.float64) / 30
    features[::2] += 1e5
    found = nearest_others(features, 3)
    distances = (features[:, None] - features).norm(dim=2).fill_diagonal_(torch.inf)
    expected = distances.sort(1)
    assert torch.equal(found.indices, expected.indices[:, :3])
    torch.testing.assert_close(found.distances, expected.values[:, :3], rtol=1e-9, atol=0)
    coarse = [(torch.bfloat16, 48)] if first == "bfloat16" else []
    assert searches == [*coarse, (torch.float32, 48), (torch.float64, 48)]


@pytest.mark.parametrize("n", [5, 6, 7, 13, 14, 15])
def test_a_search_is_certain_only_where_no_point_was_left_out(first: str, n: int) -> None:
    """All distances are equal but for those to one point, which are less by too little for float32; candidates are 4, or 12."""
    for nearest_of_all in range(n):
        features = torch.eye(n, dtype=torch.float64)
        features[nearest_of_all] *= 1 - 1e-9
        found = nearest_others(features, 1).indices[:, 0].tolist()
        assert found[:nearest_of_all] + found[nearest_of_all + 1 :] == [nearest_of_all] * (n - 1)


@pytest.mark.parametrize("first", ["bfloat16"], indirect=True)
def test_what_bfloat16_leaves_open_is_searched_again_in_float32(block: int, first: str, searches: list[tuple[torch.dtype, int]]) -> None:
    """Twenty points lie so close together, and so far from all others, that bfloat16 does not tell them apart."""
    features = normal(90, 16) @ normal(16, 512, 1)
    features[10:30] = features[10] * 2 + normal(20, 512, 2) / 2
    found = nearest_others(features, 2)
    distances, indices = reference(features, features, 3)
    assert np.array_equal(found.indices.numpy(), indices[:, 1:])
    np.testing.assert_allclose(found.distances.numpy(), distances[:, 1:], rtol=1e-9, atol=0)
    assert searches == [(torch.bfloat16, 90), (torch.float32, 20)]


def test_bfloat16_is_for_wide_features_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=supported: found, raising=False)
        assert precisions(torch.zeros(1, 512))[0] == (torch.bfloat16 if supported else torch.float32)
        assert precisions(torch.zeros(1, 511)) == precisions(torch.zeros(1, 512, device="meta")) == (torch.float32, torch.float64)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert precisions(torch.zeros(1, 512))[0] == torch.float32


def test_ordinary_features_need_no_second_search(first: str, searches: list[tuple[torch.dtype, int]]) -> None:
    features = normal(300, 512)
    nearest_others(features, 5)
    nearest(features[:20], features, 5)
    assert searches == [(getattr(torch, first), 300), (getattr(torch, first), 20)]


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1e12, 1e18])
def test_neither_small_nor_large_features_are_confused(first: str, scale: float) -> None:
    features = normal(40, 8)
    small_or_large = features.double() * scale
    for scaled in (small_or_large, small_or_large.float()):
        assert torch.equal(nearest_others(scaled, 3).indices, nearest_others(features, 3).indices)
        torch.testing.assert_close(radii(scaled, 3) / scale, radii(features, 3), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 1e-3), (torch.bfloat16, 2.5e-2)])
@pytest.mark.parametrize("offset", [0.0, 50.0])
@pytest.mark.parametrize("d", [1, 2, 64, 2048])
def test_squared_distances_lie_within_their_bounds(d: int, offset: float, dtype: torch.dtype, width: float) -> None:
    queries, references = normal(30, d, 1) + offset, normal(30, d, 2) * torch.logspace(-4, 4, 30)[:, None]
    references[0] = queries[0]
    there, here = around_one_centre(references, queries, dtype=dtype)
    assert here.centred.dtype == there.centred.dtype == dtype
    lower = lower_bounds(here, there).double()
    upper = lower + 2 * (here.slack[:, None].double() + there.slack)
    rows, columns = torch.cartesian_prod(torch.arange(30), torch.arange(30)).T
    exact = squares_of_pairs(queries, references, rows, columns).view(30, 30)
    assert exact[0, 0] == 0
    assert (lower <= exact).all()
    assert (exact <= upper).all()
    # and they are not so wide that they would decide nothing
    lengths = here.norms[:, None].double() + there.norms
    assert ((upper - lower) <= width * lengths + 1e-30).all()


def test_the_bounds_hold_where_all_rounding_goes_one_way() -> None:
    """bfloat16 has 8 digits: 1 + 2^-8 becomes 1, and the sum of 257 ones becomes 256. No bound could be much narrower."""
    point = torch.full((1, 257), 1 + 0.99 * 2**-8)
    there, here = around_one_centre(torch.cat([point, -point]), point, dtype=torch.bfloat16)
    lower = lower_bounds(here, there)[0]
    upper = lower + 2 * (here.slack + there.slack)
    squares = 4 * point.double().square().sum()
    assert -0.05 < lower[0] / (here.slack + there.slack)[0] < 0
    assert upper[0] > 0
    assert lower[1] < squares
    assert 1 < upper[1] / squares < 1.01


def test_a_distance_is_the_same_in_both_directions_and_in_any_chunk() -> None:
    x, y = normal(300, 2000, 1), normal(300, 2000, 2)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    whole = squares_of_pairs(x, y, torch.arange(300), torch.arange(300))
    assert torch.equal(squares_of_pairs(y, x, order, order), whole[order])
    assert torch.equal(squares_of_pairs(x, y, order[:1], order[:1]), whole[order[:1]])
    assert len(squares_of_pairs(x, y, order[:0], order[:0])) == 0


def test_reduced_precision_of_products_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyTorch may take float32 products in bfloat16 or TF32 the bounds would be wrong."""
    features = normal(10, 4)
    assert around_one_centre(features)[0].centred.dtype == torch.float32
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    assert around_one_centre(features)[0].centred.dtype == torch.float64


def test_half_precision_features_are_taken_as_they_are() -> None:
    features = normal(20, 4).half().requires_grad_()
    found = nearest_others(features, 2)
    torch.testing.assert_close(found.squares, nearest_others(features.detach().double(), 2).squares, rtol=1e-12, atol=0)
    assert not found.squares.requires_grad


@pytest.mark.parametrize(("n", "k"), [(3, 3), (3, 0), (1, 1)])
def test_too_few_points_are_refused(n: int, k: int) -> None:
    with pytest.raises(DataError, match=f"at least {k + 1} images, got {n}: give more, or lower k"):
        radii(torch.zeros(n, 2), k)


def test_unfit_features_are_refused() -> None:
    features = normal(4, 3)
    with pytest.raises(DataError, match="at least 5 images, got 4"):
        nearest(features, features, 5)
    with pytest.raises(DataError, match="features of 3 numbers cannot be compared with features of 2"):
        nearest(features, features[:, :2], 1)
    for shape in ((4,), (0, 3), (4, 0), (4, 3, 1)):
        with pytest.raises(DataError, match=re.escape(f"of the shape (n, d), n and d from 1, got {shape}")):
            nearest(torch.zeros(shape), features, 1)
    features[1, 0], features[1, 1], features[3, 2] = torch.nan, torch.inf, torch.inf
    with pytest.raises(DataError, match="2 of 4 images have features that are not finite"):
        nearest(normal(4, 3), features, 1)
