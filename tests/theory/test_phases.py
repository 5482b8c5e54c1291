"""A generator on a line: its numbers against known ones, short games, and sentences that follow from numbers alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from elegan.divergences import quadrature
from elegan.divergences.mixtures import around, on_a_line
from elegan.errors import OptionError
from elegan.theory import flow
from elegan.theory import phases as module
from elegan.theory.demonstration import Demonstration
from elegan.theory.flow import P_DATA, PLACES, SAMPLES, Look, masses_of_data, noises, reals, shares_of_data
from elegan.theory.phases import film_steps, on_early, on_end, on_half, on_losses, on_what_is_between, phase_steps, phases, play

STEPS, FRAMES = 100, module.FRAMES


@pytest.fixture(scope="module", autouse=True)
def short_film() -> Iterator[None]:
    """Looking takes longer than playing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FRAMES", 5)
        yield


@pytest.fixture(scope="module")
def looks() -> dict[int, Look]:
    return play("gan", STEPS, 0, lambda done, total: None)


@pytest.fixture(scope="module")
def found(looks: dict[int, Look]) -> Demonstration:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "play", lambda *arguments: looks)
        return phases(steps=STEPS)


def look(samples: Tensor, scores: Tensor | None = None, **known: float) -> Look:
    means = {"real": 0.5, "fake": 0.5} | known
    scores = torch.zeros(len(PLACES), dtype=torch.float64) if scores is None else scores
    return Look(0, samples, scores, True, means["real"], means["fake"], (2 * log(2), log(2)))


def test_a_generator_that_is_right_is_nowhere_off() -> None:
    right = look(reals())
    assert right.wasserstein == pytest.approx(0, abs=1e-12)
    assert right.jensen_shannon == pytest.approx(0, abs=1e-4)  # shares are multiples of 1 / 20,000
    assert right.shares == pytest.approx(shares_of_data(), abs=1e-4)


@pytest.mark.parametrize("by", [0.3, 1.0])
def test_a_shifted_one_is_off_by_the_shift(by: float) -> None:
    shifted, other = look(reals() + by), on_a_line([0.65, 0.35], [by - 1.5, by + 1.5], [0.5, 0.4])
    assert shifted.wasserstein == pytest.approx(by, abs=1e-9)
    exact = quadrature.jensen_shannon(P_DATA.log_density, other.log_density, around(P_DATA, other))
    assert exact * 0.97 < shifted.jensen_shannon <= exact + 1e-5  # bins can only lower it


def test_quantiles_and_shares_of_the_data() -> None:
    cdf = 0.65 * stats.norm.cdf(reals(), -1.5, 0.5) + 0.35 * stats.norm.cdf(reals(), 1.5, 0.4)
    assert np.abs(cdf - (np.arange(SAMPLES) + 0.5) / SAMPLES).max() < 1e-6
    low = 0.65 * stats.norm.cdf(2) + 0.35 * stats.norm.cdf(-5)
    high = 0.65 * stats.norm.sf(4.4) + 0.35 * stats.norm.cdf(2)
    assert shares_of_data() == pytest.approx((low, 1 - low - high, high), abs=1e-6)
    assert float(masses_of_data().sum()) == pytest.approx(1, abs=1e-12)


def test_noise_is_normal_without_chance() -> None:
    assert float(noises().mean()) == pytest.approx(0, abs=1e-9)
    assert float(noises().std()) == pytest.approx(1, abs=1e-3)


def test_what_is_beyond_the_bins_counts() -> None:
    away = look(torch.full((SAMPLES,), 99.0, dtype=torch.float64))
    assert float(away.masses[-1]) == 1
    assert away.jensen_shannon == pytest.approx(log(2), abs=1e-5)


