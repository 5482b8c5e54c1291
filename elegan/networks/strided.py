"""The convolutions of DCGAN, 4x4 with stride 2, with a faster gradient of their weights on small maps.

PyTorch's own takes twice as long as need be on a CPU where a map is small and its channels are many. There the gradient is one
matrix product: of the windows that the kernel saw with the gradients that came back.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_POSITIONS = 50
"""Up to this size of the small map the matrix product is faster."""

FEWEST_PRODUCTS = 2**15
"""Below this many products of channels, PyTorch's own is as fast."""


class StridedConv2d(nn.Conv2d):
    """(n, c, h, w) -> (n, c', h // 2, w // 2)."""

    def __init__(self, size_in: int, size_out: int, *, bias: bool = True) -> None:
        super().__init__(size_in, size_out, 4, stride=2, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        if not pays(self, input, (input.shape[2] // 2) * (input.shape[3] // 2)) or input.shape[2] % 2 or input.shape[3] % 2:
            return super().forward(input)
        output: Tensor = Halve.apply(*cast(input, self.weight))  # type: ignore[no-untyped-call]
        return output if self.bias is None else output + cast(self.bias)[0][:, None, None]


class StridedConvTranspose2d(nn.ConvTranspose2d):
    """(n, c, h, w) -> (n, c', 2h, 2w)."""

    def __init__(self, size_in: int, size_out: int, *, bias: bool = True) -> None:
        super().__init__(size_in, size_out, 4, stride=2, padding=1, bias=bias)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not pays(self, input, input.shape[2] * input.shape[3]):
            return super().forward(input, output_size)
        output: Tensor = Double.apply(*cast(input, self.weight))  # type: ignore[no-untyped-call]
        return output if self.bias is None else output + cast(self.bias)[0][:, None, None]


def pays(layer: nn.Conv2d | nn.ConvTranspose2d, input: Tensor, positions: int) -> bool:
    return (
        input.device.type == "cpu"
        and positions <= FEW_POSITIONS
        and layer.in_channels * layer.out_channels >= FEWEST_PRODUCTS
        and torch.is_grad_enabled()
    )


def cast(*tensors: Tensor) -> list[Tensor]:
    """As autocast would cast them for a convolution."""
    if not torch.is_autocast_enabled("cpu"):
        return list(tensors)
    return [tensor.to(torch.get_autocast_dtype("cpu")) for tensor in tensors]


class Halve(torch.autograd.Function):
    """The convolution. Its gradients are themselves made of parts that have gradients."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        return F.conv2d(input, weight, stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        by_input = Double.apply(gradient, weight) if ctx.needs_input_grad[0] else None  # type: ignore[no-untyped-call]
        by_weight = kernel_gradient(input, gradient) if ctx.needs_input_grad[1] else None
        return by_input, by_weight


class Double(torch.autograd.Function):
    """The transposed convolution."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        return F.conv_transpose2d(input, weight, stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        by_input = Halve.apply(gradient, weight) if ctx.needs_input_grad[0] else None  # type: ignore[no-untyped-call]
        by_weight = kernel_gradient(gradient, input) if ctx.needs_input_grad[1] else None
        return by_input, by_weight


def kernel_gradient(large: Tensor, small: Tensor) -> Tensor:
    """Maps (n, c, 2h, 2w) and (n, k, h, w) -> (k, c, 4, 4): over all positions, what is in the small map times the window of the
    large one there."""
    channels, width = large.shape[1], small.shape[1]
    padded = F.pad(large.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    windows = padded.unfold(1, 4, 2).unfold(2, 4, 2).permute(0, 1, 2, 4, 5, 3).reshape(-1, 16 * channels)
    products = small.permute(0, 2, 3, 1).reshape(-1, width).t() @ windows
    return products.view(width, 4, 4, channels).permute(0, 3, 1, 2)
