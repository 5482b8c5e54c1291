"""Saving and loading tensors so that a kill, a full disk or a damaged file costs at most the steps since the last save.

A checkpoint is a folder: safetensors files and `meta.json`, which holds their hashes. Nothing in it can run code. It is
written under another name, flushed to the disk and renamed, so a folder with a checkpoint's name is always whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
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
        with contextlib.suppress(OSError):
            temporary.unlink()
        advice = " Make room or choose another place with --out." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise RunError(f"could not write {path}: {reason(error)}.{advice}") from error


def reason(error: OSError) -> str:
    """What the system says, without the numbers and names around it."""
    return error.strerror or str(error)


def write_json(path: Path, content: object) -> None:
    write_file(path, (json.dumps(content, indent=2) + "\n").encode())


def save(folder: Path, step: int, files: Mapping[str, Tensors], meta: Mapping[str, Any]) -> Path:
    """Write the checkpoint of `step` into `folder`, whole or not at all; RunError if the disk refuses."""
    target, temporary = folder / folder_name(step), folder / f".writing-{step:08d}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        hashes = {}
        for name, tensors in files.items():
            content = safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in tensors.items()})
            write_file(temporary / f"{name}.safetensors", content)
            hashes[name] = hashlib.sha256(content).hexdigest()
        write_json(temporary / "meta.json", {**meta, "step": step, "sha256": hashes})
        put_in_place(temporary, target)
    except (OSError, RunError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        said = f"{reason(error)}." if isinstance(error, OSError) else str(error)
        raise RunError(f"step {step} could not be saved in {folder}: {said} Earlier saves are intact.") from error
    return target


def folder_name(step: int) -> str:
    return f"{PREFIX}{step:08d}"


def put_in_place(temporary: Path, target: Path) -> None:
    """Rename `temporary` to `target`. What was there is removed last: until then it has a name with one more zero,
    which is the same step to a reader, so that a kill at any moment leaves one whole checkpoint of this step."""
    old = target.with_name(target.name.replace(PREFIX, f"{PREFIX}0", 1))
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        os.replace(target, old)
    os.replace(temporary, target)
    flush_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint to damaged-NAME, or damaged-NAME-2 and so on, where it is no checkpoint any more.

    RunError if the system refuses.
    """
    number, free = 1, path.with_name(f"damaged-{path.name}")
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"damaged-{path.name}-{number}")
    try:
        path.rename(free)
    except OSError as error:
        raise RunError(f"the damaged {path} could not be set aside: {reason(error)}. Move it away by hand.") from error


def flush_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load(checkpoint: Path, names: Collection[str] | None = None) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """The tensors and the facts of a checkpoint: of all its files, or only of those in `names`.

    RunError if anything of this is missing, damaged or of another kind.
    """
    try:
        meta = json.loads((checkpoint / "meta.json").read_bytes())
        digests = meta["sha256"] if names is None else {name: meta["sha256"][name] for name in names}
        files = {name: read_tensors(checkpoint / f"{name}.safetensors", digest) for name, digest in digests.items()}
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
    """The checkpoints in `folder`, the newest first; of the same step (see `put_in_place`) the new one first."""
    found = [path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdecimal()]
    return sorted(found, key=lambda path: (step_of(path), -len(path.name)), reverse=True)


def step_of(checkpoint: Path) -> int:
    """The step that a checkpoint's name says."""
    return int(checkpoint.name.removeprefix(PREFIX))


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints, and what an interrupted save left behind."""
    found = checkpoints(folder)
    replaced = [path for path, newer in zip(found[1:], found, strict=False) if step_of(path) == step_of(newer)]
    kept = [path for path in found if path not in replaced][:keep]
    for path in [*(path for path in found if path not in kept), *folder.glob(".writing-*")]:
        shutil.rmtree(path, ignore_errors=True)
