"""Finding a recipe by its name or in a user's file, and turning words into its options."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from elegan import gans
from elegan.errors import OptionError, nearest

if TYPE_CHECKING:
    from elegan.game import Preset, Recipe, Spec

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class RecipeModule:
    """A variant: its name, its `recipe` function and its presets."""

    name: str
    module: types.ModuleType

    @property
    def presets(self) -> dict[str, Preset]:
        presets: dict[str, Preset] = getattr(self.module, "PRESETS", {})
        return presets

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.module) or "").split("\n")[0]

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The options: what comes after `spec` in the signature."""
        return dict(list(inspect.signature(self.module.recipe).parameters.items())[1:])

    @property
    def types(self) -> dict[str, Any]:
        return typing.get_type_hints(self.module.recipe)

    def preset_for(self, spec: Spec) -> str:
        """The preset made for images of this size; "none" if there is none."""
        side = min(spec.height, spec.width)
        fitting = [name for name, preset in self.presets.items() if preset.sides[0] <= side <= preset.sides[1]]
        return fitting[0] if fitting else "none"

    def resolve(self, preset: str, given: Mapping[str, object], other_flags: Iterable[str] = ()) -> dict[str, Any]:
        """All options: the signature's defaults, then the preset's, then what was given, as the types ask.

        OptionError for a name that is no option; `other_flags` are names that were possibly meant.
        """
        if preset != "none" and preset not in self.presets:
            raise OptionError(f"--preset: {self.name} has no preset {preset!r}. {nearest(preset, [*self.presets, 'none'])}")
        known = self.parameters
        for name in given:
            if name not in known:
                meant = nearest(dashed(name), map(dashed, {*known, *other_flags}))
                raise OptionError(f"{self.name} has no option --{dashed(name)}. {meant}")
        defaults = {name: parameter.default for name, parameter in known.items()}
        chosen = dict(self.presets[preset].options) if preset != "none" else {}
        typed = {name: convert(name, value, self.types[name]) for name, value in given.items()}
        for name, value in typed.items():
            check_range(name, value, defaults[name])
        return {**defaults, **chosen, **typed}

    def make(self, spec: Spec, options: Mapping[str, Any]) -> Recipe:
        recipe: Recipe = self.module.recipe(spec, **options)
        return recipe


def find_recipe(name: str) -> RecipeModule:
    """The variant of this name, or the one in this file (`mine.py`); OptionError with the nearest name otherwise."""
    if name.endswith(".py"):
        return load_file(Path(name))
    if name not in gans.names():
        raise OptionError(f"--model: there is no model {name!r}. {nearest(name, gans.names())} A file of your own ends in .py.")
    return RecipeModule(name, importlib.import_module(f"elegan.gans.{name}"))


def load_file(path: Path) -> RecipeModule:
    if not path.is_file():
        raise OptionError(f"--model: there is no file {path}.")
    specification = importlib.util.spec_from_file_location(f"elegan_model_{path.stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise OptionError(f"--model: {path} could not be loaded: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "recipe", None)):
        raise OptionError(f"--model: {path} has no function recipe(spec, *, ...) -> Recipe.")
    return RecipeModule(path.stem, module)


def file_digest(name: str) -> str:
    """A hash of a user's file, so that a changed file makes another run; empty for a built-in model."""
    return hashlib.sha256(Path(name).read_bytes()).hexdigest() if name.endswith(".py") else ""


def convert(name: str, value: object, kind: Any) -> Any:
    """`value`, often a word from the command line, as the type `kind`; OptionError if it is none."""
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise OptionError(f"--{dashed(name)}: got {value!r}. {nearest(str(value), map(str, choices))}")
        return value
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    try:
        return WORDS[str(value).lower()] if kind is bool else number(value, kind)
    except (ValueError, KeyError, TypeError) as error:
        expected = {bool: "true or false", int: "a whole number", float: "a number"}.get(kind, getattr(kind, "__name__", str(kind)))
        raise OptionError(f"--{dashed(name)}: got {value!r}, expected {expected}.") from error


def check_range(name: str, value: object, default: object) -> None:
    """OptionError for a count below 1 or a negative quantity, unless the default is such a number itself."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isinstance(default, (int, float)):
        return
    least = min(1 if isinstance(value, int) else 0, default)
    if not value >= least:
        raise OptionError(f"--{dashed(name)}: got {value}, expected at least {least}.")


def number(value: object, kind: Any) -> Any:
    """1e3 is a whole number; 1.5 is not."""
    if kind is int and not float(str(value)).is_integer():
        raise ValueError
    return kind(float(str(value))) if kind in (int, float) else kind(value)


def dashed(name: str) -> str:
    return name.replace("_", "-")


@dataclass(frozen=True)
class RecipeSummary:
    """A variant as `elegan recipes` shows it: name, one line, options with type and default, presets."""

    name: str
    summary: str
    options: dict[str, tuple[str, Any]]
    presets: dict[str, Preset]

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "presets": {name: vars(preset) for name, preset in self.presets.items()}}

    def lines(self) -> list[str]:
        text = [f"{self.name}: {self.summary}", "", "Options:"]
        text += [f"  --{dashed(name):<22} {kind:<8} default {default}" for name, (kind, default) in self.options.items()]
        for name, preset in self.presets.items():
            text += ["", f"Preset {name}: " + " ".join(f"--{dashed(key)} {value}" for key, value in preset.options.items())]
            text += [f"  {word}: {said}" for word in ("command", "cost", "score") if (said := getattr(preset, word))]
        return text


def summarise(name: str) -> RecipeSummary:
    found = find_recipe(name)
    options = {key: (type_name(found.types[key]), parameter.default) for key, parameter in found.parameters.items()}
    return RecipeSummary(found.name, found.summary, options, found.presets)


def type_name(kind: Any) -> str:
    return "|".join(map(str, typing.get_args(kind))) if typing.get_origin(kind) is Literal else getattr(kind, "__name__", str(kind))


def recipes(name: str | None = None) -> list[RecipeSummary]:
    """The models that can be trained, or one of them with its options and presets.

    Parameters
    ----------
    name
        A model, or a file of your own.

    Raises OptionError for an unknown name.
    """
    return [summarise(found) for found in ([name] if name else gans.names())]
