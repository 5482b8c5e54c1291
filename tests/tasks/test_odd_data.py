"""Odd data, trained on and sampled back: the right mode, the right size, the right way up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import elegan
from elegan import cli
from elegan.engine import measure
from elegan.engine.run import list_runs
from elegan.tasks.job import make_job

SMALL = {"model": "dcgan", "steps": 2, "width": 4, "discriminator_width": 4, "batch": 4, "precision": "fp32"}
COUNT = 8
"""Images in each folder: one row of reals.png."""


def corner(width: int, height: int, channels: int, seed: int) -> np.ndarray:
    """(height, width, channels) uint8: dark noise, and light in the upper left quarter, so that each way round shows."""
    pixels = np.random.default_rng(seed).integers(0, 60, (height, width, channels), dtype=np.uint8)
    pixels[: height // 2, : width // 2] += 180
    return pixels


def save_all(folder: Path, save: Callable[[Path, int], None]) -> Path:
    folder.mkdir()
    for seed in range(COUNT):
        save(folder, seed)
    return folder


def trained(folder: Path, tmp_path: Path, **options: object) -> tuple[elegan.Run, list[str]]:
    """The run of two steps on `folder`, and what was said."""
    said: list[str] = []
    run = elegan.train(str(folder), out=str(tmp_path / "runs"), listener=elegan.Listener(message=said.append), **{**SMALL, **options})  # type: ignore[arg-type]
    return run, said


def reals(run: elegan.Run, height: int, width: int) -> np.ndarray:
    """The images in reals.png, (8, height, width, channels)."""
    sheet = np.atleast_3d(np.asarray(Image.open(run.path / "reals.png")))
    scale = sheet.shape[0] // height
    small = sheet[::scale, ::scale]
    assert small.shape[:2] == (height, COUNT * (width + 1) - 1)
    return np.stack([small[:, i * (width + 1) : i * (width + 1) + width] for i in range(COUNT)])


def check_samples(run: elegan.Run, mode: str, height: int, width: int, tmp_path: Path) -> None:
    """Samples as arrays and as files are of this mode and size."""
    samples = elegan.load(run.path).sample("0-3")
    assert samples.shape == (4, height, width, len(mode))
    assert samples.dtype == np.uint8
    assert len({sample.tobytes() for sample in samples}) == 4
    for i, path in enumerate(sorted(elegan.sample(run.path, seeds="0-3", out=tmp_path / "samples").iterdir())):
        with Image.open(path) as picture:
            assert (picture.mode, picture.size) == (mode, (width, height))
            assert np.array_equal(np.atleast_3d(np.asarray(picture)), samples[i])


def test_grey_of_21_by_37(tmp_path: Path) -> None:
    images = [corner(21, 37, 1, seed)[..., 0] for seed in range(COUNT)]
    folder = save_all(tmp_path / "grey", lambda folder, seed: Image.fromarray(images[seed]).save(folder / f"{seed}.png"))
    run, _ = trained(folder, tmp_path)
    assert np.array_equal(reals(run, 37, 21)[..., 0], images)
    check_samples(run, "L", 37, 21, tmp_path)


def test_transparent_colour_of_three_to_two(tmp_path: Path) -> None:
    images = [corner(36, 24, 4, seed) for seed in range(COUNT)]
    folder = save_all(tmp_path / "rgba", lambda folder, seed: Image.fromarray(images[seed]).save(folder / f"{seed}.png"))
    run, _ = trained(folder, tmp_path)
    assert np.array_equal(reals(run, 24, 36), images)
    check_samples(run, "RGBA", 24, 36, tmp_path)


def test_sixteen_bits(tmp_path: Path) -> None:
    images = [corner(16, 12, 1, seed)[..., 0].astype(np.uint16) * 257 for seed in range(COUNT)]
    folder = save_all(tmp_path / "deep", lambda folder, seed: Image.fromarray(images[seed]).save(folder / f"{seed}.png"))
    run, _ = trained(folder, tmp_path)
    assert np.array_equal(reals(run, 12, 16)[..., 0], np.stack(images) // 257)
    check_samples(run, "L", 12, 16, tmp_path)


def test_cmyk(tmp_path: Path) -> None:
    def save(folder: Path, seed: int) -> None:
        image = Image.new("CMYK", (24, 16), (0, 0, 0, 255))
        image.paste((0, 255, 255, 0), (0, 0, 12, 8))  # red, in the upper left
        image.save(folder / f"{seed}.jpg", quality=95)

    run, _ = trained(save_all(tmp_path / "print", save), tmp_path)
    found = reals(run, 16, 24).astype(int)
    assert (found[:, :6, :10, 0] > 180).all()
    assert (found[:, :6, :10, 1:] < 90).all()
    assert (found[:, 10:] < 60).all()
    check_samples(run, "RGB", 16, 24, tmp_path)


def test_a_palette(tmp_path: Path) -> None:
    images = [Image.fromarray(corner(20, 14, 3, seed)).quantize(16) for seed in range(COUNT)]
    folder = save_all(tmp_path / "palette", lambda folder, seed: images[seed].save(folder / f"{seed}.png"))
    run, _ = trained(folder, tmp_path)
    assert np.array_equal(reals(run, 14, 20), [np.asarray(image.convert("RGB")) for image in images])
    check_samples(run, "RGB", 14, 20, tmp_path)


@pytest.mark.parametrize(("orientation", "stored"), [(6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180)])
def test_photographs_taken_with_a_turned_phone(tmp_path: Path, orientation: int, stored: Image.Transpose) -> None:
    images = [corner(16, 24, 3, seed) for seed in range(COUNT)]

    def save(folder: Path, seed: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(images[seed]).transpose(stored).save(folder / f"{seed}.jpg", exif=exif, quality=95, subsampling=0)

    run, _ = trained(save_all(tmp_path / "phone", save), tmp_path)
    assert np.abs(reals(run, 24, 16).astype(int) - np.stack(images)).mean() < 8
    check_samples(run, "RGB", 24, 16, tmp_path)


def test_animations(tmp_path: Path) -> None:
    def save(folder: Path, seed: int) -> None:
        frames = [Image.new("L", (16, 12), value) for value in (10 * seed, 255)]
        frames[0].save(folder / f"{seed}.gif", save_all=True, append_images=frames[1:])

    run, said = trained(save_all(tmp_path / "moving", save), tmp_path)
    assert [int(image.max()) for image in reals(run, 12, 16)] == [10 * seed for seed in range(COUNT)]
    assert any("8 of 8 images are animated" in text and "first picture" in text for text in said)
    check_samples(run, "L", 12, 16, tmp_path)


SIZES = [(40, 20), (20, 40), (33, 17), (64, 64), (90, 30), (16, 16), (70, 20), (20, 70)]


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_mixed_sizes_and_modes(tmp_path: Path, fit: str) -> None:
    def save(folder: Path, seed: int) -> None:
        Image.new(("L", "RGB")[seed % 2], SIZES[seed], "white").save(folder / f"{seed}.png")

    run, said = trained(save_all(tmp_path / "mixed", save), tmp_path, size="16x24", fit=fit)
    found = reals(run, 16, 24)
    assert (found == 255).all() == (fit != "pad")
    assert (found[:, 5:-5, 11:13] == 255).all()
    assert any({"crop": "cropped around", "pad": "padded with black", "stretch": "distorts"}[fit] in text for text in said)
    assert run.config["fit"] == fit
    check_samples(run, "RGB", 16, 24, tmp_path)


# What can be asked of data ----------------------------------------------------------------------------------------------


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """./people: 8 pictures with age and gender in a table, and a folder for each city."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "ROUNDS", 1)
    rows = "".join(f"{'oslo' if i % 2 else 'rome'}/{i}.png,{20 + i},{(-1, 1)[i % 2]}\n" for i in range(COUNT))
    for i in range(COUNT):
        path = tmp_path / "people" / ("oslo" if i % 2 else "rome") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(corner(12, 12, 3, i)).save(path)
    (tmp_path / "people" / "metadata.csv").write_text(f"file_name,age,male\n{rows}")
    return tmp_path / "people"


