from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.stats import energy_distance, wasserstein_distance, wasserstein_distance_nd  # type: ignore[import-untyped]
from torch import Tensor

from elegan.divergences import kernels, sinkhorn, transport
from elegan.divergences.inputs import distances, probabilities
from elegan.divergences.line import quantile_costs, random_directions, sliced_costs, weighted_cost
from elegan.divergences.sinkhorn import entropic_cost, potentials, self_potential
from elegan.divergences.transport import optimal_cost
from elegan.errors import DataError, OptionError


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def weights(seed: int, n: int) -> Tensor:
    return probabilities(normal(seed, n).abs() + 0.01)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 9), (40, 25)])
def test_weighted_points_on_a_line(n: int, m: int) -> None:
    """With ties, in no order, and with weights of 0."""
    p, q, x, y = weights(0, n), weights(1, m), normal(2, n).round(decimals=1), 2 * normal(3, m).round(decimals=1)
    if m > 1:
        q = probabilities(q.index_fill(0, torch.tensor([0, m - 1]), 0.0))
    assert weighted_cost(p, x, q, y, 1) == pytest.approx(wasserstein_distance(x, y, p, q), abs=1e-12)
    if m > 1:
        expected = optimal_cost(p, q, (x.unsqueeze(1) - y).square())
        assert weighted_cost(p, x, q, y, 2) == pytest.approx(expected, abs=1e-9)


def test_equal_weights_are_those_of_samples() -> None:
    x, y = normal(0, 12), normal(1, 18)
    sorted_cost = quantile_costs(x.sort().values.unsqueeze(0), y.sort().values.unsqueeze(0), 3).item()
    equal = torch.full((12,), 1 / 12, dtype=torch.float64), torch.full((18,), 1 / 18, dtype=torch.float64)
    assert weighted_cost(equal[0], x, equal[1], y, 3) == pytest.approx(sorted_cost, rel=1e-12)


def test_an_assignment_is_the_best_permutation() -> None:
    cost = normal(0, 6, 6)  # of either sign
    best = min(sum(cost[i, j].item() for i, j in enumerate(order)) for order in permutations(range(6))) / 6
    assert optimal_cost(torch.ones(6), torch.ones(6), cost) == pytest.approx(best, abs=1e-12)


def test_a_linear_program_finds_what_an_assignment_finds() -> None:
    """Points of weight 1/8 against halves of them: the same mass, in another number of points."""
    x, y = normal(0, 8, 3), normal(1, 8, 3)
    whole = optimal_cost(torch.ones(8), torch.ones(8), distances(x, y))
    halves = optimal_cost(torch.ones(8), torch.ones(16), distances(x, y.repeat(2, 1)))
    assert halves == pytest.approx(whole, abs=1e-9)


def test_a_linear_program_by_hand_and_by_scipy() -> None:
    """1/3 must go over; and weights of 0 have no say, whatever they cost."""
    cost = torch.tensor([[0.0, 5.0], [9.0, 0.0]])
    assert optimal_cost(torch.tensor([1, 0]), torch.tensor([2, 1]), cost) == pytest.approx(5 / 3, abs=1e-12)
    assert optimal_cost(torch.tensor([1, 0]), torch.tensor([0, 1]), cost) == 5
    p, q, x, y = weights(0, 15), weights(1, 20), normal(2, 15, 2), normal(3, 20, 2) + 1
    assert optimal_cost(p, q, distances(x, y)) == pytest.approx(wasserstein_distance_nd(x, y, p, q), abs=1e-9)
    assert optimal_cost(p, q, 1e6 * distances(x, y)) == pytest.approx(1e6 * wasserstein_distance_nd(x, y, p, q), abs=1e-3)
    assert optimal_cost(p, q, torch.zeros(15, 20)) == 0


def test_sizes_that_take_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LARGEST_ASSIGNMENT", 4)
    monkeypatch.setattr(transport, "LARGEST_PROGRAM", 20)
    assert optimal_cost(torch.ones(4), torch.ones(4), torch.ones(4, 4)) == 1
    with pytest.raises(OptionError, match="an assignment of 5 points takes too long"):
        optimal_cost(torch.ones(5), torch.ones(5), torch.ones(5, 5))
    with pytest.raises(OptionError, match="5 x 6 points takes too long"):
        optimal_cost(torch.ones(5), torch.ones(6), torch.ones(5, 6))


@pytest.mark.parametrize("wrong", [torch.ones(2, 2), torch.ones(3), torch.full((2, 3), math.nan), torch.full((2, 3), math.inf)])
def test_what_is_no_cost(wrong: Tensor) -> None:
    for transported in (
        lambda: optimal_cost(torch.ones(2), torch.ones(3), wrong),
        lambda: entropic_cost(torch.ones(2), torch.ones(3), wrong, 1),
    ):
        with pytest.raises(DataError, match=r"of the shape \(2, 3\)"):
            transported()


def test_slices_are_distances_along_directions() -> None:
    x, y, along = normal(0, 9, 3), normal(1, 7, 3), random_directions(5, 3, 0)
    expected = [wasserstein_distance(x @ one, y @ one) for one in along]
    assert sliced_costs(x, y, along, 1).tolist() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(along.norm(dim=1), torch.ones(5, dtype=torch.float64))


P, Q, COST = weights(0, 7), weights(1, 9), distances(normal(2, 7, 2), normal(3, 9, 2) + 1).square()


