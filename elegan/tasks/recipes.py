"""Finding a recipe by its name or in a file of one's own, and its options."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan import gans
from elegan.errors import EleganError, OptionError, nearest
from elegan.tasks.options import check_range, convert, dashed, is_option_type, shown, spelled, type_name

if TYPE_CHECKING:
    from elegan.game import Preset, Recipe, Spec

AUTOMATIC = "automatic"
"""The preset of a variant that works its options out: `automatic(spec, images, device, batch)` in its file, with the batch that was
given or None. The presets of such a variant were made for a CPU, so that other devices do not take them by themselves."""

COMMAND_LINE_FLAGS = {"listener", "options", "dry_run", "json", "debug", "help"}


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
    def arguments(self) -> dict[str, inspect.Parameter]:
        """What comes after `spec` in the signature: options, and groups of options."""
        return dict(list(inspect.signature(self.module.recipe).parameters.items())[1:])

    @property
    def groups(self) -> dict[str, Any]:
        """The arguments that are groups: their default is an instance of a dataclass, each field of which is an option."""
        defaults = {name: parameter.default for name, parameter in self.arguments.items()}
        return {name: default for name, default in defaults.items() if dataclasses.is_dataclass(default) and not isinstance(default, type)}

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The options, those of groups by the names of their fields."""
        options: dict[str, inspect.Parameter] = {}
        for name, parameter in self.arguments.items():
            options |= group_parameters(self.groups[name]) if name in self.groups else {name: parameter}
        return options

    @property
    def hints(self) -> dict[str, Any]:
        """The type of each option, which may be Annotated with what it is for. What else the signature names is not looked up:
        it may be there for type checkers only."""
        annotations = {name: parameter.annotation for name, parameter in self.arguments.items() if name not in self.groups}
        names = getattr(inspect.unwrap(self.module.recipe), "__globals__", vars(self.module))
        own = typing.get_type_hints(types.SimpleNamespace(__annotations__=annotations), names, include_extras=True)
        grouped = [typing.get_type_hints(type(group), include_extras=True) for group in self.groups.values()]
        hints = {name: kind for kinds in [own, *grouped] for name, kind in kinds.items()}
        return {name: hints[name] for name in self.parameters if name in hints}

    @property
    def types(self) -> dict[str, Any]:
        return {name: plain_type(kind) for name, kind in self.hints.items()}

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(getattr(self.module, "__file__", None) or self.name)

    def preset_for(self, spec: Spec) -> str:
        """The preset made for images of this size; "none" if there is none. One without sides is never chosen so."""
        side = min(spec.height, spec.width)
        fits = [name for name, preset in self.presets.items() if preset.sides is not None and preset.sides[0] <= side <= preset.sides[1]]
        return fits[0] if fits else "none"

    def starting_point(
        self, preset: str, spec: Spec, images: int, device: str, given: Mapping[str, object]
    ) -> tuple[str, Mapping[str, object]]:
        """The preset that `preset` means, and its options: of "auto" the one made for images of this size, or else `automatic`,
        what the variant works out of the data, the device and a batch that is given, or else "none". Where there is `automatic`,
        presets are for a CPU. OptionError for a preset that is not there.
        """
        automatic = getattr(self.module, "automatic", None)
        if preset == "auto":
            preset = self.preset_for(spec)
            preset = AUTOMATIC if (preset == "none" or device != "cpu") and automatic and not spec.is_point else preset
        if preset == AUTOMATIC and automatic:
            batch = convert("batch", given["batch"], int) if "batch" in given else None
            return preset, self.worked_out(spec, images, device, batch)
        if preset != "none" and preset not in self.presets:
            there = [*self.presets, "none", *([AUTOMATIC] if automatic else [])]
            raise OptionError(f"--preset: {self.name} has no preset {preset!r}. {nearest(preset, there)}")
        return preset, self.presets[preset].options if preset != "none" else {}

    def worked_out(self, spec: Spec, images: int, device: str, batch: int | None) -> Mapping[str, object]:
        """What `automatic` says; OptionError if a file's own code fails."""
        try:
            found: Mapping[str, object] = self.module.automatic(spec, images, device, batch)
        except EleganError:
            raise
        except Exception as error:
            raise OptionError(f"{self.where}: automatic(spec, images, device, batch) raised {type(error).__name__}: {error}") from error
        return found

    def resolve(self, chosen: Mapping[str, object], given: Mapping[str, object], other_flags: Iterable[str] = ()) -> dict[str, Any]:
        """All options: the signature's defaults, then `chosen`, such as a preset's, then what was given, as the types ask.

        OptionError for a name that is no option; `other_flags` are names that were possibly meant.
        """
        known, kinds = self.parameters, self.types
        for name in given:
            if name not in known:
                meant = nearest(dashed(name), map(dashed, {*known, *other_flags}))
                raise OptionError(f"{self.name} has no option --{dashed(name)}. {meant}")
        defaults = {name: parameter.default for name, parameter in known.items()}
        typed = {name: convert(name, value, kinds[name]) for name, value in {**chosen, **given}.items()}
        for name, value in typed.items():
            check_range(name, value, defaults[name])
        return {**defaults, **typed}

    def make(self, spec: Spec, options: Mapping[str, Any]) -> Recipe:
        """The recipe for data like this. OptionError if the file's own code fails or makes something else."""
        from elegan.game import Recipe

        own = {name: value for name, value in options.items() if name in self.arguments}
        try:
            grouped = {name: dataclasses.replace(group, **fields_of(group, options)) for name, group in self.groups.items()}
            recipe = self.module.recipe(spec, **own, **grouped)
        except EleganError:
            raise
        except Exception as error:
            raise OptionError(f"{self.where}: recipe(...) raised {type(error).__name__}: {error}") from error
        if not isinstance(recipe, Recipe):
            raise OptionError(f"{self.where}: recipe(...) returned {type(recipe).__name__}, expected a Recipe of elegan.")
        return recipe


