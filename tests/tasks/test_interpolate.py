"""Walks as films and strips: which pictures they hold, in which order, and what is refused."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import elegan
from elegan.errors import OptionError, RunError
from elegan.game import GAN, Spec
from elegan.tasks.exploring import parse_layers, parse_table
from elegan.tasks.films import write_film
from elegan.tasks.interpolate import chosen_path
from elegan.tasks.recipes import find_recipe


def cells(path: Path, rows: int, columns: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The 8x8 pictures of a sheet, (rows, columns, 8, 8)."""
    with Image.open(path) as image:
        scale = next(s for s in range(1, 200) if (9 * columns - 1) * s == image.size[0])
        assert image.size[1] == (9 * rows - 1) * scale
        small = np.asarray(image)[::scale, ::scale]
    return np.stack([[small[9 * r : 9 * r + 8, 9 * c : 9 * c + 8] for c in range(columns)] for r in range(rows)])


def test_a_strip_passes_the_samples_of_its_seeds(styled_run: elegan.Run, tmp_path: Path) -> None:
    path = elegan.interpolate(styled_run, seeds="3-6", frames=3, grid="2x1", out=tmp_path / "walk.png")
    found = cells(path, 2, 6)
    expected = elegan.load(styled_run).sample("3-6")[..., 0]
    assert np.array_equal(found[:, ::3].reshape(4, 8, 8), expected)
    assert not np.array_equal(found[0, 1], found[0, 0])
    open_path = elegan.interpolate(styled_run, seeds="3-6", frames=3, closed=False, out=tmp_path / "open.png")
    assert np.array_equal(cells(open_path, 1, 10)[0, ::3], expected)


def test_a_walk_of_noise_has_the_class_of_its_first_seed(noise_run: elegan.Run, tmp_path: Path) -> None:
    model = elegan.load(noise_run)
    found = cells(elegan.interpolate(noise_run, seeds="4,8", frames=2, out=tmp_path / "walk.png"), 1, 4)
    expected = model.render(model.latents("4,8"), torch.tensor([4, 4]))[..., 0]
    assert np.array_equal(found[0, ::2], expected)
    chosen = cells(elegan.interpolate(noise_run, seeds="4,8", frames=2, class_="7", out=tmp_path / "walk.png"), 1, 4)
    assert np.array_equal(chosen[0, ::2], model.sample("4,8", "7")[..., 0])


def test_only_the_layers_that_are_named_move(styled_run: elegan.Run, tmp_path: Path) -> None:
    model = elegan.load(styled_run)
    found = cells(elegan.interpolate(styled_run, seeds="0-1", frames=2, layers="0-2", out=tmp_path / "walk.png"), 1, 4)
    first, second = model.latents("0-1")
    mixed = torch.cat([second[:3], first[3:]])[None]
    assert np.array_equal(found[0, [0, 2]], model.render(torch.cat([first[None], mixed]), None)[..., 0])


@pytest.mark.parametrize("ending", [".webp", ".gif"])
def test_a_film_has_its_frames_and_its_rate(ending: str, noise_run: elegan.Run, tmp_path: Path) -> None:
    path = elegan.interpolate(noise_run, seeds="0-3", frames=3, grid="1x2", fps=10, out=tmp_path / f"walk{ending}")
    with Image.open(path) as film:
        assert film.n_frames == 6  # type: ignore[attr-defined]
        film.load()
        assert film.info["duration"] == 100
        assert film.info["loop"] == 0
        assert film.size[0] > film.size[1] >= 512
    assert elegan.interpolate(noise_run, seeds="0-1", frames=1).name == "walk-0_1.webp"


def test_truncation_reaches_the_walk(noise_run: elegan.Run, tmp_path: Path) -> None:
    path = elegan.interpolate(noise_run, seeds="0-1", frames=2, class_="1", truncation=0, out=tmp_path / "walk.png")
    found = cells(path, 1, 4)
    assert np.array_equal(found, np.broadcast_to(found[0, 0], found.shape))


