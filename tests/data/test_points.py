"""Points: what may be named, read or drawn, and how networks see them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elegan.data.batches import Batches
from elegan.data.points import POINTS, open_points
from elegan.errors import DataError
from elegan.metrics.modes import quality


@pytest.mark.parametrize("name", POINTS)
def test_named_points_are_always_the_same_and_others_in_each_split(name: str) -> None:
    one, again, test = open_points(name), open_points(name), open_points(name, "test")
    assert one is not None
    assert again is not None
    assert test is not None
    assert one.points.shape == (100_000, 2)
    assert one.fingerprint == again.fingerprint != test.fingerprint
    assert (one.spec.axes[0].scale, len(one.spec.axes)) == (one.spec.axes[1].scale, 2)  # a plane keeps its proportions
    seen = one.real(np.arange(1000), torch.device("cpu"))
    assert seen.shape == (1000, 2, 1, 1)
    assert seen.square().mean() == pytest.approx(1, abs=0.1)
    assert np.allclose(one.spec.points_of(seen).numpy(), one.points[:1000], atol=1e-5)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_a_mixture_of_peaks_is_one(name: str) -> None:
    found = open_points(name)
    assert found is not None
    assert found.mixture is not None
    measured = quality(torch.from_numpy(found.points), found.mixture)
    assert measured.modes == measured.total
    assert measured.high_quality == pytest.approx(measured.ceiling, abs=0.002)


def test_moons_lie_on_their_circles() -> None:
    found = open_points("moons")
    assert found is not None
    upper, lower = np.hypot(*found.points.T), np.hypot(found.points[:, 0] - 1, found.points[:, 1] - 0.5)
    assert np.abs(np.minimum(np.abs(upper - 1), np.abs(lower - 1))).mean() < 0.05


@pytest.mark.parametrize("name", ["spiral", "swiss_roll"])
def test_spirals_lie_on_their_arms(name: str) -> None:
    """What is left of the angle after as much as the radius says, up to half a turn for the spiral's second arm."""
    found = open_points(name)
    assert found is not None
    radius, angle = np.hypot(*found.points.T), np.arctan2(*found.points.T[::-1])
    turn, said = (np.pi, 3 * np.pi * radius) if name == "spiral" else (2 * np.pi, radius)
    apart = (angle - said + turn / 2) % turn - turn / 2
    assert np.abs(apart[radius > 0.3 * radius.max()]).mean() < 0.25


def test_a_table_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("height,weight\n1.8,80\n1.6,60\n1.7,75\n")
    found = open_points(str(path))
    assert found is not None
    assert [axis.name for axis in found.spec.axes] == ["height", "weight"]
    assert found.spec.axes[1].scale > 50 * found.spec.axes[0].scale  # columns of a table have units of their own
    assert found.points.tolist() == pytest.approx(np.array([[1.8, 80], [1.6, 60], [1.7, 75]]))
    with pytest.raises(DataError, match="has no test split: it is one file of numbers"):
        open_points(str(path), "test")


def test_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "line.npy", np.arange(10.0))
    found = open_points(str(tmp_path / "line.npy"))
    assert found is not None
    assert found.points.shape == (10, 1)
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(20, 5)))
    found = open_points(str(tmp_path / "wide.npy"))
    assert found is not None
    assert [axis.name for axis in found.spec.axes] == ["x0", "x1", "x2", "x3", "x4"]


def test_a_constant_axis_is_no_division_by_zero(tmp_path: Path) -> None:
    (tmp_path / "flat.csv").write_text("1,5\n2,5\n")
    found = open_points(str(tmp_path / "flat.csv"))
    assert found is not None
    assert found.real(np.arange(2), torch.device("cpu")).isfinite().all()


def test_a_picture_is_drawn_from_where_it_is_dark(tmp_path: Path) -> None:
    pixels = np.full((20, 40), 255, np.uint8)
    pixels[:10, :20] = 0  # the upper left quarter
    Image.fromarray(pixels).save(tmp_path / "quarter.png")
    found = open_points(str(tmp_path / "quarter.png"))
    assert found is not None
    x, y = found.points.T
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((-1, 0, 0, 0.5), abs=0.01)