def group_parameters(group: Any) -> dict[str, inspect.Parameter]:
    """The fields of a group as if they stood in the signature themselves."""
    kind = inspect.Parameter.KEYWORD_ONLY
    fields = dataclasses.fields(group)
    return {f.name: inspect.Parameter(f.name, kind, default=getattr(group, f.name), annotation=f.type) for f in fields}


def fields_of(group: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: options[field.name] for field in dataclasses.fields(group) if field.name in options}


def plain_type(kind: Any) -> Any:
    """T for Annotated[T, ...]."""
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


def purpose(kind: Any) -> str:
    """The text in Annotated[T, text]; empty without."""
    return next((said for said in getattr(kind, "__metadata__", ()) if isinstance(said, str)), "")


def find_recipe(name: str) -> RecipeModule:
    """The variant of this name, or the one in this file (`mine.py`); OptionError with the nearest name otherwise."""
    if name.endswith(".py"):
        return load_file(Path(name))
    if name not in gans.names():
        raise OptionError(f"--model: there is no model {name!r}. {nearest(name, gans.names())} A file of your own ends in .py.")
    return RecipeModule(name, importlib.import_module(f"elegan.gans.{name}"))


def load_file(path: Path) -> RecipeModule:
    """The variant in a file of one's own; OptionError, naming the file, for all that is wrong with it."""
    if not path.is_file():
        raise OptionError(f"--model: there is no file {path}.")
    found = RecipeModule(path.stem, run_file(path))
    if not callable(getattr(found.module, "recipe", None)):
        raise OptionError(f"--model: {path} has no function recipe(spec, *, ...) -> Recipe.")
    check_signature(found)
    return found


def run_file(path: Path) -> types.ModuleType:
    """The file as a module, which is in `sys.modules` before it runs: its dataclasses look themselves up there."""
    name = f"elegan_model_{path.stem}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module, before = importlib.util.module_from_spec(specification), sys.modules.get(name)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise OptionError(f"--model: {path} could not be loaded: {type(error).__name__}: {error}") from error
    return module


def check_signature(found: RecipeModule, flags: Collection[str] | None = None) -> None:
    """OptionError if the options of a file's `recipe` could not be given: each is keyword-only, with a default and a type
    that words can be turned into, and under a name that is no flag of training (`flags`; by default those of `train`)."""
    from elegan.tasks.job import TRAIN_FLAGS

    taken = {*(TRAIN_FLAGS if flags is None else flags), *COMMAND_LINE_FLAGS}
    try:
        first = next(iter(inspect.signature(found.module.recipe).parameters.values()), None)
        kinds = found.types
    except Exception as error:  # annotations are code
        raise OptionError(f"{found.where}: the signature of recipe cannot be read: {type(error).__name__}: {error}") from error
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        raise OptionError(f"{found.where}: recipe takes no spec, expected recipe(spec, *, ...).")
    names = [*(found.arguments.keys() - found.groups), *(name for group in found.groups.values() for name in group_parameters(group))]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"{found.where}: recipe has the option {name} twice, in a group and beside it. Rename one.")
    for name, parameter in found.parameters.items():
        if problem := problem_of(parameter, kinds.get(name), taken):
            raise OptionError(f"{found.where}: option {name} of recipe {problem}")
    check_presets(found, kinds)


