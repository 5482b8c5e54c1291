"""A grid that shows which layer of the latents says what: samples with some layers of other samples."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from elegan.errors import OptionError
from elegan.tasks.exploring import check_target, exchanged, file_name, open_model, parse_layers, sheet, write
from elegan.tasks.sample import asked_name, parse_attributes, seeds_name, shortened
from elegan.tasks.seeds import parse_seeds

if TYPE_CHECKING:
    from elegan.engine.loop import Listener

BLANK = 96
"""The grey of the corner: that of the lines between pictures."""

MOST_PICTURES = 10_000


def mix(
    run: str | os.PathLike[str],
    *,
    rows: str | int = "0-3",
    columns: str | int = "4-9",
    layers: str = "coarse",
    class_: str | None = None,
    attributes: str | None = None,
    truncation: float = 1.0,
    truncation_cutoff: int | None = None,
    out: str | Path | None = None,
    best: bool = False,
    model: str | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> Path:
    """Mix the samples of a trained RUN layer by layer: a grid with the sources at its edges.

    Parameters
    ----------
    run
        A run directory, or the name of one in ./runs.
    rows
        Seeds of the samples in the first column. Each row has their latents, but for the layers named.
    columns
        Seeds of the samples in the first row. Each column has their latents in the layers named.
    layers
        What comes from the columns: 0-3 or 1,4; or coarse, the first third of the layers but at most 4, middle, the next
        as many, or fine, the rest.
    class_
        Only this class, by name or, if no class is named by a number, by its position from 0.
    attributes
        Values such as age=30,smiling=1 for a model trained with --attributes.
    truncation
        As for `elegan sample`: below 1 for likelier samples.
    truncation_cutoff
        Truncate only the first so many layers.
    out
        NAME.png. Without it mix-LAYERS-ROWS-COLUMNS.png in the run, and in the name what else was asked.
    best
        From the best save, not the newest, if the run was trained with --held-out.
    model
        The file of your own that the run was trained with, if it was one.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.
    listener
        Functions that are told of progress and messages.

    Returns where the grid is. Raises RunError or OptionError for what a person has to mend, such as a model with one layer.
    """
    import numpy as np

    across, down = parse_seeds(columns), parse_seeds(rows)
    if len(across) * len(down) > MOST_PICTURES:
        raise OptionError(f"mix: {len(down)} rows and {len(across)} columns are more than {MOST_PICTURES:,} pictures. Name fewer seeds.")
    found, loaded = open_model(run, best=best, model=model, device=device, listener=listener)
    said = asked_name(loaded, class_, attributes, truncation, truncation_cutoff)
    words = "mix", shortened(layers, 24), seeds_name(down), seeds_name(across), shortened(said, 24)
    target = check_target(Path(out) if out else found.path / file_name(best, words, ".png"), (".png",))
    asked = parse_attributes(attributes)
    seeds = (*across, *down)
    latents = loaded.latents(seeds, class_, asked, truncation=truncation, cutoff=truncation_cutoff)
    if latents.shape[1] == 1:
        raise OptionError(
            "mix: this model makes a picture of its noise as a whole, so no layer can come from another. Styles can be mixed, and BigGAN's "
            "noise where its layers have as much each."
        )
    taken = parse_layers(layers, latents.shape[1])
    top, side = latents[: len(across)], latents[len(across) :]
    cells = exchanged(side.repeat_interleave(len(across), 0), top.repeat(len(down), 1, 1), taken)
    conditions = loaded.conditions_of(seeds, class_, asked)
    told = None if conditions is None else conditions[len(across) :].repeat_interleave(len(across), 0)
    sources = loaded.render(latents, conditions)
    inner = loaded.render(cells, told).reshape(len(down), len(across), *sources.shape[1:])
    shown = np.full((len(down) + 1, len(across) + 1, *sources.shape[1:]), BLANK, np.uint8)
    shown[0, 1:], shown[1:, 0], shown[1:, 1:] = sources[: len(across)], sources[len(across) :], inner
    return write(target, sheet(shown.reshape(-1, *sources.shape[1:]), len(across) + 1))
