"""BigGAN's networks and recipe, over sizes, channels and conditions, and against the published tables."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.game import Recipe, Spec
from elegan.gans import biggan
from elegan.networks.attention import SelfAttention
from elegan.networks.biggan import (
    BigGANDiscriminator,
    BigGANGenerator,
    GeneratorSpectralNorm,
    LinearBatchNorm2d,
    chunk_sizes,
    discriminator_blocks,
    generator_widths,
)
from elegan.networks.conditions import NOTHING, Conditions
from elegan.networks.layers import advance, spectral_norms
from elegan.networks.resnet import DownBlock, UpBlock
from elegan.optimizers import Adam
from elegan.tasks.recipes import RecipeModule

SIZES = [(8, 8), (21, 37), (24, 40), (28, 28), (32, 32), (41, 40), (48, 64), (70, 96), (8, 256), (256, 41)]
CONDITIONS = pytest.mark.parametrize(
    "conditions", [NOTHING, Conditions(classes=3), Conditions(numbers=2)], ids=["nothing", "classes", "numbers"]
)


def both(conditions: Conditions = NOTHING, width: int = 2) -> tuple[BigGANGenerator, BigGANDiscriminator]:
    """Networks for (3, 32, 32) with 4 chunks of 5 numbers."""
    torch.manual_seed(0)
    generator = BigGANGenerator((3, 32, 32), latent=20, width=width, conditions=conditions)
    return generator, BigGANDiscriminator((3, 32, 32), width=width, conditions=conditions)


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def attended(network: nn.Module, sample: Tensor) -> list[tuple[int, ...]]:
    """Channels, height and width of each map that the network attends to."""
    seen: list[tuple[int, ...]] = []
    for module in network.modules():
        if isinstance(module, SelfAttention):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[1:])))
    network(sample)
    return seen


@CONDITIONS
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_networks_make_and_judge_every_size(size: tuple[int, int], conditions: Conditions) -> None:
    torch.manual_seed(0)
    shape = (1 + SIZES.index(size) % 4, *size)
    generator = BigGANGenerator(shape, latent=11, width=2, conditions=conditions)
    discriminator = BigGANDiscriminator(shape, width=2, conditions=conditions)
    condition = torch.tensor([0, 2]) if conditions.classes else torch.zeros(2, 2)
    images = generator(torch.randn(2, 11), condition)
    assert images.shape == (2, *shape)
    assert images.isfinite().all()
    assert 0 < images.abs().max() <= 1
    logits = discriminator(images, condition)
    assert logits.shape == (2,)
    assert logits.isfinite().all()


TABLE = 1000 * 128
"""Features of ImageNet's classes that the generator's batch norms share."""


def block_weights(size_in: int, size_out: int) -> int:
    """Two 3x3 convolutions and the 1x1 beside them."""
    return (9 * size_in + 1) * size_out + (9 * size_out + 1) * size_out + (size_in + 1) * size_out


def attention_weights(channels: int) -> int:
    return 2 * channels * (channels // 8) + 2 * channels * (channels // 2) + 1


def published_generator(ch: int) -> int:
    """Table 4a added up: features, linear, five blocks with their norms, attention, norm and convolution."""
    pairs = [(ch * a, ch * b) for a, b in pairwise((16, 16, 8, 4, 2, 1))]
    norms = sum(2 * (128 + 20) * (a + b) for a, b in pairs)
    blocks = norms + sum(block_weights(*pair) for pair in pairs)
    return TABLE + (20 + 1) * 16 * 16 * ch + blocks + attention_weights(2 * ch) + (2 * ch + 27 * ch + 3)


def published_discriminator(ch: int) -> int:
    """Table 4b: six blocks, the last without a convolution beside it, attention, linear, and an inner product with the class."""
    widths = [3, *(ch * factor for factor in (1, 2, 4, 8, 16))]
    blocks = sum(block_weights(*pair) for pair in pairwise(widths)) + 2 * (9 * 16 * ch + 1) * 16 * ch
    return blocks + attention_weights(ch) + (16 * ch + 1) + 1000 * 16 * ch


@pytest.mark.parametrize("ch", [8, 16, 24])
def test_the_networks_at_128_have_as_many_weights_as_the_table(ch: int) -> None:
    """The numbers are quadratic in ch, so that these three decide all multiples of 8: 96 too, without building so large ones."""
    conditions = Conditions(classes=1000)
    assert num_weights(BigGANGenerator((3, 128, 128), width=ch, conditions=conditions)) == published_generator(ch)
    assert num_weights(BigGANDiscriminator((3, 128, 128), width=ch, conditions=conditions)) == published_discriminator(ch)


def test_the_table_adds_up_to_what_the_authors_later_code_prints() -> None:
    assert (published_generator(96), published_discriminator(96)) == (70_433_988, 87_982_370)


@pytest.mark.parametrize(("ch", "published"), [(96, "158.3"), (64, "71.3")])
def test_the_sum_is_the_published_one_but_for_the_table_of_classes(ch: int, published: str) -> None:
    """Table 1, in millions, with shared features and noise for every block. With the table they would be 158.4 and 71.4."""
    assert f"{(published_generator(ch) + published_discriminator(ch) - TABLE) / 1e6:.1f}" == published


@pytest.mark.parametrize(
    ("side", "up", "down"),
    [
        (28, [4, 4, 4], [4, 4, 4, 4]),
        (32, [4, 4, 4, 4], [4, 4, 4, 4]),
        (64, [16, 16, 8, 4, 2], [1, 2, 4, 8, 16]),
        (128, [16, 16, 8, 4, 2, 1], [1, 2, 4, 8, 16, 16]),
        (256, [16, 16, 8, 8, 4, 2, 1], [1, 2, 4, 8, 8, 16, 16]),
    ],
)
def test_the_channels_are_the_published_ones(side: int, up: list[int], down: list[int]) -> None:
    assert generator_widths(1, side, side) == up
    assert generator_widths(96, side, side) == [96 * factor for factor in up]
    halvings = 2 if side < 41 else len(down) - 1
    assert discriminator_blocks(3, side, side) == [(3 * factor, i < halvings) for i, factor in enumerate(down)]


@pytest.mark.parametrize("size", [(height, width) for height in [*range(8, 1024, 79), 1023] for width in (8, 41, 256, 1023)], ids=str)
def test_every_size_has_channels_and_a_small_last_map(size: tuple[int, int]) -> None:
    assert len(generator_widths(1, *size)) >= 3
    stages = discriminator_blocks(1, *size)
    assert 2 <= min(size) >> sum(halves for _, halves in stages) <= 10


@pytest.mark.parametrize(
    ("side", "up", "down"),
    [(28, None, None), (32, (4, 16, 16), (4, 16, 16)), (64, (4, 32, 32), (1, 32, 32)), (128, (2, 64, 64), (1, 64, 64))],
)
def test_the_attended_maps_are_the_published_ones(side: int, up: tuple[int, ...] | None, down: tuple[int, ...] | None) -> None:
    """The map of half the side, in both networks (tables 4 to 6: 64x64)."""
    assert attended(BigGANGenerator((3, side, side), latent=6, width=1), torch.randn(2, 6)) == ([up] if up else [])
    assert attended(BigGANDiscriminator((3, side, side), width=1), torch.randn(2, 3, side, side)) == ([down] if down else [])


def test_at_256_the_attended_map_is_a_quarter() -> None:
    generator, discriminator = BigGANGenerator((1, 256, 256), width=1), BigGANDiscriminator((1, 256, 256), width=1)
    assert [len(list(block.children())) for block in generator.blocks] == [1, 1, 1, 2, 1, 1]  # 8, 16, 32, 64
    assert [isinstance(layer, SelfAttention) for layer in discriminator.blocks.children()].index(True) == 2


@pytest.mark.parametrize(
    ("latent", "layers", "sizes"), [(120, 6, [20] * 6), (140, 7, [20] * 7), (8, 3, [2, 2, 4]), (3, 3, [1, 1, 1]), (100, 6, [16] * 5 + [20])]
)
def test_the_noise_is_cut_evenly_and_the_last_takes_what_is_left(latent: int, layers: int, sizes: list[int]) -> None:
    assert chunk_sizes(latent, layers) == sizes


def test_how_many_layers_have_noise_of_their_own() -> None:
    assert BigGANGenerator((1, 8, 8), latent=9, width=1).latent_layers == 3
    assert BigGANGenerator((1, 8, 8), latent=8, width=1).latent_layers == 1
    assert BigGANGenerator((1, 64, 64), latent=120, width=1).latent_layers == 5
    with pytest.raises(OptionError, match=r"--latent: got 2, .* 3 layers .* multiples of 3, such as 60"):
        BigGANGenerator((1, 8, 8), latent=2, width=1)


@CONDITIONS
@torch.no_grad()
def test_a_part_of_the_noise_changes_its_own_block_and_none_before(conditions: Conditions) -> None:
    """Part 0 makes the first map; part k first matters in block k."""
    generator = both(conditions)[0].eval()
    condition = torch.tensor([1]) if conditions.classes else torch.ones(1, 2)
    maps: list[Tensor] = []
    generator.project.register_forward_hook(lambda _, __, output: maps.append(output))
    for block in generator.blocks:
        block.register_forward_hook(lambda _, __, output: maps.append(output))

    def seen(noise: Tensor) -> list[Tensor]:
        maps.clear()
        generator(noise, condition)
        return list(maps)

    noise = torch.randn(1, 20)
    before = seen(noise)
    assert generator.latent_layers == len(before) == 4
    for part in range(4):
        changed = noise.clone()
        changed[:, 5 * part : 5 * part + 5] += 1
        same = [torch.equal(one, other) for one, other in zip(before, seen(changed), strict=True)]
        assert same == [True] * part + [False] * (4 - part)


@pytest.mark.parametrize("conditions", [Conditions(classes=3), Conditions(numbers=2)], ids=["classes", "numbers"])
@torch.no_grad()
def test_the_shared_features_reach_every_block_and_not_the_first_map(conditions: Conditions) -> None:
    generator = both(conditions)[0].eval()
    one, other = (torch.tensor([0]), torch.tensor([2])) if conditions.classes else (torch.ones(1, 2), torch.zeros(1, 2))
    noise, told = torch.randn(1, 20), []
    for block in generator.blocks:
        block.register_forward_pre_hook(lambda _, inputs: told.append(inputs[1]))
    assert not torch.equal(generator(noise, one), generator(noise, other))
    assert [len(features[0]) for features in told] == [128 + 5] * 6
    for i in range(3):
        assert torch.equal(told[i][:, :128], generator.embedding(one))
        assert torch.equal(told[3 + i][:, :128], generator.embedding(other))
        assert torch.equal(told[i][:, 128:], noise[:, 5 + 5 * i : 10 + 5 * i])


def test_batch_norm_told_features_is_the_formula() -> None:
    """(x - mean) / sqrt(variance + eps) * (1 + G f) + B f, with no constants."""
    torch.manual_seed(0)
    norm = LinearBatchNorm2d(3, 5).double()
    x, features = 3 + 2 * torch.randn(4, 3, 6, 7, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    gain, bias = 1 + features @ norm.gain.weight.T, features @ norm.bias.weight.T  # type: ignore[operator]
    expected = (x - mean) / (variance + 1e-5).sqrt() * gain[:, :, None, None] + bias[:, :, None, None]
    torch.testing.assert_close(norm(x, features), expected)
    assert num_weights(norm) == 2 * 3 * 5


def upsampled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_an_up_block_is_that_of_the_paper() -> None:
    """Norm, ReLU, doubling, convolution, norm, ReLU, convolution; beside it, doubling and a 1x1 convolution (figure 15a)."""
    torch.manual_seed(0)
    block, x, features = (
        UpBlock(3, 5, partial(LinearBatchNorm2d, num_features=4)).double(),
        torch.randn(2, 3, 9, 9).double(),
        torch.randn(2, 4).double(),
    )
    parts: list[Any] = list(block.residual)
    first, _, doubling, second, _, last = parts
    plain = nn.functional.conv2d(upsampled(first(x, features).relu()), doubling.weight, doubling.bias, padding=1)
    expected = last(second(plain, features).relu()) + block.skip(upsampled(x))
    torch.testing.assert_close(block(x, features), expected)


def test_a_down_block_is_as_wide_inside_as_outside() -> None:
    """Figure 15b; where SNGAN's has as many channels as its input, this has those of its output."""
    blocks = [block for block in BigGANDiscriminator((3, 64, 64), width=2).blocks if isinstance(block, DownBlock)]
    inside = [next(layer for layer in block.residual if isinstance(layer, nn.Conv2d)).out_channels for block in blocks]
    assert inside == [2 * factor for factor in (1, 2, 4, 8, 16)]