class Writer:
    """Stands in for imageio's: keeps what it is given."""

    def __init__(self, made: dict[str, Any], path: Path, **options: Any) -> None:
        self.made, self.path = made, path
        made.update(options, frames=[])

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self.path.write_bytes(b"film")

    def append_data(self, frame: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        self.made["frames"].append(frame)


def test_an_mp4_is_written_by_imageio(noise_run: elegan.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    module = types.ModuleType("imageio.v2")
    module.get_writer = lambda path, **options: Writer(made, path, **options)  # type: ignore[attr-defined]
    for name in ("imageio", "imageio_ffmpeg"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "imageio.v2", module)
    path = elegan.interpolate(noise_run, seeds="0-3", frames=3, grid="1x2", fps=12, out=tmp_path / "new" / "walk.mp4")
    assert path.read_bytes() == b"film"
    assert [file.name for file in path.parent.iterdir()] == ["walk.mp4"]
    assert (made["fps"], made["format"], len(made["frames"])) == (12, "FFMPEG", 6)
    assert {frame.shape[2] for frame in made["frames"]} == {3}
    assert all(side % 2 == 0 for frame in made["frames"] for side in frame.shape[:2])
    write_film(tmp_path / "odd.mp4", [Image.new("L", (5, 3), 9)] * 2, 4, hold=0.5)
    assert [frame.shape for frame in made["frames"]] == [(4, 6, 3)] * 4
    assert made["frames"][0][:3, :5].tolist() == [[[9, 9, 9]] * 5] * 3


def test_an_mp4_without_imageio_says_how_to_get_it(noise_run: elegan.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(OptionError, match=r"pip install 'elegan\[video\]'"):
        elegan.interpolate(noise_run, out=tmp_path / "walk.mp4")


def test_transparent_pictures_stand_on_white(tmp_path: Path) -> None:
    frames = [Image.new("RGBA", (4, 4), (0, 0, 0, alpha)) for alpha in (0, 255)]
    with Image.open(write_film(tmp_path / "a.gif", frames, 5, hold=1)) as film:
        assert film.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        film.seek(1)
        assert film.convert("RGB").getpixel((0, 0)) == (0, 0, 0)
        assert film.info["duration"] == 1200


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seeds": "0"}, "got 1 for 1 walk, expected at least two"),
        ({"seeds": "0-4", "grid": "2x1"}, "got 5 for 2 walks"),
        ({"frames": 0}, "--frames: got 0"),
        ({"seeds": "0-999", "frames": 1000}, "more than 100,000"),
        ({"grid": "4"}, "--grid: got '4', expected rows and columns"),
        ({"grid": "0x2"}, "--grid"),
        ({"path": "curve"}, "--path: got 'curve'. Known: auto, lerp, slerp, spline"),
        ({"layers": "0"}, "one layer"),
        ({"fps": 0.0}, "--fps: got 0.0"),
        ({"fps": float("nan")}, "--fps"),
        ({"out": "walk.avi"}, "walk.avi cannot be made, only NAME.webp, NAME.gif, NAME.mp4, NAME.png"),
        ({"truncation": 2.0}, "--truncation"),
    ],
)
def test_what_cannot_be_walked_is_refused(options: dict[str, Any], said: str, noise_run: elegan.Run) -> None:
    with pytest.raises(OptionError, match=said):
        elegan.interpolate(noise_run, **options)


def test_layers_are_numbers_or_thirds_of_at_most_four() -> None:
    for said, count, expected in (
        (None, 3, (0, 1, 2)),
        ("0-2,5", 6, (0, 1, 2, 5)), ("3,3", 6, (3,)), ("coarse", 6, (0, 1)), ("middle", 6, (2, 3)), ("fine", 6, (4, 5)),
        ("coarse", 18, (0, 1, 2, 3)), ("middle", 18, (4, 5, 6, 7)), ("fine", 18, tuple(range(8, 18))), ("middle", 2, (1,)),
    ):  # fmt: skip
        assert parse_layers(said, count) == expected
    for said, count, complaint in (
        ("6", 6, "got 6, and this model's layers are 0 to 5"),
        ("rough", 6, "got 'rough', expected coarse"),
        ("fine", 2, "too few"),
        ("coarse", 1, "one layer"),
    ):
        with pytest.raises(OptionError, match=complaint):
            parse_layers(said, count)
    assert parse_table("--grid", "4x2") == (4, 2)


def test_the_path_suits_the_latents() -> None:
    def gan(name: str, **options: object) -> GAN:
        return find_recipe(name).make(Spec(1, 8, 8), {"width": 8, **options}).build()

    assert chosen_path("auto", gan("dcgan")) == "slerp"
    assert chosen_path("auto", gan("dcgan", noise="uniform")) == "lerp"
    assert chosen_path("auto", gan("stylegan2", latent=8, depth=1, widest=8)) == "spline"
    assert chosen_path("lerp", gan("dcgan")) == "lerp"


def test_points_are_not_explored(tmp_path: Path) -> None:
    run = elegan.train("ring", model="gan", steps=1, batch=16, out=str(tmp_path))
    for command in (elegan.interpolate, elegan.mix):
        with pytest.raises(OptionError, match="makes points"):
            command(run)


def test_a_folder_where_the_film_is_to_be_is_named(noise_run: elegan.Run, tmp_path: Path) -> None:
    (tmp_path / "walk.webp").mkdir()
    with pytest.raises(RunError, match="is a folder"):
        elegan.interpolate(noise_run, out=tmp_path / "walk.webp")


# mixing


def test_a_mixture_has_its_columns_layers_and_its_rows_others(styled_run: elegan.Run, tmp_path: Path) -> None:
    model = elegan.load(styled_run)
    found = cells(elegan.mix(styled_run, rows="0-1", columns="4-6", layers="1,2", out=tmp_path / "mix.png"), 3, 4)
    rows, columns = model.latents("0-1"), model.latents("4-6")
    assert (found[0, 0] == 96).all()
    assert np.array_equal(found[0, 1:], model.sample("4-6")[..., 0])
    assert np.array_equal(found[1:, 0], model.sample("0-1")[..., 0])
    for r in range(2):
        for c in range(3):
            mixed = torch.stack([columns[c, i] if i in (1, 2) else rows[r, i] for i in range(6)])[None]
            assert np.array_equal(found[1 + r, 1 + c], model.render(mixed, None)[0, ..., 0])
    whole = cells(elegan.mix(styled_run, rows="0-1", columns="4-6", layers="0-5", out=tmp_path / "whole.png"), 3, 4)
    assert np.array_equal(whole[1:, 1:], np.stack([model.sample("4-6")[..., 0]] * 2))
    assert elegan.mix(styled_run).name == "mix-coarse-0-3-4-9.png"
    assert elegan.mix(styled_run, layers="1,2", truncation=0.5).name == "mix-1,2-0-3-4-9-truncated-0.5.png"


def test_what_was_asked_is_in_the_name_so_that_nothing_else_is_overwritten(noise_run: elegan.Run, styled_run: elegan.Run) -> None:
    asked = {"seeds": "0-1", "frames": 1}
    name = elegan.interpolate(styled_run, layers="0-2", path="lerp", closed=False, truncation=0.5, **asked).name
    assert name == "walk-0_1-layers-0-2-lerp-open-truncated-0.5.webp"
    assert elegan.interpolate(styled_run, seeds="0-3", frames=1, grid="2x1").name == "walk-0-3-2x1.webp"
    assert elegan.interpolate(noise_run, class_="7", **asked).name == "walk-0_1-7.webp"


def test_what_cannot_be_mixed_is_refused(noise_run: elegan.Run, styled_run: elegan.Run) -> None:
    with pytest.raises(OptionError, match="of its noise as a whole"):
        elegan.mix(noise_run)
    for options, said in (({"layers": "9"}, "0 to 5"), ({"rows": "0-1999"}, "Name fewer seeds"), ({"out": "a.webp"}, r"only NAME\.png")):
        with pytest.raises(OptionError, match=said):
            elegan.mix(styled_run, **options)  # type: ignore[arg-type]
