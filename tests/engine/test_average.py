from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch

from elegan.engine.average import Average, estimate_statistics, sampling
from elegan.game import Batch
from elegan.randomness import SeedRandomness
from elegan.rules.two_player import TwoPlayer

MakeGAN = Callable[..., TwoPlayer]
Batches = Callable[[int], Batch]


def fill(network: torch.nn.Module, value: float) -> None:
    for tensor in network.state_dict().values():
        tensor.fill_(value)


def only_value(average: Average) -> float:
    values = {round(float(v), 6) for tensor in average.networks["generator"].state_dict().values() for v in tensor.flatten()}
    assert len(values) == 1
    return values.pop()


@pytest.mark.parametrize("batch", [1, 10, 100])
def test_after_a_half_life_of_images_the_share_has_halved(batch: int, make_gan: MakeGAN) -> None:
    gan = make_gan()
    average = Average(gan, half_life=100)
    fill(average.networks["generator"], 0.0)
    fill(gan.generator, 1.0)
    for _ in range(100 // batch):
        average.update(gan, batch, images_seen=1_000_000)
    assert only_value(average) == pytest.approx(0.5, abs=1e-5)


def test_early_on_the_half_life_is_a_twentieth_of_the_images_seen(make_gan: MakeGAN) -> None:
    gan = make_gan()
    average = Average(gan, half_life=1e9)
    fill(average.networks["generator"], 0.0)
    fill(gan.generator, 1.0)
    average.update(gan, images=10, images_seen=200)
    assert only_value(average) == pytest.approx(0.5, abs=1e-6)
    average.update(gan, images=10, images_seen=400)
    assert only_value(average) == pytest.approx(1 - 0.5 * 0.5**0.5, abs=1e-6)


def test_without_a_half_life_the_average_follows_at_once(make_gan: MakeGAN) -> None:
    gan = make_gan()
    average = Average(gan, half_life=0)
    fill(gan.generator, 3.0)
    average.update(gan, 1, 1)
    assert only_value(average) == 3.0


def test_integers_are_copied_and_float_buffers_averaged(make_gan: MakeGAN) -> None:
    gan = make_gan(normed=True)
    average = Average(gan, half_life=100)
    norm, mine = gan.generator.norm, average.networks["generator"].norm
    norm.num_batches_tracked.fill_(17)
    norm.running_mean.fill_(2.0)
    average.update(gan, 100, 1_000_000)
    assert mine.num_batches_tracked == 17
    assert mine.num_batches_tracked.dtype == torch.int64
    torch.testing.assert_close(mine.running_mean, torch.ones(4))


def test_the_average_is_a_copy_that_never_learns(make_gan: MakeGAN) -> None:
    gan = make_gan()
    average = Average(gan, 10)
    fill(gan.generator, 5.0)
    assert not any((value == 5).all() for value in average.state_dict().values())
    assert not any(p.requires_grad for p in average.parameters())


def test_the_view_samples_with_the_average_and_shares_the_rest(make_gan: MakeGAN) -> None:
    gan = make_gan()
    average = Average(gan, 10)
    fill(average.networks["generator"], 0.0)
    view = average.view(gan)
    assert view.discriminator is gan.discriminator
    assert view.players["generator"] == (average.networks["generator"],)
    with sampling(view), sampling(gan):
        assert not view.sample(SeedRandomness((0, 1)), None).any()
        assert gan.sample(SeedRandomness((0, 1)), None).any()


def test_the_statistics_are_those_of_the_networks_own_samples(make_gan: MakeGAN, batches: Batches) -> None:
    gan = make_gan(normed=True)
    parts = [batches(step) for step in range(5)]
    estimate_statistics(gan, parts)
    maps = [gan.generator.first(part.random.normal("latent", 3).view(-1, 3, 1, 1) * torch.ones(1, 1, 2, 2)) for part in parts]
    norm = gan.generator.norm
    torch.testing.assert_close(norm.running_mean, torch.cat(maps).mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, torch.stack([m.transpose(0, 1).flatten(1).var(1) for m in maps]).mean(0))


def test_estimating_forgets_what_was_there(make_gan: MakeGAN, batches: Batches) -> None:
    gan = make_gan(normed=True)
    parts = [batches(step) for step in range(3)]
    estimate_statistics(gan, parts)
    first = copy.deepcopy(gan.generator.state_dict())
    gan.generator.norm.running_mean.fill_(100)
    estimate_statistics(gan, parts)
    torch.testing.assert_close(gan.generator.state_dict(), first, rtol=0, atol=0)


def flags(gan: TwoPlayer) -> tuple[object, ...]:
    norm = gan.generator.norm
    return norm.momentum, norm.training, norm.track_running_stats, gan.generator.training, [p.requires_grad for p in gan.parameters()]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("tracks", [True, False])
def test_estimating_restores_every_flag(training: bool, tracks: bool, make_gan: MakeGAN, batches: Batches) -> None:
    gan = make_gan(normed=True)
    gan.generator.train(training)
    gan.generator.norm.track_running_stats = tracks
    gan.generator.norm.momentum = 0.3
    before = flags(gan)
    estimate_statistics(gan, [batches(0)])
    assert flags(gan) == before


def test_estimating_restores_every_flag_after_an_exception(make_gan: MakeGAN, batches: Batches) -> None:
    gan = make_gan(normed=True)
    before = flags(gan)

    def broken() -> object:
        yield batches(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate_statistics(gan, broken())
    assert flags(gan) == before


def test_estimating_for_the_average_leaves_the_original_alone(make_gan: MakeGAN, batches: Batches) -> None:
    gan = make_gan(normed=True)
    average = Average(gan, 10)
    before = copy.deepcopy(gan.state_dict())
    estimate_statistics(average.view(gan), [batches(0)])
    torch.testing.assert_close(gan.state_dict(), before, rtol=0, atol=0)
    assert average.networks["generator"].norm.running_mean.any()


@pytest.mark.parametrize("training", [True, False])
def test_sampling_restores_the_mode_also_after_an_exception(training: bool, make_gan: MakeGAN) -> None:
    gan = make_gan(normed=True)
    gan.generator.train(training)

    def fail() -> None:
        with sampling(gan) as ready:
            assert not ready.generator.training
            assert not torch.is_grad_enabled()
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fail()
    assert gan.generator.training is training
    assert torch.is_grad_enabled()
