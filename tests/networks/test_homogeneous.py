"""Logits and slopes by Euler's theorem, and the convolution under them, against PyTorch's own gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.networks.conditions import NOTHING, Conditions, DiscriminatorCondition
from elegan.networks.grouped import GroupedConv2d
from elegan.networks.homogeneous import Biased, biases_times, logits_and_slopes
from elegan.networks.r3gan import Pointwise, R3GANDiscriminator, R3GANGenerator


def awake(conditions: Conditions = NOTHING, told: DiscriminatorCondition = "projection") -> R3GANDiscriminator:
    """A discriminator of which all weights and biases take part."""
    torch.manual_seed(0)
    network = R3GANDiscriminator((3, 12, 16), width=16, widest=32, conditions=conditions, told=told).double()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.15)
    return network


def given(conditions: Conditions) -> tuple[Tensor, Tensor | None]:
    torch.manual_seed(1)
    condition = torch.tensor([0, 2, 1, 2]) if conditions.classes else torch.rand(4, 2).double() if conditions.numbers else None
    return torch.randn(4, 3, 12, 16).double().requires_grad_(), condition


def cost(logits: Tensor, slopes: Tensor) -> Tensor:
    """A loss of the logits, each weighed in its own way, and a penalty on the slopes."""
    return (F.softplus(logits / 10) * torch.arange(1, 5)).mean() + 3 * slopes.square().sum() / 4


@pytest.mark.parametrize("conditions", [NOTHING, Conditions(classes=3), Conditions(numbers=2)], ids=["nothing", "classes", "numbers"])
def test_gradients_are_those_of_two_graphs(conditions: Conditions) -> None:
    network, (images, condition) = awake(conditions), given(conditions)
    logits, slopes = logits_and_slopes(network, images, condition)
    found = torch.autograd.grad(cost(logits, slopes), list(network.parameters()))
    expected_logits = network(images, condition)
    (expected_slopes,) = torch.autograd.grad(expected_logits.sum(), images, create_graph=True)
    expected = torch.autograd.grad(cost(expected_logits, expected_slopes), list(network.parameters()))
    torch.testing.assert_close((logits, slopes), (expected_logits, expected_slopes))
    torch.testing.assert_close(found, expected)
    assert all(gradient.abs().max() > 0 for gradient in expected)


def test_the_logit_is_homogeneous_but_not_with_a_picture_or_a_guess_beside_it() -> None:
    conditions = Conditions(classes=3)
    assert awake().is_homogeneous
    assert awake(conditions).is_homogeneous
    assert not awake(conditions, "concatenate").is_homogeneous
    assert not awake(conditions, "auxiliary").is_homogeneous
    network, (images, condition) = awake(conditions), given(conditions)
    with biases_times(network, torch.full((4, 1), 2.5).double()):
        torch.testing.assert_close(network(2.5 * images, condition), 2.5 * awake(conditions)(images, condition))


def test_every_bias_of_the_networks_is_counted() -> None:
    """A biased layer of another kind would be left out of the theorem."""
    for network in (R3GANDiscriminator((3, 16, 16), width=16, widest=32), R3GANGenerator((3, 16, 16), width=16, widest=32)):
        biased = [module for module in network.modules() if getattr(module, "bias", None) is not None]
        assert biased
        assert all(isinstance(module, Biased) for module in biased)


def test_biases_count_once_again_afterwards() -> None:
    layer = Pointwise(2, 3)
    with biases_times(layer, torch.zeros(1, 1)):
        assert not layer(torch.zeros(1, 2, 1, 1)).any()
    assert torch.equal(layer(torch.zeros(1, 2, 1, 1)).flatten(), layer.bias)


@pytest.mark.parametrize(("groups", "stride"), [(2, 1), (1, 2)])
def test_the_grouped_convolution_is_pytorchs_with_all_its_gradients(groups: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = GroupedConv2d(4, 6, 3, stride=stride, padding=1, groups=groups).double()
    assert layer.bias is not None
    maps = torch.randn(2, 4, 5, 6).double().requires_grad_()

    def mine(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (maps,))
        return found

    arguments = (maps, layer.weight, layer.bias)
    torch.testing.assert_close(mine(*arguments), F.conv2d(*arguments, stride, 1, 1, groups))
    assert torch.autograd.gradcheck(mine, arguments)
    assert torch.autograd.gradgradcheck(mine, arguments)
    with biases_times(layer, torch.tensor([[2.0], [0.5]]).double()):
        biases = torch.tensor([2.0, 0.5]).view(2, 1, 1, 1) * layer.bias[:, None, None]
        torch.testing.assert_close(layer(maps), F.conv2d(maps, layer.weight, None, stride, 1, 1, groups) + biases)


def test_the_grouped_convolution_follows_autocast() -> None:
    layer = GroupedConv2d(4, 4, 3, padding=1, groups=2)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(torch.randn(2, 4, 5, 5))
    assert found.dtype == torch.bfloat16
    found.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
