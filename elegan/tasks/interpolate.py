"""Walks among a trained model's latents, as films or strips."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from elegan.errors import OptionError, nearest
from elegan.tasks.exploring import check_target, exchanged, file_name, open_model, parse_layers, parse_table, sheet, write
from elegan.tasks.films import FORMS, check_film, write_film
from elegan.tasks.sample import asked_name, parse_attributes, seeds_name, shortened
from elegan.tasks.seeds import parse_seeds

if TYPE_CHECKING:
    import torch

    from elegan.engine.loop import Listener
    from elegan.explore.paths import PathName
    from elegan.game import GAN
    from elegan.pictures import Pixels
    from elegan.tasks.model import Model

KEYFRAMES = 4
"""In each walk, where no seeds are named."""

MOST_PICTURES = 100_000
"""In one film: they are in memory together."""


def interpolate(
    run: str | os.PathLike[str],
    *,
    seeds: str | int | None = None,
    frames: int = 24,
    path: Literal["auto", "slerp", "lerp", "spline"] = "auto",
    layers: str | None = None,
    grid: str = "1x1",
    closed: bool = True,
    class_: str | None = None,
    attributes: str | None = None,
    truncation: float = 1.0,
    truncation_cutoff: int | None = None,
    fps: float = 24.0,
    out: str | Path | None = None,
    best: bool = False,
    model: str | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> Path:
    """Walk among the samples of a trained RUN: a film, or a strip of pictures.

    Parameters
    ----------
    run
        A run directory, or the name of one in ./runs.
    seeds
        Whose samples the walk passes: 0-7 or 1,2,5-10; without it four. With --grid each walk gets its share of them, in order,
        or four.
    frames
        Steps from one sample to the next.
    path
        slerp goes along arcs, on which normal noise keeps its length; lerp straight; spline smoothly, without corners.
        auto is slerp for normal noise, lerp for uniform noise and spline for styles.
    layers
        Only these layers of the latents move, the others stay as in the walk's first sample: 0-3, coarse, middle or fine.
    grid
        Several walks side by side, as rows x columns.
    closed
        Back to the first sample at the end, so that a film runs on and on.
    class_
        Only this class. Without it a walk of styles goes through the classes of its seeds; any other walk has the class of
        its first seed.
    attributes
        Values such as age=30,smiling=1 for a model trained with --attributes.
    truncation
        As for `elegan sample`: below 1 for likelier samples.
    truncation_cutoff
        Truncate only the first so many layers.
    fps
        Frames a second.
    out
        NAME.webp, NAME.gif or NAME.mp4 (with pip install 'elegan[video]'); NAME.png for a strip with a row for each walk.
        Without it walk-SEEDS.webp in the run, and in the name what else was asked.
    best
        From the best save, not the newest, if the run was trained with --held-out.
    model
        The file of your own that the run was trained with, if it was one.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.
    listener
        Functions that are told of progress and messages.

    Returns where the film is. Raises RunError or OptionError for what a person has to mend.
    """
    from elegan.explore.paths import walk

    rows, columns = parse_table("--grid", grid)
    numbers = parse_seeds(f"0-{KEYFRAMES * rows * columns - 1}" if seeds is None else seeds)
    check_walks(len(numbers), rows * columns, frames)
    found, loaded = open_model(run, best=best, model=model, device=device, listener=listener)
    said = asked_name(loaded, class_, attributes, truncation, truncation_cutoff)
    ways = f"layers-{layers}" if layers else "", path if path != "auto" else "", grid if grid != "1x1" else "", "" if closed else "open"
    words = "walk", seeds_name(numbers), shortened(file_name(False, ways, ""), 24), shortened(said, 24)
    target = check_target(Path(out) if out else found.path / file_name(best, words, ".webp"), (*FORMS, ".png"))
    if target.suffix.lower() != ".png":
        check_film(target, fps)
    asked = parse_attributes(attributes)
    latents = loaded.latents(numbers, class_, asked, truncation=truncation, cutoff=truncation_cutoff)
    conditions = loaded.conditions_of(numbers, class_, asked)
    moving, chosen = parse_layers(layers, latents.shape[1]), chosen_path(path, loaded.gan)
    share = len(numbers) // (rows * columns)
    walks = []
    for start in range(0, len(numbers), share):
        keyframes = latents[start : start + share]
        way = walk(keyframes, frames, chosen, closed=closed)
        pictures = exchanged(keyframes[:1].expand_as(way), way, moving)
        walks.append(rendered(loaded, pictures, None if conditions is None else conditions[start]))
        if listener is not None:
            listener.measuring(len(walks), rows * columns)
    return show(target, walks, columns, fps)


def check_walks(seeds: int, walks: int, frames: int) -> None:
    """OptionError unless each walk has as many samples as the others, at least two, and not too many frames."""
    if frames < 1:
        raise OptionError(f"--frames: got {frames}, expected at least 1.")
    if seeds % walks or seeds < 2 * walks:
        raise OptionError(
            f"--seeds: got {seeds} for {walks} walk{'s' * (walks > 1)}, expected at least two for each, and as many for each."
        )
    if seeds * frames > MOST_PICTURES:
        raise OptionError(
            f"--frames: {seeds} samples with {frames} steps each are {seeds * frames:,} pictures, more than {MOST_PICTURES:,}."
        )


def chosen_path(path: str, gan: GAN) -> PathName:
    from elegan.explore.paths import PathName
    from elegan.rules.styled import Styled
    from elegan.rules.two_player import TwoPlayer

    if path != "auto":
        for known in get_args(PathName):
            if path == known:
                return known  # type: ignore[no-any-return]
        raise OptionError(f"--path: got {path!r}. {nearest(path, ('auto', *get_args(PathName)))}")
    if isinstance(gan, TwoPlayer) and not isinstance(gan, Styled):
        return "lerp" if gan.noise == "uniform" else "slerp"
    return "spline"


def rendered(model: Model, latents: torch.Tensor, condition: torch.Tensor | None) -> Pixels:
    """Pictures of latents (n, layers, size) that are all asked to be the same."""
    return model.render(latents, None if condition is None else condition.expand(len(latents), *condition.shape))


def show(target: Path, walks: list[Pixels], columns: int, fps: float) -> Path:
    """A film in which all walks go at once, or, as a PNG, a row for each."""
    import numpy as np

    from elegan.pictures import grid

    if target.suffix.lower() == ".png":
        return write(target, sheet(np.concatenate(walks), len(walks[0])))
    return write_film(target, [grid(np.stack(pictures), columns) for pictures in zip(*walks, strict=True)], fps)
