"""What the commands share that explore a trained model: opening it, which layers are meant, and where the result goes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from elegan.errors import OptionError, RunError
from elegan.tasks.loading import load, spec_of
from elegan.tasks.model import Model
from elegan.tasks.seeds import parse_ranges

if TYPE_CHECKING:
    import torch

    from elegan.engine.loop import Listener
    from elegan.engine.run import Run
    from elegan.pictures import Pixels

PARTS = ("coarse", "middle", "fine")
MOST_IN_PART = 4
"""Coarse and middle layers each, as in Karras et al. (2019, figure 3)."""


def open_model(run: str | os.PathLike[str], *, best: bool, model: str | None, device: str, listener: Listener | None) -> tuple[Run, Model]:
    """A run and its model, whose samples are images that follow from latents; OptionError for another."""
    from elegan.engine.run import find_run

    found = find_run(run)
    if spec_of(found).is_point:
        raise OptionError(f"{found.path} makes points; latents are explored by what images they give. `elegan sample` shows points.")
    loaded = load(found, model=model, best=best, device=device)
    _ = loaded.walkable
    for note in loaded.notes if listener is not None else ():
        listener.message(note)  # type: ignore[union-attr]
    return found, loaded


def parse_layers(said: str | None, count: int) -> tuple[int, ...]:
    """ "0-3", "1,4", "coarse", "middle" or "fine" -> numbers of layers, each once, in order; all without a word.

    Coarse is the first third, but at most 4 layers, middle the next as many, and fine the rest. OptionError for a layer that a
    model of `count` layers does not have, and for any choice among one.
    """
    if said is None:
        return tuple(range(count))
    if count == 1:
        raise OptionError(f"--layers {said}: this model's latents have one layer, so there is nothing to choose among. Leave it out.")
    if said in PARTS:
        step = min(MOST_IN_PART, max(1, count // 3))
        bounds = (0, step, 2 * step, count)
        at = PARTS.index(said)
        if bounds[at] >= bounds[at + 1]:
            raise OptionError(f"--layers {said}: this model has {count} layers, too few for that. Name them by number, from 0.")
        return tuple(range(bounds[at], bounds[at + 1]))
    try:
        found = sorted(set(parse_ranges(said)))
    except ValueError as error:
        raise OptionError(f"--layers: got {said[:100]!r}, expected coarse, middle, fine, or numbers such as 0-3 or 1,4.") from error
    if found[-1] >= count:
        raise OptionError(f"--layers: got {found[-1]}, and this model's layers are 0 to {count - 1}.")
    return tuple(found)


def parse_table(flag: str, said: str) -> tuple[int, int]:
    """ "4x2" -> (4, 2), rows and columns; OptionError for anything else."""
    rows, _, columns = said.partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and 0 < int(rows) <= 100 and 0 < int(columns) <= 100):
        raise OptionError(f"{flag}: got {said!r}, expected rows and columns from 1 to 100, such as 4x2.")
    return int(rows), int(columns)


def exchanged(latents: torch.Tensor, others: torch.Tensor, layers: tuple[int, ...]) -> torch.Tensor:
    """Latents (n, layers, size) with these layers of `others` in place of their own."""
    mixed = latents.clone()
    mixed[:, list(layers)] = others[:, list(layers)]
    return mixed


def file_name(best: bool, words: Iterable[str], ending: str) -> str:
    """The name of a result without --out: its words, less the empty ones, joined by -."""
    return "-".join(filter(None, ("best" if best else "", *words))) + ending


def check_target(target: Path, forms: tuple[str, ...]) -> Path:
    """`target`; OptionError for a kind of file that is not made, RunError where a folder stands in its place."""
    if target.suffix.lower() not in forms:
        raise OptionError(f"--out: {target} cannot be made, only NAME{', NAME'.join(forms)}.")
    if target.is_dir():
        raise RunError(f"{target} is a folder, and a {target.suffix} file is to be written there. Choose another name with --out.")
    return target


def write(target: Path, content: bytes) -> Path:
    """`content` at `target`, in a folder that is made if need be; RunError if it cannot be written."""
    from elegan.engine.checkpoint import write_file

    make_folder(target.parent)
    write_file(target, content)
    return target


def make_folder(folder: Path) -> None:
    from elegan.engine.checkpoint import reason

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"could not make {folder}: {reason(error)}. Choose another place with --out.") from error


def sheet(pixels: Pixels, columns: int) -> bytes:
    """Pictures (n, h, w, c) row by row as a PNG, each with a side of at least `CELL` pixels."""
    from elegan.pictures import grid, png

    shorter = min(-(-len(pixels) // columns) * (pixels.shape[1] + 1), columns * (pixels.shape[2] + 1))
    scale = -(-CELL // min(pixels.shape[1:3]))
    return png(grid(pixels, columns, smallest_side=scale * (shorter - 1)))


CELL = 64
