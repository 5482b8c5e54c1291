"""Truncated samples, and the latents that samples follow from: against scipy, and against what the game itself makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm, truncnorm

import elegan
from elegan.errors import OptionError
from elegan.game import GAN, Spec
from elegan.randomness import SeedRandomness
from elegan.tasks.model import Model
from elegan.tasks.recipes import find_recipe

STYLED = {"latent": 16, "depth": 2, "width": 4, "discriminator_width": 4, "widest": 8}


def model_of(name: str, spec: Spec, **options: object) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Model(find_recipe(name).make(spec, options).build(), 0)


@pytest.fixture(scope="module")
def noisy() -> Model:
    return model_of("cgan", Spec(1, 8, 8, ("a", "b")), width=8)


@pytest.fixture(scope="module")
def styled() -> Model:
    return model_of("stylegan2", Spec(1, 8, 8, ("a", "b")), **STYLED)


@pytest.mark.parametrize("name", ["noisy", "styled"])
def test_without_truncation_samples_are_what_the_game_makes(name: str, request: pytest.FixtureRequest) -> None:
    model: Model = request.getfixturevalue(name)
    seeds = tuple(range(70))
    model.gan.eval()
    with torch.no_grad():
        random, asked = SeedRandomness(seeds[:64]), model.spec.conditions_of(seeds[:64])
        expected = (model.gan.sample(random, asked).float() * 127.5 + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    model.gan.train()
    found = model.sample(seeds)
    assert np.array_equal(found[:64], expected)
    assert np.array_equal(model.sample(seeds, truncation=1), found)
    latents = model.latents(seeds)
    assert np.array_equal(model.render(latents, model.conditions_of(seeds)), found)
    assert np.array_equal(model.render(latents[65:66], torch.tensor([1])), found[65:66])
    assert model.gan.training


def test_truncated_noise_is_a_truncated_normal_in_the_same_order(noisy: Model) -> None:
    whole, some = (noisy.latents("0-9", truncation=share).double().numpy() for share in (1.0, 0.7))
    assert whole.shape == (10, 1, 100)
    np.testing.assert_allclose(some, truncnorm.ppf(norm.cdf(whole), -1.4, 1.4), atol=1e-6)
    assert not noisy.latents("0-9", truncation=0).any()


def test_truncated_styles_move_towards_the_mean_style_of_their_class(styled: Model) -> None:
    whole, half, none = (styled.latents("0-3", truncation=share) for share in (1.0, 0.5, 0.0))
    assert whole.shape == (4, 6, 16)
    torch.testing.assert_close(half, (whole + none) / 2)
    assert torch.equal(none[:, 0], none[:, -1])
    torch.testing.assert_close(none[0], none[2], rtol=0, atol=0)
    assert not torch.allclose(none[0], none[1])
    many = styled.latents(range(400), "a")[:, 0].mean(0)
    spread = styled.latents(range(400), "a")[:, 0].std(0)
    assert bool(((many - none[0, 0]).abs() < 5 * spread / 400**0.5).all())


def test_a_cutoff_leaves_the_later_layers_alone(styled: Model) -> None:
    whole, all_moved, some = (styled.latents("0-3", truncation=t, cutoff=c) for t, c in ((1.0, None), (0.3, None), (0.3, 2)))
    assert torch.equal(some[:, :2], all_moved[:, :2])
    assert torch.equal(some[:, 2:], whole[:, 2:])
    assert torch.equal(styled.latents("0-3", truncation=0.3, cutoff=6), all_moved)


def test_a_truncated_seed_is_the_same_picture_whatever_else_is_asked_for(styled: Model, noisy: Model) -> None:
    for model in (styled, noisy):
        many = model.sample("0-70", truncation=0.5)
        assert np.array_equal(model.sample("69,3", truncation=0.5), many[[69, 3]])
        assert not np.array_equal(many, model.sample("0-70"))
        assert np.array_equal(model.sample("5", "a", truncation=0), model.sample("8", "a", truncation=0))


@pytest.mark.parametrize("truncation", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_truncation_outside_its_range_is_refused(truncation: float, noisy: Model) -> None:
    with pytest.raises(OptionError, match=r"--truncation: got .*from 0 \(the mean alone\) to 1"):
        noisy.sample("0", truncation=truncation)


def test_a_cutoff_that_cuts_nothing_is_refused(styled: Model, noisy: Model) -> None:
    for model, truncation, cutoff, said in (
        (noisy, 0.5, 1, "one layer"),
        (styled, 0.5, 0, "got 0, expected from 1 to 6"),
        (styled, 0.5, 7, "got 7, expected from 1 to 6"),
        (styled, 1.0, 2, "no difference without a --truncation below 1"),
    ):
        with pytest.raises(OptionError, match=said):
            model.sample("0", truncation=truncation, cutoff=cutoff)


def test_a_model_of_ones_own_without_latents_says_so() -> None:
    class Own(GAN):
        pass

    with pytest.raises(OptionError, match="no LatentGAN"):
        Model(Own(Spec(1, 8, 8)), 0).sample("0", truncation=0.5)


def test_the_command_truncates(tmp_path: Path) -> None:
    small = {"width": 8, "batch": 16, "steps": 2, "precision": "fp32", "size": "8"}
    run = elegan.train("digits", out=str(tmp_path), **small)
    with np.load(elegan.sample(run, seeds="0-3", truncation=0.5, out=tmp_path / "a.npz")) as arrays:
        assert np.array_equal(arrays["images"], elegan.load(run).sample("0-3", truncation=0.5))
    assert elegan.sample(run, seeds="0-3", truncation=0.5).name == "samples-0-3-truncated-0.5.png"
    assert elegan.sample(run, seeds="0-3", class_="3", truncation=0.5).name == "samples-0-3-3-truncated-0.5.png"
    with pytest.raises(OptionError, match="one layer"):
        elegan.sample(run, truncation=0.5, truncation_cutoff=2)
