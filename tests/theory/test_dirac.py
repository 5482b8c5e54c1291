"""The Dirac-GAN: played by the engine, against the same games by hand, and against the eigenvalues by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf, sqrt

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit

from elegan.errors import OptionError
from elegan.rules.options import Game
from elegan.theory import dirac as part
from elegan.theory import duel
from elegan.theory.duel import Duel, Played, Verdict

Vector = NDArray[np.float64]
Gradient = Callable[[float, float], float]

SLOPES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "minimax": (lambda v: float(expit(v)), lambda v: -float(expit(v))),
    "non_saturating": (lambda v: float(expit(v)), lambda v: -float(expit(-v))),
    "relativistic_paired": (lambda v: float(expit(v)), lambda v: -float(expit(-v))),
    "wasserstein": (lambda v: 1.0, lambda v: -1.0),
    "hinge": (lambda v: float(v > -1), lambda v: -1.0),
    "least_squares": (lambda v: v + 0.5, lambda v: v - 0.5),
}
"""Of the discriminator's and of the generator's loss in the score v = psi theta, over the undecided one, by hand."""


def by_hand(name: str, update: str, lr: float, rounds: int, pull: Callable[[float], float] = lambda psi: 0.0) -> Vector:
    """The path from (1, 1), in float64; pull: the slope of a penalty on psi."""
    of_discriminator, of_generator = SLOPES[name]

    def field(theta: float, psi: float) -> Vector:
        return np.array([of_generator(psi * theta) * psi, of_discriminator(psi * theta) * theta + pull(psi)])

    path = [np.array([1.0, 1.0])]
    for _ in range(rounds):
        here = path[-1]
        if update == "simultaneous":
            path.append(here - lr * field(*here))
        elif update == "extragradient":
            path.append(here - lr * field(*(here - lr * field(*here))))
        else:
            psi = here[1] - lr * field(*here)[1]
            path.append(np.array([here[0] - lr * field(here[0], psi)[0], psi]))
    return np.array(path)


def played(game: Game, update: str = "alternating", lr: float = 0.2, rounds: int = 20) -> Played:
    return duel.play(Duel(game, update), lr, rounds)  # type: ignore[arg-type]


@pytest.mark.parametrize("update", part.UPDATES)
@pytest.mark.parametrize("name", part.PLAYED)
def test_the_engine_plays_the_game_by_hand(name: str, update: str) -> None:
    found = played(Game(objective=name), update)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.path, by_hand(name, update, 0.2, 20), atol=2e-5)


@pytest.mark.parametrize(
    ("penalty", "pull"),
    [
        ("r1", lambda psi: 0.7 * psi),
        ("r2", lambda psi: 0.7 * psi),
        ("r1+r2", lambda psi: 1.4 * psi),
        ("gradient_penalty", lambda psi: 1.4 * (abs(psi) - 1) * np.sign(psi)),
    ],
)
def test_penalties_pull_psi_as_by_hand(penalty: str, pull: Callable[[float], float]) -> None:
    game = Game(objective="wasserstein", penalty=penalty, penalty_weight=0.7)  # type: ignore[arg-type]
    found = played(game, lr=0.1, rounds=25)
    np.testing.assert_allclose(found.path, by_hand("wasserstein", "alternating", 0.1, 25, pull)[: len(found.path)], atol=2e-5)


def test_clipping_bounds_psi() -> None:
    found = played(Game(objective="wasserstein", clip_weights=0.5))
    assert np.abs(found.path[1:, 1]).max() == pytest.approx(0.5)
    assert found.path[0, 1] == 1


def test_several_steps_of_the_discriminator_come_before_one_of_the_generator() -> None:
    path = played(Game(objective="wasserstein", discriminator_steps=5), lr=0.1, rounds=10).path
    assert np.flatnonzero(np.diff(path[:, 0])).tolist() == [4, 9]
    assert path[5, 1] == pytest.approx(1 - 5 * 0.1)


TURNS = {"wasserstein": 1.0, "hinge": 1.0}
"""How steep both losses are in the score at the equilibrium; one half for the others."""


@pytest.mark.parametrize("name", part.PLAYED)
def test_eigenvalues_are_those_by_hand(name: str) -> None:
    a = 0.2 * TURNS.get(name, 0.5)
    expected = {"simultaneous": sqrt(1 + a**2), "alternating": 1.0, "extragradient": sqrt((1 - a**2) ** 2 + a**2)}
    for update, value in expected.items():
        assert duel.eigenvalue(Duel(Game(objective=name), update), 0.2) == pytest.approx(value, abs=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "gamma"), [("wasserstein", 1.0), ("non_saturating", 2.0)])
def test_eigenvalues_with_r1_are_those_by_hand(name: str, gamma: float) -> None:
    a, game = 0.2 * TURNS.get(name, 0.5), Game(objective=name, penalty="r1", penalty_weight=gamma)  # type: ignore[arg-type]
    expected = np.array([[1, a], [-a, 1 - 0.2 * gamma]])
    np.testing.assert_allclose(duel.jacobian(Duel(game, "simultaneous").match(0.2), 1e-3), expected, atol=2e-6)
    assert duel.eigenvalue(Duel(game, "simultaneous"), 0.2) == pytest.approx(np.abs(np.linalg.eigvals(expected)).max(), abs=1e-5)


def test_eigenvalues_of_other_remedies() -> None:
    game = Game(objective="wasserstein")
    assert duel.eigenvalue(Duel(replace(game, clip_weights=0.5)), 0.2) == pytest.approx(1, abs=1e-6)
    assert duel.eigenvalue(Duel(replace(game, discriminator_steps=5)), 0.2) == pytest.approx(1, abs=1e-6)
    assert duel.eigenvalue(Duel(replace(game, penalty="gradient_penalty", penalty_weight=0.25)), 0.2) is None, "it has a kink at 0"
    assert duel.eigenvalue(Duel(replace(game, instance_noise=1.0)), 0.2) is None, "it draws noise"


@pytest.mark.parametrize(
    ("game", "update", "verdict"),
    [
        (Game(objective="wasserstein"), "simultaneous", "diverges"),
        (Game(objective="wasserstein"), "alternating", "orbits"),
        (Game(objective="wasserstein"), "extragradient", "converges"),
        (Game(objective="wasserstein", penalty="r1"), "alternating", "converges"),
        (Game(objective="wasserstein", penalty="r1"), "simultaneous", "converges"),
        (Game(objective="wasserstein", penalty="gradient_penalty", penalty_weight=0.25), "alternating", "orbits"),
        (Game(objective="wasserstein", clip_weights=0.5), "alternating", "orbits"),
        (Game(objective="non_saturating"), "alternating", "converges"),
        (Game(objective="non_saturating", instance_noise=1.0), "alternating", "converges"),
        (Game(objective="wasserstein", discriminator_steps=5), "alternating", "orbits"),
    ],
)
def test_who_converges(game: Game, update: str, verdict: Verdict) -> None:
    assert played(game, update, 0.4, 150).verdict == verdict


def test_non_saturating_settles_where_its_pull_and_the_push_of_simultaneous_steps_are_equal() -> None:
    """A round multiplies the squared distance u by 1 + lr^2 / 4 and takes lr u^2 / 8 from it, averaged over a turn: u = 2 lr."""
    found = played(Game(), "simultaneous", 0.4, 200)
    assert found.verdict == "orbits"
    assert found.predicted == "diverges"
    assert found.quarters[1] == pytest.approx(sqrt(2 * 0.4), rel=0.05)


def test_non_saturating_is_drawn_in_by_a_power_only() -> None:
    """du/dt = -u^2 / 8 over a turn, so 1 / u grows by an eighth of the time."""
    found = played(Game(), "alternating", 0.2, 200)
    assert found.quarters[1] == pytest.approx(1 / sqrt(1 / 2 + 0.2 * 150 / 8), rel=0.1)
    assert found.predicted == "orbits"


def test_least_squares_needs_its_undecided_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the game stops where the generated point is not at the real one."""
    monkeypatch.setattr(duel, "UNDECIDED", {})
    theta, psi = played(Game(objective="least_squares"), rounds=150).path[-1]
    assert abs(psi) < 1e-3
    assert theta > 1


