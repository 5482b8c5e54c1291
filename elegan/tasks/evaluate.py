"""Measuring samples against real images: scores with intervals beside what real images score, findings in words, the protocol."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from elegan.errors import DataError, RunError
from elegan.tasks.judges import FeaturesName

if TYPE_CHECKING:
    from elegan.engine.loop import Listener
    from elegan.metrics.extractors import Extractor
    from elegan.metrics.report import Evaluation, Score
    from elegan.tasks.material import Asked, Material
    from elegan.tasks.perceptual import Perceptual
    from elegan.tasks.scores import Known, Seen

    Make = Callable[[], list[Score]]

T = TypeVar("T")
FOLDER = "evaluations"


def evaluate(
    samples: str | os.PathLike[str],
    *,
    against: str | None = None,
    split: str | None = None,
    train: str | None = None,
    features: FeaturesName = "auto",
    weights: str | None = None,
    perceptual: str | None = None,
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
        FID; dinov2 or clip, which need theirs; classifier, trained on the labelled real images; self_supervised, trained on them
        without labels. Without it inception if --weights names a file, else the classifier where there are classes.
    weights
        The file of Inception's published weights, or the folder of DINOv2's or CLIP's.
    perceptual
        A folder with the published weights of VGG16 and of LPIPS, vgg16-397923af.pth and lpips-v0.1-vgg.pth: for LPIPS
        diversity and, of a run, the perceptual path length. With --download they are fetched into it.
    count
        How many samples; without it 10,000, or all the images there are.
    seed
        Other samples, other subsets.
    best
        The run's best save, not the newest, if it was trained with --held-out.
    out
        A JSON file for the result, with a picture beside it; without it one in the run, none for images.
    model
        The file of your own that the run was trained with, if it was one.
    device
        cpu, cuda, mps; auto takes a GPU if there is one.
    download
        Allow published weights, or data, to be downloaded.
    listener
        Functions that are told of progress and messages.

    Returns the evaluation. Raises OptionError, DataError or RunError for what a person has to mend.
    """
    from elegan.engine.loop import Listener as Silent
    from elegan.tasks.material import Asked

    asked = Asked(
        os.fspath(samples), against or "", split or "", train or "", features=features, weights=weights, perceptual=perceptual,
        count=count, seed=seed, best=best, model=model, device=device, download=download,
    )  # fmt: skip
    return evaluated(asked, out, listener or Silent())


@dataclass
class Shared:
    """What the evaluations of a comparison share: the perceptual network, loaded once, and features of the same real images."""

    perceptual: Perceptual | None = None
    known: Known = field(default_factory=dict)


def evaluated(asked: Asked, out: str | Path | None, listener: Listener, shared: Shared | None = None) -> Evaluation:
    """What was asked for, kept in `out`, or in the run."""
    from elegan.tasks.judges import choose, extractor_for
    from elegan.tasks.loading import spec_of
    from elegan.tasks.material import gather, run_at
    from elegan.tasks.point_scores import measure_points

    check_target(asked, out)
    run = run_at(asked.samples)
    if run is not None and spec_of(run).is_point:
        found = measure_points(run, asked)
        return written(found, target_of(asked, out, found.protocol))
    shared = shared or share(asked, listener)
    material = gather(asked, listener)
    kind = choose(asked.features, asked.weights, material.learned)
    extractor = extractor_for(kind, material.learned, asked.weights, asked.download, asked.device, listener)
    target = target_of(asked, out, protocol(material, extractor, asked.seed))
    picture = None if target is None else target.with_name(f"{target.stem}-nearest.png")
    found = measured(material, extractor, asked, listener, shared, picture)
    return written(found, target)


def share(asked: Asked, listener: Listener) -> Shared:
    """DataError for weights that are missing, or others: before the work."""
    from elegan.tasks.perceptual import perceptual_network

    if asked.perceptual is None:
        return Shared()
    return Shared(perceptual_network(asked.perceptual, asked.download, asked.device, listener))


