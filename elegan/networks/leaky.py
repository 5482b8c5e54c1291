"""Leaky ReLU with slope 0.2, as the discriminators of the strong models have it, at less cost where a penalty asks for the gradient
of a gradient."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2


class LeakyReLU(nn.Module):
    """PyTorch's, with a shorter gradient of the gradient: on either side of 0 the slope stays what it is.

    PyTorch's own sends zeros back through the whole network for that, at the price of one more backward pass.
    """

    def forward(self, x: Tensor) -> Tensor:
        bent: Tensor = Bend.apply(x)  # type: ignore[no-untyped-call]
        return bent


class Bend(torch.autograd.Function):
    """Leaky ReLU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        bent = F.leaky_relu(x, SLOPE)
        ctx.save_for_backward(bent)
        return bent

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (bent,) = ctx.saved_tensors
        found: Tensor = Slopes.apply(gradient, bent.detach())  # type: ignore[no-untyped-call]
        return found


class Slopes(torch.autograd.Function):
    """A gradient times the slopes where leaky ReLU gave `bent`: linear, so that it is its own gradient."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, bent: Tensor) -> Tensor:
        ctx.save_for_backward(bent)
        return torch.ops.aten.leaky_relu_backward(gradient, bent, SLOPE, True)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return Slopes.apply(gradient, *ctx.saved_tensors), None  # type: ignore[no-untyped-call]
