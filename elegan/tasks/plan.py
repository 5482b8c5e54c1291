"""What a training would do, without doing it: `elegan train DATA --dry-run`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elegan.game import Spec


@dataclass(frozen=True)
class Plan:
    """The resolved options, the data, the networks' sizes, memory in bytes and time in seconds of a training."""

    options: dict[str, Any]
    notes: list[str]
    run: str
    steps: int
    batch: int
    parameters: dict[str, int]
    device: str
    precision: str
    seconds_per_step: float
    memory: int

    @property
    def seconds(self) -> float:
        return self.seconds_per_step * self.steps

    def as_dict(self) -> dict[str, Any]:
        options = {name: str(value) if value == inf else value for name, value in self.options.items()}  # JSON has no infinity
        return {**vars(self), "options": options, "seconds": self.seconds}

    def lines(self) -> list[str]:
        from elegan.tasks.job import shown_bytes

        rate = self.batch / self.seconds_per_step
        return [
            *self.notes,
            "Options (a file of such lines can be given back with --config):",
            *(f"  {name}: {value}" for name, value in self.options.items()),
            "Networks: " + ", ".join(f"{name} {count:,} weights" for name, count in self.parameters.items()),
            f"Runs on {self.device} in {self.precision}, with about {shown_bytes(self.memory)} of memory.",
            f"{self.steps:,} steps take about {duration(self.seconds)} ({rate:,.0f} images/s), into {self.run}",
            "Dry run: nothing was trained.",
        ]


def plan(
    data: str | None = None,
    *,
    config: str | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    out: str = "runs",
    new: bool = False,
    strict: bool = False,
    download: bool = False,
    save_every: int | None = None,
    keep: int = 3,
    processes: int = 1,
    **options: Any,
) -> Plan:
    """What `train` with the same arguments would do. It plays a few rounds to know the time and the memory, and keeps nothing;
    `save_every` and `keep` are taken so that the arguments can be the same, and make no difference. It plays alone: with
    several processes time and memory are those of one that does all the work.
    """
    from elegan.engine.loop import Listener
    from elegan.engine.measure import seconds_per_round
    from elegan.engine.processes import ALONE
    from elegan.tasks.job import enough_memory, gather, make_job, memory_estimate
    from elegan.tasks.train import (
        check_minutes,
        choose_precision,
        choose_run,
        planned_processes,
        steps_that_fit,
        target_of_resumed,
    )
    from elegan.tasks.transfer import begin_with

    check_minutes(minutes, steps)
    shared = planned_processes(processes)
    notes: list[str] = []
    asked = gather(config, {"data": data, "steps": steps}, options)
    job = make_job(asked, strict=strict, download=download, listener=Listener(message=notes.append), processes=shared)
    job = replace(job, processes=ALONE)
    if shared.count > 1:
        notes.append(f"Time and memory are those of one process that does all the work; {shared.count} share it.")
    run = choose_run(job, Path(out), new)
    with enough_memory():
        memory = memory_estimate(job)
        precision = str(run.record["precision"]) if run.exists() else choose_precision(job)[0]
        gan = job.build()
        if job.options.init_from != "none" and not run.exists():
            notes.append(begin_with(gan, None, job.options.init_from))
        seconds = seconds_per_round(gan, job.recipe.optimizers, job.settings(precision), job.batches().at)
    total = job.recipe.steps if minutes is None else steps_that_fit(minutes, seconds)
    if run.exists():
        total = target_of_resumed(job, run, "steps" in asked, minutes)
        notes.append(f"{run.path} is there already, at step {run.step:,}: it would go on from there. --new starts another.")
    return Plan(
        options={**job.config, "steps": total},
        notes=[describe(job.data.name, len(job.data), job.spec), *notes],
        run=str(run.path),
        steps=total,
        batch=job.recipe.batch,
        parameters={name: sum(p.numel() for network in networks for p in network.parameters()) for name, networks in gan.players.items()},
        device=str(job.device),
        precision=precision,
        seconds_per_step=seconds,
        memory=memory,
    )


def describe(name: str, count: int, spec: Spec) -> str:
    if spec.is_point:
        return f"Data: {name}, {count:,} points, axes: {', '.join(axis.name for axis in spec.axes)}"
    shown = ", ".join(spec.classes[:10]) + (", ..." if spec.num_classes > 10 else "")
    labels = f"{spec.num_classes} classes: {shown}" if spec.classes else "no labels"
    labels = f"attributes: {', '.join(attribute.name for attribute in spec.attributes)}" if spec.attributes else labels
    kind = "grey" if spec.channels == 1 else f"{spec.channels} channels"
    return f"Data: {name}, {count:,} images of {spec.height}x{spec.width}, {kind}, {labels}"


def duration(seconds: float) -> str:
    """42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
