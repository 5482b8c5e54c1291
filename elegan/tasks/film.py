"""A film of a training: the sample grids of all its saves, one after the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from elegan.errors import OptionError, RunError
from elegan.tasks.exploring import check_target
from elegan.tasks.films import FORMS, check_film, write_film
from elegan.tasks.loading import spec_of
from elegan.tasks.seeds import parse_seeds

if TYPE_CHECKING:
    from PIL.Image import Image

    from elegan.engine.run import Run
    from elegan.game import Spec

HOLD = 2.0
"""Seconds that the last frame is shown longer."""

LINE = 20
"""Height of the line in which the step stands, in pixels."""


def film(run: str | os.PathLike[str], *, seeds: str | int | None = None, fps: float = 5.0, out: str | Path | None = None) -> Path:
    """Show the training of a RUN as a film of the sample grids that each save has left, with its step written above.

    Parameters
    ----------
    run
        A run directory, or the name of one in ./runs.
    seeds
        Only these samples of the grids, such as 0-9; without it all. Grids show seeds 0 to 63, or up to the end of the row.
    fps
        Saves a second.
    out
        NAME.webp, NAME.gif or NAME.mp4 (with pip install 'elegan[video]'). Without it film.webp in the run.

    Returns where the film is. Raises RunError or OptionError for what a person has to mend.
    """
    from elegan.engine.run import find_run

    found = find_run(run)
    target = check_target(Path(out) if out else found.path / "film.webp", FORMS)
    check_film(target, fps)
    spec, numbers = spec_of(found), None if seeds is None else parse_seeds(seeds)
    if spec.is_point and numbers is not None:
        raise OptionError("--seeds: pictures of points show all of them together. Leave it out.")
    frames = []
    for path in saved_grids(found):
        picture = read(path)
        frames.append(titled(picture if numbers is None else chosen(picture, numbers, spec), f"step {int(path.stem):,}"))
    if len({frame.size for frame in frames}) > 1:
        raise RunError(f"{found.path / 'samples'} holds grids of several sizes: some are of another run. Remove those.")
    return write_film(target, frames, fps, hold=HOLD)


def saved_grids(run: Run) -> list[Path]:
    """The grids of the saves, oldest first; RunError where there is none."""
    found = sorted((path for path in (run.path / "samples").glob("*.png") if path.stem.isdecimal()), key=lambda path: int(path.stem))
    if not found:
        raise RunError(f"{run.path / 'samples'} holds no sample grids: they come with the saves of `elegan train`.")
    return found


def read(path: Path) -> Image:
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as picture:
            picture.load()
            return picture.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RunError(f"{path} is no whole picture: {error}. Remove it.") from error


def chosen(picture: Image, seeds: tuple[int, ...], spec: Spec) -> Image:
    """A grid of only these samples of a saved one; OptionError for a seed that it does not show."""
    import numpy as np

    from elegan.pictures import grid, grid_columns

    columns = grid_columns(spec.num_classes, 64)
    scale = max(1, round(picture.width / (columns * (spec.width + 1) - 1)))
    small = np.asarray(picture)[::scale, ::scale]
    height, width = spec.height + 1, spec.width + 1
    shown = (small.shape[0] + 1) // height * columns
    if max(seeds) >= shown:
        raise OptionError(f"--seeds: got {max(seeds)}, and the grids of this training show 0 to {shown - 1}.")
    corners = [(seed // columns * height, seed % columns * width) for seed in seeds]
    cells = np.stack([small[top : top + spec.height, left : left + spec.width] for top, left in corners])
    return grid(cells.reshape(len(seeds), spec.height, spec.width, -1), grid_columns(0, len(seeds)))


def titled(picture: Image, title: str) -> Image:
    """The picture with a line of text above it."""
    from PIL import Image, ImageDraw

    from elegan.tasks.films import opaque

    plain = opaque(picture).convert("RGB")
    page = Image.new("RGB", (plain.width, plain.height + LINE), "white")
    page.paste(plain, (0, LINE))
    ImageDraw.Draw(page).text((4, LINE // 2), title, fill="black", anchor="lm")
    return page
