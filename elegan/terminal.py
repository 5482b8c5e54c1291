"""What a person at a terminal sees: progress, results, the next command."""

from __future__ import annotations

import json as json_module
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from elegan.errors import EleganError, OptionError, printable

if TYPE_CHECKING:
    from elegan.engine.loop import Listener, Progress

Function = Callable[..., Any]
SHORT = {
    "discriminator_loss": "D",
    "generator_loss": "G",
    "real_probability": "D(x)",
    "fake_probability": "D(G(z))",
    "real_score": "real",
    "fake_score": "fake",
}
LAST_WORD = 2.0
"""Seconds that the first of several processes has to say what went wrong: torchrun ends it once another has ended."""

PLAIN_EVERY = 5.0
"""Seconds between lines where there is no terminal to draw a bar on."""


class Summary(Protocol):
    def lines(self) -> list[str]: ...
    def as_dict(self) -> dict[str, Any]: ...


def show_train(function: Function, arguments: dict[str, Any], *, dry_run: bool, json: bool) -> None:
    from elegan.engine.processes import of_torchrun

    if (mine := of_torchrun()) and not mine.first:
        follow(function, arguments, dry_run)
        return
    if dry_run:
        from elegan.tasks.plan import plan

        arguments.pop("held_out", None)  # it changes nothing of what is planned
        show([plan(**arguments)], json)
        return
    with Bar(quiet=json) as bar:
        run = function(**arguments, listener=bar.listener())
    if json:
        print(json_module.dumps({"run": str(run.path), "step": run.step, "samples": str(run.path / "samples.png")}))
        return
    code = f" --model {shlex.quote(run.config['model'])}" if run.config["model"].endswith(".py") else ""
    print(f"Samples: {run.path / 'samples.png'}")
    more = "--seeds 0-9999 --out points.csv" if run.record["spec"].get("axes") else "--seeds 0-99 --out FOLDER"
    print(f"More of them: elegan sample {shlex.quote(str(run.path))}{code} {more}")


def follow(function: Function, arguments: dict[str, Any], dry_run: bool) -> None:
    """One of several processes that is not the first: that one speaks for all, also of what went wrong."""
    if dry_run:
        return
    try:
        function(**arguments)
    except EleganError as error:
        time.sleep(LAST_WORD)
        raise SystemExit(2) from error


def show_sample(function: Function, arguments: dict[str, Any]) -> None:
    print(function(**arguments, listener=Bar().listener()))


def show_path(function: Function, arguments: dict[str, Any]) -> None:
    print(function(**arguments))


def show_walk(function: Function, arguments: dict[str, Any]) -> None:
    with Bar() as bar:
        made = function(**arguments, listener=bar.listener("making pictures"))
    print(made)


def show_directions(function: Function, arguments: dict[str, Any], *, json: bool) -> None:
    with Bar(quiet=json) as bar:
        found = function(**arguments, listener=bar.listener())
    show([found], json)


def show_projection(function: Function, arguments: dict[str, Any], *, json: bool) -> None:
    with Bar(quiet=json) as bar:
        found = function(**arguments, listener=bar.listener("searching"))
    show([found], json)


def show_evaluation(function: Function, arguments: dict[str, Any], *, json: bool) -> None:
    with Bar(quiet=json) as bar:
        found = function(**arguments, listener=bar.listener())
    if json:
        print(json_module.dumps(found.as_dict(), indent=2))
    else:
        show([found], json)


def show_list(function: Function, arguments: dict[str, Any], *, json: bool) -> None:
    show(function(**arguments), json, "No runs here. Make one with: elegan train digits")


def show_recipes(function: Function, arguments: dict[str, Any], *, json: bool) -> None:
    found = function(**arguments)
    if json or len(found) == 1:
        show(found, json)
        return
    print("\n".join(f"{recipe.name:<10} {recipe.summary}" for recipe in found))
    print("\nOptions of one: elegan recipes NAME. Train with one: elegan train DATA --model NAME")


def show_theory(function: Function, arguments: dict[str, Any], *, json: bool) -> None:
    if not arguments.get("name"):
        from elegan.tasks.demonstrate import demonstrations

        show(demonstrations(), json)
        return
    with Bar(quiet=json) as bar:
        found = function(**arguments, listener=bar.listener())
    show([found], json)


def show_data(function: Function, arguments: dict[str, Any], *, clear_cache: bool, json: bool) -> None:
    if clear_cache:
        from elegan.data import cache_folder
        from elegan.data import clear_cache as clear

        print(f"{clear() / 1e6:.1f} MB freed in {cache_folder()}")
    elif not arguments.get("where"):
        raise OptionError("data: name what to look at: digits, a folder, a zip or a parquet file.")
    else:
        with Bar(quiet=json) as bar:
            report = function(**arguments, listener=bar.listener())
        show([report], json)


def show(found: Iterable[Summary], json: bool, empty: str = "") -> None:
    found = list(found)
    if json:
        print(json_module.dumps([one.as_dict() for one in found], indent=2, default=str))
    else:
        print(printable("\n".join(line for one in found for line in one.lines())) or empty)


class Bar:
    """Progress on standard error: a bar on a terminal, else a line every few seconds."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.last = quiet, 0.0
        self.bar: Any = None

    def __enter__(self) -> Bar:
        if sys.stderr.isatty() and not self.quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
            from rich.table import Column

            # The text comes last and is cut where the window ends; the steps are never squeezed out.
            text = TextColumn("{task.fields[said]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
            self.bar = Progress(BarColumn(12), MofNCompleteColumn(), text, console=Console(stderr=True), expand=True)
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def listener(self, work: str = "measuring") -> Listener:
        from elegan.engine.loop import Listener

        return Listener(self.progress, self.message, self.counting("preparing images"), self.counting(work))

    def counting(self, what: str) -> Callable[[int, int], None]:
        """Shows how much of a total is done, by this name."""
        return lambda done, total: self.draw(what, done, total, "")

    def message(self, text: str) -> None:
        if self.bar is not None:
            self.bar.console.print(printable(text), markup=False, highlight=False)
        elif not self.quiet:
            print(printable(text), file=sys.stderr)

    def progress(self, progress: Progress) -> None:
        self.draw("training", progress.step, progress.steps, describe(progress))

    def draw(self, what: str, done: int, total: int, said: str) -> None:
        if self.bar is not None:
            task = next((task.id for task in self.bar.tasks if task.description == what), None)
            task = self.bar.add_task(what, total=total, said="") if task is None else task
            self.bar.update(task, completed=done, total=total, said=said or what)
        elif not self.quiet and (done == total or time.monotonic() - self.last > PLAIN_EVERY):
            self.last = time.monotonic()
            print(f"{what} {done:,}/{total:,} {said}".rstrip(), file=sys.stderr)


def describe(progress: Progress) -> str:
    """Rate, time left, and the readings a person follows: losses, D(x) and D(G(z)) or the critic's scores."""
    from elegan.tasks.plan import duration

    readings = "  ".join(f"{SHORT[name]} {value:.2f}" for name, value in progress.readings.items() if name in SHORT)
    left = duration(progress.seconds_left)
    return f"{progress.rate:,.0f} images/s  {left} left  {readings}  {progress.images / 1000:,.1f} kimg"
