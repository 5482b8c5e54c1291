from __future__ import annotations

import errno
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elegan.engine import checkpoint
from elegan.errors import RunError

FILES = {
    "weights": {
        "a": torch.arange(6.0).view(2, 3),
        "b": torch.tensor(7),
        "c": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
    },
    "optimizers": {"step": torch.tensor(3.0), "empty": torch.zeros(0)},
}


MakeTraining = Callable[..., tuple[Any, list[str]]]


def save(folder: Path, step: int) -> Path:
    return checkpoint.save(folder, step, FILES, {"updates": {"generator": step}, "seconds": 1.5})


def rehash(folder: Path, name: str) -> None:
    """Make meta.json agree with a file that was exchanged."""
    meta = json.loads((folder / "meta.json").read_text())
    meta["sha256"][name] = checkpoint.hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest()
    (folder / "meta.json").write_text(json.dumps(meta))


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    files, meta = checkpoint.load(save(tmp_path, 12))
    assert meta["step"] == 12
    assert (meta["updates"], meta["seconds"]) == ({"generator": 12}, 1.5)
    assert files.keys() == FILES.keys()
    for name, tensors in FILES.items():
        torch.testing.assert_close(files[name], tensors, rtol=0, atol=0)


def test_a_checkpoint_is_safetensors_and_json_and_nothing_else(tmp_path: Path) -> None:
    path = save(tmp_path, 12)
    assert path.name == "step-00000012"
    assert sorted(file.name for file in path.iterdir()) == ["meta.json", "optimizers.safetensors", "weights.safetensors"]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 1)
    checkpoint.save(tmp_path, 1, {"weights": {"a": torch.ones(1)}}, {})
    files, _ = checkpoint.load(tmp_path / "step-00000001")
    assert files["weights"]["a"].tolist() == [1.0]


