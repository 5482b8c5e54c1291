"""A run directory: what was asked (`config.yaml`), the facts (`record.json`), the log, pictures and checkpoints."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import reprlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from elegan.engine import checkpoint
from elegan.errors import RunError, nearest

CONFIG: dict[str, type] = {"data": str, "model": str, "steps": int}
RECORD: dict[str, type] = {"data.name": str, "data.fingerprint": str, "device": str, "threads": int, "precision": str}
"""What each file of a run has to hold, with its kind; whole numbers count from 1."""

BRIEF = reprlib.Repr()
BRIEF.maxlevel = 2

KINDS = {str: "a text", int: "a whole number from 1"}
UNLOCKABLE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What file systems answer that know no locks."""


class Run:
    """A run directory on the disk. Everything in it is text, a picture or safetensors; nothing in it can run code."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __fspath__(self) -> str:
        return str(self.path)

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
        """The resolved options; RunError if they cannot be read, or lack what every run has (`CONFIG`)."""
        return holding(self.path / "config.yaml", read_mapping(self.path / "config.yaml"), CONFIG)

    @property
    def record(self) -> dict[str, Any]:
        """What was found and chosen: data, device, precision, versions; RunError as for `config` (`RECORD`)."""
        return holding(self.path / "record.json", read_mapping(self.path / "record.json", json.loads), RECORD)

    @property
    def step(self) -> int:
        """The newest step that is saved; 0 if none is."""
        saved = checkpoint.checkpoints(self.checkpoint_folder)
        return checkpoint.step_of(saved[0]) if saved else 0

    @property
    def log(self) -> list[dict[str, float]]:
        """The log's lines, oldest first. A line that is damaged or was cut short by a kill is left out."""
        path = self.path / "log.jsonl"
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"could not read {path}: {checkpoint.reason(error)}.") from error
        return [entry for line in lines if (entry := parse_line(line)) is not None]

    def create(self, config: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Write the options and the facts. The record comes last: a directory without it is no run yet."""
        self.make_folders()
        checkpoint.write_file(self.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False).encode())
        checkpoint.write_json(self.path / "record.json", record)

    def exists(self) -> bool:
        return (self.path / "record.json").exists()

    def make_folders(self) -> None:
        try:
            for folder in (self.path / "samples", self.checkpoint_folder):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"could not make {self.path}: {checkpoint.reason(error)}. Choose another place with --out.") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """RunError if another process is training this run; the system lets go of the lock however a process ends. If it has become
        no run, its empty folders go."""
        path = self.path / ".lock"
        descriptor = self.take_lock(path)
        try:
            yield
        finally:
            if not self.exists():
                self.clear_away(path)
            os.close(descriptor)

    def take_lock(self, path: Path) -> int:
        """A descriptor of `path` that holds the lock."""
        while True:
            self.make_folders()
            try:  # no link is followed: it could lead out of the run
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
            except OSError as error:
                raise RunError(f"could not open {path}: {checkpoint.reason(error)}. Choose another place with --out.") from error
            try:
                take_lock(descriptor, path)
            except RunError:
                os.close(descriptor)
                raise
            if is_still_there(descriptor, path):
                return descriptor
            os.close(descriptor)  # another process has cleared it away in between

    def clear_away(self, lock: Path) -> None:
        with suppress(OSError):  # a folder that holds something stays
            lock.unlink()
            for folder in (self.path / "samples", self.checkpoint_folder, self.path):
                folder.rmdir()

    def append_log(self, entry: Mapping[str, float]) -> None:
        try:
            with open(self.path / "log.jsonl", "a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise RunError(f"could not write {self.path / 'log.jsonl'}: {checkpoint.reason(error)}. Earlier saves are intact.") from error

    def cut_log(self, step: int) -> None:
        """Drop what was logged after `step`: a resumed run logs it again."""
        kept = [json.dumps(entry) for entry in self.log if entry["step"] <= step]
        checkpoint.write_file(self.path / "log.jsonl", "".join(f"{line}\n" for line in kept).encode())


def is_still_there(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def take_lock(descriptor: int, path: Path) -> None:
    """RunError if another process holds the lock. Where there are no locks (Windows, some network disks): none."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(f"{path.parent} is being trained by another process. Wait for it, or start another run with --new.") from error
    except OSError as error:
        if error.errno not in UNLOCKABLE:
            raise RunError(f"could not lock {path}: {checkpoint.reason(error)}.") from error


def parse_line(line: str) -> dict[str, float] | None:
    """A line of the log, or None if it is damaged."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(entry, dict) and isinstance(entry.get("step"), int) and all(map(is_number, entry.values()))
    return entry if whole else None


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_mapping(path: Path, parse: Callable[[str], object] = yaml.safe_load) -> dict[str, Any]:
    """A file that holds names and values; RunError if it does not. It is YAML unless another `parse` is given."""
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"could not read {path}: {checkpoint.reason(error)}.") from error
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        # PyYAML answers `!!bool x`, `!!int ""` and `!!timestamp x` with errors of Python's own
        raise RunError(f"{path} is not valid {path.suffix.removeprefix('.').upper()}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} holds {type(content).__name__}, not names and values.")
    return content


def holding(path: Path, content: dict[str, Any], wanted: Mapping[str, type]) -> dict[str, Any]:
    """`content`, once it holds all that is `wanted`; "a.b" is b within a. RunError that names the file and the key."""
    for name, kind in wanted.items():
        value: object = content
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                raise RunError(f"{path} lacks {name}: it was edited or is of another kind. Restore it, or start another run with --new.")
            value = value[part]
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value < 1):
            raise RunError(f"{path}: {name} is {shown(value)}, expected {KINDS[kind]}. Restore it, or start another run with --new.")
    return content


def shown(value: object) -> str:
    """`value` in a few words, however large or nested it is: a YAML file of some lines can hold more than memory can."""
    try:
        text = BRIEF.repr(value)
    except ValueError:  # a whole number of more digits than Python writes out
        return f"a very large {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def run_name(model: str, data: str, options: Mapping[str, Any]) -> str:
    """`MODEL-DATA-HASH`: the same options give the same name."""
    digest = hashlib.blake2b(json.dumps(options, sort_keys=True, default=str).encode(), digest_size=4).hexdigest()
    return f"{model}-{data}-{digest}"


def list_runs(out: str | Path) -> list[Run]:
    """The runs in folder `out`, the newest first."""
    found = [Run(path.parent) for path in Path(out).glob("*/record.json")]
    return sorted(found, key=lambda run: modified(run.path / "record.json"), reverse=True)


def modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it was deleted just now
        return 0.0


def find_run(where: str | os.PathLike[str]) -> Run:
    """The run in folder `where`, or of that name in `runs`; RunError that says what is there instead."""
    path = Path(where)
    for candidate in (path, Path("runs") / path):
        if (candidate / "record.json").exists():
            return Run(candidate)
    if path.is_file():
        raise RunError(f"{path} is a file; a run is a folder with config.yaml and record.json, as `elegan train` makes it.")
    if path.is_dir():
        raise RunError(f"{path} is a folder but no run: it has no record.json. Runs are made by `elegan train`.")
    known = [run.name for run in list_runs("runs")]
    raise RunError(f"no run {str(path)!r}. {nearest(str(path), known) or 'Make one with `elegan train DATA`.'}")
