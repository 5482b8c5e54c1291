"""The ways to tell networks a class or numbers: what each does, on DCGAN's and on the residual networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elegan.errors import OptionError
from elegan.networks.conditions import ConditionalBatchNorm2d, Conditions
from elegan.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from elegan.networks.layers import BatchNorm2d, advance, spectral_norms
from elegan.networks.resnet import ResNetDiscriminator, ResNetGenerator

SHAPE = (1, 16, 16)
CLASSES, NUMBERS = Conditions(classes=3), Conditions(numbers=2)
KINDS = pytest.mark.parametrize("conditions", [CLASSES, NUMBERS], ids=["classes", "numbers"])
GENERATORS: list[tuple[Callable[..., nn.Module], str]] = [
    (make, told) for make in (DCGANGenerator, ResNetGenerator) for told in ("concatenate", "batch_norm")
]
DISCRIMINATORS: list[tuple[Callable[..., Any], str, str]] = [
    (make, told, norm)
    for make, norms in ((DCGANDiscriminator, ("batch", "spectral", "none")), (ResNetDiscriminator, ("spectral", "none")))
    for told in ("concatenate", "projection", "auxiliary")
    for norm in norms
]
every_generator = pytest.mark.parametrize(("make", "told"), GENERATORS)
every_discriminator = pytest.mark.parametrize(("make", "told", "norm"), DISCRIMINATORS)


def condition(conditions: Conditions, rows: int) -> Tensor:
    if conditions.classes:
        return torch.arange(rows) % conditions.classes
    return torch.linspace(-1, 1, rows * conditions.numbers).view(rows, -1)


def images(rows: int) -> Tensor:
    return torch.randn(rows, *SHAPE, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)


def noise(rows: int) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(1))


def step(network: nn.Module, loss: Tensor) -> None:
    """A step of length 1 down the gradient."""
    weights = list(network.parameters())
    gradients = torch.autograd.grad(loss, weights)
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.data -= gradient / length


@KINDS
def test_conditional_batch_norm_starts_as_batch_norm(conditions: Conditions) -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 4, 5, 5) * 3 + 2
    norm, plain = ConditionalBatchNorm2d(4, conditions), BatchNorm2d(4)
    torch.testing.assert_close(norm(x, condition(conditions, 6)), plain(x))
    torch.testing.assert_close(norm.eval()(x, condition(conditions, 6)), plain.eval()(x))


@KINDS
def test_conditional_batch_norm_scales_and_shifts_each_sample_by_its_condition(conditions: Conditions) -> None:
    torch.manual_seed(0)
    x, given = torch.randn(6, 4, 5, 5), condition(conditions, 6)
    norm = ConditionalBatchNorm2d(4, conditions)
    step(norm, norm(x, given).pow(3).mean())
    gain, bias = norm.gain(given), norm.bias(given)
    assert gain.abs().max() > 1e-3
    assert bias.abs().max() > 1e-3
    assert not torch.allclose(gain[0], gain[1])
    normed = (x - x.mean((0, 2, 3), keepdim=True)) / (x.var((0, 2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x, given), normed * (1 + gain[:, :, None, None]) + bias[:, :, None, None])


def test_conditional_batch_norm_of_numbers_learns_at_zero_too() -> None:
    torch.manual_seed(0)
    norm, x, zeros = ConditionalBatchNorm2d(4, NUMBERS), torch.randn(6, 4, 5, 5), torch.zeros(6, 2)
    before = norm(x, zeros)
    step(norm, norm(x, zeros).pow(3).mean())
    assert not torch.allclose(norm(x, zeros), before, atol=1e-3)


def test_conditional_batch_norm_follows_one_forward_for_each_arming() -> None:
    norm, first, second = ConditionalBatchNorm2d(3, CLASSES), torch.randn(4, 3, 5, 5) + 2, torch.randn(4, 3, 5, 5) - 7
    norm(first, condition(CLASSES, 4))
    norm(second, condition(CLASSES, 4))
    (inner,) = [module for module in norm.modules() if isinstance(module, _BatchNorm)]
    torch.testing.assert_close(inner.running_mean, 0.1 * first.mean((0, 2, 3)))
    assert inner.num_batches_tracked == 1


def test_conditional_batch_norm_keeps_memory_layout_and_precision() -> None:
    x = torch.randn(4, 3, 5, 5).contiguous(memory_format=torch.channels_last).bfloat16()
    found = ConditionalBatchNorm2d(3, CLASSES)(x, condition(CLASSES, 4))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert found.dtype == torch.bfloat16


@KINDS
@every_generator
def test_the_condition_changes_what_a_generator_makes(make: Callable[..., Any], told: str, conditions: Conditions) -> None:
    torch.manual_seed(0)
    generator = make(SHAPE, latent=5, width=8, conditions=conditions, told=told)
    given, z = condition(conditions, 3), noise(1).repeat(3, 1)
    step(generator, (generator(noise(3), given) * torch.randn(3, *SHAPE)).sum())  # batch norm is told from the first step on
    made = generator.eval()(z, given)
    assert not torch.allclose(made[0], made[1], atol=1e-6)
    assert not torch.allclose(made[1], made[2], atol=1e-6)
    torch.testing.assert_close(made[:1], generator(z[:1], given[:1]))


def test_a_generator_told_by_batch_norm_has_one_in_every_place_but_the_residual_networks_last() -> None:
    for make, plain in ((DCGANGenerator, 0), (ResNetGenerator, 1)):
        generator = make(SHAPE, latent=5, width=8, conditions=CLASSES, told="batch_norm")
        norms = [module for module in generator.modules() if isinstance(module, _BatchNorm)]
        assert len(norms) > 1
        assert sum(norm.affine for norm in norms) == plain
        assert sum(isinstance(module, ConditionalBatchNorm2d) for module in generator.modules()) == len(norms) - plain
        assert not hasattr(generator, "embedding")


@pytest.mark.parametrize("make", [DCGANGenerator, ResNetGenerator])
def test_a_generator_told_with_the_noise_has_plain_batch_norms(make: Callable[..., Any]) -> None:
    generator = make(SHAPE, latent=5, width=8, conditions=CLASSES, told="concatenate")
    norms = [module for module in generator.modules() if isinstance(module, _BatchNorm)]
    assert len(norms) > 1
    assert all(norm.affine for norm in norms)
    assert generator.embedding(condition(CLASSES, 3)).shape == (3, 5)


def test_a_generator_without_batch_norm_cannot_be_told_by_it() -> None:
    with pytest.raises(OptionError, match="told='concatenate'"):
        DCGANGenerator(SHAPE, conditions=CLASSES, told="batch_norm", norm="none")


@every_discriminator
@KINDS
def test_what_discriminators_say(make: Callable[..., Any], told: str, norm: str, conditions: Conditions) -> None:
    torch.manual_seed(0)
    discriminator = make(SHAPE, width=8, conditions=conditions, told=told, norm=norm).eval()
    given, x = condition(conditions, 3), images(1).repeat(3, 1, 1, 1)
    said, swapped = discriminator(x, given), discriminator(x, given.flip(0))
    assert said.isfinite().all()
    if told == "auxiliary":
        assert said.shape == (3, 1 + conditions.outputs)
        assert torch.equal(said, swapped)
        features = discriminator.pooled(discriminator.blocks(x))
        torch.testing.assert_close(said[:, :1], discriminator.head(features))
        torch.testing.assert_close(said[:, 1:], discriminator.guess(features))
    else:
        assert said.shape == (3,)
        assert (said[0] - said[2]).abs() > 1e-6
        torch.testing.assert_close(said, swapped.flip(0))


@pytest.mark.parametrize("make", [DCGANDiscriminator, ResNetDiscriminator])
@KINDS
def test_a_projection_adds_the_inner_product_with_the_last_map(make: Callable[..., Any], conditions: Conditions) -> None:
    torch.manual_seed(0)
    discriminator = make(SHAPE, width=8, conditions=conditions, told="projection", norm="none")
    given, x = condition(conditions, 3), images(3)
    other = given.roll(1, 0)
    summed = discriminator.blocks(x).sum((2, 3))
    difference = discriminator.embedding(given) - discriminator.embedding(other)
    torch.testing.assert_close(discriminator(x, given) - discriminator(x, other), (difference * summed).sum(1), rtol=1e-4, atol=1e-4)
    assert difference.abs().max() > 1e-3
    if conditions.numbers:
        torch.testing.assert_close(discriminator(x, 0 * given), discriminator.head(discriminator.pooled(discriminator.blocks(x)))[:, 0])


@pytest.mark.parametrize("make", [DCGANDiscriminator, ResNetDiscriminator])
@pytest.mark.parametrize("told", ["concatenate", "projection", "auxiliary"])
def test_without_conditions_there_is_nothing_to_tell(make: Callable[..., Any], told: str) -> None:
    torch.manual_seed(0)
    first = make(SHAPE, width=8, told=told)
    torch.manual_seed(0)
    second = make(SHAPE, width=8)
    assert torch.equal(first(images(2)), second(images(2), torch.tensor([0, 1])))
    assert first(images(2)).shape == (2,)


@pytest.mark.parametrize("make", [DCGANDiscriminator, ResNetDiscriminator])
@pytest.mark.parametrize("told", ["concatenate", "projection", "auxiliary"])
@KINDS
def test_spectral_norm_is_on_every_layer(make: Callable[..., Any], told: str, conditions: Conditions) -> None:
    """The oracle is the singular value decomposition. The picture of a condition is no function of the sample."""
    torch.manual_seed(0)
    discriminator = make(SHAPE, width=4, conditions=conditions, told=told, norm="spectral")
    for _ in range(300):
        advance(discriminator)
    layers = {name: m for name, m in discriminator.named_modules() if isinstance(getattr(m, "weight", None), Tensor)}
    assert len(layers) == len(spectral_norms(discriminator)) + (told == "concatenate")
    assert ("embedding" in layers) == (told != "auxiliary")
    for name, layer in layers.items():
        largest = float(torch.linalg.svdvals(layer.weight.detach().double().flatten(1))[0])
        if (name, told) == ("embedding", "concatenate"):
            assert largest > 2
        else:
            assert largest == pytest.approx(1, abs=2e-3), name


@every_discriminator
@KINDS
def test_a_penalty_on_the_images_gradient_has_the_right_gradient(
    make: Callable[..., Any], told: str, norm: str, conditions: Conditions
) -> None:
    """Against finite differences along one direction of all weights, in float64."""
    torch.manual_seed(0)
    discriminator = make(SHAPE, width=4, conditions=conditions, told=told, norm=norm).double()
    given = condition(conditions, 3)
    given = given if conditions.classes else given.double()
    x = images(3).double().requires_grad_()
    weights = list(discriminator.parameters())

    def penalty() -> Tensor:
        logits = discriminator(x, given)
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return gradient.square().sum() / gradient.detach().square().sum()

    def unscaled() -> float:
        (gradient,) = torch.autograd.grad(discriminator(x, given).sum(), x)
        return float(gradient.square().sum())

    scale, start, size = unscaled(), copy.deepcopy([weight.data for weight in weights]), 1e-6
    direction = [torch.randn_like(weight) * weight.detach().std() if weight.numel() > 1 else 0 * weight.detach() for weight in weights]
    gradients = torch.autograd.grad(penalty(), weights, allow_unused=True)
    expected = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True) if g is not None)
    values = []
    for sign in (1, -1):
        for weight, begin, d in zip(weights, start, direction, strict=True):
            weight.data = begin + sign * size * d
        values.append(unscaled() / scale)
    assert expected == pytest.approx((values[0] - values[1]) / (2 * size), rel=1e-3, abs=1e-5)
    assert abs(expected) > 1e-4


@every_discriminator
@KINDS
def test_every_weight_of_a_discriminator_learns(make: Callable[..., Any], told: str, norm: str, conditions: Conditions) -> None:
    torch.manual_seed(0)
    discriminator = make(SHAPE, width=8, conditions=conditions, told=told, norm=norm)
    with torch.autocast("cpu", torch.bfloat16):
        said = discriminator(images(6), condition(conditions, 6))
    assert said.isfinite().all()
    (said.float() * torch.randn(said.shape)).sum().backward()
    assert [name for name, weight in discriminator.named_parameters() if not weight.grad.abs().max() > 0] == []


@every_generator
@KINDS
def test_every_weight_of_a_generator_learns(make: Callable[..., Any], told: str, conditions: Conditions) -> None:
    torch.manual_seed(0)
    generator = make(SHAPE, latent=5, width=8, conditions=conditions, told=told)
    with torch.autocast("cpu", torch.bfloat16):
        made = generator(noise(6), condition(conditions, 6))
    (made.float() * torch.randn(made.shape)).sum().backward()
    assert [name for name, weight in generator.named_parameters() if not weight.grad.abs().max() > 0] == []


@every_discriminator
def test_memory_layout_changes_nothing_in_a_discriminator(make: Callable[..., Any], told: str, norm: str) -> None:
    torch.manual_seed(0)
    discriminator = make(SHAPE, width=8, conditions=CLASSES, told=told, norm=norm).double()
    x = images(3).double()
    expected = discriminator(x, condition(CLASSES, 3))
    found = discriminator.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last), condition(CLASSES, 3))
    torch.testing.assert_close(found, expected)


@every_generator
def test_memory_layout_changes_nothing_in_a_generator(make: Callable[..., Any], told: str) -> None:
    torch.manual_seed(0)
    shape = (3, 16, 16)  # with one channel both layouts are the same
    generator = make(shape, latent=5, width=8, conditions=CLASSES, told=told).double()
    expected = generator(noise(3).double(), condition(CLASSES, 3))
    found = generator.to(memory_format=torch.channels_last)(noise(3).double(), condition(CLASSES, 3))
    torch.testing.assert_close(found, expected)
    assert expected.is_contiguous()
    assert found.is_contiguous(memory_format=torch.channels_last)
