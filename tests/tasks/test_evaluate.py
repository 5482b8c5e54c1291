"""Evaluations of samples whose faults are known, of runs, and of what cannot be measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

import elegan
from elegan import cli
from elegan.errors import DataError, OptionError
from elegan.metrics import classifier, contrastive
from elegan.metrics.perceptual import linear_shapes, stack_shapes
from elegan.metrics.report import Evaluation
from elegan.metrics.weights import PUBLISHED
from elegan.pictures import Pixels
from elegan.tasks import diversity, perceptual
from elegan.tasks import evaluate as evaluating
from elegan.tasks.judges import choose
from elegan.tasks.material import Asked, Wanted, compared_with, gather


def write(folder: Path, images: Pixels, labels: np.ndarray) -> str:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / str(label) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).save(path)
    return str(folder)


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "STEPS", 200)
        patch.setattr(contrastive, "STEPS", 5)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits in two halves: `train`, and `good`, which a perfect generator could have made; and what faulty ones could.
    They are enlarged: at 8 x 8 pixels a pen's stroke cannot be told from noise."""
    folder, digits = tmp_path_factory.mktemp("data"), elegan.prepare(elegan.open_data("digits"))
    assert digits.labels is not None
    half, images = len(digits) // 2, enlarged(digits.images)
    seen, made, labels = images[:half], images[half:], digits.labels[half:]
    write(folder / "train", seen, digits.labels[:half])
    write(folder / "good", made, labels)
    write(folder / "dropping", made[labels < 7], labels[labels < 7])
    blurred = [np.asarray(Image.fromarray(image[..., 0]).filter(ImageFilter.GaussianBlur(1.2)))[..., None] for image in made]
    write(folder / "blurring", np.stack(blurred), labels)
    noise = np.random.default_rng(0).normal(0, 20, made.shape)
    write(folder / "noisy", (made + noise).clip(0, 255).astype(np.uint8), labels)
    test = elegan.prepare(elegan.open_data("digits", split="test"))
    assert test.labels is not None
    write(folder / "test", enlarged(test.images), test.labels)
    return folder


def enlarged(images: Pixels) -> Pixels:
    return np.stack([np.asarray(Image.fromarray(one[..., 0]).resize((12, 12), Image.Resampling.BICUBIC))[..., None] for one in images])


def evaluated(folder: Path, name: str) -> Evaluation:
    return elegan.evaluate(str(folder / name), against=str(folder / "test"), train=str(folder / "train"))


