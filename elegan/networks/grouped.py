"""Grouped convolution whose gradient's gradient is one kernel, where PyTorch calls one for each group."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from elegan.networks.homogeneous import Biased

convolution, convolution_backward = torch.ops.aten.convolution, torch.ops.aten.convolution_backward


class GroupedConv2d(Biased, nn.Conv2d):
    """nn.Conv2d with padding and groups: (n, c, h, w) -> (n, c', h', w')."""

    def forward(self, input: Tensor) -> Tensor:
        assert self.bias is not None
        assert isinstance(self.padding, tuple)
        kind, dtype = input.device.type, input.dtype
        # PyTorch's autocast does not see into a function of our own
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else dtype
        input, weight, bias = input.to(dtype), self.weight.to(dtype), self.bias.to(dtype)
        shape = (list(self.stride), list(self.padding), list(self.dilation), False, [0, 0], self.groups)
        if self.strength is None:
            return cast(Tensor, Convolve.apply(input, weight, bias, shape))  # type: ignore[no-untyped-call]
        maps: Tensor = Convolve.apply(input, weight, None, shape)  # type: ignore[no-untyped-call]
        return maps + (self.strength.to(dtype) * bias)[:, :, None, None]


# Each of these three is linear in two arguments, and its gradients are the other two.


class Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, shape: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.shape = shape
        return cast(Tensor, convolution(maps, weight, bias, *shape))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        needs_maps, needs_weight, needs_bias, _ = ctx.needs_input_grad
        of_maps = MapsGradient.apply(gradient, weight, maps.detach(), ctx.shape) if needs_maps else None  # type: ignore[no-untyped-call]
        of_weight = WeightGradient.apply(gradient, maps, weight.detach(), ctx.shape) if needs_weight else None  # type: ignore[no-untyped-call]
        return of_maps, of_weight, gradient.sum((0, 2, 3)) if needs_bias else None, None


class MapsGradient(torch.autograd.Function):
    """like: maps of the wanted shape."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, like: Tensor, shape: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.shape = shape
        return cast(Tensor, convolution_backward(gradient, like, weight, None, *shape, [True, False, False])[0])

    @staticmethod
    def backward(ctx: Any, maps: Tensor) -> tuple[Tensor | None, ...]:
        gradient, weight = ctx.saved_tensors
        needs_gradient, needs_weight, _, _ = ctx.needs_input_grad
        of_gradient = Convolve.apply(maps, weight, None, ctx.shape) if needs_gradient else None  # type: ignore[no-untyped-call]
        of_weight = WeightGradient.apply(gradient, maps, weight.detach(), ctx.shape) if needs_weight else None  # type: ignore[no-untyped-call]
        return of_gradient, of_weight, None, None


class WeightGradient(torch.autograd.Function):
    """like: a weight of the wanted shape."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, maps: Tensor, like: Tensor, shape: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(gradient, maps)
        ctx.shape = shape
        return cast(Tensor, convolution_backward(gradient, maps, like, None, *shape, [False, True, False])[1])

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        gradient, maps = ctx.saved_tensors
        needs_gradient, needs_maps, _, _ = ctx.needs_input_grad
        of_gradient = Convolve.apply(maps, weight, None, ctx.shape) if needs_gradient else None  # type: ignore[no-untyped-call]
        of_maps = MapsGradient.apply(gradient, weight, maps.detach(), ctx.shape) if needs_maps else None  # type: ignore[no-untyped-call]
        return of_gradient, of_maps, None, None
