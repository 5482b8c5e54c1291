from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from elegan.networks.layers import (
    BatchNorm2d,
    CentreCrop,
    Clamp,
    DoublingConv2d,
    HalvingConv2d,
    advance,
    initialise_glorot,
    initialise_normal,
    spectral_norm,
    spectral_norm_all,
    spectral_norms,
)


def test_samples_are_cut_and_a_search_finds_back() -> None:
    """Beyond an edge the gradient counts where going down it leads inside, and is nothing where it leads further out."""
    x, slopes = torch.tensor([2.0, 2.0, -2.0, -2.0, 0.5, 1.0]), torch.tensor([3.0, -3.0, 3.0, -3.0, 3.0, -3.0])
    layer, x = Clamp(), x.requires_grad_()
    assert torch.equal(layer(x), x)
    cut = layer.eval()(x)
    assert cut.tolist() == layer(x.detach()).tolist() == [1.0, 1.0, -1.0, -1.0, 0.5, 1.0]
    (found,) = torch.autograd.grad(cut, x, slopes)
    assert found.tolist() == [3.0, 0.0, 0.0, -3.0, 3.0, -3.0]


LAYERS: list[Callable[[], nn.Module]] = [
    lambda: nn.Linear(7, 5),
    lambda: nn.Linear(1, 4),
    lambda: nn.Conv2d(3, 6, 3),
    lambda: nn.Conv2d(6, 1, 4),
    lambda: nn.Embedding(5, 3),
]


def largest_singular_value(weight: torch.Tensor) -> float:
    return float(torch.linalg.svdvals(weight.detach().double().flatten(1))[0])


@pytest.mark.parametrize("make", LAYERS)
def test_spectral_norm_finds_the_largest_singular_value(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer = spectral_norm(make())
    for _ in range(500):
        advance(layer)
    original = layer.parametrizations.weight.original
    assert largest_singular_value(layer.weight) == pytest.approx(1.0, abs=1e-4)
    torch.testing.assert_close(layer.weight, original / largest_singular_value(original), rtol=1e-4, atol=1e-6)


def test_spectral_norm_follows_a_weight_that_moves() -> None:
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(6, 6))
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(torch.randn(6, 6) * 3)
    assert largest_singular_value(layer.weight) != pytest.approx(1.0, abs=1e-3)
    for _ in range(500):
        advance(layer)
    assert largest_singular_value(layer.weight) == pytest.approx(1.0, abs=1e-4)


def test_only_advance_moves_the_estimate() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(spectral_norm(nn.Linear(6, 4)), nn.ReLU(), spectral_norm(nn.Linear(4, 3)))
    with torch.no_grad():
        network[0].parametrizations.weight.original.add_(torch.randn(4, 6))
    before = {name: value.clone() for name, value in network.named_buffers()}
    assert len(before) == 4
    network(torch.randn(2, 6)).sum().backward()
    network.eval()(torch.randn(2, 6))
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())
    advance(network)
    assert not torch.equal(network[0].parametrizations.weight[0].left, before["0.parametrizations.weight.0.left"])


def test_spectral_norm_stays_in_float32_under_autocast() -> None:
    """No operation of it runs under autocast: which of them autocast would take differs from device to device."""

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(function, "__name__", "") in ("mv", "dot", "matmul", "div", "__truediv__", "flatten", "vdot", "mm"):
                under_autocast.append(torch.is_autocast_enabled("cpu"))
            return function(*args, **(kwargs or {}))

    torch.manual_seed(0)
    layer, under_autocast = spectral_norm(nn.Linear(6, 4)), list[bool]()
    expected = layer.weight
    with torch.autocast("cpu", torch.bfloat16), Watch():
        found = layer.weight
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert set(under_autocast) == {False}


def test_the_estimates_may_advance_between_a_forward_and_its_backward() -> None:
    """A generated batch that two moves share is made in the first and differentiated in the second."""
    torch.manual_seed(0)
    layer = spectral_norm(nn.Linear(6, 4))
    loss = layer(torch.randn(2, 6)).square().sum()
    advance(layer)
    loss.backward()
    assert layer.parametrizations.weight.original.grad is not None


def test_spectral_norm_is_in_the_state() -> None:
    torch.manual_seed(0)
    layer, other = spectral_norm(nn.Linear(6, 4)), spectral_norm(nn.Linear(6, 4))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight, layer.weight)


def test_batch_norm_follows_one_forward_for_each_arming() -> None:
    torch.manual_seed(0)
    norm = BatchNorm2d(3)
    first, second = torch.randn(4, 3, 5, 5) + 2, torch.randn(4, 3, 5, 5) - 7
    norm(first)
    norm(second)
    torch.testing.assert_close(norm.running_mean, 0.1 * first.mean((0, 2, 3)))
    assert norm.num_batches_tracked == 1
    norm.track_running_stats = True
    norm(second)
    assert norm.num_batches_tracked == 2


