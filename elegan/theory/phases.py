"""A generator on a line, from noise to two peaks: p_data, p_g, the discriminator and where noise goes, phase by phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import log
from typing import Annotated, Literal

from elegan.errors import OptionError
from elegan.gans import gan, lsgan, rpgan
from elegan.losses.objectives import OBJECTIVES
from elegan.rules.options import Game, Learning, Networks
from elegan.theory.demonstration import Cell, Demonstration, Table, Tell, tell_nobody
from elegan.theory.flow import BORDERS, P_DATA, Look, Watcher, draw_film, draw_phases, shares_of_data
from elegan.theory.playing import Match, drawing_from, plane_of

NETWORKS = Networks("mlp", latent=1, width=64, discriminator_width=64, depth=2, discriminator_norm="none")
LEARNING = Learning(lr=5e-4, discriminator_lr=4e-3, beta1=0.0, beta2=0.999, schedule="cosine", batch=256)
"""The discriminator learns eight times as fast, to be near its best against each generator; where it is not, p_g swings around p_data."""

PENALTY = Game(penalty="r1+r2", penalty_weight=0.1, penalty_interval=2)
GAMES = {
    "gan": (gan, PENALTY),
    "rpgan": (rpgan, replace(PENALTY, objective="relativistic_paired")),
    "lsgan": (lsgan, replace(PENALTY, objective="least_squares")),
}
"""Games that come to rest. One whose critic's slope is kept at 1, as WGAN-GP's, does not: it has that slope also where p_g is p_data."""

POINTS = 100_000
"""Of p_data, to train on."""

PHASES = {"start": 0.0, "early": 0.005, "middle": 0.1, "end": 1.0}
"""When a phase is looked at, as a share of the training."""

FRAMES = 64
"""Of the film."""

LEAST = 100
"""Rounds: of fewer, phases are the same."""

NEAR = 0.05
"""How near 1/2 and each other probabilities, or losses of two phases, are alike."""

CONVERGED = 0.03
"""The largest JSD of what is said to be near p_data."""


def phases(
    *,
    model: Annotated[Literal["gan", "rpgan", "lsgan"], "the game that is played"] = "gan",
    steps: Annotated[int, "rounds of training"] = 3000,
    seed: Annotated[int, "of first weights and all that is drawn"] = 0,
    tell: Tell = tell_nobody,
) -> Demonstration:
    """A generator learns two peaks on a line: p_data, p_g, D and the way of the samples, phase by phase.

    The picture is that of Goodfellow et al., 2014, figure 1. p_g is what becomes of 20,000 noises at even quantiles, so there is no
    chance in it; its JSD is taken in bins. OptionError for too few steps.
    """
    if steps < LEAST:
        raise OptionError(f"--steps: got {steps}, expected at least {LEAST}: in fewer, nothing is learned.")
    looks = play(model, steps, seed, tell)
    chosen = {name: looks[step] for name, step in phase_steps(steps).items()}
    uphill = {name: look.uphill(looks.get(look.step + 1)) for name, look in chosen.items()}
    film = [looks[step] for step in film_steps(steps)]
    return Demonstration(
        f"A {model} learns two peaks, {steps:,} rounds",
        (table(chosen, uphill),),
        sentences(chosen, uphill, film),
        lambda figure: draw_phases(figure, chosen),
        size=(12.0, 5.4),
        frames=tuple(draw_film(look, film) for look in film),
    )


def play(model: str, steps: int, seed: int, tell: Tell) -> dict[int, Look]:
    """What the game looks like after the rounds that are wanted, by their number."""
    module, game = GAMES[model]
    recipe = module.recipe(plane_of(1), networks=NETWORKS, game=game, learning=replace(LEARNING, steps=steps))
    match = Match(recipe.build, recipe.optimizers, drawing_from(P_DATA.sample(POINTS, seed), recipe.batch, seed), seed=seed)
    watcher, wanted = Watcher(match.gan, OBJECTIVES[game.objective]), wanted_steps(steps)
    looks = {0: watcher.look(0)}
    for step in match.rounds(steps):
        if step in wanted:
            looks[step] = watcher.look(step)
            tell(step, steps)
    return looks


def wanted_steps(steps: int) -> set[int]:
    phases = set(phase_steps(steps).values())
    return phases | {step + 1 for step in phases} | set(film_steps(steps))


def phase_steps(steps: int) -> dict[str, int]:
    return {name: max(round(share * steps), share > 0) for name, share in PHASES.items()}


def film_steps(steps: int) -> list[int]:
    """Dense in the beginning, where most happens."""
    return sorted({round(steps * (frame / (FRAMES - 1)) ** 2.5) for frame in range(FRAMES)})


def table(chosen: dict[str, Look], uphill: dict[str, float | None]) -> Table:
    probability = chosen["start"].probability
    real, fake = ("D(x)", "D(G(z))") if probability else ("score of x", "of G(z)")
    low, high = BORDERS
    columns = ("phase", "step", "JSD", "W1", real, fake, f"below {low}", "between", f"above {high}", "D loss", "G loss", "uphill")
    rows: list[tuple[Cell, ...]] = [
        (name, look.step, look.jensen_shannon, look.wasserstein, look.real, look.fake, *look.shares, *look.losses, uphill[name])
        for name, look in chosen.items()
    ]
    rows.append(("p_data", None, 0.0, 0.0, None, None, *shares_of_data(), None, None, None))
    return Table(columns, tuple(rows), "uphill: the share of the samples' next move that leads up the slope of D")


def sentences(chosen: Mapping[str, Look], uphill: Mapping[str, float | None], film: list[Look]) -> tuple[str, ...]:
    end = chosen["end"]
    said = (
        on_early(chosen["early"], uphill["early"]),
        on_end(end),
        on_what_is_between(end),
        on_half(film),
        on_losses(chosen["middle"], end),
    )
    return tuple(one for one in said if one)


def undecided(look: Look) -> bool:
    return look.probability and max(abs(look.real - 0.5), abs(look.fake - 0.5)) < NEAR


def on_early(look: Look, uphill: float | None) -> str:
    if look.real <= look.fake:
        return ""
    means = f"{look.real:.3f} for real samples and {look.fake:.3f} for generated ones"
    way = "" if uphill is None else f" Of the samples' next move {uphill:.0%} leads up its slope."
    return f"After {look.step} rounds {'D' if look.probability else 'the critic'} sees the difference: {means}.{way}"


def on_end(look: Look) -> str:
    found = f"JSD {look.jensen_shannon:.4f}, W1 {look.wasserstein:.3f}"
    half = f" D is near 1/2: {look.real:.3f} and {look.fake:.3f}." if undecided(look) else ""
    if look.jensen_shannon > CONVERGED:
        return f"At the end p_g is not near p_data: {found}.{half}"
    shares, true = (f"{one[0]:.1%} and {one[2]:.1%}" for one in (look.shares, shares_of_data()))
    return f"At the end p_g is near p_data: {found}; {shares} of the samples are at the peaks, where p_data has {true}.{half}"


def on_what_is_between(look: Look) -> str:
    made, true = look.shares[1], shares_of_data()[1]
    if made <= true or look.jensen_shannon > CONVERGED:
        return ""
    return f"G is continuous, so it cannot jump from peak to peak: {made:.1%} of its samples lie between them, where p_data has {true:.1%}."


def on_half(film: list[Look]) -> str:
    """The moment at which D near 1/2 misleads most."""
    look = max((one for one in film if undecided(one)), key=lambda one: one.jensen_shannon, default=None)
    if look is None or look.jensen_shannon <= CONVERGED:
        return ""
    losses = f"losses {look.losses[0]:.3f} and {look.losses[1]:.3f}, of an equilibrium {log(4):.3f} and {log(2):.3f}"
    when = f"after {look.step} rounds" if look.step else "before the first round"
    return (
        f"But D near 1/2 proves nothing: {when} it is {look.real:.3f} and {look.fake:.3f} ({losses}), and JSD is "
        f"{look.jensen_shannon:.3f}. D {'lags behind there' if look.step else 'has not learned anything yet'}."
    )


def on_losses(middle: Look, end: Look) -> str:
    change = max(abs(one - other) for one, other in zip(middle.losses, end.losses, strict=True))
    if change >= NEAR or middle.jensen_shannon < 2 * end.jensen_shannon:
        return ""
    return (
        f"Losses tell little: at round {middle.step:,} and at the end they differ by {change:.3f} at most, and JSD falls from "
        f"{middle.jensen_shannon:.4f} to {end.jensen_shannon:.4f}."
    )
