"""The command that finds directions: its table, its picture, its file, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

import elegan
from elegan import cli
from elegan.errors import OptionError, RunError
from elegan.tasks.directions import directions_file, moved_by, saved_directions, steps


@pytest.mark.parametrize("method", ["factorisation", "pca"])
@pytest.mark.parametrize("kind", ["styled_run", "noise_run"])
def test_directions_are_drawn_measured_and_kept(method: Any, kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run: elegan.Run = request.getfixturevalue(kind)
    found = elegan.directions(run, method=method, count=3, strengths=3, seeds="0-1", out=tmp_path / "some.png")
    model = elegan.load(run)
    shape = tuple(model.latents("0").shape[1:])
    vectors = saved_directions(run, False, shape)  # type: ignore[arg-type]
    assert vectors.shape == (3, *shape)
    assert found.shares == tuple(sorted(found.shares, reverse=True))
    assert 0 < sum(found.shares) <= 1
    with Image.open(found.picture) as picture:
        assert picture.size == ((9 * 6 - 1) * 8, (9 * 3 - 1) * 8)
        small = np.asarray(picture)[::8, ::8]
    cells = np.stack([[small[9 * r : 9 * r + 8, 9 * c : 9 * c + 8] for c in range(6)] for r in range(3)])
    samples = model.sample("0-1")[..., 0]
    assert (cells[:, [1, 4]] == samples).all()
    latents = model.latents("1") - 3 * vectors[2]
    assert np.array_equal(cells[2, 3], model.render(latents, model.conditions_of((1,)))[0, ..., 0])
    seeds = tuple(range(64))
    before = model.sample(seeds).astype(float)
    moved = [model.render(model.latents(seeds) + sign * vectors[0], model.conditions_of(seeds)).astype(float) for sign in (1, -1)]
    assert found.changes[0] == pytest.approx(np.mean([np.abs(one - before).mean() for one in moved]))
    with safe_open(directions_file(run, False), "pt") as file:
        assert file.metadata() == {"method": method}


def test_the_command_prints_a_table(styled_run: elegan.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["elegan", "directions", str(styled_run.path), "--count", "2", "--layers", "coarse", "--strengths", "1"]
    for more in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", [*words, *more])
        capsys.readouterr()
        cli.main()
        printed = capsys.readouterr().out
        if more:
            (said,) = json.loads(printed)
            assert said["layers"] == [0, 1]
            assert len(said["shares"]) == 2
        else:
            assert printed.splitlines()[0].split() == ["direction", "of", "weights", "change", "at", "1,", "of", "255"]
            assert printed.splitlines()[2].split()[0] == "1"


def test_latents_are_moved_by_each_strength() -> None:
    latents, vectors = torch.zeros(2, 1, 3), torch.eye(3)[:, None]
    found = moved_by(latents, vectors, [-2.0, 2.0])
    assert found.shape == (3, 2, 2, 1, 3)
    assert found[1, 0, 1].tolist() == [[0, 2, 0]]
    assert (steps(5, 3), steps(1, 3), steps(2, 1)) == ([-3, -1.5, 0, 1.5, 3], [3], [-1, 1])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "guess"}, "--method: got 'guess'"),
        ({"count": 0}, "--count: got 0"),
        ({"count": 101}, "only 100 directions"),
        ({"strengths": 0}, "--strengths: got 0"),
        ({"layers": "0"}, "one layer"),
        ({"out": "a.webp"}, r"only NAME\.png"),
    ],
)
def test_what_cannot_be_found_is_refused(options: dict[str, Any], said: str, noise_run: elegan.Run) -> None:
    with pytest.raises(OptionError, match=said):
        elegan.directions(noise_run, **options)


def test_vectors_that_are_missing_or_of_another_model_are_a_run_error(noise_run: elegan.Run, tmp_path: Path) -> None:
    run = elegan.Run(shutil.copytree(noise_run.path, tmp_path / "run"))
    directions_file(run, False).unlink(missing_ok=True)
    with pytest.raises(RunError, match=r"no directions\.safetensors. Make it with: elegan directions"):
        saved_directions(run, False, (1, 100))
    elegan.directions(run, count=1, strengths=1, seeds="0")
    with pytest.raises(RunError, match=r"this model's latents are \(6, 16\)"):
        saved_directions(run, False, (6, 16))
    directions_file(run, False).write_bytes(b"no")
    with pytest.raises(RunError, match="holds no directions"):
        saved_directions(run, False, (1, 100))
