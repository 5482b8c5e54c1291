"""Directions in which images change most, found without labels.

A direction is a shift of latents (layers, size); strength s adds it s times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from elegan.game import LatentGAN

Method = Literal["factorisation", "pca"]

MOST_FEATURES = 4096
"""Of a layer's outputs as many, evenly spread, are enough for its principal components."""

TINY = 1e-300
MOST_LAYERS = 1000


@dataclass(frozen=True)
class Directions:
    """vectors: (k, layers, size), the strongest first, each as long as strength 1. shares: (k,), of the whole effect or variance."""

    vectors: Tensor
    shares: Tensor


def factorised(
    gan: LatentGAN, latents: Tensor, condition: Tensor | None, layers: tuple[int, ...], count: int, *, alike: bool
) -> Directions:
    """Closed-form factorisation (Shen and Zhou, 2021): the eigenvectors of A^T A, with A the linear maps that latents first enter.

    latents: typical ones (n, layers, size), n > 1; only their spread matters, a typical standard deviation of which is strength 1.
    layers: those that the directions move; alike: all by the same vector, as one style is of all layers. A direction's share is
    that of its eigenvalue.
    """
    gram: Tensor | None = None
    for matrix, columns in first_maps(gan, latents.shape[1:], condition):
        whole = torch.zeros(len(matrix), *latents.shape[1:], dtype=torch.float64)
        whole.view(len(matrix), -1)[:, columns] = matrix
        part = whole[:, list(layers)]
        part = part.sum(1) if alike else part.flatten(1)
        gram = part.T @ part if gram is None else gram + part.T @ part
    if gram is None:
        raise ValueError("latents enter no linear layer as they are")
    values, vectors = strongest(gram, count)
    spread = centred(latents[:, list(layers)].double().cpu(), condition).square().mean().sqrt()
    return Directions(placed(vectors * spread, latents, layers, alike), values[:count] / values.sum().clamp_min(TINY))


def principal(gan: LatentGAN, latents: Tensor, condition: Tensor | None, layers: tuple[int, ...], count: int, *, alike: bool) -> Directions:
    """Principal components (Härkönen et al., 2020) of latents (n, layers, size), about the mean of each class; strength 1 is a standard
    deviation.

    alike: latents are styles, and their own components are taken, from layer to layer the same. Else they are noise, which has no
    components of its own: those of what the first activations make of it are taken, and the latents that go with each coordinate are
    found by least squares.
    """
    chosen = latents[:, list(layers)].double().cpu()
    if alike:
        values, vectors = strongest_of(centred(chosen.mean(1), condition), count)
        vectors = vectors * values[:count, None].sqrt()
    else:
        features = centred(first_activations(gan, latents, condition), condition)
        values, coordinates = coordinates_of(features, count)
        noise = centred(chosen.flatten(1), condition)
        found: Tensor = torch.linalg.lstsq(coordinates, noise).solution
        vectors = nn.functional.normalize(found) * noise.square().mean().sqrt()
    return Directions(placed(signed(vectors), latents, layers, alike), values[:count] / values.sum().clamp_min(TINY))


