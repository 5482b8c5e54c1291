"""The best discriminator, trained: its value against the theory's, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
import torch
from matplotlib.figure import Figure

from elegan.divergences import quadrature
from elegan.divergences.mixtures import around
from elegan.errors import OptionError
from elegan.theory.optimal_discriminator import GENERATORS, Answer, P, best, draw, optimal_discriminator, sentences, value


def test_the_value_of_the_best_discriminator_is_2_jsd_minus_ln_4() -> None:
    q = GENERATORS["half way"]
    x, y = P.sample(200_000, 0), q.sample(200_000, 1)
    logits = [P.log_density(points) - q.log_density(points) for points in (x, y)]
    exact = 2 * quadrature.jensen_shannon(P.log_density, q.log_density, around(P, q)) - log(4)
    assert value(*logits) == pytest.approx(exact, abs=0.006)  # four standard errors
    torch.testing.assert_close(best(q, x), P.density(x) / (P.density(x) + q.density(x)))


def test_an_undecided_discriminator_has_the_value_minus_ln_4() -> None:
    assert value(torch.zeros(5), torch.zeros(3)) == pytest.approx(-log(4))


def test_a_trained_discriminator_comes_near_the_best_one() -> None:
    told: list[tuple[int, int]] = []
    found = optimal_discriminator(samples=5000, steps=300, tell=lambda done, total: told.append((done, total)))
    rows = {row["generator"]: row for row in found.as_dict()["tables"][0]["rows"]}
    assert rows.keys() == GENERATORS.keys()
    for row in rows.values():
        assert row["V, trained"] == pytest.approx(row["C(G) = 2 JSD - ln 4"], abs=0.05)
        assert row["loss"] == pytest.approx(-row["V, trained"])
        assert row["mean |D - D*|"] < 0.05
    assert rows["equal"]["C(G) = 2 JSD - ln 4"] == pytest.approx(-log(4))
    assert rows["far"]["mean D(x)"] > 0.95 > 0.05 > rows["far"]["mean D(G(z))"]
    assert told[-1] == (900, 900)
    assert told == sorted(told)


def answers() -> list[Answer]:
    seen = torch.full((400,), 0.5)
    return [Answer("equal", P, 0.0, -log(4), ((1, -1.5), (2, -log(4))), log(4), 0.0, 0.5, 0.5, 0.0, seen)]


def test_sentences_follow_the_numbers() -> None:
    (equal,) = answers()
    assert any("Only where p = q" in said for said in sentences([equal]))
    untrained = replace(equal, name="far", q=GENERATORS["far"], jsd=0.67)
    assert not any("Only where p = q" in said for said in sentences([equal, untrained]))  # 1/2 where it should not be
    assert not any("Only where p = q" in said for said in sentences([replace(equal, from_half=0.3)]))  # a mean of 1/2 is not 1/2
    assert not any("The loss is -V" in said for said in sentences([replace(equal, loss=log(4) / 2)]))
    assert any("above V*" in said for said in sentences([replace(equal, value=-1.38)]))


def test_the_figure_draws() -> None:
    figure = Figure()
    draw(figure, answers() * 3)
    assert len(figure.axes) == 4


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(OptionError, match="--samples"):
        optimal_discriminator(samples=10)
