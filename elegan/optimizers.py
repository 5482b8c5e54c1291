"""Settings of optimizers and learning rates; the engine makes the optimizers from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import cos, inf, pi
from typing import Literal

from elegan.errors import OptionError, nearest

ScheduleName = Literal["constant", "linear", "late_linear", "cosine", "exponential", "burn_in"]
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1 - progress,
    "late_linear": lambda progress: min(1.0, 2 * (1 - progress)),
    "cosine": lambda progress: (1 + cos(pi * progress)) / 2,
    "exponential": lambda progress: 0.01**progress,
    "burn_in": lambda progress: 0.25 + 0.75 * (1 + cos(pi * min(1.0, 10 * progress))) / 2,
}
"""What a learning rate is multiplied by when this share of the training is done: by the end 0, or a hundredth. "burn_in" falls to a
quarter within the first tenth, and stays (Huang et al., 2024, table 9)."""


@dataclass(frozen=True)
class Optimizer:
    """One player's optimizer: its learning rate, and how that falls over the training."""

    lr: float = 2e-4
    schedule: ScheduleName = field(default="constant", kw_only=True)

    def __post_init__(self) -> None:
        check_rates(lr=self.lr)
        if self.schedule not in SCHEDULES:
            raise OptionError(f"schedule: got {self.schedule!r}. {nearest(self.schedule, SCHEDULES)}")

    def rate(self, progress: float) -> float:
        """The learning rate when this share of the training is done."""
        return self.lr * SCHEDULES[self.schedule](progress)


@dataclass(frozen=True)
class Adam(Optimizer):
    """Kingma and Ba, 2015."""

    betas: tuple[float, float] = (0.5, 0.999)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(beta1=self.betas[0], beta2=self.betas[1])
        check_eps(self.eps)


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Tieleman and Hinton, 2012: the choice of the first WGAN."""

    alpha: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(alpha=self.alpha)
        check_eps(self.eps)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent, with momentum if that is above 0."""

    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shares(momentum=self.momentum)


def check_rates(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < inf:
            raise OptionError(f"{name}: got {value}, expected a learning rate above 0.")


def check_shares(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise OptionError(f"{name}: got {value}, expected a number from 0 to below 1.")


def check_eps(eps: float) -> None:
    if not eps > 0:
        raise OptionError(f"eps: got {eps}, expected a number above 0.")