def strongest(gram: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """All eigenvalues of a symmetric matrix, largest first, and `count` of their eigenvectors as rows."""
    values, vectors = torch.linalg.eigh(gram)
    return values.flip(0).clamp_min(0), signed(vectors.flip(1).T[:count])


def strongest_of(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The same for the covariance of centred rows (n, d)."""
    return strongest(rows.T @ rows / len(rows), count)


def coordinates_of(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Variances along the principal components of centred rows (n, d), and the rows' coordinates (n, count) in them, of variance 1."""
    left, sizes, _ = torch.linalg.svd(rows, full_matrices=False)
    return sizes.square() / len(rows), left[:, :count] * len(rows) ** 0.5


def signed(vectors: Tensor) -> Tensor:
    """Each row with the sign that makes its largest number positive: both are as good, and one should come each time."""
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors)


def placed(vectors: Tensor, latents: Tensor, layers: tuple[int, ...], alike: bool) -> Tensor:
    """Rows (k, size) for each of these layers, or (k, layers * size) for all of them, as shifts (k, layers, size) of latents."""
    shifts = vectors.new_zeros(len(vectors), *latents.shape[1:])
    shifts[:, list(layers)] = vectors[:, None] if alike else vectors.view(len(vectors), len(layers), -1)
    return shifts.float()


def centred(rows: Tensor, condition: Tensor | None) -> Tensor:
    """Rows (n, ...) less their mean; with class numbers (n,) less that of their class."""
    if condition is None or condition.is_floating_point():
        return rows - rows.mean(0)
    less, numbers = rows.clone(), condition.to(rows.device)
    for one in set(numbers.tolist()):
        less[numbers == one] -= rows[numbers == one].mean(0)
    return less


def first_maps(gan: LatentGAN, shape: torch.Size, condition: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Each linear layer that numbers of the latents enter as they are: its weights for these (out, c), and which they are (c,).

    They are found by their values: random latents are rendered, and every layer with a matrix for its weight is watched for them to
    turn up among its inputs. Its weights are what it makes of unit vectors, and so as they are used, with norms and gains.
    """
    numbers = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    device = next(gan.parameters()).device
    told = None if condition is None else condition[:1].expand(2, *condition.shape[1:]).to(device)
    with watched(gan, is_linear, MOST_LAYERS) as seen:
        gan.render(numbers.to(device), told)
    with evaluating(gan):  # norms are then as in sampling
        for layer, inputs, _ in seen:
            if inputs.dim() != 2 or not inputs.is_floating_point():
                continue
            equal = (inputs.float().cpu()[:, :, None] == numbers.flatten(1)[:, None]).all(0)
            entries, columns = equal.nonzero(as_tuple=True)
            if len(entries):
                yield matrix_of(layer, inputs.shape[1], inputs)[:, entries], columns


def is_linear(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() == 2 and not isinstance(module, nn.Embedding)


def is_activation(module: nn.Module) -> bool:
    return isinstance(module, (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Tanh)) or type(module).__name__ == "LeakyReLU"


@torch.no_grad()
def matrix_of(layer: nn.Module, size: int, like: Tensor) -> Tensor:
    """(out, size) float64: what an affine layer does to each of its inputs."""
    zero: Tensor = layer(like.new_zeros(1, size))
    units: Tensor = layer(torch.eye(size, dtype=like.dtype, device=like.device))
    return (units - zero).T.double().cpu()


def first_activations(gan: LatentGAN, latents: Tensor, condition: Tensor | None) -> Tensor:
    """(n, f) float64: what the first activation that is met gives, every k-th of its numbers. ValueError where there is none."""
    found, device = [], next(gan.parameters()).device
    for start in range(0, len(latents), 64):
        part = slice(start, start + 64)
        with watched(gan, is_activation, 1) as seen:
            gan.render(latents[part].to(device), None if condition is None else condition[part].to(device))
        if not seen:
            raise ValueError("the generator has no activation that is a layer")
        features = seen[0][2].flatten(1)
        found.append(features[:, :: -(-features.shape[1] // MOST_FEATURES)].double().cpu())
    return torch.cat(found)


Seen = list[tuple[nn.Module, Tensor, Tensor]]


@contextmanager
def watched(gan: LatentGAN, wanted: Callable[[nn.Module], bool], most: int) -> Iterator[Seen]:
    """The first calls of layers of this kind in here, with copies of input and output; in evaluation mode, no gradients."""
    seen: Seen = []

    def after(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        if len(seen) < most:
            seen.append((module, arguments[0].detach().clone(), output.detach().clone()))

    handles = [module.register_forward_hook(after) for module in gan.modules() if wanted(module)]
    try:
        with torch.no_grad(), evaluating(gan):
            yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluating(gan: LatentGAN) -> Iterator[None]:
    """All of `gan` is in evaluation mode in here."""
    modes = [(module, module.training) for module in gan.modules()]
    gan.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
