"""The training loop: rounds, log, pictures, saves, and an end that loses nothing."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from elegan.engine import checkpoint
from elegan.engine.average import Average, estimate_statistics, sampling
from elegan.engine.log import Log
from elegan.engine.processes import Processes
from elegan.engine.run import Run
from elegan.engine.turns import Turns
from elegan.errors import NotFiniteError, RunError
from elegan.game import GAN, Batch
from elegan.pictures import grid, grid_columns, png, scatter, to_pixels
from elegan.randomness import BatchRandomness, SeedRandomness, key, layer_randomness

LOG_EVERY = 50
TELL_EVERY = 1.0
SAVE_SECONDS = 600.0
STATISTICS_BATCHES = 16
SHOWN_POINTS, SHOWN_REALS = 2500, 32


@dataclass(frozen=True)
class Progress:
    """Where training stands. seconds: of training, earlier sittings included. rate: real images a second, lately."""

    step: int
    steps: int
    images: int
    seconds: float
    rate: float
    seconds_left: float
    readings: dict[str, float]


@dataclass
class Listener:
    """What a caller can hear of a training or an evaluation; each part may be replaced by a function.

    preparing and measuring are told what is done and of how much: of images that are decoded, and of what judging takes.
    """

    progress: Callable[[Progress], None] = lambda progress: None
    message: Callable[[str], None] = lambda text: None
    preparing: Callable[[int, int], None] = lambda done, total: None
    measuring: Callable[[int, int], None] = lambda done, total: None


@dataclass
class Intervals:
    """Steps between saves (with a sample grid each), how many saves are kept, steps between log lines."""

    save: int
    keep: int = 3
    log: int = LOG_EVERY


@dataclass
class Meter:
    """Sums of readings since the last log line, and the time they took."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    steps: int = 0

    def add(self, readings: dict[str, Tensor]) -> None:
        self.steps += 1
        for name, value in readings.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.counts[name] = self.counts.get(name, 0) + 1

    def rate(self, batch: int) -> float:
        """Real images a second, saves included."""
        return self.steps * batch / max(time.perf_counter() - self.started, 1e-9)

    def entry(self, step: int, seconds: float, batch: int) -> dict[str, float]:
        return {"images": step * batch, "seconds": seconds, "images_per_second": self.rate(batch), **self.means()}

    def average(self, processes: Processes) -> None:
        """Over processes: what a variant notes, each notes of its own share of a batch."""
        processes.average(list(self.sums.values()))

    def means(self) -> dict[str, float]:
        return {name: float(total) / self.counts[name] for name, total in self.sums.items()}


