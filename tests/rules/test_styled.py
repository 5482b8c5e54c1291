"""The game of styles: mixing, path lengths, truncation, and latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from elegan.engine.turns import Settings, Turns
from elegan.game import Attribute, Batch, Spec
from elegan.gans import stylegan2
from elegan.losses.path_length import path_lengths
from elegan.optimizers import SGD
from elegan.randomness import BatchRandomness, SeedRandomness
from elegan.rules.styled import CENTRE_SAMPLES, Style, Styled
from elegan.tasks.recipes import RecipeModule

BatchesOf = Callable[..., Callable[[int], Batch]]
PLAIN, LABELLED = Spec(1, 8, 8), Spec(1, 8, 8, ("a", "b", "c"))
RATED = Spec(1, 8, 8, attributes=(Attribute("age", 0.0, 9.0, (1.0, 5.0)),))


def game(spec: Spec = PLAIN, **options: object) -> Styled:
    torch.manual_seed(0)
    small = {"width": 4, "discriminator_width": 4, "widest": 8, "latent": 6, "depth": 2, "penalty": "none"}
    gan: Any = RecipeModule("stylegan2", stylegan2).make(spec, {**small, **options}).build()
    assert isinstance(gan, Styled)
    return gan


def many(count: int) -> BatchRandomness:
    return BatchRandomness(seed=3, step=0, start=0, stop=count, total=count)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_so_large_a_share_of_samples_is_mixed(share: float) -> None:
    gan, count = game(mixing=share), 20_000
    other, crossover = gan.mixture(many(count))
    layers = gan.generator.num_layers
    mixed = crossover < layers
    assert other.shape == (count, 6)
    assert float(mixed.float().mean()) == pytest.approx(share, abs=0.01)
    if share:
        counts = torch.bincount(crossover[mixed], minlength=layers).float() / mixed.sum()
        assert counts[0] == 0  # the first layer always has the first noise
        torch.testing.assert_close(counts[1:], torch.full((layers - 1,), 1 / (layers - 1)), rtol=0.1, atol=0)


def test_the_image_of_mixed_styles_is_what_is_generated() -> None:
    gan, random = game(mixing=1.0), many(5)
    gan.eval()
    noise, (other, crossover) = random.normal("latent", 6), gan.mixture(random)
    first, second = (gan.generator.mapping(one, None) for one in (noise, other))
    styles = torch.stack([torch.stack([a] * k + [b] * (6 - k)) for a, b, k in zip(first, second, crossover.tolist(), strict=True)])
    torch.testing.assert_close(gan.generate(random, None), gan.generator.synthesis(styles))
    assert not torch.allclose(other, noise)


def test_without_mixing_each_sample_has_one_style() -> None:
    gan, random = game(mixing=0.0), many(5)
    gan.eval()
    torch.testing.assert_close(gan.generate(random, None), gan.render(gan.latents(random, None), None))


def generator_losses(gan: Styled, batch: Batch, steps: range) -> list[float]:
    found = []
    for step in steps:
        gan.path_length.average.zero_()
        found.append(float(next(move.loss().detach() for move in reversed([*gan.play(batch, step)]) if move.player == "generator")))
    return found


def test_the_penalty_is_due_at_its_interval_and_so_many_times_as_strong(batches_of: BatchesOf) -> None:
    gan, batch = game(path_length_interval=3, path_length_weight=2.0), batches_of(PLAIN, 6)(0)
    with_penalty = generator_losses(gan, batch, range(7))
    gan.style = replace(gan.style, path_length_weight=0.0)
    without = generator_losses(gan, batch, range(7))
    differences = [a - b for a, b in zip(with_penalty, without, strict=True)]
    gan.path_length.average.zero_()
    alone = 2.0 * 3 * float(gan.uneven_paths(batch).detach())
    assert alone > 0
    assert differences == pytest.approx([alone, 0, 0, alone, 0, 0, alone], rel=1e-3, abs=1e-6)


def test_updates_of_the_generator_are_counted_not_rounds(batches_of: BatchesOf) -> None:
    gan, batch = game(path_length_interval=2, discriminator_steps=2), batches_of(PLAIN, 4)(0)
    gan.notes.clear()
    due = []
    for step in range(8):
        for move in gan.play(batch, step):
            move.loss()
        due.append("path_length" in gan.notes)
        gan.notes.clear()
    assert due == [False, True, False, False, False, True, False, False]
    assert gan.period == 4
    assert due[:4] == due[4:]


@pytest.mark.parametrize(
    ("options", "period"),
    [
        ({"path_length_weight": 0.0}, 1),
        ({"path_length_interval": 4}, 4),
        ({"path_length_interval": 4, "penalty": "r1", "penalty_interval": 6}, 12),
        ({"path_length_interval": 3, "discriminator_steps": 2}, 6),
    ],
)
def test_the_period_is_the_shortest_that_repeats(options: dict[str, Any], period: int) -> None:
    assert game(**options).period == period


@pytest.mark.parametrize("spec", [PLAIN, LABELLED, RATED], ids=["plain", "labelled", "rated"])
def test_paths_are_those_of_half_a_batch_of_mixed_styles(spec: Spec, batches_of: BatchesOf) -> None:
    gan, batch = game(spec), batches_of(spec, 6)(0)
    found = gan.uneven_paths(batch)
    noise, (other, crossover) = batch.random.normal("path latent", 6)[:3], gan.mixture(batch.random)
    condition = None if batch.condition is None else batch.condition[:3]
    styles = gan.generator.styles(noise, condition, other[:3], crossover[:3])
    lengths = path_lengths(gan.generator.synthesis(styles), styles, batch.random.normal("path", *spec.shape)[:3])
    average = 0.01 * lengths.mean()
    torch.testing.assert_close(found, (lengths - average).square().mean())
    gan.settle("discriminator")
    assert float(gan.path_length.average) == 0
    gan.settle("generator")
    torch.testing.assert_close(gan.path_length.average, average.detach())
    assert gan.shared("generator") == [gan.path_length.sums]
    assert gan.shared("discriminator") == []


def test_one_sample_still_has_a_path(batches_of: BatchesOf) -> None:
    assert game().uneven_paths(batches_of(PLAIN, 1)(0)).isfinite()


def test_the_penalty_makes_paths_more_even(batches_of: BatchesOf) -> None:
    """Its gradient alone, by the engine: the penalty at the same batch falls."""
    gan, batch = game(path_length_interval=1, mixing=0.0), batches_of(PLAIN, 8)(0)
    gan.path_length.average.fill_(1.0)
    before = float(gan.uneven_paths(batch).detach())
    gan.generator_loss = lambda batch, fake, step: gan.uneven_paths(batch)  # type: ignore[method-assign]
    turns = Turns(gan, {"generator": SGD(1e-2), "discriminator": SGD(1e-9)}, Settings())
    for _ in range(3):
        gan.path_length.average.fill_(1.0)
        turns.round(batch, 0)
    gan.path_length.average.fill_(1.0)
    assert float(gan.uneven_paths(batch).detach()) < before


@pytest.mark.parametrize("spec", [PLAIN, LABELLED, RATED], ids=["plain", "labelled", "rated"])
@torch.no_grad()
def test_truncation_moves_styles_to_their_centre(spec: Spec) -> None:
    gan, random = game(spec), SeedRandomness((1, 2, 3))
    condition = spec.conditions_of((1, 2, 3))
    latents, centre = gan.latents(random, condition), gan.centre(condition, torch.device("cpu"))
    assert latents.shape == (3, gan.generator.num_layers, 6)
    assert gan.truncated(latents, condition, 1) is latents
    torch.testing.assert_close(gan.truncated(latents, condition, 0), centre.expand_as(latents))
    torch.testing.assert_close(gan.truncated(latents, condition, 0.5), (latents + centre) / 2)
    torch.testing.assert_close(gan.truncated(latents, condition, 0.5), gan.truncated(latents, condition, 0.5), rtol=0, atol=0)


@torch.no_grad()
def test_the_centre_is_the_mean_of_many_styles_of_the_class_asked_for() -> None:
    gan = game(LABELLED)
    noise = torch.randn(CENTRE_SAMPLES, 6)
    centres = gan.centre(torch.tensor([2, 0, 2]), noise.device)
    assert centres.shape == (3, 1, 6)
    assert torch.equal(centres[0], centres[2])
    assert not torch.allclose(centres[0], centres[1], atol=0.05)
    for centre, number in zip(centres, (2, 0, 2), strict=True):
        styles = gan.generator.mapping(noise, torch.full((len(noise),), number))
        error: Tensor = styles.std(0) * (2 / CENTRE_SAMPLES) ** 0.5
        assert ((centre[0] - styles.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize(("mixing", "interval"), [(0.0, 1), (1.0, 4), (0.5, 2)])
def test_styles_that_can_be_are_not_refused(mixing: float, interval: int) -> None:
    Style(mixing, 2.0, interval).check("stylegan2")
