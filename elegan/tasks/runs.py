"""What was trained: the runs in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elegan.engine.run import Run


@dataclass(frozen=True)
class RunSummary:
    """A run: its folder, model and data, the steps saved and asked for, seconds of training, the latest readings.

    problem: why the run cannot be read, if it cannot; then only `path` and `step` say something.
    """

    path: str
    model: str
    data: str
    step: int
    steps: int
    seconds: float
    readings: dict[str, float]
    problem: str = ""

    def as_dict(self) -> dict[str, Any]:
        return vars(self)

    def lines(self) -> list[str]:
        from elegan.tasks.plan import duration

        if self.problem:
            return [f"{self.path}", f"  damaged: {self.problem}"]
        state = "complete" if self.step >= self.steps else "stopped" if self.step else "not saved yet"
        shown = ", ".join(f"{name} {value:.3g}" for name, value in self.readings.items() if name.endswith(("loss", "probability", "score")))
        return [
            f"{self.path}",
            f"  {self.model} on {self.data}: step {self.step:,} of {self.steps:,} ({state}), {duration(self.seconds)}",
            *([f"  {shown}"] if shown else []),
        ]


def runs(out: str = "runs") -> list[RunSummary]:
    """The runs in folder OUT, the newest first; one that cannot be read is listed with the reason.

    Parameters
    ----------
    out
        The folder for runs.
    """
    from elegan.engine.run import list_runs

    return [summarise(run) for run in list_runs(out)]


def summarise(run: Run) -> RunSummary:
    from elegan.errors import RunError

    try:
        config, record, log = run.config, run.record, run.log
    except RunError as error:
        return RunSummary(str(run.path), "", "", run.step, 0, 0.0, {}, str(error))
    last = log[-1] if log else {}
    readings = {name: value for name, value in last.items() if name not in ("step", "images", "seconds", "images_per_second")}
    seconds = last.get("seconds", 0.0)
    return RunSummary(str(run.path), config["model"], record["data"]["name"], run.step, config["steps"], seconds, readings)
