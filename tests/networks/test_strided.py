from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.networks import strided
from elegan.networks.strided import StridedConv2d, StridedConvTranspose2d

LAYERS: list[tuple[type[nn.Module], Callable[..., Tensor]]] = [
    (StridedConv2d, F.conv2d),
    (StridedConvTranspose2d, F.conv_transpose2d),
]


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faster gradient wherever it is possible."""
    monkeypatch.setattr(strided, "FEWEST_PRODUCTS", 0)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("size", [(4, 6), (6, 4), (5, 4), (2, 2)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kind", "expected"), LAYERS)
def test_value_gradients_and_their_gradients_are_those_of_the_convolution(
    kind: Callable[..., nn.Conv2d], expected: Callable[..., Tensor], bias: bool, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    layer, x = kind(3, 5, bias=bias).double(), torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    inputs = [x, *layer.parameters()]

    def slopes(y: Tensor) -> list[Tensor]:
        first = torch.autograd.grad((y**3).sum(), inputs, create_graph=True)
        return [y, *first, *torch.autograd.grad(sum((slope**2).sum() for slope in first), inputs)]

    for one, other in zip(slopes(layer(x)), slopes(expected(x, layer.weight, layer.bias, stride=2, padding=1)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(("kind", "expected"), LAYERS)
def test_autocast_casts_as_for_the_convolution(kind: Callable[..., nn.Conv2d], expected: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    layer, x = kind(3, 5), torch.randn(4, 3, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = layer(x), expected(x, layer.weight, layer.bias, stride=2, padding=1)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, atol=0.01, rtol=0.02)
    for one, other in zip(*(torch.autograd.grad(y.float().sum(), [x, layer.weight]) for y in (found, wanted)), strict=True):
        assert one.dtype == other.dtype == torch.float32
        torch.testing.assert_close(one, other, atol=0.05, rtol=0.02)


def test_the_gradient_lies_in_memory_as_the_weight_does() -> None:
    layer = StridedConv2d(128, 256).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    layer(torch.randn(2, 128, 8, 8).to(memory_format=torch.channels_last)).sum().backward()
    assert layer.weight.grad.stride() == layer.weight.stride()


@pytest.mark.parametrize(("channels", "side", "fast"), [((128, 256), 8, True), ((128, 256), 16, False), ((3, 64), 8, False)], ids=str)
def test_large_maps_and_few_channels_are_left_to_pytorch(channels: tuple[int, int], side: int, fast: bool) -> None:
    output = StridedConv2d(*channels, bias=False)(torch.randn(2, channels[0], side, side))
    assert type(output.grad_fn).__name__ == ("HalveBackward" if fast else "ConvolutionBackward0")
