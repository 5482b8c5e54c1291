"""Projection: latents that are known are found again, the parts of the distance are what they are said to be."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elegan.explore.projection import CANDIDATES, distance, jitter, project, pyramid, ramp
from elegan.game import Spec
from elegan.networks.layers import Clamp
from elegan.randomness import SeedRandomness
from elegan.tasks.recipes import find_recipe

Known = Callable[..., Any]


def nothing(images: Tensor) -> list[Tensor]:
    return []


@pytest.mark.parametrize("told", [False, True])
def test_known_latents_are_found_again(told: bool, known: Known) -> None:
    gan = known(told=told)
    condition = torch.tensor([1, 0]) if told else None
    latents = gan.latents(SeedRandomness((1000, 1001)), None)
    target = gan.render(latents, condition).detach()
    found = project(gan, target, condition, space="noise", steps=200)
    torch.testing.assert_close(found.latents, latents, atol=2e-3, rtol=0)
    assert bool((found.distances < 1e-5).all())
    assert not found.mean.any()
    if told:
        assert found.condition is not None
        assert found.condition.tolist() == [1, 0]


def test_a_search_finds_back_from_beyond_white(known: Known) -> None:
    """All pictures at the start are beyond white everywhere, as unbounded generators' can be; of a plain cut the gradient would be 0."""
    gan = known(activation=Clamp())
    gan.maps[0].weight.data.fill_(0.25)
    gan.maps[0].bias.data.fill_(4.0)  # of latents 16 less in all it is grey; no random ones are near that
    target = torch.zeros(2, 1, 8, 8)
    start, found = (project(gan, target, space="w", steps=steps).distances for steps in (0, 300))
    assert start.tolist() == [1.0, 1.0]
    assert bool((found < 1e-3).all())


def test_the_class_is_looked_for_where_it_is_not_said(known: Known) -> None:
    gan = known(told=True)
    with torch.no_grad():
        gan.embedding.weight[1] = 50.0
        target = gan.render(torch.zeros(3, 1, 6), torch.tensor([0, 1, 1]))
    found = project(gan, target, space="noise", steps=0)
    assert found.condition is not None
    assert found.condition.tolist() == [0, 1, 1]
    assert not found.latents.any()  # the mean latents are the nearest: they are the very ones


def test_without_steps_it_is_the_nearest_sample(known: Known) -> None:
    gan = known()
    with torch.no_grad():
        images = gan.render(gan.latents(SeedRandomness(tuple(range(CANDIDATES))), None), None)
        target = images[[7, 200]] + 0.01
    found = project(gan, target, space="noise", steps=0)
    torch.testing.assert_close(found.latents, gan.latents(SeedRandomness((7, 200)), None))
    torch.testing.assert_close(found.distances, torch.full((2,), 1e-4), rtol=1e-2, atol=0)


def test_a_style_is_one_for_all_layers_or_each_its_own() -> None:
    options = {"latent": 8, "depth": 1, "width": 4, "discriminator_width": 4, "widest": 8}
    gan: Any = find_recipe("stylegan2").make(Spec(1, 8, 8), options).build()
    target = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    one, each = (project(gan, target, space=space, steps=30) for space in ("w", "w+"))
    assert one.latents.shape == each.latents.shape == (2, 6, 8)
    assert torch.equal(one.latents[:, :1].expand(-1, 6, -1), one.latents)
    assert not torch.equal(each.latents[:, 0], each.latents[:, 5])
    start = project(gan, target, steps=0).distances
    assert bool((one.distances < start).all())
    assert bool((each.distances < start).all())
    assert gan.training
    assert all(weight.grad is None for weight in gan.parameters())


def test_noise_keeps_to_the_values_that_noise_has(known: Known) -> None:
    gan = known()
    found = project(gan, 50 * gan.render(torch.ones(1, 1, 6), None).detach(), space="noise", steps=60)
    drawn = gan.latents(SeedRandomness(tuple(range(CANDIDATES))), None)
    assert bool((found.latents <= drawn.max()).all())
    assert bool((found.latents >= drawn.min()).all())


def test_what_is_found_is_never_farther_than_its_start(known: Known) -> None:
    gan = known()
    target = gan.render(gan.latents(SeedRandomness((3,)), None), None).detach()
    wild = project(gan, target, space="noise", steps=3, rate=100.0)
    assert wild.distances.item() <= project(gan, target, space="noise", steps=0).distances.item() < 1e-9


def test_the_distance_is_that_of_pixels_at_all_sizes_and_of_directions_of_channels() -> None:
    one, other = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    other[0, 0, 0, 0] = 1.0
    # one pixel of 64; its 2x2 mean is 1/4, one of 16; then 1/16, one of 4
    by_hand = (1 / 64 + 0.25**2 / 16 + (1 / 16) ** 2 / 4) / 3
    assert [tuple(image.shape[2:]) for image in pyramid(one)] == [(8, 8), (4, 4), (2, 2)]
    assert distance(one, other, nothing).item() == pytest.approx(by_hand)
    assert distance(one, one, nothing).item() == 0

    def features(images: Tensor) -> list[Tensor]:
        same, turned = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 5.0])
        return [(turned if bool(images.any()) else same).view(1, 2, 1, 1).expand(1, 2, 4, 4)]

    assert distance(one, other, features).item() == pytest.approx(by_hand + 2)  # at right angles: 1 + 1
    assert [tuple(image.shape[2:]) for image in pyramid(torch.zeros(1, 1, 12, 28))] == [(12, 28), (6, 14), (3, 7)]


def test_rate_and_noise_follow_the_paper() -> None:
    assert [ramp(done) for done in (0.0, 0.025, 0.05, 0.5, 0.75)] == pytest.approx([0, 0.5, 1, 1, 1])
    assert ramp(0.875) == pytest.approx(0.5 - 0.5 * cos(pi / 2))
    assert ramp(1.0) == pytest.approx(0)
    assert [jitter(done) for done in (0.0, 0.375, 0.75, 1.0)] == pytest.approx([0.05, 0.0125, 0, 0])


def test_features_steer_the_search(known: Known) -> None:
    """With features that see only the left half and pixels made equal there, the distance falls by them too."""
    gan = known(activation=nn.Tanh())
    target = gan.render(gan.latents(SeedRandomness((900,)), None), None).detach()

    def left(images: Tensor) -> list[Tensor]:
        return [images[:, :, :, :4].reshape(len(images), 4, 8, 1)]

    found = project(gan, target, space="noise", features=left, steps=100)
    assert found.distances.item() < 0.05 * project(gan, target, space="noise", features=left, steps=0).distances.item()