def path_of(distances: Vector, turns: float = 8.0) -> Vector:
    angles = np.linspace(0, 2 * np.pi * turns, len(distances))
    return np.stack([distances * np.cos(angles), distances * np.sin(angles)], 1)


ROUNDS = np.arange(401)
PATHS: dict[Verdict, Vector] = {
    "converges": path_of(np.exp(-ROUNDS / 500.0)),
    "orbits": path_of(np.full(401, 1.0)),
    "diverges": path_of(np.exp(ROUNDS / 500.0)),
    "lingers": path_of(np.full(401, 3.0), turns=0.5),
}


@pytest.mark.parametrize("verdict", PATHS)
def test_verdicts(verdict: Verdict) -> None:
    assert Played(Duel(Game()), PATHS[verdict], None).verdict == verdict


def test_verdicts_of_games_that_are_over_early() -> None:
    for last, verdict in (((0.0, 0.001), "converges"), ((90.0, 90.0), "diverges"), ((inf, inf), "diverges")):
        assert Played(Duel(Game()), np.array([(1.0, 1.0), last]), None).verdict == verdict


@pytest.mark.parametrize(("value", "predicted"), [(0.99, "converges"), (1.000001, "orbits"), (1.01, "diverges"), (None, None)])
def test_what_the_linear_part_says(value: float | None, predicted: Verdict | None) -> None:
    assert Played(Duel(Game()), PATHS["orbits"], value).predicted == predicted


