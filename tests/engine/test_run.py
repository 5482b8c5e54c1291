from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from elegan.engine import run as engine_run
from elegan.engine.run import Run, find_run, list_runs, read_mapping, run_name
from elegan.errors import RunError

CONFIG = {"data": "digits", "model": "gan", "steps": 10, "lr": 1e-5, "classes": "no"}
RECORD = {"device": "cpu", "threads": 2, "precision": "fp32", "data": {"name": "digits", "fingerprint": "0123"}}


def make_run(folder: Path, record: dict[str, Any] | None = None) -> Run:
    run = Run(folder)
    run.create(CONFIG, {**RECORD, **(record or {})})
    return run


def test_what_was_written_is_read(tmp_path: Path) -> None:
    record = {"flag": None, "nested": {"names": ["a", "b"]}}
    run = make_run(tmp_path / "run", record)
    assert run.exists()
    assert run.config == CONFIG
    assert run.record == {**RECORD, **record}
    assert (run.name, run.step, run.log) == ("run", 0, [])


@pytest.mark.parametrize("value", [1e-05, 5e-324, 1e22, "\U0001f600", "1e-05", "no", "2026-01-01", "tab\there"], ids=repr)
def test_every_fact_comes_back_as_it_was(value: object, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {"value": value, "names": [value]})
    assert run.record == {**RECORD, "value": value, "names": [value]}
    Run(tmp_path / "other").create({**CONFIG, "value": value}, {})
    assert Run(tmp_path / "other").config == {**CONFIG, "value": value}


@pytest.mark.parametrize(
    "content",
    [
        *("", "just words", "- a\n- b", "a: [", "{{{", "!!python/object/apply:os.getcwd []", "\x00"),
        *("a: !!bool x", "a: !!int ''", "a: !!timestamp x", "? [a]\n: b"),  # PyYAML answers with errors of Python's own
    ],
)
def test_a_file_that_holds_no_names_and_values_is_a_run_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(RunError, match=r"config\.yaml"):
        read_mapping(tmp_path / "config.yaml")


def test_a_file_in_no_encoding_or_none_at_all_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes(b"\xff\xfe\x81")
    for path in (tmp_path / "config.yaml", tmp_path / "nothing.yaml", tmp_path):
        with pytest.raises(RunError):
            read_mapping(path)


def test_a_place_that_cannot_be_written_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"could not make .*--out"):
        make_run(tmp_path / "file" / "run")


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    run.append_log({"step": 1, "loss": 0.5})
    with open(run.path / "log.jsonl", "a") as file:
        file.write('{"step": 2, "lo')
    assert run.log == [{"step": 1, "loss": 0.5}]


@pytest.mark.parametrize("line", ["7", "[1]", "null", '{"loss": 1}', "\x00\x00\x00"])
def test_a_log_line_of_another_kind_does_not_prevent_a_resume(line: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    run.append_log({"step": 1})
    with open(run.path / "log.jsonl", "a") as file:
        file.write(line + "\n")
    run.append_log({"step": 2})
    run.cut_log(2)
    assert [entry for entry in run.log if "step" in entry] == [{"step": 1}, {"step": 2}]


def test_the_log_is_cut_after_the_step(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for step in (1, 2, 3, 4):
        run.append_log({"step": step, "loss": step / 2})
    run.cut_log(2)
    assert run.log == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 1.0}]


def test_a_number_that_is_not_finite_survives_the_log(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    run.append_log({"step": 1, "loss": float("inf")})
    run.cut_log(1)
    assert run.log == [{"step": 1, "loss": float("inf")}]


def test_a_name_depends_on_the_options_alone() -> None:
    options = {"seed": 0, "lr": 2e-4, "size": "auto", "mirror": False}
    name = run_name("dcgan", "digits", options)
    assert name == run_name("dcgan", "digits", dict(reversed(options.items()))) == "dcgan-digits-0640d556"
    others = [run_name("dcgan", "digits", {**options, key: value}) for key, value in [("seed", 1), ("lr", 1e-4), ("mirror", True)]]
    assert len({name, *others}) == 4


def test_runs_are_listed_newest_first_and_only_runs(tmp_path: Path) -> None:
    for age, name in enumerate(("old", "middle", "new")):
        os.utime(make_run(tmp_path / name).path / "record.json", (1000 + age, 1000 + age))
    (tmp_path / "no-run").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["new", "middle", "old"]
    assert list_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_its_path_or_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "gan-digits-1")
    make_run(tmp_path / "elsewhere")
    assert find_run("gan-digits-1").path == Path("runs/gan-digits-1")
    assert find_run(tmp_path / "elsewhere").path == tmp_path / "elsewhere"
    assert find_run("elsewhere/").name == "elsewhere"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("gan-digits-2", r"no run 'gan-digits-2'\. Did you mean 'gan-digits-1'\?"),
        ("photos", r"photos is a folder but no run: it has no record\.json\. Runs are made by `elegan train`\."),
        ("cat.png", r"cat\.png is a file; a run is a folder with config\.yaml and record\.json"),
        ("qqq", r"no run 'qqq'\. Known: gan-digits-1\."),
    ],
)
def test_what_is_no_run_is_said_to_be_what_it_is(where: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "gan-digits-1")
    (tmp_path / "photos").mkdir()
    (tmp_path / "cat.png").write_bytes(b"")
    with pytest.raises(RunError, match=message):
        find_run(where)


