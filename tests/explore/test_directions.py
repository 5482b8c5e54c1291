"""Directions, against singular vectors of known generators, scikit-learn's principal components, and numpy's least squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from elegan.explore.directions import Directions, centred, factorised, first_maps, principal
from elegan.game import LatentGAN, Spec
from elegan.randomness import SeedRandomness
from elegan.tasks.recipes import find_recipe

Known = Callable[..., Any]
"""The class in conftest.py."""


def drawn(gan: LatentGAN, count: int) -> Tensor:
    return gan.latents(SeedRandomness(tuple(range(count))), None)


def check_same_lines(found: Tensor, expected: Tensor) -> None:
    """Rows along the same lines, whatever their lengths and signs."""
    cosines = nn.functional.cosine_similarity(found.double().flatten(1), expected.double().flatten(1)).abs()
    torch.testing.assert_close(cosines, torch.ones_like(cosines), atol=1e-6, rtol=0)


def check_form(found: Directions) -> None:
    """At right angles, each as long as the first, the strongest first, its largest number positive."""
    rows = found.vectors.double().flatten(1)
    lengths = rows.norm(dim=1)
    torch.testing.assert_close(rows @ rows.T, torch.diag(lengths**2), atol=1e-6, rtol=0)
    assert bool((found.shares.diff() <= 0).all())
    assert bool((rows.gather(1, rows.abs().argmax(1, keepdim=True)) > 0).all())


@pytest.mark.parametrize("told", [False, True])
def test_a_linear_generator_is_factorised_into_its_singular_vectors(told: bool, known: Known) -> None:
    gan = known(told=told)
    condition = torch.zeros(50, dtype=torch.int64) if told else None
    found = factorised(gan, drawn(gan, 50), condition, (0,), 4, alike=False)
    _, sizes, vectors = torch.linalg.svd(gan.matrices()[0])
    check_form(found)
    check_same_lines(found.vectors, vectors[:4])
    torch.testing.assert_close(found.shares, (sizes**2 / (sizes**2).sum())[:4])
    spread = centred(drawn(gan, 50).double(), condition).square().mean().sqrt()
    torch.testing.assert_close(found.vectors.flatten(1).norm(dim=1), spread.expand(4).float())


def test_layers_with_noise_of_their_own_are_factorised_together_and_apart(known: Known) -> None:
    gan = known(layers=3)
    blocks = gan.matrices()
    found = factorised(gan, drawn(gan, 20), None, (0, 1, 2), 5, alike=False)
    # each image is the sum of the three maps, so the layers do not enter one matrix: their stack is block by block
    _, sizes, vectors = torch.linalg.svd(torch.block_diag(*blocks))
    check_form(found)
    check_same_lines(found.vectors, vectors[:5])
    torch.testing.assert_close(found.shares, (sizes**2 / (sizes**2).sum())[:5])
    second = factorised(gan, drawn(gan, 20), None, (1,), 2, alike=False)
    assert not second.vectors[:, [0, 2]].any()
    check_same_lines(second.vectors[:, 1], torch.linalg.svd(blocks[1])[2][:2])


def test_styles_are_factorised_by_the_stack_of_all_layers() -> None:
    spec, options = Spec(1, 8, 8), {"latent": 12, "depth": 1, "width": 4, "discriminator_width": 4, "widest": 8}
    gan = find_recipe("stylegan2").make(spec, options).build()
    latents = gan.latents(SeedRandomness(tuple(range(20))), None).detach()  # type: ignore[operator]
    synthesis = gan.generator.synthesis  # type: ignore[union-attr]
    of_layer = [[layer] for layer in synthesis.layers]  # type: ignore[union-attr, union-attr]
    of_layer.append([])
    for i, paint in enumerate(synthesis.paints):  # type: ignore[union-attr, arg-type]
        of_layer[2 * i + 1].append(paint)
    for layers in ((0, 1, 2, 3, 4, 5), (2, 3)):
        used = [part.convolution.style for i in layers for part in of_layer[i]]  # type: ignore[union-attr]
        stack = torch.cat([one.weight.detach() * one.weight_gain for one in used])  # type: ignore[operator]
        found = factorised(gan, latents, None, layers, 3, alike=True)  # type: ignore[arg-type]
        check_same_lines(found.vectors[:, layers[0]], torch.linalg.svd(stack.double())[2][:3])
        assert torch.equal(found.vectors[:, layers[0]], found.vectors[:, layers[-1]])
        assert found.vectors.abs().sum((0, 2)).nonzero().flatten().tolist() == list(layers)


@pytest.mark.parametrize("name", ["dcgan", "cgan", "acgan", "gan", "wgan_gp", "sngan", "r3gan"])
def test_the_first_layer_of_every_generator_is_found(name: str) -> None:
    gan = find_recipe(name).make(Spec(1, 8, 8, ("a", "b")), {"width": 8}).build()
    gan.eval()
    latents = gan.latents(SeedRandomness((0, 1, 2)), None).detach()  # type: ignore[operator]
    ((matrix, columns),) = first_maps(gan, latents.shape[1:], torch.tensor([0, 1]))  # type: ignore[arg-type]
    assert sorted(columns.tolist()) == list(range(latents.shape[2]))
    assert matrix.shape[1] == latents.shape[2]
    assert gan.training is False


def test_every_layer_that_a_part_of_the_noise_enters_is_found() -> None:
    gan = find_recipe("biggan").make(Spec(1, 8, 8, ("a", "b")), {"width": 4, "latent": 12}).build()
    shape = gan.latents(SeedRandomness((0,)), None).shape[1:]  # type: ignore[operator]
    maps = list(first_maps(gan, shape, torch.tensor([0])))  # type: ignore[arg-type]
    assert shape == (3, 4)
    by_layer = [sorted({column // 4 for column in columns.tolist()}) for _, columns in maps]
    assert by_layer == [[0], *[[1]] * 4, *[[2]] * 4]
    assert gan.training
    generator = gan.eval().generator
    torch.testing.assert_close(maps[0][0][:, maps[0][1].argsort()], generator.project.weight.detach().double(), atol=1e-5, rtol=0)  # type: ignore[union-attr, operator]


def test_principal_components_of_styles_are_those_of_scikit_learn(known: Known) -> None:
    generator = torch.Generator().manual_seed(3)
    styles = torch.randn(200, 8, generator=generator) @ torch.randn(8, 8, generator=generator)
    found = principal(known(), styles[:, None].expand(-1, 4, -1), None, (1, 2), 3, alike=True)
    expected = PCA(3, svd_solver="full").fit(styles.double().numpy())
    check_same_lines(found.vectors[:, 1], torch.from_numpy(expected.components_))
    np.testing.assert_allclose(found.shares, expected.explained_variance_ratio_, rtol=1e-9)
    deviations = (expected.explained_variance_ * 199 / 200) ** 0.5
    np.testing.assert_allclose(found.vectors[:, 1].norm(dim=1), deviations, rtol=1e-6)
    assert not found.vectors[:, [0, 3]].any()


def test_principal_components_of_noise_are_those_of_what_the_first_activation_gives(known: Known) -> None:
    gan = known(activation=nn.ReLU())
    latents = drawn(gan, 300)
    found = principal(gan, latents, None, (0,), 2, alike=False)
    with torch.no_grad():
        features = gan.render(latents, None).flatten(1).double().numpy()
    model = PCA(2, svd_solver="full").fit(features)
    noise = latents[:, 0].double().numpy()
    solution = np.linalg.lstsq(model.transform(features), noise - noise.mean(0), rcond=None)[0]
    check_same_lines(found.vectors, torch.from_numpy(solution))
    np.testing.assert_allclose(found.shares, model.explained_variance_ratio_, rtol=1e-6)
    torch.testing.assert_close(found.vectors.norm(dim=2).flatten(), torch.tensor((noise - noise.mean(0)).std()).expand(2).float())


def test_what_lies_between_classes_is_left_out() -> None:
    values = torch.tensor([[1.0], [3.0], [10.0], [14.0]])
    assert centred(values, torch.tensor([0, 0, 1, 1])).flatten().tolist() == [-1, 1, -2, 2]
    assert centred(values, None).flatten().tolist() == [-6, -4, 3, 7]
    assert centred(values, torch.rand(4, 2)).flatten().tolist() == [-6, -4, 3, 7]


def test_a_generator_without_such_layers_says_so(known: Known) -> None:
    gan = known()
    with pytest.raises(ValueError, match="no activation"):
        principal(gan, drawn(gan, 5), None, (0,), 1, alike=False)
    gan.maps = nn.ModuleList([nn.Identity()])
    gan.size = 64
    with pytest.raises(ValueError, match="no linear layer"):
        factorised(gan, drawn(gan, 5), None, (0,), 1, alike=False)
