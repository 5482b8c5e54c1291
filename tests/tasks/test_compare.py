"""Comparisons: one protocol for all, a table in three formats, a picture of the same seeds."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import elegan
from elegan import cli
from elegan.errors import OptionError, RunError
from elegan.metrics import classifier, contrastive
from elegan.metrics.report import Evaluation, Score
from elegan.tasks.compare import Comparison, best_of, markdown, names_of

OPTIONS = {"width": 8, "batch": 16, "precision": "fp32"}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "STEPS", 5)
        patch.setattr(contrastive, "STEPS", 5)
        out = tmp_path_factory.mktemp("runs")
        yield [str(elegan.train("digits", out=str(out), steps=steps, seed=steps, **OPTIONS).path) for steps in (1, 2)]


def test_runs_are_compared_by_one_protocol(
    two: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "comparison"
    words = ["--count", "40", "--features", "self_supervised", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["elegan", "compare", *two, *words])
    cli.main()
    said = capsys.readouterr().out
    assert "| kernel distance (self-supervised) |" in said
    names = [Path(path).name for path in two]
    assert (out / "table.md").read_text().startswith(f"| | {names[0]} | {names[1]} | real images |")
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert {row["samples"] for row in rows} == set(names)
    found = json.loads((out / "table.json").read_text())
    scores = {score["name"]: score["value"] for score in found["evaluations"][names[0]]["scores"]}
    mine = {row["score"]: float(row["value"]) for row in rows if row["samples"] == names[0]}
    assert mine == pytest.approx(scores)
    picture = np.asarray(Image.open(out / "samples.png"))
    assert picture.shape[1] > 16 * 8
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not make"):
        elegan.compare(two, count=40, features="self_supervised", out=str(tmp_path / "file" / "out"))


def test_unlike_protocols_are_refused_unless_forced(two: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = elegan.sample(two[0], seeds="0-29", out=tmp_path / "images")
    large = elegan.sample(two[0], seeds="0-39", out=tmp_path / "large")
    for path in large.rglob("*.png"):
        Image.open(path).resize((12, 12)).save(path)
    arguments = {"against": "digits", "count": 40, "features": "self_supervised", "out": str(tmp_path / "out")}
    with monkeypatch.context() as patch:  # before anything is measured
        patch.setattr("elegan.tasks.evaluate.evaluated", None)
        for paths in ([two[0], str(folder)], [str(folder), two[0]]):
            with pytest.raises(OptionError, match=r"differently: samples.count: [34]0, [34]0. --force"):
                elegan.compare(paths, **arguments)
        with pytest.raises(OptionError, match=r"differently: images: 8 x 8, 1 channels, 8 bits, 12 x 12"):
            elegan.compare([two[0], str(large)], **arguments)
        with pytest.raises(OptionError, match=r"--count: got 1,"):
            elegan.compare(two, **{**arguments, "count": 1})
    found = elegan.compare([two[0], str(folder)], force=True, **arguments)
    assert any("samples.count" in line for line in found.unlike)
    assert found.lines()[0].startswith("Measured differently")


def test_one_alone_or_the_same_twice_is_no_comparison(two: list[str]) -> None:
    for paths in ([two[0]], [two[0], two[0]]):
        with pytest.raises(OptionError, match="two or more different"):
            elegan.compare(paths)


def made_of(*scores: Score) -> Evaluation:
    return Evaluation(scores, (), {})


def test_the_best_is_bold_only_beyond_the_intervals() -> None:
    near, far = Score("FID", 1.0, 0.5, 1.5, 0.1, "lower"), Score("FID", 3.0, 2.5, 3.5, 0.1, "lower")
    assert best_of([far, near, None]) is near
    assert best_of([near, Score("FID", 1.4, 1.2, 1.6, 0.1, "lower")]) is None
    assert best_of([near, far, Score("FID", 2.0, 0.2, 9.0, 0.1, "lower")]) is None  # a third reaches into the best
    middle = Score("sharpness", 1.05, 1.0, 1.1, better="one")
    assert best_of([Score("sharpness", 0.8, 0.7, 0.9, better="one"), middle]) is middle
    assert best_of([Score("classes covered", 9, better="higher"), Score("classes covered", 10, better="higher")]) is None
    assert best_of([near]) is None
    assert best_of([Score("grain", 1.0), Score("grain", 2.0)]) is None
    table = markdown(Comparison(("a", "b"), (made_of(near), made_of(far))))
    assert table.splitlines()[2] == "| FID | **1** (0.5 to 1.5) | 3 (2.5 to 3.5) | 0.1 |"


def test_equal_names_are_told_apart_by_their_folders() -> None:
    assert names_of(["x/run", "y/other"]) == ["run", "other"]
    assert names_of(["x/run", "y/run"]) == ["x/run", "y/run"]
