"""Directions in a trained model's latents along which its images change most, found without labels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from elegan.errors import OptionError, RunError
from elegan.tasks.exploring import check_target, open_model, parse_layers, sheet, write
from elegan.tasks.options import convert
from elegan.tasks.sample import parse_attributes
from elegan.tasks.seeds import parse_seeds

if TYPE_CHECKING:
    import torch

    from elegan.engine.loop import Listener
    from elegan.engine.run import Run
    from elegan.explore.directions import Directions
    from elegan.tasks.model import Model

SAMPLES = {"styles": 10_000, "noise": 1000}
"""Latents whose spread, or principal components, are taken; those of noise are rendered."""

MEASURED = 64
"""Samples on which the change of a direction is measured."""

MethodName = Literal["factorisation", "pca"]


@dataclass(frozen=True)
class FoundDirections:
    """Directions of a run, in the order of their share.

    shares: of the squared weights ("factorisation") or of the variance ("pca"). changes: the mean absolute change of a pixel, in
    levels of 255, for a step of strength 1 either way. picture: a row for each. file: the vectors, for `project`.
    """

    method: str
    layers: tuple[int, ...]
    shares: tuple[float, ...]
    changes: tuple[float, ...]
    picture: str
    file: str

    def as_dict(self) -> dict[str, Any]:
        return vars(self)

    def lines(self) -> list[str]:
        kind = "of variance" if self.method == "pca" else "of weights"
        rows = [f"{i:>9}  {100 * s:>9.1f}%  {c:>15.1f}" for i, (s, c) in enumerate(zip(self.shares, self.changes, strict=True))]
        said = [f"Picture, a row for each, blocks for seeds: {self.picture}", f"Vectors, for `elegan project --edit`: {self.file}"]
        return [f"direction  {kind:>10}  change at 1, of 255", *rows, *said]


def directions(
    run: str | os.PathLike[str],
    *,
    method: MethodName = "factorisation",
    count: int = 8,
    strengths: int = 5,
    reach: float = 3.0,
    layers: str | None = None,
    seeds: str | int = "0-3",
    class_: str | None = None,
    attributes: str | None = None,
    truncation: float = 1.0,
    out: str | Path | None = None,
    best: bool = False,
    model: str | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> FoundDirections:
    """Find directions in which the samples of a trained RUN change most: a picture, a table, and a file for `elegan project`.

    Parameters
    ----------
    run
        A run directory, or the name of one in ./runs.
    method
        factorisation takes them from the weights of the layers that latents enter (Shen and Zhou, 2021); pca from the
        variance of styles, or of what the first layers make of noise (Härkönen et al., 2020).
    count
        How many.
    strengths
        How many strengths are shown, from -reach to reach.
    reach
        The largest strength: 1 is a standard deviation of the latents, with pca of styles that along the direction itself.
    layers
        Only these layers of the latents are moved: 0-3, coarse, middle or fine.
    seeds
        The samples that are shown moved, a block of columns for each.
    class_
        Only this class, by name or, if no class is named by a number, by its position from 0.
    attributes
        Values such as age=30,smiling=1 for a model trained with --attributes.
    truncation
        Of the samples that are shown, as for `elegan sample`.
    out
        NAME.png for the picture. Without it directions.png in the run, where directions.safetensors always is.
    best
        From the best save, not the newest, if the run was trained with --held-out.
    model
        The file of your own that the run was trained with, if it was one.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.
    listener
        Functions that are told of progress and messages.

    Returns the directions' shares and changes, and where picture and vectors are. Raises RunError or OptionError for what a person
    has to mend.
    """
    method = convert("method", method, MethodName)
    for name, value in (("count", count), ("strengths", strengths)):
        if not 1 <= value <= 1000:
            raise OptionError(f"--{name}: got {value}, expected a number from 1 to 1000.")
    if not 0 < reach < inf:
        raise OptionError(f"--reach: got {reach}, expected a strength above 0.")
    numbers = parse_seeds(seeds)
    found, loaded = open_model(run, best=best, model=model, device=device, listener=listener)
    target = check_target(Path(out) if out else found.path / f"{'best-' if best else ''}directions.png", (".png",))
    asked = parse_attributes(attributes)
    computed, chosen = compute(loaded, method, count, layers, class_, asked)
    latents = loaded.latents(numbers, class_, asked, truncation=truncation)
    conditions = loaded.conditions_of(numbers, class_, asked)
    draw(target, loaded, latents, conditions, computed.vectors, steps(strengths, reach))
    tensors = {"directions": computed.vectors, "shares": computed.shares.float()}
    file = write(directions_file(found, best), packed(tensors, method))
    changes = measure(loaded, computed.vectors, class_, asked)
    return FoundDirections(method, chosen, tuple(computed.shares.tolist()), changes, str(target), str(file))


def compute(
    model: Model, method: str, count: int, layers: str | None, class_: str | None, attributes: dict[str, float]
) -> tuple[Directions, tuple[int, ...]]:
    from elegan.explore.directions import factorised, principal
    from elegan.rules.styled import Styled

    gan, alike = model.walkable, isinstance(model.gan, Styled)
    seeds = range(SAMPLES["styles" if alike else "noise"])
    latents, conditions = model.latents(seeds, class_, attributes), model.conditions_of(tuple(seeds), class_, attributes)
    chosen = parse_layers(layers, latents.shape[1])
    most = latents.shape[2] * (1 if alike else len(chosen))
    if count > most:
        raise OptionError(f"--count: got {count}, and there are only {most} directions that are at right angles to each other.")
    find = principal if method == "pca" else factorised
    try:
        return find(gan, latents, conditions, chosen, count, alike=alike), chosen
    except ValueError as error:
        raise OptionError(f"--method {method}: {error}, so this model has no such directions. Try the other method.") from error


def steps(count: int, reach: float) -> list[float]:
    """`count` even numbers from -reach to reach; reach alone if it is one."""
    return [reach] if count == 1 else [reach * (2 * i / (count - 1) - 1) for i in range(count)]


def draw(
    target: Path, model: Model, latents: torch.Tensor, conditions: torch.Tensor | None, vectors: torch.Tensor, strengths: list[float]
) -> None:
    """A row for each direction; in it for each sample its picture moved by each strength."""
    moved = moved_by(latents, vectors, strengths)
    told = (
        None if conditions is None else conditions.repeat_interleave(len(strengths), 0).repeat(len(vectors), *[1] * (conditions.dim() - 1))
    )
    write(target, sheet(model.render(moved.flatten(0, 2), told), len(latents) * len(strengths)))


def moved_by(latents: torch.Tensor, vectors: torch.Tensor, strengths: list[float]) -> torch.Tensor:
    """Latents (n, layers, size) -> (directions, n, strengths, layers, size)."""
    by = latents.new_tensor(strengths)[:, None, None]
    return latents[None, :, None] + by * vectors.to(latents)[:, None, None]


def measure(model: Model, vectors: torch.Tensor, class_: str | None, attributes: dict[str, float]) -> tuple[float, ...]:
    """How far a pixel moves on average, in levels of 255, when latents move by each direction at strength 1 and -1."""
    import numpy as np

    latents, conditions = (
        model.latents(range(MEASURED), class_, attributes),
        model.conditions_of(tuple(range(MEASURED)), class_, attributes),
    )
    before = model.render(latents, conditions).astype(np.float64)
    return tuple(
        float(np.mean([np.abs(model.render(latents + sign * vector, conditions) - before).mean() for sign in (1, -1)]))
        for vector in vectors.to(latents)
    )


def directions_file(run: Run, best: bool) -> Path:
    return run.path / f"{'best-' if best else ''}directions.safetensors"


def packed(tensors: dict[str, torch.Tensor], method: str) -> bytes:
    import safetensors.torch

    return safetensors.torch.save({name: value.cpu().contiguous() for name, value in tensors.items()}, {"method": method})


def saved_directions(run: Run, best: bool, shape: tuple[int, int]) -> torch.Tensor:
    """The vectors (k, layers, size) that `directions` found of this run; RunError if there are none that fit."""
    import safetensors
    import safetensors.torch

    path = directions_file(run, best)
    if not path.is_file():
        raise RunError(f"{run.path} has no {path.name}. Make it with: elegan directions {run.path}{' --best' if best else ''}")
    try:
        found = safetensors.torch.load(path.read_bytes())["directions"]
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise RunError(f"{path} holds no directions: {error}. Make it anew with: elegan directions {run.path}") from error
    if found.dim() != 3 or tuple(found.shape[1:]) != shape or not found.is_floating_point():
        raise RunError(
            f"{path} holds {tuple(found.shape)}, and this model's latents are {shape}. Make it anew: elegan directions {run.path}"
        )
    return found.float()
