"""R3GAN's networks and recipe, over sizes, channels and conditions, and against the published table."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.game import Attribute, Recipe, Spec
from elegan.gans import r3gan
from elegan.losses.penalties import finite_r1_and_r2, r1, r1_and_r2
from elegan.networks.conditions import NOTHING, Conditions
from elegan.networks.dcgan import stage_widths
from elegan.networks.layers import CentreCrop
from elegan.networks.r3gan import (
    End,
    LeakyReLU,
    Pointwise,
    R3GANDiscriminator,
    R3GANGenerator,
    Residual,
    Surround,
    num_groups,
)
from elegan.optimizers import Adam
from elegan.randomness import BatchRandomness
from elegan.tasks.recipes import RecipeModule

SIZES = [(8, 8), (9, 8), (21, 37), (28, 28), (32, 32), (40, 41), (41, 40), (48, 64), (64, 64), (128, 128), (8, 256), (256, 41)]
CONDITIONS = pytest.mark.parametrize(
    "conditions", [NOTHING, Conditions(classes=3), Conditions(numbers=2)], ids=["nothing", "classes", "numbers"]
)


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def blocks_of(network: nn.Module) -> list[Residual]:
    return [module for module in network.modules() if isinstance(module, Residual)]


def awaken(network: nn.Module) -> None:
    """Let the residual branches, which begin at zero, take part."""
    for block in blocks_of(network):
        nn.init.normal_(block.branch[-1].weight, std=0.2)  # type: ignore[arg-type]


@CONDITIONS
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_networks_make_and_judge_every_size(size: tuple[int, int], conditions: Conditions) -> None:
    torch.manual_seed(0)
    shape = (1 + SIZES.index(size) % 4, *size)
    generator = R3GANGenerator(shape, latent=5, width=8, conditions=conditions)
    discriminator = R3GANDiscriminator(shape, width=8, conditions=conditions)
    condition = torch.tensor([0, 2]) if conditions.classes else torch.zeros(2, 2)
    images = generator(torch.randn(2, 5), condition)
    assert images.shape == (2, *shape)
    assert images.isfinite().all()
    assert images.any()
    logits = discriminator(images, condition)
    assert logits.shape == (2,)
    assert logits.isfinite().all()


@pytest.mark.parametrize("told", ["concatenate", "projection", "auxiliary"])
@pytest.mark.parametrize("conditions", [Conditions(classes=3), Conditions(numbers=2)], ids=["classes", "numbers"])
def test_the_discriminator_may_be_told_in_every_way(conditions: Conditions, told: Any) -> None:
    torch.manual_seed(0)
    discriminator = R3GANDiscriminator((3, 12, 8), width=8, conditions=conditions, told=told)
    one, other = (torch.tensor([0]), torch.tensor([2])) if conditions.classes else (torch.ones(1, 2), torch.zeros(1, 2))
    image = torch.randn(1, 3, 12, 8)
    outputs = discriminator(image, one), discriminator(image, other)
    assert outputs[0].shape == ((1, 1 + conditions.outputs) if told == "auxiliary" else (1,))
    assert torch.equal(*outputs) is (told == "auxiliary")


@pytest.mark.parametrize(
    ("shape", "conditions", "generator", "discriminator"),
    [
        ((3, 32, 32), NOTHING, "20.73", "20.68"),
        ((3, 32, 32), Conditions(classes=10), "20.78", "21.28"),
        ((3, 64, 64), NOTHING, "22.43", "22.38"),
        ((3, 256, 256), NOTHING, "23.06", "23.01"),
    ],
    ids=["Stacked MNIST", "CIFAR-10", "FFHQ-64", "FFHQ-256"],
)
def test_the_published_networks_have_as_many_weights_as_published(
    shape: tuple[int, int, int], conditions: Conditions, generator: str, discriminator: str
) -> None:
    """Table 9, in millions."""
    width = 768 * 32 // shape[1]
    with torch.device("meta"):
        assert f"{num_weights(R3GANGenerator(shape, width=width, conditions=conditions)) / 1e6:.2f}" == generator
        assert f"{num_weights(R3GANDiscriminator(shape, width=width, conditions=conditions)) / 1e6:.2f}" == discriminator


def test_the_networks_of_imagenet_are_twice_as_wide_with_as_many_groups() -> None:
    """Table 9: 96 groups still. D has one weight for each feature more than theirs, as its logit has a part without the class."""
    conditions = Conditions(classes=1000)
    with torch.device("meta"):
        assert f"{num_weights(R3GANGenerator((3, 32, 32), width=1536, widest=1536, conditions=conditions)) / 1e6:.2f}" == "82.91"
        assert f"{num_weights(R3GANDiscriminator((3, 32, 32), width=1536, widest=1536, conditions=conditions)) / 1e6:.2f}" == "86.55"


def test_the_weights_of_the_smallest_table_one_by_one() -> None:
    """768 channels, 1536 inside, 96 groups of 16, two blocks for each of 4 sizes; biases on the first two convolutions only."""
    block = (768 * 1536 + 1536) + (1536 * 16 * 9 + 1536) + 1536 * 768
    pictures, colours = 768 * 4 * 4, 3 * 768
    with torch.device("meta"):
        assert num_weights(R3GANGenerator((3, 32, 32))) == 8 * block + pictures + colours + 64 * 768 == 20_732_160
        assert num_weights(R3GANDiscriminator((3, 32, 32))) == 8 * block + pictures + colours + 768 == 20_683_776
        told = R3GANDiscriminator((3, 32, 32), conditions=Conditions(classes=10))
    assert num_weights(told) - 20_683_776 == 768 * 768 + 10 * 768


@pytest.mark.parametrize(
    ("width", "widest", "stages", "widths"),
    [
        (768, 768, 4, [768, 768, 768, 768]),  # R3GAN at 32x32
        (32, 512, 9, [512, 512, 512, 512, 512, 256, 128, 64, 32]),  # StyleGAN2 at 1024x1024
        (64, 32, 3, [32, 32, 32]),
    ],
)
def test_channels_double_on_smaller_maps(width: int, widest: int, stages: int, widths: list[int]) -> None:
    assert stage_widths(width, widest, stages) == widths


def test_a_network_of_one_channel() -> None:
    assert R3GANDiscriminator((1, 64, 64), width=1)(torch.randn(2, 1, 64, 64)).shape == (2,)


@pytest.mark.parametrize(
    ("channels", "groups"), [(2, 1), (16, 1), (24, 1), (32, 2), (74, 2), (96, 6), (192, 12), (1536, 96), (3072, 96), (1537, 53)]
)
def test_groups_are_of_sixteen_channels_or_the_next_that_divide(channels: int, groups: int) -> None:
    assert num_groups(channels) == groups


def test_a_block_is_that_of_the_paper() -> None:
    """1x1, leaky ReLU, grouped 3x3, leaky ReLU, 1x1 without bias, twice as wide inside; added to the input."""
    torch.manual_seed(0)
    block, x = Residual(24, 1).double(), torch.randn(2, 24, 5, 7, dtype=torch.float64)
    block.branch[4].weight.data.normal_()
    first, _, second, _, last = block.branch
    for layer in (first, second):
        layer.bias.data.normal_()
    assert (first.out_features, second.out_channels, last.out_features) == (48, 48, 24)
    assert last.bias is None

    def leaky(maps: Tensor) -> Tensor:
        return torch.where(maps > 0, maps, 0.2 * maps)

    hidden = leaky(torch.einsum("oi,nihw->nohw", first.weight, x) + first.bias[:, None, None])
    groups = [nn.functional.conv2d(hidden[:, 16 * i : 16 * i + 16], second.weight[16 * i : 16 * i + 16], padding=1) for i in range(3)]
    hidden = leaky(torch.cat(groups, 1) + second.bias[:, None, None])
    torch.testing.assert_close(block(x), x + torch.einsum("oi,nihw->nohw", last.weight, hidden))


@pytest.mark.parametrize("make", [lambda: R3GANGenerator((3, 64, 64), width=16), lambda: R3GANDiscriminator((3, 64, 64), width=16)])
def test_the_networks_begin_as_their_skips(make: Any) -> None:
    torch.manual_seed(0)
    found = blocks_of(make())
    assert len(found) == 2 * 5
    for block in found:
        x = torch.randn(1, block.branch[0].in_features, 4, 4)
        assert not block.branch(x).any()
        assert torch.equal(block(x), x)


def test_fix_up_begins_smaller_the_more_blocks_there_are() -> None:
    """He's deviation for leaky ReLU, times (number of blocks)^-1/4 (section 3)."""
    torch.manual_seed(0)
    block = Residual(64, 8)
    for layer, fan_in in ((block.branch[0], 64), (block.branch[2], 16 * 9)):
        expected = (2 / (1 + 0.2**2) / fan_in) ** 0.5 * 8**-0.25
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.05)
        assert not layer.bias.any()
    inner = R3GANDiscriminator((1, 32, 32), width=64)
    assert float(blocks_of(inner)[0].branch[0].weight.detach().std()) == pytest.approx((2 / 1.04 / 64) ** 0.5 * 8**-0.25, rel=0.05)


