"""The Dirac-GAN: one weight against one weight. Which objective, penalty and update rule converges, orbits or diverges."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Annotated

import numpy as np

from elegan.engine.turns import UpdateName
from elegan.errors import OptionError
from elegan.losses.objectives import ObjectiveName
from elegan.rules.options import Game
from elegan.theory.demonstration import Demonstration, Table, Tell, tell_nobody
from elegan.theory.drawing import GENERATED, QUIET, label, line
from elegan.theory.duel import FAR, MOVED, NEAR, START, Duel, Played, moved, play

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

PLAYED: tuple[ObjectiveName, ...] = ("minimax", "non_saturating", "wasserstein", "least_squares", "hinge", "relativistic_paired")
TWO: tuple[ObjectiveName, ...] = ("non_saturating", "wasserstein")
"""Those with which every remedy is played."""

UPDATES: tuple[UpdateName, ...] = ("simultaneous", "alternating", "extragradient")

CLIP, NOISE, MORE_STEPS = 0.5, 1.0, 5
GRADIENT_PENALTY = 0.25
"""Its weight: at 1 a game lingers for hundreds of rounds where psi changes its sign."""

LEAST_STEPS, SLOWEST = 100, 60.0
"""Rounds: so many, and so many over the learning rate: a quarter of them then holds half a turn of the slowest game, which takes
4 pi sqrt(5) / lr."""

LEAST = 1e-4
MOST = {"lr": 0.5, "gamma": 10.0}
"""Of larger ones a single round goes so far that where the game goes has little to do with the losses."""


def dirac(
    *,
    lr: Annotated[float, "learning rate of both players, by gradient descent"] = 0.2,
    gamma: Annotated[float, "weight of R1 and R2"] = 1.0,
    steps: Annotated[int, "rounds of each game; at least 60 / lr"] = 500,
    tell: Tell = tell_nobody,
) -> Demonstration:
    """The Dirac-GAN: which objective, penalty and update rule converges, orbits or diverges.

    Real data are the point 0, generated ones the point theta, and the discriminator is D(x) = psi x (Mescheder, Geiger and Nowozin,
    2018; extragradient: Gidel et al., 2019; eigenvalues: Mescheder et al., 2017), or 1/2 + psi x for least squares, whose undecided
    score is 1/2. The equilibrium is theta = psi = 0. OptionError unless 0 < lr <= 0.5, 0 < gamma <= 10, and rounds are enough.
    """
    check(lr, gamma, steps)
    chosen, played = duels(gamma), []
    for duel in chosen:
        played.append(play(duel, lr, steps))
        tell(len(played), len(chosen))
    return Demonstration(
        f"The Dirac-GAN from theta = {START[0]:g}, psi = {START[1]:g}: {steps} rounds, learning rate {lr:g}, gamma {gamma:g}",
        (table(played),),
        said(played),
        lambda figure: draw(figure, played, lr, steps),
        size=(13.0, 6.9),
    )


def check(lr: float, gamma: float, steps: int) -> None:
    for name, value in (("lr", lr), ("gamma", gamma)):
        if not LEAST <= value <= MOST[name]:
            raise OptionError(f"--{name}: got {value}, expected a number from {LEAST:g} to {MOST[name]:g}.")
    least = max(LEAST_STEPS, ceil(SLOWEST / lr))
    if steps < least:
        raise OptionError(f"--steps: got {steps}, expected at least {least} at --lr {lr:g}: a verdict compares quarters of the rounds.")


def duels(gamma: float) -> list[Duel]:
    """Every objective under every update rule; R1 with each; and what else is said to help, for two of them."""
    alone = [Duel(Game(objective=name), update) for name in PLAYED for update in UPDATES]
    r1 = [Duel(Game(objective=name, penalty="r1", penalty_weight=gamma)) for name in PLAYED]
    return [*alone, *r1, *(duel for name in TWO for duel in remedies(Game(objective=name), gamma))]


def remedies(game: Game, gamma: float) -> list[Duel]:
    r1 = replace(game, penalty="r1", penalty_weight=gamma)
    return [
        Duel(r1, "simultaneous"),
        Duel(replace(r1, penalty="r2")),
        Duel(replace(r1, penalty="r1+r2")),
        Duel(replace(game, penalty="gradient_penalty", penalty_weight=GRADIENT_PENALTY)),
        Duel(replace(game, clip_weights=CLIP)),
        Duel(replace(game, instance_noise=NOISE)),
        Duel(replace(game, discriminator_steps=MORE_STEPS)),
    ]


def table(played: list[Played]) -> Table:
    rows = []
    for one in played:
        names = one.duel.game.objective, one.duel.steadied, one.duel.update, one.verdict
        rows.append((*names, len(one.path) - 1, one.quarters[1], one.eigenvalue, one.predicted or ""))
    columns = ("objective", "steadied by", "update", "verdict", "rounds", "distance", "|lambda|", "linear part")
    title = (
        "Games, the largest distance from (0, 0) in their last quarter, and what the linear part of a round says there "
        f"(gradient_penalty weighs {GRADIENT_PENALTY:g}; instance noise has a standard deviation that falls from {NOISE:g} to 0)"
    )
    return Table(columns, tuple(rows), title)


def said(played: list[Played]) -> tuple[str, ...]:
    alone = [one for one in played if one.duel.steadied == "nothing"]
    by_update = [(update, [one for one in alone if one.duel.update == update]) for update in UPDATES]
    return (
        f"A game is over nearer than {NEAR:g} to (0, 0), or {FAR:g} away. Else it converges or diverges if its largest distance in the "
        f"last quarter of the rounds is over {MOVED:.0%} below or above that in the quarter before; if not, it orbits if it goes around.",
        *(f"Steadied by nothing, {update}: {grouped(games)}." for update, games in by_update),
        *said_of_twins(alone),
        *said_of_remedies(played),
        *said_of_disagreement(played),
    )


def grouped(games: Iterable[Played]) -> str:
    """Who converges, who orbits, who diverges."""
    names: dict[str, list[str]] = {}
    for one in games:
        names.setdefault(one.verdict, []).append(one.duel.game.objective)
    return "; ".join(f"{', '.join(those)} {verdict if len(those) == 1 else verdict.removesuffix('s')}" for verdict, those in names.items())


def said_of_twins(alone: list[Played]) -> list[str]:
    """Pairs compare the generated score with the real one, which is 0 here."""
    pairs, single = ([one.path for one in alone if one.duel.game.objective == name] for name in ("relativistic_paired", "non_saturating"))
    alike = all(a.shape == b.shape and np.allclose(a, b, atol=1e-4) for a, b in zip(pairs, single, strict=True))
    return ["relativistic_paired and non_saturating are one game here, as a real score is 0 whatever psi is."] if alike else []


EXPECTED: dict[str, tuple[tuple[ObjectiveName, ...], str]] = {
    "r1": (PLAYED, "it pulls psi to 0, where the equilibrium has it"),
    "r2": (TWO, "the same as R1, as the slope of D is psi everywhere"),
    "r1+r2": (TWO, "both together pull twice as hard"),
    "gradient_penalty": ((), "it asks for a slope of 1, and the equilibrium has a slope of 0"),
    f"clipping at {CLIP:g}": (TWO[:1], "it bounds psi, and damps nothing within the bound"),
    "instance noise": (TWO[:1], "on average it changes no loss that is linear in the score"),
    f"{MORE_STEPS} steps of D": (TWO[:1], "psi moves further in a turn, and nothing is damped"),
}
"""By remedy: with which objectives it converges, by the theory, and why; the reason is given where the games agree."""


def said_of_remedies(played: list[Played]) -> list[str]:
    found = []
    for steadied, (expected, reason) in EXPECTED.items():
        games = [one for one in played if (one.duel.steadied, one.duel.update) == (steadied, "alternating")]
        converged = tuple(one.duel.game.objective for one in games if one.verdict == "converges")
        found.append(f"With {steadied}, alternating: {grouped(games)}{f' ({reason})' if converged == expected else ''}.")
    return found


def said_of_disagreement(played: list[Played]) -> list[str]:
    """Each game that ends otherwise than |lambda| says, with a reason."""
    reasons: dict[str, list[Played]] = {}
    for one in played:
        if one.predicted not in (None, one.verdict):
            reasons.setdefault(why(one), []).append(one)
    return [f"{reason}: {'; '.join(map(named, games))}." for reason, games in reasons.items()]


def why(one: Played) -> str:
    match one.predicted, one.verdict:
        case "orbits", "converges":
            return "|lambda| = 1, so the linear part only turns; the curvature of the losses draws in, slowly"
        case "diverges", "orbits" if one.shows:
            return "|lambda| > 1 pushes out near (0, 0); further out the losses pull back, and they go around in between"
        case "diverges", "converges":
            return "|lambda| > 1 pushes out near (0, 0), so they come no nearer than some circle"
        case _, "lingers":
            return "They did not go around once in the last half of the rounds, so flat are the losses where they are"
        case _ if not one.shows:
            return "|lambda| is too near to 1 to be seen in so many rounds"
    return "|lambda| holds near (0, 0), and the start is far from it"


def named(one: Played) -> str:
    steadied = "" if one.duel.steadied == "nothing" else f" with {one.duel.steadied}"
    return f"{one.duel.game.objective}{steadied}, {one.duel.update} ({one.quarters[1]:.3g} away)"


def is_shown(duel: Duel) -> bool:
    """Whether the figure has a panel for it: eight of the critic's and the classic game's."""
    game, alternating = duel.game, duel.update == "alternating"
    critic = ("nothing", "r1", "gradient_penalty", f"clipping at {CLIP:g}")
    if game.objective == "wasserstein":
        return duel.steadied in critic[: 4 if alternating else 1]
    return game.objective == "non_saturating" and alternating and duel.steadied in ("nothing", "r1")


def draw(figure: Figure, played: list[Played], lr: float, steps: int) -> None:
    panels = figure.subplots(2, 4, sharex=True, sharey=True)
    chosen = sorted((one for one in played if is_shown(one.duel)), key=lambda one: TWO[::-1].index(one.duel.game.objective))
    for axes, one in zip(panels.flat, chosen, strict=True):
        draw_field(axes, one.duel, lr)
        lines = draw_path(axes, one, steps)
        steadied = "" if one.duel.steadied == "nothing" else f" + {one.duel.steadied}"
        label(axes, f"{one.duel.game.objective}{steadied}\n{one.duel.update}: {one.verdict}")
    figure.supxlabel("theta, where the generated point is (start: dot, equilibrium: cross)", fontsize=10)
    figure.supylabel("psi, the slope of D", fontsize=10)
    figure.colorbar(lines, ax=panels, label="round", shrink=0.6, aspect=40)


def draw_field(axes: Axes, duel: Duel, lr: float) -> None:
    """Where a round goes from each place of a grid; arrows are of one length."""
    match, places = duel.match(lr), line(-1.8, 1.8, 11)
    theta, psi = np.meshgrid(places, places)
    ways = np.array([moved(match, (x, y)) - (x, y) for x, y in zip(theta.flat, psi.flat, strict=True)])
    ways /= np.hypot(ways[:, :1], ways[:, 1:]) + 1e-12
    axes.quiver(theta, psi, ways[:, 0], ways[:, 1], color=QUIET, alpha=0.4, width=0.004, scale=22, pivot="mid")


def draw_path(axes: Axes, one: Played, steps: int) -> LineCollection:
    from matplotlib.collections import LineCollection

    path = one.path[np.isfinite(one.path).all(1)]
    lines = LineCollection(list(np.stack([path[:-1], path[1:]], 1)), cmap="viridis", linewidths=1.3)
    lines.set_array(np.arange(1, len(path)))
    lines.set_clim(0, steps)
    axes.add_collection(lines)
    axes.plot(*START, "o", color=GENERATED, markersize=6)
    axes.plot(0, 0, "+", color="black", markersize=11, markeredgewidth=1.6)
    axes.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
    return lines
