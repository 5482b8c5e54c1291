"""The list of runs, also where some of them are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import elegan
from elegan.engine.run import Run


def make_run(folder: Path) -> Run:
    run = Run(folder)
    data = {"name": "digits", "fingerprint": "0123"}
    run.create({"data": "digits", "model": "gan", "steps": 10}, {"device": "cpu", "threads": 1, "precision": "fp32", "data": data})
    run.append_log({"step": 5, "images": 40, "seconds": 2.0, "generator_loss": 0.5})
    return run


def test_a_run_is_summed_up(tmp_path: Path) -> None:
    make_run(tmp_path / "one")
    (found,) = elegan.runs(str(tmp_path))
    assert (found.model, found.data, found.step, found.steps, found.seconds) == ("gan", "digits", 0, 10, 2.0)
    assert found.readings == {"generator_loss": 0.5}
    assert found.problem == ""


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("record.json", b"{}", "lacks data.name"),
        ("record.json", b"[1]", "holds list"),
        ("record.json", b"\xff", "not valid JSON"),
        ("config.yaml", b"steps: [1]", "lacks data"),
        ("config.yaml", b"data: d\nmodel: m\nsteps: many", "steps is 'many'"),
        ("config.yaml", None, "could not read"),
        ("log.jsonl", None, "could not read"),
    ],
)
def test_a_damaged_run_is_listed_with_the_reason_beside_the_others(file: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    make_run(tmp_path / "whole")
    damaged = make_run(tmp_path / "damaged").path / file
    damaged.unlink()
    if content is None:
        damaged.mkdir()
    else:
        damaged.write_bytes(content)
    found = {Path(run.path).name: run for run in elegan.runs(str(tmp_path))}
    assert found.keys() == {"whole", "damaged"}
    assert found["whole"].problem == ""
    assert said in found["damaged"].problem
    assert found["damaged"].lines() == [str(tmp_path / "damaged"), f"  damaged: {found['damaged'].problem}"]
    assert json.loads(json.dumps(found["damaged"].as_dict()))["problem"]


def test_a_log_of_other_things_takes_no_list_down(tmp_path: Path) -> None:
    with open(make_run(tmp_path / "one").path / "log.jsonl", "ab") as file:
        file.write(b'{"step": 6, "seconds": "long", "generator_loss": [1]}\n\xff\xfe\n')
    (found,) = elegan.runs(str(tmp_path))
    assert "generator_loss 0.5" in found.lines()[-1]
