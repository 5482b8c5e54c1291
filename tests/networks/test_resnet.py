"""The residual networks, over sizes, channels and conditions, and against the published tables."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from elegan.errors import OptionError
from elegan.networks.conditions import NOTHING, Conditions
from elegan.networks.layers import BatchNorm2d
from elegan.networks.resnet import (
    DownBlock,
    ResNetDiscriminator,
    ResNetGenerator,
    UpBlock,
    discriminator_blocks,
    generator_widths,
)

SIZES = [(8, 8), (21, 37), (28, 28), (32, 32), (40, 41), (41, 40), (48, 64), (64, 64), (128, 128), (8, 256), (256, 41)]


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("conditions", [NOTHING, Conditions(classes=3), Conditions(numbers=2)], ids=["nothing", "classes", "numbers"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_residual_networks_make_and_judge_every_size(size: tuple[int, int], conditions: Conditions) -> None:
    torch.manual_seed(0)
    channels = 1 + SIZES.index(size) % 4
    shape = (channels, *size)
    generator = ResNetGenerator(shape, latent=5, width=4, conditions=conditions)
    discriminator = ResNetDiscriminator(shape, width=4, conditions=conditions)
    condition = torch.tensor([0, 2]) if conditions.classes else torch.zeros(2, 2)
    images = generator(torch.randn(2, 5), condition)
    assert images.shape == (2, *shape)
    assert images.isfinite().all()
    assert 0 < images.abs().max() <= 1
    logits = discriminator(images, condition)
    assert logits.shape == (2,)
    assert logits.isfinite().all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_residual_networks_have_any_channels(channels: int) -> None:
    images = ResNetGenerator((channels, 8, 8), latent=5, width=4)(torch.randn(2, 5))
    assert images.shape == (2, channels, 8, 8)
    assert ResNetDiscriminator((channels, 8, 8), width=4)(images).shape == (2,)


def test_the_published_networks_at_32_have_as_many_weights_as_published() -> None:
    """Added up from the table: linear, three blocks, batch norm and convolution; four blocks and linear. That of D has a
    bias, which the authors' code leaves out at this one size."""
    block = 2 * (256 * 256 * 9 + 256) + (256 * 256 + 256) + 2 * 512
    generator = (128 * 4096 + 4096) + 3 * block + 512 + (256 * 3 * 9 + 3)
    assert generator == 4_276_739
    assert num_weights(ResNetGenerator((3, 32, 32))) == generator
    convolution, skip = 128 * 128 * 9 + 128, 128 * 128 + 128
    first = (3 * 128 * 9 + 128) + convolution + (3 * 128 + 128)
    discriminator = first + (2 * convolution + skip) + 2 * (2 * convolution) + 129
    assert discriminator == 1_053_825
    assert num_weights(ResNetDiscriminator((3, 32, 32))) == discriminator


def test_a_class_costs_a_gain_and_a_bias_for_each_norm_and_a_row_of_the_projection() -> None:
    conditions = Conditions(classes=10)
    plain, told = ResNetGenerator((3, 32, 32)), ResNetGenerator((3, 32, 32), conditions=conditions)
    assert num_weights(told) - num_weights(plain) == 6 * 2 * 256 * (10 - 1)
    plain, told = ResNetDiscriminator((3, 32, 32)), ResNetDiscriminator((3, 32, 32), conditions=conditions)
    assert num_weights(told) - num_weights(plain) == 10 * 128


@pytest.mark.parametrize(
    ("size", "widths"),
    [
        ((32, 32), [256, 256, 256, 256]),
        ((48, 48), [512, 256, 128, 64]),
        ((64, 64), [1024, 512, 256, 128, 64]),
        ((128, 128), [1024, 1024, 512, 256, 128, 64]),
    ],
)
def test_the_generators_channels_are_the_published_ones(size: tuple[int, int], widths: list[int]) -> None:
    assert generator_widths(256, *size) == widths


