"""Layers with an equalised learning rate (Karras et al., 2018, section 4.1): weights are N(0, 1) and scaled where they are used.

An optimizer such as Adam moves all weights by the same amount; scaled so, the layers' outputs change by the same amount too.
"""

from __future__ import annotations

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.networks.leaky import LeakyReLU

GAIN = sqrt(2)
"""After a leaky ReLU, so that signals keep their size."""


class EqualisedLinear(nn.Module):
    """(n, size_in) -> (n, size_out): weight N(0, 1) / `rate`, used times rate / sqrt(size_in); the bias is used times rate.

    rate: how much slower than the optimizer says this layer learns; 0.01 in StyleGAN's mapping network. gain: of the result.
    """

    def __init__(self, size_in: int, size_out: int, *, rate: float = 1.0, bias: float = 0.0, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size_out, size_in) / rate)
        self.bias = nn.Parameter(torch.full((size_out,), bias / rate))
        self.weight_gain, self.bias_gain = gain * rate / sqrt(size_in), gain * rate

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class EqualisedConv2d(nn.Module):
    """(n, size_in, h, w) -> (n, size_out, h', w'): weight N(0, 1), used times gain / sqrt(size_in kernel^2); the bias times gain."""

    def __init__(
        self, size_in: int, size_out: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True, gain: float = 1.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size_out, size_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(size_out)) if bias else None
        self.stride, self.padding = stride, padding
        self.gain, self.weight_gain = gain, gain / sqrt(size_in * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.gain
        return F.conv2d(x, self.weight * self.weight_gain, bias, self.stride, self.padding)


def at_least_float32(x: Tensor) -> Tensor:
    """`x` where half precision would lose what counts: squares, sums and roots."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def activated(layer: nn.Module) -> nn.Sequential:
    """`layer`, made with gain `GAIN`, and a leaky ReLU: a positive gain before it is the same as one after it."""
    return nn.Sequential(layer, LeakyReLU())
