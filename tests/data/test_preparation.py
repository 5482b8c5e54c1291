"""Preparing: choices of size and channels, broken files, and the cache."""

from __future__ import annotations

import errno
import json
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elegan.data import ImageData, cache_folder, clear_cache, open_data, prepare
from elegan.data.images import decode
from elegan.errors import DataError

Make = Callable[..., Image.Image]
Folder = Callable[..., Path]


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def cut(image: Image.Image, path: Path) -> bytes:
    image.save(path, quality=95)
    raw = path.read_bytes()
    path.unlink()
    return raw[: len(raw) // 2]


# Choices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(21, 37)], (37, 21)),
        ([(256, 8)], (8, 256)),
        ([(512, 256)], (64, 64)),
        ([(300, 50)], (48, 48)),
        ([(100, 80), (90, 200)], (64, 64)),
        ([(100, 80), (90, 31)], (24, 24)),
        ([(100, 80), (9, 100)], (8, 8)),
    ],
)
def test_the_size_is_the_images_own_or_a_square(folder: Folder, sizes: list[tuple[int, int]], expected: tuple[int, int]) -> None:
    data = prepare(open_data(str(folder({f"{i}.png": {"width": w, "height": h} for i, (w, h) in enumerate(sizes)}))))
    assert data.images.shape == (len(sizes), *expected, 3)
    assert any("was chosen" in note for note in data.notes) == (expected not in [(37, 21), (8, 256)])


def test_one_small_image_in_many_does_not_decide_the_size(folder: Folder) -> None:
    files = {f"{i}.png": {"width": 70, "height": 80} for i in range(39)} | {"icon.png": {"width": 10, "height": 10}}
    data = prepare(open_data(str(folder(files))))
    assert data.spec.shape == (3, 64, 64)
    assert any("1 of 40 images are smaller than 64x64: enlarged" in note for note in data.notes)


def test_a_given_size_is_height_then_width(folder: Folder) -> None:
    assert prepare(open_data(str(folder({"1.png": {}}))), size=(8, 24)).spec.shape == (3, 8, 24)


@pytest.mark.parametrize("size", [(7, 8), (8, 257), (0, 0), (-8, 8)])
def test_impossible_sizes_are_errors(folder: Folder, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="within 8 to 256"):
        prepare(open_data(str(folder({"1.png": {}}))), size=size)


def test_impossible_channels_are_an_error() -> None:
    with pytest.raises(DataError, match="no image with 5 channels"):
        prepare(open_data("digits"), channels=5)


def test_images_that_are_all_tiny_are_an_error(folder: Folder) -> None:
    with pytest.raises(DataError, match="7x16 pixels, under the smallest side of 8"):
        prepare(open_data(str(folder({"1.png": {"width": 7}}))))


def test_one_coloured_image_makes_all_rgb(folder: Folder) -> None:
    root = folder({"1.png": {"mode": "L"}, "2.png": {"mode": "RGB"}})
    data = prepare(open_data(str(root)))
    assert data.spec.channels == 3
    assert (data.images[0][..., :1] == data.images[0]).all()
    assert any("L 1" in note and "RGB 1" in note for note in data.notes)


def test_digits_are_what_scikit_learn_holds() -> None:
    data = prepare(open_data("digits"))
    assert data.images.shape == (1437, 8, 8, 1)
    assert data.images.dtype == np.uint8
    assert data.spec.classes == tuple("0123456789")
    assert data.labels is not None
    assert data.labels[:5].tolist() == [1, 2, 3, 4, 6]
    assert np.array_equal(data.images[0, :, :, 0], np.asarray(open_data("digits").read(0)))


# Broken files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(folder: Folder, picture: Make, tmp_path: Path) -> Path:
    big = picture(200, 200, "RGB")
    return folder(
        {
            "a/good.png": {},
            "a/empty.png": b"",
            "a/text.png": b"this is no image",
            "b/bomb.png": huge_png(30000, 30000),
            "b/cut.jpg": cut(big, tmp_path / "cut.jpg"),
            "b/cut.png": cut(big, tmp_path / "cut.png"),
            "b/good.png": {},
            "b/eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n",
        }
    )


def test_broken_files_are_skipped_counted_and_named(broken: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = prepare(open_data(str(broken)))
    reasons = {one.name: one.reason for one in data.skipped}
    assert set(reasons) == {"a/empty.png", "a/text.png", "b/bomb.png", "b/cut.jpg", "b/cut.png", "b/eps.png"}
    assert reasons["a/empty.png"] == "the file is empty"
    assert reasons["a/text.png"] == reasons["b/eps.png"] == "not an image in a known format"
    assert "million pixels" in reasons["b/bomb.png"]
    assert "truncated" in reasons["b/cut.jpg"]
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1]
    assert any("Skipped 6 of 8" in note for note in data.notes)


