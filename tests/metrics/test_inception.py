from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import DataError
from elegan.metrics.inception import EPSILON, Inception, Outputs, fold, inception_shapes
from elegan.metrics.weights import load_weights

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    """Random weights under which activations neither vanish nor explode, and with running statistics like a trained network's."""
    random, found = torch.Generator().manual_seed(0), {}
    for name, shape in inception_shapes().items():
        normal = torch.empty(shape).normal_(generator=random)
        if name.endswith("conv.weight"):
            found[name] = normal * (2 / normal[0].numel()) ** 0.5
        elif name.endswith(("running_var", "bn.weight")):
            found[name] = normal.mul(0.3).exp()
        else:
            found[name] = normal * 0.1
    return found


@pytest.fixture(scope="module")
def file(tensors: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the published file has them: with counts of batches, which are of no use."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    counts = {name.replace("running_var", "num_batches_tracked"): torch.tensor(0) for name in tensors if name.endswith("running_var")}
    torch.save(tensors | counts, path)
    return path


@pytest.fixture(scope="module")
def reference(file: Path) -> nn.Module:
    """torch-fidelity's network with the same weights. torchvision, which it imports and does not use here, cannot be loaded."""
    if importlib.util.find_spec("torch_fidelity") is None:
        pytest.skip("an oracle that needs torchvision to be installed whole: pip install --no-deps torch-fidelity lpips")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"):
            patch.setitem(sys.modules, name, MagicMock())
        for name in ("CIFAR10", "CIFAR100", "STL10"):
            patch.setattr(sys.modules["torchvision.datasets"], name, object, raising=False)
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.init, "kaiming_uniform_", lambda tensor, **_: tensor)  # random numbers that the weights replace
        return FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased", "logits"], feature_extractor_weights_path=str(file))


@pytest.fixture(scope="module")
def network(file: Path) -> Inception:
    return Inception(load_weights("inception", inception_shapes(), file.parent, file=file).tensors)


PIXELS = np.random.default_rng(0).integers(0, 256, (2, 40, 32, 3), dtype=np.uint8)
PIXELS[0] = PIXELS[0, :, :, :1]


@pytest.fixture(scope="module")
def outputs(network: Inception) -> Outputs:
    return network.outputs(PIXELS)


def error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def test_names_and_shapes_are_the_references(reference: nn.Module) -> None:
    theirs = {name: tuple(value.shape) for name, value in reference.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert inception_shapes() == theirs


def test_outputs_are_the_references(reference: nn.Module, outputs: Outputs) -> None:
    expected = reference(torch.from_numpy(PIXELS).permute(0, 3, 1, 2))
    assert expected[0].std() > 0.1
    assert error(expected[0][:1], expected[0][1:]) > 0.01  # the images are told apart
    for found, value, shape in zip(outputs, expected, [(2, 2048), (2, 1008), (2, 1008)], strict=True):
        assert found.shape == shape
        assert found.dtype == torch.float32
        assert error(found, value) < 1e-5


def test_logits_are_without_the_bias(outputs: Outputs, tensors: Tensors) -> None:
    torch.testing.assert_close(outputs.logits, outputs.features @ tensors["fc.weight"].T)
    torch.testing.assert_close(outputs.biased - outputs.logits, tensors["fc.bias"].expand(2, -1), rtol=0, atol=1e-5)


def test_grey_images_are_repeated_and_images_do_not_see_each_other(network: Inception, outputs: Outputs) -> None:
    assert error(network.outputs(PIXELS[:1, :, :, :1]).features, outputs.features[:1]) < 1e-6


def test_many_images_go_in_parts(network: Inception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elegan.metrics.inception.BATCH", 2)
    sizes = []

    def forward(images: Tensor) -> Outputs:
        sizes.append(len(images))
        value = images.mean((1, 2, 3)).unsqueeze(1)
        return Outputs(value, value, value)

    monkeypatch.setattr(network, "forward", forward)
    pixels = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones((5, 4, 4, 3), np.uint8)
    torch.testing.assert_close(network.outputs(pixels).features, torch.arange(5.0).unsqueeze(1))
    assert sizes == [2, 2, 1]


def test_bfloat16_is_near_and_not_the_same(tensors: Tensors, outputs: Outputs) -> None:
    found = Inception(tensors, torch.bfloat16).outputs(PIXELS[:1]).features
    assert found.dtype == torch.float32
    assert 1e-4 < error(found, outputs.features[:1]) < 0.03


def test_folding_is_batch_norm() -> None:
    """In float64, where there is no rounding to hide behind."""
    random = torch.Generator().manual_seed(1)
    value = {part: torch.rand(5, generator=random).double() + 0.1 for part in ("weight", "bias", "running_mean", "running_var")}
    kernel, images = torch.randn(5, 3, 3, 1, generator=random).double(), torch.randn(2, 3, 7, 6, generator=random).double()
    expected = F.batch_norm(
        F.conv2d(images, kernel), value["running_mean"], value["running_var"], value["weight"], value["bias"], eps=EPSILON
    )
    weight, bias = fold({"a.conv.weight": kernel} | {f"a.bn.{part}": one for part, one in value.items()}, "a")
    torch.testing.assert_close(F.conv2d(images, weight, bias), expected, rtol=1e-12, atol=1e-12)


def test_a_variance_below_zero_is_refused(tensors: Tensors) -> None:
    name = "Mixed_6b.branch7x7_2.bn.running_var"
    with pytest.raises(DataError, match=f"{name} is negative"):
        Inception(tensors | {name: -tensors[name]})


def test_other_arrays_are_refused(network: Inception) -> None:
    for wrong in (PIXELS.astype(np.float32), PIXELS[0], PIXELS[:0], PIXELS[..., :2]):
        with pytest.raises(DataError, match="images"):
            network.outputs(wrong)
