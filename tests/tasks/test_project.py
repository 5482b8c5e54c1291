"""The command that finds latents of images: its table, pictures and files, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from skimage.metrics import peak_signal_noise_ratio

import elegan
from elegan import cli
from elegan.data import open_data, prepare
from elegan.errors import DataError, OptionError, RunError
from elegan.game import Spec
from elegan.rules.growing import GrowingStyled
from elegan.tasks.likeness import discriminator_features
from elegan.tasks.project import parse_edits
from elegan.tasks.recipes import find_recipe

BY = ("projection", "mean latent", "nearest training image")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the training digits, the second a little brighter, and a file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    digits = prepare(open_data("digits")).images
    for i, pixels in enumerate((digits[5], np.clip(digits[9].astype(int) + 20, 0, 255))):
        Image.fromarray(pixels[:, :, 0].astype(np.uint8)).save(folder / f"{i}.png")
    (folder / "note.txt").write_text("no image")
    return folder


def read(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("kind", ["styled_run", "noise_run"])
def test_images_are_projected_measured_and_edited(kind: str, images: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run = elegan.Run(shutil.copytree(request.getfixturevalue(kind).path, tmp_path / "run"))
    elegan.directions(run, count=2, strengths=1, seeds="0")
    found = elegan.project(run, images, steps=5, edit="1:2.0,0:-1", out=tmp_path / "out")
    assert found.space == ("w+" if kind == "styled_run" else "noise")
    assert found.images == ("0.png", "1.png")
    assert tuple(found.psnr) == tuple(found.distances) == BY
    assert found.psnr[BY[2]][0] == float("inf")
    assert found.distances[BY[2]][0] == 0
    assert found.as_dict()["psnr"][BY[2]][0] is None
    assert found.distances[BY[0]][0] < found.distances[BY[1]][0]

    model, saved = elegan.load(run), load_file(tmp_path / "out" / "latents.safetensors")
    pixels = model.render(saved["latents"], saved.get("conditions"))
    originals = [read(images / f"{i}.png") for i in range(2)]
    for i in range(2):
        expected = peak_signal_noise_ratio(originals[i], pixels[i, :, :, 0], data_range=255)
        assert found.psnr[BY[0]][i] == pytest.approx(expected, rel=1e-6)
    sheet = read(tmp_path / "out" / "projections.png")[::8, ::8]
    cells = [[sheet[9 * r : 9 * r + 8, 9 * c : 9 * c + 8] for c in range(4)] for r in range(2)]
    for i in range(2):
        assert np.array_equal(cells[i][0], originals[i])
        assert np.array_equal(cells[i][1], pixels[i, :, :, 0])
    assert np.array_equal(cells[1][3], prepare(open_data("digits")).images[9, :, :, 0])
    edits = read(tmp_path / "out" / "edits.png")[::8, ::8]
    assert edits.shape == (9 * 4 - 1, 9 * 5 - 1)
    vectors = load_file(run.path / "directions.safetensors")["directions"]
    conditions = saved["conditions"][1:] if "conditions" in saved else None
    edited = model.render(saved["latents"][1:] - vectors[0], conditions)[0, :, :, 0]
    assert np.array_equal(edits[27:35, 36:44], edited)
    assert np.array_equal(edits[27:35, :8], pixels[1, :, :, 0])


def test_one_file_is_enough_and_brought_to_size(noise_run: elegan.Run, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (200, 10, 10)).save(tmp_path / "large.png")
    found = elegan.project(noise_run, tmp_path / "large.png", steps=0, class_="7", out=tmp_path / "out")
    assert found.images == ("large.png",)
    assert load_file(tmp_path / "out" / "latents.safetensors")["conditions"].tolist() == [7]
    assert (
        elegan.project(noise_run, str(tmp_path / "large.png"), steps=0).pictures["latents"].startswith(str(noise_run.path / "projections"))
    )


def test_the_command_prints_a_table(
    noise_run: elegan.Run, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["elegan", "project", str(noise_run.path), str(images), "--steps", "1", *more])
        capsys.readouterr()
        cli.main()
        printed = capsys.readouterr().out
        if more:
            (said,) = json.loads(printed)
            assert said["psnr"][BY[2]][0] is None
        else:
            assert printed.splitlines()[1].split()[0] == "0.png"
            assert len(printed.splitlines()[1].split()) == 7


def test_without_the_training_data_nothing_is_said_of_it(noise_run: elegan.Run, images: Path, tmp_path: Path) -> None:
    run = elegan.Run(shutil.copytree(noise_run.path, tmp_path / "run"))
    config = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(config.replace("data: digits", f"data: {tmp_path / 'gone'}"))
    found = elegan.project(run, images, steps=0)
    assert tuple(found.psnr) == BY[:2]
    assert "is not here" in found.notes[0]
    assert tuple(elegan.project(run, images, steps=0, data="digits").psnr) == BY


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"space": "w"}, "this model has no styles: use noise"),
        ({"space": "z"}, "--space: got 'z'"),
        ({"steps": -1}, "--steps: got -1"),
        ({"edit": "first"}, "--edit: got 'first', expected DIRECTION:STRENGTH"),
        ({"edit": "0:nan"}, "--edit"),
        ({"class_": "x"}, "no class 'x'"),
    ],
)
def test_what_cannot_be_asked_is_refused(options: dict[str, Any], said: str, noise_run: elegan.Run, images: Path) -> None:
    with pytest.raises(OptionError, match=said):
        elegan.project(noise_run, images, **options)


def test_what_is_no_image_is_named(noise_run: elegan.Run, styled_run: elegan.Run, images: Path, tmp_path: Path) -> None:
    for where, said in (
        (tmp_path / "gone.png", "is not there"),
        (images / "note.txt", r"note\.txt cannot be used"),
        (tmp_path, "holds 0 images"),
    ):
        with pytest.raises(DataError, match=said):
            elegan.project(noise_run, where)
    with pytest.raises(OptionError, match="has styles: use w or w"):
        elegan.project(styled_run, images, space="noise")
    run = elegan.Run(shutil.copytree(noise_run.path, tmp_path / "run"))
    (run.path / "directions.safetensors").unlink(missing_ok=True)
    with pytest.raises(RunError, match="Make it with: elegan directions"):
        elegan.project(run, images, edit="0:1")
    elegan.directions(run, count=1, strengths=1, seeds="0")
    with pytest.raises(OptionError, match="there is no direction 1, expected 0 to 0"):
        elegan.project(run, images, edit="1:1")


def test_edits_are_numbers_in_pairs() -> None:
    assert parse_edits("0:2.0, 3:-1.5") == [(0, 2.0), (3, -1.5)]
    assert parse_edits(None) == []


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        *((name, [8, 4]) for name in ("dcgan", "cgan", "sngan", "acgan", "biggan")),
        *((name, [16, 8, 4]) for name in ("r3gan", "stylegan", "stylegan2")),
        ("gan", []),
    ],
)
def test_a_discriminator_sees_maps_of_each_size_and_no_other_sample(name: str, sides: list[int]) -> None:
    gan = (
        find_recipe(name).make(Spec(1, 16, 16, ("a", "b")), {"width": 8, "discriminator_width": 8} if name != "gan" else {}).build().eval()
    )
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    if isinstance(gan, GrowingStyled):
        gan.grow(2.0)
    with torch.no_grad():
        features = discriminator_features(gan)
        maps, alone = features(images), features(images[:1])
    assert [found.shape[2] for found in maps] == sides
    for found, one in zip(maps, alone, strict=True):
        assert found.shape[2] > 1
        torch.testing.assert_close(found[:1], one, atol=1e-5, rtol=1e-4)
