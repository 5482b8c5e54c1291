"""Samples of a trained run: a grid, a folder of pictures or an npz file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import OptionError, RunError
from elegan.tasks.loading import load, spec_of
from elegan.tasks.model import Model
from elegan.tasks.options import WORDS, convert
from elegan.tasks.seeds import parse_seeds

if TYPE_CHECKING:
    import numpy as np

    from elegan.engine.loop import Listener
    from elegan.pictures import Pixels

Arrays = dict[str, "np.ndarray[Any, np.dtype[Any]]"]

OTHER_PICTURES = {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pdf", ".svg"}


def sample(
    run: str | os.PathLike[str],
    *,
    seeds: str | int | None = None,  # and what else `parse_seeds` takes; named here, the command line would offer --empty-seeds
    class_: str | None = None,
    attributes: str | None = None,
    out: str | Path | None = None,
    columns: int | None = None,
    truncation: float = 1.0,
    truncation_cutoff: int | None = None,
    best: bool = False,
    model: str | None = None,
    device: str = "auto",
    listener: Listener | None = None,
) -> Path:
    """Make samples with a trained RUN: a grid, a folder of pictures, or an npz file.

    Parameters
    ----------
    run
        A run directory, or the name of one in ./runs.
    seeds
        Which samples: 0-35 or 1,2,5-10. A seed always gives the same picture. Without it 0-63, of points 0-2499.
    class_
        Only this class, by name or, if no class is named by a number, by its position from 0. Without it seed i is of
        class i modulo the number of classes.
    attributes
        Values such as age=30,smiling=1 for a model trained with --attributes. Those left out are as in one of the training
        images, another for each of the first seeds.
    out
        NAME.png for one grid; NAME.npz for arrays (images, labels, seeds); any other name for a folder with a picture
        for each seed, in a subfolder for each class if there are classes. Without it samples-SEEDS.png in the run. Points
        go into a picture, NAME.png, a table, NAME.csv, or an array, NAME.npy.
    columns
        Columns of the grid. Without it one for each class if there are 2 to 16 classes, else as many as rows.
    truncation
        From 1, samples as they come, down to 0: less gives likelier samples that are more alike. Styles move towards the mean
        style, of the class if there is one; noise stays nearer to 0.
    truncation_cutoff
        Truncate only the first so many layers of the latents, the coarse ones.
    best
        From the best save, not the newest, if the run was trained with --held-out.
    model
        The file of your own that the run was trained with, if it was one.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.
    listener
        Functions that are told of progress and messages.

    Returns where the samples are. Raises RunError or OptionError for what a person has to mend.
    """
    from elegan.engine.checkpoint import reason
    from elegan.engine.run import find_run
    from elegan.pictures import grid_columns
    from elegan.tasks.points import sample_points

    found = find_run(run)
    if spec_of(found).is_point:
        only: dict[str, object] = {
            "--class": class_,
            "--attributes": attributes,
            "--columns": columns,
            "--truncation-cutoff": truncation_cutoff,
        }
        only["--truncation"] = None if truncation == 1 else truncation
        said = ", ".join(f"{flag} {value}" for flag, value in only.items() if value is not None)
        return sample_points(found, seeds, said, Path(out) if out else None, best, model, device, listener)
    numbers = parse_seeds("0-63" if seeds is None else seeds)
    if columns is not None and columns < 1:
        raise OptionError(f"--columns: got {columns}, expected at least 1.")
    if out:
        check_target(Path(out))
    loaded = load(found, model=model, best=best, device=device)
    if listener is not None:
        for note in loaded.notes:
            listener.message(note)
    classes, names = loaded.classes_of(numbers, class_), folder_names(loaded.spec.classes)
    asked = parse_attributes(attributes)
    said = asked_name(loaded, class_, attributes, truncation, truncation_cutoff)
    target = Path(out) if out else found.path / (("best-" if best else "") + grid_name(numbers, said or None))
    check_target(target)
    pixels = loaded.sample(numbers, class_, asked, truncation=truncation, cutoff=truncation_cutoff)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.suffix.lower() == ".png":
            write_grid(target, pixels, min(columns, len(numbers)) if columns else grid_columns(len(names), len(numbers)))
        elif target.suffix.lower() == ".npz":
            write_arrays(target, pixels, conditions_shown(loaded, numbers, class_, asked), numbers)
        else:
            write_folder(target, pixels, [names[c] for c in classes] if names else None, numbers)
    except OSError as error:
        raise RunError(f"could not write {target}: {reason(error)}. Choose another place with --out.") from error
    return target


def parse_attributes(said: str | None) -> dict[str, float]:
    """ "age=30,smiling=1" -> {"age": 30.0, "smiling": 1.0}; OptionError for anything else."""
    found: dict[str, float] = {}
    for part in (said or "").split(","):
        name, equals, value = part.rpartition("=")
        if part.strip() and not equals:
            raise OptionError(f"--attributes: got {part.strip()!r}, expected NAME=VALUE, such as age=30,smiling=1.")
        if equals:
            word = value.strip().lower()
            found[name.strip()] = float(WORDS[word]) if word in WORDS else convert("attributes", word, float)
    return found


def conditions_shown(model: Model, seeds: tuple[int, ...], class_: str | None, attributes: dict[str, float]) -> Arrays:
    """What each sample was asked to be: labels int64 (n,), or attributes float64 (n, k) in their own units and their names."""
    import numpy as np

    conditions = model.conditions_of(seeds, class_, attributes)
    if conditions is None:
        return {}
    if model.spec.classes:
        return {"labels": conditions.numpy()}
    low, high = (np.array([getattr(one, side) for one in model.spec.attributes]) for side in ("low", "high"))
    names = np.array([one.name for one in model.spec.attributes])
    return {"attributes": low + (conditions.double().numpy() + 1) / 2 * (high - low), "attribute_names": names}


def check_target(target: Path) -> None:
    """OptionError for a kind of file that is not made, RunError if a file is where a folder is to be, or a folder for a file."""
    suffix = target.suffix.lower()
    if suffix in OTHER_PICTURES:
        raise OptionError(f"--out: {target} cannot be made, only NAME.png (a grid), NAME.npz (arrays) and folders (a png for each seed).")
    if suffix in (".png", ".npz") and target.is_dir():
        raise RunError(f"{target} is a folder, and a {suffix} file is to be written there. Choose another name with --out.")
    if suffix not in (".png", ".npz") and target.exists() and not target.is_dir():
        raise RunError(f"{target} is a file, and a folder is to be made there. Choose another name with --out, or NAME.png, or NAME.npz.")


def grid_name(seeds: tuple[int, ...], class_: str | None) -> str:
    """The name of a grid without --out, shorter than 80 characters: samples-0-35.png, samples-1_5-8-CLASS.png."""
    return f"samples-{seeds_name(seeds)}" + ("" if class_ is None else f"-{shortened(class_, 24)}") + ".png"


def seeds_name(seeds: tuple[int, ...]) -> str:
    """What a file's name says of seeds, in at most 40 characters: 0-35, 1_5-8."""
    groups = [[seed for _, seed in group] for _, group in groupby(enumerate(seeds), lambda pair: pair[1] - pair[0])]
    said = [f"{group[0]}-{group[-1]}" if len(group) > 2 else "_".join(map(str, group)) for group in groups]
    return shortened("_".join(said), 40)


