"""Two coins, against values worked out by hand."""

from __future__ import annotations

from math import inf, log, sqrt

import pytest
from matplotlib.figure import Figure
from scipy import stats  # type: ignore[import-untyped]
from scipy.spatial import distance  # type: ignore[import-untyped]

from elegan.errors import OptionError
from elegan.theory.coin import coin
from elegan.theory.demonstration import Demonstration


def values(found: Demonstration) -> dict[object, object]:
    return {row[0]: row[1] for row in found.tables[0].rows}


def test_the_values_of_the_classic_pair() -> None:
    """JSD = H(0.7) - (H(0.5) + H(0.9)) / 2, the others by their formulas."""
    expected = {
        "KL(P||Q)": 0.510826,
        "KL(Q||P)": 0.368064,
        "Jeffreys": 0.878890,
        "Jensen-Shannon, nats": 0.101749,
        "Jensen-Shannon, bits": 0.146793,
        "Jensen-Shannon distance": 0.318982,
        "total variation": 0.4,
        "squared Hellinger": 0.105573,
        "Bhattacharyya": 0.111572,
        "chi-square, Pearson": 1.777778,
        "chi-square, Neyman": 0.64,
        "Wasserstein-1": 0.4,
    }
    assert values(coin()) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("p", "q"), [(0.2, 0.7), (0.99, 0.01), (1e-6, 0.5)])
def test_other_coins_as_another_library_has_them(p: float, q: float) -> None:
    found, first, second = values(coin(p=p, q=q)), (p, 1 - p), (q, 1 - q)
    assert found["KL(P||Q)"] == pytest.approx(stats.entropy(first, second), rel=1e-9)
    assert found["KL(Q||P)"] == pytest.approx(stats.entropy(second, first), rel=1e-9)
    assert found["Jensen-Shannon distance"] == pytest.approx(distance.jensenshannon(first, second), rel=1e-9)
    assert found["Jensen-Shannon, bits"] == pytest.approx(distance.jensenshannon(first, second, base=2) ** 2, rel=1e-9)
    assert found["Wasserstein-1"] == pytest.approx(stats.wasserstein_distance([1, 0], [1, 0], first, second), rel=1e-9)


def test_equal_coins_are_nowhere_apart() -> None:
    for heads in (0.0, 0.3, 1.0):
        assert values(coin(p=heads, q=heads)) == pytest.approx(dict.fromkeys(values(coin()), 0.0), abs=1e-12)


def test_coins_that_share_no_outcome() -> None:
    found = values(coin(p=1, q=0))
    for name in ("KL(P||Q)", "KL(Q||P)", "Jeffreys", "Bhattacharyya", "chi-square, Pearson", "chi-square, Neyman"):
        assert found[name] == inf, name
    for name in ("total variation", "squared Hellinger", "Wasserstein-1", "Jensen-Shannon, bits"):
        assert found[name] == pytest.approx(1, abs=1e-12), name
    assert found["Jensen-Shannon, nats"] == pytest.approx(log(2), abs=1e-12)
    assert found["Jensen-Shannon distance"] == pytest.approx(sqrt(log(2)), abs=1e-12)


def test_a_coin_that_lacks_an_outcome_is_infinitely_far_one_way_only() -> None:
    found = values(coin(p=0.5, q=1))
    assert (found["KL(P||Q)"], found["chi-square, Pearson"]) == (inf, inf)
    assert found["KL(Q||P)"] == pytest.approx(log(2), abs=1e-12)
    assert found["chi-square, Neyman"] == pytest.approx(1, abs=1e-12)


def test_only_where_notes_are_wrong_is_that_said() -> None:
    said = " ".join(coin().said)
    assert "0.118" in said
    assert "0.101749 nats, or 0.146793 bits" in said
    for p, q in ((0.5, 0.8), (0.9, 0.5), (0.5, 0.5)):
        assert "0.118" not in " ".join(coin(p=p, q=q).said)


@pytest.mark.parametrize(
    ("p", "q", "said"), [(0.4, 0.4, "KL is 0.000000 both"), (0.2, 0.8, "KL is 0.831777 both"), (1, 0, "KL is inf both")]
)
def test_coins_of_which_kl_is_symmetric_are_not_said_to_show_that_it_is_not(p: float, q: float, said: str) -> None:
    found = coin(p=p, q=q).said
    assert found[0].startswith(said)
    assert "not symmetric" not in " ".join(found)
    assert "not symmetric: 0.510826 one way, 0.368064" in coin().said[0]


def test_no_row_shows_what_notes_claim() -> None:
    assert not [name for name, value in values(coin()).items() if isinstance(value, float) and round(value, 3) == 0.118]


@pytest.mark.parametrize("wrong", [{"p": -0.1}, {"q": 1.5}, {"p": float("nan")}])
def test_no_probability_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=r"--[pq]: got .*a probability from 0 to 1"):
        coin(**wrong)


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.9), (0, 1)])
def test_the_figure_shows_both_coins(p: float, q: float) -> None:
    figure = Figure(layout="constrained")
    coin(p=p, q=q).draw(figure)
    figure.canvas.draw()
    bars, curves = figure.axes
    heights = [bar.get_height() for bar in bars.patches]  # type: ignore[attr-defined]
    assert heights == [p, 1 - p, q, 1 - q]
    assert [line.get_label() for line in curves.lines[:3]] == ["KL(P||Q)", "KL(Q||P)", "Jensen-Shannon"]
