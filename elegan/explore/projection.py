"""Latents of given images: those whose sample looks most like them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from elegan.explore.directions import evaluating
from elegan.game import LatentGAN
from elegan.randomness import SeedRandomness

Space = Literal["w", "w+", "noise"]
Features = Callable[[Tensor], list[Tensor]]
"""Images (n, c, h, w) -> maps (n, c', h', w'), by which they are compared beside their pixels."""

CANDIDATES, PART = 256, 64
"""Random latents of which the nearest may be the start, and how many are rendered at one time."""

RAMP_UP, RAMP_DOWN = 0.05, 0.25
"""The shares of the steps in which the learning rate rises at first and falls at the end."""

JITTER, JITTER_UNTIL = 0.05, 0.75
"""Noise on latents at first, in lengths of typical ones, and the share of the steps after which there is none."""


@dataclass(frozen=True)
class Projection:
    """latents, mean: (n, layers, size), found for each image, and the mean latent that comes nearest to it. condition: as given, or
    that of the start. distances: (n,), of the found latents' images."""

    latents: Tensor
    mean: Tensor
    condition: Tensor | None
    distances: Tensor


def distance(images: Tensor, target: Tensor, features: Features) -> Tensor:
    """(n,) of images in pairs, or of n images and one: mean squared difference of pixels, averaged over images at full, half, quarter
    size and so on, plus that of maps whose channels are of length 1 at each place, as of Zhang et al. (2018), averaged over maps."""
    pixels = torch.stack([(a - b).square().mean((1, 2, 3)) for a, b in zip(pyramid(images), pyramid(target), strict=True)])
    seen = [
        (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).mean((1, 2))
        for a, b in zip(features(images), features(target), strict=True)
    ]
    return pixels.mean(0) + (torch.stack(seen).mean(0) if seen else 0.0)


def pyramid(images: Tensor) -> list[Tensor]:
    """The images, and their halves by means of 2x2 pixels as long as the shorter side is even and at least 4."""
    found = [images]
    while min(images.shape[2:]) >= 4 and not any(side % 2 for side in images.shape[2:]):
        images = F.avg_pool2d(images, 2)
        found.append(images)
    return found


def project(
    gan: LatentGAN,
    target: Tensor,
    condition: Tensor | None = None,
    *,
    space: Space = "w+",
    features: Features = lambda images: [],
    steps: int = 300,
    rate: float = 0.1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Projection:
    """Latents whose images are near `target` (n, c, h, w) in [-1, 1], by the method of Karras et al. (2020, appendix D), but for the
    noise of each layer: it stays what it is in all samples, where theirs is searched too.

    Each starts from the mean latent or a random one, whichever is nearest, and follows Adam with a rate that rises and falls; noise on
    it fades. space: "w" moves all layers alike, "w+" (Abdal et al., 2019) each by itself, "noise" too, within the values that noise
    has. rate: in standard deviations of latents. condition: of a generator that is told one, that of each target; without it that of
    the start, which is then looked for among all. What is found is never farther than where it started.
    """
    with evaluating(gan):
        found, mean, condition = starts(gan, target, condition, features)
        spread, low, high = statistics(gan, condition)
        free = found[:, :1].clone() if space == "w" else found.clone()
        free.requires_grad_()
        adam = torch.optim.Adam([free], betas=(0.9, 0.999))
        random = torch.Generator().manual_seed(0)
        for step in range(steps):
            done = step / steps
            adam.param_groups[0]["lr"] = rate * spread * ramp(done)
            noise = torch.randn(free.shape, generator=random).to(free) * jitter(done) * spread * free.shape[2] ** 0.5
            loss = distance(gan.render((free + noise).expand_as(found), condition), target, features).sum()
            (free.grad,) = torch.autograd.grad(loss, free)
            adam.step()
            if space == "noise":
                free.data.clamp_(low, high)
            progress(step + 1, steps)
        with torch.no_grad():
            return nearer(gan, target, features, (free.detach().expand_as(found).clone(), found), mean, condition)


def nearer(
    gan: LatentGAN, target: Tensor, features: Features, both: tuple[Tensor, Tensor], mean: Tensor, condition: Tensor | None
) -> Projection:
    """Of two latents for each image the one that is nearer."""
    one, other = (distance(gan.render(latents, condition), target, features) for latents in both)
    latents = torch.where((one <= other)[:, None, None], *both)
    return Projection(latents, mean, condition, torch.minimum(one, other))


def ramp(done: float) -> float:
    """The share of the full rate when this share of the steps is done."""
    return min(1.0, done / RAMP_UP) * (0.5 - 0.5 * cos(pi * min(1.0, (1 - done) / RAMP_DOWN)))


def jitter(done: float) -> float:
    return JITTER * max(0.0, 1 - done / JITTER_UNTIL) ** 2


@torch.no_grad()
def statistics(gan: LatentGAN, condition: Tensor | None) -> tuple[float, float, float]:
    """A typical standard deviation of latents, their smallest number and their largest."""
    seeds, told = SeedRandomness(tuple(range(CANDIDATES)), next(gan.parameters()).device), None
    if condition is not None:
        told = condition[torch.arange(CANDIDATES, device=condition.device) % len(condition)]
    latents = gan.latents(seeds, told)
    return (latents - latents.mean(0)).square().mean().sqrt().item(), latents.min().item(), latents.max().item()


@torch.no_grad()
def starts(gan: LatentGAN, target: Tensor, condition: Tensor | None, features: Features) -> tuple[Tensor, Tensor, Tensor | None]:
    """For each image the nearest of the mean latent and random ones, the nearest mean latent, and the condition of the start."""
    made: dict[object, Candidates] = {}
    found, mean, told = [], [], []
    for i in range(len(target)):
        asked = None if condition is None else condition[i]
        name = None if asked is None else str(asked.tolist())
        if name not in made:
            made[name] = candidates(gan, target.device, asked)
        one = made[name]
        parts = torch.split(one.images, PART)
        distances = torch.cat([distance(part, target[i : i + 1], features) for part in parts])
        best = int(distances.argmin())
        found.append(one.latents[best])
        mean.append(one.latents[int(distances[: one.means].argmin())])
        told += [] if one.condition is None else [one.condition[best]]
    return torch.stack(found), torch.stack(mean), torch.stack(told) if told else None


@dataclass(frozen=True)
class Candidates:
    """Latents (m, layers, size) with conditions and images; the first `means` are mean latents."""

    latents: Tensor
    condition: Tensor | None
    images: Tensor
    means: int


def candidates(gan: LatentGAN, device: torch.device, condition: Tensor | None) -> Candidates:
    """The mean latent, one for each class where none is asked for, and random ones."""
    spec, seeds = gan.spec, tuple(range(CANDIDATES))
    asked = spec.conditions_of(seeds) if condition is None else condition.expand(CANDIDATES, *condition.shape)
    asked = None if asked is None else asked.to(device)
    latents = gan.latents(SeedRandomness(seeds, device), asked)
    means = min(CANDIDATES, spec.num_classes) if spec.classes and condition is None else 1
    mean = gan.truncated(latents[:means], None if asked is None else asked[:means], 0.0)
    latents, told = torch.cat([mean, latents]), None if asked is None else torch.cat([asked[:means], asked])
    parts = [slice(start, start + PART) for start in range(0, len(latents), PART)]
    images = torch.cat([gan.render(latents[part], None if told is None else told[part]) for part in parts])
    return Candidates(latents, told, images, means)
