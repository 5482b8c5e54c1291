"""StyleGAN2's networks against the paper's equations and sizes, and its recipe."""

from __future__ import annotations

from math import sqrt
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.game import Recipe, Spec
from elegan.gans import stylegan2
from elegan.networks.conditions import NOTHING, Conditions
from elegan.networks.style import Summary
from elegan.networks.stylegan2 import (
    ModulatedConv2d,
    Paint,
    ResidualDown,
    StyledLayer,
    StyleGAN2Discriminator,
    StyleGAN2Generator,
)
from elegan.optimizers import Adam
from elegan.tasks.recipes import RecipeModule

CONDITIONS = pytest.mark.parametrize(
    "conditions", [NOTHING, Conditions(classes=3), Conditions(numbers=2)], ids=["nothing", "classes", "numbers"]
)
SIZES = [(8, 8), (24, 40), (28, 28), (21, 37)]


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def kernels(convolution: ModulatedConv2d, style: Tensor, demodulates: bool) -> Tensor:
    """A kernel for each sample (n, out, in, k, k): equations 1 and 3, with the style of section 2.2 and runtime scaling."""
    affine = convolution.style
    s = style @ affine.weight.T / sqrt(style.shape[1]) + affine.bias
    fan_in = convolution.weight[0].numel()
    modulated = s[:, None, :, None, None] * convolution.weight / sqrt(fan_in)
    return modulated / (modulated.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt() if demodulates else modulated


def per_sample(x: Tensor, weights: Tensor, padding: int) -> Tensor:
    """One grouped convolution, a group for each sample."""
    n, size_out = weights.shape[:2]
    grouped = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weights.flatten(0, 1), padding=padding, groups=n)
    return grouped.view(n, size_out, *grouped.shape[2:])


def doubled(x: Tensor, weights: Tensor) -> Tensor:
    """Zeros between the pixels, the kernels (turned, as a transposed convolution has them), [1, 3, 3, 1] / 8 both ways, gain 4."""
    n, channels, height, width = x.shape
    spaced = torch.zeros(n, channels, 2 * height - 1, 2 * width - 1, dtype=x.dtype)
    spaced[:, :, ::2, ::2] = x
    wide = per_sample(spaced, weights.flip(3, 4), 2)
    line = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype) / 8
    filtered: Tensor = 4 * F.conv2d(wide.flatten(0, 1)[:, None], (line[:, None] * line)[None, None], padding=1)[:, 0]
    return filtered.view(n, -1, 2 * height, 2 * width)


