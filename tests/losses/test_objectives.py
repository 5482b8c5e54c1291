from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from elegan.errors import OptionError
from elegan.losses.objectives import OBJECTIVES, objective

REAL, FAKE = [0.3, -1.2, 4.0, -30.0], [-0.7, 2.5, 0.0, 25.0]


def logits(values: list[float], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def sigmoid(s: float) -> float:
    return 1 / (1 + math.exp(-s)) if s >= 0 else math.exp(s) / (1 + math.exp(s))


def log_one_plus_exp(s: float) -> float:
    return max(s, 0.0) + math.log1p(math.exp(-abs(s)))


def mean(function: Callable[[float], float], values: list[float]) -> float:
    return sum(map(function, values)) / len(values)


# minus the logarithm of D and of 1 - D, written out: -log sigmoid(s) = log(1 + e^-s)
CLOSED_FORMS = {
    "minimax": (
        lambda real, fake: mean(lambda s: log_one_plus_exp(-s), real) + mean(log_one_plus_exp, fake),
        lambda fake: -mean(log_one_plus_exp, fake),
    ),
    "non_saturating": (
        lambda real, fake: mean(lambda s: log_one_plus_exp(-s), real) + mean(log_one_plus_exp, fake),
        lambda fake: mean(lambda s: log_one_plus_exp(-s), fake),
    ),
    "wasserstein": (lambda real, fake: mean(float, fake) - mean(float, real), lambda fake: -mean(float, fake)),
}
SLOPES = {  # d loss / d logit: of the discriminator at a real logit and at a generated one, and of the generator
    "minimax": (lambda s: sigmoid(s) - 1, sigmoid, lambda s: -sigmoid(s)),
    "non_saturating": (lambda s: sigmoid(s) - 1, sigmoid, lambda s: sigmoid(s) - 1),
    "wasserstein": (lambda s: -1.0, lambda s: 1.0, lambda s: -1.0),
}


def test_every_objective_has_an_oracle_here() -> None:
    assert OBJECTIVES.keys() == CLOSED_FORMS.keys() == SLOPES.keys()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_the_closed_forms(name: str) -> None:
    discriminator, generator = CLOSED_FORMS[name]
    assert objective(name).discriminator(logits(REAL), logits(FAKE)).item() == pytest.approx(discriminator(REAL, FAKE), rel=1e-9)
    assert objective(name).generator(logits(FAKE)).item() == pytest.approx(generator(FAKE), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [("minimax", 1.386294, -0.693147), ("non_saturating", 1.386294, 0.693147), ("wasserstein", 0.0, 0.0)],
)
def test_losses_where_nobody_can_tell(name: str, discriminator: float, generator: float) -> None:
    zeros = logits([0.0, 0.0])
    assert objective(name).discriminator(zeros, zeros).item() == pytest.approx(discriminator, abs=1e-6)
    assert objective(name).generator(zeros).item() == pytest.approx(generator, abs=1e-6)


@pytest.mark.parametrize(("name", "slope"), [("minimax", -4.5398e-5), ("non_saturating", -0.9999546)])
def test_only_the_minimax_gradient_vanishes_where_the_discriminator_is_sure(name: str, slope: float) -> None:
    fake = logits([-10.0])
    objective(name).generator(fake).backward()
    assert fake.grad is not None
    assert fake.grad.item() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_values_and_gradients_are_right_at_extreme_logits(name: str, dtype: torch.dtype) -> None:
    values = [-1e4, -30.0, 0.0, 30.0, 1e4]
    real, fake, generated = logits(values, dtype), logits(values, dtype), logits(values, dtype)
    discriminator, generator = objective(name).discriminator(real, fake), objective(name).generator(generated)
    (discriminator + generator).backward()
    assert discriminator.item() == pytest.approx(CLOSED_FORMS[name][0](values, values), rel=1e-6)
    assert generator.item() == pytest.approx(CLOSED_FORMS[name][1](values), rel=1e-6)
    for found, slope in zip((real, fake, generated), SLOPES[name], strict=True):
        assert found.grad is not None
        expected = torch.tensor([slope(s) / len(values) for s in values], dtype=dtype)
        torch.testing.assert_close(found.grad, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    real, fake = logits([0.3, -1.2, 4.0]), logits([-0.7, 2.5, 0.0])
    assert torch.autograd.gradcheck(objective(name).discriminator, (real, fake))
    assert torch.autograd.gradcheck(objective(name).generator, (fake,))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_means_over_the_batch(name: str) -> None:
    real, fake = logits(REAL), logits(FAKE)
    twice = objective(name).discriminator(real.repeat(2), fake.repeat(2))
    torch.testing.assert_close(twice, objective(name).discriminator(real, fake))
    torch.testing.assert_close(objective(name).generator(fake.repeat(2)), objective(name).generator(fake))


def test_only_the_critic_has_no_probability() -> None:
    assert {name for name, found in OBJECTIVES.items() if not found.probability} == {"wasserstein"}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"objective: got 'non_saturate'\. Did you mean 'non_saturating'\?"):
        objective("non_saturate")
