"""Networks of which a positive multiple of the input, and of all biases, gives the same multiple of the output.

Convolutions, leaky ReLUs, sums and resampling make such networks, as they are linear wherever no activation changes its sign. By
Euler's theorem such a function is its gradient times its input, <df/dx, x> + <df/db, b>. So one graph, that of the gradient, gives
the gradients of a loss of the output and of a penalty on the slope: 4 times the work of a forward pass where one graph for each
takes 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Biased:
    """Marks a layer that adds a bias: of each sample so many times as `strength`, (n, 1), says; once where that is None."""

    strength: Tensor | None = None


@contextmanager
def biases_times(network: nn.Module, strength: Tensor) -> Iterator[None]:
    """In here each sample's biases are multiplied by its number in `strength`, (n, 1)."""
    layers = [layer for layer in network.modules() if isinstance(layer, Biased)]
    for layer in layers:
        layer.strength = strength
    try:
        yield
    finally:
        for layer in layers:
            layer.strength = None


def logits_and_slopes(discriminator: nn.Module, images: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
    """Logits (n,) of `images`, which ask for a gradient, and that gradient, (n, c, h, w): at least in float32, both to be differentiated.

    discriminator: homogeneous, with all its biases in `Biased` layers; no sample of a batch may change another's logit.
    """
    one = torch.ones(len(images), 1, device=images.device, requires_grad=True)
    with biases_times(discriminator, one):
        logits: Tensor = discriminator.forward(images, condition)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    slopes, shares = torch.autograd.grad(logits.sum(), (images, one), create_graph=True)
    by_theorem = (slopes * images.detach()).flatten(1).sum(1) + shares.squeeze(1)
    # The same number but for rounding; its graph is that of the slopes.
    return logits.detach() + (by_theorem - by_theorem.detach()), slopes