def test_without_any_run_the_way_to_make_one_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"no run 'x'\. Make one with `elegan train DATA`\."):
        find_run("x")


def test_a_run_is_trained_by_one_at_a_time(tmp_path: Path) -> None:
    def fail() -> None:
        with Run(tmp_path / "run").locked():
            with pytest.raises(RunError, match="run"), Run(tmp_path / "run").locked():
                pass
            raise KeyboardInterrupt

    make_run(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        fail()
    with Run(tmp_path / "run").locked():  # the lock went with the exception
        pass


def test_what_became_no_run_leaves_no_folder_and_a_file_in_it_stays(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with run.locked():
        with pytest.raises(RunError, match="being trained by another process"), Run(run.path).locked():
            pass
        assert (run.path / ".lock").exists()  # who is refused clears nothing away
    assert not run.path.exists()
    with run.locked():
        (run.path / "notes.txt").write_text("mine")
    assert (run.path / "notes.txt").read_text() == "mine"


def test_a_lock_that_was_cleared_away_while_it_was_taken_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, taken, take_lock = Run(tmp_path / "run"), list[int](), engine_run.take_lock

    def beaten(descriptor: int, path: Path) -> None:
        if not taken:
            run.clear_away(path)
        taken.append(descriptor)
        take_lock(descriptor, path)

    monkeypatch.setattr(engine_run, "take_lock", beaten)
    with run.locked():
        assert len(taken) == 2
        with pytest.raises(RunError, match="being trained by another process"), Run(run.path).locked():
            pass


@pytest.mark.parametrize("content", ["", "{", "[1]", "3", "null", "\xff", "[" * 100_000])
def test_a_damaged_record_is_a_run_error(content: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run.path / "record.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(RunError, match=r"record\.json"):
        _ = run.record


def put(run: Run, file: str, **changed: object) -> None:
    """Write CONFIG or RECORD with `changed` values; None leaves one out."""
    whole = {**(CONFIG if file == "config.yaml" else RECORD), **changed}
    (run.path / file).write_text(json.dumps({name: value for name, value in whole.items() if value is not None}))  # JSON is YAML too


@pytest.mark.parametrize(
    ("file", "changed", "said"),
    [
        ("record.json", {"device": None}, "lacks device"),
        ("record.json", {"data": None}, r"lacks data\.name"),
        ("record.json", {"data": [1]}, r"lacks data\.name"),
        ("record.json", {"data": {"name": "digits"}}, r"lacks data\.fingerprint"),
        ("record.json", {"data": {"name": "digits", "fingerprint": 3}}, r"data\.fingerprint is 3, expected a text"),
        ("record.json", {"threads": 0}, "threads is 0, expected a whole number from 1"),
        ("record.json", {"threads": True}, "threads is True"),
        ("record.json", {"precision": ["fp32"] * 1000}, r"precision is \['fp32', .*\.\.\.\], expected a text"),
        ("config.yaml", {"steps": "many"}, "steps is 'many', expected a whole number from 1"),
        ("config.yaml", {"steps": None}, "lacks steps"),
        ("config.yaml", {"model": 5}, "model is 5, expected a text"),
    ],
)
def test_a_file_that_lacks_what_a_run_has_is_a_run_error_that_names_it(
    file: str, changed: dict[str, Any], said: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run")
    put(run, file, **changed)
    with pytest.raises(RunError, match=rf"run/{file}:? {said}.*--new"):
        _ = run.config, run.record


def test_a_number_too_large_to_be_written_out_is_a_run_error(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run.path / "config.yaml").write_text(f"data: digits\nmodel: 0x{'f' * 10_000}\nsteps: 3\n")
    with pytest.raises(RunError, match=r"model is a very large int, expected a text"):
        _ = run.config


def test_a_run_can_be_given_wherever_a_path_can(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    assert os.fspath(run) == str(tmp_path / "run")
    assert Path(run) == run.path
    assert find_run(run).path == run.path


def test_a_log_with_bytes_of_no_encoding_keeps_its_whole_lines(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    run.append_log({"step": 1})
    with open(run.path / "log.jsonl", "ab") as file:
        file.write(b'{"step": 2, "\xff\xfe": 1\n' + b"[" * 100_000 + b'\n{"step": 3, "loss": "low"}\n{"step": 3, "loss": null}\n')
    run.append_log({"step": 4, "loss": 0.5})
    assert run.log == [{"step": 1}, {"step": 4, "loss": 0.5}]


def test_a_log_that_cannot_be_read_is_a_run_error(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run.path / "log.jsonl").mkdir()
    with pytest.raises(RunError, match=r"could not read .*log\.jsonl: Is a directory"):
        _ = run.log


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "precious").write_text("content")
    (run.path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match=r"could not open .*\.lock"), run.locked():
        pass
    assert (tmp_path / "precious").read_text() == "content"


@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOLCK, ""), (errno.ENOTSUP, ""), (errno.EIO, "could not lock .*: Input/output error")]
)
def test_a_place_without_locks_is_trained_in_without_and_a_failing_one_is_not(
    number: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    run = make_run(tmp_path / "run")
    monkeypatch.setattr(fcntl, "flock", refuse)
    if not said:
        with run.locked():
            return
    with pytest.raises(RunError, match=said), run.locked():
        pass


def test_a_system_without_fcntl_trains_without_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with make_run(tmp_path / "run").locked():
        pass
