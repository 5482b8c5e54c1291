"""Several runs side by side: the same scores by the same protocol, and what they make of the same seeds."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
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
    count: int | None = None,
    seed: int = 0,
    force: bool = False,
    out: str = "comparison",
    device: str = "auto",
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
        The file of Inception's published weights.
    count
        How many samples of each; without it 10,000, or all the images there are.
    seed
        Other samples, other subsets.
    force
        Compare numbers of unlike protocols too; how they differ is said.
    out
        The folder for table.md, table.csv, table.json and samples.png.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.
    listener
        Functions that are told of progress and messages.

    Returns the comparison. Raises OptionError where protocols are unlike and it was not forced, and what `evaluate` raises.
    """
    from elegan.tasks.evaluate import evaluate
    from elegan.tasks.material import run_at

    paths = [os.fspath(one) for one in samples]
    if len(paths) < 2 or len(set(paths)) < len(paths):
        raise OptionError("compare: name two or more different runs, folders or files.")
    first = run_at(paths[0])
    real = against or (str(first.config["data"]) if first else None)
    options: dict[str, Any] = {"against": real, "split": split, "features": features, "weights": weights, "count": count, "seed": seed}
    train = str(first.config["data"]) if first else None
    found = [evaluate(path, train=train, **options, device=device, listener=listener) for path in paths]
    differences = tuple(dict.fromkeys(line for other in found[1:] for line in differing(found[0], other)))
    if differences and not force:
        raise OptionError(f"these cannot be compared, because they are measured differently: {'; '.join(differences)}. --force does.")
    comparison = Comparison(tuple(names_of(paths)), tuple(found), differences)
    return written(comparison, Path(out), paths, device)


def differing(one: Evaluation, other: Evaluation) -> list[str]:
    from elegan.metrics.report import unlike

    return unlike(one, other)


def names_of(paths: Sequence[str]) -> list[str]:
    """The last part of each path, or the whole where two would be the same."""
    short = [Path(path).name or path for path in paths]
    return short if len(set(short)) == len(short) else list(paths)


def written(comparison: Comparison, folder: Path, paths: Sequence[str], device: str) -> Comparison:
    """With its tables and its picture in `folder`."""
    from elegan.engine.checkpoint import reason, write_file, write_json
    from elegan.pictures import png

    files = [folder / name for name in ("table.md", "table.csv", "table.json", "samples.png")]
    done = Comparison(comparison.names, comparison.evaluations, comparison.unlike, tuple(map(str, files)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"could not make {folder}: {reason(error)}. Choose another place with --out.") from error
    write_file(files[0], (markdown(done) + "\n").encode())
    write_file(files[1], table(done).encode())
    write_json(files[2], done.as_dict())
    write_file(files[3], png(rows_of_samples(comparison.names, paths, device)))
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
    """The best, if its interval does not reach into another's: else none is."""
    there = [score for score in scores if score is not None and score.better]
    if len(there) < 2:
        return None
    ordered = sorted(there, key=badness)
    first, second = ordered[0], ordered[1]
    bounds = (first.low, first.high, second.low, second.high)
    if any(bound is None for bound in bounds):
        return first if badness(first) < badness(second) else None
    low, high, other_low, other_high = (float(bound) for bound in bounds if bound is not None)
    return first if high < other_low or other_high < low else None


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


def rows_of_samples(names: Sequence[str], paths: Sequence[str], device: str) -> Any:
    """A row for each of the compared, its name above it: a run's samples of the same seeds, or a folder's first images."""
    from PIL import Image, ImageDraw

    from elegan.pictures import grid

    rows = [grid(pictures(path, device), len(SEEDS), smallest_side=64) for path in paths]
    width, title = max(row.width for row in rows), 16
    sheet = Image.new("RGB", (width, sum(row.height + title for row in rows)), "white")
    top = 0
    for name, row in zip(names, rows, strict=True):
        ImageDraw.Draw(sheet).text((4, top + 2), name.encode("ascii", "replace").decode(), fill="black")
        sheet.paste(row.convert("RGB"), (0, top + title))
        top += row.height + title
    return sheet


def pictures(path: str, device: str) -> Pixels:
    from elegan.data import open_data, prepare
    from elegan.tasks.loading import load
    from elegan.tasks.material import run_at

    run = run_at(path)
    return load(run, device=device).sample(SEEDS) if run else prepare(open_data(path)).images[: len(SEEDS)]
