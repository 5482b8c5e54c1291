from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import DataError, OptionError
from elegan.metrics import perceptual
from elegan.metrics.perceptual import (
    LPIPS,
    VGG16,
    Net,
    arc,
    linear_shapes,
    lpips_diversity,
    path_lengths,
    stack_shapes,
    trimmed_mean,
    vgg16_shapes,
)

NETS: tuple[Net, ...] = ("alex", "vgg")
Tensors = dict[str, Tensor]


def draw(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> Tensors:
    """Random weights under which activations neither vanish nor explode."""
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=random) * (2 / max(1, np.prod(shape[1:]))) ** 0.5 for name, shape in shapes.items()}


def images(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def alexnet() -> nn.Sequential:
    """torchvision's `features`, as its documentation prints them."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip


def vgg16(width: int = 64) -> nn.Sequential:
    parts: list[nn.Module] = []
    inputs = 3
    for factor in (1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0):
        if factor:
            parts += [nn.Conv2d(inputs, factor * width, 3, padding=1), nn.ReLU()]
            inputs = factor * width
        else:
            parts.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*parts)


BACKBONES: dict[str, Callable[[], nn.Sequential]] = {"alex": alexnet, "vgg": vgg16}


@pytest.fixture(scope="module")
def packages() -> tuple[ModuleType, ModuleType]:
    """lpips, and torch-fidelity's VGG16. torchvision, from which they take their networks, cannot be loaded here."""
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("an oracle that needs torchvision to be installed whole: pip install --no-deps torch-fidelity lpips")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.init, "kaiming_uniform_", lambda tensor, **_: tensor)
        for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
            patch.setitem(sys.modules, name, MagicMock())
        for name in ("CIFAR10", "CIFAR100", "STL10"):
            patch.setattr(sys.modules["torchvision.datasets"], name, object)
        import lpips
        import torch_fidelity.feature_extractor_vgg16

        return lpips, torch_fidelity.feature_extractor_vgg16


@pytest.fixture(scope="module", params=NETS)
def pair(request: pytest.FixtureRequest, packages: tuple[ModuleType, ModuleType]) -> tuple[LPIPS, nn.Module]:
    """The network and the lpips package's, in float64, with the same random weights."""
    net: Net = request.param
    backbone, linear = draw(stack_shapes(net)), {name: value.abs() for name, value in draw(linear_shapes(net)).items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.init, "kaiming_uniform_", lambda tensor, **_: tensor)
        features = BACKBONES[net]()
        features.load_state_dict({name.removeprefix("features."): value for name, value in backbone.items()})
        made = SimpleNamespace(
            alexnet=lambda pretrained: SimpleNamespace(features=features), vgg16=lambda pretrained: SimpleNamespace(features=features)
        )
        patch.setattr(packages[0].pretrained_networks, "tv", made)
        reference = packages[0].LPIPS(pretrained=False, net=net, pnet_rand=True, verbose=False)
    reference.load_state_dict(linear, strict=False)
    return LPIPS(net, backbone, linear).double(), reference.double()


def test_lpips_is_the_packages(pair: tuple[LPIPS, nn.Module]) -> None:
    network, reference = pair
    one = images(3, 3, *((33, 40) if network.net == "alex" else (20, 25))).double()
    other = torch.stack([one[1], -one[1], (one[2] + 0.01 * one[0]).clamp(-1, 1)])
    found = network(one, other)
    assert found.shape == (3,)
    assert len(set(found.tolist())) == 3
    torch.testing.assert_close(found, reference(one, other).flatten(), rtol=1e-9, atol=0)


@pytest.fixture(scope="module")
def network() -> LPIPS:
    return LPIPS("alex", draw(stack_shapes("alex")), {name: value.abs() for name, value in draw(linear_shapes("alex")).items()})


