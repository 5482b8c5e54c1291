"""Training: from data and options to a run directory."""

from __future__ import annotations

import dataclasses
import datetime
import platform
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

if TYPE_CHECKING:
    from elegan.engine.loop import Listener, Training
    from elegan.engine.processes import Processes
    from elegan.engine.run import Run
    from elegan.game import GAN
    from elegan.tasks.job import Job


@dataclass(frozen=True)
class Sitting:
    """What is asked of this training and is no option of its run."""

    out: str = "runs"
    new: bool = False
    minutes: float | None = None
    steps_asked: bool = False
    save_every: int | None = None
    keep: int = 3
    held_out: str = ""
    download: bool = False


def train(
    data: str | None = None,
    *,
    model: str | None = None,
    preset: str | None = None,
    config: str | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    labels: str | None = None,
    attributes: str | None = None,
    size: str | None = None,
    channels: int | None = None,
    fit: Literal["crop", "pad", "stretch"] | None = None,
    mirror: bool | None = None,
    seed: int | None = None,
    precision: Literal["auto", "fp32", "bf16"] | None = None,
    accumulate: int | None = None,
    clip: float | None = None,
    update: Literal["alternating", "simultaneous", "extragradient"] | None = None,
    compile: bool | None = None,
    init_from: str | None = None,
    freeze: int | None = None,
    device: str | None = None,
    save_every: int | None = None,
    keep: int = 3,
    held_out: str | None = None,
    out: str = "runs",
    new: bool = False,
    strict: bool = False,
    download: bool = False,
    processes: int = 1,
    listener: Listener | None = None,
    **options: Any,
) -> Run:
    """Train a GAN on DATA; the same command again takes up where it stopped.

    Options of the model itself, such as --width, --batch or --lr, are listed by `elegan recipes MODEL`.

    Parameters
    ----------
    data
        digits, a folder of images (class subfolders are labels), a zip file, a parquet file, mnist or fashion_mnist, or
        hf://owner/name for a data set on Hugging Face's hub; or points: ring, grid, moons, NAME.csv, NAME.npy.
    model
        A model that `elegan recipes` lists, or a file of your own. Without it: cgan for labelled data, rpgan for points, else
        dcgan.
    preset
        Options that go together; without it the one made for images of this size, or else, and on a GPU first, automatic, where
        the model works them out of the data and the device. none: none.
    config
        A YAML file of options, such as config.yaml of a run. What is given beside it wins.
    steps
        Rounds of training; each sees one batch of real images. A larger number extends a finished run.
    minutes
        Instead of steps: as many as fit, by the rate measured at the start.
    labels
        The column of the data that holds classes; auto takes one called label, or class folders; none takes none.
    attributes
        Columns of numbers, with commas between them, to be asked for instead of classes: age,gender.
    size
        Height and width of the samples: 64, or 64x96. Without it the images' own size, or 64 if they are large or differ.
    channels
        1 grey, 2 grey with transparency, 3 colour, 4 colour with transparency. Without it as the images are.
    fit
        How images of another shape come to that size: crop keeps the middle, pad the whole, stretch distorts. Without it crop.
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
    update
        Whether a player answers to the moves before its own (alternating), all move at once (simultaneous), or all look one
        move ahead first (extragradient, twice the work).
    compile
        Compile the networks with torch.compile; needs a C++ compiler.
    init_from
        A run to begin with the weights of, of the same model and size: what it learned of many images helps with few.
    freeze
        The first so many blocks of the discriminator, from the image on, stay as they are (with init_from).
    device
        cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.
    save_every
        Steps between saves, each with a sample grid; without it a twentieth of the training.
    keep
        How many saves are kept.
    held_out
        Real images kept apart: at each save samples are measured against them, and the best save is kept too. A data set
        with a test split, such as digits, may be named itself.
    out
        The folder for runs.
    new
        Start another run even if this one exists.
    strict
        Stop at the first image that cannot be read, instead of leaving it out.
    download
        Allow data that is not here to be downloaded: mnist, fashion_mnist, or owner/name from Hugging Face's hub.
    processes
        How many processes on this machine share each batch and average their gradients: one for each GPU, or for some
        of the cores. On several machines torchrun starts them.
    listener
        Functions that are told of progress and messages.

    Returns the run. Raises DataError, OptionError or RunError for what a person has to mend,
    NotFiniteError when training breaks down; after Ctrl-C, KeyboardInterrupt once the state is saved.
    """
    from elegan.engine.loop import Listener as Silent
    from elegan.engine.processes import connected, helped, of_torchrun, store_of_torchrun
    from elegan.errors import OptionError
    from elegan.tasks.job import gather, make_job

    mine = planned_processes(processes)
    listener = listener if listener and mine.first else Silent()
    given = {
        "data": data, "model": model, "preset": preset, "steps": steps, "labels": labels, "attributes": attributes,
        "size": size, "channels": channels, "fit": fit, "mirror": mirror, "seed": seed,
        "precision": precision, "accumulate": accumulate, "clip": clip, "update": update, "compile": compile,
        "init_from": init_from, "freeze": freeze, "device": device,
    }  # fmt: skip
    if keep < 1 or (save_every is not None and save_every < 1):
        raise OptionError(f"--keep and --save-every count from 1; got {keep} and {save_every}.")
    check_minutes(minutes, steps)
    asked = gather(config, given, options)
    sitting = Sitting(out, new, minutes, "steps" in asked, save_every, keep, held_out or "", download)
    make = partial(make_job, asked, strict=strict, download=download, listener=listener, processes=mine)
    if of_torchrun():
        with connected(mine, store_of_torchrun):
            return carry_out(make, mine, sitting, listener)
    job = make()  # before others are started: what is wrong is said at once, and they find the data prepared
    with helped(mine, FOLLOW, {"asked": job.config, "sitting": dataclasses.asdict(sitting)}):
        return carry_out(lambda: job, mine, sitting, listener)


