"""The film of a training: its frames are the saved grids, in order, and only the cells that are asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import elegan
from elegan.errors import OptionError, RunError
from elegan.tasks.film import LINE, chosen, read, saved_grids, titled


@pytest.fixture
def run(noise_run: elegan.Run, tmp_path: Path) -> elegan.Run:
    return elegan.Run(shutil.copytree(noise_run.path, tmp_path / "run"))


def test_the_film_shows_each_save_and_holds_the_last(run: elegan.Run, tmp_path: Path) -> None:
    assert [path.name for path in saved_grids(run)] == ["00000001.png", "00000002.png"]
    with Image.open(elegan.film(run, fps=10, out=tmp_path / "film.gif")) as film:
        assert film.n_frames == 2  # type: ignore[attr-defined]
        assert film.info["duration"] == 100
        film.seek(1)
        assert film.info["duration"] == 2100
        last = film.convert("L")
    saved = read(run.path / "samples" / "00000002.png")
    assert np.abs(np.asarray(last, int)[LINE:] - np.asarray(saved, int)).max() <= 4  # a palette
    assert np.asarray(last)[:LINE].min() < 128
    assert elegan.film(run) == run.path / "film.webp"


def test_saves_come_in_the_order_of_their_steps(run: elegan.Run) -> None:
    for step in (10**8, 3):
        shutil.copy(run.path / "samples" / "00000001.png", run.path / "samples" / f"{step:08d}.png")
    (run.path / "samples" / "note.png").write_text("no save")
    assert [int(path.stem) for path in saved_grids(run)] == [1, 2, 3, 10**8]


def test_only_the_samples_that_are_asked_for_are_shown(noise_run: elegan.Run) -> None:
    model = elegan.load(noise_run)
    picture = chosen(read(noise_run.path / "samples.png"), (3, 17, 69, 0), model.spec)
    scale = picture.width // 17
    small = np.asarray(picture)[::scale, ::scale]
    cells = [small[r : r + 8, c : c + 8] for r in (0, 9) for c in (0, 9)]
    assert np.array_equal(np.stack(cells), model.sample((3, 17, 69, 0))[..., 0])


def test_the_step_is_written_above() -> None:
    page = titled(Image.new("L", (100, 30), 0), "step 1,000")
    assert page.size == (100, 30 + LINE)
    above = np.asarray(page)[:LINE]
    assert above.min() < 64
    assert above.max() == 255
    assert not np.array_equal(above, np.asarray(titled(Image.new("L", (100, 30), 0), "step 2,000"))[:LINE])


def test_a_training_of_points_has_a_film_too(tmp_path: Path) -> None:
    run = elegan.train("ring", model="gan", steps=1, batch=16, out=str(tmp_path))
    with Image.open(elegan.film(run, out=tmp_path / "film.webp")) as film:
        assert film.size == (512, 512 + LINE)
    with pytest.raises(OptionError, match="points show all"):
        elegan.film(run, seeds="0-3")


def test_what_cannot_be_filmed_is_said(run: elegan.Run) -> None:
    for options, said in (({"seeds": "0-70"}, "got 70, .* show 0 to 69"), ({"fps": 0.0}, "--fps"), ({"out": "a.png"}, "cannot be made")):
        with pytest.raises(OptionError, match=said):
            elegan.film(run, **options)  # type: ignore[arg-type]
    grid = run.path / "samples" / "00000002.png"
    Image.new("L", (9, 9)).save(grid)
    with pytest.raises(RunError, match="several sizes"):
        elegan.film(run)
    grid.write_bytes(b"no picture")
    with pytest.raises(RunError, match=r"00000002\.png is no whole picture"):
        elegan.film(run)
    shutil.rmtree(run.path / "samples")
    with pytest.raises(RunError, match="no sample grids"):
        elegan.film(run)