class Training:
    """One run: `turns` play rounds on `batches`, and what is needed to go on is kept in `run`.

    Where several processes play, only the first writes into the run and speaks; `batches` gives each its share. `watch` is
    called after each save, with the networks as they were saved; it may change nothing.
    """

    def __init__(
        self, turns: Turns, batches: Callable[[int], Batch], run: Run, intervals: Intervals, listener: Listener, *, sample_seed: int = 0
    ) -> None:
        self.turns, self.batches, self.run = turns, batches, run
        self.intervals, self.listener, self.sample_seed = intervals, listener, sample_seed
        self.step, self.saved, self.seconds, self.target = 0, -1, 0.0, 1
        self.told = self.saved_at = time.perf_counter()
        self.watch: Callable[[Training], None] = lambda training: None

    @property
    def gan(self) -> GAN:
        return self.turns.gan

    @property
    def processes(self) -> Processes:
        return self.turns.settings.processes

    @property
    def sampler(self) -> GAN:
        """What samples are made with: the averaged networks if there are any."""
        return self.turns.average.view(self.gan) if self.turns.average is not None else self.gan

    def resume(self) -> None:
        """Take up the newest whole checkpoint in all processes: the first one says which it is."""
        with self.processes.together():
            if self.processes.first:
                self.take_up_newest()
        step = self.processes.tell(self.saved)
        with self.processes.together():
            if not self.processes.first and step >= 0:
                self.take_up(step)

    def take_up(self, step: int) -> None:
        """The checkpoint that the first process took up; RunError where it cannot be seen."""
        path = self.run.checkpoint_folder / checkpoint.folder_name(step)
        try:
            self.load_state(*checkpoint.load(path))
        except RunError as error:
            raise RunError(f"{error} All processes need to see the run's folder, on every machine.") from error
        if self.step != step:
            raise RunError(f"{path} is of step {self.step}, that of the first process of step {step}. All need to see the same folder.")

    def take_up_newest(self) -> None:
        """A checkpoint that is damaged is passed over, and the listener is told."""
        saved, damaged = checkpoint.checkpoints(self.run.checkpoint_folder), []
        for path in saved:
            try:
                self.load_state(*checkpoint.load(path))
                break
            except RunError as error:
                self.listener.message(f"{path.name}: {error} Falling back to the save before it.")
                damaged.append(path)
        if saved and self.saved < 0:
            raise RunError(f"none of the {len(saved)} saves in {self.run.checkpoint_folder} is whole. Start afresh with --new.")
        for path in damaged:  # or they would count among the newest that are kept
            checkpoint.set_aside(path)
        self.run.cut_log(self.step)

    def train(self, steps: int) -> str | None:
        """Play until `steps` rounds are done; the name of the signal that ended it earlier, if one did.

        Saves at intervals, at the end and after a signal. After an error, such as a number that is not finite, the last
        save stands.
        """
        self.target = steps
        self.turns.agreed_to_stop = False
        with stop_signals() as self.turns.signals, Log(self.run) if self.processes.first else nullcontext() as log:
            meter, batch = Meter(), self.batches(self.step).random.total
            self.told = self.saved_at = time.perf_counter()
            while self.step < steps and not self.turns.stopping:
                meter.add(self.play())
                if self.step % self.intervals.log == 0 or self.step == steps:
                    meter.average(self.processes)
                    self.tell(meter, steps, batch)
                    if log is not None:
                        log.write(self.step, meter.entry(self.step, self.seconds, batch))
                    meter = Meter()
                elif time.perf_counter() - self.told > TELL_EVERY:
                    self.tell(meter, steps, batch)
                overdue = time.perf_counter() - self.saved_at > SAVE_SECONDS  # saving changes no number, so it may depend on the clock
                if self.step < steps and (self.step % self.intervals.save == 0 or overdue):
                    self.save()
            with self.processes.together():
                self.save()
        if self.turns.signals:
            return self.turns.signals[0]
        return "SIGTERM" if self.turns.stopping else None  # it was another process that was told

    def play(self) -> dict[str, Tensor]:
        started = time.perf_counter()
        try:
            batch = replace(self.batches(self.step), progress=min(1.0, self.step / self.target))
            readings = self.turns.round(batch, self.step)
        except NotFiniteError as error:
            kept = f"The last good state is step {self.saved}, saved in {self.run.checkpoint_folder}."
            advice = "Lower the learning rates" + (", or use --precision fp32." if self.turns.settings.precision == "bf16" else ".")
            raise NotFiniteError(f"{error} {kept if self.saved >= 0 else 'Nothing was saved yet.'} {advice}") from error
        self.step += 1
        self.seconds += time.perf_counter() - started
        return readings

    def tell(self, meter: Meter, steps: int, batch: int) -> None:
        self.told, rate = time.perf_counter(), meter.rate(batch)
        left = (steps - self.step) * batch / rate
        self.listener.progress(Progress(self.step, steps, self.step * batch, self.seconds, rate, left, meter.means()))

    def save(self) -> None:
        """A checkpoint and a sample grid of the same moment, unless this step is saved already."""
        if self.saved == self.step or not self.processes.first:
            return
        self.refresh_statistics()
        files = {"weights": self.weights(), "optimizers": optimizer_tensors(self.turns)}
        meta = {"updates": self.turns.updates, "seconds": self.seconds}
        checkpoint.save(self.run.checkpoint_folder, self.step, files, meta)
        self.saved, self.saved_at = self.step, time.perf_counter()
        checkpoint.prune(self.run.checkpoint_folder, self.intervals.keep)
        self.save_grid()
        self.save_views()
        self.watch(self)

    def refresh_statistics(self) -> None:
        """The averaged networks' batch norm statistics, estimated from their own samples."""
        if self.turns.average is None:
            return
        with layer_randomness(key(self.sample_seed, "statistics"), self.turns.device):
            estimate_statistics(self.sampler, self.statistics_batches())

    def statistics_batches(self) -> Iterator[Batch]:
        """Conditions as in the data, noise of their own; made one by one, and not at all where no batch norm asks for them.

        As many samples as one process would take: the first has only its share of each batch, so it takes more batches.
        """
        seed = key(self.sample_seed, "statistics")
        for number in range(STATISTICS_BATCHES * self.processes.count):
            batch = self.batches(number)
            random = BatchRandomness(seed, number, 0, len(batch), len(batch), self.turns.device)
            yield Batch(batch.real, batch.condition, random)

    def save_grid(self) -> None:
        """Seeds 0 to 63, and on to the end of the row; unselected. With up to 16 classes a column for each. Of points more."""
        spec, columns = self.gan.spec, grid_columns(self.gan.spec.num_classes, 64)
        seeds = tuple(range(SHOWN_POINTS if spec.is_point else -(-64 // columns) * columns))
        with sampling(self.sampler) as gan:
            conditions = gan.spec.conditions_of(seeds)
            conditions = None if conditions is None else conditions.to(self.turns.device)
            samples = gan.sample(SeedRandomness(seeds, self.turns.device), conditions)
        shown = scatter(spec.points_of(samples).numpy(), spec.frame) if spec.is_point else grid(to_pixels(samples), columns)
        picture = png(shown)
        checkpoint.write_file(self.run.path / "samples" / f"{self.step:08d}.png", picture)
        checkpoint.write_file(self.run.path / "samples.png", picture)

    def save_views(self) -> None:
        """What else the variant shows, of some real images, as NAME.png in the run."""
        batch = replace(self.batches(0), progress=min(1.0, self.step / self.target))
        with sampling(self.sampler) as gan, layer_randomness(key(self.sample_seed, "views"), self.turns.device):
            for name, images in gan.views(batch.first(min(SHOWN_REALS, len(batch)))).items():
                checkpoint.write_file(self.run.path / f"{name}.png", png(grid(to_pixels(images), SHOWN_REALS // 4)))

    def weights(self) -> checkpoint.Tensors:
        tensors = {f"gan.{name}": value for name, value in self.gan.state_dict().items()}
        if self.turns.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.turns.average.state_dict().items()}
        return tensors

    def load_state(self, files: dict[str, checkpoint.Tensors], meta: dict[str, Any]) -> None:
        """RunError, and nothing changed but weights, if something is missing."""
        try:
            step, seconds = int(meta["step"]), float(meta["seconds"])
            updates = {name: int(meta["updates"][name]) for name in self.turns.updates}
            weights, optimizers = files["weights"], files["optimizers"]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"a save lacks what it should hold: {error}.") from error
        load_weights(self.gan, self.turns.average, weights)
        load_optimizers(self.turns, optimizers)
        self.step, self.saved, self.seconds, self.turns.updates = step, step, seconds, updates


def load_weights(gan: GAN, average: Average | None, tensors: checkpoint.Tensors) -> None:
    """RunError if the tensors are not those of these networks."""
    parts = {"gan.": gan} if average is None else {"gan.": gan, "average.": average}
    for prefix, module in parts.items():
        mine = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        try:
            module.load_state_dict(mine)
        except RuntimeError as error:
            raise RunError(f"the saved weights do not fit the networks: {' '.join(str(error).split())[:300]}") from error


def optimizer_tensors(turns: Turns) -> checkpoint.Tensors:
    return {
        f"{player}.{index}.{name}": value
        for player, optimizer in turns.optimizers.items()
        for index, weight in enumerate(turns.weights[player])
        for name, value in optimizer.state.get(weight, {}).items()
    }


def load_optimizers(turns: Turns, tensors: checkpoint.Tensors) -> None:
    """Put the moments back, each in the memory layout of its weight: the fused step walks both in storage order. RunError if they are
    not those of these weights."""
    for player, optimizer in turns.optimizers.items():
        optimizer.state.clear()
        for index, weight in enumerate(turns.weights[player]):
            prefix = f"{player}.{index}."
            mine = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            if any(value.dim() and value.shape != weight.shape for value in mine.values()):
                raise RunError(f"the saved optimizer of the {player} does not fit its weights: it was made with other options.")
            if mine:
                optimizer.state[weight] = {name: like(weight, value) for name, value in mine.items()}


def like(weight: Tensor, value: Tensor) -> Tensor:
    if value.shape != weight.shape:
        return value.to(weight.device)
    return torch.empty_like(weight, dtype=value.dtype, requires_grad=False).copy_(value)


@contextmanager
def stop_signals() -> Iterator[list[str]]:
    """While inside, Ctrl-C and SIGTERM put their name into the list instead of ending the program; a second one ends it."""
    received: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # only the main thread may set handlers
        return

    def note(number: int, frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
