"""Watching a training: samples measured at each save against images kept apart, and the best save kept."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import elegan
from elegan.engine import checkpoint
from elegan.engine.loop import Training
from elegan.errors import DataError, RunError
from elegan.metrics import classifier
from elegan.tasks import watch
from elegan.tasks.material import Wanted
from elegan.tasks.watch import best_so_far

OPTIONS = {"width": 8, "batch": 16, "precision": "fp32", "save_every": 2, "steps": 6}


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "STEPS", 5)
        patch.setattr(watch, "SAMPLES", 64)
        yield


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[elegan.Run, list[str]]:
    said: list[str] = []
    listener = elegan.Listener(message=said.append)
    return elegan.train("digits", held_out="digits", out=str(tmp_path_factory.mktemp("watched")), listener=listener, **OPTIONS), said


def entries(run: elegan.Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.path / "watch.jsonl").read_text().splitlines()]


def test_each_save_is_measured_and_the_best_is_kept(watched: tuple[elegan.Run, list[str]]) -> None:
    run, said = watched
    assert [entry["step"] for entry in entries(run)] == [2, 4, 6]
    best = min(entries(run), key=lambda entry: entry["kernel_distance"])
    assert best_so_far(run.path / "best", {}) == (best["step"], pytest.approx(best["kernel_distance"]))
    assert best_so_far(run.path / "best", {"judge": "another"}) is None
    assert len(checkpoint.checkpoints(run.path / "best")) == 1
    assert elegan.load(run, best=True).step == best["step"]
    assert elegan.load(run).step == 6
    assert any("Step 2: kernel distance (classifier)" in line and "the best so far" in line for line in said)
    distances = {entry["step"]: f"step {entry['step']} (kernel distance {entry['kernel_distance']:.4g})" for entry in entries(run)}
    both = f"Best and final: {distances[6]}." if best["step"] == 6 else f"Best: {distances[int(best['step'])]}. Final: {distances[6]}."
    assert said[-1] == both


def test_what_judging_takes_is_not_called_preparing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEGAN_CACHE", str(tmp_path / "cache"))
    prepared, measured = list[int](), list[int]()
    listener = elegan.Listener(preparing=lambda _, total: prepared.append(total), measuring=lambda _, total: measured.append(total))
    elegan.train("digits", held_out="digits", out=str(tmp_path), listener=listener, **{**OPTIONS, "steps": 1})
    assert set(prepared) == {1437, 360}  # images
    assert set(measured) == {5}  # steps of the classifier


def test_watching_changes_no_weight(watched: tuple[elegan.Run, list[str]], tmp_path: Path) -> None:
    alone = elegan.train("digits", out=str(tmp_path), **OPTIONS)
    ours, theirs = (checkpoint.load(checkpoint.checkpoints(one.checkpoint_folder)[0])[0]["weights"] for one in (watched[0], alone))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_worse_save_does_not_take_the_place_of_the_best(watched: tuple[elegan.Run, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = watched
    step, distance = best_so_far(run.path / "best", {}) or (0, 0.0)
    distances = iter([5e9, -5e9])
    monkeypatch.setattr("elegan.metrics.kernel.mmd_squared", lambda one, other: next(distances))
    elegan.train("digits", held_out="digits", out=str(run.path.parent), **{**OPTIONS, "steps": 8})
    assert best_so_far(run.path / "best", {}) == (step, distance)
    elegan.train("digits", held_out="digits", out=str(run.path.parent), **{**OPTIONS, "steps": 10})
    assert best_so_far(run.path / "best", {}) == (10, -5e9)
    assert [entry["step"] for entry in entries(run)] == [2, 4, 6, 8, 10]


@pytest.fixture
def interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> elegan.Run:
    """Saved at step 3, after Ctrl-C."""
    play = Training.play

    def play_until_told(training: Training) -> dict[str, torch.Tensor]:
        found = play(training)
        if training.step == 3:
            signal.raise_signal(signal.SIGINT)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Training, "play", play_until_told)
        with pytest.raises(KeyboardInterrupt):
            elegan.train("digits", held_out="digits", out=str(tmp_path), **OPTIONS)
    (run,) = elegan.runs(str(tmp_path))
    return elegan.Run(run.path)


def test_a_save_made_by_ctrl_c_is_measured_when_training_goes_on(interrupted: elegan.Run, tmp_path: Path) -> None:
    assert [entry["step"] for entry in entries(interrupted)] == [2]
    elegan.train("digits", held_out="digits", out=str(tmp_path), **OPTIONS)
    assert [entry["step"] for entry in entries(interrupted)] == [2, 3, 4, 6]
    said: list[str] = []
    elegan.train("digits", held_out="digits", out=str(tmp_path), listener=elegan.Listener(message=said.append), **OPTIONS)
    assert [entry["step"] for entry in entries(interrupted)] == [2, 3, 4, 6]  # once is enough
    assert said[-1].startswith("Best")


def test_an_evaluation_names_best_and_newest_where_they_are_two(interrupted: elegan.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = entries(interrupted)
    best, note = f"step 2 (kernel distance {first['kernel_distance']:.4g})", "By --held-out the best save is of {0}, the newest of {1}. "
    assert watch.best_beside_newest(interrupted, 3, False) == [
        note.format(best, "step 3 (not measured)") + "Measured here is the newest; --best measures the best."
    ]
    watch.note(interrupted.path / "watch.jsonl", {**first, "step": 3, "kernel_distance": 7.5})  # type: ignore[arg-type]
    newest = elegan.evaluate(interrupted, count=20).notes[0]
    assert newest == note.format(best, "step 3 (kernel distance 7.5)") + "Measured here is the newest; --best measures the best."
    found = elegan.evaluate(interrupted, count=20, best=True)
    assert found.protocol["samples"]["step"] == 2
    assert found.notes[0] == note.format(best, "step 3 (kernel distance 7.5)") + "Measured here is the best."
    assert watch.best_beside_newest(interrupted, 2, False) == []
    watch.note(interrupted.path / "watch.jsonl", {**first, "step": 3, "kernel_distance": 7.5, "judge": "another"})  # type: ignore[arg-type]
    assert "step 3 (not measured)" in watch.best_beside_newest(interrupted, 3, False)[0]


def test_the_best_of_a_run_that_nobody_watched_is_refused(tmp_path: Path) -> None:
    run = elegan.train("digits", out=str(tmp_path), **{**OPTIONS, "steps": 1})
    with pytest.raises(RunError, match="without --held-out"):
        elegan.load(run, best=True)
    assert watch.best_beside_newest(run, 1, False) == []


def test_images_that_are_not_kept_apart_are_refused_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def same(where: str, split: str, wanted: Wanted, listener: elegan.Listener, *, named: bool) -> tuple[elegan.ImageData, str]:
        return wanted.prepare(where, "train", listener), "train"

    monkeypatch.setattr("elegan.tasks.material.compared_with", same)
    with pytest.raises(DataError, match="the training images themselves"):
        elegan.train("digits", held_out="digits", out=str(tmp_path), **OPTIONS)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    with pytest.raises(DataError, match="nowhere"):
        elegan.train("digits", held_out="nowhere", out=str(tmp_path), **OPTIONS)


def test_a_save_that_cannot_be_measured_is_said_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise RunError("the disk is full.")

    monkeypatch.setattr(watch, "note", fail)
    said: list[str] = []
    run = elegan.train("digits", held_out="digits", out=str(tmp_path), listener=elegan.Listener(message=said.append), **OPTIONS)
    assert run.step == 6
    assert sum("training goes on: the disk is full." in line for line in said) == 3


def test_lines_of_steps_that_are_made_again_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "watch.jsonl"
    path.write_text('{"step": 2}\ndamaged\n{"step": 4}\n{"step": 6}\n')
    watch.note(path, {"step": 4, "kernel_distance": 1.0})
    assert path.read_text() == '{"step": 2}\n{"step": 4, "kernel_distance": 1.0}\n'


def test_a_damaged_best_save_is_none(watched: tuple[elegan.Run, list[str]], tmp_path: Path) -> None:
    best = Path(shutil.copytree(watched[0].path / "best", tmp_path / "best"))
    (weights,) = best.glob("*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert best_so_far(best, {}) is None
    assert best_so_far(tmp_path / "nowhere", {}) is None
