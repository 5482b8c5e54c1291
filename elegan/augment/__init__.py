"""What the discriminator sees images through: DiffAugment, always, or adaptive augmentation (ADA), with a probability.

Real and generated images alike, in both players' moves; else the generator learns the augmentation. Each sample gets
its own numbers, and all is differentiable twice.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from elegan.augment.ada import POLICIES
from elegan.augment.adaptive import IMAGES, TARGET, Adaptive
from elegan.augment.diffaugment import colour, cutout, translation
from elegan.errors import OptionError, nearest
from elegan.randomness import Randomness

Augment = Callable[[Tensor, Randomness, str], Tensor]
"""images (n, c, h, w) in [-1, 1], randomness, and what names their use in it -> images of the same kind.

Colours may leave [-1, 1]: they are not clipped, so that their gradient is not either.
"""

AUGMENTATIONS: dict[str, Augment] = {"colour": colour, "translation": translation, "cutout": cutout}
"""Those of DiffAugment, which need no probability."""


def augmentation(policy: str, probability: float = 0.0, target: float | None = TARGET, images: float = IMAGES) -> Augment | None:
    """What `policy` says, or None for "none".

    Names from AUGMENTATIONS joined with "+", applied in that order; or names from ada.POLICIES joined with "+", applied in the
    paper's order and each with a probability: then it is an `Adaptive`, which takes the other arguments. OptionError with
    the nearest name if one is unknown, and for names of both kinds.
    """
    if policy == "none":
        return None
    names = policy.split("+")
    for name in names:
        if name not in AUGMENTATIONS and name not in POLICIES:
            raise OptionError(f"--augment: got {name!r} in {policy!r}. {nearest(name, [*AUGMENTATIONS, *POLICIES, 'none'])}")
    if len({name in POLICIES for name in names}) > 1:
        raise OptionError(
            f"--augment: got {policy!r}. {', '.join(AUGMENTATIONS)} are applied to every image, those of ADA with a probability: "
            "give names of one kind."
        )
    if names[0] in POLICIES:
        return Adaptive({group for name in names for group in POLICIES[name]}, probability, target, images)
    return in_order([AUGMENTATIONS[name] for name in names])


def in_order(chosen: list[Augment]) -> Augment:
    def augment(images: Tensor, random: Randomness, stream: str) -> Tensor:
        for one in chosen:
            images = one(images, random, stream)
        return images

    return augment
