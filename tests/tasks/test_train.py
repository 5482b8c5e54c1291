"""Training and sampling through the public functions, on the built-in digits."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import elegan
from elegan.errors import OptionError
from elegan.tasks import job

SMALL = {"width": 8, "batch": 16, "steps": 6, "save_every": 3, "precision": "fp32"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> elegan.Run:
    return elegan.train("digits", out=str(tmp_path_factory.mktemp("runs")), **SMALL)


def weights(run: elegan.Run) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(run.path / "checkpoints" / f"step-{run.step:08d}" / "weights.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_directory_holds_what_the_documentation_says(run: elegan.Run) -> None:
    for name in ("config.yaml", "record.json", "log.jsonl", "reals.png", "samples.png", "samples/00000003.png", "samples/00000006.png"):
        assert (run.path / name).is_file(), name
    assert run.step == 6
    assert run.config["width"] == 8
    assert run.config["model"] == "cgan"
    assert run.record["data"]["images"] == 1437
    assert run.record["precision"] == "fp32"
    assert {"discriminator_loss", "generator_loss", "real_probability", "images_per_second"} <= run.log[-1].keys()


def test_small_samples_are_enlarged_so_that_one_can_see_them(run: elegan.Run) -> None:
    with Image.open(run.path / "samples.png") as picture:
        assert min(picture.size) >= 512


def test_the_same_command_goes_on_and_a_larger_number_of_steps_extends(tmp_path: Path) -> None:
    first = elegan.train("digits", out=str(tmp_path), **SMALL)
    again = elegan.train("digits", out=str(tmp_path), **SMALL)
    longer = elegan.train("digits", out=str(tmp_path), **{**SMALL, "steps": 9})
    assert first.path == again.path == longer.path
    assert longer.step == 9
    assert longer.config["steps"] == 9


def test_without_steps_a_short_run_goes_on_to_the_models_own_number(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    code = (Path(elegan.__file__).parent / "gans" / "dcgan.py").read_text()
    changed = code.replace("Learning()", "Learning(steps=5)").replace('"steps": 1500', '"lr": 2e-4')
    assert changed.count("steps=5") == 1
    assert '"steps": 1500' not in changed
    mine.write_text(changed)
    options = {name: value for name, value in SMALL.items() if name != "steps"}
    assert elegan.train("digits", model=str(mine), out=str(tmp_path), steps=2, **options).step == 2
    assert elegan.train("digits", model=str(mine), out=str(tmp_path), **options).step == 5


def test_a_run_is_the_same_however_its_data_and_model_are_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text((Path(elegan.__file__).parent / "gans" / "dcgan.py").read_text())
    Path("images").mkdir()
    for i in range(20):
        Image.fromarray(np.full((8, 8), 10 * i, np.uint8)).save(f"images/{i}.png")
    first = elegan.train("images", model="mine.py", **SMALL)
    second = elegan.train(tmp_path / "images", model=str(tmp_path / "mine.py"), **SMALL)
    assert first.path.resolve() == second.path.resolve()


def test_the_number_of_threads_is_the_callers_again(tmp_path: Path) -> None:
    run = elegan.train("digits", out=str(tmp_path), **SMALL)
    record = json.loads((run.path / "record.json").read_text())
    (run.path / "record.json").write_text(json.dumps({**record, "threads": 2}))
    elegan.train("digits", out=str(tmp_path), **{**SMALL, "steps": 7})
    assert torch.get_num_threads() == 1


def test_new_starts_another_run_and_leaves_the_first(tmp_path: Path) -> None:
    first = elegan.train("digits", out=str(tmp_path), **SMALL)
    second = elegan.train("digits", out=str(tmp_path), new=True, **SMALL)
    assert first.path != second.path
    assert same(weights(first), weights(second))
    assert elegan.train("digits", out=str(tmp_path), **SMALL).path == second.path


def test_another_seed_or_option_is_another_run(tmp_path: Path) -> None:
    paths = {
        elegan.train("digits", out=str(tmp_path), **{**SMALL, **more}).path for more in ({}, {"seed": 1}, {"lr": 1e-3}, {"mirror": True})
    }
    assert len(paths) == 4


def test_an_extended_run_equals_one_that_was_never_stopped(tmp_path: Path) -> None:
    options = {**SMALL, "penalty": "r1", "penalty_interval": 2, "accumulate": 2, "clip": 1.0}
    whole = elegan.train("digits", out=str(tmp_path / "whole"), **options)
    elegan.train("digits", out=str(tmp_path / "parts"), **{**options, "steps": 2})
    parts = elegan.train("digits", out=str(tmp_path / "parts"), **options)
    assert same(weights(whole), weights(parts))


def test_the_configuration_of_a_run_gives_the_same_run(run: elegan.Run, tmp_path: Path) -> None:
    replayed = elegan.train(config=str(run.path / "config.yaml"), out=str(tmp_path))
    assert replayed.name == run.name
    assert same(weights(run), weights(replayed))


def test_other_content_under_the_same_name_is_not_resumed(tmp_path: Path) -> None:
    def picture(i: int, value: int) -> None:
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(tmp_path / "images" / f"{i}.png")

    for i in range(20):
        picture(i, 10 * i)
    elegan.train(str(tmp_path / "images"), out=str(tmp_path), **SMALL)
    picture(3, 255)
    with pytest.raises(elegan.RunError, match="--new"):
        elegan.train(str(tmp_path / "images"), out=str(tmp_path), **SMALL)


def test_minutes_fix_the_number_of_steps_at_the_start(tmp_path: Path) -> None:
    options = {name: value for name, value in SMALL.items() if name != "steps"}
    run = elegan.train("digits", out=str(tmp_path), minutes=0.003, **options)
    assert run.step == run.config["steps"] >= 1
    assert elegan.train("digits", out=str(tmp_path), minutes=0.003, **options).step == run.step


def test_a_seed_is_always_the_same_picture(run: elegan.Run) -> None:
    model = elegan.load(run.path)
    alone, among = model.sample(70), model.sample("0-99")
    assert np.array_equal(alone[0], among[70])
    assert np.array_equal(model.sample("5,3")[1], among[3])
    assert not np.array_equal(among[10], among[20])


def test_a_class_is_found_by_name_and_number(run: elegan.Run) -> None:
    model = elegan.load(run.path)
    assert np.array_equal(model.sample("0-3", "7"), model.sample("0-3", 7))
    assert not np.array_equal(model.sample(0, "7"), model.sample(0, "1"))
    with pytest.raises(elegan.OptionError, match="no class 'seven'"):
        model.sample(0, "seven")


def test_samples_become_a_grid_a_folder_or_arrays(run: elegan.Run, tmp_path: Path) -> None:
    assert elegan.sample(str(run.path)).name == "samples-0-63.png"
    arrays = np.load(elegan.sample(str(run.path), seeds="0-11", out=str(tmp_path / "a.npz")), allow_pickle=False)
    assert arrays["images"].shape == (12, 8, 8, 1)
    assert arrays["labels"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    folder = elegan.sample(str(run.path), seeds="0-11", out=str(tmp_path / "folder"))
    with Image.open(folder / "1" / "seed0011.png") as picture:
        assert np.array_equal(np.asarray(picture), arrays["images"][11, :, :, 0])


def test_a_folder_of_samples_can_be_trained_on(run: elegan.Run, tmp_path: Path) -> None:
    folder = elegan.sample(str(run.path), seeds="0-39", out=str(tmp_path / "folder"))
    again = elegan.train(str(folder), out=str(tmp_path), **SMALL)
    assert again.record["spec"]["classes"] == [str(i) for i in range(10)]


def test_a_plan_trains_nothing(tmp_path: Path) -> None:
    plan = elegan.plan("digits", out=str(tmp_path), **{name: value for name, value in SMALL.items() if name != "save_every"})
    assert plan.steps == 6
    assert any("Model cgan" in note for note in plan.notes)
    assert plan.parameters["generator"] > 0
    assert plan.memory > 0
    assert plan.seconds > 0
    json.dumps(plan.as_dict())
    assert list(tmp_path.iterdir()) == []


def test_a_model_in_a_file_of_ones_own_is_trained_and_only_loaded_when_named(tmp_path: Path) -> None:
    source = Path(elegan.__file__).parent / "gans" / "dcgan.py"
    mine = tmp_path / "mine.py"
    mine.write_text(source.read_text())
    run = elegan.train("digits", model=str(mine), out=str(tmp_path / "runs"), **SMALL)
    with pytest.raises(elegan.RunError, match="--model"):
        elegan.load(run.path)
    assert elegan.load(run.path, model=str(mine)).sample("0-3").shape == (4, 8, 8, 1)
    with pytest.raises(elegan.OptionError, match="is told no classes"):
        elegan.load(run.path, model=str(mine)).sample(0, "1")


def test_a_conditional_model_without_labels_runs_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    generator = np.random.default_rng(0)
    for i in range(20):
        Image.fromarray(generator.integers(0, 255, (12, 16, 3), dtype=np.uint8)).save(tmp_path / "flat" / f"{i}.png")
    said: list[str] = []
    run = elegan.train(str(tmp_path / "flat"), model="cgan", out=str(tmp_path), listener=elegan.Listener(message=said.append), **SMALL)
    assert any("unconditionally" in text for text in said)
    assert elegan.load(run.path).sample("0-4").shape == (5, 12, 16, 3)


def test_two_processes_do_not_train_one_run(run: elegan.Run) -> None:
    with run.locked(), pytest.raises(elegan.RunError, match="another process"):
        elegan.train("digits", out=str(run.path.parent), **{**SMALL, "steps": 9})


def train_in_a_process(out: Path, steps: int) -> subprocess.Popen[str]:
    code = (
        "import torch, elegan; torch.set_num_threads(1);"
        f"elegan.train('digits', out={str(out)!r}, width=8, batch=16, steps={steps}, save_every=7, precision='fp32', accumulate=2,"
        " penalty='r1', penalty_interval=2)"
    )
    return subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ), text=True, stderr=subprocess.PIPE)


def wait_for_step(out: Path, process: subprocess.Popen[str], step: int) -> None:
    """Until a save of at least `step` is there."""
    for _ in range(6000):
        if any(path.is_dir() and int(path.name[-8:]) >= step for path in out.glob("*/checkpoints/step-*")):
            return
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.01)
    raise AssertionError(f"step {step} was never saved")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, None)])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path: Path, number: signal.Signals, code: int | None) -> None:
    steps = 400
    process = train_in_a_process(tmp_path / "stopped", steps)
    wait_for_step(tmp_path / "stopped", process, 20)
    process.send_signal(number)
    process.communicate()
    assert code is None or process.returncode == code
    saved = elegan.runs(str(tmp_path / "stopped"))[0].step
    assert 20 <= saved < steps
    options = {
        "width": 8,
        "batch": 16,
        "steps": 60,
        "precision": "fp32",
        "accumulate": 2,
        "penalty": "r1",
        "penalty_interval": 2,
        "save_every": 50,
    }
    target = max(60, saved + 10)
    resumed = elegan.train("digits", out=str(tmp_path / "stopped"), **{**options, "steps": target})
    whole = elegan.train("digits", out=str(tmp_path / "whole"), **{**options, "steps": target})
    assert same(weights(resumed), weights(whole))
    assert [entry["step"] for entry in resumed.log] == sorted({entry["step"] for entry in resumed.log})


def test_every_option_of_training_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option in the signature that train() forgets would silently do nothing."""
    found: dict[str, Any] = {}

    def stop(asked: dict[str, Any], **more: object) -> None:
        found.update(asked)
        raise OptionError("enough")

    monkeypatch.setattr(job, "make_job", stop)
    given: dict[str, Any] = {field.name: f"any {field.name}" for field in dataclasses.fields(job.TrainOptions)}
    with pytest.raises(OptionError, match="enough"):
        elegan.train(**given, steps=3)
    assert found == {**given, "steps": 3}


def test_images_above_256_pixels_are_trained_on_and_sampled(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    generator = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(generator.integers(0, 255, (300, 280, 3), dtype=np.uint8)).save(tmp_path / "large" / f"{i}.png")
    small = {"width": 2, "discriminator_width": 2, "latent": 4, "batch": 2, "steps": 1, "precision": "fp32"}
    run = elegan.train(str(tmp_path / "large"), model="dcgan", size="280x264", out=str(tmp_path), **small)
    assert elegan.load(run).sample("0").shape == (1, 280, 264, 3)