def test_uphill_is_the_share_of_the_way() -> None:
    start = look(torch.zeros(SAMPLES, dtype=torch.float64))
    way = torch.full((SAMPLES,), 3.0, dtype=torch.float64)
    way[: SAMPLES // 2] = -1.0
    assert start.uphill(look(way, PLACES)) == pytest.approx(0.75)
    assert start.uphill(look(way, -PLACES)) == pytest.approx(0.25)
    assert start.uphill(look(start.samples, PLACES)) is None
    assert start.uphill(None) is None


def test_it_is_the_slope_where_the_sample_is() -> None:
    """D is a valley here: away from 0 is uphill."""
    start = look(torch.linspace(-1, 1, SAMPLES, dtype=torch.float64))
    assert start.uphill(look(start.samples * 1.5, PLACES.square())) == pytest.approx(1)
    assert start.uphill(look(start.samples * 0.5, PLACES.square())) == pytest.approx(0)


def test_steps_that_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRAMES", FRAMES)
    assert phase_steps(3000) == {"start": 0, "early": 15, "middle": 300, "end": 3000}
    assert phase_steps(100)["early"] == 1
    assert (film_steps(3000)[0], film_steps(3000)[-1]) == (0, 3000)
    assert 60 <= len(film_steps(3000)) <= 100


def test_a_game_is_looked_at_as_it_is(looks: dict[int, Look]) -> None:
    assert {*film_steps(STEPS), *phase_steps(STEPS).values()} <= looks.keys()
    end = looks[STEPS]
    at_half = np.interp(reals(), PLACES, end.scores)
    assert end.real == pytest.approx(float(torch.sigmoid(torch.from_numpy(at_half)).mean()), abs=1e-4)
    fake = torch.from_numpy(np.interp(end.samples, PLACES, end.scores))
    expected = torch.nn.functional.softplus(-torch.from_numpy(at_half)).mean() + torch.nn.functional.softplus(fake).mean()
    assert end.losses == pytest.approx((float(expected), float(torch.nn.functional.softplus(-fake).mean())), abs=1e-4)


def test_it_learns(looks: dict[int, Look]) -> None:
    assert looks[0].jensen_shannon > 0.6
    assert looks[STEPS].jensen_shannon < 0.15
    assert looks[STEPS].wasserstein < looks[0].wasserstein / 3


def test_the_seed_decides() -> None:
    ends = [play("gan", 5, seed, lambda done, total: None)[5].samples for seed in (0, 0, 1)]
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("model", ["rpgan", "lsgan"])
def test_other_games_have_scores(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST", 20)
    told: list[tuple[int, int]] = []
    found = phases(model=model, steps=20, tell=lambda done, total: told.append((done, total)))  # type: ignore[arg-type]
    assert told[-1] == (20, 20)
    assert found.tables[0].columns[4:6] == ("score of x", "of G(z)")
    assert "1/2" not in " ".join(found.said)
    figure = Figure()
    found.draw(figure)
    scaled = next(line for line in figure.axes[3].lines if line.get_label() == "critic, scaled")
    heights = np.asarray(scaled.get_ydata())
    assert (heights.min(), heights.max()) == (0, 1)


def test_a_row_for_each_phase_and_one_for_the_data(found: Demonstration, looks: dict[int, Look]) -> None:
    rows = {str(row[0]): dict(zip(found.tables[0].columns, row, strict=True)) for row in found.tables[0].rows}
    assert list(rows) == ["start", "early", "middle", "end", "p_data"]
    assert [row["step"] for row in rows.values()] == [0, 1, 10, 100, None]
    assert rows["end"]["JSD"] == looks[100].jensen_shannon
    for row in rows.values():
        assert sum(row[name] for name in ("below -0.5", "between", "above 0.7")) == pytest.approx(1)  # type: ignore[misc]
    assert rows["end"]["uphill"] is None
    assert rows["middle"]["uphill"] > 0.5  # type: ignore[operator]


def test_the_figure_and_the_film(found: Demonstration) -> None:
    figure = Figure(layout="constrained")
    found.draw(figure)
    figure.canvas.draw()
    assert len(figure.axes) == 8
    assert figure.axes[3].get_title().startswith("end: 100 rounds, JSD 0.")
    assert len(found.frames) == len(film_steps(STEPS))
    frame = Figure(layout="constrained")
    found.frames[-1](frame)
    frame.canvas.draw()
    assert [axes.get_title() for axes in frame.axes] == ["round 100", "", "how far p_g is from p_data", ""]


def test_the_best_discriminator_is_drawn_where_there_is_mass() -> None:
    figure = Figure()
    axes = figure.subplots()
    flow.draw_densities(axes, look(reals()))
    best = next(line for line in axes.lines if line.get_label() == "best D")
    assert np.asarray(best.get_ydata()) == pytest.approx(0.5, abs=0.02)
    assert np.abs(np.asarray(best.get_xdata())).max() < 3.5


def test_half_proves_nothing_only_where_a_moment_shows_it() -> None:
    right, wrong = look(reals()), look(reals() + 1)
    assert "before the first round it is 0.520 and 0.490" in on_half([replace(wrong, real=0.52, fake=0.49), right])
    assert "after 7 rounds" in on_half([replace(wrong, step=7), right])
    assert on_half([right]) == ""
    assert on_half([replace(wrong, real=0.7)]) == ""
    assert on_half([replace(wrong, probability=False)]) == ""


def test_flat_losses_are_named_only_where_something_is_learned() -> None:
    right, wrong = look(reals() + 0.05), look(reals() + 1)
    assert "they differ by 0.000 at most" in on_losses(wrong, right)
    assert on_losses(right, right) == ""
    assert on_losses(replace(wrong, losses=(1.0, 1.0)), right) == ""


def test_the_end_is_what_it_is() -> None:
    right, wrong = look(reals()), look(reals() + 1)
    assert "p_g is near p_data" in on_end(right)
    assert "D is near 1/2: 0.500 and 0.500." in on_end(right)
    assert "p_g is not near p_data" in on_end(wrong)
    assert "1/2" not in on_end(replace(right, real=0.8))


def test_other_sentences_need_their_numbers() -> None:
    assert on_early(look(reals(), real=0.4, fake=0.6), 0.9) == ""
    assert on_early(look(reals(), real=0.6, fake=0.4), 0.9).endswith("Of the samples' next move 90% leads up its slope.")
    assert "next move" not in on_early(look(reals(), real=0.6, fake=0.4), None)
    assert on_what_is_between(look(reals() - 5)) == ""
    between = reals().clone()
    between[::100] = 0.0
    assert "cannot jump" in on_what_is_between(look(between))
    assert on_what_is_between(look(torch.zeros(SAMPLES, dtype=torch.float64))) == ""  # not learned yet, so it proves nothing


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(OptionError, match="--steps: got 99, expected at least 100"):
        phases(steps=99)
