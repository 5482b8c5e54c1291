"""The command line as a person meets it: what it prints, what it refuses, and with which exit code."""

from __future__ import annotations

import builtins
import errno
import json
import os
import pickle
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

import elegan
from elegan import cli
from elegan.engine import checkpoint

SMALL = ["--width", "8", "--batch", "16", "--precision", "fp32"]


class Outcome(NamedTuple):
    code: int
    out: str
    error: str


class Shell:
    """Runs commands in this process, in a folder of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys

    def __call__(self, *words: str) -> Outcome:
        self.monkeypatch.setattr("sys.argv", ["elegan", *words])
        self.capsys.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *self.capsys.readouterr())


@pytest.fixture
def elegan_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(monkeypatch, capsys)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    return elegan.train("digits", out=str(folder), width=8, batch=16, steps=6, save_every=2, precision="fp32").path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs" / trained.name))


def refused(outcome: Outcome, *words: str) -> None:
    """Exit code 2 and one line on standard error that holds all `words`."""
    assert outcome.code == 2, outcome
    line = outcome.error.strip().splitlines()[-1]
    assert line.startswith("elegan: ")
    assert "Traceback" not in outcome.error
    for word in words:
        assert word in line, line


def test_help_lists_every_command(elegan_command: Shell) -> None:
    text = elegan_command("--help").out
    assert all(name in text for name in cli.COMMANDS)
    assert elegan_command("--version").out.strip() == elegan.__version__


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_each_command_has_help_for_each_of_its_flags(elegan_command: Shell, name: str) -> None:
    outcome = elegan_command(name, "--help")
    assert outcome.code == 0
    assert "Parameters" in outcome.out or "Usage" in outcome.out
    flags = [line for line in outcome.out.splitlines() if line.strip().startswith("--") or line.strip()[:1].isupper()]
    assert flags


def test_train_then_sample_then_runs(elegan_command: Shell) -> None:
    trained = elegan_command("train", "digits", "--steps", "4", *SMALL)
    assert trained.code == 0, trained
    assert "4/4" in trained.error
    assert "images/s" in trained.error
    folder = Path(next(Path("runs").iterdir()))
    assert str(folder / "samples.png") in trained.out
    grid = elegan_command("sample", str(folder), "--seeds", "0-35", "--out", "grid.png")
    assert grid.out.strip() == "grid.png"
    with Image.open("grid.png") as picture:
        assert picture.size[0] > picture.size[1] // 4
    assert elegan_command("sample", folder.name, "--class", "7", "--seeds", "0-3", "--out", "sevens").code == 0
    assert sorted(path.name for path in Path("sevens/7").iterdir()) == ["seed0000.png", "seed0001.png", "seed0002.png", "seed0003.png"]
    assert "step 4 of 4 (complete)" in elegan_command("runs").out
    assert json.loads(elegan_command("runs", "--json").out)[0]["step"] == 4


def test_a_dry_run_says_what_would_be_done(elegan_command: Shell) -> None:
    outcome = elegan_command("train", "digits", "--dry-run", "--steps", "40", *SMALL)
    assert outcome.code == 0, outcome
    for said in ("10 classes: 0, 1, 2", "width: 8", "weights", "MiB", "40 steps take about", "nothing was trained"):
        assert said in outcome.out, said
    assert not Path("runs").exists()


def test_recipes_are_listed_with_their_options(elegan_command: Shell) -> None:
    assert "wgan_gp" in elegan_command("recipes").out
    text = elegan_command("recipes", "dcgan").out
    assert "--discriminator-lr" in text
    assert re.search(r"--width +64 +the generator's channels", text)


def test_data_is_looked_at_and_its_cache_cleared(elegan_command: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ELEGAN_CACHE", str(tmp_path / "cache"))
    assert "1437" in elegan_command("data", "digits").out.replace(",", "")
    elegan_command("train", "digits", "--steps", "1", *SMALL)
    assert any((tmp_path / "cache").rglob("*.*"))
    assert "freed" in elegan_command("data", "--clear-cache").out


def pictures(folder: Path, count: int, size: tuple[int, int] = (8, 8)) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(generator.integers(0, 255, size, dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("trian",), ("trian", "Did you mean 'train'")),
        (("train",), ("no data", "digits")),
        (("train", "digits", "--stepz", "3"), ("--stepz", "steps")),
        (("train", "digits", "--widht", "3"), ("--widht", "width")),
        (("train", "digits", "--mirorr", "true"), ("--mirorr", "mirror")),
        (("train", "digits", "--steps", "many"), ("--steps", "many")),
        (("train", "digits", "--lr", "fast"), ("--lr", "'fast'", "a number")),
        (("train", "digits", "--steps", "0"), ("--steps",)),
        (("train", "digits", "--batch", "10", "--accumulate", "3"), ("--accumulate", "10")),
        (("train", "digits", "--model", "dcgann"), ("dcgann", "'dcgan'")),
        (("train", "digits", "--model", "mine.py"), ("mine.py",)),
        (("train", "digits", "--preset", "digts"), ("digts",)),
        (("train", "digits", "--objective", "minmax", "--steps", "1"), ("minmax", "'minimax'")),
        (("train", "digits", "--size", "4"), ("4", "8")),
        (("train", "digits", "--size", "big"), ("--size", "64x96")),
        (("train", "digits", "--device", "quantum"), ("--device", "quantum")),
        (("train", "digits", "--precision", "fp64"), ("--precision", "fp64")),
        (("train", "digits", "--minutes", "1", "--steps", "5"), ("--minutes", "one of the two")),
        (("train", "digist"), ("digist", "digits")),
        (("train", "digits", "--config", "nowhere.yaml"), ("--config", "nowhere.yaml")),
        (("train", "digits", "--minutes", "0"), ("--minutes: got 0.0, expected more than 0",)),
        (("sample", "nothing"), ("nothing",)),
        (("sample", "nothing", "--trunc", "0.5"), ("sample: there is no option --trunc. Did you mean '--truncation'?",)),
        (("sample", "--trunc", "0.5", "nothing"), ("sample: there is no option --trunc. Did you mean '--truncation'?",)),
        (("sample",), ("sample: name a RUN first. See `elegan sample --help`",)),
        (("mix", "one", "two"), ("mix: got 'two' too many; options begin with --",)),
        (("data", "nothing"), ("nothing",)),
        (("recipes", "bigger"), ("bigger",)),
    ],
)
def test_a_mistake_is_one_clear_line(elegan_command: Shell, words: tuple[str, ...], said: tuple[str, ...]) -> None:
    refused(elegan_command(*words), *said)
    assert not Path("runs").exists()


def test_a_configuration_that_is_no_yaml_is_refused(elegan_command: Shell) -> None:
    Path("broken.yaml").write_text("width: [8")
    refused(elegan_command("train", "digits", "--config", "broken.yaml"), "broken.yaml", "YAML")


def test_a_configuration_runs_no_code_that_was_not_named_beside_it(elegan_command: Shell, run: Path) -> None:
    Path("evil.py").write_text("from pathlib import Path; Path('exploded').touch()")
    config = (run / "config.yaml").read_text().replace("model: cgan", "model: evil.py")
    (run / "config.yaml").write_text(config)
    refused(elegan_command("train", "--config", str(run / "config.yaml")), "evil.py", "--model")
    refused(elegan_command("train", "--config", str(run / "config.yaml"), "--dry-run"), "evil.py", "--model")
    assert not Path("exploded").exists()


def test_a_configuration_cannot_hold_flags_of_the_command(elegan_command: Shell) -> None:
    Path("mine.yaml").write_text("keep: 5")
    refused(elegan_command("train", "digits", "--config", "mine.yaml"), "keep", "--keep")


def test_a_parameter_of_the_function_alone_is_no_flag(elegan_command: Shell) -> None:
    refused(elegan_command("train", "digits", "--listener", "8"), "--listener")


def test_the_suggested_command_works_with_spaces_and_a_model_of_ones_own(elegan_command: Shell) -> None:
    Path("my models").mkdir()
    shutil.copy(Path(elegan.__file__).parent / "gans" / "dcgan.py", "my models/mine.py")
    said = elegan_command("train", "digits", "--model", "my models/mine.py", "--out", "my runs", "--steps", "1", *SMALL).out
    words = shlex.split(said.splitlines()[-1].partition(": ")[2])
    assert elegan_command(*words[1:]).code == 0


def test_too_little_memory_is_one_line_with_a_way_out(elegan_command: Shell) -> None:
    refused(elegan_command("train", "digits", "--batch", "16", "--width", "40000000", "--precision", "fp32"), "memory", "--width")


def test_a_file_of_ones_own_that_fails_is_blamed(elegan_command: Shell) -> None:
    good = (Path(elegan.__file__).parent / "gans" / "dcgan.py").read_text()
    wrong = "return dataclasses.replace(image_recipe(spec, networks, game, learning), optimizers={'discriminatr': Adam()})"
    code = good.replace("return image_recipe(spec, networks, game, learning)", wrong)
    assert code != good
    Path("mine.py").write_text(
        code.replace("from elegan.game", "import dataclasses\nfrom elegan.optimizers import Adam\nfrom elegan.game", 1)
    )
    refused(elegan_command("train", "digits", "--model", "mine.py"), "discriminatr", "players")


def test_an_empty_folder_is_refused(elegan_command: Shell) -> None:
    Path("empty").mkdir()
    refused(elegan_command("train", "empty"), "empty")


def test_pictures_smaller_than_any_network_are_refused(elegan_command: Shell) -> None:
    pictures(Path("tiny"), 4, (5, 5))
    refused(elegan_command("train", "tiny"), "tiny", "8")


def test_a_text_named_png_is_left_out_and_named(elegan_command: Shell) -> None:
    pictures(Path("images"), 20)
    Path("images/story.png").write_text("once upon a time")
    outcome = elegan_command("train", "images", "--steps", "1", *SMALL)
    assert outcome.code == 0, outcome
    assert "story.png" in outcome.error
    refused(elegan_command("train", "images", "--strict", "--steps", "1", "--seed", "1", *SMALL), "story.png")


def test_nothing_but_broken_files_is_refused(elegan_command: Shell) -> None:
    Path("broken").mkdir()
    Path("broken/story.png").write_text("once upon a time")
    refused(elegan_command("train", "broken"), "story.png")


def test_a_class_asked_of_a_model_without_classes_is_refused(elegan_command: Shell) -> None:
    pictures(Path("images"), 20)
    assert elegan_command("train", "images", "--steps", "1", *SMALL).code == 0
    refused(elegan_command("sample", str(next(Path("runs").iterdir())), "--class", "3"), "no classes")


def test_an_unknown_class_or_seed_is_refused(elegan_command: Shell, run: Path) -> None:
    refused(elegan_command("sample", str(run), "--class", "eleven"), "eleven")
    refused(elegan_command("sample", str(run), "--seeds", "5-2"), "5-2", "0-35")


def test_a_damaged_newest_save_falls_back_to_the_one_before(elegan_command: Shell, run: Path) -> None:
    newest = run / "checkpoints" / "step-00000006" / "weights.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"\xff")
    assert elegan.load(run).step == 4
    outcome = elegan_command("train", "digits", "--steps", "6", *SMALL)
    assert outcome.code == 0, outcome
    assert "damaged" in outcome.error
    assert "goes on from step 4" in outcome.error


def test_nothing_but_damaged_saves_is_refused(elegan_command: Shell, run: Path) -> None:
    for path in run.glob("checkpoints/*/weights.safetensors"):
        path.write_bytes(b"")
    refused(elegan_command("sample", str(run)), "no whole save")
    refused(elegan_command("train", "digits", "--steps", "6", *SMALL), "--new")


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path("exploded").touch, ()


def test_a_pickle_given_as_a_checkpoint_is_refused_and_never_opened(elegan_command: Shell, run: Path) -> None:
    torch.save(Bomb(), "model.pkl")
    refused(elegan_command("sample", "model.pkl"), "model.pkl", "folder")
    for path in run.glob("checkpoints/*"):
        bomb = pickle.dumps(Bomb())
        (path / "weights.safetensors").write_bytes(bomb)
        meta = json.loads((path / "meta.json").read_text())
        meta["sha256"]["weights"] = checkpoint.hashlib.sha256(bomb).hexdigest()
        (path / "meta.json").write_text(json.dumps(meta))
    refused(elegan_command("sample", str(run)), "no whole save", "safetensors")
    assert not Path("exploded").exists()


def test_a_full_disk_while_saving_leaves_the_earlier_saves(elegan_command: Shell, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = builtins.open

    def full(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "w" in mode and ".writing-" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_open(path, mode, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "open", full)
        refused(elegan_command("train", "digits", "--steps", "8", *SMALL), "No space left", "Earlier saves are intact")
    assert elegan.load(run).step == 6
    assert not list(run.glob("checkpoints/.writing-*"))
    assert elegan_command("train", "digits", "--steps", "8", *SMALL).code == 0
    assert elegan.load(run).step == 8


def test_a_number_that_is_not_finite_ends_training_and_keeps_the_last_good_state(
    elegan_command: Shell, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from elegan.rules.two_player import TwoPlayer

    judge = TwoPlayer.judge
    monkeypatch.setattr(TwoPlayer, "judge", lambda *arguments: judge(*arguments) * float("nan"))
    refused(elegan_command("train", "digits", "--steps", "8", *SMALL), "discriminator's loss", "step 6", "last good state is step 6")
    assert elegan.load(run).step == 6
    assert checkpoint.checkpoints(run / "checkpoints")[0].name == "step-00000006"


def test_names_from_files_do_not_command_the_terminal(elegan_command: Shell) -> None:
    Path("animals").mkdir()
    for name in ("\x1b[31mred", "plain"):
        pictures(Path("animals", name), 4, (8, 8))
    found = elegan_command("data", "animals")
    assert "\\x1b[31mred" in found.out
    trained = elegan_command("train", "animals", "--steps", "1", *SMALL)
    assert "\x1b" not in found.out + trained.out + trained.error
    run = next(Path("runs").iterdir())
    refusal = elegan_command("sample", str(run), "--class", "foo")
    refused(refusal, "\\x1b[31mred")
    assert "\x1b" not in refusal.error


def test_an_option_that_makes_no_difference_is_said(elegan_command: Shell) -> None:
    found = elegan_command("train", "digits", "--steps", "1", "--penalty-weight", "3", *SMALL)
    assert "--penalty-weight makes no difference: there is no penalty." in found.error + found.out
    assert "makes no difference" not in "".join(elegan_command("train", "digits", "--steps", "1", *SMALL)[1:])
