"""How often ADA augments: as much as keeps the discriminator from being too sure of real images."""

from __future__ import annotations

from collections.abc import Collection
from math import inf

import torch
from torch import Tensor, nn

from elegan.augment.ada import BEST, GROUPS, ada
from elegan.errors import OptionError
from elegan.randomness import Randomness

TARGET = 0.6
IMAGES = 500_000.0
INTERVAL = 4


class Adaptive(nn.Module):
    """ADA with a probability that follows r = E sign(D(x)), D(x) the logits of real images as augmented (Karras et al., 2020,
    section 3.1); where the logits' border between real and generated is not 0, less that border.

    Every fourth round `p` rises where r is above `target` and falls where it is below, by so much that `images` real images
    take it from 0 to 1. The paper's 500,000 suit trainings of millions: a training of fewer has to ask for fewer, or p stays
    near `probability`, where it starts. Without a target p stays there anyway.

    In each round `observe` is called once or more, then whoever trains with several processes averages `shared` over them,
    then `adjust` is called once. All state is in the state dict. OptionError for values that are out of range.
    """

    p: Tensor
    signs: Tensor
    count: Tensor
    rounds: Tensor

    def __init__(
        self,
        groups: Collection[str] = BEST,
        probability: float = 0.0,
        target: float | None = TARGET,
        images: float = IMAGES,
    ) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise OptionError(f"--augment-probability: got {probability}, expected a share from 0 to 1.")
        if target is not None and not -1 < target < 1:
            raise OptionError(f"--augment-target: got {target}, expected a mean of signs between -1 and 1.")
        if not images > 0:
            raise OptionError(f"--augment-images: got {images}, expected after how many images p may have gone from 0 to 1.")
        self.groups = tuple(group for group in GROUPS if group in groups)
        self.target, self.images = target, images
        self.register_buffer("p", torch.tensor(float(probability)))
        self.register_buffer("signs", torch.tensor(0.0))
        self.register_buffer("count", torch.tensor(0.0))
        self.register_buffer("rounds", torch.tensor(0))

    def forward(self, images: Tensor, random: Randomness, stream: str) -> Tensor:
        """Images (n, c, h, w) in [-1, 1] -> images of the same kind; see `ada`."""
        return ada(images, random, stream, self.p, self.groups)

    @property
    def shared(self) -> list[Tensor]:
        """Sums since p last moved, to be averaged over processes in place: how often before `adjust` makes no difference."""
        return [] if self.target is None else [self.signs, self.count]

    @torch.no_grad()
    def rehearse(self, p: float) -> None:
        """As if the probability had come to `p` already, where it may: it costs more with it."""
        if self.target is not None and self.images < inf:
            self.p.clamp_(min=p)

    @torch.no_grad()
    def observe(self, real: Tensor) -> None:
        """The discriminator's logits (n,) of real images, less the border, in its own move."""
        if self.target is not None:
            self.signs += real.detach().sign().sum()
            self.count += real.numel()

    @torch.no_grad()
    def adjust(self, images_per_round: int) -> None:
        """A round is over; `images_per_round`: real images in it, of all processes. Rounds in which nothing was observed move
        nothing."""
        if self.target is None:
            return
        self.rounds += 1
        if int(self.rounds) < INTERVAL:
            return
        step = INTERVAL * images_per_round / self.images
        self.p.add_((self.signs - self.target * self.count).sign() * step).clamp_(0, 1)
        for state in (self.signs, self.count, self.rounds):
            state.zero_()