def test_lpips_is_a_distance_of_pairs(network: LPIPS, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = images(3, 1, 32, 32), images(3, 1, 32, 32, seed=1)
    together = network(one, other)
    assert network(one, one).tolist() == [0, 0, 0]
    torch.testing.assert_close(network(other, one), together)
    monkeypatch.setattr(perceptual, "PAIRS", 2)
    torch.testing.assert_close(network(one, other), together)
    torch.testing.assert_close(network(one.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1)), together)  # grey is repeated


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (images(1, 3, 32, 32) * 127.5 + 127.5, r"in \[-1, 1\], got values from \d.* to 25\d.*; scale"),
        (images(1, 3, 32, 32) - 0.1, r"in \[-1, 1\], got values from -1\.\d"),
        (torch.full((1, 3, 32, 32), float("nan")), r"in \[-1, 1\], got values from nan"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), r"got torch\.uint8"),
        (torch.zeros(1, 2, 32, 32), r"1 or 3 channels"),
        (torch.zeros(0, 3, 32, 32), r"1 or 3 channels"),
        (torch.zeros(3, 32, 32), r"1 or 3 channels"),
        (torch.zeros(1, 3, 40, 30), r"alex takes images of at least 31 x 31, got 40 x 30"),
        (torch.zeros(2, 3, 32, 32), r"one shape, got \(2, 3, 32, 32\) and \(1, 3, 32, 32\)"),
    ],
)
def test_images_it_does_not_take(network: LPIPS, wrong: Tensor, match: str) -> None:
    with pytest.raises(DataError, match=match):
        network(wrong, torch.zeros(1, 3, 32, 32))
    with pytest.raises(DataError):
        network(torch.zeros(1, 3, 32, 32), wrong)


@pytest.mark.parametrize(("net", "smallest"), [("alex", 31), ("vgg", 16)])
def test_the_smallest_images_work(net: Net, smallest: int) -> None:
    slim = {"alex": ((2, 3), (2, 2), (2, 2), (2, 2), (2, 2)), "vgg": ((2, 3),) + ((2, 2),) * 12}[net]
    names = list(stack_shapes(net).items())
    weights = {}
    for (outputs, inputs), ((kernel, shape), (bias, _)) in zip(slim, zip(names[::2], names[1::2], strict=True), strict=True):
        weights |= {kernel: torch.randn(outputs, inputs, *shape[2:]), bias: torch.randn(outputs)}
    found = LPIPS(net, weights, {name: torch.ones(1, 2, 1, 1) for name in linear_shapes(net)})
    assert found(images(1, 3, smallest, smallest), images(1, 3, smallest, smallest, seed=1)).isfinite().all()
    with pytest.raises(DataError, match=f"at least {smallest} x {smallest}"):
        found(images(1, 3, smallest - 1, 64), images(1, 3, smallest - 1, 64))


def test_the_number_of_weights_is_the_published() -> None:
    def count(shapes: dict[str, tuple[int, ...]]) -> int:
        return sum(int(np.prod(shape)) for shape in shapes.values())

    assert count(vgg16_shapes()) == 138_357_544 - 1000 * 4097  # without the last layer
    assert count(stack_shapes("vgg")) == 14_714_688
    assert count(stack_shapes("alex")) == 61_100_840 - (4096 * (256 * 36 + 1) + 4096 * 4097 + 1000 * 4097)
    assert [shape[1] for shape in linear_shapes("alex").values()] == [64, 192, 384, 256, 256]
    assert [shape[1] for shape in linear_shapes("vgg").values()] == [64, 128, 256, 512, 512]