BAD = {
    "letters.csv": ("1,2\n3,a\n", "line 2 of .*letters.csv is no point: expected 2 numbers with commas between them, got '3,a'"),
    "ragged.csv": ("x,y\n1,2\n3\n", "line 3 of .*ragged.csv is no point"),
    "empty.csv": ("", "has no points"),
    "names.csv": ("x,y,z\n1,2\n3,4\n", "other names than columns"),
    "one.csv": ("1,2\n", "has 1 points with 2 axes: expected 2 points or more"),
    "nan.csv": ("1,2\nnan,3\n", "1 of the 2 points in .*nan.csv have a number that is not finite"),
    "broken.npy": ("no array", "cannot be read as an array of numbers"),
    "broken.png": ("no picture", "cannot be read as a picture"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_holds_no_points_is_one_clear_line(name: str, tmp_path: Path) -> None:
    content, said = BAD[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=said):
        open_points(str(tmp_path / name))


def test_names_of_columns_are_kept(tmp_path: Path) -> None:
    (tmp_path / "five.csv").write_text("age,income,height,weight,iq\n1,2,3,4,5\n2,3,4,5,7\n")
    found = open_points(str(tmp_path / "five.csv"))
    assert found is not None
    assert [axis.name for axis in found.spec.axes] == ["age", "income", "height", "weight", "iq"]


def test_a_large_offset_costs_no_digits(tmp_path: Path) -> None:
    times = 1.7e9 + np.random.default_rng(0).normal(size=(500, 1))
    np.save(tmp_path / "times.npy", times)
    found = open_points(str(tmp_path / "times.npy"))
    assert found is not None
    seen = found.real(np.arange(500), torch.device("cpu"))
    assert float(seen.std()) == pytest.approx(1, abs=0.01)
    assert np.allclose(found.spec.points_of(seen).numpy(), times, rtol=0, atol=1e-5)


def test_numbers_too_large_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "huge.npy", np.array([[1.0], [1e300]]))
    with pytest.raises(DataError, match=r"1 of the 2 points in .* not finite, or beyond 1e"):
        open_points(str(tmp_path / "huge.npy"))


@pytest.mark.parametrize("array", [np.zeros((3, 2), complex), np.zeros((2, 2, 2)), np.array(["a", "b"])], ids=["complex", "cube", "words"])
def test_what_is_no_array_of_points_is_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "no.npy", array)
    with pytest.raises(DataError, match=r"cannot be read as an array of numbers .n, d.: it holds"):
        open_points(str(tmp_path / "no.npy"))


def test_what_is_here_is_meant_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid").mkdir()
    assert open_points("grid") is None
    assert open_points("ring") is not None


def test_a_clear_ground_is_not_dark(tmp_path: Path) -> None:
    image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 20, 40))
    image.save(tmp_path / "left.png")
    found = open_points(str(tmp_path / "left.png"))
    assert found is not None
    assert found.points[:, 0].max() < 0.01


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as an array of numbers"):
        open_points(str(tmp_path / "evil.npy"))


def test_a_white_picture_has_nowhere_to_draw_from(tmp_path: Path) -> None:
    Image.new("L", (10, 10), 255).save(tmp_path / "white.png")
    with pytest.raises(DataError, match="is all white"):
        open_points(str(tmp_path / "white.png"))


def test_anything_else_is_left_to_others(tmp_path: Path) -> None:
    assert open_points("digits") is None
    assert open_points(str(tmp_path)) is None
    assert open_points(str(tmp_path / "absent.csv")) is None


def test_batches_of_points() -> None:
    data = open_points("ring")
    assert data is not None
    batches = Batches(data, batch=16, seed=0, device=torch.device("cpu"))
    first = batches.at(0)
    assert first.real.shape == (16, 2, 1, 1)
    assert first.condition is None
    assert torch.equal(first.real, batches.at(0).real)
    assert not torch.equal(first.real, batches.at(1).real)
