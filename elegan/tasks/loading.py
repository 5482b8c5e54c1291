"""A trained run as a generator that makes samples, loaded so that nothing in the run can run code or take all memory."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import OptionError, RunError, nearest
from elegan.tasks.options import convert

if TYPE_CHECKING:
    import numpy as np
    import torch

    from elegan.engine.average import Average
    from elegan.engine.run import Run
    from elegan.game import GAN, Attribute, LatentGAN, Recipe, Spec

    Samples = np.ndarray[tuple[int, ...], np.dtype[Any]]

CHUNK = 64
"""Samples are made so many at a time, always: the same numbers then go through the same arithmetic for each seed."""

MOST_SEEDS = 1_000_000
"""At one time: the pictures are in memory together."""

RANGE = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?")


@dataclass(frozen=True)
class Model:
    """A trained generator, ready to make samples. notes: what a person should know of how it was found."""

    gan: GAN
    step: int
    notes: tuple[str, ...] = ()

    @property
    def spec(self) -> Spec:
        return self.gan.spec

    def sample(
        self,
        seeds: str | int | Iterable[int],
        class_: str | int | None = None,
        attributes: Mapping[str, float] | None = None,
        *,
        truncation: float = 1.0,
        cutoff: int | None = None,
    ) -> Samples:
        """uint8 (n, h, w, c): one picture for each seed ("0-35", "1,2,5-10", a number, or numbers; an array or a tensor too).
        Of a model of points float64 (n, d), in the units of the data.

        Seed i is always the same picture. Without `class_` seed i is of class i modulo the number of classes; attributes
        that are not named are those of one of the training images, another for each of the first seeds. truncation, cutoff:
        as for `latents`. Raises OptionError for seeds, a class, attributes or a truncation that cannot be understood.
        """
        import numpy as np

        numbers = parse_seeds(seeds)
        conditions = self.conditions_of(numbers, class_, attributes)
        if truncation != 1 or cutoff is not None:
            return self.render(self.latents(numbers, class_, attributes, truncation=truncation, cutoff=cutoff), conditions)
        starts = range(0, len(numbers), CHUNK)
        parts = [None if conditions is None else conditions[i : i + CHUNK] for i in starts]
        return np.concatenate([self.chunk(numbers[i : i + CHUNK], part) for i, part in zip(starts, parts, strict=True)])

    def latents(
        self,
        seeds: str | int | Iterable[int],
        class_: str | int | None = None,
        attributes: Mapping[str, float] | None = None,
        *,
        truncation: float = 1.0,
        cutoff: int | None = None,
    ) -> torch.Tensor:
        """(n, layers, size), on the model's device: what the samples of these seeds follow from, to be changed and given to `render`.

        truncation: 1 leaves latents where they are; less, down to 0, moves styles towards their mean and keeps noise near 0, for
        likelier and more alike samples. cutoff: only in the first so many layers. Raises OptionError for a model without latents,
        a truncation outside 0 to 1, and a cutoff where there is nothing to cut.
        """
        import torch

        from elegan.randomness import SeedRandomness

        gan, numbers = self.walkable, parse_seeds(seeds)
        check_truncation(truncation)
        conditions = self.conditions_of(numbers, class_, attributes)
        found = []
        for part, told in in_chunks(numbers, conditions):
            with self.sampling(part) as device:
                random = SeedRandomness((*part, *[0] * (CHUNK - len(part))), device)
                found.append(gan.latents(random, None if told is None else told.to(device))[: len(part)])
        return self.truncated(torch.cat(found), conditions, truncation, cutoff)

    def truncated(
        self, latents: torch.Tensor, conditions: torch.Tensor | None, truncation: float, cutoff: int | None = None
    ) -> torch.Tensor:
        """Latents (n, layers, size) as `latents` has them with this truncation and cutoff."""
        import torch

        layers = latents.shape[1]
        if cutoff is not None:
            check_cutoff(cutoff, layers, truncation)
        if truncation == 1:
            return latents
        with self.sampling((0,)) as device:
            moved = self.walkable.truncated(latents, None if conditions is None else conditions.to(device), truncation)
        return moved if cutoff is None else torch.cat([moved[:, :cutoff], latents[:, cutoff:]], dim=1)

    def render(self, latents: torch.Tensor, conditions: torch.Tensor | None) -> Samples:
        """What `sample` gives, of latents (n, layers, size) and their conditions, as `conditions_of` has them."""
        import numpy as np

        gan, found = self.walkable, []
        for part, told in in_chunks(latents, conditions):
            with self.sampling((0,)) as device:
                samples = gan.render(padded(part).to(device), None if told is None else told.to(device))
                found.append(self.shown(samples[: len(part)]))
        return np.concatenate(found)

    @property
    def walkable(self) -> LatentGAN:
        """The model, if its samples follow from latents; else OptionError."""
        from elegan.game import LatentGAN

        if not isinstance(self.gan, LatentGAN):
            raise OptionError(
                "this model's samples follow from no latents that elegan knows: its GAN is no LatentGAN. "
                "Give it `latents`, `render` and `truncated` (see elegan/game.py), or only sample it, without --truncation."
            )
        return self.gan

    def conditions_of(
        self, seeds: tuple[int, ...], class_: str | int | None = None, attributes: Mapping[str, float] | None = None
    ) -> torch.Tensor | None:
        """What each seed is asked to be: class numbers (n,), attributes as the networks see them (n, k), or None."""
        import torch

        chosen = self.spec.conditions_of(seeds)
        if class_ is not None:
            return torch.full((len(seeds),), self.class_number(class_))
        for name, value in (attributes or {}).items():
            position = self.attribute_number(name)
            assert chosen is not None
            number = convert("attributes", value, float)
            row = [number if i == position else attribute.low for i, attribute in enumerate(self.spec.attributes)]
            chosen[:, position] = self.spec.scaled(torch.tensor([row], dtype=torch.float64))[0, position]
            if not bool(chosen.isfinite().all()):
                raise OptionError(f"--attributes: got {name}={value}, expected a number near those of the data.")
        return chosen

    def attribute_number(self, name: str) -> int:
        names = [attribute.name for attribute in self.spec.attributes]
        if not names:
            raise OptionError(f"--attributes {name}: this model knows no attributes; it was trained without --attributes.")
        if name not in names:
            raise OptionError(f"--attributes: there is no attribute {name!r}. {nearest(name, names)}")
        return names.index(name)

    def classes_of(self, seeds: tuple[int, ...], class_: str | int | None = None) -> tuple[int, ...]:
        """The class number of each seed; all 0 without classes."""
        if not self.spec.classes and class_ is None:
            return (0,) * len(seeds)
        conditions = self.conditions_of(seeds, class_)
        assert conditions is not None
        return tuple(conditions.tolist())

    def class_number(self, class_: str | int) -> int:
        """The class of this name. A number is a position too, where no class has a number for its name."""
        names, asked = self.spec.classes, str(class_)
        if not names:
            raise OptionError(f"--class {class_}: this model knows no classes, because it was trained without labels.")
        if asked in names:
            return names.index(asked)
        if not re.fullmatch("[0-9]{1,9}", asked):
            raise OptionError(f"--class: there is no class {class_!r}. {nearest(asked, names)}")
        if any(name.isdecimal() for name in names):
            raise OptionError(
                f"--class: there is no class named {asked}; with numbers for names, only names count. {nearest(asked, names)}"
            )
        if int(asked) >= len(names):
            raise OptionError(f"--class: there is no class {class_!r}, expected a name, or a position from 0 to {len(names) - 1}.")
        return int(asked)

    def chunk(self, seeds: tuple[int, ...], conditions: torch.Tensor | None) -> Samples:
        from elegan.randomness import SeedRandomness

        with self.sampling(seeds) as device:
            told = None if conditions is None else padded(conditions).to(device)
            samples = self.gan.sample(SeedRandomness((*seeds, *[0] * (CHUNK - len(seeds))), device), told)
        return self.shown(samples[: len(seeds)])

    @contextmanager
    def sampling(self, seeds: tuple[int, ...]) -> Iterator[torch.device]:
        """The device of the model, which is in here as samples are made; layers that draw numbers draw those of `seeds`."""
        from elegan.engine.average import sampling
        from elegan.randomness import key, layer_randomness

        device = next(self.gan.parameters()).device
        with sampling(self.gan), layer_randomness(key(*seeds, "layers"), device):
            yield device

    def shown(self, samples: torch.Tensor) -> Samples:
        from elegan.pictures import to_pixels

        return self.spec.points_of(samples).numpy() if self.spec.is_point else to_pixels(samples)


def in_chunks(values: Any, conditions: torch.Tensor | None) -> Iterator[tuple[Any, torch.Tensor | None]]:
    """At most CHUNK of the values at a time, and their conditions, with zeros up to CHUNK."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK], None if conditions is None else padded(conditions[start : start + CHUNK])