def test_vgg16_features_are_the_references(
    packages: tuple[ModuleType, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slim VGG16: names and steps are the same, and widths come with the weights."""
    full = nn.Module()
    full.features, full.avgpool = vgg16(width=4), nn.AdaptiveAvgPool2d(7)
    full.classifier = nn.Sequential(
        nn.Linear(32 * 49, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 30), nn.ReLU(), nn.Dropout(), nn.Linear(30, 5)
    )
    full.forward = lambda x: full.classifier(full.avgpool(full.features(x)).flatten(1))  # type: ignore[assignment]
    weights = draw({name: tuple(value.shape) for name, value in full.state_dict().items()})
    torch.save(weights, tmp_path / "vgg16.pth")

    def normalize(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...], inplace: bool) -> Tensor:
        return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    functional = SimpleNamespace(functional=SimpleNamespace(normalize=normalize))
    monkeypatch.setattr(packages[1], "torchvision", SimpleNamespace(models=SimpleNamespace(vgg16=lambda: full), transforms=functional))
    reference = packages[1].FeatureExtractorVGG16("vgg16", ["fc2_relu"], feature_extractor_weights_path=str(tmp_path / "vgg16.pth"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)
    (expected,) = reference(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    assert expected.std(0).max() > 0.01 * expected.max()  # the images are told apart
    monkeypatch.setattr(perceptual, "PAIRS", 2)
    torch.testing.assert_close(VGG16(weights).features(pixels), expected, rtol=0, atol=1e-5 * expected.max().item())


def test_diversity_is_of_each_class(network: LPIPS) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 1), dtype=np.uint8)
    pixels[[1, 3]] = pixels[1]
    labels = np.array([0, 1, 0, 1, 0, 2, 2])
    seen = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    found = lpips_diversity(network, pixels, labels)
    assert found[1] == 0
    assert found[0] == pytest.approx(network(seen[[0, 0, 2]], seen[[2, 4, 4]]).mean().item(), rel=1e-6)
    assert found[2] == pytest.approx(network(seen[5:6], seen[6:]).item(), rel=1e-6)


def test_diversity_is_of_random_pairs_that_a_seed_repeats(network: LPIPS) -> None:
    pixels, labels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 1), dtype=np.uint8), np.zeros(9, np.int64)
    first = lpips_diversity(network, pixels, labels, pairs=4)
    assert lpips_diversity(network, pixels, labels, pairs=4) == first
    assert lpips_diversity(network, pixels, labels, pairs=4, seed=1) != first


def test_diversity_takes_pairs(network: LPIPS) -> None:
    pixels = np.zeros((3, 32, 32, 1), np.uint8)
    with pytest.raises(DataError, match="class 1 has 1 samples"):
        lpips_diversity(network, pixels, np.array([0, 0, 1]))
    with pytest.raises(OptionError, match="pairs"):
        lpips_diversity(network, pixels, np.array([0, 0, 0]), pairs=0)


N = 40


def path_length(*arguments: Any, **options: Any) -> float:
    return trimmed_mean(path_lengths(*arguments, **options))


def paths(length: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Starts, ends and shares of N paths in 6 dimensions, in float64; latents of this length."""
    random = torch.Generator().manual_seed(3)
    starts, ends = torch.randn(2, N, 6, generator=random, dtype=torch.float64)
    if length is not None:
        starts, ends = (length * F.normalize(one, dim=1) for one in (starts, ends))
    return starts, ends, torch.rand(N, generator=random, dtype=torch.float64)


def as_image(latents: Tensor, numbers: Tensor) -> Tensor:
    return latents.view(-1, 1, 2, 3)


def squared(one: Tensor, other: Tensor) -> Tensor:
    return (one - other).square().sum((1, 2, 3))


def trimmed(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    inside = (values >= np.percentile(values, 1, method="lower")) & (values <= np.percentile(values, 99, method="higher"))
    return float(values[inside].mean())


def test_a_path_in_w_is_as_long_as_it_is() -> None:
    starts, ends, shares = paths()
    expected = trimmed((ends - starts).square().sum(1).numpy())
    assert path_length(as_image, squared, starts, ends, shares, space="w") == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, None])
def test_a_path_in_z_is_an_arc_walked_at_an_even_angle(share: float | None) -> None:
    """On a sphere of radius r its speed is r times the angle between the ends."""
    starts, ends, shares = paths(length=2.5)
    angles = ((starts * ends).sum(1) / 2.5**2).acos()
    shares = shares if share is None else torch.full_like(shares, share)
    found = path_length(as_image, squared, starts, ends, shares)
    assert found == pytest.approx(trimmed((2.5 * angles).square().numpy()), rel=1e-6)


def test_epsilon_squared_is_divided_out() -> None:
    starts, ends, shares = paths()
    found = [path_length(as_image, squared, starts, ends, shares, epsilon=epsilon) for epsilon in (1e-3, 1e-4)]
    assert found[0] == pytest.approx(found[1], rel=1e-2)
    assert path_length(as_image, squared, starts, ends, shares) == found[1]


def test_paths_of_latents_of_any_length_begin_and_end_where_they_should() -> None:
    starts, ends, _ = paths()
    for share, expected in ((0.0, starts), (1.0, ends)):
        torch.testing.assert_close(arc(starts, ends, torch.full((N, 1), share)), expected)
    single = starts[:1].float()
    assert arc(single, 0 * single, torch.tensor(0.25)).isfinite().all()
    for end in (single, 3 * single, -single):  # where no great circle is given
        torch.testing.assert_close(arc(single, end, torch.tensor(0.25)), 0.75 * single + 0.25 * end)


def test_both_points_of_a_path_have_its_number_and_latents_may_have_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual, "PAIRS", 16)
    calls = []

    def generate(latents: Tensor, numbers: Tensor) -> Tensor:
        calls.append((tuple(latents.shape), numbers.tolist()))
        return latents[:, 1].reshape(-1, 1, 2, 3) + numbers.view(-1, 1, 1, 1)

    starts, ends, shares = paths()
    layered = [torch.stack([torch.zeros_like(one), one], 1) for one in (starts, ends)]
    found = path_length(generate, squared, *layered, shares, space="w")
    assert found == pytest.approx(trimmed((ends - starts).square().sum(1).numpy()), rel=1e-6)
    assert calls[2] == ((16, 2, 6), [*range(32, 40)] * 2)


