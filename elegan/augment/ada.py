"""The 18 transformations of adaptive discriminator augmentation (ADA; Karras et al., 2020, section 3 and appendix B)."""

from __future__ import annotations

from collections.abc import Callable, Collection

import torch
from torch import Tensor

from elegan.augment.colours import recoloured
from elegan.augment.corruptions import cut, filtered, noisy
from elegan.augment.draws import Draws
from elegan.augment.geometry import blits, generals
from elegan.augment.moving import moved
from elegan.randomness import Randomness

GROUPS = ("blit", "geometry", "colour", "filter", "noise", "cutout")
"""In the paper's order."""

BEST = GROUPS[:3]
"""What the paper recommends: the others help little or harm (figure 4)."""

POLICIES: dict[str, tuple[str, ...]] = {"ada": BEST, "ada_full": GROUPS, **{f"ada_{group}": (group,) for group in GROUPS}}


def ada(images: Tensor, random: Randomness, stream: str, p: float | Tensor, groups: Collection[str] = BEST) -> Tensor:
    """Each transformation of `groups` on each image with probability `p`, a number or a tensor without axes, from 0 to 1.

    images: (n, c, h, w) in [-1, 1]; what comes back is of their type, at least float32 in between, and may leave [-1, 1]. Of 2
    or 4 channels the last is alpha: it moves and is cut out as the others, and keeps its values otherwise. Where p is 0 the
    images come back themselves.
    """
    if float(p) == 0:
        return images
    draws = Draws(random, stream, p, torch.promote_types(images.dtype, torch.float32))
    with torch.autocast(images.device.type, enabled=False):
        result = geometric(images.to(draws.dtype), draws, groups)
        result = of_colours(result, draws, groups)
        if "cutout" in groups:
            result = cut(result, draws)
    return result.to(images.dtype)


def geometric(images: Tensor, draws: Draws, groups: Collection[str]) -> Tensor:
    sides = images.shape[2:]
    nothing = torch.eye(3, dtype=draws.dtype, device=images.device).expand(len(images), 3, 3)
    return moved(
        images,
        blits(draws, *sides) if "blit" in groups else nothing,
        generals(draws, *sides) if "geometry" in groups else nothing,
    )


def of_colours(images: Tensor, draws: Draws, groups: Collection[str]) -> Tensor:
    """What leaves alpha alone."""
    if images.shape[1] in (2, 4):
        colours, alpha = torch.split(images, [images.shape[1] - 1, 1], dim=1)
        return torch.cat([of_colours(colours, draws, groups), alpha], dim=1)
    steps: dict[str, Callable[[Tensor, Draws], Tensor]] = {"colour": recoloured, "filter": filtered, "noise": noisy}
    for group, step in steps.items():
        if group in groups:
            images = step(images, draws)
    return images
