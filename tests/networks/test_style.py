"""Mapping network, noise and the deviation over a batch, against their definitions."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from elegan.networks.conditions import NOTHING, Conditions
from elegan.networks.style import BatchDeviation, Mapping, Noise, unit


def test_unit_rows_have_a_mean_square_of_one() -> None:
    torch.manual_seed(0)
    x = 7 * torch.randn(5, 9, dtype=torch.float64)
    torch.testing.assert_close(unit(x), x / x.norm(dim=1, keepdim=True) * 3, rtol=1e-6, atol=0)
    torch.testing.assert_close(unit(3 * x), unit(x), rtol=1e-6, atol=0)
    assert not unit(torch.zeros(1, 3)).any()


def test_the_mapping_is_its_formula() -> None:
    """Layers of weight N(0, 1) / 0.01 used times 0.01 / sqrt(size), each followed by sqrt(2) times leaky ReLU."""
    torch.manual_seed(0)
    mapping, noise = Mapping(6, 4, 3, NOTHING).double(), torch.randn(5, 6, dtype=torch.float64)
    x = unit(noise)
    for name, weight in mapping.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(weight, std=100)
    for layer in mapping.layers:
        weight, bias = layer[0].weight, layer[0].bias  # type: ignore[index]
        before = 0.01 * (x @ weight.T / sqrt(x.shape[1]) + bias)
        x = sqrt(2) * torch.where(before > 0, before, 0.2 * before)
    torch.testing.assert_close(mapping(noise, None), x)
    assert len(mapping.layers) == 3


def test_styles_begin_of_about_unit_size_after_many_layers() -> None:
    torch.manual_seed(0)
    styles = Mapping(512, 512, 8, NOTHING)(torch.randn(64, 512), None).detach()
    assert 0.7 < float(styles.square().mean()) < 1.6


def test_the_length_of_the_noise_does_not_count() -> None:
    torch.manual_seed(0)
    mapping, noise = Mapping(6, 4, 2, NOTHING), torch.randn(3, 6)
    torch.testing.assert_close(mapping(noise, None), mapping(5 * noise, None), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("conditions", [Conditions(classes=3), Conditions(numbers=2), Conditions(numbers=1)], ids=str)
def test_conditions_reach_the_styles(conditions: Conditions) -> None:
    torch.manual_seed(0)
    mapping, noise = Mapping(6, 4, 2, conditions), torch.randn(1, 6).expand(3, 6)
    asked = (
        torch.tensor([0, 1, 2]) if conditions.classes else torch.tensor([[0.2] * conditions.numbers, [0.6] * conditions.numbers] * 2)[:3]
    )
    styles = mapping(noise, asked).detach()
    assert styles.shape == (3, 4)
    assert float((styles[0] - styles[1]).norm() / styles[0].norm()) > 0.02


@pytest.mark.parametrize("conditions", [Conditions(classes=50), Conditions(numbers=2)], ids=str)
def test_the_noise_speaks_louder_than_the_condition_at_first(conditions: Conditions) -> None:
    """As loud, the generator would learn a single picture for each class: the variance that conditions add is near 0.2^2 of the noise's."""
    torch.manual_seed(0)
    mapping, noise = Mapping(64, 64, 2, conditions), torch.randn(50, 64)
    asked = torch.arange(50) if conditions.classes else torch.rand(50, 2) * 2 - 1
    by_noise = mapping(noise, asked[:1].expand(50, *asked.shape[1:])).detach()
    by_condition = mapping(noise[:1].expand(50, -1), asked).detach()
    assert 0.01 < float(by_condition.var(0).sum() / by_noise.var(0).sum()) < 0.1


def test_noise_has_no_strength_at_first() -> None:
    noise = Noise(3, 5)
    assert not noise(2, 1.0).any()
    assert noise.strength.requires_grad


def test_noise_is_drawn_in_training_for_each_sample_and_fixed_otherwise() -> None:
    torch.manual_seed(0)
    noise = Noise(40, 50)
    nn.init.constant_(noise.strength, 0.5)
    first, second = noise(3, 2.0).detach(), noise(3, 2.0).detach()
    assert first.shape == (3, 1, 40, 50)
    assert float(first.std()) == pytest.approx(0.5 * 2.0, rel=0.05)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first[0], first[1])
    noise.eval()
    torch.testing.assert_close(noise(3, 2.0), noise.fixed)
    assert "fixed" in noise.state_dict()


def deviation(x: Tensor, size: int) -> Tensor:
    """(n,), with a loop over groups of `size`: every (n / size)th sample."""
    n = len(x)
    found = torch.zeros(n, dtype=x.dtype)
    for first in range(n // size):
        members = list(range(first, n, n // size))
        assert len(members) == size
        places = [torch.stack([x[i].flatten()[place] for i in members]) for place in range(x[0].numel())]
        variances = torch.stack([((values - values.sum() / size) ** 2).sum() / size for values in places])
        found[members] = (variances + 1e-8).sqrt().mean()
    return found


@pytest.mark.parametrize(("n", "size"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (8, 4), (12, 4), (10, 2)])
def test_the_deviation_over_a_batch_is_that_of_a_loop(n: int, size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(n, 2, 3, 2, dtype=torch.float64) * torch.arange(1.0, n + 1, dtype=torch.float64)[:, None, None, None]
    found = BatchDeviation()(x)
    assert found.shape == (n, 3, 3, 2)
    assert torch.equal(found[:, :2], x)
    torch.testing.assert_close(found[:, 2], deviation(x, size)[:, None, None].expand(n, 3, 2))


def test_identical_samples_do_not_deviate_and_have_finite_gradients() -> None:
    x = torch.randn(1, 2, 3, 3).repeat(4, 1, 1, 1).requires_grad_()
    plane = BatchDeviation()(x)[:, 2]
    torch.testing.assert_close(plane, torch.full((4, 3, 3), 1e-4), rtol=1e-3, atol=0)
    (gradient,) = torch.autograd.grad(plane.sum(), x, create_graph=True)
    gradient.square().sum().backward()  # type: ignore[no-untyped-call]
    assert gradient.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_the_deviation_is_taken_in_float32() -> None:
    torch.manual_seed(0)
    x = (100 + torch.randn(4, 2, 3, 3)).bfloat16()
    found = BatchDeviation()(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found[:, 2].float(), BatchDeviation()(x.float())[:, 2], rtol=0.01, atol=0)