def measured(
    material: Material, extractor: Extractor, asked: Asked, listener: Listener, shared: Shared | None = None, picture: Path | None = None
) -> Evaluation:
    """picture: a file for samples beside the training images nearest to them, where there are such images."""
    from elegan.engine.checkpoint import write_file
    from elegan.metrics.report import Evaluation
    from elegan.pictures import png
    from elegan.tasks import copying
    from elegan.tasks import scores as parts
    from elegan.tasks.findings import findings

    seed, shared, notes = asked.seed, shared or Shared(), list[str]()
    seen = parts.look(material, extractor, seed, listener, shared.known)
    classes = parts.classes_seen(material, seen, extractor, listener)
    makers: list[Make] = [
        lambda: parts.distances(seen, extractor, seed),
        lambda: parts.inception_scores(seen, extractor, seed),
        lambda: parts.shares(seen, seed),
        *of_variety(material, seen, extractor, seed, shared.perceptual, listener, notes),
        lambda: parts.of_pixels(material, seed),
        lambda: parts.of_classes(material, classes, listener) if classes else [],
    ]
    found = [score for make in makers for score in attempt(make, notes) or []]
    report, pictures = None, {}
    if space := copying.space_of(material, seen, extractor, seed):
        report = attempt(lambda: copying.memorised(space, seed), notes)
        found += copying.scores(report) if report else []
        if picture and (sheet := attempt(lambda: copying.nearest_training_images(material, space), notes)):
            write_file(picture, png(sheet))
            pictures["nearest training images"] = str(picture)
    said = findings(found, report, classes.missing if classes else [])
    notes = [*material.notes, *notes, *warnings(material, extractor)]
    return Evaluation(tuple(found), tuple(said), protocol(material, extractor, seed, shared.perceptual), tuple(notes), pictures)


def attempt(make: Callable[[], T], notes: list[str]) -> T | None:
    """None, and the reason among the notes, where these images cannot have it."""
    try:
        return make()
    except DataError as error:
        notes.append(f"Left out: {error}")
        return None


def of_variety(
    material: Material, seen: Seen, extractor: Extractor, seed: int, perceptual: Perceptual | None, listener: Listener, notes: list[str]
) -> list[Make]:
    from elegan.tasks import diversity
    from elegan.tasks import perceptual as looks

    makers: list[Make] = []
    chosen, made = attempt(lambda: diversity.groups(material, seed), notes), material.made
    if chosen is not None:
        makers += [
            lambda: diversity.distance_ratio(material, seen, extractor, chosen, seed),
            lambda: diversity.ms_ssim(material, chosen, seed),
        ]
    if perceptual is not None and chosen is not None:
        makers.append(lambda: looks.lpips(material, perceptual, chosen, seed, listener))
    if perceptual is not None and made is not None:
        makers.append(lambda: looks.path_length(made, perceptual, seed, listener))
    return makers


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


def protocol(material: Material, extractor: Extractor, seed: int, perceptual: Perceptual | None = None) -> dict[str, Any]:
    import elegan
    from elegan.tasks.diversity import MOST_OF_CLASS, PAIRS
    from elegan.tasks.material import form
    from elegan.tasks.perceptual import PATHS

    reference, training = material.reference, material.training
    paths = f"{PATHS:,} at most, arcs in z, epsilon 0.0001"
    return {
        "samples": material.described,
        "reference": {"data": reference.name, "split": material.split, "count": len(reference), "fingerprint": reference.fingerprint},
        "images": form(reference.spec),
        "training": None if training is None else {"data": training.name, "count": len(training), "fingerprint": training.fingerprint},
        "extractor": {"name": extractor.name, "weights": extractor.digest, "resize": extractor.resize},
        "diversity": f"distances of {MOST_OF_CLASS:,} images of a class at most, {PAIRS:,} pairs of images",
        "perceptual": None if perceptual is None else {"weights": perceptual.weights, "paths": paths},
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


def target_of(asked: Asked, out: str | Path | None, told: Mapping[str, Any]) -> Path | None:
    """told: the protocol."""
    folder = folder_of(asked, out)
    if out or folder is None:
        return Path(out) if out else None
    samples, reference, judge = (told[name] for name in ("samples", "reference", "extractor"))
    parts = (reference["data"], reference["split"], judge["name"], samples["step"], samples["count"], asked.seed)
    return folder / f"{'-'.join(map(str, parts))}.json".replace("/", "_").replace(" ", "_")


def written(found: Evaluation, target: Path | None) -> Evaluation:
    """With its JSON, where it goes into a file."""
    from elegan.engine.checkpoint import write_json

    if target is not None:
        write_json(target, found.as_dict())
    return found