def invented(verdict_of: Callable[[Duel], Verdict], value: float | None = 1.0) -> list[Played]:
    return [Played(one, PATHS[verdict_of(one)], value) for one in part.duels(1.0)]


def test_sentences_follow_from_the_verdicts() -> None:
    said = " ".join(part.said(invented(lambda one: "orbits" if one.steadied == "gradient_penalty" else "converges")))
    assert (
        "Steadied by nothing, alternating: minimax, non_saturating, wasserstein, least_squares, hinge, relativistic_paired converge."
        in said
    )
    assert "(it asks for a slope of 1, and the equilibrium has a slope of 0)" in said
    assert "relativistic_paired and non_saturating are one game here" in said
    otherwise = " ".join(part.said(invented(lambda one: "diverges" if one.game.objective == "minimax" else "converges")))
    assert "alternating: minimax diverges; non_saturating, " in otherwise
    assert "it pulls psi to 0" not in otherwise
    assert "(it asks for a slope of 1" not in otherwise


@pytest.mark.parametrize(
    ("verdict", "value", "reason"),
    [
        ("converges", 1.0, "the curvature of the losses draws in"),
        ("orbits", 1.01, "further out the losses pull back"),
        ("orbits", 1.00002, "too near to 1 to be seen"),
        ("converges", 1.01, "no nearer than some circle"),
        ("lingers", 1.01, "so flat are the losses"),
        ("diverges", 0.99, "the start is far from it"),
    ],
)
def test_every_disagreement_is_explained(verdict: Verdict, value: float, reason: str) -> None:
    (said,) = part.said_of_disagreement([Played(Duel(Game()), PATHS[verdict], value)])
    assert reason in said
    assert "non_saturating, alternating" in said


@pytest.mark.parametrize(("verdict", "value"), [("converges", 0.99), ("orbits", 1.0), ("diverges", 1.01), ("orbits", None)])
def test_no_disagreement_is_made_up(verdict: Verdict, value: float | None) -> None:
    assert part.said_of_disagreement([Played(Duel(Game()), PATHS[verdict], value)]) == []


def test_the_demonstration_plays_every_game_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds of each: what they come to is tested above."""
    monkeypatch.setattr(part, "check", lambda lr, gamma, steps: None)
    monkeypatch.setattr(duel, "eigenvalue", lambda one, lr: None)
    told: list[tuple[int, int]] = []
    found = part.dirac(lr=0.5, steps=2, tell=lambda done, total: told.append((done, total)))
    rows = found.tables[0].rows
    assert told == [(i + 1, len(rows)) for i in range(len(rows))]
    assert {(row[0], row[2]) for row in rows if row[1] == "nothing"} == {(name, update) for name in part.PLAYED for update in part.UPDATES}
    assert {str(row[1]) for row in rows} == {"nothing", *part.EXPECTED}
    assert len(set(rows)) == len(rows)
    monkeypatch.setattr(part, "line", lambda low, high, count: np.linspace(low, high, 2))
    figure = Figure()
    found.draw(figure)
    titles = [axes.get_title() for axes in figure.axes[:8]]
    assert [title.split("\n")[0] for title in titles] == [*["wasserstein"] * 3, *TITLES, "non_saturating", "non_saturating + r1"]
    assert [title.split("\n")[1].split(":")[0] for title in titles[:3]] == list(part.UPDATES)


TITLES = ["wasserstein + r1", "wasserstein + gradient_penalty", "wasserstein + clipping at 0.5"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "--lr"),
        ({"lr": 0.51}, "--lr"),
        ({"lr": float("nan")}, "--lr"),
        ({"gamma": -1.0}, "--gamma"),
        ({"gamma": inf}, "--gamma"),
        ({"steps": 299}, "--steps: got 299, expected at least 300 at --lr 0.2"),
        ({"lr": 0.5, "steps": 119}, "at least 120"),
    ],
)
def test_other_options_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        part.dirac(**options)  # type: ignore[arg-type]
