"""StyleGAN's networks against the paper's definitions and sizes, their growth, and the recipe."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elegan.engine.average import Average, sampling
from elegan.engine.loop import Intervals, Listener, Training, optimizer_tensors
from elegan.engine.memory import memory_needed
from elegan.engine.run import Run
from elegan.engine.turns import Settings, Turns
from elegan.errors import OptionError
from elegan.game import Batch, Recipe, Spec
from elegan.gans import stylegan
from elegan.learning import prepare_networks
from elegan.networks.conditions import NOTHING, Conditions
from elegan.networks.growing import Growing, coarse, enlarge, reduce
from elegan.networks.stylegan import AdaptedLayer, AdaptiveNorm, Down, StyleGANDiscriminator, StyleGANGenerator
from elegan.optimizers import Adam
from elegan.randomness import BatchRandomness, SeedRandomness
from elegan.rules.growing import GrowingStyled, Growth
from elegan.rules.styled import Styled
from elegan.tasks.recipes import RecipeModule

BatchesOf = Callable[..., Callable[[int], Batch]]
CONDITIONS = pytest.mark.parametrize(
    "conditions", [NOTHING, Conditions(classes=3), Conditions(numbers=2)], ids=["nothing", "classes", "numbers"]
)
SIZES = [(8, 8), (24, 40), (28, 28), (21, 37)]


def num_weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def adapted(x: Tensor, norm: Any, style: Tensor) -> Tensor:
    """Equation 1, channel by channel of each sample."""
    numbers = style @ norm.style.weight.T / sqrt(style.shape[1]) + norm.style.bias
    found, channels = torch.empty_like(x), x.shape[1]
    for i in range(len(x)):
        for j in range(channels):
            mean = x[i, j].mean()
            deviation = (x[i, j] - mean).square().mean().add(1e-8).sqrt()
            found[i, j] = (1 + numbers[i, j]) * (x[i, j] - mean) / deviation + numbers[i, channels + j]
    return found


def test_adaptive_norm_is_the_papers_equation() -> None:
    torch.manual_seed(0)
    norm = AdaptiveNorm(4, 6).double()
    nn.init.normal_(norm.style.bias)
    x, style = 3 + 2 * torch.randn(3, 4, 5, 7, dtype=torch.float64), torch.randn(3, 6, dtype=torch.float64)
    torch.testing.assert_close(norm(x, style), adapted(x, norm, style), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norm(9 * x + 1, style), norm(x, style), rtol=1e-6, atol=1e-6)
    assert norm(torch.ones(1, 4, 2, 2, dtype=torch.float64), style[:1]).isfinite().all()


@pytest.mark.parametrize("doubles", [False, True])
def test_a_layer_is_convolution_noise_bias_bend_and_style(doubles: bool) -> None:
    torch.manual_seed(0)
    size = (8, 10) if doubles else (4, 5)
    layer: Any = AdaptedLayer(3, 4, 6, *size, doubles=doubles).double().eval()
    nn.init.normal_(layer.bias)
    nn.init.normal_(layer.noise.strength)
    assert layer.noise.strength.shape == (4, 1, 1)  # one for each channel
    x, style = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    before = x
    if doubles:  # each pixel twice, then [1, 2, 1] / 4
        around = F.pad(x.repeat_interleave(2, 2).repeat_interleave(2, 3), (1, 1, 1, 1), mode="replicate")
        line = torch.tensor([1.0, 2, 1], dtype=torch.float64) / 4
        before = F.conv2d(around.flatten(0, 1)[:, None], (line[:, None] * line)[None, None]).view(2, 3, 8, 10)
    convolved = F.conv2d(before, layer.convolution.weight / sqrt(27), padding=1)
    inner = sqrt(2) * leaky(convolved + layer.noise.fixed * layer.noise.strength + layer.bias[:, None, None])
    torch.testing.assert_close(layer(x, style), adapted(inner, layer.norm, style), rtol=1e-10, atol=1e-10)


def test_a_step_down_is_two_convolutions_a_blur_and_a_mean() -> None:
    torch.manual_seed(0)
    down: Any = Down(3, 4).double()
    nn.init.normal_(down.first[0].bias)
    nn.init.normal_(down.second.bias)
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    hidden = sqrt(2) * leaky(F.conv2d(x, down.first[0].weight / sqrt(27), padding=1) + down.first[0].bias[:, None, None])
    hidden = F.conv2d(hidden, down.second.weight / sqrt(27), padding=1)
    line = torch.tensor([1.0, 2, 1], dtype=torch.float64) / 4
    around = F.pad(hidden, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    blurred = F.conv2d(around, (line[:, None] * line)[None, None])
    expected = F.avg_pool2d(blurred, 2).view(2, 4, 3, 4) + down.second.bias[:, None, None]
    torch.testing.assert_close(down(x), sqrt(2) * leaky(expected), rtol=1e-10, atol=1e-10)


def test_the_networks_of_ffhq_have_as_many_weights_as_published() -> None:
    """26.2 million in the generator (section 2); 23.1 million in the discriminator of progressive growing."""
    with torch.device("meta"):
        generator = StyleGANGenerator((3, 1024, 1024), width=16)
        discriminator = StyleGANDiscriminator((3, 1024, 1024), width=16)
    assert num_weights(generator) == 26_219_627
    assert num_weights(discriminator) == 23_087_249
    assert generator.num_layers == 18


@CONDITIONS
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_networks_make_and_judge_every_size_at_every_growth(size: tuple[int, int], conditions: Conditions) -> None:
    torch.manual_seed(0)
    shape = (1 + SIZES.index(size), *size)
    generator = StyleGANGenerator(shape, latent=5, width=4, widest=8, depth=2, conditions=conditions)
    discriminator = StyleGANDiscriminator(shape, width=4, widest=8, conditions=conditions)
    condition = torch.tensor([0, 2]) if conditions.classes else torch.zeros(2, 2)
    for growth in (2.0, 1.3, 0.0):
        generator.synthesis.grow(growth)
        discriminator.blocks.grow(growth)
        images = generator(torch.randn(2, 5), condition)
        assert images.shape == (2, *shape)
        assert images.isfinite().all()
        assert images.any()
        logits = discriminator(images, condition)
        assert logits.shape == (2,)
        assert logits.isfinite().all()


def pair(side: int = 32, **options: Any) -> tuple[Any, Any]:
    torch.manual_seed(0)
    generator = StyleGANGenerator((2, side, side), latent=6, width=4, widest=8, depth=1, **options)
    return generator, StyleGANDiscriminator((2, side, side), width=4, widest=8, **options)


@torch.no_grad()
def test_a_small_image_is_enlarged_and_a_new_size_fades_in() -> None:
    generator, _ = pair()
    synthesis, styles, found = generator.synthesis, torch.randn(3, generator.num_layers, 6), {}
    for growth in (1.0, 1.4, 1.999, 2.0, 3.0):
        synthesis.grow(growth)
        found[growth] = synthesis(styles)
    small = found[1.0][:, :, ::4, ::4]
    assert small.shape[2:] == (8, 8)
    torch.testing.assert_close(found[1.0], small.repeat_interleave(4, 2).repeat_interleave(4, 3))
    torch.testing.assert_close(found[1.4], 0.6 * found[1.0] + 0.4 * found[2.0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1.999], found[2.0], rtol=0, atol=0.02)
    assert not torch.allclose(found[2.0], found[1.0], atol=0.1)
    assert not torch.allclose(found[3.0], found[2.0], atol=0.1)


@torch.no_grad()
def test_the_discriminator_looks_at_the_means_of_pixels() -> None:
    _, discriminator = pair()
    images, found = torch.randn(3, 2, 32, 32), {}
    for growth in (1.0, 1.4, 2.0):
        discriminator.blocks.grow(growth)
        found[growth] = discriminator(images)
        times = {1.0: 4, 1.4: 2, 2.0: 2}[growth]
        means = enlarge(reduce(images, times), times)
        torch.testing.assert_close(discriminator(means), found[growth])
        other = means + enlarge(torch.randn(3, 2, 32 // times, 32 // times), times)
        assert not torch.allclose(discriminator(other), found[growth], atol=1e-3)
    assert not torch.allclose(found[1.0], found[2.0], atol=1e-3)
    assert not torch.allclose(found[1.4], found[1.0], atol=1e-3)


@torch.no_grad()
def test_a_fade_in_the_discriminator_is_between_features() -> None:
    _, discriminator = pair()
    blocks, images = discriminator.blocks, torch.randn(3, 2, 32, 32)
    blocks.grow(1.25)
    fine, rough = reduce(images, 2), reduce(images, 4)
    assert fine.shape[2:] == (16, 16)
    x = 0.25 * blocks.downs[1](blocks.eyes[2](fine)) + 0.75 * blocks.eyes[1](rough)
    torch.testing.assert_close(blocks(images), blocks.summary(blocks.downs[0](x)))


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32), (21, 37)], ids=str)
def test_real_images_show_as_much_detail_as_generated_ones(size: tuple[int, int]) -> None:
    images, doublings = torch.randn(2, 3, *size), 3 if size == (32, 32) else 2
    assert coarse(images, float(doublings), doublings) is images
    one, half, two = (coarse(images, growth, doublings) for growth in (0.0, 0.5, 1.0))
    assert one.shape == images.shape
    torch.testing.assert_close(half, (one + two) / 2)
    if size == (32, 32):
        blocks = images.unfold(2, 8, 8).unfold(3, 8, 8).mean((4, 5))
        torch.testing.assert_close(one, blocks.repeat_interleave(8, 2).repeat_interleave(8, 3), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(coarse(torch.full_like(images, 0.3), 0.5, doublings), torch.full_like(images, 0.3))


def test_each_part_of_the_growth_is_half_steady_and_half_fading() -> None:
    """Three doublings until six tenths: one in every two tenths."""
    growth = Growth(0.6)
    shares = [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.35, 0.5, 0.55, 0.6, 0.9]
    expected = [0, 0, 0, 0.5, 1, 1, 1.5, 2, 2.5, 3, 3]
    assert [growth.at(share, 3) for share in shares] == pytest.approx(expected, abs=1e-9)
    assert [Growth(0.0).at(share, 3) for share in (0.0, 0.5)] == [3.0, 3.0]


SPEC = Spec(3, 32, 32, ("cat", "dog"))


def made(spec: Spec = SPEC, **options: object) -> Recipe:
    small = {"width": 4, "discriminator_width": 4, "widest": 8, "latent": 8, "depth": 2}
    return RecipeModule("stylegan", stylegan).make(spec, {**small, **options})


def test_both_networks_grow_and_see_coarse_images(batches_of: BatchesOf, monkeypatch: pytest.MonkeyPatch) -> None:
    gan: Any = made().build()
    prepare_networks(gan)
    judged: list[Tensor] = []
    monkeypatch.setattr(gan, "judge", lambda images, *how: judged.append(images) or Styled.judge(gan, images, *how))
    turns = Turns(gan, made().optimizers, Settings())
    batch = replace(batches_of(SPEC)(0), progress=0.125)  # of three doublings, three quarters of the first part
    turns.round(batch, 0)
    assert float(gan.generator.synthesis.growth) == float(gan.discriminator.blocks.growth) == 0.5
    torch.testing.assert_close(judged[0], coarse(batch.real, 0.5, 3))
    for images in judged:
        torch.testing.assert_close(images, enlarge(reduce(images, 4), 4))  # 8x8 of 32x32
    assert gan.state_dict()["generator.synthesis.growth"] == 0.5


def test_layers_that_are_not_in_use_are_left_alone(batches_of: BatchesOf) -> None:
    gan: Any = made().build()
    prepare_networks(gan)
    before = {name: value.clone() for name, value in gan.named_parameters()}
    turns = Turns(gan, made().optimizers, Settings())
    used = {}
    for progress in (0.0, 0.7):
        turns.round(replace(batches_of(SPEC)(0), progress=progress), 0)
        used[progress] = {name for name, value in gan.named_parameters() if value in turns.optimizers[name.split(".")[0]].state}
    assert used[0.0] < used[0.7]
    small = [name for name in before if name not in used[0.0]]
    assert {
        "generator.synthesis.layers.2.bias",
        "generator.synthesis.paints.3.weight",
        "discriminator.blocks.downs.0.second.weight",
    } <= set(small)
    grown = [name for name in before if name not in used[0.7]]
    assert {name.rsplit(".", 2)[0] for name in grown} <= {
        "generator.synthesis.paints",
        "discriminator.blocks.eyes.1",
        "discriminator.blocks.eyes.2",
    }


def test_the_picture_of_what_is_augmented_shows_coarse_images(batches_of: BatchesOf, monkeypatch: pytest.MonkeyPatch) -> None:
    gan: Any = made(augment="colour").build()
    monkeypatch.setattr(gan, "augment", lambda images, random, stream: images)
    gan.grow(1.5)
    batch = batches_of(SPEC)(0)
    torch.testing.assert_close(gan.views(batch)["augmented"][: len(batch)], coarse(batch.real, 1.5, 3))


def test_samples_of_the_average_are_as_large_as_its_growth(batches_of: BatchesOf) -> None:
    gan: Any = made().build()
    prepare_networks(gan)
    average = Average(gan, 0.0)
    turns = Turns(gan, made().optimizers, Settings(), average)
    turns.round(replace(batches_of(SPEC)(0), progress=0.0), 0)
    with sampling(average.view(gan)) as ready:
        images = ready.sample(SeedRandomness((0, 1)), torch.tensor([0, 1]))
    torch.testing.assert_close(images, enlarge(reduce(images, 8), 8))
    assert images[0].std() > 0


def test_mixing_is_among_the_layers_in_use() -> None:
    gan: Any = made(mixing=1.0).build()
    random = BatchRandomness(seed=0, step=0, start=0, stop=300, total=300)
    for growth, last in ((0.0, 1), (1.5, 5), (3.0, 7)):
        gan.generator.synthesis.grow(growth)
        crossover = gan.mixture(random)[1]
        assert (int(crossover.min()), int(crossover.max())) == (1, last)


def training(folder: Path, batches: Callable[[int], Batch], rounds: int, save_every: int = 100) -> Training:
    torch.manual_seed(0)
    recipe = made(average_half_life=20.0)
    gan = recipe.build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    prepare_networks(gan)
    run = Run(folder)
    if not run.exists():
        run.create({}, {})

    def growing(step: int) -> Batch:
        return replace(batches(step), progress=step / rounds)

    turns = Turns(gan, recipe.optimizers, Settings(seed=1), Average(gan, 20.0))
    return Training(turns, growing, run, Intervals(save_every, log=1), Listener())


def test_a_run_that_is_resumed_while_it_grows_is_the_uninterrupted_one(tmp_path: Path, batches_of: BatchesOf) -> None:
    """It stops while the first doubling fades in, before the last layers have moments. The other saves, and so samples, all the time."""
    batches, rounds, stop = batches_of(SPEC), 8, 1
    straight = training(tmp_path / "straight", batches, rounds, save_every=1)
    straight.train(rounds)
    half = training(tmp_path / "halves", batches, rounds)
    half.listener.progress = lambda progress: signal.raise_signal(signal.SIGTERM) if progress.step == stop else None
    assert half.train(rounds) == "SIGTERM"
    few = optimizer_tensors(half.turns).keys()
    resumed = training(tmp_path / "halves", batches, rounds)
    resumed.resume()
    assert optimizer_tensors(resumed.turns).keys() == few
    resumed.train(rounds)
    assert few < optimizer_tensors(resumed.turns).keys()
    for expected, found in (
        (straight.weights(), resumed.weights()),
        (optimizer_tensors(straight.turns), optimizer_tensors(resumed.turns)),
    ):
        assert expected.keys() == found.keys()
        assert [key for key in expected if not torch.equal(expected[key], found[key])] == []
    assert float(straight.weights()["gan.generator.synthesis.growth"]) == 3.0


def test_compiled_networks_fade_without_being_compiled_anew() -> None:
    torch._dynamo.reset()
    generator, discriminator = pair(8)
    parts, inputs = (generator.synthesis, discriminator.blocks), (torch.randn(2, 6, 6), torch.randn(2, 2, 8, 8))
    for part, x in zip(parts, inputs, strict=True):
        compiled = torch.compile(part, backend="eager")
        for number, growth in enumerate((1.2, 1.5, 1.9)):
            part.grow(growth)
            with torch._dynamo.config.patch(error_on_recompile=number > 0):
                torch.testing.assert_close(compiled(x), part(x))


def test_an_average_that_is_all_but_grown_is_read_as_grown() -> None:
    part = Growing(3)
    part.growth.fill_(2.9999999)
    assert part.eval().present() == 3
    assert not part.fades
    part.growth.fill_(1.2345678)
    assert part.present() == 2
    assert float(part.growth) == pytest.approx(1.2345678, abs=1e-7)  # to be looked at changes nothing
    part.growth.fill_(2.25)
    assert part.present() == 3
    assert part.fades
    torch.testing.assert_close(part.faded(torch.zeros(2), torch.ones(2)), torch.full((2,), 0.25))


@torch.no_grad()
def test_layouts_and_precisions_agree() -> None:
    generator, discriminator = pair(16, conditions=Conditions(classes=3))
    generator.eval()
    noise, classes = torch.randn(4, 6), torch.tensor([0, 2, 1, 1])
    real = F.interpolate(torch.randn(4, 2, 2, 2), size=16, mode="bilinear")
    images, logits = generator(noise, classes), discriminator(real, classes)
    for network in (generator, discriminator):
        network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(generator(noise, classes), images, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(discriminator(real, classes), logits, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        near, judged = generator(noise, classes), discriminator(real, classes)
    assert near.dtype == torch.bfloat16
    assert float((near.float() - images).norm()) < 0.05 * float(images.norm())
    torch.testing.assert_close(judged.float(), logits, rtol=0.05, atol=0.05 * max(1.0, float(logits.abs().max())))


def test_the_gradients_of_the_discriminators_gradients_are_exact_while_it_fades() -> None:
    torch.manual_seed(0)
    discriminator = StyleGANDiscriminator((1, 8, 9), width=2, widest=3).double()
    discriminator.blocks.grow(1.3)
    x = torch.randn(2, 1, 8, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(discriminator, x, fast_mode=True)
    assert torch.autograd.gradgradcheck(discriminator, x, fast_mode=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"discriminator_norm": "spectral"}, "--discriminator-norm none"),
        ({"generator_condition": "batch_norm"}, "--generator-condition concatenate"),
        ({"mixing": 1.5}, "--mixing: got 1.5"),
        ({"grow_until": 1.5}, "--grow-until: got 1.5"),
        ({"grow_until": -0.5}, "--grow-until: got -0.5"),
        ({"network": "stylegan2"}, "Use --grow-until 0"),
        ({"network": "dcgan"}, "--network stylegan2 or stylegan"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_built(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        made(**options)


def test_without_growth_it_is_the_plain_game() -> None:
    gan: Any = made(grow_until=0.0).build()
    assert type(gan) is Styled
    assert (gan.generator.synthesis.present(), gan.generator.synthesis.fades) == (3, False)
    assert type(made().build()) is GrowingStyled
    assert type(made(network="stylegan2", grow_until=0.0).build()) is Styled


def test_the_recipe_has_the_published_settings() -> None:
    adam = made().optimizers["generator"]
    assert isinstance(adam, Adam)
    assert (adam.betas, adam.rate(0.0)) == ((0.0, 0.99), 1e-3)
    gan: Any = made().build()
    assert (gan.penalty.weight_at(0.0), gan.penalty.interval, gan.style.path_length_weight, gan.style.mixing) == (10.0, 1, 0.0, 0.9)
    assert gan.period == 1
    assert "path_length_interval" in made().idle


def test_norms_are_refused() -> None:
    with pytest.raises(OptionError, match="norm is 'none'"):
        StyleGANDiscriminator((1, 16, 16), norm="spectral")
    with pytest.raises(OptionError, match="told='concatenate'"):
        StyleGANGenerator((1, 16, 16), conditions=Conditions(classes=2), told="batch_norm")


def test_a_training_that_is_made_longer_does_not_shrink_its_networks(batches_of: BatchesOf) -> None:
    gan: Any = made().build()
    prepare_networks(gan)
    turns, batch = Turns(gan, made().optimizers, Settings()), batches_of(SPEC)(0)
    grown = []
    for step, progress in ((0, 0.0), (1, 0.4), (2, 0.1), (3, 0.6)):
        turns.round(replace(batch, progress=progress), step)
        grown.append(float(gan.generator.synthesis.growth))
    assert grown[0] == 0
    assert grown[2] == grown[1] > 0.5
    assert grown[3] == gan.generator.synthesis.doublings


def test_its_memory_is_that_of_the_grown_networks(batches_of: BatchesOf) -> None:
    needed = [memory_needed(made(grow_until=share).build(), made().optimizers, Settings(), batches_of(SPEC)) for share in (0.5, 0.0)]
    assert needed[0] == pytest.approx(needed[1], rel=0.05)
