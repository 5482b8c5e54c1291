"""From what was asked to what can be trained: options resolved, data prepared, recipe made."""

from __future__ import annotations

import dataclasses
import os
import shutil
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from elegan.data import ImageData, PointData, open_data, open_points, prepare
from elegan.data.batches import Batches
from elegan.engine.loop import Listener
from elegan.engine.processes import ALONE, Processes
from elegan.engine.run import read_mapping, run_name
from elegan.engine.turns import Settings, UpdateName
from elegan.errors import EleganError, OptionError, RunError, nearest
from elegan.game import GAN, Recipe, Spec
from elegan.learning import prepare_networks
from elegan.randomness import key, layer_randomness
from elegan.tasks.options import convert, dashed, spelled
from elegan.tasks.recipes import AUTOMATIC, RecipeModule, file_digest, find_recipe
from elegan.tasks.transfer import freeze

UNNAMED = ("data", "model", "preset", "steps", "device")
"""Options that do not make another run by themselves: it can be made longer, or go on elsewhere; data and model are
named by what they are."""


@dataclass(frozen=True)
class TrainOptions:
    """What training is asked, apart from the options of the recipe."""

    data: str
    model: str = "auto"
    preset: str = "auto"
    labels: str = "auto"
    attributes: str = "none"
    size: str = "auto"
    channels: int = 0
    fit: Literal["crop", "pad", "stretch"] = "crop"
    mirror: bool = False
    seed: int = 0
    precision: str = "auto"
    accumulate: int = 1
    clip: float = 0.0
    update: UpdateName = "alternating"
    compile: bool = False
    init_from: str = "none"
    freeze: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class Job:
    """A training that can start: resolved options, prepared data, the recipe made for them, and the processes that play."""

    options: TrainOptions
    recipe_options: Mapping[str, Any]
    found: RecipeModule
    recipe: Recipe
    data: ImageData | PointData
    processes: Processes = ALONE

    @property
    def spec(self) -> Spec:
        return self.data.spec

    @property
    def config(self) -> dict[str, Any]:
        """All options in one table, as `config.yaml` holds them."""
        return {**dataclasses.asdict(self.options), **self.recipe_options}

    @property
    def name(self) -> str:
        """The run's name: the same for the same data, model and options, however they are spelled.

        Only what differs from the defaults counts, so that an option added later does not rename every run.
        """
        defaults = {**dataclasses.asdict(TrainOptions(data="")), **{name: option.default for name, option in self.found.parameters.items()}}
        changed = {name: value for name, value in self.config.items() if name not in UNNAMED and value != defaults[name]}
        where = self.options.data
        data = str(Path(where).resolve()) if Path(where).exists() else where
        return run_name(self.found.name, self.data.name, {**changed, "data": data, "file": file_digest(self.options.model)})

    def build(self) -> GAN:
        """The networks, initialised by the seed, on the device, in training mode."""
        with layer_randomness(key(self.options.seed, "weights"), torch.device("cpu")), blamed(self.options.model):
            gan = self.recipe.build()
        if self.options.freeze:
            freeze(gan, self.options.freeze)
        gan.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        prepare_networks(gan)
        if self.options.compile:
            for networks in gan.players.values():
                for network in networks:
                    network.compile()
        return gan

    def batches(self) -> Batches:
        """This process's share of each batch."""
        part = self.processes.part(self.recipe.batch)
        options = self.options
        return Batches(self.data, batch=self.recipe.batch, seed=options.seed, mirror=options.mirror, part=part, device=self.device)

    def settings(self, precision: str) -> Settings:
        options = self.options
        return Settings(precision, options.accumulate, options.clip, options.seed, options.update, self.processes)

    @property
    def device(self) -> torch.device:
        return self.processes.device(find_device(self.options.device))


FEW, AGAINST_LEARNING_BY_HEART = 1000, "colour+translation+cutout"
"""Below this many images elegan names this augmentation."""

