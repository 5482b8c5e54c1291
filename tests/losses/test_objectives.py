from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from elegan.divergences.f_divergences import F_DIVERGENCES
from elegan.errors import OptionError
from elegan.losses.objectives import OBJECTIVES, SMOOTHED, Objective, objective, variational

REAL, FAKE = [0.3, -1.2, 4.0, -30.0], [-0.7, 2.5, 0.0, 25.0]


def logits(values: list[float], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def sigmoid(s: float) -> float:
    return 1 / (1 + math.exp(-s)) if s >= 0 else math.exp(s) / (1 + math.exp(s))


def log_one_plus_exp(s: float) -> float:
    return max(s, 0.0) + math.log1p(math.exp(-abs(s)))


def exp(s: float) -> float:
    return math.exp(s) if s <= 20 else math.exp(20) * (s - 19)  # the tangent at 20


def exp_slope(s: float) -> float:
    return math.exp(min(s, 20))


def tanh_slope(s: float) -> float:
    return (1 - math.tanh(s) ** 2) / 2


def mean(function: Callable[[float], float], values: list[float]) -> float:
    return sum(map(function, values)) / len(values)


def apart(real: Callable[[float], float], fake: Callable[[float], float], generator: Callable[[float], float]) -> tuple[Loss, Loss]:
    """Losses that are means over single logits, as functions of (real, fake) and (fake, real)."""
    return lambda r, f: mean(real, r) + mean(fake, f), lambda f, r: mean(generator, f)


def pairs(more: list[float], less: list[float]) -> float:
    return mean(lambda pair: log_one_plus_exp(pair[1] - pair[0]), list(zip(more, less, strict=True)))


def averages(more: list[float], less: list[float]) -> float:
    middle_more, middle_less = sum(more) / len(more), sum(less) / len(less)
    return mean(lambda s: log_one_plus_exp(middle_less - s), more) + mean(lambda s: log_one_plus_exp(s - middle_more), less)


Loss = Callable[[list[float], list[float]], float]

# minus the logarithm of D and of 1 - D, written out: -log sigmoid(s) = log(1 + e^-s); of the f-divergences -g(s) and f*(g(s))
CLOSED_FORMS = {
    "minimax": apart(lambda s: log_one_plus_exp(-s), log_one_plus_exp, lambda s: -log_one_plus_exp(s)),
    "non_saturating": apart(lambda s: log_one_plus_exp(-s), log_one_plus_exp, lambda s: log_one_plus_exp(-s)),
    "wasserstein": apart(lambda s: -s, lambda s: s, lambda s: -s),
    "least_squares": apart(lambda s: (s - 1) ** 2 / 2, lambda s: s**2 / 2, lambda s: (s - 1) ** 2 / 2),
    "hinge": apart(lambda s: max(0.0, 1 - s), lambda s: max(0.0, 1 + s), lambda s: -s),
    "relativistic_paired": (pairs, pairs),
    "relativistic_average": (averages, averages),
    "f_kl": apart(lambda s: -s, lambda s: exp(s - 1), lambda s: -s),
    "f_reverse_kl": apart(lambda s: exp(-s), lambda s: s - 1, lambda s: exp(-s)),
    "f_pearson": apart(lambda s: -s, lambda s: s**2 / 4 + s, lambda s: -s),
    "f_hellinger": apart(lambda s: exp(-s) - 1, lambda s: exp(s) - 1, lambda s: exp(-s) - 1),
    "f_jensen_shannon": apart(
        lambda s: log_one_plus_exp(-s) - math.log(2),
        lambda s: log_one_plus_exp(s) - math.log(2),
        lambda s: log_one_plus_exp(-s) - math.log(2),
    ),
    "f_total_variation": apart(lambda s: -math.tanh(s) / 2, lambda s: math.tanh(s) / 2, lambda s: -math.tanh(s) / 2),
}
SLOPES = {  # d loss / d logit: of the discriminator at a real logit and at a generated one, and of the generator
    "minimax": (lambda s: sigmoid(s) - 1, sigmoid, lambda s: -sigmoid(s)),
    "non_saturating": (lambda s: sigmoid(s) - 1, sigmoid, lambda s: sigmoid(s) - 1),
    "wasserstein": (lambda s: -1.0, lambda s: 1.0, lambda s: -1.0),
    "least_squares": (lambda s: s - 1, lambda s: s, lambda s: s - 1),
    "hinge": (lambda s: -1.0 if s < 1 else 0.0, lambda s: 1.0 if s > -1 else 0.0, lambda s: -1.0),
    "f_kl": (lambda s: -1.0, lambda s: exp_slope(s - 1), lambda s: -1.0),
    "f_reverse_kl": (lambda s: -exp_slope(-s), lambda s: 1.0, lambda s: -exp_slope(-s)),
    "f_pearson": (lambda s: -1.0, lambda s: s / 2 + 1, lambda s: -1.0),
    "f_hellinger": (lambda s: -exp_slope(-s), exp_slope, lambda s: -exp_slope(-s)),
    "f_jensen_shannon": (lambda s: sigmoid(s) - 1, sigmoid, lambda s: sigmoid(s) - 1),
    "f_total_variation": (lambda s: -tanh_slope(s), tanh_slope, lambda s: -tanh_slope(s)),
}
RELATIVISTIC = ["relativistic_paired", "relativistic_average"]


def test_every_objective_has_an_oracle_here() -> None:
    assert OBJECTIVES.keys() == CLOSED_FORMS.keys() == {*SLOPES, *RELATIVISTIC}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_the_closed_forms(name: str) -> None:
    discriminator, generator = CLOSED_FORMS[name]
    assert objective(name).discriminator(logits(REAL), logits(FAKE)).item() == pytest.approx(discriminator(REAL, FAKE), rel=1e-9)
    assert objective(name).generator_loss(logits(FAKE), logits(REAL)).item() == pytest.approx(generator(FAKE, REAL), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("minimax", 1.386294, -0.693147),
        ("non_saturating", 1.386294, 0.693147),
        ("wasserstein", 0.0, 0.0),
        ("least_squares", 0.5, 0.5),
        ("hinge", 2.0, 0.0),
        ("relativistic_paired", 0.693147, 0.693147),
        ("relativistic_average", 1.386294, 1.386294),
        ("f_kl", 0.367879, 0.0),
        ("f_reverse_kl", 0.0, 1.0),
        ("f_pearson", 0.0, 0.0),
        ("f_hellinger", 0.0, 0.0),
        ("f_jensen_shannon", 0.0, 0.0),
        ("f_total_variation", 0.0, 0.0),
    ],
)
def test_losses_where_every_logit_is_zero(name: str, discriminator: float, generator: float) -> None:
    zeros = logits([0.0, 0.0])
    assert objective(name).discriminator(zeros, zeros).item() == pytest.approx(discriminator, abs=1e-6)
    assert objective(name).generator_loss(zeros, zeros).item() == pytest.approx(generator, abs=1e-6)