def padded(rows: torch.Tensor) -> torch.Tensor:
    """(n, ...) -> (CHUNK, ...), with zeros."""
    import torch.nn.functional as F

    return F.pad(rows, [0, 0] * (rows.dim() - 1) + [0, CHUNK - len(rows)])


def check_truncation(truncation: float) -> None:
    if not 0 <= truncation <= 1:
        raise OptionError(f"--truncation: got {truncation}, expected a number from 0 (the mean alone) to 1 (all there is).")


def check_cutoff(cutoff: int, layers: int, truncation: float) -> None:
    """OptionError unless the first `cutoff` of so many layers can be truncated alone."""
    if layers == 1:
        raise OptionError("--truncation-cutoff: this model's latents have one layer, so there are no first ones. Leave it out.")
    if not 1 <= cutoff <= layers:
        raise OptionError(f"--truncation-cutoff: got {cutoff}, expected from 1 to {layers}, the layers of this model.")
    if truncation == 1:
        raise OptionError("--truncation-cutoff makes no difference without a --truncation below 1.")


def parse_seeds(seeds: str | int | Iterable[int]) -> tuple[int, ...]:
    """ "0-3" -> (0, 1, 2, 3); "1,2,5-7" -> (1, 2, 5, 6, 7); a whole number, or an array, a tensor, a range of such, as it is.

    OptionError for anything else, for none at all, and for seeds outside 0 to 2**63 - 1.
    """
    try:
        found = parse_ranges(seeds) if isinstance(seeds, str) else whole_numbers(seeds)
        numbers = tuple(islice(found, MOST_SEEDS + 1))
    except (TypeError, ValueError) as error:
        said = repr(seeds[:100]) if isinstance(seeds, str) else f"{type(seeds).__name__} that is not made of whole numbers"
        raise OptionError(f"--seeds: got {said}, expected numbers and ranges such as 0-35 or 1,2,5-10.") from error
    if len(numbers) > MOST_SEEDS:
        raise OptionError(f"--seeds: got more than {MOST_SEEDS:,} seeds. Make them in parts.")
    if not numbers:
        raise OptionError("--seeds: got none, expected at least one, such as 0.")
    for number in numbers:
        if not 0 <= number < 2**63:
            raise OptionError(f"--seeds: got {number:.4g}, expected numbers from 0 to 2**63 - 1.")
    return numbers


def parse_ranges(text: str) -> Iterator[int]:
    """ValueError where `text` is not made of numbers and ranges."""
    for part in text.split(","):
        found = RANGE.fullmatch(part.strip())
        if found is None:
            raise ValueError
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ValueError
        yield from range(first, last + 1)


def whole_numbers(seeds: int | Iterable[int]) -> Iterator[int]:
    """TypeError where something is no whole number: 1.0 is none."""
    try:
        return iter((operator.index(seeds),))  # type: ignore[arg-type]
    except TypeError:
        return map(operator.index, iter(seeds))  # type: ignore[arg-type]


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
