"""The DCGAN and fully connected networks, over sizes, channels and classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import nn

from elegan.networks.conditions import Conditions
from elegan.networks.dcgan import DCGANDiscriminator, DCGANGenerator, num_doublings, widths
from elegan.networks.mlp import MLPDiscriminator, MLPGenerator, Waves
from elegan.networks.resnet import ResNetGenerator

SIZES = [(8, 8), (9, 13), (21, 37), (28, 28), (32, 48), (64, 64), (8, 256), (256, 8), (255, 130), (256, 256)]


def noise(rows: int, latent: int) -> torch.Tensor:
    return torch.randn(rows, latent, generator=torch.Generator().manual_seed(1))


PINNED = [
    ((1, 28, 28), 10, "batch", (128.594045, 6279.624518), (0.29584682, 0.1031893), 68.567778),
    ((3, 16, 16), 0, "batch", (39.32113, 21.607273), (-0.01345954, -0.09206887), 58.761928),
    ((1, 8, 8), 3, "none", (19.188034, 158.53277), (0.00071743, 0.00016122), 0.022007),
]
"""Shape, classes, norm; the sums of absolute weights of G and D, D's logits and the sum of absolute pixels, as they were
before the networks could be told in other ways."""


@pytest.mark.parametrize(("shape", "classes", "norm", "weights", "logits", "pixels"), PINNED)
def test_the_networks_behind_published_results_are_what_they_were(
    shape: tuple[int, int, int],
    classes: int,
    norm: Literal["batch", "none"],
    weights: tuple[float, float],
    logits: tuple[float, float],
    pixels: float,
) -> None:
    torch.manual_seed(0)
    generator = DCGANGenerator(shape, latent=8, width=4, conditions=Conditions(classes), norm=norm)
    discriminator = DCGANDiscriminator(shape, width=4, conditions=Conditions(classes), norm=norm)
    condition = torch.arange(2) if classes else None
    images = generator(torch.linspace(-2, 2, 16).view(2, 8), condition)
    found = [float(sum(p.detach().double().abs().sum() for p in network.parameters())) for network in (generator, discriminator)]
    assert found == pytest.approx(weights, rel=1e-6)
    assert float(images.detach().double().abs().sum()) == pytest.approx(pixels, rel=1e-4)
    assert discriminator(images, condition).tolist() == pytest.approx(logits, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_dcgan_makes_and_judges_every_size(size: tuple[int, int], channels: int, classes: int) -> None:
    torch.manual_seed(0)
    shape = (channels, *size)
    generator = DCGANGenerator(shape, latent=5, width=2, conditions=Conditions(classes=classes))
    discriminator = DCGANDiscriminator(shape, width=2, conditions=Conditions(classes=classes))
    condition = torch.tensor([0, classes - 1]) if classes else None
    images = generator(noise(2, 5), condition)
    assert images.shape == (2, *shape)
    assert images.isfinite().all()
    assert images.abs().max() <= 1
    logits = discriminator(images, condition)
    assert logits.shape == (2,)
    assert logits.isfinite().all()


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28)], ids=str)
def test_fully_connected_networks_make_and_judge_every_size(size: tuple[int, int], channels: int) -> None:
    torch.manual_seed(0)
    shape = (channels, *size)
    images = MLPGenerator(shape, latent=5, width=6, depth=2)(noise(2, 5))
    assert images.shape == (2, *shape)
    assert 0 < images.abs().max() <= 1
    logits = MLPDiscriminator(shape, width=6, depth=2)(images)
    assert logits.shape == (2,)
    assert logits.isfinite().all()


def test_the_classic_networks_are_those_of_the_published_results() -> None:
    torch.manual_seed(0)
    generator, discriminator = MLPGenerator((1, 8, 8), latent=8, width=16), MLPDiscriminator((1, 8, 8), width=16)
    images = generator(torch.linspace(-2, 2, 16).view(2, 8))
    assert float(images.detach().abs().sum()) == pytest.approx(30.307762, rel=1e-5)
    assert discriminator(images).tolist() == pytest.approx([-0.0898391, -0.1746606], rel=1e-4)


def test_points_are_not_bounded() -> None:
    torch.manual_seed(0)
    generator = MLPGenerator((2, 1, 1), latent=4, width=8, depth=3, bounded=False)
    assert generator(1000 * noise(50, 4)).abs().max() > 1
    assert MLPDiscriminator((2, 1, 1), width=8, depth=3, norm="spectral")(torch.randn(5, 2, 1, 1)).shape == (5,)


@pytest.mark.parametrize("told", ["concatenate", "projection", "auxiliary"])
def test_fully_connected_networks_are_told_the_class(told: Literal["concatenate", "projection", "auxiliary"]) -> None:
    torch.manual_seed(0)
    shape, conditions = (1, 8, 8), Conditions(classes=3)
    generator = MLPGenerator(shape, latent=5, width=6, conditions=conditions)
    made = generator(noise(1, 5).repeat(3, 1), torch.arange(3))
    assert not torch.allclose(made[0], made[1], atol=1e-6)
    judged = MLPDiscriminator(shape, width=6, conditions=conditions, told=told)(made[:1].repeat(3, 1, 1, 1), torch.arange(3))
    assert judged.shape == ((3, 4) if told == "auxiliary" else (3,))
    assert told == "auxiliary" or not torch.allclose(judged[0], judged[1], atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_class_changes_what_both_networks_say(norm: Literal["batch", "none"]) -> None:
    torch.manual_seed(0)
    shape = (1, 16, 16)
    generator = DCGANGenerator(shape, latent=5, width=4, conditions=Conditions(classes=3), norm=norm).eval()
    discriminator = DCGANDiscriminator(shape, width=4, conditions=Conditions(classes=3), norm=norm).eval()
    z, images = noise(1, 5).repeat(3, 1), torch.rand(1, *shape).repeat(3, 1, 1, 1)
    made, judged = generator(z, torch.arange(3)), discriminator(images, torch.arange(3))
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        assert not torch.allclose(made[i], made[j], atol=1e-6)
        assert not torch.allclose(judged[i], judged[j], atol=1e-6)


@pytest.mark.parametrize("network", ["dcgan", "mlp"])
def test_without_classes_a_condition_is_not_looked_at(network: str) -> None:
    torch.manual_seed(0)
    shape = (1, 8, 8)
    pair = (
        (DCGANGenerator(shape, latent=5, width=2), DCGANDiscriminator(shape, width=2))
        if network == "dcgan"
        else (MLPGenerator(shape, latent=5, width=4), MLPDiscriminator(shape, width=4))
    )
    images = pair[0](noise(2, 5), None)
    assert torch.equal(images, pair[0](noise(2, 5), torch.tensor([0, 1])))
    assert torch.equal(pair[1](images, None), pair[1](images, torch.tensor([0, 1])))


def test_each_sample_depends_on_its_own_row_alone_without_batch_norm() -> None:
    torch.manual_seed(0)
    shape = (1, 9, 13)
    generator = DCGANGenerator(shape, latent=5, width=4, norm="none")
    discriminator = DCGANDiscriminator(shape, width=4, norm="none")
    z = noise(4, 5)
    torch.testing.assert_close(generator(z)[1:2], generator(z[1:2]))
    torch.testing.assert_close(discriminator(generator(z))[1:2], discriminator(generator(z[1:2])))


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_every_weight_of_dcgan_learns(norm: Literal["batch", "none"]) -> None:
    torch.manual_seed(0)
    shape = (3, 21, 37)
    generator = DCGANGenerator(shape, latent=5, width=2, conditions=Conditions(classes=2), norm=norm)
    discriminator = DCGANDiscriminator(shape, width=2, conditions=Conditions(classes=2), norm=norm)
    condition = torch.tensor([0, 1, 0])
    discriminator(generator(noise(3, 5), condition), condition).square().sum().backward()
    for name, weight in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(("height", "width", "doublings"), [(8, 8, 2), (28, 28, 2), (32, 48, 3), (64, 64, 4), (256, 256, 6), (8, 256, 2)])
def test_maps_start_from_about_four_pixels(height: int, width: int, doublings: int) -> None:
    assert num_doublings(height, width) == doublings


def test_channels_halve_as_the_map_doubles_up_to_eight_times_the_width() -> None:
    assert widths(64, 4) == [512, 256, 128, 64]
    assert widths(2, 6) == [16, 16, 16, 8, 4, 2]


def test_the_published_network_at_64_has_the_published_layers() -> None:
    generator = DCGANGenerator((3, 64, 64), latent=100, width=64)
    assert generator.base == (512, 4, 4)
    kernels = [tuple(m.weight.shape) for m in generator.blocks if hasattr(m, "stride")]
    assert kernels == [(512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]


@pytest.mark.parametrize("classes", [0, 3])
def test_networks_run_under_bfloat16_autocast(classes: int) -> None:
    torch.manual_seed(0)
    shape, condition = (3, 9, 13), torch.tensor([0, 1]) if classes else None
    generator = DCGANGenerator(shape, latent=5, width=2, conditions=Conditions(classes=classes))
    discriminator = DCGANDiscriminator(shape, width=2, conditions=Conditions(classes=classes))
    with torch.autocast("cpu", torch.bfloat16):
        logits = discriminator(generator(noise(2, 5), condition), condition)
    logits.float().sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in generator.parameters())


@pytest.mark.parametrize("conditions", [Conditions(classes=10), Conditions(numbers=1), Conditions(numbers=4)], ids=str)
@pytest.mark.parametrize("make", [DCGANGenerator, ResNetGenerator])
def test_at_first_the_noise_speaks_louder_than_the_condition(make: Callable[..., nn.Module], conditions: Conditions) -> None:
    """Equal voices made the generator learn one picture for each class on MNIST."""
    torch.manual_seed(0)
    generator: Any = make((1, 28, 28), width=8, conditions=conditions, told="concatenate")
    noise = torch.randn(100, generator.latent)
    condition = torch.arange(10).repeat(10) if conditions.classes else torch.randint(0, 2, (100, conditions.numbers)) * 2.0 - 1
    silent = torch.zeros_like(noise)
    from_noise = generator.project(torch.cat([noise, silent], dim=1)).std(0).mean()
    from_condition = generator.project(torch.cat([silent, generator.embedding(condition)], dim=1)).std(0).mean()
    assert from_noise > 5 * from_condition
    assert from_condition > from_noise / 30


@pytest.mark.parametrize("conditions", [Conditions(classes=10), Conditions(numbers=1), Conditions(numbers=4)], ids=str)
def test_the_discriminators_picture_of_a_condition_is_as_loud_as_an_image(conditions: Conditions) -> None:
    torch.manual_seed(0)
    discriminator = DCGANDiscriminator((1, 28, 28), width=2, conditions=conditions)
    condition = torch.arange(10) if conditions.classes else torch.ones(1, conditions.numbers)
    assert float(discriminator.embedding(condition).detach().std()) == pytest.approx(1, rel=0.1)


def test_waves_are_the_sample_and_its_sines_and_cosines_at_every_scale() -> None:
    waves = Waves(3, 16)
    x = torch.randn(5, 3)
    seen = waves(x)
    assert seen.shape == (5, 3 + 2 * 16)
    assert torch.equal(seen[:, :3], x)
    torch.testing.assert_close(seen[:, 3:19].square() + seen[:, 19:].square(), torch.ones(5, 16))
    lengths = 2 * torch.pi / waves.directions.norm(dim=0)
    torch.testing.assert_close(lengths[[0, -1]], torch.tensor([4 * torch.pi, 0.2]))
    torch.testing.assert_close(lengths[1:] / lengths[:-1], (lengths[1] / lengths[0]).expand(15))
    ahead = x + 2 * torch.pi * waves.directions[:, 4] / waves.directions[:, 4].square().sum()  # one length along its direction
    torch.testing.assert_close(waves(ahead)[:, [7, 23]], seen[:, [7, 23]], atol=1e-4, rtol=0)


def test_a_discriminator_with_waves_learns_none_of_them() -> None:
    discriminator = MLPDiscriminator((2, 1, 1), width=8, depth=1, waves=4)
    assert sum(weight.numel() for weight in discriminator.parameters()) == (2 + 8) * 8 + 8 + 8 + 1
    assert "blocks.1.directions" in discriminator.state_dict()


@pytest.mark.parametrize(("activation", "least"), [("relu", 0.0), ("leaky_relu", -0.2)])
def test_the_activation_of_hidden_layers(activation: str, least: float) -> None:
    generator = MLPGenerator((1, 1, 1), latent=1, width=4, depth=1, activation=activation, bounded=False)
    hidden = generator.body[1](torch.tensor([-1.0, 3.0]))
    torch.testing.assert_close(hidden, torch.tensor([least, 3.0]))