@pytest.mark.parametrize("size", [(32, 32), (41, 60)], ids=str)
@torch.no_grad()
def test_signals_begin_about_as_large_as_they_came(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    images = R3GANGenerator((3, *size), width=64)(torch.randn(4, 64))
    assert 0.3 < float(images.std()) < 1.2
    smooth = nn.functional.interpolate(torch.randn(8, 3, 2, 2), size=size, mode="bilinear")
    logits = torch.cat([R3GANDiscriminator((3, *size), width=16)(smooth) for _ in range(6)])
    assert 0.2 < float(logits.square().mean().sqrt()) < 2


def test_samples_are_bounded_when_they_are_made_to_be_seen_and_not_in_training() -> None:
    torch.manual_seed(0)
    generator = R3GANGenerator((3, 8, 8), width=8)
    noise = 10 * torch.randn(8, 64)
    free = generator(noise).detach()
    assert float(free.abs().max()) > 1
    assert torch.equal(generator.eval()(noise), free.clamp(-1, 1))


def test_an_odd_image_is_continued_as_the_generator_crops() -> None:
    x = torch.arange(6.0).view(1, 1, 2, 3)
    around = Surround(5, 6)(x)
    assert around[0, 0].tolist() == [[0, 0, 1, 2, 2, 2]] * 2 + [[3, 3, 4, 5, 5, 5]] * 3
    assert torch.equal(CentreCrop(2, 3)(around), x)
    assert Surround(2, 3)(x) is x


def test_the_end_measures_each_channels_picture() -> None:
    torch.manual_seed(0)
    end, maps = End(3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = nn.functional.conv2d(maps, end.pictures[:, None], groups=3)
    torch.testing.assert_close(end(maps), expected)
    assert end(maps).shape == (2, 3, 1, 1)


def tiny_discriminator(conditions: Conditions = NOTHING) -> R3GANDiscriminator:
    torch.manual_seed(0)
    discriminator = R3GANDiscriminator((2, 8, 9), width=4, conditions=conditions).double()
    awaken(discriminator)
    return discriminator


def test_the_gradient_by_the_image_is_that_of_finite_differences() -> None:
    discriminator = tiny_discriminator()
    x, direction = (torch.randn(1, 2, 8, 9, dtype=torch.float64, requires_grad=True) for _ in range(2))
    (slope,) = torch.autograd.grad(discriminator(x).sum(), x)
    with torch.no_grad():
        ahead, behind = (discriminator(x + step * direction) for step in (1e-6, -1e-6))
    assert float((slope * direction).sum()) == pytest.approx(float((ahead - behind) / 2e-6), rel=1e-6)


def test_the_gradient_of_r1_by_the_weights_is_that_of_finite_differences() -> None:
    """The second derivative that R1 and R2 need, through every layer: one weight of each is moved."""
    discriminator = tiny_discriminator(Conditions(classes=2))
    x, classes = torch.randn(3, 2, 8, 9, dtype=torch.float64), torch.tensor([0, 1, 1])
    random = BatchRandomness(seed=0, step=0, start=0, stop=3, total=3)

    def penalty() -> Tensor:
        return r1(lambda images: discriminator(images, classes), x, x, random)

    weights = dict(discriminator.named_parameters())
    # the slopes do not depend on a bias, but for the kinks, which so small a step does not reach
    names = [name for name in weights if not name.endswith("bias")]
    gradients = torch.autograd.grad(penalty(), [weights[name] for name in names])
    for name, gradient in zip(names, gradients, strict=True):
        assert gradient.isfinite().all()
        place = int(gradient.abs().argmax())
        flat, found = weights[name].data.view(-1), []
        for step in (1e-6, -1e-6):
            flat[place] += step
            found.append(float(penalty().detach()))
            flat[place] -= step
        assert float(gradient.reshape(-1)[place]) == pytest.approx((found[0] - found[1]) / 2e-6, rel=1e-5, abs=1e-10), name
        assert float(gradient.abs().max()) > 0, name


def plain(network: nn.Module) -> nn.Module:
    """The same network of PyTorch's own layers."""
    for name, child in network.named_children():
        if isinstance(child, LeakyReLU):
            setattr(network, name, nn.LeakyReLU(0.2))
        elif isinstance(child, Pointwise):
            convolution = nn.Conv2d(child.in_features, child.out_features, 1, bias=child.bias is not None).double()
            convolution.weight, convolution.bias = nn.Parameter(child.weight[:, :, None, None].detach()), child.bias
            setattr(network, name, convolution)
        else:
            plain(child)
    return network


def test_loss_and_penalty_have_the_gradients_of_pytorchs_own_layers() -> None:
    ours, x = tiny_discriminator(), torch.randn(3, 2, 8, 9, dtype=torch.float64)
    theirs = plain(copy.deepcopy(ours))
    random = BatchRandomness(seed=0, step=0, start=0, stop=3, total=3)
    found = []
    for network in (ours, theirs):
        (network(x).square().sum() + r1(network, x, x, random)).backward()
        found.append({name: weight.grad.flatten() for name, weight in network.named_parameters() if weight.grad is not None})
    assert found[0].keys() == dict(ours.named_parameters()).keys()
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


def test_the_slopes_stay_what_they_are_on_either_side_of_zero() -> None:
    """So no gradient of the penalty goes back to the activations: they are not even asked for zeros."""
    x = torch.tensor([-2.0, -0.5, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    y = LeakyReLU()(x)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert slope.tolist() == [0.2, 0.2, 1.0, 1.0]
    assert not slope.requires_grad
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad((LeakyReLU()(x) * weights).sum(), x, create_graph=True)
    assert torch.autograd.grad(slope.square().sum(), weights)[0].tolist() == pytest.approx([0.08, 0.16, 6.0, 8.0])


def test_the_finite_penalty_has_the_exact_one_as_its_mean() -> None:
    """At first the discriminator is linear in the image, so that a central difference is exact."""
    torch.manual_seed(0)
    discriminator = R3GANDiscriminator((1, 8, 8), width=4)
    count = 4000
    x = torch.randn(1, 1, 8, 8).expand(count, 1, 8, 8)
    random = BatchRandomness(seed=0, step=0, start=0, stop=count, total=count)
    exact, finite = (float(one(discriminator, x, x, random).detach()) for one in (r1_and_r2, finite_r1_and_r2))
    assert finite == pytest.approx(exact, rel=0.1)


@CONDITIONS
def test_layouts_and_precisions_agree(conditions: Conditions) -> None:
    torch.manual_seed(0)
    shape, noise = (3, 16, 24), torch.randn(4, 5)
    condition = torch.tensor([0, 2, 1, 1]) if conditions.classes else torch.rand(4, 2)
    generator = R3GANGenerator(shape, latent=5, width=16, conditions=conditions)
    discriminator = R3GANDiscriminator(shape, width=16, conditions=conditions)
    for network in (generator, discriminator):
        awaken(network)
    images, logits = generator(noise, condition), discriminator(torch.zeros(4, *shape) + 0.5, condition)
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(generator(noise, condition), images, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(discriminator(torch.zeros(4, *shape) + 0.5, condition), logits, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = generator(noise, condition)
        judged = discriminator(torch.zeros(4, *shape) + 0.5, condition)
    assert coarse.dtype == torch.bfloat16
    scale = float(images.detach().abs().max())
    torch.testing.assert_close(coarse.float() / scale, images / scale, rtol=0.05, atol=0.05)
    torch.testing.assert_close(judged.float(), logits, rtol=0.05, atol=0.05 * float(logits.detach().abs().max()))


def test_each_sample_is_judged_alone() -> None:
    torch.manual_seed(0)
    discriminator, images = R3GANDiscriminator((1, 16, 16), width=8), torch.randn(4, 1, 16, 16)
    awaken(discriminator)
    torch.testing.assert_close(discriminator(images)[1:2], discriminator(images[1:2]))


def test_norms_are_refused() -> None:
    for norm in ("batch", "spectral"):
        with pytest.raises(OptionError, match="its norm is 'none'"):
            R3GANDiscriminator((1, 16, 16), norm=norm)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="told='concatenate'"):
        R3GANGenerator((1, 16, 16), conditions=Conditions(classes=2), told="batch_norm")


SPEC = Spec(3, 32, 32, ("cat", "dog"), attributes=())


def made(spec: Spec = SPEC, **options: object) -> Recipe:
    return RecipeModule("r3gan", r3gan).make(spec, {"width": 4, "discriminator_width": 4, **options})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"discriminator_norm": "spectral"}, "--discriminator-norm none"),
        ({"discriminator_norm": "batch"}, "--discriminator-norm none"),
        ({"generator_condition": "batch_norm"}, "--generator-condition concatenate"),
        ({"penalty_end": 1.5}, "--penalty-end: got 1.5"),
        ({"penalty_until": 0.0}, "--penalty-until: got 0.0"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_built(options: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        made(**options)


def test_without_a_condition_how_to_tell_it_does_not_matter() -> None:
    assert made(Spec(3, 32, 32), generator_condition="batch_norm").conditional


def test_the_recipe_is_the_published_one_for_cifar() -> None:
    recipe = r3gan.recipe(SPEC)
    adam = recipe.optimizers["generator"]
    assert isinstance(adam, Adam)
    assert recipe.optimizers["discriminator"] == adam
    assert (adam.betas, adam.rate(0.0), adam.rate(0.1), adam.rate(1.0)) == ((0.0, 0.99), 2e-4, 5e-5, 5e-5)
    assert recipe.average_half_life == 5e6
    assert recipe.batch * recipe.steps == pytest.approx(250e6, rel=0.01)
    penalty = made(Spec(3, 8, 8, attributes=(Attribute("age", 0.0, 9.0, (1.0,)),))).build().penalty  # type: ignore[attr-defined]
    assert [penalty.weight_at(share) for share in (0.0, 0.05, 0.1, 1.0)] == pytest.approx([0.05, 0.0275, 0.005, 0.005])
