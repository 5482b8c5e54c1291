"""Points instead of images: distributions that are known, a file of numbers, or a picture that points are drawn from."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from elegan.data.images import Unreadable, damage, open_image
from elegan.data.source import Labels, Rows, Values, check_split, digest
from elegan.divergences.mixtures import GaussianMixture, grid, ring
from elegan.errors import DataError
from elegan.game import Axis, Spec

COUNT = 100_000
"""Points drawn where a distribution is known, as of the published comparisons (Lin et al., 2018, section 4.2)."""

LARGEST = 256
"""Axes that a point may have."""

FILES, PICTURES = (".csv", ".npy"), (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")

Draw = Callable[[int, np.random.Generator], Values]


@dataclass(frozen=True, eq=False)
class PointData:
    """Points ready for training.

    spec: their axes. points: (n, d) float64, as they are in the data. mixture: what they were drawn from, if that is known
    and is a mixture of Gaussians. fingerprint: a hash of the points. They have no classes and no attributes.
    """

    spec: Spec
    points: Values
    name: str
    where: str
    fingerprint: str
    mixture: GaussianMixture | None = None
    notes: list[str] = field(default_factory=list)
    skipped: tuple[()] = ()

    labels: Labels | None = None
    values: Values | None = None

    def __len__(self) -> int:
        return len(self.points)

    def real(self, rows: Rows, device: torch.device) -> Tensor:
        """These points as networks see them: (n, d, 1, 1) float32."""
        return self._seen[rows].to(device)

    @cached_property
    def _seen(self) -> Tensor:
        return self.spec.seen(torch.from_numpy(self.points))


def moons(count: int, random: np.random.Generator) -> Values:
    """Two half circles of radius 1 that reach into one another, with noise of 0.05."""
    angles, upper = random.uniform(0, np.pi, count), random.integers(0, 2, count).astype(bool)
    x, y = np.where(upper, np.cos(angles), 1 - np.cos(angles)), np.where(upper, np.sin(angles), 0.5 - np.sin(angles))
    return np.stack([x, y], 1) + 0.05 * random.standard_normal((count, 2))


def spiral(count: int, random: np.random.Generator) -> Values:
    """Two arms around the origin, one and a half turns each, evenly along their length, with noise of 0.02."""
    angles = 3 * np.pi * np.sqrt(random.uniform(0.01, 1, count))  # r grows with the angle, so length about with its square
    side = random.choice([-1.0, 1.0], count)
    arms: Values = (side * angles / (3 * np.pi))[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    return arms + 0.02 * random.standard_normal((count, 2))


def swiss_roll(count: int, random: np.random.Generator) -> Values:
    """The spiral that the swiss roll is in the plane: from 1.5 pi to 4.5 pi, with noise of 0.25."""
    angles = 1.5 * np.pi * (1 + 2 * random.uniform(0, 1, count))
    roll: Values = angles[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    return roll + 0.25 * random.standard_normal((count, 2))


MIXTURES: dict[str, Callable[[], GaussianMixture]] = {"ring": ring, "grid": grid}
"""Eight and 25 peaks, as of Lin et al. (2018, section 4.2)."""

SHAPES: dict[str, Draw] = {"moons": moons, "spiral": spiral, "swiss_roll": swiss_roll}
POINTS = (*MIXTURES, *SHAPES)


MOST = 1e30
"""The largest number that a point may have: its square still fits float64 with room to spare, and its share of a scale float32."""


def is_named(where: str) -> bool:
    """Whether it is a name of `POINTS`; what is here by that name is meant before it."""
    return where in POINTS and not Path(where).exists()


def has_splits(where: str) -> bool:
    """Whether there are other points to test with: what is drawn can be drawn again."""
    return is_named(where) or Path(where).suffix.lower() in PICTURES


def open_points(where: str, split: str = "train") -> PointData | None:
    """The points at `where`: a name of `POINTS`, a .csv or .npy file of numbers, a picture; None if it is none of these.

    Of a known distribution 100,000 are drawn, others for each split, and of a picture as many, more where it is darker.
    DataError for a file that cannot be read, has no numbers, or too many axes; there is a test split of what is drawn only.
    """
    check_split(split)
    path, seed = Path(os.path.expanduser(where)), int(split == "test")
    if is_named(where) and where in MIXTURES:
        mixture = MIXTURES[where]()
        return made(mixture.sample(COUNT, seed).numpy(), where, together=True, mixture=mixture)
    if is_named(where):
        return made(SHAPES[where](COUNT, np.random.default_rng(seed)), where, together=True)
    if not path.is_file() or path.suffix.lower() not in (*FILES, *PICTURES):
        return None
    if path.suffix.lower() in PICTURES:
        return made(drawn_from(path, np.random.default_rng(seed)), where, together=True)
    if split == "test":
        raise DataError(f"{where} has no test split: it is one file of numbers. Give the other points as a file of their own.")
    names, numbers = read_npy(path) if path.suffix.lower() == ".npy" else read_csv(path)
    return made(numbers, where, names=names)


def made(
    points: Values, where: str, *, together: bool = False, names: list[str] | None = None, mixture: GaussianMixture | None = None
) -> PointData:
    """together: all axes have one scale, as those of a plane; else each has its own, as columns of a table."""
    check(points, where)
    centres, scales = points.mean(0), points.std(0)
    scales = np.full_like(scales, np.sqrt((scales**2).mean())) if together else scales
    count = points.shape[1]
    names = names or (["x", "y", "z"][:count] if count <= 3 else [f"x{i}" for i in range(count)])
    axes = tuple(Axis(*one) for one in zip(names, centres.tolist(), np.where(scales > 0, scales, 1.0).tolist(), strict=True))
    spec, notes = Spec(len(axes), 1, 1, axes=axes), [f"{len(points):,} points with the axes {', '.join(names)}."]
    return PointData(spec, points, Path(where).stem, where, digest(points.tobytes(), names), mixture, notes)


def check(points: Values, where: str) -> None:
    count, axes = points.shape
    if count < 2 or not 1 <= axes <= LARGEST:
        raise DataError(f"{where} has {count} points with {axes} axes: expected 2 points or more, with 1 to {LARGEST} axes.")
    if bad := int((~(np.abs(points) < MOST)).any(1).sum()):
        raise DataError(
            f"{bad} of the {count} points in {where} have a number that is not finite, or beyond {MOST:g}. Mend or remove them."
        )


def read_npy(path: Path) -> tuple[None, Values]:
    try:
        numbers = np.load(path, allow_pickle=False)
        if numbers.dtype.kind not in "biuf" or numbers.ndim not in (1, 2):
            raise ValueError(f"it holds {numbers.dtype} of the shape {numbers.shape}")
        return None, np.atleast_2d(numbers.T).T.astype(np.float64)
    except (OSError, ValueError, EOFError, TypeError, MemoryError) as error:
        raise DataError(f"{path} cannot be read as an array of numbers (n, d): {error}") from error


def read_csv(path: Path) -> tuple[list[str] | None, Values]:
    """Numbers, a point in each line; the first line may name the axes."""
    try:
        reader = csv.reader(path.read_text(encoding="utf-8-sig").splitlines())
        numbered = [(reader.line_num, line) for line in reader if line]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
    head = numbered[0][1] if numbered and not all(map(is_number, numbered[0][1])) else None
    rows = [line for _, line in numbered[1 if head else 0 :]]
    for number, line in numbered[1 if head else 0 :]:
        if len(line) != len(rows[0]) or not all(map(is_number, line)):
            expected = f"expected {len(rows[0])} numbers with commas between them"
            raise DataError(f"line {number} of {path} is no point: {expected}, got {','.join(line)[:60]!r}.")
    if not rows or (head and len(head) != len(rows[0])):
        raise DataError(f"{path} has no points, or other names than columns: expected lines of numbers with commas between them.")
    return head, np.array([[float(cell) for cell in line] for line in rows])


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def drawn_from(path: Path, random: np.random.Generator) -> Values:
    """Points as dense as the picture is dark, within [-1, 1] on its longer side, y upwards."""
    try:
        with damage(), open_image(path.read_bytes()) as image:
            seen = image.convert("RGBA")
            seen = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)  # what is clear is not dark
            dark = 255.0 - np.asarray(seen.convert("L"), np.float64)
    except Unreadable as error:
        raise DataError(f"{path} cannot be read as a picture: {error}.") from error
    if not dark.any():
        raise DataError(f"{path} is all white: points are drawn where a picture is dark. Give one with something on it.")
    height, width = dark.shape
    cells = random.choice(dark.size, COUNT, p=(dark / dark.sum()).ravel())
    rows, columns = np.divmod(cells, width)
    places = np.stack([columns + random.uniform(0, 1, COUNT), rows + random.uniform(0, 1, COUNT)], 1)
    scaled: Values = (2 * places - [width, height]) / max(width, height) * [1, -1]
    return scaled
