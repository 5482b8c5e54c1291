"""Several runs side by side: the same scores by the same protocol, and what they make of the same seeds."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import OptionError, RunError
from elegan.tasks.judges import FeaturesName

if TYPE_CHECKING:
    from elegan.engine.loop import Listener
    from elegan.metrics.report import Evaluation, Score
    from elegan.pictures import Pixels

SEEDS = range(16)
"""Of the picture: a row for each run."""


@dataclass(frozen=True)
class Comparison:
    """names: of what was compared, in order; evaluations: theirs. unlike: how they were measured differently, where that was forced."""

    names: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    unlike: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def scores(self) -> list[str]:
        """The names of all scores, in order."""
        return list(dict.fromkeys(score.name for evaluation in self.evaluations for score in evaluation.scores))

    def cells(self, name: str) -> list[Score | None]:
        return [next((score for score in evaluation.scores if score.name == name), None) for evaluation in self.evaluations]

    def lines(self) -> list[str]:
        warning = [f"Measured differently: {line}" for line in self.unlike]
        findings = [f"{name}: {line}" for name, found in zip(self.names, self.evaluations, strict=True) for line in found.findings]
        return [*warning, *markdown(self).splitlines(), "", *findings, *self.files]

    def as_dict(self) -> dict[str, Any]:
        found = {name: evaluation.as_dict() for name, evaluation in zip(self.names, self.evaluations, strict=True)}
        return {"evaluations": found, "unlike": list(self.unlike), "files": list(self.files)}


def compare(
    samples: Sequence[str],
    *,
    against: str | None = None,
    split: str | None = None,
    features: FeaturesName = "auto",
    weights: str | None = None,
    perceptual: str | None = None,
    count: int | None = None,
    seed: int = 0,
    best: bool = False,
    train: str | None = None,
    force: bool = False,
    out: str = "comparison",
    device: str = "auto",
    download: bool = False,
    listener: Listener | None = None,
) -> Comparison:
    """Compare SAMPLES, several runs or sets of images, by one protocol: a table, and a picture of the same seeds.

    Parameters
    ----------
    samples
        Two or more of what `evaluate` takes: runs, folders, zips, parquet files.
    against
        Real images, the same for all. Without it the first run's own data.
    split
        train or test of these; without it test where there is one.
    features
        The network that judges, as for `evaluate`.
    weights
        The published weights of that network, as for `evaluate`.
    perceptual
        A folder with the weights of VGG16 and of LPIPS, as for `evaluate`.
    count
        How many samples of each; without it 10,000, or all the images there are.
    seed
        Other samples, other subsets.
    best
        The runs' best saves, not their newest.
    train
        The real images that the judging network learns from, the same for all. Without it the first run's own data.
    force
        Compare numbers of unlike protocols too; how they differ is said.
    out
        The folder for table.md, table.csv, table.json and samples.png.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.
    download
        Allow published weights, or data, to be downloaded.
    listener
        Functions that are told of progress and messages.

    Returns the comparison. Raises OptionError where protocols are unlike and it was not forced, and what `evaluate` raises.
    """
    from elegan.engine.loop import Listener as Silent
    from elegan.metrics.report import Evaluation
    from elegan.tasks.evaluate import evaluated, share
    from elegan.tasks.loading import spec_of
    from elegan.tasks.material import Asked, foreseen, run_at

    paths = [os.fspath(one) for one in samples]
    if len(paths) < 2 or len(set(paths)) < len(paths):
        raise OptionError("compare: name two or more different runs, folders or files.")
    if points := [path for path in paths if (run := run_at(path)) is not None and spec_of(run).is_point]:
        raise OptionError(f"compare: {points[0]} makes points, and images are compared. `elegan evaluate` measures each.")
    own = next((str(run.config["data"]) for run in map(run_at, paths) if run is not None), None)
    against, train, heard = against or own or "", train or own or "", listener or Silent()
    every = Asked(
        "", against, split or "", train, features=features, weights=weights, perceptual=perceptual,
        count=count, seed=seed, device=device, download=download,
    )  # fmt: skip
    asked = [replace(every, samples=path, best=best and run_at(path) is not None) for path in paths]
    refuse_unlike([Evaluation((), (), foreseen(one, heard)) for one in asked], force)
    make_folder(Path(out))
    shared = share(asked[0], heard)
    found = [evaluated(one, None, heard, shared) for one in asked]
    comparison = Comparison(tuple(names_of(paths)), tuple(found), refuse_unlike(found, force))
    return written(comparison, Path(out), paths, best, device)


def refuse_unlike(found: Sequence[Evaluation], force: bool) -> tuple[str, ...]:
    """How they were measured differently; OptionError if they were, unless that is forced."""
    from elegan.metrics.report import unlike

    differences = tuple(dict.fromkeys(line for other in found[1:] for line in unlike(found[0], other)))
    if differences and not force:
        raise OptionError(f"these cannot be compared, because they are measured differently: {'; '.join(differences)}. --force does.")
    return differences


def names_of(paths: Sequence[str]) -> list[str]:
    """The last part of each path, or the whole where two would be the same."""
    short = [Path(path).name or path for path in paths]
    return short if len(set(short)) == len(short) else list(paths)


def make_folder(folder: Path) -> None:
    from elegan.engine.checkpoint import reason

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"could not make {folder}: {reason(error)}. Choose another place with --out.") from error


def written(comparison: Comparison, folder: Path, paths: Sequence[str], best: bool, device: str) -> Comparison:
    """With its tables and its picture in `folder`."""
    from elegan.engine.checkpoint import write_file, write_json
    from elegan.pictures import png

    files = [folder / name for name in ("table.md", "table.csv", "table.json", "samples.png")]
    done = Comparison(comparison.names, comparison.evaluations, comparison.unlike, tuple(map(str, files)))
    write_file(files[0], (markdown(done) + "\n").encode())
    write_file(files[1], table(done).encode())
    write_json(files[2], done.as_dict())
    write_file(files[3], png(rows_of_samples(comparison.names, paths, best, device)))
    return done


def markdown(comparison: Comparison) -> str:
    """A row for each score, a column for each of the compared; the best is bold, real images come last."""
    head = f"| | {' | '.join(comparison.names)} | real images |"
    lines = [head, "|---" * (len(comparison.names) + 2) + "|"]
    for name in comparison.scores:
        scores = comparison.cells(name)
        best = best_of(scores)
        cells = [cell(score, score is not None and score is best) for score in scores]
        real = next((score.shown(score.real) for score in scores if score is not None and score.real is not None), "")
        lines.append(f"| {name} | {' | '.join(cells)} | {real} |")
    return "\n".join(lines)


def cell(score: Score | None, best: bool) -> str:
    if score is None:
        return ""
    shown = f"**{score.shown(score.value)}**" if best else score.shown(score.value)
    return f"{shown} ({score.interval})" if score.interval else shown


def best_of(scores: Sequence[Score | None]) -> Score | None:
    """The best, if its interval does not meet any other's: else none is. None too where there are no intervals."""
    there = [score for score in scores if score is not None and score.better]
    if len(there) < 2:
        return None
    first, *others = sorted(there, key=badness)
    return first if all(apart(first, other) for other in others) else None


