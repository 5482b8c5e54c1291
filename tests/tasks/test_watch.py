"""Watching a training: samples measured at each save against images kept apart, and the best save kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import elegan
from elegan.engine import checkpoint
from elegan.errors import DataError, RunError
from elegan.metrics import classifier
from elegan.tasks import watch
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
    assert best_so_far(run.path / "best") == (best["step"], pytest.approx(best["kernel_distance"]))
    assert len(checkpoint.checkpoints(run.path / "best")) == 1
    assert elegan.load(run, best=True).step == best["step"]
    assert elegan.load(run).step == 6
    assert any("Step 2: kernel distance (classifier)" in line and "the best so far" in line for line in said)


def test_watching_changes_no_weight(watched: tuple[elegan.Run, list[str]], tmp_path: Path) -> None:
    alone = elegan.train("digits", out=str(tmp_path), **OPTIONS)
    ours, theirs = (checkpoint.load(checkpoint.checkpoints(one.checkpoint_folder)[0])[0]["weights"] for one in (watched[0], alone))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_worse_save_does_not_take_the_place_of_the_best(watched: tuple[elegan.Run, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = watched
    step, _ = best_so_far(run.path / "best") or (0, 0.0)
    distances = iter([5e9, -5e9])
    monkeypatch.setattr("elegan.metrics.kernel.mmd_squared", lambda one, other: next(distances))
    elegan.train("digits", held_out="digits", out=str(run.path.parent), **{**OPTIONS, "steps": 8})
    assert best_so_far(run.path / "best") == (step, pytest.approx(min(entry["kernel_distance"] for entry in entries(run)[:3])))
    elegan.train("digits", held_out="digits", out=str(run.path.parent), **{**OPTIONS, "steps": 10})
    assert best_so_far(run.path / "best") == (10, -5e9)


def test_the_best_of_a_run_that_nobody_watched_is_refused(tmp_path: Path) -> None:
    run = elegan.train("digits", out=str(tmp_path), **{**OPTIONS, "steps": 1})
    with pytest.raises(RunError, match="without --held-out"):
        elegan.load(run, best=True)


def test_images_that_are_not_kept_apart_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "elegan.tasks.material.compared_with", lambda where, split, wanted, listener: (wanted.prepare(where, "train", listener), "")
    )
    with pytest.raises(DataError, match="the training images themselves"):
        elegan.train("digits", held_out="digits", out=str(tmp_path), **OPTIONS)


def test_a_damaged_best_save_is_none(tmp_path: Path) -> None:
    (tmp_path / "step-00000002").mkdir()
    assert best_so_far(tmp_path) is None
    assert best_so_far(tmp_path / "nowhere") is None
