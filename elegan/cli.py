"""The command line: one table, command -> public function. Flags and help are read from the function's signature.

Only what a command needs is imported when it runs, so that `elegan --help` answers at once.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple, NoReturn

from elegan.errors import EleganError, OptionError, nearest, printable


class Command(NamedTuple):
    """A public function, what shows its result, a line about it, and flags that only the command line has."""

    function: str
    show: str
    summary: str
    flags: tuple[str, ...] = ()


COMMANDS = {
    "train": Command(
        "elegan.tasks.train:train", "show_train", "Train a GAN on a folder, a zip, a parquet file, or `digits`.", ("dry_run", "json")
    ),
    "sample": Command("elegan.tasks.sample:sample", "show_sample", "Make samples with a trained run: a grid, a folder, an npz file."),
    "interpolate": Command("elegan.tasks.interpolate:interpolate", "show_walk", "Walk among a run's samples: a film, or a strip."),
    "mix": Command("elegan.tasks.mix:mix", "show_sample", "Mix samples layer by layer: a grid."),
    "directions": Command("elegan.tasks.directions:directions", "show_directions", "Find what changes samples most.", ("json",)),
    "project": Command("elegan.tasks.project:project", "show_projection", "Find the latents of given images.", ("json",)),
    "film": Command("elegan.tasks.film:film", "show_path", "Show a training as a film of its sample grids."),
    "evaluate": Command(
        "elegan.tasks.evaluate:evaluate", "show_evaluation", "Measure samples, or a run's, against real images.", ("json",)
    ),
    "compare": Command("elegan.tasks.compare:compare", "show_evaluation", "Compare runs, or sets of images, by one protocol.", ("json",)),
    "runs": Command("elegan.tasks.runs:runs", "show_list", "List the runs that were trained.", ("json",)),
    "recipes": Command("elegan.tasks.recipes:recipes", "show_recipes", "List the models, or the options of one.", ("json",)),
    "theory": Command("elegan.tasks.demonstrate:demonstrate", "show_theory", "Compute and draw what GANs rest on.", ("json",)),
    "data": Command(
        "elegan.tasks.inspection:inspect_data", "show_data", "Look at data before training on it; clear the cache.", ("clear_cache", "json")
    ),
}
ALIASES = {"generate": "sample", "eval": "evaluate"}
FLAG_HELP = {
    "dry_run": "Show what would be done, and stop.",
    "json": "Print JSON instead of text.",
    "clear_cache": "Delete the cache of prepared images and downloads, and stop.",
}


def main() -> None:
    """Run the command in `sys.argv`. Exit codes: 0 done, 2 something to mend, 130 and 143 stopped by a signal."""
    words = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        run_command(words)
    except EleganError as error:
        if "--debug" in sys.argv:
            raise
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `elegan runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_command(words: list[str]) -> None:
    if not words or words[0] in ("--help", "-h"):
        print(overview())
    elif words[0] == "--version":
        import elegan

        print(elegan.__version__)
    else:
        call(ALIASES.get(words[0], words[0]), words[1:])


def overview() -> str:
    commands = "\n".join(f"  {name:<11} {command.summary}" for name, command in COMMANDS.items())
    return f"""elegan: generative adversarial networks, whole.

Usage: elegan COMMAND [OPTIONS] [--debug]

{commands}

Start with `elegan train digits`. `elegan COMMAND --help` shows a command's options."""


def call(name: str, words: list[str]) -> None:
    """Parse `words` by the signature of the command's function, and show what it returns."""
    if name not in COMMANDS:
        raise OptionError(f"there is no command {name!r}. {nearest(name, COMMANDS)}")
    import cyclopts

    command = COMMANDS[name]
    function, show = find(command.function), find(f"elegan.terminal:{command.show}")
    app = cyclopts.App(name=f"elegan {name}", help_format="plaintext", version_flags=[])
    app.default(entry(function, command.flags))
    try:
        parsed, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise OptionError(f"{name}: {mistake(error, app)} See `elegan {name} --help`.") from error
    if parsed.__name__ != "entry":  # --help, which is cyclopts' own
        parsed(*bound.args, **bound.kwargs)
        return
    flags = {flag: bound.arguments.pop(flag, False) for flag in command.flags}
    more = bound.arguments.pop("options", {})
    if hidden := more.keys() & inspect.signature(function).parameters.keys():
        raise OptionError(f"{name}: there is no option --{hidden.pop()}.")
    show(function, {**bound.arguments, **more}, **flags)


def mistake(error: Any, app: Any) -> str:
    """What is wrong with the words, where cyclopts' own sentence would not help."""
    import cyclopts

    if isinstance(error, cyclopts.UnknownOptionError) and error.token is not None:
        flags = [flag for argument in app.assemble_argument_collection() for flag in argument.names if flag.startswith("--")]
        asked = error.token.keyword or error.token.value
        return f"there is no option {asked}. {nearest(asked, flags)}"
    if isinstance(error, cyclopts.MissingArgumentError) and error.argument is not None and error.argument.index is not None:
        return f"name a {error.argument.field_info.name.upper()} first."
    if isinstance(error, cyclopts.UnusedCliTokensError) and error.unused_tokens:
        return f"got {' '.join(error.unused_tokens)!r} too many; options begin with --."
    return str(error)


def find(where: str) -> Callable[..., Any]:
    module, name = where.split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def entry(function: Callable[..., Any], flags: tuple[str, ...]) -> Callable[..., None]:
    """What cyclopts parses for: the function's parameters and help, less the listener, plus `flags`."""

    import cyclopts

    def entry(*args: object, **kwargs: object) -> None: ...

    kept = [p for p in inspect.signature(function).parameters.values() if p.name != "listener"]
    types = typing.get_type_hints(SimpleNamespace(__annotations__={p.name: p.annotation for p in kept}), function.__globals__)
    hidden = Annotated[str, cyclopts.Parameter(show=False)]  # a model's own options; `elegan recipes` shows them
    named = [p.replace(annotation=hidden if p.kind is inspect.Parameter.VAR_KEYWORD else types[p.name]) for p in kept]
    own = [inspect.Parameter(flag, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool) for flag in flags]
    split = len(named) - any(p.kind is inspect.Parameter.VAR_KEYWORD for p in named)
    parameters = [*named[:split], *own, *named[split:]]
    entry.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    entry.__annotations__ = {p.name: p.annotation for p in parameters}
    text = (inspect.getdoc(function) or "").partition("\n\nReturns ")[0]
    entry.__doc__ = text.partition("\n\nRaises ")[0] + "".join(f"\n{flag}\n    {FLAG_HELP[flag]}" for flag in flags)
    return entry


def fail(message: str) -> NoReturn:
    print(f"elegan: {printable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)
