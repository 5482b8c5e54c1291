"""The log of a run: JSON lines that one can tail, and TensorBoard events where TensorBoard is installed."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from elegan.engine.run import Run


class Log:
    """Writes each entry to `log.jsonl` and to TensorBoard events in the run directory."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.events = open_events(run)

    def write(self, step: int, readings: Mapping[str, float]) -> None:
        self.run.append_log({"step": step, **readings})
        if self.events is not None:
            for name, value in readings.items():
                self.events.add_scalar(name, value, step)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.events is not None:
            self.events.close()


def open_events(run: Run) -> Any:
    """A TensorBoard writer, or None where TensorBoard is not installed (`pip install 'elegan[tensorboard]'`)."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except (ImportError, RuntimeError, AttributeError):
        return None
    return SummaryWriter(str(run.path), purge_step=run.step + 1)
