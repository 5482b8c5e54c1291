"""Watching a training: at each save samples are measured against images kept apart, and the best save is kept beside the newest.

Which save is best is chosen by these images, so what it scores on them is no fair measure of it: `evaluate` it on others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import EleganError, RunError

if TYPE_CHECKING:
    from torch import Tensor

    from elegan.engine.loop import Listener, Training
    from elegan.engine.run import Run
    from elegan.metrics.extractors import Extractor
    from elegan.tasks.job import Job

SAMPLES, MOST_HELD_OUT = 2000, 5000
BEST = "best"
LOG = "watch.jsonl"


class Watch:
    """Called after each save. extractor: the judge; reference: its features of the images kept apart; data: their fingerprint."""

    def __init__(self, extractor: Extractor, reference: Tensor, data: str, listener: Listener) -> None:
        self.extractor, self.reference, self.listener = extractor, reference, listener
        self.measure = {"judge": extractor.digest, "held_out": data}

    def __call__(self, training: Training) -> None:
        """What cannot be written is said; the save itself stands. Nothing is measured once the training was told to stop."""
        if training.turns.stopping:
            return
        try:
            self.look(training)
        except EleganError as error:
            self.listener.message(f"This save could not be measured, and training goes on: {error}")

    def catch_up(self, training: Training) -> None:
        """Measure the save that is taken up, unless it was: one made because of a signal was not."""
        entry = entries(training.run.path / LOG).get(training.step, {})
        if training.step > 0 and not is_part(self.measure, entry):
            self(training)

    def conclude(self, run: Run) -> None:
        """Name the best save and the final one."""
        if found := best_and(run, run.step):
            best, final = found
            self.listener.message(f"Best and final: {best}." if best == final else f"Best: {best}. Final: {final}.")

    def look(self, training: Training) -> None:
        from elegan.engine import checkpoint
        from elegan.metrics.kernel import mmd_squared
        from elegan.tasks.model import Model

        folder, step = training.run.path / BEST, training.step
        pixels = Model(training.sampler, step).sample(range(SAMPLES))
        distance = mmd_squared(self.extractor.features(pixels).values, self.reference)
        best = best_so_far(folder, self.measure)
        note(training.run.path / LOG, {"step": step, "kernel_distance": distance, **self.measure})
        is_best = best is None or distance < best[1]
        if is_best:
            checkpoint.save(folder, step, {"weights": training.weights()}, {"kernel_distance": distance, **self.measure})
            forget_others(folder, step)
        said = "the best so far" if best is None or is_best else f"the best was {best[1]:.4g} at step {best[0]:,}"
        self.listener.message(f"Step {step:,}: kernel distance ({self.extractor.name}) {distance:.4g}, {said}.")


def best_so_far(folder: Path, measure: Mapping[str, str]) -> tuple[int, float] | None:
    """The step and the distance of the best save; None if there is none that is whole and was measured so."""
    from elegan.engine import checkpoint

    for path in checkpoint.checkpoints(folder):
        try:
            _, meta = checkpoint.load(path, ("weights",))
            if is_part(measure, meta):
                return int(meta["step"]), float(meta["kernel_distance"])
        except (RunError, KeyError, TypeError, ValueError):
            continue
    return None


def forget_others(folder: Path, step: int) -> None:
    """Delete what was the best before, whichever step it is of."""
    from elegan.engine import checkpoint

    for path in checkpoint.checkpoints(folder):
        if checkpoint.step_of(path) != step:
            shutil.rmtree(path, ignore_errors=True)


def note(path: Path, entry: Mapping[str, float | str]) -> None:
    """Add a line, in place of what an interrupted sitting wrote of this step and later ones."""
    from elegan.engine.checkpoint import write_file

    kept = [line for line in read(path) if step_in(line) < float(entry["step"])]
    write_file(path, ("\n".join([*kept, json.dumps(entry)]) + "\n").encode())


def read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def step_in(line: str) -> float:
    """Infinity for a line that is damaged, so that it goes."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return inf


def is_part(measure: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    return all(entry.get(name) == value for name, value in measure.items())


def entries(path: Path) -> dict[int, dict[str, Any]]:
    """What was noted of each step, less lines that are damaged."""
    return {int(step): json.loads(line) for line in read(path) if (step := step_in(line)) < inf}


def best_and(run: Run, newest: int) -> tuple[str, str] | None:
    """The best save and the one of step `newest` in words, each with its distance; None where there is no best one."""
    from elegan.engine import checkpoint

    try:
        saved = checkpoint.checkpoints(run.path / BEST)[0]
        _, best = checkpoint.load(saved, ())
    except (IndexError, RunError):
        return None
    other = entries(run.path / LOG).get(newest, {})
    alike = is_part({name: best.get(name) for name in ("judge", "held_out")}, other)
    return in_words(checkpoint.step_of(saved), best), in_words(newest, other if alike else {})


def in_words(step: int, entry: Mapping[str, Any]) -> str:
    distance = entry.get("kernel_distance")
    return f"step {step:,} ({f'kernel distance {distance:.4g}' if isinstance(distance, float) else 'not measured'})"


def best_beside_newest(run: Run, newest: int, best_asked: bool) -> list[str]:
    """A line for what is measured of a run, where its best save is another than the newest."""
    found = best_and(run, run.step if best_asked else newest)
    if found is None or found[0] == found[1]:
        return []
    this = "Measured here is the best." if best_asked else "Measured here is the newest; --best measures the best."
    return [f"By --held-out the best save is of {found[0]}, the newest of {found[1]}. {this}"]


def make_watch(job: Job, held_out: str, download: bool, listener: Listener) -> Watch:
    """The judge, trained on the training images unless it was before, and what it sees in those kept apart.

    DataError if these are the training images themselves, or cannot be read.
    """
    from elegan.data.points import PointData
    from elegan.errors import DataError, OptionError
    from elegan.tasks.judges import choose, extractor_for
    from elegan.tasks.material import Wanted, chosen_rows, compared_with, is_same

    spec, options, data = job.spec, job.options, job.data
    if isinstance(data, PointData):
        raise OptionError("--held-out: points are not measured while training. `elegan evaluate` measures the run.")
    wanted = Wanted((spec.height, spec.width), spec.channels, options.fit, options.labels, options.attributes, download)
    reference, _ = compared_with(held_out, "", wanted, listener, named=True)
    if is_same(data, reference):
        raise DataError(f"--held-out: {held_out} holds the training images themselves. Name images that are kept apart.")
    extractor = extractor_for(choose("auto", None, data), data, None, False, options.device, listener)
    rows = chosen_rows(len(reference), min(MOST_HELD_OUT, len(reference)), seed=0)
    return Watch(extractor, extractor.features(reference.images[rows]).values, reference.fingerprint, listener)
