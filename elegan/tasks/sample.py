"""Samples of a trained run: as arrays, a grid, a folder of pictures or an npz file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import OptionError, RunError, nearest

if TYPE_CHECKING:
    import torch

    from elegan.game import GAN, Spec
    from elegan.pictures import Pixels

CHUNK = 64
"""Samples are made so many at a time, always: the same numbers then go through the same arithmetic for each seed."""


@dataclass(frozen=True)
class Model:
    """A trained generator, ready to make samples."""

    gan: GAN
    step: int

    @property
    def spec(self) -> Spec:
        return self.gan.spec

    def sample(self, seeds: str | int | Iterable[int], class_: str | int | None = None) -> Pixels:
        """uint8 (n, h, w, c): one picture for each seed ("0-35", "1,2,5-10", a number, or numbers).

        Seed i is always the same picture. Without `class_` seed i is of class i modulo the number of classes.
        Raises OptionError for seeds or a class that cannot be understood.
        """
        import numpy as np

        numbers = parse_seeds(seeds)
        classes = self.classes_of(numbers, class_)
        chunks = [self.chunk(numbers[i : i + CHUNK], classes[i : i + CHUNK]) for i in range(0, len(numbers), CHUNK)]
        return np.concatenate(chunks)

    def classes_of(self, seeds: tuple[int, ...], class_: str | int | None) -> tuple[int, ...]:
        """The class number of each seed; all 0 without classes."""
        names = self.spec.classes
        if class_ is None:
            return tuple(seed % len(names) if names else 0 for seed in seeds)
        if not names:
            raise OptionError(f"--class {class_}: this model knows no classes, because it was trained without labels.")
        if str(class_) in names:
            return (names.index(str(class_)),) * len(seeds)
        if str(class_).isdigit() and int(class_) < len(names):
            return (int(class_),) * len(seeds)
        raise OptionError(f"--class: there is no class {class_!r}. {nearest(str(class_), names)}")

    def chunk(self, seeds: tuple[int, ...], classes: tuple[int, ...]) -> Pixels:
        import torch

        from elegan.engine.average import sampling
        from elegan.game import SeedRandomness
        from elegan.pictures import to_pixels

        device = next(self.gan.parameters()).device
        padding = CHUNK - len(seeds)
        condition = torch.tensor([*classes, *[0] * padding], device=device) if self.spec.classes else None
        with sampling(self.gan) as gan:
            samples = gan.sample(SeedRandomness((*seeds, *[0] * padding), device), condition)
        return to_pixels(samples[: len(seeds)])


def parse_seeds(seeds: str | int | Iterable[int]) -> tuple[int, ...]:
    """ "0-3" -> (0, 1, 2, 3); "1,2,5-7" -> (1, 2, 5, 6, 7). OptionError for anything else."""
    if isinstance(seeds, int):
        return (seeds,)
    if not isinstance(seeds, str):
        return tuple(seeds)
    numbers: list[int] = []
    for part in seeds.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
            raise OptionError(f"--seeds: got {seeds!r}, expected numbers and ranges such as 0-35 or 1,2,5-10.")
        numbers += range(int(first), int(last or first) + 1)
    return tuple(numbers)


def load(run: str | Path, *, model: str | None = None, device: str = "auto") -> Model:
    """The generator of a run (a run directory, or a run's name in `runs`), at its newest whole save.

    model: the file the run was trained with, if it was a file of your own: code is never taken from a run directory.
    Raises RunError if there is no such run or no whole save, OptionError for a model or a device that is not here.
    """
    import torch

    from elegan.engine.average import Average
    from elegan.engine.loop import load_weights
    from elegan.engine.run import find_run
    from elegan.tasks.job import find_device

    found = find_run(run)
    recipe = recipe_of_run(found.config, found.record, model)
    gan = recipe.build()
    average = Average(gan, recipe.average_half_life) if recipe.average_half_life else None
    files, step = newest_weights(found.checkpoint_folder)
    load_weights(gan, average, files)
    gan = (average.view(gan) if average else gan).to(find_device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(gan, step)


def newest_weights(folder: Path) -> tuple[dict[str, torch.Tensor], int]:
    from elegan.engine import checkpoint

    reasons = []
    for path in checkpoint.checkpoints(folder):
        try:
            files, meta = checkpoint.load(path)
            return files["weights"], int(meta["step"])
        except (RunError, KeyError) as error:
            reasons.append(str(error))
    raise RunError(f"{folder} has no whole save. {' '.join(reasons) or 'Train it first.'}")


def recipe_of_run(config: dict[str, Any], record: dict[str, Any], model: str | None) -> Any:
    """The recipe that a run's files describe; RunError if they do not describe one."""
    from elegan.game import Spec
    from elegan.tasks.recipes import find_recipe

    named = str(config.get("model"))
    if named.endswith(".py") and model is None:
        raise RunError(f"this run was trained with {named}. Give that file with --model, if you trust it.")
    found = find_recipe(model or named)
    try:
        described = record["spec"]
        channels, height, width = (int(described[name]) for name in ("channels", "height", "width"))
        spec = Spec(channels, height, width, tuple(map(str, described["classes"])))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"record.json does not say what a sample is: {error}.") from error
    return found.make(spec, found.resolve("none", {name: config[name] for name in found.parameters if name in config}))


