"""What the players lower. s is the discriminator's logit; D = sigmoid(s). All are stable for any finite logit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from elegan.errors import OptionError, nearest


@dataclass(frozen=True)
class Objective:
    """The two losses of a game, as functions of logits (n,); each gives a mean over the batch.

    `probability` says whether sigmoid(s) is the probability of "real"; a Wasserstein critic has none.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    probability: bool = True


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))) (Goodfellow et al., 2014, equation 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def saturating(fake: Tensor) -> Tensor:
    """E log(1 - D(G(z))): the minimax game itself. Its gradient vanishes where D is sure that a sample is generated."""
    return -F.softplus(fake).mean()


def non_saturating(fake: Tensor) -> Tensor:
    """-E log D(G(z)) (Goodfellow et al., 2014, section 3)."""
    return F.softplus(-fake).mean()


def critic(real: Tensor, fake: Tensor) -> Tensor:
    """-(E s(x) - E s(G(z))): minus the estimate of Wasserstein-1 (Arjovsky et al., 2017, equation 2)."""
    return fake.mean() - real.mean()


def against_critic(fake: Tensor) -> Tensor:
    """-E s(G(z))."""
    return -fake.mean()


ObjectiveName = Literal["minimax", "non_saturating", "wasserstein"]
OBJECTIVES: dict[str, Objective] = {
    "minimax": Objective(cross_entropy, saturating),
    "non_saturating": Objective(cross_entropy, non_saturating),
    "wasserstein": Objective(critic, against_critic, probability=False),
}


def objective(name: str) -> Objective:
    """The objective of this name; OptionError with the nearest name if there is none."""
    if name not in OBJECTIVES:
        raise OptionError(f"objective: got {name!r}. {nearest(name, OBJECTIVES)}")
    return OBJECTIVES[name]
