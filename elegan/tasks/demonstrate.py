"""The theory, demonstrated: each statement as a table of numbers and a figure."""

from __future__ import annotations

import importlib
import inspect
import os
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import OptionError, RunError, nearest
from elegan.tasks.options import check_range, convert, dashed, spelled
from elegan.tasks.recipes import plain_type, purpose

if TYPE_CHECKING:
    from elegan.engine.loop import Listener
    from elegan.theory.demonstration import Demonstration

DEMONSTRATIONS = ("coin", "optimal-discriminator", "vanishing", "dirac", "estimate", "compare", "phases")
"""In the order in which one learns them. Each is a function in the file of its name."""

NOT_OPTIONS = {"tell"}


@dataclass(frozen=True)
class DemonstrationSummary:
    """A demonstration as `elegan theory` lists it: name, one line, options with default and purpose."""

    name: str
    summary: str
    options: dict[str, tuple[Any, str]]

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    def lines(self) -> list[str]:
        return [
            f"{self.name:<22} {self.summary}",
            *(f"    --{dashed(name)} {spelled(default):<9} {said}" for name, (default, said) in self.options.items()),
        ]


def demonstrations() -> list[DemonstrationSummary]:
    """All demonstrations, in the order in which one learns them."""
    return [summarise(name, find(name)) for name in DEMONSTRATIONS]


def demonstrate(name: str = "", *, out: str | None = None, listener: Listener | None = None, **options: object) -> Demonstration:
    """Compute a statement of the theory: a table, what it says, and a figure.

    Parameters
    ----------
    name
        coin, optimal-discriminator, vanishing, dirac, estimate, compare or phases.
    out
        The figure's file, .png, .svg or .pdf; theory/NAME.png by default. A film stands beside it.
    options
        The demonstration's own; `elegan theory` lists them.

    Returns the demonstration, whose `files` say what was saved. Without matplotlib, an extra, nothing is.
    Raises OptionError for an unknown name or option, RunError where nothing can be written.
    """
    from elegan.engine.loop import Listener
    from elegan.theory.drawing import can_draw

    listener, function = listener or Listener(), find(name)
    target = place(out, name)
    if drawing := can_draw():
        check_place(target)
    chosen = resolve(name, function, options)
    if "tell" in inspect.signature(function).parameters:
        chosen["tell"] = listener.measuring
    found = function(**chosen)
    if not drawing:
        listener.message("Figures need matplotlib: pip install 'elegan[plots]'")
        return found
    return save(found, target)


def find(name: str) -> Callable[..., Demonstration]:
    if name not in DEMONSTRATIONS:
        raise OptionError(f"theory: there is no demonstration {name!r}. {nearest(name, DEMONSTRATIONS)}")
    module = name.replace("-", "_")
    function: Callable[..., Demonstration] = getattr(importlib.import_module(f"elegan.theory.{module}"), module)
    return function


def hints_of(function: Callable[..., Demonstration]) -> dict[str, Any]:
    """The type of each option, Annotated with what it is for."""
    names = [name for name in inspect.signature(function).parameters if name not in NOT_OPTIONS]
    hints = typing.get_type_hints(function, include_extras=True)
    return {name: hints[name] for name in names}


def summarise(name: str, function: Callable[..., Demonstration]) -> DemonstrationSummary:
    defaults = inspect.signature(function).parameters
    options = {option: (defaults[option].default, purpose(kind)) for option, kind in hints_of(function).items()}
    return DemonstrationSummary(name, (inspect.getdoc(function) or "").split("\n")[0], options)


def resolve(name: str, function: Callable[..., Demonstration], given: Mapping[str, object]) -> dict[str, Any]:
    """What was given, as the types ask; OptionError for what is no option, or no value of it."""
    hints, chosen = hints_of(function), {}
    for option, value in given.items():
        if option not in hints:
            raise OptionError(f"theory {name} has no option --{dashed(option)}. {nearest(dashed(option), [*map(dashed, hints), 'out'])}")
        chosen[option] = convert(option, value, plain_type(hints[option]))
        check_range(option, chosen[option], inspect.signature(function).parameters[option].default)
    return chosen


def place(out: str | None, name: str) -> Path:
    """Where the figure goes; OptionError for a file that is no figure, before anything is computed."""
    from elegan.theory.drawing import FORMS

    path = Path(os.path.expanduser(out)) if out else Path("theory") / f"{name}.png"
    if path.suffix.lower() not in FORMS:
        raise OptionError(f"--out: got {path}, expected a file that ends in {', '.join(FORMS)}.")
    return path


def check_place(path: Path) -> None:
    """RunError where no file can be written, before anything is computed."""
    from elegan.engine.checkpoint import reason

    try:
        reasons = faults_of(path)
    except OSError as error:  # such as a name that is too long
        raise RunError(f"could not write {path}: {reason(error)}. Choose another place with --out.") from error
    for why, wrong in reasons.items():
        if wrong:
            raise RunError(f"could not write {path}: {why}. Choose another place with --out.")


def faults_of(path: Path) -> dict[str, bool]:
    folder = next(parent for parent in path.parents if parent.exists())
    film = path.with_suffix(".webp")
    return {
        f"{path} is a folder": path.is_dir(),
        f"{film}, for a film, is a folder": film.is_dir(),
        f"{folder} is no folder": not folder.is_dir(),
        f"{folder} may not be written to": not os.access(folder, os.W_OK),
    }


def save(found: Demonstration, path: Path) -> Demonstration:
    """The figure at `path`, and the film, if there is one, beside it."""
    from elegan.engine.checkpoint import reason, write_file
    from elegan.theory.drawing import film, picture

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"could not make {path.parent}: {reason(error)}. Choose another place with --out.") from error
    write_file(path, picture(found.draw, found.size, path.suffix.lower()))
    files = [path]
    if found.frames:
        files.append(path.with_suffix(".webp"))
        write_file(files[1], film(found.frames, found.size, found.milliseconds))
    return replace(found, files=tuple(map(str, files)))
