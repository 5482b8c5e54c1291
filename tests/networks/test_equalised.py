"""Layers with an equalised learning rate, against their formulas written out."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elegan.networks.equalised import GAIN, EqualisedConv2d, EqualisedLinear, activated, at_least_float32


def double(network: nn.Module) -> Any:
    """In float64, with biases that are not 0."""
    for name, weight in network.double().named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(weight)
    return network


@pytest.mark.parametrize("rate", [1.0, 0.01])
@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_a_linear_layer_is_its_formula(rate: float, gain: float) -> None:
    torch.manual_seed(0)
    layer, x = double(EqualisedLinear(7, 5, rate=rate, gain=gain)), torch.randn(4, 7, dtype=torch.float64)
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    expected = [
        [gain * rate * (sum(w * v for w, v in zip(row, sample, strict=True)) / sqrt(7) + b) for row, b in zip(weight, bias, strict=True)]
        for sample in x.tolist()
    ]
    torch.testing.assert_close(layer(x), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "padding", "gain"), [(3, 1, 1.0), (3, 0, 2.5), (1, 0, 0.5)])
def test_a_convolution_is_its_formula(kernel: int, padding: int, gain: float, stride: int) -> None:
    torch.manual_seed(0)
    layer = double(EqualisedConv2d(3, 4, kernel, stride=stride, padding=padding, gain=gain))
    x = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    around = torch.zeros(2, 3, 6 + 2 * padding, 7 + 2 * padding, dtype=torch.float64)
    around[:, :, padding : padding + 6, padding : padding + 7] = x
    windows = around.unfold(2, kernel, stride).unfold(3, kernel, stride)
    sums = torch.einsum("nihwkl,oikl->nohw", windows, layer.weight)
    expected = gain * (sums / sqrt(3 * kernel * kernel) + layer.bias[:, None, None])
    torch.testing.assert_close(layer(x), expected)


def test_a_convolution_may_have_no_bias() -> None:
    assert [name for name, _ in EqualisedConv2d(2, 2, 1, bias=False).named_parameters()] == ["weight"]


@pytest.mark.parametrize("rate", [1.0, 0.01])
@pytest.mark.parametrize("size", [16, 400])
def test_outputs_begin_as_large_as_inputs(size: int, rate: float) -> None:
    torch.manual_seed(0)
    layer = EqualisedLinear(size, 500, rate=rate)
    assert float(layer(torch.randn(500, size)).detach().std()) == pytest.approx(1, rel=0.05)
    assert float(layer.weight.detach().std()) == pytest.approx(1 / rate, rel=0.05)


def test_a_convolution_keeps_the_size_of_signals() -> None:
    torch.manual_seed(0)
    assert float(EqualisedConv2d(64, 64, 3)(torch.randn(16, 64, 8, 8)).detach().std()) == pytest.approx(1, rel=0.05)


def test_a_bias_begins_as_asked_whatever_the_rate() -> None:
    for rate in (1.0, 0.01):
        layer = EqualisedLinear(3, 4, rate=rate, bias=1.0)
        torch.testing.assert_close(layer(torch.zeros(1, 3)), torch.ones(1, 4))
        assert float(layer.bias.detach()[0]) == pytest.approx(1 / rate)


def moved(layer: nn.Module, x: Tensor) -> float:
    """How far one step of Adam at rate 0.01 moves the outputs at `x`, whose gradient is 1 each, as a root mean square."""
    before = layer(x).detach()
    adam = torch.optim.Adam(layer.parameters(), lr=0.01, betas=(0.0, 0.99))
    layer(x).sum().backward()
    adam.step()
    return float((layer(x).detach() - before).square().mean().sqrt())


def test_one_step_of_adam_moves_all_outputs_evenly() -> None:
    """A weight of N(0, 1) moves by the learning rate in layers of any size, so outputs move by so large a share of theirs. He's
    weights, of the same outputs at first, are the smaller and move by the larger share the more of them there are."""
    torch.manual_seed(0)
    shares: list[float] = []
    plain_shares: list[float] = []
    for size in (16, 64, 1024):
        equalised, plain = EqualisedLinear(size, 256), nn.Linear(size, 256)
        nn.init.normal_(plain.weight, std=size**-0.5)
        for layer, found in ((equalised, shares), (plain, plain_shares)):
            before = layer.weight.detach().clone()
            moved(layer, torch.randn(32, size))
            found.append(float((layer.weight.detach() - before).norm() / before.norm()))
    assert shares == pytest.approx([0.01] * 3, rel=0.05)
    assert plain_shares == pytest.approx([0.04, 0.08, 0.32], rel=0.05)


def test_a_hundredth_of_the_rate_moves_outputs_by_a_hundredth() -> None:
    torch.manual_seed(0)
    x, whole = torch.randn(8, 32), EqualisedLinear(32, 16)
    slow = EqualisedLinear(32, 16, rate=0.01)
    slow.weight.data = whole.weight.data / 0.01
    torch.testing.assert_close(slow(x), whole(x))
    assert moved(slow, x) == pytest.approx(moved(whole, x) / 100, rel=1e-3)


def test_activated_is_leaky_relu_times_the_root_of_two() -> None:
    torch.manual_seed(0)
    layer = double(activated(EqualisedConv2d(3, 4, 3, gain=GAIN)))
    plain = EqualisedConv2d(3, 4, 3).double()
    plain.load_state_dict(layer[0].state_dict())
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    before = plain(x)
    torch.testing.assert_close(layer(x), sqrt(2) * torch.where(before > 0, before, 0.2 * before))


def test_half_precision_is_widened_and_no_other() -> None:
    found = [at_least_float32(torch.zeros(1, dtype=dtype)).dtype for dtype in (torch.bfloat16, torch.float32, torch.float64)]
    assert found == [torch.float32, torch.float32, torch.float64]