@pytest.mark.parametrize(
    ("size", "halving", "keeping"),
    [
        ((32, 32), [128, 128], [128, 128]),
        ((48, 48), [64, 128, 256, 512], [1024]),
        ((128, 128), [64, 128, 256, 512, 1024], [1024]),
    ],
)
def test_the_discriminators_blocks_are_the_published_ones(size: tuple[int, int], halving: list[int], keeping: list[int]) -> None:
    assert discriminator_blocks(128, *size) == [*((width, True) for width in halving), *((width, False) for width in keeping)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_last_map_has_a_few_pixels(size: tuple[int, int]) -> None:
    maps = ResNetDiscriminator((1, *size), width=2).blocks(torch.randn(1, 1, *size))
    assert 2 <= min(maps.shape[2:]) <= 10


def test_narrow_networks_keep_a_channel() -> None:
    assert generator_widths(1, 64, 64) == [16, 8, 4, 2, 1]
    assert discriminator_blocks(1, 64, 64)[0] == (1, True)


def upsampled(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def pooled(x: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(x, 2)


def test_an_up_block_is_that_of_the_paper() -> None:
    """Norm, ReLU, doubling, convolution, norm, ReLU, convolution; beside it, doubling and a 1x1 convolution."""
    torch.manual_seed(0)
    block, x = UpBlock(3, 5, BatchNorm2d).double(), torch.randn(2, 3, 9, 9, dtype=torch.float64)
    first, _, doubling, second, _, last = block.residual
    plain = nn.functional.conv2d(upsampled(first(x).relu()), doubling.weight, doubling.bias, padding=1)
    expected = last(second(plain).relu()) + block.skip(upsampled(x))
    torch.testing.assert_close(block(x, None), expected)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (9, 21)], ids=str)
def test_a_down_block_is_that_of_the_paper(first: bool, size: tuple[int, int]) -> None:
    """ReLU (not on the image), convolution, ReLU, convolution, mean; beside it, a 1x1 convolution and the mean."""
    torch.manual_seed(0)
    hidden = 5 if first else 3
    block, x = DownBlock(3, hidden, 5, halves=True, first=first).double(), torch.randn(2, 3, *size, dtype=torch.float64)
    before = x.clone()
    convolution, _, halving = list(block.residual)[-3:]
    plain = nn.functional.conv2d(convolution(x if first else x.relu()).relu(), halving.weight, halving.bias, padding=1)
    torch.testing.assert_close(block(x), pooled(plain) + pooled(block.skip(x)))
    assert torch.equal(x, before)
    assert convolution.out_channels == hidden


def test_a_block_that_keeps_size_and_channels_adds_to_its_input() -> None:
    torch.manual_seed(0)
    block, x = DownBlock(4, 4, 4, halves=False, first=False), torch.randn(2, 4, 8, 8)
    _, convolution, _, last = block.residual
    torch.testing.assert_close(block(x), x + last(convolution(x.relu()).relu()))


def test_residual_convolutions_start_larger_than_skips() -> None:
    """Glorot uniform with gain sqrt(2) in residuals and 1 elsewhere, as in the authors' code."""
    torch.manual_seed(0)
    up, down = UpBlock(64, 64, BatchNorm2d), DownBlock(64, 64, 64, halves=True, first=False)
    for layer, gain in (
        (up.residual[2], 2),
        (up.residual[5], 2),
        (up.skip, 1),
        (down.residual[1], 2),
        (down.residual[3], 2),
        (down.skip, 1),
    ):
        fans = sum(layer.weight.shape[:2]) * layer.weight[0, 0].numel()
        assert float(layer.weight.detach().var()) == pytest.approx(gain * 2 / fans, rel=0.05)


def test_without_a_norm_across_samples_each_is_judged_alone() -> None:
    torch.manual_seed(0)
    discriminator, images = ResNetDiscriminator((1, 16, 16), width=4), torch.randn(4, 1, 16, 16)
    torch.testing.assert_close(discriminator(images)[1:2], discriminator(images[1:2]))


def test_batch_norm_in_the_residual_discriminator_is_refused() -> None:
    with pytest.raises(OptionError, match="'spectral' or 'none'"):
        ResNetDiscriminator((1, 16, 16), norm="batch")