@pytest.mark.parametrize(("name", "slope"), [("minimax", -4.5398e-5), ("non_saturating", -0.9999546)])
def test_only_the_minimax_gradient_vanishes_where_the_discriminator_is_sure(name: str, slope: float) -> None:
    fake = logits([-10.0])
    objective(name).generator_loss(fake, None).backward()
    assert fake.grad is not None
    assert fake.grad.item() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SLOPES)
def test_values_and_gradients_are_right_at_extreme_logits(name: str, dtype: torch.dtype) -> None:
    values = [-1e4, -30.0, 0.0, 30.0, 1e4]
    real, fake, generated = logits(values, dtype), logits(values, dtype), logits(values, dtype)
    discriminator, generator = objective(name).discriminator(real, fake), objective(name).generator_loss(generated, None)
    (discriminator + generator).backward()
    assert discriminator.item() == pytest.approx(CLOSED_FORMS[name][0](values, values), rel=1e-6)
    assert generator.item() == pytest.approx(CLOSED_FORMS[name][1](values, values), rel=1e-6)
    for found, slope in zip((real, fake, generated), SLOPES[name], strict=True):
        assert found.grad is not None
        expected = torch.tensor([slope(s) / len(values) for s in values], dtype=dtype)
        torch.testing.assert_close(found.grad, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", RELATIVISTIC)
def test_relativistic_losses_are_right_at_extreme_logits(name: str) -> None:
    real, fake = [-1e4, 1e4, 30.0, 0.0], [1e4, -1e4, 0.0, 0.0]
    for loss, closed_form in zip((objective(name).discriminator, objective(name).generator_loss), CLOSED_FORMS[name], strict=True):
        first, second = logits(real, torch.float32), logits(fake, torch.float32)
        value = loss(first, second)
        value.backward()
        assert value.item() == pytest.approx(closed_form(real, fake), rel=1e-6)
        for found in (first.grad, second.grad):
            assert found is not None
            assert found.isfinite().all()


def test_a_pair_by_hand() -> None:
    """Real 2 with generated 1, real 0 with generated 3: -log sigmoid(1) and -log sigmoid(-3)."""
    real, fake = logits([2.0, 0.0]), logits([1.0, 3.0])
    assert objective("relativistic_paired").discriminator(real, fake).item() == pytest.approx((0.313262 + 3.048587) / 2, abs=1e-6)
    assert objective("relativistic_paired").generator_loss(fake, real).item() == pytest.approx((1.313262 + 0.048587) / 2, abs=1e-6)


def test_averages_by_hand() -> None:
    """Real logits 2 and 0 are on average 1, generated ones 1 and 3 are 2: -log sigmoid of 0 and -2, and of 0 and -2."""
    real, fake = logits([2.0, 0.0]), logits([1.0, 3.0])
    assert objective("relativistic_average").discriminator(real, fake).item() == pytest.approx(0.693147 + 2.126928, abs=1e-6)
    assert objective("relativistic_average").generator_loss(fake, real).item() == pytest.approx(0.693147 + 0.126928, abs=1e-6)


@pytest.mark.parametrize("name", RELATIVISTIC)
def test_a_relativistic_loss_is_the_same_wherever_all_logits_are(name: str) -> None:
    real, fake = logits(REAL[:3]), logits(FAKE[:3])
    torch.testing.assert_close(objective(name).discriminator(real + 5, fake + 5), objective(name).discriminator(real, fake))


def test_only_the_average_depends_on_how_a_batch_is_divided() -> None:
    real, fake = logits([0.3, -1.2, 4.0, 1.0]), logits([-0.7, 2.5, 0.0, -3.0])
    different = []
    for name, found in OBJECTIVES.items():
        whole = found.discriminator(real, fake)
        parts = (found.discriminator(real[:2], fake[:2]) + found.discriminator(real[2:], fake[2:])) / 2
        different += [] if torch.isclose(whole, parts) else [name]
    assert different == ["relativistic_average"]


def test_a_relativistic_generator_needs_real_logits_and_no_other_does() -> None:
    assert [name for name, found in OBJECTIVES.items() if found.relativistic] == RELATIVISTIC
    with pytest.raises(AssertionError, match="real samples"):
        objective("relativistic_paired").generator_loss(logits(FAKE), None)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    real, fake = logits([0.3, -1.2, 4.0]), logits([-0.7, 2.5, 0.0])
    assert torch.autograd.gradcheck(objective(name).discriminator, (real, fake))
    assert torch.autograd.gradcheck(lambda f: objective(name).generator_loss(f, real.detach()), (fake,))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_are_means_over_the_batch(name: str) -> None:
    real, fake = logits(REAL), logits(FAKE)
    twice = objective(name).discriminator(real.repeat(2), fake.repeat(2))
    torch.testing.assert_close(twice, objective(name).discriminator(real, fake))
    torch.testing.assert_close(objective(name).generator_loss(fake.repeat(2), real.repeat(2)), objective(name).generator_loss(fake, real))


def best_logit(found: Objective, share: float) -> float:
    """The logit that is best where `share` of the samples are real, by trying all from -15 to 15."""
    best, nothing = torch.linspace(-15, 15, 30_001, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    losses = [share * found.discriminator(s[None], nothing) + (1 - share) * found.discriminator(nothing, s[None]) for s in best[::100]]
    middle = best[::100][int(torch.stack(losses).argmin())]
    near = middle + torch.linspace(-0.1, 0.1, 201, dtype=torch.float64)
    losses = [share * found.discriminator(s[None], nothing) + (1 - share) * found.discriminator(nothing, s[None]) for s in near]
    return near[int(torch.stack(losses).argmin())].item()


@pytest.mark.parametrize("name", SLOPES)
def test_the_sigmoid_is_a_probability_where_that_is_said(name: str) -> None:
    found = objective(name)
    right = [sigmoid(best_logit(found, share)) == pytest.approx(share, abs=2e-3) for share in (0.1, 0.4, 0.8)]
    assert all(right) == found.probability


def test_these_have_a_probability() -> None:
    probable = {name for name, found in OBJECTIVES.items() if found.probability}
    assert probable == {"minimax", "non_saturating", "f_reverse_kl", "f_jensen_shannon"}


@pytest.mark.parametrize("name", [name for name in SLOPES if name.startswith("f_")])
def test_a_trained_discriminator_reads_off_the_divergence(name: str) -> None:
    """Minus the lowest loss is sum q f(p/q): of a sample that is real with probability p and generated with q."""
    found, p, q = objective(name), [0.2, 0.5, 0.3], [0.4, 0.35, 0.25]
    nothing = logits([0.0])
    value = found.discriminator(nothing, nothing).item()  # what the terms below have too much, by the other side at logit 0
    for real, fake in zip(p, q, strict=True):
        best = logits([best_logit(found, real / (real + fake))])
        value -= real * found.discriminator(best, nothing).item() + fake * found.discriminator(nothing, best).item()
    ratio = torch.tensor(p, dtype=torch.float64) / torch.tensor(q, dtype=torch.float64)
    expected = (torch.tensor(q) * F_DIVERGENCES[name.removeprefix("f_")].f(ratio)).sum().item()
    assert value == pytest.approx(expected, abs=1e-5)


def test_the_gan_divergence_is_the_non_saturating_game() -> None:
    found, real, fake = variational(F_DIVERGENCES["gan"], probability=True), logits(REAL), logits(FAKE)
    torch.testing.assert_close(found.discriminator(real, fake), objective("non_saturating").discriminator(real, fake))
    torch.testing.assert_close(found.generator_loss(fake, None), objective("non_saturating").generator_loss(fake, None))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"objective: got 'non_saturate'\. Did you mean 'non_saturating'\?"):
        objective("non_saturate")


@pytest.mark.parametrize("name", ["minimax", "non_saturating"])
def test_smoothed_labels_in_cross_entropy(name: str) -> None:
    found, plain = objective(name, 0.1), objective(name)
    by_hand = mean(lambda s: 0.9 * log_one_plus_exp(-s) + 0.1 * log_one_plus_exp(s), REAL) + mean(log_one_plus_exp, FAKE)
    assert found.discriminator(logits(REAL), logits(FAKE)).item() == pytest.approx(by_hand, rel=1e-9)
    assert found.generator is plain.generator
    assert sigmoid(best_logit(found, 0.6)) == pytest.approx(0.9 * 0.6, abs=1e-3)


def test_smoothed_labels_in_least_squares() -> None:
    found = objective("least_squares", 0.2)
    by_hand = mean(lambda s: (s - 0.8) ** 2 / 2, REAL) + mean(lambda s: s**2 / 2, FAKE)
    assert found.discriminator(logits(REAL), logits(FAKE)).item() == pytest.approx(by_hand, rel=1e-9)
    assert found.generator is objective("least_squares").generator
    assert best_logit(found, 0.6) == pytest.approx(0.8 * 0.6, abs=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smoothed_labels_at_extreme_logits(dtype: torch.dtype) -> None:
    real, fake = logits([-1e4, 0.0, 1e4], dtype), logits([-1e4, 0.0, 1e4], dtype)
    loss = objective("non_saturating", 0.25).discriminator(real, fake)
    loss.backward()
    assert loss.item() == pytest.approx((0.75e4 + math.log(2) + 0.25e4) / 3 + (math.log(2) + 1e4) / 3, rel=1e-6)
    assert real.grad is not None
    torch.testing.assert_close(real.grad, torch.tensor([-0.75, -0.25, 0.25], dtype=dtype) / 3)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_smoothing_is_the_objective_itself(name: str) -> None:
    assert objective(name, 0.0) is OBJECTIVES[name]


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name not in SMOOTHED])
def test_an_objective_without_labels_cannot_smooth_them(name: str) -> None:
    with pytest.raises(OptionError, match=f"--label-smoothing: '{name}' .* take minimax, non_saturating, least_squares"):
        objective(name, 0.1)


@pytest.mark.parametrize("label_smoothing", [-0.1, 0.5, 1.0, math.nan])
def test_label_smoothing_has_its_limits(label_smoothing: float) -> None:
    with pytest.raises(OptionError, match=r"--label-smoothing: got .* from 0 to below 0\.5"):
        objective("non_saturating", label_smoothing)
