"""Preparing: choices of size and channels, broken files, and the cache."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elegan.data import cache_folder, clear_cache, open_data, prepare
from elegan.errors import DataError

Make = Callable[..., Image.Image]
Folder = Callable[..., Path]


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


@pytest.mark.parametrize("size", [(7, 8), (8, 1025), (0, 0), (-8, 8)])
def test_impossible_sizes_are_errors(folder: Folder, size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="within 8 to 1024"):
        prepare(open_data(str(folder({"1.png": {}}))), size=size)


def test_impossible_channels_are_an_error() -> None:
    with pytest.raises(DataError, match="no image with 5 channels"):
        prepare(open_data("digits"), channels=5)


def test_images_that_are_all_tiny_are_an_error(folder: Folder) -> None:
    with pytest.raises(DataError, match="7x16 pixels, under the smallest side of 8"):
        prepare(open_data(str(folder({"1.png": {"width": 7}}))))


def test_one_coloured_image_makes_all_rgb(folder: Folder) -> None:
    root = folder({"1.png": {"mode": "L"}, "2.png": {"mode": "RGB"}, "3.png": {"mode": "L"}})
    data = prepare(open_data(str(root)))
    assert data.spec.channels == 3
    assert (data.images[0][..., :1] == data.images[0]).all()
    assert any("L 2" in note and "RGB 1" in note for note in data.notes)


def test_digits_are_what_scikit_learn_holds() -> None:
    data = prepare(open_data("digits"))
    assert data.images.shape == (1437, 8, 8, 1)
    assert data.images.dtype == np.uint8
    assert data.spec.classes == tuple("0123456789")
    assert data.labels is not None
    assert data.labels[:5].tolist() == [1, 2, 3, 4, 6]
    assert np.array_equal(data.images[0, :, :, 0], np.asarray(open_data("digits").read(0)))


# Broken files ----------------------------------------------------------------------------------------------------


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
    for name in ("a/good.png", "b/good.png"):
        Image.new("RGB", (20, 20)).save(broken / name)
    assert prepare(open_data(str(broken))).spec.shape == (3, 20, 20)


def test_a_host_that_lifts_or_lowers_pillows_limit_changes_nothing(broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert {one.name: one.reason for one in prepare(open_data(str(broken))).skipped}["b/bomb.png"] == "more than 178 million pixels"
    clear_cache()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # 16x16 pixels are now more than Pillow warns at.
        assert len(prepare(open_data(str(broken)))) == 2


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
