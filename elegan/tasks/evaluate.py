"""Measuring samples against real images: scores with intervals beside what real images score, findings in words, the protocol."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import DataError, RunError
from elegan.tasks.judges import FeaturesName

if TYPE_CHECKING:
    from elegan.engine.loop import Listener
    from elegan.metrics.extractors import Extractor
    from elegan.metrics.report import Evaluation, Score
    from elegan.tasks.material import Asked, Material

FOLDER = "evaluations"


def evaluate(
    samples: str | os.PathLike[str],
    *,
    against: str | None = None,
    split: str | None = None,
    train: str | None = None,
    features: FeaturesName = "auto",
    weights: str | None = None,
    count: int | None = None,
    seed: int = 0,
    best: bool = False,
    out: str | Path | None = None,
    model: str | None = None,
    device: str = "auto",
    download: bool = False,
    listener: Listener | None = None,
) -> Evaluation:
    """Measure SAMPLES, a run or images, against real images.

    Parameters
    ----------
    samples
        A run directory, the name of one in ./runs, or images: a folder, a zip, a parquet file.
    against
        Real images, best some that the model did not learn from. Without it the run's own data: its test split, if it has one.
    split
        train or test of these; without it test where there is one.
    train
        The real images that the model learned from; without it the run's own data. The judging network learns from them, and
        samples are looked for among them.
    features
        The network that judges: inception for FID, KID and IS, which needs its published weights; inception_bf16, faster and no
        FID; classifier, trained on the labelled real images; self_supervised, trained on them without labels. Without it
        inception if --weights names them, else the classifier where there are classes.
    weights
        The file of Inception's published weights.
    count
        How many samples; without it 10,000, or all the images there are.
    seed
        Other samples, other subsets.
    best
        The run's best save, not the newest, if it was trained with --held-out.
    out
        A JSON file for the result; without it one in the run, none for images.
    model
        The file of your own that the run was trained with, if it was one.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.
    download
        Allow Inception's weights, or data, to be downloaded.
    listener
        Functions that are told of progress and messages.

    Returns the evaluation. Raises OptionError, DataError or RunError for what a person has to mend.
    """
    from elegan.engine.loop import Listener as Silent
    from elegan.tasks.judges import choose, extractor_for
    from elegan.tasks.material import Asked, gather

    heard = listener or Silent()
    asked = Asked(os.fspath(samples), against or "", split or "", train or "", count, seed, best, model, device, download)
    check_target(asked, out)
    material = gather(asked, heard)
    kind = choose(features, weights, material.learned)
    extractor = extractor_for(kind, material.learned, weights, download, device, heard)
    found = measured(material, extractor, asked, heard)
    target = target_of(asked, out, found)
    if target is not None:
        write(target, found)
    return found


def measured(material: Material, extractor: Extractor, asked: Asked, listener: Listener) -> Evaluation:
    from elegan.metrics.report import Evaluation
    from elegan.tasks import scores as parts
    from elegan.tasks.findings import findings

    seed = asked.seed
    seen = parts.look(material, extractor, seed, listener)
    found: list[Score] = []
    notes: list[str] = []

    def add(make: Callable[[], list[Score]]) -> None:
        """A score that these images cannot have is left out, and the reason is said."""
        try:
            found.extend(make())
        except DataError as error:
            notes.append(str(error))

    add(lambda: parts.distances(seen, extractor, seed))
    add(lambda: parts.inception_scores(seen, extractor, seed))
    add(lambda: parts.shares(seen, seed))
    add(lambda: parts.of_pixels(material, seed))
    classes = parts.classes_seen(material, seen, extractor, listener)
    if classes is not None:
        add(lambda: parts.of_classes(material, classes, listener))
    report = None
    try:
        copied, report = parts.copying(material, seen, extractor, seed)
        found += copied
    except DataError as error:
        notes.append(str(error))
    notes = [*material.notes, *notes, *warnings(material, extractor)]
    missing = [] if classes is None else classes.missing
    return Evaluation(tuple(found), tuple(findings(found, report, missing)), protocol(material, extractor, seed), tuple(notes))


def warnings(material: Material, extractor: Extractor) -> list[str]:
    """What to trust."""
    notes = []
    smaller = min(len(material.samples), len(material.reference))
    if smaller < 10_000:
        notes.append(
            f"With {smaller:,} images a Fréchet distance is too large by an amount that depends on their number: trust the kernel "
            "distance, which has no such bias, and compare Fréchet distances of equal numbers only."
        )
    if "bf16" in extractor.name:
        notes.append("Inception in bfloat16 is a progress score: its features are off by a hundredth, so this is no FID.")
    if material.training is None:
        notes.append(
            "There are no real images here that were not trained on, so nothing is said of copying, or of what real images score: name "
            "some with --against, and what was trained on with --train."
        )
    return notes


def protocol(material: Material, extractor: Extractor, seed: int) -> dict[str, Any]:
    import elegan

    reference, training, spec = material.reference, material.training, material.reference.spec
    return {
        "samples": material.described,
        "reference": {"data": reference.name, "split": material.split, "count": len(reference), "fingerprint": reference.fingerprint},
        "images": f"{spec.height} x {spec.width}, {spec.channels} channels, 8 bits",
        "training": None if training is None else {"data": training.name, "count": len(training), "fingerprint": training.fingerprint},
        "extractor": {"name": extractor.name, "weights": extractor.digest, "resize": extractor.resize},
        "seed": seed,
        "elegan": elegan.__version__,
    }


def folder_of(asked: Asked, out: str | Path | None) -> Path | None:
    """Where the result goes; None if nowhere: a person named no file, and the samples are no run's."""
    from elegan.tasks.material import run_at

    if out:
        return Path(out).parent
    run = run_at(asked.samples)
    return None if run is None else run.path / FOLDER


def check_target(asked: Asked, out: str | Path | None) -> None:
    """RunError now, if the result could not be written after all the work."""
    from elegan.engine.checkpoint import reason

    folder = folder_of(asked, out)
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise RunError(f"{folder} cannot be written to. Choose another place with --out.")
    except OSError as error:
        raise RunError(f"could not make {folder}: {reason(error)}. Choose another place with --out.") from error


def target_of(asked: Asked, out: str | Path | None, found: Evaluation) -> Path | None:
    folder = folder_of(asked, out)
    if out or folder is None:
        return Path(out) if out else None
    samples, reference, judge = (found.protocol[name] for name in ("samples", "reference", "extractor"))
    parts = (reference["data"], reference["split"], judge["name"], samples["step"], samples["count"], asked.seed)
    return folder / f"{'-'.join(map(str, parts))}.json".replace("/", "_").replace(" ", "_")


def write(target: Path, found: Evaluation) -> None:
    from elegan.engine.checkpoint import write_json

    write_json(target, found.as_dict())