def refuse(*args: object, **kwargs: object) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_after(count: int, original: Callable[..., Any]) -> Callable[..., Any]:
    """`original`, that works `count` times and then meets a full disk."""
    calls = []

    def limited(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return original(*args, **kwargs) if len(calls) <= count else refuse()

    return limited


@pytest.mark.parametrize("works", [0, 1, 2])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_earlier_saves_whole(call: str, works: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full_after(works, getattr(os, call)))
        with pytest.raises(RunError, match=r"step 2 could not be saved in .*No space left on device.*Earlier saves are intact\."):
            save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    checkpoint.load(tmp_path / "step-00000001")


def test_a_folder_that_cannot_be_made_is_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="could not be saved"):
        save(tmp_path / "file", 1)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.write_file(tmp_path / "name", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(RunError, match=r"name: No space left on device\."):
            checkpoint.write_file(tmp_path / "name", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["name"]
    assert (tmp_path / "name").read_bytes() == b"old"


def test_a_kill_leaves_no_folder_with_a_checkpoints_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_json", kill)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 2)
    assert checkpoint.checkpoints(tmp_path) == []
    save(tmp_path, 2)  # what the kill left is no hindrance
    checkpoint.prune(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


class Code:
    """A pickle that runs code when it is loaded."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('a checkpoint ran code')",)


def flip_a_byte(path: Path) -> None:
    content = bytearray((path / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (path / "weights.safetensors").write_bytes(content)


def truncate_weights(path: Path) -> None:
    (path / "weights.safetensors").write_bytes((path / "weights.safetensors").read_bytes()[:-5])


def put_a_pickle(path: Path) -> None:
    (path / "weights.safetensors").write_bytes(pickle.dumps(Code()))
    rehash(path, "weights")


def put_an_empty_file(path: Path) -> None:
    (path / "weights.safetensors").write_bytes(b"")
    rehash(path, "weights")


def put_a_folder(path: Path) -> None:
    (path / "weights.safetensors").unlink()
    (path / "weights.safetensors").mkdir()


def meta(content: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        (path / "meta.json").write_bytes(content)

    return write


def meta_without(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        found = json.loads((path / "meta.json").read_text())
        (path / "meta.json").write_text(json.dumps({key: value for key, value in found.items() if key not in names}))

    return write


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a flipped byte": flip_a_byte,
    "a short file": truncate_weights,
    "no weights": lambda path: (path / "weights.safetensors").unlink(),
    "no meta": lambda path: (path / "meta.json").unlink(),
    "a pickle": put_a_pickle,
    "an empty file": put_an_empty_file,
    "a folder for a file": put_a_folder,
    "empty meta": meta(b""),
    "short meta": lambda path: (path / "meta.json").write_bytes((path / "meta.json").read_bytes()[:-20]),
    "a list for meta": meta(b"[1, 2]"),
    "a number for meta": meta(b"3"),
    "meta in no encoding": meta(b"\xff\xfe\x00\x81"),
    "meta nested too deep": meta(b"[" * 100_000),
    "meta with other things": meta(b'{"step": 1}'),
    "hashes that are a list": meta(b'{"step": 1, "sha256": ["weights"]}'),
    "a hash that is a number": meta(b'{"step": 1, "sha256": {"weights": 5}}'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_any_damage_is_a_run_error_that_names_the_checkpoint(damage: Callable[[Path], None], tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    damage(path)
    with pytest.raises(RunError, match="step-00000001"):
        checkpoint.load(path)


def test_no_folder_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        checkpoint.load(tmp_path / "step-00000009")


def test_only_the_files_asked_for_are_read(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    (path / "optimizers.safetensors").unlink()
    files, meta = checkpoint.load(path, ("weights",))
    assert (list(files), meta["step"]) == (["weights"], 1)
    for names in (None, ("weights", "optimizers"), ("others",)):
        with pytest.raises(RunError, match="step-00000001"):
            checkpoint.load(path, names)


@pytest.mark.parametrize("works", [0, 1])
def test_a_kill_while_a_step_is_saved_again_leaves_it_whole(works: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before, between or after the two renames of folders: the step is there, and is listed once it is saved again."""
    real, done = os.replace, []

    def replace(source: Path, target: Path) -> None:
        if Path(source).is_dir():
            if len(done) == works:
                raise KeyboardInterrupt
            done.append(source)
        real(source, target)

    save(tmp_path, 1)
    save(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 2)
    newest = checkpoint.checkpoints(tmp_path)[0]
    assert checkpoint.load(newest)[1]["step"] == checkpoint.step_of(newest) == 2
    save(tmp_path, 2)
    checkpoint.prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001", "step-00000002"]


def test_of_two_saves_of_a_step_the_new_one_comes_first_and_the_old_one_is_pruned(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step)
    save(tmp_path, 3).rename(tmp_path / "old")
    save(tmp_path, 3)
    (tmp_path / "old").rename(tmp_path / "step-000000003")  # a kill came before what was replaced was removed
    assert checkpoint.checkpoints(tmp_path)[0].name == "step-00000003"
    checkpoint.prune(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_a_damaged_save_is_set_aside_under_a_free_name_each_time(tmp_path: Path) -> None:
    for _ in range(3):
        checkpoint.set_aside(save(tmp_path, 1))
    names = ["damaged-step-00000001", "damaged-step-00000001-2", "damaged-step-00000001-3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert checkpoint.checkpoints(tmp_path) == []
    with pytest.raises(RunError, match="could not be set aside: No such file"):
        checkpoint.set_aside(tmp_path / "step-00000001")


def test_a_step_damaged_twice_is_passed_over_twice(make_training: MakeTraining) -> None:
    for _ in range(2):
        training, _ = make_training()
        training.resume()
        training.train(4)
        flip_a_byte(training.run.checkpoint_folder / "step-00000004")
    resumed, _ = make_training()
    resumed.resume()
    assert resumed.step == 2


def test_a_name_that_only_looks_like_a_number_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "step-\u00b2").mkdir()
    assert checkpoint.checkpoints(tmp_path) == []


def test_room_is_only_asked_for_where_it_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"could not write .*: Not a directory\.$"):
        checkpoint.write_file(tmp_path / "file" / "name", b"")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError, match=r"No space left on device\. Make room"):
        checkpoint.write_file(tmp_path / "name", b"")


def test_checkpoints_come_newest_first_by_number(tmp_path: Path) -> None:
    for step in (9, 100_000_000, 10):
        save(tmp_path, step)
    (tmp_path / "step-old").mkdir()
    (tmp_path / ".writing-00000011").mkdir()
    assert [path.name for path in checkpoint.checkpoints(tmp_path)] == ["step-100000000", "step-00000010", "step-00000009"]
    assert checkpoint.checkpoints(tmp_path / "nowhere") == []


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_prune_keeps_the_newest(keep: int, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    (tmp_path / ".writing-00000004").mkdir()
    checkpoint.prune(tmp_path, keep)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:08d}" for step in (1, 2, 3)][-keep:]


# what a resume makes of it

BROKEN_FACTS: dict[str, Callable[[Path], None]] = {
    **DAMAGE,
    "meta without the step": meta_without("step"),
    "meta without the updates": meta_without("updates"),
    "meta without the seconds": meta_without("seconds"),
    "no hashes": meta(b'{"step": 4, "seconds": 1, "updates": {"generator": 4, "discriminator": 4}, "sha256": {}}'),
}


@pytest.mark.parametrize("damage", BROKEN_FACTS.values(), ids=BROKEN_FACTS.keys())
def test_a_resume_falls_back_to_the_save_before_and_says_so(damage: Callable[[Path], None], make_training: MakeTraining) -> None:
    training, _ = make_training()
    training.train(4)
    damage(training.run.checkpoint_folder / "step-00000004")
    resumed, said = make_training()
    resumed.resume()
    assert resumed.step == 2
    assert resumed.turns.updates == {"discriminator": 2, "generator": 2}
    assert len(said) == 1
    assert "step-00000004" in said[0]
    assert "Falling back" in said[0]
    assert [line["step"] for line in resumed.run.log] == [1, 2]


def test_a_run_that_fell_back_saves_again_over_the_damaged_save(make_training: MakeTraining) -> None:
    straight, _ = make_training()
    straight.train(4)
    expected = straight.weights()
    flip_a_byte(straight.run.checkpoint_folder / "step-00000004")
    resumed, _ = make_training()
    resumed.resume()
    resumed.train(4)
    torch.testing.assert_close(resumed.weights(), expected, rtol=0, atol=0)
    files, _ = checkpoint.load(resumed.run.checkpoint_folder / "step-00000004")
    torch.testing.assert_close(files["weights"], {key: value.contiguous() for key, value in expected.items()}, rtol=0, atol=0)


@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_save_never_crowds_out_a_whole_one(keep: int, make_training: MakeTraining) -> None:
    """After falling back from step 4 to step 2, step 3 is the newest that can be resumed: pruning has to keep it."""
    training, _ = make_training()
    training.train(4)
    flip_a_byte(training.run.checkpoint_folder / "step-00000004")
    resumed, _ = make_training(save=1, keep=keep)
    resumed.resume()
    resumed.train(3)
    last, _ = make_training()
    last.resume()
    assert last.step == 3


def test_with_all_saves_damaged_a_resume_is_a_run_error(make_training: MakeTraining) -> None:
    training, _ = make_training()
    training.train(4)
    for path in checkpoint.checkpoints(training.run.checkpoint_folder):
        flip_a_byte(path)
    resumed, said = make_training()
    with pytest.raises(RunError, match=r"none of the 2 saves in .* is whole\. Start afresh with --new\."):
        resumed.resume()
    assert len(said) == 2


def test_saves_of_other_networks_are_a_run_error(make_training: MakeTraining) -> None:
    training, _ = make_training()
    training.train(2)
    other, said = make_training(normed=True)
    with pytest.raises(RunError):
        other.resume()
    assert "do not fit the networks" in said[0]


def test_without_saves_a_resume_starts_at_the_beginning(make_training: MakeTraining) -> None:
    training, said = make_training()
    training.resume()
    assert (training.step, said) == (0, [])
