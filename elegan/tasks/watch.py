"""Watching a training: at each save samples are measured against images kept apart, and the best save is kept beside the newest.

Which save is best is chosen by these images, so what it scores on them is no fair measure of it: `evaluate` it on others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from elegan.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

    from elegan.engine.loop import Listener, Training
    from elegan.metrics.extractors import Extractor
    from elegan.tasks.job import Job

SAMPLES = 2000
BEST = "best"
LOG = "watch.jsonl"


class Watch:
    """Called after each save. extractor: the judge, and the features of the images kept apart."""

    def __init__(self, extractor: Extractor, reference: Tensor, listener: Listener) -> None:
        self.extractor, self.reference, self.listener = extractor, reference, listener

    def __call__(self, training: Training) -> None:
        from elegan.engine import checkpoint
        from elegan.metrics.kernel import mmd_squared
        from elegan.tasks.loading import Model

        folder, step = training.run.path / BEST, training.step
        pixels = Model(training.sampler, step).sample(range(SAMPLES))
        distance = mmd_squared(self.extractor.features(pixels).values, self.reference)
        best = best_so_far(folder)
        note(training.run.path / LOG, {"step": step, "kernel_distance": distance, "judge": self.extractor.name})
        if best is None or distance < best[1]:
            checkpoint.save(folder, step, {"weights": training.weights()}, {"kernel_distance": distance})
            checkpoint.prune(folder, 1)
        said = "the best so far" if best is None or distance < best[1] else f"the best was {best[1]:.4g} at step {best[0]:,}"
        self.listener.message(f"Step {step:,}: kernel distance ({self.extractor.name}) {distance:.4g}, {said}.")


def best_so_far(folder: Path) -> tuple[int, float] | None:
    """The step and the distance of the best save; None if there is none that is whole."""
    from elegan.engine import checkpoint

    for path in checkpoint.checkpoints(folder):
        try:
            _, meta = checkpoint.load(path, ())
            return int(meta["step"]), float(meta["kernel_distance"])
        except (RunError, KeyError, TypeError, ValueError):
            continue
    return None


def note(path: Path, entry: dict[str, float | str]) -> None:
    from elegan.engine.checkpoint import reason

    try:
        with open(path, "a") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise RunError(f"could not write {path}: {reason(error)}. Earlier saves are intact.") from error


def make_watch(job: Job, held_out: str, listener: Listener) -> Watch:
    """The judge, trained on the training images unless it was before, and what it sees in those kept apart.

    DataError if these are the training images themselves, or cannot be read.
    """
    from elegan.errors import DataError
    from elegan.tasks.judges import choose, extractor_for
    from elegan.tasks.material import Wanted, compared_with

    spec, options = job.spec, job.options
    wanted = Wanted((spec.height, spec.width), spec.channels, options.fit, options.labels, download=False)
    reference, _ = compared_with(held_out, "", wanted, listener)
    if reference.fingerprint == job.data.fingerprint:
        raise DataError(f"--held-out: {held_out} holds the training images themselves. Name images that are kept apart.")
    extractor = extractor_for(choose("auto", None, job.data), job.data, None, False, options.device, listener)
    return Watch(extractor, extractor.features(reference.images).values, listener)
