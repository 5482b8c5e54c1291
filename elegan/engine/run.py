"""A run directory: what was asked (`config.yaml`), the facts (`record.json`), the log, pictures and checkpoints."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from elegan.engine import checkpoint
from elegan.errors import RunError, nearest


class Run:
    """A run directory on the disk. Everything in it is text, a picture or safetensors; nothing in it can run code."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "checkpoints"

    @property
    def config(self) -> dict[str, Any]:
        """The resolved options; RunError if they cannot be read."""
        return read_mapping(self.path / "config.yaml")

    @property
    def record(self) -> dict[str, Any]:
        """What was found and chosen: data, device, precision, versions; RunError if it cannot be read."""
        return read_mapping(self.path / "record.json", json.loads)

    @property
    def step(self) -> int:
        """The newest step that is saved; 0 if none is."""
        saved = checkpoint.checkpoints(self.checkpoint_folder)
        return int(saved[0].name.removeprefix(checkpoint.PREFIX)) if saved else 0

    @property
    def log(self) -> list[dict[str, float]]:
        """The log's lines, oldest first. A line that a kill cut short is left out."""
        path = self.path / "log.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [entry for line in lines if (entry := parse_line(line)) is not None]

    def create(self, config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Write the options and the facts. The record comes last: a directory without it is no run yet."""
        self.make_folders()
        checkpoint.write_file(self.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False).encode())
        checkpoint.write_json(self.path / "record.json", record)

    def exists(self) -> bool:
        return (self.path / "record.json").exists()

    def clear(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def make_folders(self) -> None:
        try:
            for folder in (self.path / "samples", self.checkpoint_folder):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"could not make {self.path}: {error.strerror}. Choose another place with --out.") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """RunError if another process is training this run; the system lets go of the lock however a process ends."""
        self.make_folders()
        with open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(f"{self.path} is being trained by another process. Wait for it, or start another run with --new.") from error
            yield

    def append_log(self, entry: Mapping[str, float]) -> None:
        try:
            with open(self.path / "log.jsonl", "a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise RunError(f"could not write {self.path / 'log.jsonl'}: {error.strerror}. Earlier saves are intact.") from error

    def cut_log(self, step: int) -> None:
        """Drop what was logged after `step`: a resumed run logs it again."""
        kept = [json.dumps(entry) for entry in self.log if entry["step"] <= step]
        checkpoint.write_file(self.path / "log.jsonl", "".join(f"{line}\n" for line in kept).encode())


def parse_line(line: str) -> dict[str, float] | None:
    """A line of the log, or None if it is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("step"), int) else None


def read_mapping(path: Path, parse: Callable[[str], object] = yaml.safe_load) -> dict[str, Any]:
    """A file that holds names and values; RunError if it does not. It is YAML unless another `parse` is given."""
    try:
        content = parse(path.read_text())
    except OSError as error:
        raise RunError(f"could not read {path}: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RunError(f"{path} is not valid {path.suffix.removeprefix('.').upper()}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} holds {type(content).__name__}, not names and values.")
    return content


def run_name(model: str, data: str, options: Mapping[str, Any]) -> str:
    """`MODEL-DATA-HASH`: the same options give the same name."""
    digest = hashlib.blake2b(json.dumps(options, sort_keys=True, default=str).encode(), digest_size=4).hexdigest()
    return f"{model}-{data}-{digest}"


def list_runs(out: str | Path) -> list[Run]:
    """The runs in folder `out`, the newest first."""
    found = [Run(path.parent) for path in Path(out).glob("*/record.json")]
    return sorted(found, key=lambda run: (run.path / "record.json").stat().st_mtime, reverse=True)


def find_run(where: str | Path) -> Run:
    """The run in folder `where`, or of that name in `runs`; RunError that says what is there instead."""
    path = Path(where)
    for candidate in (path, Path("runs") / path):
        if (candidate / "record.json").exists():
            return Run(candidate)
    if path.is_file():
        raise RunError(f"{where} is a file; a run is a folder with config.yaml and record.json, as `elegan train` makes it.")
    if path.is_dir():
        raise RunError(f"{where} is a folder but no run: it has no record.json. Runs are made by `elegan train`.")
    known = [run.name for run in list_runs("runs")]
    raise RunError(f"no run {str(where)!r}. {nearest(str(where), known) or 'Make one with `elegan train DATA`.'}")
