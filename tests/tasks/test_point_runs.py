"""Training on points by the same engine, and what becomes of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import elegan
from elegan.data.points import open_points
from elegan.errors import DataError, OptionError, RunError

SMALL = {"network": "mlp", "discriminator_norm": "none", "width": 8, "discriminator_width": 8, "depth": 2, "latent": 4, "batch": 16}
MODELS = ["gan", "lsgan", "wgan", "wgan_gp", "sngan", "dcgan", "rpgan"]


@pytest.mark.parametrize("model", MODELS)
def test_every_variant_without_a_condition_learns_points(model: str, tmp_path: Path) -> None:
    run = elegan.train("ring", model=model, preset="none", steps=6, out=str(tmp_path), **SMALL)
    samples = elegan.load(run).sample("0-9")
    assert (samples.shape, samples.dtype) == ((10, 2), np.float64)
    assert np.isfinite(samples).all()
    assert run.record["precision"] == "fp32"  # bfloat16 would blur them


def test_a_run_of_points_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    def weights(run: elegan.Run) -> dict[str, torch.Tensor]:
        return dict(elegan.load(run).gan.state_dict())

    whole = elegan.train("moons", preset="none", schedule="constant", steps=8, out=str(tmp_path / "whole"), **SMALL)
    elegan.train("moons", preset="none", schedule="constant", steps=4, out=str(tmp_path / "parts"), **SMALL)
    parts = elegan.train("moons", preset="none", schedule="constant", steps=8, out=str(tmp_path / "parts"), **SMALL)
    assert parts.step == 8
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[name]), name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> elegan.Run:
    return elegan.train("ring", preset="none", steps=4, out=str(tmp_path_factory.mktemp("runs")), **SMALL)


def test_pictures_of_points(run: elegan.Run) -> None:
    for name in ("reals.png", "samples.png", "samples/00000004.png"):
        with Image.open(run.path / name) as picture:
            assert picture.size == (512, 512)
            assert picture.getextrema()[0] < 255  # something is on it


def test_samples_as_table_array_and_picture(run: elegan.Run, tmp_path: Path) -> None:
    table = elegan.sample(run.path, seeds="0-4", out=tmp_path / "points.csv").read_text().splitlines()
    assert table[0] == "x,y"
    array = np.load(elegan.sample(run.path, seeds="0-4", out=tmp_path / "points.npy"))
    assert np.array_equal([list(map(float, line.split(","))) for line in table[1:]], array)
    assert elegan.sample(run.path) == run.path / "samples-0-2499.png"
    again = elegan.train(str(tmp_path / "points.csv"), preset="none", steps=1, out=str(tmp_path / "runs"), **SMALL)
    assert again.record["data"]["images"] == 5


def test_what_points_have_not_is_said(run: elegan.Run, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"only NAME\.png .a picture., NAME\.csv .a table. and NAME\.npy"):
        elegan.sample(run.path, out=tmp_path / "folder")
    with pytest.raises(OptionError, match=r"--class 3, --columns 4: .* makes points, which have none"):
        elegan.sample(run.path, class_="3", columns=4)
    for option in ({"size": "64"}, {"mirror": True}, {"labels": "none"}):
        with pytest.raises(OptionError, match=f"--{next(iter(option))}: ring holds points, and only images have that"):
            elegan.train("ring", steps=1, out=str(tmp_path), **option)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="--network dcgan makes images, and the data are points"):
        elegan.train("ring", model="dcgan", steps=1, out=str(tmp_path))
    with pytest.raises(OptionError, match="--augment translation changes images"):
        elegan.train("ring", preset="none", steps=1, out=str(tmp_path), augment="translation", **SMALL)
    with pytest.raises(OptionError, match="--held-out: points are not measured while training"):
        elegan.train("ring", preset="none", steps=1, out=str(tmp_path), held_out="ring", **SMALL)
    with pytest.raises(DataError, match=r"No data at ringg: .* Did you mean 'ring'\?"):
        elegan.train("ringg", steps=1, out=str(tmp_path))
    with pytest.raises(DataError, match="ring holds points, not images"):
        elegan.open_data("ring")


def test_a_damaged_record_of_points_is_one_clear_line(run: elegan.Run, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    record = json.loads((copy / "record.json").read_text())
    for axes in ([{"name": "x", "centre": 0.0}], [{"name": "x", "centre": 0.0, "scale": -1.0}], "xy", [1]):
        record["spec"]["axes"] = axes
        (copy / "record.json").write_text(json.dumps(record))
        with pytest.raises(RunError, match=r"does not say what a sample is: spec\.axes is damaged"):
            elegan.load(copy)


def test_the_plan_says_points(tmp_path: Path) -> None:
    found = elegan.plan("spiral", preset="none", steps=10, out=str(tmp_path), **SMALL)
    assert found.notes[0] == "Data: spiral, 100,000 points, axes: x, y"


def test_points_are_measured_by_the_published_rule(run: elegan.Run) -> None:
    found = elegan.evaluate(run.path, count=500)
    assert found.score("modes").real == 8
    assert found.score("high quality").real == pytest.approx(0.98889, abs=1e-5)
    assert found.score("sliced Wasserstein-1").value > 3 * found.score("sliced Wasserstein-1").real  # type: ignore[operator]
    assert found.findings[0].startswith(("Lost modes", "Between the modes"))
    assert found.protocol["reference"]["split"] == "test"
    written = json.loads(next((run.path / "evaluations").iterdir()).read_text())
    assert written == found.as_dict()


class Perfect:
    """Draws from the distribution itself, or from a spoiled one."""

    def __init__(self, kind: str) -> None:
        data = open_points("ring")
        assert data is not None
        self.points = data.points[data.points[:, 0] > -0.9] if kind == "drops one" else data.points
        assert data.mixture is not None
        means = data.mixture.means.numpy()
        peaks = means[((self.points[:, None] - means) ** 2).sum(2).argmin(1)]
        self.points = peaks + (self.points - peaks) * {"narrow": 0.5, "wide": 2}.get(kind, 1)
        if kind == "one mode":
            self.points = self.points[(peaks[:, 0] > 0.9) | (np.arange(len(peaks)) % 20 == 0)]
        self.spec, self.step, self.notes = data.spec, 1, ()

    def sample(self, seeds: range) -> np.ndarray:
        return self.points[list(seeds)]


SAID = {
    "perfect": "Nothing is wrong",
    "drops one": "Lost modes: 1 of 8",
    "narrow": "Too narrow: ",
    "wide": "Between the modes: ",
    "one mode": "Unequal modes: ",
}


@pytest.mark.parametrize("kind", SAID)
def test_the_report_names_what_is_wrong_with_points(kind: str, run: elegan.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elegan.tasks.loading.load", lambda *_, **__: Perfect(kind))
    found = elegan.evaluate(run.path)
    assert found.findings[0].startswith(SAID[kind])
    more = {"wide": ["Too wide"], "drops one": ["Unequal modes", "Unlike the real points"], "one mode": ["Unlike the real points"]}
    assert list(dict.fromkeys(line.split(":")[0] for line in found.findings[1:])) == more.get(kind, [])


def test_points_of_a_table_are_measured_in_their_scales_and_in_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorted rows, and a column a million times as wide as the other: neither is a fault of the model."""
    random = np.random.default_rng(0)
    points = random.normal(size=(4000, 2)) * [1, 1e6]
    np.save(tmp_path / "table.npy", points[points[:, 0].argsort()])
    made = elegan.train(str(tmp_path / "table.npy"), preset="none", steps=1, out=str(tmp_path), **SMALL)
    spec = elegan.load(made).spec
    for fault, said in ((0.0, "Nothing is wrong"), (1.0, "Unlike the real points")):
        drawn = np.random.default_rng(1).normal(size=(1000, 2)) * [1, 1e6] + [fault, 0]
        fake = SimpleNamespace(spec=spec, step=1, notes=(), sample=lambda seeds, drawn=drawn: drawn)
        with monkeypatch.context() as patch:
            patch.setattr("elegan.tasks.loading.load", lambda *_, fake=fake, **__: fake)
            found = elegan.evaluate(made.path, count=1000)
        assert found.findings[0].startswith(said)
        assert found.notes == (
            "The real points are those that the model learned from: name others with --against, or copies would go unnoticed.",
        )


def test_points_that_cannot_be_measured(run: elegan.Run, tmp_path: Path) -> None:
    (tmp_path / "line.csv").write_text("1\n2\n3\n")
    for options, said in (
        ({"count": 3}, "--count: got 3, expected at least 50"),
        ({"seed": -1}, "--seed: got -1, expected a number from 0"),
        ({"features": "classifier"}, "--features classifier: this run makes points"),
        ({"against": str(tmp_path / "line.csv")}, "has points with 1 axes, the run makes some with 2"),
        ({"against": "digits"}, "digits holds no points to compare with"),
    ):
        with pytest.raises((OptionError, DataError), match=said):
            elegan.evaluate(run.path, **options)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="makes points, and images are compared"):
        elegan.compare([str(run.path), str(tmp_path)], out=str(tmp_path / "table"))