OTHER_FLAGS = {"config", "minutes", "save_every", "keep", "held_out", "out", "new", "strict", "download", "processes"}
TRAIN_FLAGS = OTHER_FLAGS | {field.name for field in dataclasses.fields(TrainOptions)}


def make_job(asked: Mapping[str, Any], *, strict: bool, download: bool = False, listener: Listener, processes: Processes = ALONE) -> Job:
    """Resolve `asked` (names and values from arguments and configuration files); raises OptionError or DataError.

    The listener is told what was found in the data and what was chosen.
    """
    own, other = divide(asked)
    find_device(own.device)
    if own.model != "auto":
        find_recipe(own.model)  # a misspelt name is said before the data is read
    own, data = read(own, strict, download, listener)
    notes = list(data.notes)
    found = choose_model(own, data, notes)
    device = find_device(own.device).type
    preset, chosen = found.starting_point(own.preset, data.spec, len(data), device, other)
    notes += preset_note(found.name, preset, chosen, data, device)
    own = dataclasses.replace(own, model=own.model if own.model.endswith(".py") else found.name, preset=preset)
    steps = None if "steps" in found.parameters else other.pop("steps", None)
    recipe_options = found.resolve(chosen, other, TRAIN_FLAGS)
    recipe = found.make(data.spec, recipe_options)
    recipe = recipe if steps is None else dataclasses.replace(recipe, steps=convert("steps", steps, int))
    check(own, recipe)
    check_processes(own, recipe, processes)
    notes += label_note(found.name, recipe, data)
    notes += few_note(recipe_options, "augment" in other, data)
    notes += [f"--{dashed(name)} makes no difference: {reason}." for name, reason in recipe.idle.items() if name in other]
    for note in notes:
        listener.message(note)
    return Job(own, recipe_options, found, recipe, data, processes)


def read(own: TrainOptions, strict: bool, download: bool, listener: Listener) -> tuple[TrainOptions, ImageData | PointData]:
    """The data, and the options with what they turned out to mean."""
    points = open_points(own.data)
    if points is not None:
        check_point_options(own)
        return own, points
    size = parse_size(own.size)
    source = open_data(own.data, labels=own.labels, attributes=own.attributes, download=download, announce=listener.message)
    own = dataclasses.replace(own, attributes=",".join(source.attributes) or "none")
    own = dataclasses.replace(own, data=source.where)  # owner/name is hf://owner/name once it was allowed
    return own, prepare(source, size=size, channels=own.channels or None, fit=own.fit, strict=strict, progress=listener.preparing)


def check_point_options(own: TrainOptions) -> None:
    """OptionError for what only images have."""
    defaults = TrainOptions(own.data)
    for name in ("labels", "attributes", "size", "channels", "fit", "mirror"):
        if getattr(own, name) != getattr(defaults, name):
            raise OptionError(f"--{name}: {own.data} holds points, and only images have that. Leave it out.")


def divide(asked: Mapping[str, Any]) -> tuple[TrainOptions, dict[str, Any]]:
    """Options of training itself, with their types, and all others."""
    if not asked.get("data"):
        raise OptionError("no data was given. Name a folder, a zip, a parquet file or `digits`: elegan train digits")
    kinds = typing.get_type_hints(TrainOptions)
    own = {name: convert(name, value, kinds[name]) for name, value in asked.items() if name in kinds}
    return TrainOptions(**own), {name: value for name, value in asked.items() if name not in kinds}


def choose_model(own: TrainOptions, data: ImageData | PointData, notes: list[str]) -> RecipeModule:
    if own.model != "auto":
        return find_recipe(own.model)
    if data.spec.is_point:
        notes.append("Model rpgan, because the data are points. Choose another with --model; `elegan recipes` lists them.")
        return find_recipe("rpgan")
    classes, attributes = data.spec.num_classes, len(data.spec.attributes)
    labels = "only one class" if classes else "no labels"
    name, reason = ("cgan", f"the data has {classes} classes") if classes > 1 else ("dcgan", f"the data has {labels}")
    name, reason = ("cgan", f"{attributes} attributes were asked for") if attributes else (name, reason)
    notes.append(f"Model {name}, because {reason}. Choose another with --model; `elegan recipes` lists them.")
    return find_recipe(name)