def command(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    flags = ["--steps", "2", "--width", "4", "--discriminator-width", "4", "--batch", "4", "--precision", "fp32"]
    monkeypatch.setattr("sys.argv", ["elegan", *words, *(flags if words[0] == "train" else [])])
    cli.main()


def test_the_command_line_chooses_labels_and_attributes(
    people: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []
    for words in (("--attributes", "age,male"), ("--labels", "male"), ("--labels", "none"), ()):
        command(monkeypatch, "train", "people", *words)
        runs.append(list_runs("runs")[0])
    specs = [run.record["spec"] for run in runs]
    assert [spec["classes"] for spec in specs] == [[], ["-1", "1"], [], ["oslo", "rome"]]
    assert [[one["name"] for one in spec["attributes"]] for spec in specs] == [["age", "male"], [], [], []]
    run = runs[0]
    assert (run.config["model"], run.config["attributes"]) == ("cgan", "age,male")
    assert elegan.load(run.path).sample("0-3").shape == (4, 12, 12, 3)
    again = elegan.train(config=str(run.path / "config.yaml"), out="replayed")
    assert again.name == run.name


def test_the_preflight_takes_the_same_flags(people: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command(monkeypatch, "data", "people", "--attributes", "age", "--fit", "pad", "--size", "8x16")
    said = capsys.readouterr().out
    for words in ("attributes: age (20 to 27)", "could be --labels: male (2 different), folder (2 different)", "(--fit pad)"):
        assert words in said, said
    with pytest.raises(SystemExit):
        command(monkeypatch, "data", "people", "--attributes", "agee")
    assert "Did you mean 'age'? There are: age, male." in capsys.readouterr().err


def test_a_plan_says_what_will_be_asked(people: Path) -> None:
    plan = elegan.plan("people", attributes="age", fit="pad", steps=2, width=4, batch=4, precision="fp32")
    assert "attributes: age" in plan.notes[0]
    assert (plan.options["attributes"], plan.options["fit"]) == ("age", "pad")


def test_allowing_downloads_makes_no_other_run(people: Path) -> None:
    plans = [elegan.plan("people", download=download, steps=2, width=4, batch=4, precision="fp32") for download in (False, True)]
    assert plans[0].run == plans[1].run
    assert "download" not in plans[0].options


def test_what_is_not_here_is_said_in_one_line(people: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ELEGAN_CACHE", str(people.parent / "cache"))
    for words, expected in (("fashion_mnist", "--download"), ("someone/something", "hf://someone/something")):
        with pytest.raises(SystemExit) as end:
            command(monkeypatch, "train", words)
        assert end.value.code == 2
        assert expected in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("model", "options", "named"), [("rpgan", {}, True), ("rpgan", {"augment": "none"}, False), ("r3gan", {"augment": "ada"}, False)]
)
def test_augmentation_is_named_where_images_are_few_and_nothing_was_said_of_it(
    tmp_path: Path, model: str, options: dict[str, str], named: bool
) -> None:
    folder = save_all(tmp_path / "few", lambda folder, seed: Image.fromarray(corner(8, 8, 3, seed)).save(folder / f"{seed}.png"))
    asked = {"data": str(folder), "model": model, **options}
    said: list[str] = []
    make_job(asked, strict=False, listener=elegan.Listener(message=said.append))
    assert any("8 images are few" in line and "--augment colour+translation+cutout" in line for line in said) == named


def test_augmentation_is_not_named_where_images_are_many_or_points() -> None:
    said: list[str] = []
    for asked in ({"data": "digits"}, {"data": "ring"}):
        make_job(asked, strict=False, listener=elegan.Listener(message=said.append))
    assert said
    assert not any("are few" in line for line in said)
