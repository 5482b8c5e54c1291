"""Two coins: all divergences of two small distributions, exactly, and the numbers that notes get wrong."""

from __future__ import annotations

from math import isclose
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from torch import Tensor

from elegan.divergences import discrete
from elegan.errors import OptionError
from elegan.theory.demonstration import Cell, Demonstration, Table
from elegan.theory.drawing import GENERATED, JUDGE, QUIET, REAL, label, line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLAIMED = 0.118
"""What some notes give as the Jensen-Shannon divergence of a fair coin and one of 0.9."""


def coin(
    *,
    p: Annotated[float, "the first coin's probability of heads"] = 0.5,
    q: Annotated[float, "the second coin's"] = 0.9,
) -> Demonstration:
    """All divergences of two coins, each as its formula and as a number."""
    for name, value in (("p", p), ("q", q)):
        if not 0 <= value <= 1:
            raise OptionError(f"--{name}: got {value}, expected a probability from 0 to 1.")
    first, second = outcomes(p), outcomes(q)
    return Demonstration(
        f"Two coins, P with heads {p:g} and Q with heads {q:g}",
        (Table(("divergence", "value", "formula"), rows(first, second)),),
        sentences(p, q),
        lambda figure: draw(figure, p, q),
    )


def outcomes(heads: float) -> Tensor:
    return torch.tensor([heads, 1 - heads], dtype=torch.float64)


def rows(p: Tensor, q: Tensor) -> tuple[tuple[Cell, ...], ...]:
    nats = discrete.jensen_shannon(p, q)
    return (
        ("KL(P||Q)", discrete.kl(p, q), "sum p log(p / q)"),
        ("KL(Q||P)", discrete.reverse_kl(p, q), "sum q log(q / p)"),
        ("Jeffreys", discrete.jeffreys(p, q), "KL(P||Q) + KL(Q||P)"),
        ("Jensen-Shannon, nats", nats, "KL(P||M) / 2 + KL(Q||M) / 2, M = (P + Q) / 2"),
        ("Jensen-Shannon, bits", discrete.bits(nats), "the same, divided by ln 2"),
        ("Jensen-Shannon distance", discrete.jensen_shannon_distance(p, q), "its root, in nats"),
        ("total variation", discrete.total_variation(p, q), "sum |p - q| / 2"),
        ("squared Hellinger", discrete.squared_hellinger(p, q), "1 - sum sqrt(p q)"),
        ("Bhattacharyya", discrete.bhattacharyya(p, q), "-log sum sqrt(p q)"),
        ("chi-square, Pearson", discrete.pearson(p, q), "sum (p - q)^2 / q"),
        ("chi-square, Neyman", discrete.neyman(p, q), "sum (p - q)^2 / p"),
        ("Wasserstein-1", discrete.wasserstein(p, q, torch.tensor([1.0, 0.0])), "heads at 1, tails at 0"),
    )


def sentences(p: float, q: float) -> tuple[str, ...]:
    first, second = outcomes(p), outcomes(q)
    nats, forward, back = discrete.jensen_shannon(first, second), discrete.kl(first, second), discrete.reverse_kl(first, second)
    if isclose(forward, back, rel_tol=1e-9, abs_tol=1e-12):
        said = [f"KL is {forward:.6f} both ways, as it is for coins that are equal or each other's mirror image, and for no others."]
    else:
        said = [f"KL is not symmetric: {forward:.6f} one way, {back:.6f} the other. Jensen-Shannon is, and is at most ln 2 = 0.693147."]
    if (p, q) == (0.5, 0.9):
        said.append(
            f"Some notes say that it is {CLAIMED} here. It is {nats:.6f} nats, or {discrete.bits(nats):.6f} bits; "
            f"no other row is {CLAIMED} either."
        )
    return tuple(said)


def draw(figure: Figure, p: float, q: float) -> None:
    bars, curves = figure.subplots(1, 2)
    places = np.arange(2)
    bars.bar(places - 0.2, [p, 1 - p], 0.4, color=REAL, label="P")
    bars.bar(places + 0.2, [q, 1 - q], 0.4, color=GENERATED, label="Q")
    bars.set_xticks(places, ["heads", "tails"])
    label(bars, "The two coins", y="probability", legend=True)
    heads = line(0.002, 0.998)
    for name, divergence, colour in (
        ("KL(P||Q)", discrete.kl, REAL),
        ("KL(Q||P)", discrete.reverse_kl, GENERATED),
        ("Jensen-Shannon", discrete.jensen_shannon, JUDGE),
    ):
        curves.plot(heads, [divergence(outcomes(p), outcomes(other)) for other in heads], color=colour, label=name)
    curves.axvline(q, color=QUIET, linestyle=":")
    curves.set_ylim(0, 1.5)
    label(curves, "While Q changes", "Q's probability of heads", "nats", legend=True)