FAULTS = {
    "copying": ("train", "copy training images"),
    "dropping": ("dropping", "Dropped classes: 7, 8, 9"),
    "blurring": ("blurring", "are blurred"),
    "noisy": ("noisy", "are noisy"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_report_says_which_fault_samples_have(fault: str, folder: Path) -> None:
    name, expected = FAULTS[fault]
    said = " ".join(evaluated(folder, name).findings)
    assert expected in said
    for other, (_, words) in FAULTS.items():
        assert other == fault or words not in said


def test_real_images_have_no_fault_and_score_as_real_images_do(folder: Path) -> None:
    found = evaluated(folder, "good")
    assert found.findings == ("Nothing is wrong that these numbers can show.",)
    for score in found.scores:
        if score.low is not None and score.high is not None and score.real is not None and score.better == "higher":
            assert score.low - 0.03 < score.real < score.high + 0.03, score.name
    distance = found.score("kernel distance (classifier)")
    assert distance.low is not None
    assert distance.low < 0.05
    assert found.score("useful").value > 0.8
    assert found.score("recognised").value > 0.85
    assert found.score("classes covered").value == 10
    assert any("trust the kernel distance" in note for note in found.notes)
    assert found.protocol["extractor"]["name"] == "classifier"
    assert len(found.protocol["extractor"]["weights"]) == 16
    assert found.protocol["reference"]["split"] == "train"  # a folder without splits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> elegan.Run:
    options = {"width": 8, "batch": 16, "steps": 2, "precision": "fp32"}
    return elegan.train("digits", out=str(tmp_path_factory.mktemp("runs")), **options)


def test_a_run_is_measured_against_the_test_split_of_its_data_and_the_result_is_kept(run: elegan.Run) -> None:
    found = elegan.evaluate(run, count=100)
    assert found.protocol["samples"] == {
        "source": str(run.path), "step": 2, "count": 100, "seeds": "0-99", "conditions": "as in digits",
        "pixels": "truncation of 127.5 x + 128",
    }  # fmt: skip
    assert (found.protocol["reference"]["split"], found.protocol["reference"]["count"]) == ("test", 360)
    assert found.protocol["training"]["count"] == 1437
    kept = json.loads((run.path / "evaluations" / "digits-test-classifier-2-100-0.json").read_text())
    assert kept == json.loads(json.dumps(found.as_dict()))
    picture = run.path / "evaluations" / "digits-test-classifier-2-100-0-nearest.png"
    assert found.pictures == {"nearest training images": str(picture)}
    assert f"nearest training images: {picture}" in found.lines()
    with Image.open(picture) as opened:
        assert opened.size == (9 * (7 * 9 - 1), 9 * (16 * 9 - 1))
    assert not any("--best" in note for note in found.notes)
    other = elegan.evaluate(run, count=20, seed=1, features="self_supervised")
    assert other.protocol["samples"]["seeds"] == "20-39"


def test_the_command_prints_the_table_or_json(
    run: elegan.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = [
        "elegan",
        "evaluate",
        str(run.path),
        "--count",
        "100",
        "--features",
        "self_supervised",
        "--out",
        str(tmp_path / "found.json"),
    ]
    monkeypatch.setattr("sys.argv", command)
    cli.main()
    out = capsys.readouterr().out
    assert "kernel distance (self-supervised)" in out
    assert "Protocol:" in out
    monkeypatch.setattr("sys.argv", [*command, "--json"])
    cli.main()
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "found.json").read_text())


def test_without_training_images_apart_nothing_is_said_of_copying(folder: Path) -> None:
    found = elegan.evaluate(str(folder / "good"), against=str(folder / "test"), features="self_supervised")
    by_chance = {"classes covered", "KL of classes"}  # what a perfect sampler reaches needs no images
    of_reference = {"sharpness", "grain", "MS-SSIM diversity (1 scale)"}
    assert {score.name for score in found.scores if score.real is not None} == of_reference | by_chance
    assert found.pictures == {}
    assert any("nothing is said of copying" in note for note in found.notes)
    assert found.protocol["training"] is None
    test = str(folder / "test")
    same = elegan.evaluate(str(folder / "good"), against=test, train=test, features="self_supervised", count=50)
    assert any("nothing is said of copying" in note for note in same.notes)
    assert same.protocol["training"] is None
    assert not any(score.name == "authentic" for score in same.scores)


def test_a_part_of_the_images_is_drawn_from_all_classes_by_the_seed(folder: Path) -> None:
    asked = Asked(str(folder / "good"), against=str(folder / "test"), count=60)
    parts = [gather(replace(asked, seed=seed), elegan.Listener()) for seed in (0, 0, 1)]
    assert parts[0].labels is not None
    assert len(set(parts[0].labels.tolist())) == 10
    assert np.array_equal(parts[0].samples, parts[1].samples)
    assert not np.array_equal(parts[0].samples, parts[2].samples)


def test_a_run_is_asked_for_classes_as_often_as_the_real_images_have_them(run: elegan.Run, folder: Path, tmp_path: Path) -> None:
    for label, count in (("3", 30), ("5", 3)):
        for path in sorted((folder / "test" / label).iterdir())[:count]:
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / path.name).write_bytes(path.read_bytes())
    material = gather(Asked(str(run.path), against=str(tmp_path), count=200), elegan.Listener())
    assert material.labels is not None
    assert 0.8 < float((material.labels == 0).mean()) < 0.98  # the reference's first class is 3
    assert material.described["conditions"] == f"as in {tmp_path.name}"


