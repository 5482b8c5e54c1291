"""The cache: prepared once, reused, rebuilt after damage, and nothing half-written."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elegan.data import ImageData, cache_folder, clear_cache, open_data, prepare
from elegan.data.images import decode
from elegan.errors import DataError

Folder = Callable[..., Path]


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with every image that is decoded."""
    calls = list[int]()

    def counted(raw: bytes, size: tuple[int, int], channels: int, fit: str) -> bytes:
        calls.append(1)
        return decode(raw, size, channels, fit)

    monkeypatch.setattr("elegan.data.preparation.decode", counted)
    return calls


def same(one: ImageData, other: ImageData) -> bool:
    assert one.labels is not None
    assert other.labels is not None
    return (
        np.array_equal(one.images, other.images)
        and np.array_equal(one.labels, other.labels)
        and (one.spec, one.fingerprint, one.skipped, one.notes) == (other.spec, other.fingerprint, other.skipped, other.notes)
    )


def test_the_second_time_nothing_is_decoded(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(open_data(str(broken)))
    calls = count_decoding(monkeypatch)
    second = prepare(open_data(str(broken)))
    assert not calls
    assert same(first, second)
    assert isinstance(second.images, np.memmap)
    assert not second.images.flags.writeable


def test_other_options_and_changed_files_are_prepared_anew(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder({"1.png": {}, "2.png": {}})
    first = prepare(open_data(str(root)))
    assert prepare(open_data(str(root)), size=(8, 8)).cache != first.cache
    assert prepare(open_data(str(root)), channels=1).cache != first.cache
    assert prepare(open_data(str(root)), fit="pad").cache != first.cache
    os.utime(root / "1.png", ns=(1, 1))
    calls = count_decoding(monkeypatch)
    again = prepare(open_data(str(root)))
    assert len(calls) == 2
    assert again.cache != first.cache
    assert again.fingerprint == first.fingerprint


@pytest.mark.parametrize("file", ["images.bin", "labels.bin", "values.bin", "record.json"])
@pytest.mark.parametrize("harm", ["cut", "gone", "garbage"])
def test_a_damaged_cache_is_rebuilt(file: str, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attributes = "label" if file == "values.bin" else ""
    first = prepare(open_data("digits", attributes=attributes))
    path, pixels = first.cache / file, first.images.copy()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9] if harm == "cut" else b'{"shape": 3}')
    calls = count_decoding(monkeypatch)
    again = prepare(open_data("digits", attributes=attributes))
    assert len(calls) == 1437
    assert np.array_equal(again.images, pixels)
    assert again.fingerprint == first.fingerprint


def test_the_fingerprint_is_that_of_pixels_and_labels(folder: Folder) -> None:
    files: dict[str, Any] = {"a/1.png": {"seed": 1}, "a/2.png": {"seed": 2}, "b/3.png": {"seed": 3}}
    one = prepare(open_data(str(folder(files, "one"))))
    copy = prepare(open_data(str(folder(files, "copy"))))
    other_labels = prepare(open_data(str(folder({"a/1.png": {"seed": 1}, "b/2.png": {"seed": 2}, "b/3.png": {"seed": 3}}, "labels"))))
    other_pixels = prepare(open_data(str(folder(files | {"b/3.png": {"seed": 4}}, "other"))))
    assert one.fingerprint == copy.fingerprint
    assert len({one.fingerprint, other_labels.fingerprint, other_pixels.fingerprint}) == 3


def leftovers() -> list[Path]:
    return list(cache_folder().rglob("*.bin")) + list(cache_folder().rglob(".making*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_says_where_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(file: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(DataError, match=f"{cache_folder()} .*{os.strerror(code)}.*ELEGAN_CACHE") as caught:
        prepare(open_data("digits"))
    assert "\n" not in str(caught.value)
    assert not leftovers()


def test_too_little_room_is_seen_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_decoding(monkeypatch)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1437 * 64 - 1}))
    with pytest.raises(DataError, match="is full"):
        prepare(open_data("digits"))
    assert not calls
    assert not leftovers()


def test_a_cache_folder_that_is_a_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ELEGAN_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written to.*ELEGAN_CACHE"):
        prepare(open_data("digits"))


def test_an_interrupt_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(open_data("digits"), progress=interrupt)
    assert not leftovers()


def test_another_process_that_was_faster_is_not_disturbed() -> None:
    inodes = list[int]()

    def meanwhile(done: int, total: int) -> None:
        if done == total:
            inodes.append((prepare(open_data("digits")).cache / "images.bin").stat().st_ino)

    data = prepare(open_data("digits"), progress=meanwhile)
    assert inodes == [(data.cache / "images.bin").stat().st_ino]
    assert not list(cache_folder().rglob(".making*"))


def test_progress_ends_at_the_total() -> None:
    seen = list[tuple[int, int]]()
    prepare(open_data("digits"), progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 1437)
    assert seen[-1] == (1437, 1437)
    assert seen == sorted(seen)


def test_clearing_frees_the_images_and_nothing_else(cache: Path) -> None:
    data = prepare(open_data("digits"))
    (cache / "mine.txt").write_text("keep")
    size = sum(file.stat().st_size for file in data.cache.iterdir())
    assert clear_cache() == size > 1437 * 64
    assert not data.cache.exists()
    assert (cache / "mine.txt").read_text() == "keep"
    assert clear_cache() == 0


def test_clearing_frees_downloads_too(cache: Path) -> None:
    for name, content in (("mnist-train/images.parquet", b"12345"), ("mine/images.parquet", b"1"), ("mine/other.txt", b"1")):
        (cache / "elegan-downloads" / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / "elegan-downloads" / name).write_bytes(content)
    assert clear_cache() == 5
    assert sorted(path.name for path in (cache / "elegan-downloads").iterdir()) == ["mine"]


def test_clearing_leaves_whatever_a_person_put_there(cache: Path) -> None:
    data = prepare(open_data("digits"))
    photographs = [cache / "images" / "holiday" / "precious.jpg", data.cache.parent / "holiday" / "precious.jpg"]
    for path in photographs:
        path.parent.mkdir(parents=True)
        path.write_text("keep")
    assert clear_cache() > 0
    assert not data.cache.exists()
    assert all(path.read_text() == "keep" for path in photographs)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == Path(os.environ["ELEGAN_CACHE"])
    monkeypatch.delenv("ELEGAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "elegan"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "elegan"


def test_the_record_is_json_and_nothing_is_pickled() -> None:
    data = prepare(open_data("digits"))
    assert json.loads((data.cache / "record.json").read_text())["shape"] == [1437, 8, 8, 1]
    assert {file.name for file in data.cache.iterdir()} == {"images.bin", "labels.bin", "values.bin", "record.json"}