def preset_note(model: str, preset: str, chosen: Mapping[str, object], data: ImageData | PointData, device: str) -> list[str]:
    if preset == "none":
        return []
    if preset == AUTOMATIC:
        said = " ".join(f"--{dashed(name)} {spelled(value)}" for name, value in chosen.items())
        images = f"{len(data):,} images of {data.spec.height}x{data.spec.width} on {device}"
        return [f"Chosen for {model} and {images}: {said}. What is given wins; --preset none does without."]
    made_for = "points" if data.spec.is_point else "images of this size"
    return [f"Preset {preset} of {model}, made for {made_for}; --preset none does without."]


def label_note(model: str, recipe: Recipe, data: ImageData | PointData) -> list[str]:
    if recipe.conditional and not data.spec.conditional and not data.spec.is_point:
        return [f"The data has no labels, so {model} runs unconditionally."]
    if data.spec.conditional and not recipe.conditional:
        what = f"{data.spec.num_classes} classes" if data.spec.classes else f"{len(data.spec.attributes)} attributes"
        return [f"The data's {what} are not used: {model} is unconditional. cgan uses them."]
    return []


def few_note(options: Mapping[str, Any], asked: bool, data: ImageData | PointData) -> list[str]:
    """What is against learning few images by heart, where nothing was said of it: on 320 photographs it halved the distance to real ones
    (docs/results.md)."""
    if asked or data.spec.is_point or len(data) >= FEW or options.get("augment") != "none":
        return []
    return [
        f"{len(data):,} images are few, and the discriminator may learn them by heart: --augment {AGAINST_LEARNING_BY_HEART} is against it."
    ]


def parse_size(size: str | int | tuple[int, int]) -> tuple[int, int] | None:
    """64 or "64" -> (64, 64); "64x96" or (64, 96) -> height 64, width 96; "auto" -> None."""
    if size == "auto":
        return None
    size = "x".join(map(str, size)) if isinstance(size, tuple) else str(size)
    sides = size.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise OptionError(f"--size: got {size!r}, expected one number such as 64, or height x width such as 64x96.")
    return int(sides[0]), int(sides[-1])


def check(options: TrainOptions, recipe: Recipe) -> None:
    """OptionError for values that could only fail later."""
    if recipe.steps < 1 or recipe.batch < 1:
        raise OptionError(f"--steps and --batch count from 1; got {recipe.steps} and {recipe.batch}.")
    if options.accumulate < 1 or recipe.batch % options.accumulate:
        raise OptionError(f"--accumulate: {options.accumulate} micro-batches do not divide a batch of {recipe.batch}.")
    if options.precision not in (choices := ("auto", "fp32", "bf16")):
        raise OptionError(f"--precision: got {options.precision!r}. {nearest(options.precision, choices)}")
    if options.freeze < 0:
        raise OptionError(f"--freeze: got {options.freeze}; it counts blocks of the discriminator.")
    if options.freeze and options.init_from == "none":
        raise OptionError(f"--freeze {options.freeze} keeps what a discriminator has learned. Give the run it learned in with --init-from.")
    if not options.clip >= 0:
        raise OptionError(f"--clip: got {options.clip}; a length is at least 0.")
    if options.compile and not any(map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))):
        raise OptionError("--compile needs a C++ compiler (g++ or clang++), and there is none on the path. Train without it.")


def check_processes(options: TrainOptions, recipe: Recipe, processes: Processes) -> None:
    """OptionError where a batch or a machine cannot be shared out."""
    parts, count = processes.count * options.accumulate, processes.count
    if count == 1:
        return
    if recipe.batch % parts:
        micro = f" x {options.accumulate} micro-batches" if options.accumulate > 1 else ""
        raise OptionError(f"--batch: {recipe.batch} images cannot be shared out to {count} processes{micro}; choose a multiple of {parts}.")
    device = find_device(options.device)
    if device.type == "cuda" and device.index is not None:
        raise OptionError(f"--device: got {device} for {count} processes, which take a GPU each. Give cuda.")
    if device.type == "cuda" and processes.local_count > torch.cuda.device_count():
        here = f"{processes.local_count} processes and {torch.cuda.device_count()} GPUs on this machine"
        raise OptionError(f"--device: {here}; each takes one. Start fewer, or use --device cpu.")