def test_a_split_that_could_not_be_had_is_no_split_that_is_missing(run: elegan.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Wanted, where: str, split: str, listener: elegan.Listener) -> elegan.ImageData:
        raise DataError("it would be downloaded.")

    monkeypatch.setattr(Wanted, "prepare", fail)
    wanted = Wanted((8, 8), 1, "crop", "auto", "none", False)
    with pytest.raises(DataError, match="would be downloaded"):
        compared_with("mnist", "", wanted, elegan.Listener(), named=True)
    with pytest.raises(DataError, match="allow it with --download"):
        compared_with("hf://a/b", "", wanted, elegan.Listener(), named=False)


def test_what_cannot_be_measured_is_said_in_a_line(folder: Path, run: elegan.Run, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--against DATA"):
        elegan.evaluate(str(folder / "good"))
    with pytest.raises(DataError, match="nowhere"):
        elegan.evaluate(run, against="nowhere", count=10)
    with pytest.raises(OptionError, match="--count: got 1,"):
        elegan.evaluate(run, count=1)
    for seed in (-1, 2**32):
        with pytest.raises(OptionError, match="--seed"):
            elegan.evaluate(str(folder / "good"), against="digits", seed=seed)
    with pytest.raises(OptionError, match="Did you mean 'classifier'"):
        elegan.evaluate(run, features="clasifier", count=10)  # type: ignore[arg-type]
    with pytest.raises((OptionError, DataError), match="inception"):
        elegan.evaluate(run, features="inception", count=10)
    with pytest.raises(OptionError, match="has none to load"):
        elegan.evaluate(run, features="classifier", weights="file.pth", count=10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        elegan.evaluate(str(tmp_path / "empty"), against="digits")


def test_a_run_is_judged_by_perceptual_weights_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VGG16 and LPIPS's linear layers in files of the published names and shapes, with random weights."""
    monkeypatch.setattr(diversity, "PAIRS", 10)
    monkeypatch.setattr(perceptual, "PATHS", 4)
    monkeypatch.setattr(classifier, "STEPS", 5)
    options = {"size": "16", "width": 8, "batch": 16, "steps": 1, "precision": "fp32"}
    run = elegan.train("digits", out=str(tmp_path), **options)
    folder = tmp_path / "weights"
    with pytest.raises(DataError, match=r"put .*vgg16-397923af\.pth.* at .*weights"):
        elegan.evaluate(run, perceptual=str(folder))
    folder.mkdir()
    for name, shapes in (("vgg16", stack_shapes("vgg")), ("lpips_vgg", linear_shapes("vgg"))):
        torch.save({key: torch.rand(shape) / shape[-1] for key, shape in shapes.items()}, folder / PUBLISHED[name].file)
    found = elegan.evaluate(run, count=150, features="self_supervised", perceptual=str(folder))
    names = [score.name for score in found.scores]
    for start in ("LPIPS diversity", "perceptual path length"):
        (name,) = (name for name in names if name.startswith(start))
        assert name.endswith("not the published ones)")
        assert found.score(name).value > 0
    assert found.protocol["perceptual"]["paths"] == "4 at most, arcs in z, epsilon 0.0001"
    assert found.protocol["samples"]["count"] == 150


def test_the_judge_is_chosen_by_what_there_is(folder: Path) -> None:
    labelled = elegan.prepare(elegan.open_data("digits"))
    unlabelled = elegan.prepare(elegan.open_data("digits", labels="none"))
    assert choose("auto", None, labelled) == "classifier"
    assert choose("auto", None, unlabelled) == "self_supervised"
    assert choose("auto", "file.pth", labelled) == "inception"
    with pytest.raises(OptionError, match="at least two classes"):
        choose("classifier", None, unlabelled)


def test_results_that_cannot_be_written_are_said(run: elegan.Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(elegan.RunError, match="could not make"):
        elegan.evaluate(run, out=tmp_path / "file" / "found.json")
    with pytest.raises(elegan.RunError, match="could not write"):
        evaluating.written(Evaluation((), (), {}), tmp_path / "file" / "found.json")
