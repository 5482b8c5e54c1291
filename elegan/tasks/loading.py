"""A trained run as a generator, loaded so that nothing in the run can run code or take all memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import OptionError, RunError
from elegan.tasks.model import Model

if TYPE_CHECKING:
    import torch

    from elegan.engine.average import Average
    from elegan.engine.run import Run
    from elegan.game import GAN, Attribute, Recipe, Spec


def load(run: str | os.PathLike[str], *, model: str | os.PathLike[str] | None = None, best: bool = False, device: str = "auto") -> Model:
    """The generator of a run (a run directory, a run's name in `runs`, or a Run), at its newest whole save.

    best: at its best save instead, if it was trained with `held_out`. model: the file the run was trained with, if it was a
    file of your own: code is never taken from a run directory.
    Raises RunError if there is no such run or no whole save, or if its files do not belong together; OptionError for a
    model or a device that is not here. PyTorch's random numbers are afterwards what they were.
    """
    import torch

    from elegan.engine.loop import load_weights
    from elegan.engine.run import find_run
    from elegan.randomness import layer_randomness
    from elegan.tasks.job import find_device

    found, chosen = find_run(run), find_device(device)
    with layer_randomness(0, torch.device("cpu")):
        recipe = recipe_of_run(found, None if model is None else os.fspath(model))
        tensors, step, notes = best_weights(found) if best else newest_weights(found.checkpoint_folder)
        check_fit(recipe, tensors, found)
        gan, average = build(recipe, found)
        load_weights(gan, average, tensors)
    gan = (average.view(gan) if average else gan).to(chosen, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(gan, step, notes)


def best_weights(run: Run) -> tuple[dict[str, torch.Tensor], int, tuple[str, ...]]:
    from elegan.tasks.watch import BEST

    if not (run.path / BEST).is_dir():
        raise RunError(f"{run.path} has no best save: it was trained without --held-out. Leave --best out for the newest.")
    return newest_weights(run.path / BEST)


def newest_weights(folder: Path) -> tuple[dict[str, torch.Tensor], int, tuple[str, ...]]:
    """The weights of the newest whole save, its step, and a note for each newer one that is damaged.

    Only the weights are read: a run that is handed on needs no optimizers. RunError if no save is whole.
    """
    from elegan.engine import checkpoint

    notes: list[str] = []
    for path in checkpoint.checkpoints(folder):
        try:
            files, meta = checkpoint.load(path, ("weights",))
            return files["weights"], int(meta["step"]), tuple(notes)
        except RunError as error:
            notes.append(f"{path.name}: {error} Falling back to the save before it.")
        except (KeyError, TypeError, ValueError, OverflowError):
            notes.append(f"{path.name}: its meta.json does not say which step it is. Falling back to the save before it.")
    reasons = " ".join(notes).replace(" Falling back to the save before it.", "")
    raise RunError(f"{folder} has no whole save. {reasons or 'Train it first.'}")


def build(recipe: Recipe, run: Run) -> tuple[GAN, Average | None]:
    """The networks of a run and their average, not yet filled; RunError if they cannot be made."""
    from elegan.engine.average import Average
    from elegan.game import GAN

    try:
        gan = recipe.build()
    except Exception as error:  # a model's code may raise anything
        said = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"  # PyTorch adds its own stack
        raise RunError(f"the networks that {run.path / 'config.yaml'} describes could not be built: {said}") from error
    if not isinstance(gan, GAN):
        raise RunError(f"the model of {run.path} builds {type(gan).__name__}, expected a GAN of elegan.")
    return gan, Average(gan, recipe.average_half_life) if recipe.average_half_life else None


def check_fit(recipe: Recipe, tensors: Mapping[str, torch.Tensor], run: Run) -> None:
    """RunError if a run's options describe other networks than were saved.

    Told from names and shapes alone, before memory is taken: a stranger's options may ask for more than there is.
    """
    import torch

    try:
        with torch.device("meta"):
            gan, average = build(recipe, run)
        parts = {"gan.": gan, "average.": average} if average else {"gan.": gan}
        described = {prefix + name: value.shape for prefix, part in parts.items() for name, value in part.state_dict().items()}
    except Exception as error:
        if "overflow" in str(error).lower():  # a network of more than 2**63 bytes
            raise RunError(
                f"{run.path / 'config.yaml'} does not fit the saved weights: its networks are too large. Was it edited? Restore it."
            ) from error
        return  # a model that computes with values while it is built cannot be had without them
    saved = {name: value.shape for name, value in tensors.items()}
    for name in [*described, *saved]:
        if described.get(name) != saved.get(name):
            raise RunError(
                f"{run.path / 'config.yaml'} does not fit the saved weights: {name} is {shape_text(described.get(name))} by the options, "
                f"{shape_text(saved.get(name))} in the save. Was it edited, or the model's file exchanged? Restore it."
            )


def shape_text(shape: Sequence[int] | None) -> str:
    return "not there" if shape is None else "x".join(map(str, shape)) or "one number"


def recipe_of_run(run: Run, model: str | None) -> Recipe:
    """The recipe that a run's files describe; RunError if they do not describe one."""
    from elegan.tasks.recipes import find_recipe

    config, spec = run.config, spec_of(run)
    named = config["model"]
    if named.endswith(".py") and model is None:
        raise RunError(f"this run was trained with {named}. Give that file with --model, if you trust it.")
    found = find_recipe(model or named)
    try:
        return found.make(spec, found.resolve({}, {name: config[name] for name in found.parameters if name in config}))
    except OptionError as error:
        raise RunError(f"{run.path / 'config.yaml'} describes no model: {error} Restore it.") from error


def spec_of(run: Run) -> Spec:
    """What a sample of this run is, by its record; RunError if it does not say."""
    import torch

    from elegan.data.planning import LARGEST, SMALLEST
    from elegan.game import Spec

    described = run.record.get("spec")
    values = described if isinstance(described, dict) else {}
    if values.get("axes"):
        return spec_of_points(run, values)
    wanted = {"channels": (1, 4), "height": (SMALLEST, LARGEST), "width": (SMALLEST, LARGEST)}
    for name, (least, most) in wanted.items():
        value = values.get(name)
        if type(value) is not int or not least <= value <= most:
            raise RunError(f"{run.path / 'record.json'} does not say what a sample is: spec.{name} is no number from {least} to {most}.")
    classes = values.get("classes")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise RunError(f"{run.path / 'record.json'} does not say what a sample is: spec.classes is no list of names.")
    try:
        attributes = tuple(attribute_of(one) for one in values.get("attributes", []))
        spec = Spec(values["channels"], values["height"], values["width"], tuple(classes), attributes)
        if attributes and not bool(torch.isfinite(spec.conditions_of(range(len(attributes[0].examples)))).all()):  # type: ignore[arg-type]
            raise ValueError("numbers too large")
    except (TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError) as error:
        raise RunError(f"{run.path / 'record.json'} does not say what a sample is: spec.attributes is damaged.") from error
    return spec


def spec_of_points(run: Run, described: Mapping[str, Any]) -> Spec:
    from elegan.data.points import LARGEST
    from elegan.game import Axis, Spec

    try:
        axes = tuple(Axis(str(one["name"]), float(one["centre"]), float(one["scale"])) for one in described["axes"])
        if len(axes) > LARGEST or not all(isfinite(axis.centre) and 0 < axis.scale < inf for axis in axes):
            raise ValueError("no axes")
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise RunError(f"{run.path / 'record.json'} does not say what a sample is: spec.axes is damaged.") from error
    return Spec(len(axes), 1, 1, axes=axes)


def attribute_of(described: Mapping[str, Any]) -> Attribute:
    """An attribute as a record describes it; TypeError or ValueError for one that cannot be."""
    from elegan.game import Attribute

    found = Attribute(**{**described, "examples": tuple(map(float, described["examples"]))})
    if not isinstance(found.name, str) or not all(map(isfinite, (found.low, found.high, *found.examples))):
        raise ValueError(found.name)
    return found