def test_damaged_files_have_no_say_in_size(broken: Path) -> None:
    assert prepare(open_data(str(broken))).spec.shape == (3, 16, 16)


def test_strict_names_the_first(broken: Path) -> None:
    with pytest.raises(DataError, match=r"a/empty\.png in .* cannot be used: the file is empty"):
        prepare(open_data(str(broken)), strict=True)
    prepare(open_data(str(broken)))
    with pytest.raises(DataError, match=r"a/empty\.png"):
        prepare(open_data(str(broken)), strict=True)


def test_strict_names_a_file_whose_header_is_whole(folder: Folder, picture: Make, tmp_path: Path) -> None:
    root = folder({"1.png": {}, "2.jpg": cut(picture(200, 200), tmp_path / "2.jpg")})
    with pytest.raises(DataError, match=r"2\.jpg in .*truncated"):
        prepare(open_data(str(root)), strict=True)
    assert not list(cache_folder().rglob("*.bin"))


def test_nothing_readable_is_an_error(folder: Folder, picture: Make, tmp_path: Path) -> None:
    root = folder({"1.png": b"text", "2.jpg": cut(picture(200, 200), tmp_path / "2.jpg")})
    with pytest.raises(DataError, match=r"None of the 2 image\(s\)"):
        prepare(open_data(str(root)))


def test_a_vanished_file_is_skipped(folder: Folder) -> None:
    source = open_data(str(folder({"1.png": {}, "2.png": {}})))
    (folder({}) / "2.png").unlink()
    assert [one.name for one in prepare(source).skipped] == ["2.png"]


def test_zip_bombs_are_not_inflated(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    good = (folder({"1.png": {}}) / "1.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good.png", good)
        archive.writestr("ratio.png", b"\0" * (4 << 20))
        archive.writestr("large.png", b"\0" * 10)
    source = open_data(str(tmp_path / "a.zip"))
    source._entries["large.png"].file_size = 300 << 20  # type: ignore[attr-defined]
    opened, real = list[str](), zipfile.ZipFile.read

    def read(self: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
        opened.append(info.filename)
        return real(self, info)

    monkeypatch.setattr(zipfile.ZipFile, "read", read)
    reasons = {one.name: one.reason for one in prepare(source).skipped}
    assert "times its size" in reasons["ratio.png"]
    assert "300 MB" in reasons["large.png"]
    assert set(opened) == {"good.png"}


def test_a_damaged_zip_entry_is_skipped(tmp_path: Path, folder: Folder) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, path in (("1.png", folder({"1.png": {}}) / "1.png"), ("2.png", folder({"2.png": {}}) / "2.png")):
            archive.write(path, name)
    raw = bytearray((tmp_path / "a.zip").read_bytes())
    raw[200] ^= 255
    (tmp_path / "a.zip").write_bytes(raw)
    skipped = prepare(open_data(str(tmp_path / "a.zip"))).skipped
    assert [one.name for one in skipped] == ["1.png"]
    assert "CRC" in skipped[0].reason


# The cache -------------------------------------------------------------------------------------------------------


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with every image that is decoded."""
    calls = list[int]()

    def counted(raw: bytes, size: tuple[int, int], channels: int) -> bytes:
        calls.append(1)
        return decode(raw, size, channels)

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
    os.utime(root / "1.png", ns=(1, 1))
    calls = count_decoding(monkeypatch)
    again = prepare(open_data(str(root)))
    assert len(calls) == 2
    assert again.cache != first.cache
    assert again.fingerprint == first.fingerprint


@pytest.mark.parametrize("file", ["images.bin", "labels.bin", "record.json"])
@pytest.mark.parametrize("harm", ["cut", "gone", "garbage"])
def test_a_damaged_cache_is_rebuilt(file: str, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(open_data("digits"))
    path, pixels = first.cache / file, first.images.copy()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9] if harm == "cut" else b'{"shape": 3}')
    calls = count_decoding(monkeypatch)
    again = prepare(open_data("digits"))
    assert len(calls) == 1437
    assert np.array_equal(again.images, pixels)
    assert again.fingerprint == first.fingerprint


def test_the_fingerprint_is_that_of_pixels_and_labels(folder: Folder) -> None:
    files: dict[str, Any] = {"a/1.png": {"seed": 1}, "b/2.png": {"seed": 2}}
    one = prepare(open_data(str(folder(files, "one"))))
    copy = prepare(open_data(str(folder(files, "copy"))))
    other_labels = prepare(open_data(str(folder({"a/1.png": {"seed": 1}, "a/2.png": {"seed": 2}, "b/3.png": {"seed": 3}}, "three"))))
    other_pixels = prepare(open_data(str(folder({"a/1.png": {"seed": 1}, "b/2.png": {"seed": 3}}, "other"))))
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
    assert {file.name for file in data.cache.iterdir()} == {"images.bin", "labels.bin", "record.json"}
