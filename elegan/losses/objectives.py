"""What the players lower. s is the discriminator's logit, r at a real sample and f at a generated one; D = sigmoid(s).

All losses and their slopes are finite for logits up to 10^4 in size, in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from elegan.divergences.f_divergences import F_DIVERGENCES, FDivergence
from elegan.errors import OptionError, nearest


@dataclass(frozen=True)
class Objective:
    """The two losses of a game, as functions of logits (n,); each gives a mean over the batch.

    discriminator: of the logits of real and generated samples. generator: of the logits of generated samples; None if it
    is the discriminator's loss with the roles exchanged (relativistic). `probability` says whether sigmoid(s) is the
    probability of "real" where the discriminator is at its best; a Wasserstein critic has none.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor] | None
    probability: bool = True

    @property
    def relativistic(self) -> bool:
        """Whether the generator's loss needs the logits of real samples too."""
        return self.generator is None

    def generator_loss(self, fake: Tensor, real: Tensor | None) -> Tensor:
        """The generator's loss, from logits (n,); `real` is used, and needed, only by a relativistic objective."""
        if self.generator is not None:
            return self.generator(fake)
        assert real is not None, "a relativistic objective compares with the logits of real samples"
        return self.discriminator(fake, real)


def cross_entropy(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))) (Goodfellow et al., 2014, equation 1).

    With label smoothing e a real sample counts as 1 - e real: -E[(1 - e) log D(x) + e log(1 - D(x))].
    """
    loss = F.softplus(-real).mean() + F.softplus(fake).mean()
    return loss + smoothing * real.mean() if smoothing else loss  # log D(x) - log(1 - D(x)) is the logit


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


def least_squares(real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """E (s(x) - 1)^2 / 2 + E s(G(z))^2 / 2 (Mao et al., 2017, equation 9); with label smoothing e, 1 - e for the 1."""
    return ((real - (1 - smoothing)).square().mean() + fake.square().mean()) / 2


def least_squares_from_real(fake: Tensor) -> Tensor:
    """E (s(G(z)) - 1)^2 / 2 (Mao et al., 2017, equation 9)."""
    return (fake - 1).square().mean() / 2


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - s(x)) + E max(0, 1 + s(G(z))) (Lim and Ye, 2017; Miyato et al., 2018, equation 16).

    The generator's loss is that against a critic (equation 17).
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def relativistic_paired(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-(r - f)): that x is more real than the G(z) it is paired with (RpGAN; Jolicoeur-Martineau, 2019).

    There is no local minimum in which modes are lost (Sun et al., 2020; Huang et al., 2024, equation 2). It takes as many
    real as generated logits.
    """
    return F.softplus(fake - real).mean()


def relativistic_average(real: Tensor, fake: Tensor) -> Tensor:
    """E softplus(-(r - E f)) + E softplus(f - E r): more real than the average (RaGAN; Jolicoeur-Martineau, 2019).

    E r and E f are means of the logits given, so of a micro-batch where a round is divided: then the loss is another.
    """
    return F.softplus(fake.mean() - real).mean() + F.softplus(fake - real.mean()).mean()


def variational(divergence: FDivergence, probability: bool) -> Objective:
    """-(E g(r) - E f*(g(f))): minus the bound on the divergence (Nowozin et al., 2016, equations 4 and 6).

    The generator's loss is -E g(f) instead of the bound, whose slope is small where samples are bad (section 3.2).
    """

    def discriminator(real: Tensor, fake: Tensor) -> Tensor:
        return divergence.conjugate_of_activation(fake).mean() - divergence.activation(real).mean()

    def generator(fake: Tensor) -> Tensor:
        return -divergence.activation(fake).mean()

    return Objective(discriminator, generator, probability)


ObjectiveName = Literal[
    "minimax",
    "non_saturating",
    "wasserstein",
    "least_squares",
    "hinge",
    "relativistic_paired",
    "relativistic_average",
    "f_kl",
    "f_reverse_kl",
    "f_pearson",
    "f_hellinger",
    "f_jensen_shannon",
    "f_total_variation",
]
OBJECTIVES: dict[str, Objective] = {
    "minimax": Objective(cross_entropy, saturating),
    "non_saturating": Objective(cross_entropy, non_saturating),
    "wasserstein": Objective(critic, against_critic, probability=False),
    "least_squares": Objective(least_squares, least_squares_from_real, probability=False),
    "hinge": Objective(hinge, against_critic, probability=False),
    "relativistic_paired": Objective(relativistic_paired, None, probability=False),
    "relativistic_average": Objective(relativistic_average, None, probability=False),
    # g(s) = f'(p/q) is solved by s = log(p/q), the logit of p / (p + q), where that is said to be a probability.
    "f_kl": variational(F_DIVERGENCES["kl"], probability=False),
    "f_reverse_kl": variational(F_DIVERGENCES["reverse_kl"], probability=True),
    "f_pearson": variational(F_DIVERGENCES["pearson"], probability=False),
    "f_hellinger": variational(F_DIVERGENCES["hellinger"], probability=False),
    "f_jensen_shannon": variational(F_DIVERGENCES["jensen_shannon"], probability=True),
    "f_total_variation": variational(F_DIVERGENCES["total_variation"], probability=False),
}
SMOOTHED: dict[str, Callable[..., Tensor]] = {
    "minimax": cross_entropy,
    "non_saturating": cross_entropy,
    "least_squares": least_squares,
}


def objective(name: str, label_smoothing: float = 0.0) -> Objective:
    """The objective of this name; OptionError with the nearest name if there is none.

    label_smoothing: real samples count as 1 - label_smoothing real for the discriminator, generated ones as 0 still
    (Salimans et al., 2016, section 3.4); the best D(x) is then 1 - label_smoothing times the probability. From 0 to below
    0.5, else OptionError; so it is with an objective that has no labels.
    """
    if name not in OBJECTIVES:
        raise OptionError(f"--objective: got {name!r}. {nearest(name, OBJECTIVES)}")
    if not 0 <= label_smoothing < 0.5:
        raise OptionError(f"--label-smoothing: got {label_smoothing}; it is a share from 0 to below 0.5.")
    if label_smoothing == 0:
        return OBJECTIVES[name]
    if name not in SMOOTHED:
        raise OptionError(f"--label-smoothing: {name!r} has no labels to smooth; take {', '.join(SMOOTHED)}, or set it to 0.")
    return replace(OBJECTIVES[name], discriminator=partial(SMOOTHED[name], smoothing=label_smoothing))
