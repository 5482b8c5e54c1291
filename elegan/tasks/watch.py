"""Watching a training: at each save samples are measured against images kept apart, and the best save is kept beside the newest.

Which save is best is chosen by these images, so what it scores on them is no fair measure of it: `evaluate` it on others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from elegan.errors import EleganError, RunError

if TYPE_CHECKING:
    from torch import Tensor

    from elegan.engine.loop import Listener, Training
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

    def look(self, training: Training) -> None:
        from elegan.engine import checkpoint
        from elegan.metrics.kernel import mmd_squared
        from elegan.tasks.loading import Model

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
            if all(meta[name] == value for name, value in measure.items()):
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


def make_watch(job: Job, held_out: str, download: bool, listener: Listener) -> Watch:
    """The judge, trained on the training images unless it was before, and what it sees in those kept apart.

    DataError if these are the training images themselves, or cannot be read.
    """
    from elegan.errors import DataError
    from elegan.tasks.judges import choose, extractor_for
    from elegan.tasks.material import Wanted, chosen_rows, compared_with, is_same

    spec, options = job.spec, job.options
    wanted = Wanted((spec.height, spec.width), spec.channels, options.fit, options.labels, options.attributes, download)
    reference, _ = compared_with(held_out, "", wanted, listener, named=True)
    if is_same(job.data, reference):
        raise DataError(f"--held-out: {held_out} holds the training images themselves. Name images that are kept apart.")
    extractor = extractor_for(choose("auto", None, job.data), job.data, None, False, options.device, listener)
    rows = chosen_rows(len(reference), min(MOST_HELD_OUT, len(reference)), seed=0)
    return Watch(extractor, extractor.features(reference.images[rows]).values, reference.fingerprint, listener)