def apart(one: Score, other: Score) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.high < other.low or other.high < one.low


def badness(score: Score) -> float:
    return {"lower": score.value, "higher": -score.value, "one": abs(score.value - 1)}[score.better]


def table(comparison: Comparison) -> str:
    """CSV: a line for each score of each of the compared."""
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(["samples", "score", "value", "low", "high", "real", "better"])
    for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True):
        for score in evaluation.scores:
            lines.writerow([name, score.name, score.value, score.low, score.high, score.real, score.better])
    return text.getvalue()


def rows_of_samples(names: Sequence[str], paths: Sequence[str], best: bool, device: str) -> Any:
    """A row for each of the compared, its name above it: a run's samples of the same seeds, or a folder's first images."""
    from PIL import Image, ImageDraw

    from elegan.pictures import grid

    rows = [grid(pictures(path, best, device), len(SEEDS), smallest_side=64) for path in paths]
    width, title = max(row.width for row in rows), 16
    sheet = Image.new("RGB", (width, sum(row.height + title for row in rows)), "white")
    top = 0
    for name, row in zip(names, rows, strict=True):
        ImageDraw.Draw(sheet).text((4, top + 2), name.encode("ascii", "replace").decode(), fill="black")
        sheet.paste(row.convert("RGB"), (0, top + title))
        top += row.height + title
    return sheet


def pictures(path: str, best: bool, device: str) -> Pixels:
    from elegan.data import open_data, prepare
    from elegan.tasks.loading import load
    from elegan.tasks.material import chosen_rows, run_at

    if run := run_at(path):
        return load(run, best=best, device=device).sample(SEEDS)
    images = prepare(open_data(path)).images
    return images[chosen_rows(len(images), len(SEEDS), seed=0)]
