"""Given images as a trained model sees them: their latents, how near its samples come, and the images edited."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from elegan.errors import DataError, OptionError
from elegan.tasks.directions import moved_by, packed, saved_directions
from elegan.tasks.exploring import make_folder, open_model, sheet, write
from elegan.tasks.likeness import as_seen, discriminator_features, distances, nearest_training, psnrs
from elegan.tasks.options import convert, number
from elegan.tasks.sample import parse_attributes

if TYPE_CHECKING:
    import torch

    from elegan.engine.loop import Listener
    from elegan.explore.projection import Projection
    from elegan.game import GAN
    from elegan.pictures import Pixels
    from elegan.tasks.model import Model

SpaceName = Literal["auto", "w", "w+", "noise"]
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
MOST_IMAGES = 256
PART = 16
"""Images are projected so many at a time."""

EDIT_STEPS = 5
SHOWN = ("projection", "mean latent", "nearest training image")


@dataclass(frozen=True)
class Projected:
    """How near a model's samples come to given images.

    psnr, distances: by what is compared with the image, for each image; in dB (infinite for equal pictures), and as the loss has it.
    """

    space: str
    images: tuple[str, ...]
    psnr: dict[str, tuple[float, ...]]
    distances: dict[str, tuple[float, ...]]
    pictures: dict[str, str]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        finite = {name: [value if isfinite(value) else None for value in values] for name, values in self.psnr.items()}
        return {**vars(self), "psnr": finite}

    def lines(self) -> list[str]:
        width, names = max(map(len, (*self.images, "PSNR in dB, and distance"))), list(self.psnr)
        table = [f"{'PSNR in dB, and distance':{width}}" + "".join(f"  {name:>22}" for name in names)]
        for i, image in enumerate(self.images):
            cells = [f"{self.psnr[name][i]:.2f}  {self.distances[name][i]:.4f}" for name in names]
            table.append(f"{image:{width}}" + "".join(f"  {cell:>22}" for cell in cells))
        return [*table, *self.notes, *(f"{name}: {path}" for name, path in self.pictures.items())]


def project(
    run: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    space: SpaceName = "auto",
    steps: int = 300,
    edit: str | None = None,
    class_: str | None = None,
    attributes: str | None = None,
    data: str | None = None,
    out: str | Path | None = None,
    best: bool = False,
    model: str | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> Projected:
    """Find the latents of IMAGES, a file or a folder, in a trained RUN: a picture of both, a table, and a file.

    Parameters
    ----------
    run
        A run directory, or the name of one in ./runs.
    images
        An image file, or a folder of them. They are brought to size as the data was.
    space
        Of a model of styles: w, one style for all layers, whose edits look best, or w+, a style for each layer, which comes
        nearer. Of any other: noise. auto takes w+, or noise.
    steps
        Steps of the search; 0 takes the nearest of some hundred samples.
    edit
        Move what was found along directions that `elegan directions` has saved: 0:2.0, or several, 0:2.0,3:-1.5.
    class_
        What a model that was trained with classes is told. Without it that of the nearest of some hundred samples.
    attributes
        The same for a model trained with --attributes: age=30,smiling=1.
    data
        The training images, if they are not where they were, for the nearest of them.
    out
        A folder. Without it `projections` in the run.
    best
        From the best save, not the newest, if the run was trained with --held-out.
    model
        The file of your own that the run was trained with, if it was one.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.
    listener
        Functions that are told of progress and messages.

    Returns how near the found samples, the mean latent's and the nearest training images come, and where pictures and latents are.
    Raises DataError, RunError or OptionError for what a person has to mend.
    """
    import numpy as np

    from elegan.engine.loop import Listener

    listener = listener or Listener()
    if not 0 <= steps <= 100_000:
        raise OptionError(f"--steps: got {steps}, expected a number from 0 to 100,000.")
    found, loaded = open_model(run, best=best, model=model, device=device, listener=listener)
    chosen = chosen_space(convert("space", space, SpaceName), loaded.gan)
    edits = parse_edits(edit)
    names, originals = read_images(Path(images), loaded, str(found.config.get("fit", "crop")))
    shape = tuple(loaded.latents("0").shape[1:])
    vectors = chosen_vectors(saved_directions(found, best, (shape[0], shape[1])), edits) if edits else None
    conditions = None
    if class_ is not None or attributes is not None:
        conditions = loaded.conditions_of((0,) * len(names), class_, parse_attributes(attributes))
    folder = Path(out) if out else found.path / f"{'best-' if best else ''}projections"
    make_folder(folder)

    made = projected(loaded, originals, conditions, chosen, steps, listener)
    notes: list[str] = []
    pictures = {SHOWN[0]: loaded.render(made.latents, made.condition), SHOWN[1]: loaded.render(made.mean, made.condition)}
    if (near := nearest_training(found, loaded, originals, data, notes, listener)) is not None:
        pictures[SHOWN[2]] = near
    rows = np.stack([originals, *pictures.values()], axis=1).reshape(-1, *originals.shape[1:])
    tensors = {"latents": made.latents} if made.condition is None else {"latents": made.latents, "conditions": made.condition}
    files = {
        "original, " + ", ".join(pictures): write(folder / "projections.png", sheet(rows, 1 + len(pictures))),
        "latents": write(folder / "latents.safetensors", packed(tensors, chosen)),
    }
    if vectors is not None:
        files[f"edited by {edit}"] = write(folder / "edits.png", sheet(edited(loaded, made, vectors), EDIT_STEPS))
    features = discriminator_features(loaded.gan)
    psnr = {name: psnrs(one, originals) for name, one in pictures.items()}
    far = {name: distances(loaded, one, originals, features) for name, one in pictures.items()}
    return Projected(chosen, names, psnr, far, {name: str(path) for name, path in files.items()}, tuple(notes))


def edited(model: Model, made: Projection, vectors: torch.Tensor) -> Pixels:
    """For each image and each edit a row of pictures, from what was found to all of the edit."""
    moved = moved_by(made.latents, vectors, [step / (EDIT_STEPS - 1) for step in range(EDIT_STEPS)])
    told = None if made.condition is None else made.condition.repeat_interleave(len(vectors) * EDIT_STEPS, 0)
    return model.render(moved.transpose(0, 1).flatten(0, 2), told)


def chosen_space(space: str, gan: GAN) -> Literal["w", "w+", "noise"]:
    from elegan.rules.styled import Styled

    styled = isinstance(gan, Styled)
    if space == "auto":
        return "w+" if styled else "noise"
    if styled == (space == "noise"):
        said = "has styles: use w or w+" if styled else "has no styles: use noise"
        raise OptionError(f"--space {space}: this model {said}.")
    return space  # type: ignore[return-value]


def parse_edits(said: str | None) -> list[tuple[int, float]]:
    """ "0:2.0,3:-1.5" -> [(0, 2.0), (3, -1.5)]; OptionError for anything else."""
    found = []
    for part in (said or "").split(",") if said else []:
        direction, _, strength = part.partition(":")
        try:
            found.append((number(direction.strip(), int), float(strength)))
        except (ValueError, TypeError, OverflowError) as error:
            raise OptionError(f"--edit: got {part.strip()[:100]!r}, expected DIRECTION:STRENGTH, such as 0:2.0.") from error
        if not isfinite(found[-1][1]):
            raise OptionError(f"--edit: got {part.strip()!r}, expected a strength that is a number.")
    return found


def chosen_vectors(vectors: torch.Tensor, edits: list[tuple[int, float]]) -> torch.Tensor:
    """(edits, layers, size): each direction times its strength."""
    import torch

    for direction, _ in edits:
        if not 0 <= direction < len(vectors):
            raise OptionError(
                f"--edit: there is no direction {direction}, expected 0 to {len(vectors) - 1}; --count of `directions` finds more."
            )
    return torch.stack([strength * vectors[direction] for direction, strength in edits])


def read_images(where: Path, model: Model, fit: str) -> tuple[tuple[str, ...], Pixels]:
    """Names and pixels uint8 (n, h, w, c), as the model's samples are; DataError for what is not there or is no image."""
    import numpy as np

    from elegan.data.images import Unreadable, decode, quiet

    if not where.exists():
        raise DataError(f"{where} is not there; expected an image or a folder of images.")
    files = sorted(path for path in where.iterdir() if path.suffix.lower() in ENDINGS) if where.is_dir() else [where]
    if not 1 <= len(files) <= MOST_IMAGES:
        raise DataError(f"{where} holds {len(files)} images ({', '.join(sorted(ENDINGS))}), expected 1 to {MOST_IMAGES}.")
    spec, found = model.spec, []
    for path in files:
        try:
            with quiet():
                raw = decode(path.read_bytes(), (spec.height, spec.width), spec.channels, fit)
        except (OSError, Unreadable) as error:
            raise DataError(f"{path} cannot be used: {error}. Mend it or leave it out.") from error
        found.append(np.frombuffer(raw, np.uint8).reshape(spec.height, spec.width, spec.channels))
    return tuple(path.name for path in files), np.stack(found)


def projected(
    model: Model, pixels: Pixels, conditions: torch.Tensor | None, space: Literal["w", "w+", "noise"], steps: int, listener: Listener
) -> Projection:
    import torch

    from elegan.explore.projection import Projection, project

    target, features, parts = as_seen(model, pixels), discriminator_features(model.gan), list[Projection]()
    starts = range(0, len(target), PART)
    for done_before, start in enumerate(starts):
        part = slice(start, start + PART)
        told = None if conditions is None else conditions[part].to(target.device)

        def progress(done: int, total: int, before: int = done_before) -> None:
            listener.measuring(before * total + done, len(starts) * total)

        parts.append(project(model.walkable, target[part], told, space=space, features=features, steps=steps, progress=progress))
    told = None if parts[0].condition is None else torch.cat([part.condition for part in parts if part.condition is not None])
    joined = (torch.cat([getattr(part, name) for part in parts]) for name in ("latents", "mean", "distances"))
    latents, mean, found = joined
    return Projection(latents, mean, None if told is None else told.cpu(), found)
