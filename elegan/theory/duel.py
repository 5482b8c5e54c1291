"""Games of one weight against one weight: how they are played, how they end, and what the linear part of a round says."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, inf
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elegan.engine.turns import UpdateName
from elegan.errors import NotFiniteError
from elegan.game import GAN
from elegan.learning import learning_weights
from elegan.optimizers import SGD
from elegan.rules.options import Game
from elegan.theory.playing import Match, drawing_from, plane_of

Point = tuple[float, float]
"""theta and psi."""

Verdict = Literal["converges", "orbits", "diverges", "lingers"]

UNDECIDED = {"least_squares": 0.5}
"""The score of a sample that is as likely real as generated: 0 but for least squares, whose labels are 1 and 0."""

START: Point = (1.0, 1.0)
NOISY_BATCH = 4096
"""Of points with noise: so many that their mean moves the game, and not their scatter. Without noise one point is exact."""

NEAR, FAR = 0.01, 100.0
"""Distances from the equilibrium at which a game is over."""

MOVED = 0.05
"""A game is drawn in, or driven out, whose largest distance changes by more than this share from one quarter of the rounds to the next."""

STEP = 1e-3
"""Of a difference that stands for a derivative at (0, 0): there float32 has small numbers to seven digits."""

EQUAL = 1e-5
"""How near to 1 |lambda| is taken as 1."""


class Place(nn.Module):
    """The generator: all samples (n, 1, 1, 1) at theta, whatever the noise."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([START[0]]))

    def forward(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.theta.expand(len(noise))[:, None, None, None]


class Slope(nn.Module):
    """The discriminator: the score psi x, (n,), over the undecided one. Real samples are at x = 0."""

    def __init__(self, undecided: float) -> None:
        super().__init__()
        self.psi, self.undecided = nn.Parameter(torch.tensor([START[1]])), undecided

    def forward(self, samples: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.undecided + self.psi * samples.flatten()


@dataclass(frozen=True)
class Duel:
    """A game and how its rounds are updated."""

    game: Game
    update: UpdateName = "alternating"

    @property
    def steadied(self) -> str:
        """By what, beside the update rule."""
        game = self.game
        words = {
            str(game.penalty): game.penalty != "none",
            f"clipping at {game.clip_weights:g}": game.clip_weights > 0,
            "instance noise": game.instance_noise > 0,
            f"{game.discriminator_steps} steps of D": game.discriminator_steps > 1,
        }
        return ", ".join(word for word, holds in words.items() if holds) or "nothing"

    def match(self, lr: float) -> Match:
        """Both players at `START`, with gradient descent at this learning rate."""
        game, batch = self.game, NOISY_BATCH if self.game.instance_noise else 1
        return Match(
            lambda: game.play(plane_of(1), Place(), Slope(UNDECIDED.get(game.objective, 0.0)), 1),
            {"generator": SGD(lr), "discriminator": SGD(lr)},
            drawing_from(torch.zeros(1, 1), batch, 0),
            update=self.update,
        )


@dataclass(frozen=True, eq=False)
class Played:
    """path: theta and psi before the first round and after each, (rounds + 1, 2). eigenvalue: see the function of this name."""

    duel: Duel
    path: NDArray[np.float64]
    eigenvalue: float | None

    @property
    def distances(self) -> NDArray[np.float64]:
        """(rounds + 1,): from the equilibrium, theta = psi = 0."""
        return np.hypot(self.path[:, 0], self.path[:, 1])

    @property
    def quarters(self) -> tuple[float, float]:
        """The largest distance in the third quarter of the rounds, and in the last one."""
        quarter = max(1, len(self.path) // 4)
        return float(self.distances[-2 * quarter : -quarter].max()), float(self.distances[-quarter:].max())

    @property
    def turns(self) -> float:
        """How often it went around the equilibrium in the last half of the rounds."""
        late = self.path[len(self.path) // 2 :]
        angles = np.unwrap(np.arctan2(late[:, 1], late[:, 0]))
        return float(abs(angles[-1] - angles[0]) / (2 * np.pi))

    @property
    def verdict(self) -> Verdict:
        """By the distance: whether it got as small as `NEAR` or as large as `FAR`, or else by how it changes late.

        Where it does not change, the game orbits if it still goes around, and lingers if not: too slow to tell.
        """
        end, (before, last) = self.distances[-1], self.quarters
        if end <= NEAR or end >= FAR:
            return "converges" if end <= NEAR else "diverges"
        if abs(last / before - 1) > MOVED:
            return "diverges" if last > before else "converges"
        return "orbits" if self.turns >= 1 else "lingers"

    @property
    def predicted(self) -> Verdict | None:
        """What the linear part says: below 1 it shrinks, at 1 it only turns, above 1 it grows."""
        if self.eigenvalue is None:
            return None
        return "orbits" if abs(self.eigenvalue - 1) < EQUAL else "diverges" if self.eigenvalue > 1 else "converges"

    @property
    def shows(self) -> bool:
        """Whether |lambda| is far enough from 1 to be seen within a quarter of the rounds."""
        return self.eigenvalue is not None and abs(self.eigenvalue ** (len(self.path) / 4) - 1) > 2 * MOVED


def play(duel: Duel, lr: float, steps: int) -> Played:
    """The game from `START`, until it is over or `steps` rounds are played."""
    match, path = duel.match(lr), [START]
    try:
        for _ in match.rounds(steps):
            path.append(position(match.gan))
            if not NEAR < hypot(*path[-1]) < FAR:
                break
    except NotFiniteError:
        path.append((inf, inf))
    return Played(duel, np.array(path), eigenvalue(duel, lr))


def weights(gan: GAN) -> list[nn.Parameter]:
    """theta and psi."""
    return [weight for player in ("generator", "discriminator") for weight in learning_weights(gan.players[player])]


def position(gan: GAN) -> Point:
    theta, psi = (float(weight) for weight in weights(gan))
    return theta, psi


def moved(match: Match, start: Point) -> NDArray[np.float64]:
    """(2,): where a round ends that begins at `start`; a whole period, where the players do not move in every round."""
    for weight, value in zip(weights(match.gan), start, strict=True):
        weight.detach().fill_(value)
    match.play(match.gan.period)
    return np.array(position(match.gan))


def eigenvalue(duel: Duel, lr: float) -> float | None:
    """|lambda|: the size of the larger eigenvalue of a round's Jacobian at the equilibrium (Mescheder et al., 2017).

    Of a period of k rounds it is the k-th root. None where a round draws noise, or is not smooth there, so that differences disagree.
    """
    if duel.game.instance_noise:
        return None
    match = duel.match(lr)
    wide, close = jacobian(match, STEP), jacobian(match, STEP / 2)
    if not np.allclose(wide, close, rtol=1e-3, atol=1e-3):
        return None
    return float(np.abs(np.linalg.eigvals(close)).max() ** (1 / match.gan.period))


def jacobian(match: Match, step: float) -> NDArray[np.float64]:
    """(2, 2): of a round at theta = psi = 0, by central differences."""
    sides = [moved(match, (step, 0.0)) - moved(match, (-step, 0.0)), moved(match, (0.0, step)) - moved(match, (0.0, -step))]
    return np.stack(sides, 1) / (2 * step)