def problem_of(parameter: inspect.Parameter, kind: Any, flags: Collection[str]) -> str:
    """What is wrong with an option in a signature, as the end of a sentence; empty if nothing is."""
    if parameter.kind is not parameter.KEYWORD_ONLY:
        return "is not keyword-only, expected recipe(spec, *, ...) and each option by its name."
    if parameter.name in flags:
        return "has the name of a flag of `elegan train`. Give it another name."
    if parameter.default is parameter.empty:
        return "has no default. Give it one."
    if parameter.annotation is parameter.empty:
        return "has no type. Annotate it with int, float, bool, str, Literal[...] of such, or one of these | None."
    if not is_option_type(kind):
        return f"has the type {type_name(kind)}, expected int, float, bool, str, Literal[...] of such, or one of these | None."
    try:
        convert(parameter.name, parameter.default, kind)
    except OptionError:
        return f"has the default {shown(parameter.default)}, which is no {type_name(kind)}."
    return ""


def check_presets(found: RecipeModule, kinds: Mapping[str, Any]) -> None:
    """OptionError if a preset holds what is no option of the file's `recipe`, or no value of it."""
    from elegan.game import Preset

    if not isinstance(found.presets, Mapping) or not all(isinstance(preset, Preset) for preset in found.presets.values()):
        raise OptionError(f"{found.where}: PRESETS is no table of presets, expected {{'name': Preset({{...}}), ...}}.")
    for name, preset in found.presets.items():
        for option, value in preset.options.items():
            if option not in kinds:
                raise OptionError(f"{found.where}: preset {name} sets {option}, which is no option. {nearest(str(option), kinds)}")
            try:
                convert(option, value, kinds[option])
            except OptionError as error:
                raise OptionError(f"{found.where}: preset {name}: {error}") from error


def file_digest(name: str) -> str:
    """A hash of a user's file, so that a changed file makes another run; empty for a built-in model."""
    return hashlib.sha256(Path(name).read_bytes()).hexdigest() if name.endswith(".py") else ""


@dataclass(frozen=True)
class RecipeSummary:
    """A variant as `elegan recipes` shows it: name, one line, what `recipe` says of itself, options with type, default and
    purpose, presets, and what it works out where none is made for the size of the images (empty if nothing)."""

    name: str
    summary: str
    explanation: str
    options: dict[str, tuple[str, Any, str]]
    presets: dict[str, Preset]
    automatic: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "presets": {name: vars(preset) for name, preset in self.presets.items()}}

    def lines(self) -> list[str]:
        text = [
            f"{self.name}: {self.summary}",
            *(["", self.explanation] if self.explanation else []),
            "",
            f"  {'Option':<26} {'Default':<15} What it is",
        ]
        for name, (kind, default, said) in self.options.items():
            text.append(f"  --{dashed(name):<24} {spelled(default):<15} {said or kind}" + (f" ({kind})" if said and "|" in kind else ""))
        for name, preset in self.presets.items():
            text += ["", f"Preset {name}: " + " ".join(f"--{dashed(key)} {spelled(value)}" for key, value in preset.options.items())]
            text += [f"  {word}: {said}" for word in ("command", "cost", "score") if (said := getattr(preset, word))]
        return [*text, *(["", f"Preset {AUTOMATIC}: {self.automatic}"] if self.automatic else [])]


def summarise(name: str) -> RecipeSummary:
    found = find_recipe(name)
    hints = found.hints
    options = {key: (type_name(plain_type(hints[key])), p.default, purpose(hints[key])) for key, p in found.parameters.items()}
    automatic = getattr(found.module, AUTOMATIC, None)
    return RecipeSummary(found.name, found.summary, said_first(found.module.recipe), options, found.presets, said_first(automatic))


def said_first(function: Any) -> str:
    """The first paragraph of a function's documentation, on one line; empty without a function."""
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split()) if function is not None else ""


def recipes(name: str | None = None) -> list[RecipeSummary]:
    """The models that can be trained, or one of them with its options and presets.

    Parameters
    ----------
    name
        A model, or a file of your own.

    Raises OptionError for an unknown name.
    """
    return [summarise(found) for found in ([name] if name else gans.names())]
