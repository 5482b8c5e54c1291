from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from elegan.losses.orthogonality import filters, orthogonality
from elegan.networks.conditions import NumberFeatures
from elegan.networks.equalised import EqualisedConv2d, EqualisedLinear
from elegan.networks.layers import spectral_norm
from elegan.networks.stylegan2 import ModulatedConv2d


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(0)


def by_definition(rows: Tensor) -> Tensor:
    gram = rows @ rows.T
    return (gram * (1 - torch.eye(len(rows)))).square().sum()


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(weight[0]), len(weight))
    layer.weight.data = torch.tensor(weight)
    return layer


def test_two_filters_by_hand() -> None:
    assert orthogonality(linear([[1.0, 0.0], [3.0, 4.0]])).item() == 18.0  # the inner product 3, twice, squared


def test_lengths_are_free() -> None:
    assert orthogonality(linear([[5.0, 0.0, 0.0], [0.0, 0.1, 0.0]])).item() == 0.0


@pytest.mark.parametrize("sizes", [(6, 4), (4, 6), (40, 3), (5, 5)])
def test_wide_and_tall_matrices_follow_the_definition(sizes: tuple[int, int]) -> None:
    layer = nn.Linear(*sizes)
    torch.testing.assert_close(orthogonality(layer), by_definition(layer.weight))


def test_the_gradient_is_that_of_the_definition() -> None:
    for sizes in ((6, 4), (4, 6)):
        layer = nn.Linear(*sizes)
        (found,) = torch.autograd.grad(orthogonality(layer), layer.weight)
        gram = layer.weight @ layer.weight.T
        torch.testing.assert_close(found, 4 * (gram - gram.diag().diag()) @ layer.weight)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 5, 3), nn.Conv1d(3, 5, 4)])
def test_a_convolutions_filters_are_its_output_channels(layer: nn.Conv2d) -> None:
    torch.testing.assert_close(orthogonality(layer), by_definition(layer.weight.flatten(1)))


@pytest.mark.parametrize("layer", [nn.ConvTranspose2d(3, 5, 3), nn.ConvTranspose1d(3, 5, 4)])
def test_so_are_a_transposed_convolutions(layer: nn.ConvTranspose2d) -> None:
    torch.testing.assert_close(orthogonality(layer), by_definition(layer.weight.transpose(0, 1).flatten(1)))
    assert not torch.isclose(orthogonality(layer), by_definition(layer.weight.flatten(1)))


def test_layers_of_equalised_rates_count_as_they_are_used() -> None:
    flat, spatial, modulated = EqualisedLinear(6, 4, rate=0.01), EqualisedConv2d(3, 5, 3), ModulatedConv2d(3, 5, 3, 8)
    torch.testing.assert_close(orthogonality(flat), by_definition(flat.weight * 0.01 / sqrt(6)))
    torch.testing.assert_close(orthogonality(spatial), by_definition(spatial.weight.flatten(1) / sqrt(27)))
    style = by_definition(modulated.style.weight / sqrt(8))
    torch.testing.assert_close(orthogonality(modulated), by_definition(modulated.weight.flatten(1) / sqrt(27)) + style)


def test_embeddings_and_norms_are_left_alone() -> None:
    others = nn.Embedding(3, 4), NumberFeatures(3, 4), nn.BatchNorm2d(4), nn.LayerNorm((4, 4))
    assert list(filters(nn.Sequential(*others))) == []


def test_filters_of_different_groups_see_different_inputs() -> None:
    grouped = nn.Conv2d(6, 4, 3, groups=2)
    parts = grouped.weight.flatten(1)
    torch.testing.assert_close(orthogonality(grouped), by_definition(parts[:2]) + by_definition(parts[2:]))


def test_filters_make_the_layers_output() -> None:
    """Of any layer: each output channel is its filter times what the filter sees."""
    x = torch.randn(1, 6, 1, 1)
    for layer in (nn.Conv2d(6, 4, 1, groups=2, bias=False), nn.ConvTranspose2d(6, 4, 1, groups=2, bias=False)):
        (weight,) = filters(layer)
        torch.testing.assert_close((weight @ x.view(2, 3, 1)).flatten(), layer(x).flatten())


def test_the_sum_is_over_all_layers_but_embeddings_and_norms() -> None:
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Embedding(5, 4), nn.ConvTranspose2d(3, 4, 2), nn.Sequential(nn.Linear(4, 2))]
    expected = orthogonality(layers[0]) + orthogonality(layers[3]) + orthogonality(layers[4])
    torch.testing.assert_close(orthogonality(nn.ModuleList(layers)), expected)


def test_single_numbers_have_no_direction() -> None:
    assert orthogonality(nn.Sequential(nn.Linear(1, 7), linear([[1.0, 0.0], [3.0, 4.0]]))).item() == 18.0


def test_under_spectral_norm_the_parameter_itself_pays() -> None:
    plain = nn.Linear(4, 3)
    expected = by_definition(plain.weight.detach().clone())
    normed = spectral_norm(plain)
    torch.testing.assert_close(orthogonality(normed).detach(), expected)
    orthogonality(normed).backward()
    gradient = normed.get_parameter("parametrizations.weight.original").grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def test_it_is_in_float32_under_autocast() -> None:
    layer = nn.Linear(50, 40)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(orthogonality(layer), by_definition(layer.weight.detach()).float(), rtol=0.02, atol=0)
        found = orthogonality(layer)
    assert torch.equal(found, orthogonality(layer))