@pytest.mark.parametrize("doubles", [False, True])
@pytest.mark.parametrize("gain", [1.0, 1.7])
def test_modulation_and_demodulation_are_the_papers_equations(doubles: bool, gain: float) -> None:
    torch.manual_seed(0)
    convolution = ModulatedConv2d(5, 4, 3, 6, doubles=doubles).double()
    x, style = torch.randn(3, 5, 4, 7, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    found, factors = convolution(x, style, gain)
    weights = kernels(convolution, style, True)
    expected = gain * (doubled(x, weights) if doubles else per_sample(x, weights, 1))
    torch.testing.assert_close(found * factors, expected, rtol=1e-12, atol=1e-12)


def test_paint_is_modulated_and_not_demodulated() -> None:
    torch.manual_seed(0)
    paint = Paint(5, 3, 6).double()
    nn.init.normal_(paint.bias)
    x, style = torch.randn(3, 5, 4, 7, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    expected = per_sample(x, kernels(paint.convolution, style, False), 0) + paint.bias[:, None, None]
    torch.testing.assert_close(paint(x, style), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("doubles", [False, True])
def test_a_styled_layer_adds_noise_and_bias_before_the_bend(doubles: bool) -> None:
    torch.manual_seed(0)
    size = (8, 10) if doubles else (4, 5)
    layer = StyledLayer(5, 4, 6, *size, doubles=doubles).double().eval()
    nn.init.normal_(layer.bias)
    nn.init.constant_(layer.noise.strength, 0.7)
    x, style = torch.randn(3, 5, 4, 5, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    weights = kernels(layer.convolution, style, True)
    convolved = doubled(x, weights) if doubles else per_sample(x, weights, 1)
    expected = sqrt(2) * leaky(convolved + 0.7 * layer.noise.fixed + layer.bias[:, None, None])
    torch.testing.assert_close(layer(x, style), expected, rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize(("doubles", "scale"), [(False, 1.0), (False, 100.0), (True, 1.0)])
def test_demodulated_outputs_have_unit_deviation_whatever_the_style(doubles: bool, scale: float) -> None:
    """The sum of squares of the demodulated kernel is 1. Doubled ones: the filter's gain keeps signals that vary slowly, and of white
    noise it leaves the share that its coefficients' squares say: 4 times 20 / 64 in each direction, (5 / 8)^2 of the variance."""
    torch.manual_seed(0)
    convolution = ModulatedConv2d(32, 32, 3, 8, doubles=doubles)
    found, factors = convolution(torch.randn(8, 32, 24, 24), scale * torch.randn(8, 8))
    assert factors is not None
    inside = (found * factors)[:, :, 4:-4, 4:-4]
    assert float(inside.std()) == pytest.approx(5 / 8 if doubles else 1.0, rel=0.1)


@CONDITIONS
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_networks_make_and_judge_every_size(size: tuple[int, int], conditions: Conditions) -> None:
    torch.manual_seed(0)
    shape = (1 + SIZES.index(size), *size)
    generator = StyleGAN2Generator(shape, latent=5, width=4, widest=8, depth=2, conditions=conditions)
    discriminator = StyleGAN2Discriminator(shape, width=4, widest=8, conditions=conditions)
    condition = torch.tensor([0, 2]) if conditions.classes else torch.zeros(2, 2)
    images = generator(torch.randn(2, 5), condition)
    assert images.shape == (2, *shape)
    assert images.isfinite().all()
    assert images.any()
    logits = discriminator(images, condition)
    assert logits.shape == (2,)
    assert logits.isfinite().all()


def test_the_networks_of_ffhq_have_as_many_weights_as_published() -> None:
    """30.37 million and 29.01 million at 1024x1024, to the last weight of the published code's summary."""
    with torch.device("meta"):
        generator = StyleGAN2Generator((3, 1024, 1024), width=32)
        discriminator = StyleGAN2Discriminator((3, 1024, 1024), width=32)
    assert num_weights(generator) == 30_370_060
    assert num_weights(discriminator) == 29_012_513
    assert generator.num_layers == 18
    assert len(generator.mapping.layers) == 8


@torch.no_grad()
def test_the_image_is_the_sum_of_what_each_size_paints() -> None:
    """Skip connections: figure 7. With paint of the smallest size alone it is that, doubled by the filter twice."""
    torch.manual_seed(0)
    generator = StyleGAN2Generator((1, 16, 16), latent=4, width=4, widest=8, depth=1)
    synthesis: Any = generator.synthesis
    styles = torch.randn(2, generator.num_layers, 4)
    whole, parts = synthesis(styles), []
    paints = list(synthesis.paints)
    weights = [paint.convolution.weight.clone() for paint in paints]
    for i in range(3):
        for j, paint in enumerate(paints):
            paint.convolution.weight.copy_(weights[j] if i == j else torch.zeros_like(weights[j]))
        parts.append(synthesis(styles))
    torch.testing.assert_close(sum(parts), whole, rtol=1e-4, atol=1e-5)
    assert all(float(part.abs().max()) > 0.01 for part in parts)


@torch.no_grad()
def test_each_layer_has_the_style_of_its_own_number() -> None:
    """Two layers for each size, and a paint that shares its style with the first layer of the next size: changing a style changes the
    image, and the last one only by its paint."""
    torch.manual_seed(0)
    synthesis: Any = StyleGAN2Generator((1, 16, 16), latent=4, width=4, widest=8, depth=1).synthesis
    styles = torch.randn(1, synthesis.num_layers, 4)
    image, used = synthesis(styles), []
    for module in [*synthesis.layers, *synthesis.paints]:
        module.register_forward_pre_hook(lambda module, given: used.append(given[1]))
    synthesis(styles)
    numbers = [int((styles[0] == style[0]).all(1).nonzero()) for style in used]
    assert numbers == [0, 1, 1, 2, 3, 3, 4, 5]
    for layer in range(synthesis.num_layers):
        other = styles.clone()
        other[:, layer] += 1
        assert not torch.allclose(synthesis(other), image), layer


def test_samples_are_bounded_when_they_are_made_to_be_seen_and_not_in_training() -> None:
    torch.manual_seed(0)
    generator: Any = StyleGAN2Generator((3, 8, 8), latent=8, width=8, depth=1)
    nn.init.constant_(generator.synthesis.paints[-1].bias, 1.5)
    noise = torch.randn(8, 8)
    free = generator(noise).detach()
    assert float(free.max()) > 1  # the noise has no strength yet, so that both are the same picture
    torch.testing.assert_close(generator.eval()(noise), free.clamp(-1, 1))


def test_the_later_layers_take_the_style_of_another_noise() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2Generator((1, 16, 16), latent=4, width=4, depth=2)
    noise, other = torch.randn(4, 4), torch.randn(4, 4)
    first, second = generator.mapping(noise, None), generator.mapping(other, None)
    crossover = torch.tensor([1, 3, 5, 6])
    found = generator.styles(noise, None, other, crossover)
    for i, layer in enumerate(crossover.tolist()):
        torch.testing.assert_close(found[i], torch.stack([first[i]] * layer + [second[i]] * (6 - layer)))
    torch.testing.assert_close(generator.styles(noise), first[:, None].expand(-1, 6, -1))


@pytest.mark.parametrize("conditions", [Conditions(classes=3), Conditions(numbers=2)], ids=["classes", "numbers"])
def test_the_condition_reaches_the_image(conditions: Conditions) -> None:
    torch.manual_seed(0)
    generator = StyleGAN2Generator((1, 8, 8), latent=4, width=4, depth=1, conditions=conditions)
    one, other = (torch.tensor([0]), torch.tensor([2])) if conditions.classes else (torch.ones(1, 2), torch.zeros(1, 2))
    noise = torch.randn(1, 4)
    assert not torch.allclose(generator(noise, one), generator(noise, other), atol=1e-3)


@pytest.mark.parametrize("told", ["concatenate", "projection", "auxiliary"])
@pytest.mark.parametrize("conditions", [Conditions(classes=3), Conditions(numbers=2)], ids=["classes", "numbers"])
def test_the_discriminator_may_be_told_in_every_way(conditions: Conditions, told: Any) -> None:
    torch.manual_seed(0)
    discriminator = StyleGAN2Discriminator((3, 12, 8), width=8, conditions=conditions, told=told)
    one, other = (torch.tensor([0]), torch.tensor([2])) if conditions.classes else (torch.ones(1, 2), torch.zeros(1, 2))
    image = torch.randn(1, 3, 12, 8)
    outputs = discriminator(image, one), discriminator(image, other)
    assert outputs[0].shape == ((1, 1 + conditions.outputs) if told == "auxiliary" else (1,))
    assert torch.equal(*outputs) is (told == "auxiliary")


def test_a_residual_step_down_is_its_formula() -> None:
    """Two 3x3 convolutions, the second after the filter and with stride 2, beside a filtered 1x1; the sum keeps its size."""
    torch.manual_seed(0)
    block: Any = ResidualDown(3, 4).double()
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    first, second, skip = block.residual[0][0], block.residual[2][0], block.skip[1]
    nn.init.normal_(first.bias)
    nn.init.normal_(second.bias)
    line = torch.tensor([1.0, 3, 3, 1], dtype=torch.float64) / 8

    def low(maps: Tensor, padding: int) -> Tensor:
        filtered = F.conv2d(maps.flatten(0, 1)[:, None], (line[:, None] * line)[None, None], padding=padding)
        return filtered.view(*maps.shape[:2], *filtered.shape[2:])

    hidden = sqrt(2) * leaky(F.conv2d(x, first.weight / sqrt(27), padding=1) + first.bias[:, None, None])
    hidden = F.conv2d(low(hidden, 2), second.weight / sqrt(27), stride=2) + second.bias[:, None, None]
    beside = F.conv2d(low(x, 1)[:, :, ::2, ::2], skip.weight / sqrt(3))
    torch.testing.assert_close(block(x), (sqrt(2) * leaky(hidden) + beside) / sqrt(2), rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_signals_begin_about_as_large_as_they_came() -> None:
    torch.manual_seed(0)
    images = StyleGAN2Generator((3, 32, 32), latent=64, width=16, depth=2)(torch.randn(16, 64))
    assert 0.3 < float(images.std()) < 3
    smooth = F.interpolate(torch.randn(8, 3, 2, 2), size=32, mode="bilinear")
    logits = torch.cat([StyleGAN2Discriminator((3, 32, 32), width=16)(smooth) for _ in range(6)])
    assert 0.1 < float(logits.square().mean().sqrt()) < 3


def tiny_discriminator(conditions: Conditions = NOTHING) -> StyleGAN2Discriminator:
    torch.manual_seed(0)
    return StyleGAN2Discriminator((1, 8, 9), width=2, widest=3, conditions=conditions).double()


def test_the_gradients_of_the_discriminators_gradients_are_exact() -> None:
    """What R1 needs: by the images and by the weights of a convolution, of a halving block and of the end."""
    discriminator = tiny_discriminator()
    x = torch.randn(2, 1, 8, 9, dtype=torch.float64, requires_grad=True)
    names = ["blocks.1.0.weight", "blocks.2.skip.1.weight", "blocks.4.convolution.1.0.weight", "head.weight"]
    weights = [discriminator.get_parameter(name).detach().clone().requires_grad_() for name in names]

    def logits(images: Tensor, *given: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(discriminator, dict(zip(names, given, strict=True)), (images,))
        return found

    assert torch.autograd.gradcheck(logits, (x, *weights), fast_mode=True)
    assert torch.autograd.gradgradcheck(logits, (x, *weights), fast_mode=True)


def test_the_deviation_over_the_batch_reaches_the_logits() -> None:
    torch.manual_seed(0)
    summary, x = Summary(4, 2, 2), torch.randn(4, 4, 2, 2)
    alone = torch.cat([summary(one[None]) for one in x])
    assert not torch.allclose(summary(x), alone, atol=1e-3)


@CONDITIONS
@torch.no_grad()
def test_layouts_and_precisions_agree(conditions: Conditions) -> None:
    torch.manual_seed(0)
    shape, noise = (3, 16, 24), torch.randn(4, 8)
    condition = torch.tensor([0, 2, 1, 1]) if conditions.classes else torch.rand(4, 2)
    generator: Any = StyleGAN2Generator(shape, latent=8, width=16, depth=2, conditions=conditions)
    discriminator: Any = StyleGAN2Discriminator(shape, width=16, conditions=conditions)
    for layer in generator.synthesis.layers:
        nn.init.constant_(layer.noise.strength, 0.1)
    generator.eval()
    real = F.interpolate(torch.randn(4, 3, 2, 3), size=shape[1:], mode="bilinear")
    images, logits = generator(noise, condition), discriminator(real, condition)
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(generator(noise, condition), images, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(discriminator(real, condition), logits, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        coarse, judged = generator(noise, condition), discriminator(real, condition)
    assert coarse.dtype == torch.bfloat16
    assert float((coarse.float() - images).norm()) < 0.03 * float(images.norm())
    torch.testing.assert_close(judged.float(), logits, rtol=0.05, atol=0.05 * max(1.0, float(logits.abs().max())))


def test_norms_are_refused() -> None:
    for norm in ("batch", "spectral"):
        with pytest.raises(OptionError, match="norm is 'none'"):
            StyleGAN2Discriminator((1, 16, 16), norm=norm)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="told='concatenate'"):
        StyleGAN2Generator((1, 16, 16), conditions=Conditions(classes=2), told="batch_norm")


SPEC = Spec(3, 32, 32, ("cat", "dog"))


def made(spec: Spec = SPEC, **options: object) -> Recipe:
    small = {"width": 4, "discriminator_width": 4, "widest": 8, "latent": 8}
    return RecipeModule("stylegan2", stylegan2).make(spec, {**small, **options})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"discriminator_norm": "spectral"}, "--discriminator-norm none"),
        ({"generator_condition": "batch_norm"}, "--generator-condition concatenate"),
        ({"network": "dcgan"}, "--network stylegan2 or stylegan"),
        ({"mixing": 1.5}, "--mixing: got 1.5"),
        ({"mixing": -0.1}, "--mixing: got -0.1"),
        ({"path_length_interval": 0}, "--path-length-interval: got 0"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_built(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        made(**options)


def test_the_interval_is_idle_without_a_penalty() -> None:
    assert "path_length_interval" in made(path_length_weight=0.0).idle
    assert "path_length_interval" not in made().idle


def test_the_recipe_has_the_published_settings() -> None:
    """Adam with beta1 0 and beta2 0.99; R1 every 16th update, paths every 4th, mixing 0.9: section B and the paper's code."""
    adam = made().optimizers["generator"]
    assert isinstance(adam, Adam)
    assert (adam.betas, adam.rate(0.0)) == ((0.0, 0.99), 2.5e-3)
    gan: Any = made().build()
    assert (gan.penalty.interval, gan.style.path_length_interval, gan.style.path_length_weight, gan.style.mixing) == (16, 4, 2.0, 0.9)
    assert gan.period == 16