def test_batch_norm_normalises_by_the_batch_while_training_whether_it_follows_or_not() -> None:
    norm, images = BatchNorm2d(3), torch.randn(4, 3, 5, 5) * 3 + 2
    armed, disarmed = norm(images), norm(images)
    assert torch.equal(armed, disarmed)
    torch.testing.assert_close(disarmed.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tracks", [True, False])
def test_batch_norm_uses_running_statistics_in_evaluation(tracks: bool) -> None:
    norm, images = BatchNorm2d(3), torch.randn(4, 3, 5, 5) * 3 + 2
    norm(images)
    norm.eval()
    norm.track_running_stats = tracks
    expected = (images - norm.running_mean.view(1, 3, 1, 1)) / (norm.running_var.view(1, 3, 1, 1) + norm.eps).sqrt()
    torch.testing.assert_close(norm(images), expected)
    assert norm.track_running_stats is tracks
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 4), (1, 1), (5, 8)])
def test_a_crop_is_the_middle(height: int, width: int) -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    found = CentreCrop(height, width)(torch.stack([rows, columns])[None])
    top, left = (8 - height) // 2, (8 - width) // 2
    assert found.shape == (1, 2, height, width)
    assert found[0, :, 0, 0].tolist() == [top, left]
    assert found[0, :, -1, -1].tolist() == [top + height - 1, left + width - 1]


def test_initialisation_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(32, 64, 4), nn.ConvTranspose2d(64, 32, 4), nn.Linear(200, 200), BatchNorm2d(1000))
    initialise_normal(network)
    for layer, centre in zip(network, (0, 0, 0, 1), strict=True):
        assert float(layer.weight.detach().mean()) == pytest.approx(centre, abs=3e-3)
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
        assert not layer.bias.any()


def test_glorot_initialisation_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(32, 64, 3), nn.Linear(200, 300))
    for gain in (1.0, 2**0.5):
        initialise_glorot(network, gain)
        for layer, fans in zip(network, (32 * 9 + 64 * 9, 500), strict=True):
            assert float(layer.weight.detach().std()) == pytest.approx(gain * (2 / fans) ** 0.5, rel=0.02)
            assert float(layer.weight.detach().abs().max()) == pytest.approx(gain * (6 / fans) ** 0.5, rel=0.02)
            assert not layer.bias.any()


def test_all_layers_with_a_matrix_or_a_kernel_get_spectral_norm_and_no_other() -> None:
    network = nn.Sequential(nn.Conv2d(3, 6, 3), BatchNorm2d(6), nn.Sequential(nn.Linear(6, 2), nn.Embedding(5, 3)))
    spectral_norm_all(network)
    assert [tuple(weight.shape) for _, weight in spectral_norms(network)] == [(6, 3, 3, 3), (2, 6), (5, 3)]
    assert isinstance(network[1].weight, nn.Parameter)


RESIZING: list[tuple[type[nn.Conv2d], Callable[[nn.Conv2d, Tensor], Tensor]]] = [
    (HalvingConv2d, lambda layer, x: F.avg_pool2d(F.conv2d(x, layer.weight, layer.bias, padding=1), 2)),
    (DoublingConv2d, lambda layer, x: F.conv2d(F.interpolate(x, scale_factor=2.0), layer.weight, layer.bias, padding=1)),
]


@pytest.mark.parametrize("size", [(4, 6), (16, 16), (17, 31), (40, 7)], ids=str)
@pytest.mark.parametrize(("make", "expected"), RESIZING)
def test_one_convolution_does_what_a_convolution_and_resizing_do(
    make: Callable[[int, int], nn.Conv2d], expected: Callable[[nn.Conv2d, Tensor], Tensor], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    layer, x = make(3, 5).double(), torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    found, wanted = layer(x), expected(layer, x)
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(wanted)
    for one, other in zip(*(torch.autograd.grad((y * weights).sum(), [x, *layer.parameters()]) for y in (found, wanted)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("make", "expected"), RESIZING)
def test_one_convolution_needs_fewer_products(
    make: Callable[[int, int], nn.Conv2d], expected: Callable[[nn.Conv2d, Tensor], Tensor]
) -> None:
    layer, x, products = make(8, 8), torch.randn(1, 8, 32, 32), []
    for function in (layer, lambda x: expected(layer, x)):
        with FlopCounterMode(display=False) as counter:
            function(x)
        products.append(counter.get_total_flops())
    assert products[0] * 36 == products[1] * 16