def test_entropic_cost_is_the_least_of_cost_and_divergence() -> None:
    """Over all couplings, by a general minimiser. The last sum follows from the others."""
    epsilon, product = 2.0, P[:3].outer(Q[:3]) / (P[:3].sum() * Q[:3].sum())
    p, q, cost = probabilities(P[:3]), probabilities(Q[:3]), COST[:3, :3]

    def objective(free: list[float]) -> float:
        plan = torch.tensor(free, dtype=torch.float64).reshape(3, 3)
        return float((plan * cost).sum() + epsilon * torch.special.xlogy(plan, plan / product).sum())

    sums = [{"type": "eq", "fun": lambda free, i=i: free.reshape(3, 3)[i].sum() - p[i].item()} for i in range(3)]
    sums += [{"type": "eq", "fun": lambda free, j=j: free.reshape(3, 3)[:, j].sum() - q[j].item()} for j in range(2)]
    found = minimize(
        objective, product.flatten().numpy(), constraints=sums, bounds=[(1e-12, 1)] * 9, method="SLSQP", options={"ftol": 1e-14}
    )
    assert found.success
    assert entropic_cost(p, q, cost, epsilon) == pytest.approx(found.fun, abs=1e-6)


@pytest.mark.parametrize("epsilon", [10.0, 0.5, 0.05])
def test_potentials_make_a_coupling(epsilon: float) -> None:
    """Its sums are p and q, and the dual value is its own cost plus divergence."""
    f, g = potentials(P, Q, COST, epsilon)
    ratio = torch.exp((f.unsqueeze(1) + g - COST) / epsilon)
    plan = P.outer(Q) * ratio
    torch.testing.assert_close(plan.sum(1), P, rtol=0, atol=1e-6)
    torch.testing.assert_close(plan.sum(0), Q, rtol=0, atol=1e-6)
    primal = (plan * COST).sum() + epsilon * torch.special.xlogy(plan, ratio).sum()
    assert float(P @ f + Q @ g) == pytest.approx(float(primal), abs=1e-5)


def test_entropic_cost_goes_from_the_optimal_cost_to_that_of_independence() -> None:
    optimal, independent = optimal_cost(P, Q, COST), float(P @ COST @ Q)
    costs = [entropic_cost(P, Q, COST, epsilon) for epsilon in (0.05, 0.5, 5.0, 5e4)]
    assert optimal <= costs[0] < optimal + 0.15
    assert costs == sorted(costs)
    assert costs[-1] == pytest.approx(independent, rel=1e-3)


def test_a_distribution_against_itself() -> None:
    x = normal(5, 8, 2)
    cost = distances(x, x).square()
    p = weights(6, 8)
    f, g = potentials(p, p, cost, 0.5)
    torch.testing.assert_close(2 * p @ self_potential(p, cost, 0.5), p @ f + p @ g, rtol=0, atol=1e-7)


def test_points_without_weight_and_far_away_do_no_harm() -> None:
    """exp(-cost / epsilon) is 0 everywhere here."""
    p, q = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([1, 1])
    cost = torch.tensor([[1e6, 2e6], [0.0, 0.0], [3e6, 1e6]])
    assert entropic_cost(p, q, cost, 1.0) == pytest.approx(1e6 + math.log(2), abs=1e-3)


def test_an_epsilon_that_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(OptionError, match="epsilon: got"):
            entropic_cost(P, Q, COST, wrong)
    monkeypatch.setattr(sinkhorn, "ROUNDS", 1)
    with pytest.raises(OptionError, match=r"0\.001 is too small for costs of"):
        entropic_cost(P, Q, COST, 0.001)
    with pytest.raises(OptionError, match="too small"):
        self_potential(P, distances(normal(2, 7, 2), normal(2, 7, 2)), 0.5)


def test_kernel_discrepancies_of_weights_and_of_samples_by_hand() -> None:
    """Sums over all pairs, written out."""
    x, y = normal(0, 5, 2), normal(1, 4, 2)
    for kernel in (kernels.negative_distance, kernels.gaussian(0.7)):

        def k(a: Tensor, b: Tensor, kernel: kernels.Kernel = kernel) -> float:
            return kernel((a - b).norm()).item()

        within = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 20
        within += sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 12
        between = sum(k(a, b) for a in x for b in y) / 20
        assert kernels.of_samples(x, y, kernel)[0] == pytest.approx(within - 2 * between, abs=1e-12)
        p, q = torch.tensor([1.0] * 5 + [0] * 4).double() / 5, torch.tensor([0.0] * 5 + [1] * 4).double() / 4
        every = sum(k(a, b) for a in x for b in x) / 25 + sum(k(a, b) for a in y for b in y) / 16 - 2 * between
        assert kernels.of_weights(p, q, torch.cat([x, y]), kernel) == pytest.approx(every, abs=1e-12)


def test_the_energy_distance_is_that_of_scipy_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(0, 30, 1), normal(1, 20, 1) + 1
    p, q = torch.cat([torch.ones(30), torch.zeros(20)]).double() / 30, torch.cat([torch.zeros(30), torch.ones(20)]).double() / 20
    found = kernels.of_weights(p, q, torch.cat([x, y]), kernels.negative_distance)
    assert found == pytest.approx(energy_distance(x.flatten(), y.flatten()) ** 2, abs=1e-12)
    expected = kernels.of_samples(x, y, kernels.negative_distance)
    monkeypatch.setattr(kernels, "ROWS", 7)
    assert kernels.of_samples(x, y, kernels.negative_distance) == pytest.approx(expected, abs=1e-12)
