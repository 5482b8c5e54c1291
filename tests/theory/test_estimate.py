"""A discriminator as an estimator: its readings against exact values, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from elegan.divergences.f_divergences import F_DIVERGENCES
from elegan.errors import OptionError
from elegan.theory import estimate as module
from elegan.theory.estimate import Reading, Size, draw, estimate, of_bounds, of_critic, of_sizes
from elegan.theory.learned import CriticEstimate


def test_it_reads_near_the_exact_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEPS", 60)
    monkeypatch.setattr(module, "CRITIC_STEPS", 300)
    monkeypatch.setattr(module, "FRESH", 2000)
    monkeypatch.setattr(module, "COUNTS", (30, 500))
    monkeypatch.setattr(module, "WIDTHS", (2, 8, 16))
    told: list[tuple[int, int]] = []
    found = estimate(samples=2000, distance=1.0, tell=lambda done, total: told.append((done, total)))
    bounds, critic, sizes = (table["rows"] for table in found.as_dict()["tables"])
    rows = {row["f-divergence"]: row for row in bounds}
    assert rows.keys() == F_DIVERGENCES.keys()
    assert rows["kl"]["exact"] == pytest.approx(0.5, abs=1e-6)
    assert rows["jensen_shannon"]["exact"] == pytest.approx(2 * 0.111421, abs=2e-6)
    assert rows["jensen_shannon"]["on fresh ones"] == pytest.approx(2 * 0.111421, rel=0.25)
    assert [row["value"] for row in critic][3] == 1.0
    assert critic[2]["value"] == pytest.approx(1.0, rel=0.2)
    assert critic[2]["value"] == pytest.approx(critic[0]["value"] / critic[1]["value"])
    assert [row["samples"] for row in sizes] == [30, 500]
    assert told[-1] == (15, 15)
    assert told == sorted(told)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(OptionError, match="--samples"):
        estimate(samples=10)
    with pytest.raises(OptionError, match="--distance"):
        estimate(distance=0.0)


def test_what_is_said_of_bounds_follows_the_numbers() -> None:
    near, far = Reading("kl", 2.0, 2.1, 1.9), Reading("pearson", 50.0, 20.0, 10.0)
    assert near.off == pytest.approx(-0.05)
    assert of_bounds([near])[0].endswith("kl is off most, -5.0%.")
    assert len(of_bounds([near])) == 1
    assert "pearson (-80%)" in of_bounds([near, far])[1]
    assert of_bounds([far])[0].startswith("Further off")
    low = Reading("gan", -0.5, -0.4, -0.6)  # a negative exact value: the bound is below it
    assert low.off == pytest.approx(-0.2)
    assert any("Above the exact value: kl" in said for said in of_bounds([Reading("kl", 2.0, 2.0, 2.05)]))
    assert not any("Above" in said for said in of_bounds([near, low]))


def test_what_is_said_of_a_critic_has_both_errors() -> None:
    found = CriticEstimate(1.98, "lower bound", None, None, "", raw=2.178, slope=1.1)
    assert "+8.9% off: its slope comes to 1.100, not to 1. Divided by its slope it is -1.0% off." in of_critic(found, 2.0)[0]


def test_what_is_said_of_sizes_follows_the_numbers() -> None:
    counts, widths = module.COUNTS, module.WIDTHS
    plain = [Size(count, width, 0.22, 0.22) for count in counts for width in widths]
    assert len(of_sizes(plain, 0.22)) == 1
    memorised = [replace(size, learned=0.6, fresh=-0.3) if size.count == counts[0] else size for size in plain]
    assert any("by heart" in said for said in of_sizes(memorised, 0.22))
    small = [replace(size, fresh=0.07) if size.width == widths[0] else size for size in plain]
    assert any("learned too little" in said for said in of_sizes(small, 0.22))


def test_the_figure_draws() -> None:
    figure = Figure()
    sizes = [Size(count, width, 0.3, 0.2) for count in module.COUNTS for width in module.WIDTHS]
    draw(figure, [Reading("kl", 2.0, 2.1, 1.9), Reading("total_variation", 0.6, 0.6, 0.5)], sizes, 0.22)
    assert len(figure.axes) == 2