def asked_name(model: Model, class_: str | None, attributes: str | None, truncation: float, cutoff: int | None) -> str:
    """What a picture's name says of what its samples were asked to be; empty where that is nothing. OptionError for another class."""
    named = None if class_ is None else folder_names(model.spec.classes)[model.class_number(class_)]
    words = safe_name(attributes) if attributes else named, truncated_name(truncation, cutoff)
    return "-".join(word for word in words if word)


def truncated_name(truncation: float, cutoff: int | None) -> str:
    """What a picture's name says of this: nothing where there is none."""
    return "" if truncation == 1 else f"truncated-{truncation:g}" + ("" if cutoff is None else f"-{cutoff}")


def shortened(name: str, most: int) -> str:
    """`name` in at most `most` characters: cut, with a hash of the whole."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return name if len(name) <= most else f"{name[: most - 9]}-{digest}"


def write_grid(target: Path, pixels: Pixels, columns: int) -> None:
    from elegan.engine.checkpoint import write_file
    from elegan.pictures import grid, png

    write_file(target, png(grid(pixels, columns)))


def write_arrays(target: Path, pixels: Pixels, conditions: Arrays, seeds: tuple[int, ...]) -> None:
    """images uint8 (n, h, w, c), seeds int64 (n,), and what the samples were asked to be."""
    from io import BytesIO

    import numpy as np

    from elegan.engine.checkpoint import write_file

    arrays = {"images": pixels, "seeds": np.array(seeds, np.int64), **conditions}
    buffer = BytesIO()  # given a name, numpy would add .npz to one that ends in .NPZ
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_file(target, buffer.getvalue())


def write_folder(target: Path, pixels: Pixels, folders: list[str] | None, seeds: tuple[int, ...]) -> None:
    """seed0000.png, ..., each in the folder of its class: a folder that `elegan train` reads."""
    from elegan.pictures import to_image

    for i, seed in enumerate(seeds):
        folder = target / folders[i] if folders else target
        folder.mkdir(parents=True, exist_ok=True)
        to_image(pixels[i]).save(folder / f"seed{seed:04d}.png")


def folder_names(classes: Sequence[str]) -> list[str]:
    """For each class the name of its folder: safe, and no two the same, also where case does not count.

    A class whose name is safe keeps it; of the others, one that would be like another gets -2, and so on.
    """
    names, taken = [""] * len(classes), set[str]()
    for i in sorted(range(len(classes)), key=lambda i: safe_name(classes[i]) != classes[i]):
        number, name = 1, safe_name(classes[i])
        while name.casefold() in taken:
            number += 1
            name = f"{safe_name(classes[i])}-{number}"
        names[i] = name
        taken.add(name.casefold())
    return names


def safe_name(name: str) -> str:
    """A class's name as one folder's name: class names come from files, and could climb out of the target."""
    return shortened("".join(c if c.isalnum() or c in " -_" else "_" for c in name).strip() or "_", 60)