def sample(
    run: str,
    *,
    seeds: str = "0-63",
    class_: str | None = None,
    out: str | None = None,
    columns: int | None = None,
    model: str | None = None,
    device: str = "auto",
) -> Path:
    """Make samples with a trained RUN: a grid, a folder of pictures, or an npz file.

    Parameters
    ----------
    run
        A run directory, or the name of one in ./runs.
    seeds
        Which samples: 0-35 or 1,2,5-10. A seed always gives the same picture.
    class_
        Only this class, by name or number. Without it seed i is of class i modulo the number of classes.
    out
        NAME.png for one grid; NAME.npz for arrays (images, labels, seeds); any other name for a folder with a picture
        for each seed, in a subfolder for each class if there are classes. Without it samples-SEEDS.png in the run.
    columns
        Columns of the grid. Without it as many as classes, at least 8, at most 16.
    model
        The file of your own that the run was trained with, if it was one.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.

    Returns where the samples are. Raises RunError or OptionError for what a person has to mend.
    """
    from elegan.engine.run import find_run
    from elegan.pictures import grid_columns

    numbers = parse_seeds(seeds)
    loaded = load(run, model=model, device=device)
    pixels, classes = loaded.sample(numbers, class_), loaded.classes_of(numbers, class_)
    named = "" if class_ is None else f"-{class_}"
    target = Path(out) if out else find_run(run).path / f"samples-{seeds.replace(',', '_')}{named}.png"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix == ".png":
            write_grid(target, pixels, columns or grid_columns(loaded.spec.num_classes, len(numbers)))
        elif target.suffix == ".npz":
            write_arrays(target, pixels, classes if loaded.spec.classes else None, numbers)
        else:
            write_folder(target, pixels, [loaded.spec.classes[c] for c in classes] if loaded.spec.classes else None, numbers)
    except OSError as error:
        raise RunError(f"could not write {target}: {error.strerror}.") from error
    return target


def write_grid(target: Path, pixels: Pixels, columns: int) -> None:
    from elegan.engine.checkpoint import write_file
    from elegan.pictures import grid, png

    write_file(target, png(grid(pixels, columns)))


def write_arrays(target: Path, pixels: Pixels, classes: tuple[int, ...] | None, seeds: tuple[int, ...]) -> None:
    """images uint8 (n, h, w, c), seeds int64 (n,), and with classes labels int64 (n,)."""
    import numpy as np

    arrays = {"images": pixels, "seeds": np.array(seeds, np.int64)}
    if classes is not None:
        arrays["labels"] = np.array(classes, np.int64)
    np.savez_compressed(target, **arrays)  # type: ignore[arg-type]


def write_folder(target: Path, pixels: Pixels, classes: list[str] | None, seeds: tuple[int, ...]) -> None:
    """seed0000.png, ..., each in the folder of its class: a folder that `elegan train` reads."""
    from elegan.pictures import to_image

    for i, seed in enumerate(seeds):
        folder = target / safe_name(classes[i]) if classes else target
        folder.mkdir(parents=True, exist_ok=True)
        to_image(pixels[i]).save(folder / f"seed{seed:04d}.png")


def safe_name(name: str) -> str:
    """A class's name as one folder's name: class names come from files, and could climb out of the target."""
    return "".join(c if c.isalnum() or c in " -_" else "_" for c in name).strip() or "_"
