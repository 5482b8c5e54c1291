from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from elegan.errors import OptionError
from elegan.losses.penalties import Penalty, gradient_penalty, penalty, r1, squared_gradient_norms
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
    assert r1(score, images(0), images(1), RANDOM).item() == pytest.approx(length**2 / 2, rel=1e-5)


def test_r1_is_taken_at_real_samples_only() -> None:
    real = images(0)
    expected = real.flatten(1).square().sum(1).mean() / 2
    torch.testing.assert_close(r1(quadratic, real, images(1), RANDOM), expected)


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


@pytest.mark.parametrize("value", [gradient_penalty, r1])
def test_the_gradient_is_finite_where_the_critic_is_flat(value: Callable[..., Tensor]) -> None:
    w = torch.zeros(SHAPE, requires_grad=True)
    value(linear(w), images(0), images(1), RANDOM).backward()
    assert w.grad is not None
    assert w.grad.isfinite().all()


@pytest.mark.parametrize("value", [gradient_penalty, r1])
def test_the_gradient_in_the_critics_weights_is_that_of_finite_differences(value: Callable[..., Tensor]) -> None:
    """A penalty has to reach the weights through the gradient: that is a second derivative."""

    real, fake = images(0)[:2, :1, :2, :2], images(1)[:2, :1, :2, :2]
    random = BatchRandomness(seed=0, step=0, start=0, stop=2, total=2)

    def of_weights(w: Tensor) -> Tensor:  # in float64 on what the penalty made float32
        return value(lambda x: (x.double().flatten(1) @ w).tanh().sum(1), real, fake, random).double()

    w = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    (found,) = torch.autograd.grad(of_weights(w), w)
    step, numeric = 1e-3, torch.zeros_like(w)
    for i in range(w.numel()):
        change = torch.zeros(w.numel(), dtype=w.dtype)
        change[i] = step
        change = change.view_as(w)
        numeric.view(-1)[i] = ((of_weights(w + change) - of_weights(w - change)) / (2 * step)).detach()
    torch.testing.assert_close(found, numeric, rtol=5e-3, atol=2e-4)
    assert found.abs().max() > 0.01


@pytest.mark.parametrize("interval", [1, 4, 16])
def test_a_lazy_penalty_counts_as_much_as_one_that_is_always_applied(interval: int) -> None:
    lazy = Penalty(r1, 10.0, interval)
    paid = sum(lazy(quadratic, images(0), images(1), RANDOM).item() for step in range(32) if lazy.due(step))
    always = 32 * 10.0 * r1(quadratic, images(0), images(1), RANDOM).item()
    assert paid == pytest.approx(always, rel=1e-5)


def test_a_penalty_leaves_the_images_as_they_were() -> None:
    real, fake = images(0), images(1)
    gradient_penalty(quadratic, real, fake, RANDOM)
    assert not real.requires_grad
    assert torch.equal(real, images(0))


@pytest.mark.parametrize(("name", "weight"), [("none", 1.0), ("r1", 0.0)])
def test_no_penalty_is_none(name: str, weight: float) -> None:
    assert penalty(name, weight) is None


def test_names_find_their_penalty() -> None:
    assert penalty("r1", 5.0, 16) == Penalty(r1, 5.0, 16)
    assert penalty("gradient_penalty", 10.0) == Penalty(gradient_penalty, 10.0)


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_an_unknown_name_is_answered_with_the_nearest(weight: float) -> None:
    with pytest.raises(OptionError, match=r"penalty: got 'gradient_penalti'\. Did you mean 'gradient_penalty'\?"):
        penalty("gradient_penalti", weight)


@pytest.mark.parametrize("interval", [0, -1])
def test_an_interval_counts_from_one(interval: int) -> None:
    with pytest.raises(OptionError, match="penalty_interval"):
        penalty("r1", 1.0, interval)