def find_device(name: str) -> torch.device:
    """auto: a GPU if there is one, else the CPU; OptionError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OptionError(f"--device: {name!r} is not to be had here. Use auto or cpu.") from error
    return device


def gather(config: str | None, given: Mapping[str, Any], recipe_options: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked: the configuration file's values, then those given beside it."""
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(given.get("size"), tuple):
        given["size"] = "{}x{}".format(*given["size"])
    given |= {name.replace("-", "_"): value for name, value in recipe_options.items()}
    return {**(read_config(Path(config), "model" in given) if config else {}), **given}


def read_config(path: Path, model_given: bool) -> dict[str, Any]:
    """The options in a file; OptionError for flags that a file cannot hold, and for a model's code that nobody named."""
    try:
        asked = {str(name).replace("-", "_"): value for name, value in read_mapping(path).items()}
    except RunError as error:
        raise OptionError(f"--config: {error}") from error
    for name in asked:
        if name in OTHER_FLAGS:
            raise OptionError(f"--config: {path} holds {name}, which is for the command line: give it as --{dashed(name)}.")
    model = str(asked.get("model", ""))
    if model.endswith(".py") and not model_given:
        # The file may have come with a stranger's run; what it names is run as code.
        raise OptionError(f"--config: {path} names the model {model}. Give it with --model too, if you trust that file.")
    return asked


@contextmanager
def blamed(model: str) -> Iterator[None]:
    """An error in a model's file of one's own is reported as one of that file."""
    try:
        yield
    except EleganError:
        raise
    except Exception as error:
        if not model.endswith(".py"):
            raise
        raise OptionError(f"{model}: build() raised {type(error).__name__}: {error}") from error


def memory_estimate(job: Job) -> int:
    """About how many bytes each process of the training takes; RunError, in all of them, with a way out if there are fewer."""
    found, mine = 0, job.processes
    with mine.together():
        if mine.first:
            found = fitting_estimate(job, mine.local_count)
    return mine.tell(found)


def fitting_estimate(job: Job, sharing: int) -> int:
    """The estimate for one of so many processes that share a machine; in float32 where both precisions will be tried."""
    from elegan.engine.memory import memory_free, memory_needed

    own, free = job.options.accumulate, memory_free(job.device)
    free = free // sharing if free is not None and job.device.type == "cpu" else free
    batch = job.recipe.batch // job.processes.count
    precision = "fp32" if job.options.precision == "auto" else job.options.precision
    options = dataclasses.replace(job.options, compile=False)
    alone = dataclasses.replace(job, options=options, recipe=dataclasses.replace(job.recipe, batch=batch), processes=ALONE)

    def needed(parts: int) -> int:
        settings = dataclasses.replace(alone.settings(precision), accumulate=parts)
        return memory_needed(alone.build(), alone.recipe.optimizers, settings, alone.batches().at)

    found = needed(own)
    if free is None or found <= free:
        return found
    ways = (parts for parts in range(own + 1, batch + 1) if batch % parts == 0)
    way = next((f"--accumulate {parts} (the same batch in {parts} parts), " for parts in ways if needed(parts) <= free), "")
    said = f"training takes about {shown_bytes(found)} of memory, and {shown_bytes(free)} are free"
    raise RunError(f"{said}. Try {way}a smaller --batch, --width or --size.")


def shown_bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


@contextmanager
def enough_memory() -> Iterator[None]:
    """RunError with a way out where memory ends."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise RunError("there is not enough memory. Try --accumulate 2, or a smaller --batch, --size or --width.") from error
