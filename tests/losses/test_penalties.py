from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from elegan.errors import OptionError
from elegan.losses.penalties import (
    DRAGAN_NOISE,
    EXACT,
    FINITE,
    PENALTIES,
    Penalty,
    Score,
    dragan,
    finite_r1,
    finite_r2,
    gradient_penalty,
    one_sided_gradient_penalty,
    penalty,
    r1,
    r2,
    squared_gradient_norms,
)
from elegan.randomness import BatchRandomness

SHAPE = (3, 4, 5)
RANDOM = BatchRandomness(seed=0, step=0, start=0, stop=6, total=6)


def images(seed: int) -> Tensor:
    return torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(seed))


def weight(length: float) -> Tensor:
    direction = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    return direction * (length / direction.norm())


def linear(w: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: (x * w).sum((1, 2, 3))


def quadratic(x: Tensor) -> Tensor:
    return x.square().sum((1, 2, 3)) / 2  # its gradient is x


@pytest.mark.parametrize("length", [0.25, 1.0, 3.0])
def test_a_linear_critic_pays_for_the_length_of_its_weight(length: float) -> None:
    score = linear(weight(length))
    assert gradient_penalty(score, images(0), images(1), RANDOM).item() == pytest.approx((length - 1) ** 2, abs=1e-5)
    assert one_sided_gradient_penalty(score, images(0), images(1), RANDOM).item() == pytest.approx(max(0, length - 1) ** 2, abs=1e-5)
    assert dragan(score, images(0), images(1), RANDOM).item() == pytest.approx((length - 1) ** 2, abs=1e-5)
    assert r1(score, images(0), images(1), RANDOM).item() == pytest.approx(length**2 / 2, rel=1e-5)
    assert r2(score, images(0), images(1), RANDOM).item() == pytest.approx(length**2 / 2, rel=1e-5)


def test_r1_is_taken_at_real_samples_only() -> None:
    real = images(0)
    expected = real.flatten(1).square().sum(1).mean() / 2
    torch.testing.assert_close(r1(quadratic, real, images(1), RANDOM), expected)


def test_r2_is_taken_at_generated_samples_only() -> None:
    fake = images(1)
    expected = fake.flatten(1).square().sum(1).mean() / 2
    torch.testing.assert_close(r2(quadratic, images(0), fake, RANDOM), expected)


@pytest.mark.parametrize("kind", ["", "finite_"])
def test_both_are_the_sum(kind: str) -> None:
    one, other, both = (PENALTIES[kind + name](quadratic, images(0), images(1), RANDOM) for name in ("r1", "r2", "r1+r2"))
    torch.testing.assert_close(both, one + other)


def test_the_one_sided_penalty_is_taken_at_the_same_points_where_the_critic_is_steep() -> None:
    scale = torch.linspace(0.02, 0.5, 6).view(6, 1, 1, 1)
    real, fake = images(0) * scale, images(1) * scale
    share = RANDOM.uniform("interpolate", 1, 1, 1)
    lengths = (share * fake + (1 - share) * real).flatten(1).norm(dim=1)
    assert (lengths < 1).any()
    assert (lengths > 1).any()
    expected = torch.stack([max(length - 1, torch.tensor(0.0)) ** 2 for length in lengths]).mean()
    torch.testing.assert_close(one_sided_gradient_penalty(quadratic, real, fake, RANDOM), expected)


def test_dragan_is_taken_around_real_samples() -> None:
    real = images(0)
    points = real + DRAGAN_NOISE * RANDOM.normal("dragan", *SHAPE)
    expected = (points.flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(dragan(quadratic, real, images(1), RANDOM), expected)


def test_finite_differences_are_along_a_direction_of_each_sample() -> None:
    """Central differences of a quadratic score are exact: the slope at x along u is u . x."""
    real, fake = images(0), images(1)
    for value, stream, points in ((finite_r1, "finite_r1", real), (finite_r2, "finite_r2", fake)):
        slopes = (RANDOM.normal(stream, *SHAPE) * points).flatten(1).sum(1)
        torch.testing.assert_close(value(quadratic, real, fake, RANDOM), slopes.square().mean() / 2, rtol=1e-4, atol=0)


def network(width: int) -> tuple[Tensor, Score]:
    """Weights in float64 and a curved score made of them, for images (n, 1, 2, 2)."""
    w = torch.randn(4, width, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    return w, lambda x: (x.flatten(1) @ w).tanh().sum(1)


def test_finite_differences_estimate_r1() -> None:
    """Over 4000 draws the mean is within 4 standard errors, about 3.5%, and 0.5% for the step itself."""
    _, score = network(8)
    x = images(0)[:2, :1, :2, :2].double()
    draws = torch.stack([finite_r1(score, x, x, BatchRandomness(0, step, 0, 2, 2)).detach() for step in range(4000)])
    exact = r1(score, x, x, BatchRandomness(0, 0, 0, 2, 2)).item()
    error = draws.std().item() / 4000**0.5
    assert error < 0.025 * exact
    assert abs(draws.mean().item() - exact) < 4 * error + 0.005 * exact


def test_real_and_generated_samples_have_their_own_directions() -> None:
    x = images(0)
    assert not torch.isclose(finite_r1(quadratic, x, x, RANDOM), finite_r2(quadratic, x, x, RANDOM))


class Once(torch.autograd.Function):
    """A square that has no second derivative, as a compiled network has none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("asked for a graph of the gradient")
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


@pytest.mark.parametrize("name", EXACT)
def test_exact_penalties_need_a_second_derivative_and_say_so(name: str) -> None:
    found = penalty(name, 1.0)
    assert found is not None
    assert found.double_backward
    with pytest.raises(RuntimeError, match="a graph of the gradient"):
        found(lambda x: Once.apply(x * weight(5.0)).sum((1, 2, 3)), images(0), images(1), RANDOM)


@pytest.mark.parametrize("name", FINITE)
def test_finite_differences_need_none_and_say_so(name: str) -> None:
    found, w = penalty(name, 1.0), weight(5.0).requires_grad_()
    assert found is not None
    assert not found.double_backward
    found(lambda x: Once.apply(x * w).sum((1, 2, 3)), images(0), images(1), RANDOM).backward()
    assert w.grad is not None
    assert w.grad.abs().max() > 0


@pytest.mark.parametrize("name", PENALTIES)
def test_a_batch_in_two_parts_pays_as_much_as_the_whole(name: str) -> None:
    real, fake = images(0), images(1)
    whole = PENALTIES[name](quadratic, real, fake, RANDOM)
    parts = [
        PENALTIES[name](quadratic, real[start:stop], fake[start:stop], replace(RANDOM, start=start, stop=stop))
        for start, stop in ((0, 3), (3, 6))
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


@pytest.mark.parametrize(
    ("dtype", "kept"), [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)]
)
def test_gradients_are_at_least_in_float32(dtype: torch.dtype, kept: torch.dtype) -> None:
    assert squared_gradient_norms(quadratic, images(0).to(dtype)).dtype == kept


def test_the_gradient_penalty_is_taken_between_real_and_fake_one_point_for_each_sample() -> None:
    real, fake = images(0), images(1)
    share = RANDOM.uniform("interpolate", 1, 1, 1)
    assert len(set(share.flatten().tolist())) == len(real)
    points = share * fake + (1 - share) * real
    expected = (points.flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(gradient_penalty(quadratic, real, fake, RANDOM), expected)


def test_the_norm_is_each_samples_own_over_all_pixels_and_channels() -> None:
    real = images(0) * torch.arange(6).view(6, 1, 1, 1)
    expected = torch.stack([sample.flatten().square().sum() for sample in real])
    torch.testing.assert_close(squared_gradient_norms(quadratic, real), expected)


def test_penalties_differ_from_batch_means_and_channel_norms() -> None:
    """The two usual mistakes give other numbers on this input, so the tests above would see them."""
    real = images(0)
    right = r1(quadratic, real, real, RANDOM)
    assert not torch.isclose(right, real.mean(0).square().sum() / 2)
    assert not torch.isclose(right, real.square().sum(1).mean() / 2)


@pytest.mark.parametrize("name", PENALTIES)
def test_the_gradient_is_finite_where_the_critic_is_flat(name: str) -> None:
    w = torch.zeros(SHAPE, requires_grad=True)
    PENALTIES[name](linear(w), images(0), images(1), RANDOM).backward()
    assert w.grad is not None
    assert w.grad.isfinite().all()


@pytest.mark.parametrize("name", PENALTIES)
def test_the_gradient_in_the_critics_weights_is_that_of_finite_differences(name: str) -> None:
    """A penalty has to reach the weights: exact ones through the gradient, which takes a second derivative."""
    real, fake = images(0)[:2, :1, :2, :2].double(), images(1)[:2, :1, :2, :2].double()
    random = BatchRandomness(seed=0, step=0, start=0, stop=2, total=2)

    def of_weights(w: Tensor) -> Tensor:
        return PENALTIES[name](lambda x: 3 * (x.flatten(1) @ w).tanh().sum(1), real, fake, random)

    w, _ = network(3)
    (found,) = torch.autograd.grad(of_weights(w), w)
    assert torch.autograd.gradcheck(of_weights, w)
    assert found.abs().max() > 0.01


@pytest.mark.parametrize("interval", [1, 4, 16])
def test_a_lazy_penalty_counts_as_much_as_one_that_is_always_applied(interval: int) -> None:
    lazy = Penalty(r1, 10.0, interval)
    paid = sum(lazy(quadratic, images(0), images(1), RANDOM).item() for step in range(32) if lazy.due(step))
    always = 32 * 10.0 * r1(quadratic, images(0), images(1), RANDOM).item()
    assert paid == pytest.approx(always, rel=1e-5)


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_leaves_the_images_as_they_were(name: str) -> None:
    real, fake = images(0), images(1)
    PENALTIES[name](quadratic, real, fake, RANDOM)
    assert not real.requires_grad
    assert not fake.requires_grad
    assert torch.equal(real, images(0))
    assert torch.equal(fake, images(1))


@pytest.mark.parametrize("name", PENALTIES)
def test_no_gradient_reaches_the_images(name: str) -> None:
    """The penalty is the discriminator's own; a generated batch that keeps its graph must not be changed by it."""
    real, fake, w = images(0).requires_grad_(), images(1).requires_grad_(), weight(5.0).requires_grad_()
    PENALTIES[name](lambda x: (x * w).square().sum((1, 2, 3)), real, fake, RANDOM).backward()
    assert real.grad is None
    assert fake.grad is None
    assert w.grad is not None


@pytest.mark.parametrize(("name", "weight"), [("none", 1.0), ("r1", 0.0)])
def test_no_penalty_is_none(name: str, weight: float) -> None:
    assert penalty(name, weight) is None


def test_names_find_their_penalty() -> None:
    assert penalty("r1", 5.0, 16) == Penalty(r1, 5.0, 16, at_samples=("real",))
    assert penalty("gradient_penalty", 10.0) == Penalty(gradient_penalty, 10.0)
    assert penalty("finite_r1", 5.0) == Penalty(finite_r1, 5.0, double_backward=False)
    assert PENALTIES == EXACT | FINITE


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_an_unknown_name_is_answered_with_the_nearest(weight: float) -> None:
    with pytest.raises(OptionError, match=r"penalty: got 'gradient_penalti'\. Did you mean 'gradient_penalty'\?"):
        penalty("gradient_penalti", weight)


@pytest.mark.parametrize("interval", [0, -1])
def test_an_interval_counts_from_one(interval: int) -> None:
    with pytest.raises(OptionError, match="--penalty-interval"):
        penalty("r1", 1.0, interval)
