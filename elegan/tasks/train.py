"""Training: from data and options to a run directory."""

from __future__ import annotations

import datetime
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

if TYPE_CHECKING:
    from elegan.engine.loop import Listener, Training
    from elegan.engine.run import Run
    from elegan.tasks.job import Job


def train(
    data: str | None = None,
    *,
    model: str | None = None,
    preset: str | None = None,
    config: str | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    size: str | None = None,
    channels: int | None = None,
    mirror: bool | None = None,
    seed: int | None = None,
    precision: Literal["auto", "fp32", "bf16"] | None = None,
    accumulate: int | None = None,
    clip: float | None = None,
    compile: bool | None = None,
    device: str | None = None,
    save_every: int | None = None,
    keep: int = 3,
    out: str = "runs",
    new: bool = False,
    strict: bool = False,
    listener: Listener | None = None,
    **options: Any,
) -> Run:
    """Train a GAN on DATA; the same command again takes up where it stopped.

    Options of the model itself, such as --width, --batch or --lr, are listed by `elegan recipes MODEL`.

    Parameters
    ----------
    data
        digits, a folder of images (class subfolders are labels), a zip file or a parquet file.
    model
        A model that `elegan recipes` lists, or a file of your own. Without it: cgan for labelled data, else dcgan.
    preset
        Options known to work together; without it the one made for images of this size, if any. none: none.
    config
        A YAML file of options, such as config.yaml of a run. What is given beside it wins.
    steps
        Rounds of training; each sees one batch of real images. A larger number extends a finished run.
    minutes
        Instead of steps: as many as fit, by the rate measured at the start.
    size
        Height and width of the samples: 64, or 64x96. Without it the images' own size, or 64 if they are large or differ.
    channels
        1 grey, 2 grey with transparency, 3 colour, 4 colour with transparency. Without it as the images are.
    mirror
        Show each image mirrored half of the time.
    seed
        Another number gives another run.
    precision
        auto measures float32 against bfloat16 once, at the start, and keeps the faster.
    accumulate
        Micro-batches into which each round is divided, to save memory.
    clip
        The longest gradient an update may use; 0 for any.
    compile
        Compile the networks with torch.compile; needs a C++ compiler.
    device
        cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.
    save_every
        Steps between saves, each with a sample grid; without it a twentieth of the training.
    keep
        How many saves are kept.
    out
        The folder for runs.
    new
        Start another run even if this one exists.
    strict
        Stop at the first image that cannot be read, instead of leaving it out.
    listener
        Functions that are told of progress and messages.

    Returns the run. Raises DataError, OptionError or RunError for what a person has to mend,
    NotFiniteError when training breaks down; after Ctrl-C, KeyboardInterrupt once the state is saved.
    """
    from elegan.engine.loop import Intervals
    from elegan.engine.loop import Listener as Silent
    from elegan.errors import OptionError
    from elegan.tasks.job import enough_memory, gather, make_job

    listener = listener or Silent()
    given = {
        "data": data, "model": model, "preset": preset, "steps": steps, "size": size, "channels": channels, "mirror": mirror, "seed": seed,
        "precision": precision, "accumulate": accumulate, "clip": clip, "compile": compile, "device": device,
    }  # fmt: skip
    if keep < 1 or (save_every is not None and save_every < 1):
        raise OptionError(f"--keep and --save-every count from 1; got {keep} and {save_every}.")
    check_minutes(minutes, steps)
    asked = gather(config, given, options)
    job = make_job(asked, strict=strict, listener=listener)
    run = choose_run(job, Path(out), new)
    with run.locked(), enough_memory(), same_threads():
        if run.exists():
            training, target = resume(job, run, target_of_resumed(job, run, "steps" in asked, minutes), listener)
        else:
            training, target = start(job, run, minutes, listener)
        training.intervals = Intervals(save_every or max(1, target // 20), keep)
        stopped_by = training.train(target)
    if stopped_by:
        listener.message(f"{stopped_by}: saved at step {training.step} of {target}. The same command goes on from there.")
        raise KeyboardInterrupt if stopped_by == "SIGINT" else SystemExit(128 + signal.SIGTERM)
    return run


def choose_run(job: Job, out: Path, new: bool) -> Run:
    """The newest run with these options, or where it will be; a fresh place if `new`."""
    from elegan.engine.run import Run

    number, run = 1, Run(out / job.name)
    while (following := Run(out / f"{job.name}-{number + 1}")).exists() or (new and run.exists()):
        number, run = number + 1, following
    return run


def check_minutes(minutes: float | None, steps: int | None) -> None:
    from elegan.errors import OptionError

    if minutes is not None and (steps is not None or minutes <= 0):
        raise OptionError(f"--minutes: got {minutes} with --steps {steps}; give one of the two, and more than 0 minutes.")


def start(job: Job, run: Run, minutes: float | None, listener: Listener) -> tuple[Training, int]:
    """A new run: measure what is left to be measured, write down what was chosen, save the data's first pictures."""
    from elegan.engine.checkpoint import write_file
    from elegan.pictures import grid, png

    precision, timings = choose_precision(job)
    target = job.recipe.steps if minutes is None else steps_within(job, precision, minutes)
    run.create({**job.config, "steps": target}, facts(job, precision, timings))
    columns = 8
    write_file(run.path / "reals.png", png(grid(job.data.images[: columns * columns], columns)))
    listener.message(f"{run.path}: {job.found.name} on {job.data.name}, {target:,} steps, {job.device} in {precision}.")
    return make_training(job, run, precision, listener), target


def target_of_resumed(job: Job, run: Run, steps_asked: bool, minutes: float | None) -> int:
    """The steps asked for; else those fixed by --minutes at the start, or at least the model's own number."""
    at_start = int(run.config["steps"])
    if minutes is not None:
        return at_start
    return job.recipe.steps if steps_asked else max(at_start, job.recipe.steps)


@contextmanager
def same_threads() -> Iterator[None]:
    """A resumed run may set the number of threads; afterwards it is what it was."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def resume(job: Job, run: Run, target: int, listener: Listener) -> tuple[Training, int]:
    """An existing run: what was measured and chosen at its start still holds; only the number of steps may grow."""
    import torch

    from elegan.engine.checkpoint import write_file
    from elegan.errors import RunError
    from elegan.tasks.job import UNNAMED

    record, config = run.record, run.config
    if record["data"]["fingerprint"] != job.data.fingerprint:
        raise RunError(f"{run.path} was trained on other content of {job.options.data}. Start another run with --new.")
    different = [name for name, value in job.config.items() if name not in UNNAMED and config.get(name, value) != value]
    if different:
        asked = ", ".join(f"{name} {config[name]} there, {job.config[name]} here" for name in different)
        raise RunError(f"{run.path} was trained with other options: {asked}. Start another run with --new.")
    if job.device.type == "cpu" and record["device"] == "cpu":
        torch.set_num_threads(int(record["threads"]))  # another number would round otherwise
    training = make_training(job, run, str(record["precision"]), listener)
    training.resume()
    if target > int(config["steps"]):
        write_file(run.path / "config.yaml", yaml.safe_dump({**config, "steps": target}, sort_keys=False).encode())
    state = f"goes on from step {training.step:,} to {target:,}" if training.step < target else f"is complete at step {training.step:,}"
    listener.message(f"{run.path} {state}. A larger --steps extends it, --new starts another.")
    return training, target


def make_training(job: Job, run: Run, precision: str, listener: Listener) -> Training:
    from elegan.engine.average import Average
    from elegan.engine.loop import Intervals, Training
    from elegan.engine.turns import Turns

    gan = job.build()
    average = Average(gan, job.recipe.average_half_life) if job.recipe.average_half_life else None
    turns = Turns(gan, job.recipe.optimizers, job.settings(precision), average)
    return Training(turns, job.batches().at, run, Intervals(1), listener)


def choose_precision(job: Job) -> tuple[str, dict[str, float]]:
    """What was asked for, or the faster of the two, with the seconds of a round in each."""
    from elegan.engine.measure import faster_precision

    if job.options.precision != "auto":
        return job.options.precision, {}
    return faster_precision(job.build(), job.recipe.optimizers, job.settings("fp32"), job.batches().at)


def steps_within(job: Job, precision: str, minutes: float) -> int:
    from elegan.engine.measure import seconds_per_round

    seconds = seconds_per_round(job.build(), job.recipe.optimizers, job.settings(precision), job.batches().at)
    return steps_that_fit(minutes, seconds)


def steps_that_fit(minutes: float, seconds_per_step: float) -> int:
    return max(1, int(minutes * 60 / seconds_per_step))


def facts(job: Job, precision: str, timings: dict[str, float]) -> dict[str, Any]:
    """What a run can be replayed and judged by."""
    import torch

    import elegan

    data = {"where": job.options.data, "name": job.data.name, "fingerprint": job.data.fingerprint, "images": len(job.data)}
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "versions": {"elegan": elegan.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "machine": platform.platform(),
        "device": str(job.device),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "seconds_per_round": timings,
        "data": {**data, "skipped": [vars(one) for one in job.data.skipped]},
        "spec": {"channels": job.spec.channels, "height": job.spec.height, "width": job.spec.width, "classes": list(job.spec.classes)},
    }
