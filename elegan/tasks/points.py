"""Samples of a model of points: a picture, a table or an array."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from elegan.errors import OptionError, RunError
from elegan.tasks.loading import load
from elegan.tasks.seeds import parse_seeds

if TYPE_CHECKING:
    from elegan.engine.loop import Listener
    from elegan.engine.run import Run
    from elegan.game import Spec
    from elegan.pictures import Points


def sample_points(
    run: Run, seeds: str | int | None, asked: str, out: Path | None, best: bool, model: str | None, device: str, listener: Listener | None
) -> Path:
    """Write points, by the ending of `out`; without it a picture in the run. asked: what only images have, as it was said."""
    from elegan.engine.checkpoint import reason
    from elegan.engine.loop import SHOWN_POINTS
    from elegan.tasks.sample import grid_name

    if asked:
        raise OptionError(f"{asked}: {run.path} makes points, which have none. Leave it out.")
    if out is not None and out.suffix.lower() not in (".png", ".csv", ".npy"):
        raise OptionError(f"--out: {out} cannot be made of points, only NAME.png (a picture), NAME.csv (a table) and NAME.npy (an array).")
    if out is not None and out.is_dir():
        raise RunError(f"{out} is a folder, and a {out.suffix} file is to be written there. Choose another name with --out.")
    numbers = parse_seeds(f"0-{SHOWN_POINTS - 1}" if seeds is None else seeds)
    loaded = load(run, model=model, best=best, device=device)
    if listener is not None:
        for note in loaded.notes:
            listener.message(note)
    target = out or run.path / (("best-" if best else "") + grid_name(numbers, None))
    points = loaded.sample(numbers)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(target, points, loaded.spec)
    except OSError as error:
        raise RunError(f"could not write {target}: {reason(error)}. Choose another place with --out.") from error
    return target


def write(target: Path, points: Points, spec: Spec) -> None:
    """points: float64 (n, d), in the units of the data. What is written can be trained on."""
    import csv
    import io

    import numpy as np

    from elegan.engine.checkpoint import write_file
    from elegan.pictures import png, scatter

    suffix = target.suffix.lower()
    if suffix == ".png":
        write_file(target, png(scatter(points, spec.frame)))
    elif suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, points)
        write_file(target, buffer.getvalue())
    else:
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow([axis.name for axis in spec.axes])
        lines.writerows(points.tolist())
        write_file(target, text.getvalue().encode())
