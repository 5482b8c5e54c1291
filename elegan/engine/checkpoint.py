"""Saving and loading tensors so that a kill, a full disk or a damaged file costs at most the steps since the last save.

A checkpoint is a folder: safetensors files and `meta.json`, which holds their hashes. Nothing in it can run code. It is
written under another name, flushed to the disk and renamed, so a folder with a checkpoint's name is always whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from elegan.errors import RunError

PREFIX = "step-"
Tensors = dict[str, Tensor]


def write_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(f"could not write {path}: {error.strerror}. Make room or choose another place with --out.") from error


def write_json(path: Path, content: object) -> None:
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())


def save(folder: Path, step: int, files: Mapping[str, Tensors], meta: Mapping[str, Any]) -> Path:
    """Write the checkpoint of `step` into `folder`, whole or not at all; RunError if the disk refuses."""
    target, temporary = folder / f"{PREFIX}{step:08d}", folder / f".writing-{step:08d}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        hashes = {}
        for name, tensors in files.items():
            content = safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
            write_file(temporary / f"{name}.safetensors", content)
            hashes[name] = hashlib.sha256(content).hexdigest()
        write_json(temporary / "meta.json", {**meta, "step": step, "sha256": hashes})
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
        flush_folder(folder)
    except (OSError, RunError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RunError(f"step {step} could not be saved in {folder}: {reason} Earlier saves are intact.") from error
    return target


def flush_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(checkpoint: Path) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """The tensors and the facts of a checkpoint; RunError if anything in it is missing, damaged or of another kind."""
    try:
        meta = json.loads((checkpoint / "meta.json").read_bytes())
        files = {name: read_tensors(checkpoint / f"{name}.safetensors", digest) for name, digest in meta["sha256"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{checkpoint} is no whole checkpoint: {error}") from error
    return files, meta


def read_tensors(path: Path, digest: str) -> Tensors:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise RunError(f"{path} is damaged: its content is not what was saved.")
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError) as error:
        raise RunError(f"{path} is no safetensors file: {error}") from error


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, the newest first."""
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)), reverse=True)


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and what an interrupted save left behind."""
    for path in [*checkpoints(folder)[keep:], *folder.glob(".writing-*")]:
        shutil.rmtree(path, ignore_errors=True)