def planned_processes(count: int) -> Processes:
    """This process among those that torchrun started, or the first of `count`; OptionError for both."""
    from elegan.engine.processes import Processes, of_torchrun
    from elegan.errors import OptionError

    if count < 1:
        raise OptionError(f"--processes counts from 1; got {count}.")
    mine = of_torchrun()
    if mine and count > 1:
        raise OptionError(f"--processes: got {count}, but torchrun has started {mine.count} already. Leave out one of the two.")
    return mine or Processes(count=count, local_count=count)


FOLLOW = "from elegan.tasks.train import follow; follow"


def follow(order: dict[str, Any]) -> None:
    """In a process that `train` started: the same training, in silence."""
    from elegan.engine.loop import Listener
    from elegan.engine.processes import help_out
    from elegan.tasks.job import make_job

    silent = Listener()
    with help_out(order["rank"], order["count"], order["port"]) as mine:
        make = partial(make_job, order["asked"], strict=False, listener=silent, processes=mine)
        carry_out(make, mine, Sitting(**order["sitting"]), silent)


def carry_out(make: Callable[[], Job], mine: Processes, sitting: Sitting, listener: Listener) -> Run:
    """The training, in each of its processes: the first one decides and tells the others."""
    from elegan.engine.loop import Intervals
    from elegan.engine.run import Run
    from elegan.tasks.job import enough_memory
    from elegan.tasks.watch import make_watch

    with mine.together(), mine.in_turn():
        job = make()
    check_same_data(job)
    with mine.together():
        watch = make_watch(job, sitting.held_out, sitting.download, listener) if sitting.held_out and mine.first else None
    run = Run(mine.tell(str(choose_run(job, Path(sitting.out), sitting.new).path)))
    with run.locked() if mine.first else nullcontext(), enough_memory(), same_threads():
        training, target = (resume if mine.tell(run.exists()) else start)(job, run, sitting, listener)
        training.intervals = Intervals(sitting.save_every or max(1, target // 20), sitting.keep)
        if watch is not None:
            training.watch = watch
            watch.catch_up(training)
        stopped_by = training.train(target)
    if stopped_by:
        listener.message(f"{stopped_by}: saved at step {training.step} of {target}. The same command goes on from there.")
        raise KeyboardInterrupt if stopped_by == "SIGINT" else SystemExit(128 + signal.SIGTERM)
    if watch is not None:
        watch.conclude(run)
    return run


def check_same_data(job: Job) -> None:
    """DataError in all processes if one of them found other data: on several machines each reads its own."""
    from elegan.errors import DataError

    fingerprint = job.processes.tell(job.data.fingerprint)
    with job.processes.together():
        if job.data.fingerprint != fingerprint:
            raise DataError(f"{job.options.data} holds other data here than for the first process. Give every machine the same.")


def choose_run(job: Job, out: Path, new: bool) -> Run:
    """The newest run with these options, or where it will be; a fresh place if `new`."""
    from elegan.engine.run import Run

    number, run = 1, Run(out / job.name)
    while (following := Run(out / f"{job.name}-{number + 1}")).exists() or (new and run.exists()):
        number, run = number + 1, following
    return run


def check_minutes(minutes: float | None, steps: int | None) -> None:
    from elegan.errors import OptionError

    if minutes is not None and not minutes > 0:
        raise OptionError(f"--minutes: got {minutes}, expected more than 0.")
    if minutes is not None and steps is not None:
        raise OptionError(f"--minutes: got {minutes} with --steps {steps}; give one of the two.")


def start(job: Job, run: Run, sitting: Sitting, listener: Listener) -> tuple[Training, int]:
    """A new run: measure what is left to be measured, all processes together, and write down what was chosen.

    What it begins with is saved at once, so that a run that exists never begins with anything else.
    """
    import torch

    from elegan.tasks.job import memory_estimate, shown_bytes

    mine = job.processes
    torch.set_num_threads(mine.tell(mine.threads()))
    memory = shown_bytes(memory_estimate(job))
    precision, timings = mine.tell(choose_precision(job))
    target = mine.tell(job.recipe.steps if sitting.minutes is None else steps_within(job, precision, sitting.minutes))
    training = make_training(job, run, precision, listener)
    if job.options.init_from != "none":
        begin(job, training, listener)
    if mine.first:
        write_down(job, run, target, facts(job, precision, timings))
    if job.options.init_from != "none":
        training.save()
    shared = f", {mine.count} processes" if mine.count > 1 else ""
    where = f"{job.device} in {precision}{shared}, about {memory}"
    listener.message(f"{run.path}: {job.found.name} on {job.data.name}, {target:,} steps, {where}.")
    return training, target


def begin(job: Job, training: Training, listener: Listener) -> None:
    """With the weights of another run, in all processes."""
    from elegan.tasks.transfer import begin_with

    with job.processes.together():
        listener.message(begin_with(training.gan, training.turns.average, job.options.init_from))


def write_down(job: Job, run: Run, target: int, found: dict[str, Any]) -> None:
    """The options, the facts, and the data's first pictures, or points."""
    import numpy as np

    from elegan.data.points import PointData
    from elegan.engine.checkpoint import write_file
    from elegan.engine.loop import SHOWN_POINTS
    from elegan.pictures import grid, png, scatter

    run.create({**job.config, "steps": target}, found)
    data, columns = job.data, 8
    if isinstance(data, PointData):
        rows = np.random.default_rng(0).permutation(len(data))[:SHOWN_POINTS]
        shown = scatter(data.points[rows], data.spec.frame)
    else:
        shown = grid(data.images[: columns * columns], columns)
    write_file(run.path / "reals.png", png(shown))


def target_of_resumed(job: Job, run: Run, steps_asked: bool, minutes: float | None) -> int:
    """The steps asked for; else those fixed by --minutes at the start, or at least the model's own number."""
    at_start = int(run.config["steps"])
    if minutes is not None:
        return at_start
    return job.recipe.steps if steps_asked else max(at_start, job.recipe.steps)


@contextmanager
def same_threads() -> Iterator[None]:
    """A training may set the number of threads; afterwards it is what it was."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def resume(job: Job, run: Run, sitting: Sitting, listener: Listener) -> tuple[Training, int]:
    """An existing run: what was measured and chosen at its start still holds; only the number of steps may grow."""
    import torch

    from elegan.engine.checkpoint import write_file
    from elegan.engine.run import shown

    mine = job.processes
    with mine.together():
        check_same(job, run)
        record, config = run.record, run.config
    target = mine.tell(target_of_resumed(job, run, sitting.steps_asked, sitting.minutes))
    torch.set_num_threads(mine.tell(threads_of_resumed(job, record)))
    training = make_training(job, run, str(record["precision"]), listener)
    training.resume()
    if mine.first and target > int(config["steps"]):
        write_file(run.path / "config.yaml", yaml.safe_dump({**config, "steps": target}, sort_keys=False).encode())
    if (begun := record.get("processes", 1)) != mine.count:
        listener.message(f"It was begun with --processes {shown(begun)}; with {mine.count} it is the same but for rounding and batch norm.")
    state = f"goes on from step {training.step:,} to {target:,}" if training.step < target else f"is complete at step {training.step:,}"
    listener.message(f"{run.path} {state}. A larger --steps extends it, --new starts another.")
    return training, target


def check_same(job: Job, run: Run) -> None:
    """RunError if the run was trained on other data or with other options."""
    from elegan.errors import RunError
    from elegan.tasks.job import UNNAMED

    record, config = run.record, run.config
    if record["data"]["fingerprint"] != job.data.fingerprint:
        raise RunError(f"{run.path} was trained on other content of {job.options.data}. Start another run with --new.")
    different = [name for name, value in job.config.items() if name not in UNNAMED and config.get(name, value) != value]
    if different:
        asked = ", ".join(f"{name} {config[name]} there, {job.config[name]} here" for name in different)
        raise RunError(f"{run.path} was trained with other options: {asked}. Start another run with --new.")


def threads_of_resumed(job: Job, record: dict[str, Any]) -> int:
    """Those of its start, where it goes on on a CPU in as many processes: another number would round otherwise."""
    same = job.device.type == "cpu" and record["device"] == "cpu" and record.get("processes", 1) == job.processes.count
    return int(record["threads"]) if same else job.processes.threads()


def make_training(job: Job, run: Run, precision: str, listener: Listener) -> Training:
    from elegan.engine.average import Average
    from elegan.engine.loop import Intervals, Training
    from elegan.engine.turns import Turns

    gan = job.build()
    half_life, useful = job.recipe.average_half_life, job.options.init_from != "none"
    average = Average(gan, half_life, useful=useful) if half_life else None
    turns = Turns(gan, job.recipe.optimizers, job.settings(precision), average)
    return Training(turns, job.batches().at, run, Intervals(1), listener)


def beginning(job: Job) -> GAN:
    """The networks as the training would begin with them, to be measured: those of another run may be grown."""
    from elegan.tasks.transfer import begin_with

    gan = job.build()
    if job.options.init_from != "none":
        with job.processes.together():
            begin_with(gan, None, job.options.init_from)
    return gan


def choose_precision(job: Job) -> tuple[str, dict[str, float]]:
    """What was asked for, or the faster of the two, with the seconds of a round in each."""
    from elegan.engine.measure import faster_precision

    if job.options.precision != "auto":
        return job.options.precision, {}
    if job.spec.is_point:  # bfloat16 has no more than three digits, so it would blur them
        return "fp32", {}
    return faster_precision(beginning(job), job.recipe.optimizers, job.settings("fp32"), job.batches().at)


def steps_within(job: Job, precision: str, minutes: float) -> int:
    from elegan.engine.measure import seconds_per_round

    seconds = seconds_per_round(beginning(job), job.recipe.optimizers, job.settings(precision), job.batches().at)
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
        "processes": job.processes.count,
        "precision": precision,
        "seconds_per_round": timings,
        "data": {**data, "skipped": [vars(one) for one in job.data.skipped]},
        "spec": {**dataclasses.asdict(job.spec), "classes": list(job.spec.classes)},
    }