def matrices(network: nn.Module) -> dict[str, Tensor]:
    """Every weight that is a matrix or a kernel, as it is trained, seen as a matrix."""
    return {name: weight.detach().flatten(1) for name, weight in network.named_parameters() if weight.dim() > 1}


@CONDITIONS
def test_all_weights_begin_orthogonal(conditions: Conditions) -> None:
    for network in both(conditions):
        found = matrices(network)
        assert len(found) > 10
        for name, matrix in found.items():
            smaller = matrix if len(matrix) <= matrix.shape[1] else matrix.T
            torch.testing.assert_close(smaller @ smaller.T, torch.eye(len(smaller)), rtol=0, atol=1e-5, msg=name)
        assert not any(weight.any() for name, weight in network.named_parameters() if name.endswith("bias"))


def disturb(network: nn.Module) -> None:
    """Move every weight at random, so that no singular value stays 1, and let attention take part."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn_like(weight))


def largest_singular_values(network: nn.Module) -> list[float]:
    """Of the weights that each layer uses, those with spectral norm."""
    layers = [layer for layer in network.modules() if hasattr(layer, "parametrizations")]
    return [float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) for layer in layers]  # type: ignore[operator]


@CONDITIONS
def test_every_layer_but_the_generators_embedding_has_spectral_norm(conditions: Conditions) -> None:
    for network in both(conditions):
        normed = {id(weight) for _, weight in spectral_norms(network)}
        others = [name for name, weight in network.named_parameters() if weight.dim() > 1 and id(weight) not in normed]
        assert others == (["embedding.weight"] if conditions and isinstance(network, BigGANGenerator) else [])


@CONDITIONS
def test_the_spectral_norms_are_bounded_after_updates(conditions: Conditions) -> None:
    for network in both(conditions):
        disturb(network)
        assert max(largest_singular_values(network)) > 1.1
        for _ in range(25):
            advance(network)
        found = largest_singular_values(network)
        assert len(found) > 10
        assert found == pytest.approx([1.0] * len(found), rel=0.03)


def test_an_averaged_generator_is_normalised_with_vectors_found_anew() -> None:
    """The mean of the vectors of two trainings is far from unit length: used as they are, layers would be too strong."""
    generator = both()[0]
    disturb(generator)
    for norm, _ in spectral_norms(generator):
        norm.left, norm.right = 0.1 * torch.randn_like(norm.left), 0.1 * torch.randn_like(norm.right)
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    generator.eval()
    found = largest_singular_values(generator)
    assert min(found) > 0.999
    assert max(found) < 1.5
    assert all(torch.equal(value, before[key]) for key, value in generator.state_dict().items())


def test_in_training_the_generators_norm_is_the_common_one() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 7)
    norm = GeneratorSpectralNorm(weight)
    largest = torch.linalg.matrix_norm(weight, 2)
    torch.testing.assert_close(norm(weight), weight / largest, rtol=0.01, atol=0.01)
    torch.testing.assert_close(norm.eval()(weight), weight / largest, rtol=0.01, atol=0.01)


def test_a_graph_made_before_an_advance_can_still_be_used() -> None:
    """Without the copies that are kept when uncompiled: what a compiled network saves are the vectors themselves."""
    generator = both()[0]
    norms = [norm for norm, _ in spectral_norms(generator)]
    kept = [(norm.right, norm.right.clone()) for norm in norms]
    disturb(generator)
    advance(generator)
    assert all(torch.equal(vector, copy) for vector, copy in kept)
    assert not any(torch.equal(norm.right, copy) for norm, (_, copy) in zip(norms, kept, strict=True))


@CONDITIONS
@torch.no_grad()
def test_in_evaluation_each_sample_is_made_alone(conditions: Conditions) -> None:
    generator, discriminator = both(conditions)
    for network in (generator, discriminator):
        disturb(network)
    noise, condition = torch.randn(4, 20), torch.tensor([0, 2, 1, 1]) if conditions.classes else torch.rand(4, 2)
    generator(noise, condition)
    images = generator.eval()(noise, condition)
    torch.testing.assert_close(generator(noise[1:2], condition[1:2]), images[1:2])
    torch.testing.assert_close(discriminator(images[1:2], condition[1:2]), discriminator(images, condition)[1:2])


@CONDITIONS
@torch.no_grad()
def test_layouts_and_precisions_agree(conditions: Conditions) -> None:
    networks = generator, discriminator = both(conditions)
    for network in networks:
        disturb(network)
        for _ in range(20):
            advance(network)
    noise, real = torch.randn(4, 20), torch.rand(4, 3, 32, 32)
    condition = torch.tensor([0, 2, 1, 1]) if conditions.classes else torch.rand(4, 2)
    images, logits = generator(noise, condition), discriminator(real, condition)
    for network in networks:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.testing.assert_close(generator(noise, condition), images, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(discriminator(real, condition), logits, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        coarse, judged = generator(noise, condition), discriminator(real, condition)
    assert coarse.dtype == torch.bfloat16
    assert float((coarse.float() - images).square().mean().sqrt()) < 0.03 * float(images.std())
    torch.testing.assert_close(judged.float(), logits, rtol=0.03, atol=0.03 * float(logits.abs().max()))


@pytest.mark.parametrize("told", ["concatenate", "projection", "auxiliary"])
@pytest.mark.parametrize("conditions", [Conditions(classes=3), Conditions(numbers=2)], ids=["classes", "numbers"])
def test_the_discriminator_may_be_told_in_every_way(conditions: Conditions, told: Any) -> None:
    torch.manual_seed(0)
    discriminator = BigGANDiscriminator((3, 12, 8), width=2, conditions=conditions, told=told)
    one, other = (torch.tensor([0]), torch.tensor([2])) if conditions.classes else (torch.ones(1, 2), torch.zeros(1, 2))
    image = torch.randn(1, 3, 12, 8)
    outputs = discriminator(image, one), discriminator(image, other)
    assert outputs[0].shape == ((1, 1 + conditions.outputs) if told == "auxiliary" else (1,))
    assert torch.equal(*outputs) is (told == "auxiliary")


def test_what_these_networks_have_not_is_refused() -> None:
    with pytest.raises(OptionError, match="'spectral' or 'none'"):
        BigGANDiscriminator((1, 16, 16), norm="batch")
    assert not spectral_norms(BigGANDiscriminator((1, 8, 8), width=1, norm="none"))
    with pytest.raises(OptionError, match="--generator-condition batch_norm"):
        BigGANGenerator((1, 16, 16), conditions=Conditions(classes=2), told="concatenate")
    assert BigGANGenerator((1, 16, 16), width=1, told="concatenate").latent_layers == 3


SPEC = Spec(3, 32, 32, ("cat", "dog"))


def made(spec: Spec = SPEC, **options: object) -> Recipe:
    return RecipeModule("biggan", biggan).make(spec, {"width": 1, "discriminator_width": 1, **options})


def test_a_norm_that_the_discriminator_has_not_is_refused_before_anything_is_built() -> None:
    with pytest.raises(OptionError, match="--discriminator-norm spectral or none"):
        made(discriminator_norm="batch")


def test_the_recipe_is_the_published_one_for_imagenet_at_128() -> None:
    """Section 3 and appendix C; the decay of the average is 0.9999 for each of the generator's updates."""
    recipe = biggan.recipe(SPEC)
    generator, discriminator = recipe.optimizers["generator"], recipe.optimizers["discriminator"]
    assert isinstance(generator, Adam)
    assert isinstance(discriminator, Adam)
    assert (generator.betas, discriminator.betas) == ((0.0, 0.999), (0.0, 0.999))
    assert (generator.rate(0.5), discriminator.rate(0.5), recipe.batch) == (5e-5, 2e-4, 2048)
    gan: Any = made().build()
    assert (gan.discriminator_steps, gan.remedies.orthogonal, gan.latent) == (2, 1e-4, 120)
    images = gan.discriminator_steps * recipe.batch
    assert 1 - 0.5 ** (images / recipe.average_half_life) == pytest.approx(1 - 0.9999, rel=0.02)
