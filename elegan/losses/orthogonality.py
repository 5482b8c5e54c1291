"""A regulariser of weights: filters that do not overlap."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


def orthogonality(network: nn.Module) -> Tensor:
    """The sum over linear layers and convolutions of ||W W^T * (1 - I)||_F^2 (Brock et al., 2019, equation 3).

    The rows of W are a layer's filters: their directions are pushed apart, their lengths stay free. Of a parametrised
    layer, such as one with spectral norm, W is the parameter itself. Embeddings and biases are left alone.
    """
    weights = [weight for weight in filters(network) if weight.shape[2] > 1]  # numbers have no directions
    with torch.autocast(weights[0].device.type, enabled=False):
        return torch.stack([overlap(weight) for weight in weights]).sum()


def filters(network: nn.Module) -> Iterator[Tensor]:
    """The weights of each linear layer and convolution, also of equalised rates: (groups, filters, inputs of a filter)."""
    for layer in network.modules():
        if isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d)):
            weight = parameter(layer)  # (in, out / groups, ...)
            yield weight.reshape(layer.groups, weight.shape[0] // layer.groups, weight.shape[1], -1).transpose(1, 2).flatten(2)
        elif isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)) or hasattr(layer, "weight_gain"):
            weight, groups = parameter(layer), getattr(layer, "groups", 1)
            yield weight.reshape(groups, weight.shape[0] // groups, -1)


def parameter(layer: nn.Module) -> Tensor:
    """The weight that is trained; where the layer scales it by a number, as for equalised rates, scaled."""
    name = "parametrizations.weight.original" if parametrize.is_parametrized(layer, "weight") else "weight"
    gain: float = getattr(layer, "weight_gain", 1.0)
    weight = dict(layer.named_parameters())[name]
    return weight if gain == 1 else weight * gain


def overlap(weight: Tensor) -> Tensor:
    """The sum of the squared inner products of different filters; weight: (groups, filters, inputs)."""
    if weight.shape[1] <= weight.shape[2]:
        return 2 * (weight @ weight.mT).triu(1).square().sum()
    # ||W W^T||_F = ||W^T W||_F: with many more filters than inputs the first matrix would be huge.
    return (weight.mT @ weight).square().sum() - weight.square().sum(2).square().sum()
