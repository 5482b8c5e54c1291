"""What was trained: the runs in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RunSummary:
    """A run: its folder, model and data, the steps saved and asked for, seconds of training, the latest readings."""

    path: str
    model: str
    data: str
    step: int
    steps: int
    seconds: float
    readings: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return vars(self)

    def lines(self) -> list[str]:
        from elegan.tasks.plan import duration

        state = "complete" if self.step >= self.steps else "stopped" if self.step else "not saved yet"
        shown = ", ".join(f"{name} {value:.3g}" for name, value in self.readings.items() if name.endswith(("loss", "probability", "score")))
        return [
            f"{self.path}",
            f"  {self.model} on {self.data}: step {self.step:,} of {self.steps:,} ({state}), {duration(self.seconds)}",
            *([f"  {shown}"] if shown else []),
        ]


def runs(out: str = "runs") -> list[RunSummary]:
    """The runs in folder OUT, the newest first.

    Parameters
    ----------
    out
        The folder for runs.
    """
    from elegan.engine.run import list_runs
    from elegan.errors import RunError

    summaries = []
    for run in list_runs(out):
        try:
            config, record, log = run.config, run.record, run.log
        except RunError:
            continue  # a folder that a kill left half made
        last = log[-1] if log else {}
        readings = {name: value for name, value in last.items() if name not in ("step", "images", "seconds", "images_per_second")}
        model, data, steps = str(config["model"]), str(record["data"]["name"]), int(config["steps"])
        summaries.append(RunSummary(str(run.path), model, data, run.step, steps, last.get("seconds", 0.0), readings))
    return summaries