def test_large_images_are_averaged_down() -> None:
    def generate(latents: Tensor, numbers: Tensor) -> Tensor:
        sign = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(256)  # what differs from pixel to pixel averages out
        return latents[:, :1].view(-1, 1, 1, 1) * sign.expand(1, 512, 512) + latents[:, 1:2].view(-1, 1, 1, 1)

    seen = []

    def distance(one: Tensor, other: Tensor) -> Tensor:
        seen.append(tuple(one.shape))
        return (one - other).square().mean((1, 2, 3))

    starts, ends, shares = (one[:2] for one in paths())
    found = path_length(generate, distance, starts, ends, shares, space="w")
    assert seen == [(2, 1, 256, 256)]
    assert found == pytest.approx((ends - starts)[:, 1].square().mean().item(), rel=1e-6)


def test_a_generator_that_ignores_its_latent_has_length_0() -> None:
    assert path_length(lambda latents, numbers: torch.zeros(len(latents), 1, 2, 2), squared, *paths()) == 0


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float16])
def test_images_of_few_bits_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(DataError, match="float32, got torch"):
        path_length(lambda latents, numbers: torch.zeros(len(latents), 1, 2, 2, dtype=dtype), squared, *paths())


def test_paths_in_float32_are_long_enough_for_their_steps() -> None:
    starts, ends, shares = paths(length=2.5)
    exact = path_length(as_image, squared, starts, ends, shares)
    assert path_length(as_image, squared, starts.float(), ends.float(), shares.float()) == pytest.approx(exact, rel=1e-2)


def test_lpips_of_a_path(network: LPIPS) -> None:
    base, change = images(1, 1, 32, 32) / 2, images(1, 1, 32, 32, seed=1) / 8

    def generate(latents: Tensor, numbers: Tensor) -> Tensor:
        return base + latents[:, :1, None, None] * change

    starts, ends, shares = (one[:1].float() for one in paths())
    one, other = (generate(arc(starts, ends, shares + step), shares) for step in (0, 1e-4))
    expected = network(one, other).item() / 1e-4**2
    assert expected > 1e-4
    assert path_length(generate, network, starts, ends, shares) == pytest.approx(expected, rel=1e-3)


def test_a_nan_and_sets_of_unlike_sizes_are_refused() -> None:
    starts, ends, shares = paths()
    with pytest.raises(DataError, match="NaN or infinite"):
        path_length(lambda latents, numbers: as_image(latents, numbers) * float("nan"), squared, starts, ends, shares)
    for wrong in ((starts[:2], ends, shares), (starts, ends, shares[:3]), (starts[:0], ends[:0], shares[:0])):
        with pytest.raises(DataError, match="a start, an end and a share"):
            path_length(as_image, squared, *wrong)


def test_a_hundredth_at_each_end_is_left_out() -> None:
    values = torch.arange(1000, dtype=torch.float64).flip(0)
    values[0] = 1e9
    assert trimmed_mean(values) == pytest.approx(trimmed(values.numpy()))
    assert trimmed_mean(values) < 1000
    assert trimmed_mean(torch.tensor([3.0, 5.0])) == 4
