"""From what a person writes to a source, and what it says when there is none."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elegan.data import open_data
from elegan.errors import DataError


def test_digits_are_split_by_every_fifth() -> None:
    train, test = open_data("digits"), open_data("digits", split="test")
    assert (len(train), len(test)) == (1437, 360)
    assert train.classes == tuple("0123456789")
    assert [train.item_name(i) for i in range(5)] == [f"digit {k}" for k in (1, 2, 3, 4, 6)]
    assert test.item_name(1) == "digit 5"
    assert train.fingerprint() == open_data("digits").fingerprint() != test.fingerprint()


def test_digits_span_the_whole_range() -> None:
    source = open_data("digits")
    pixels = np.stack([np.asarray(source.read(i)) for i in range(len(source))])
    assert pixels.dtype == np.uint8
    assert set(np.unique(pixels)) == {round(v * 255 / 16) for v in range(17)}


def test_a_misspelt_name_gets_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"No data at digit:.*Did you mean 'digits'"):
        open_data("digit")


def test_a_misspelt_path_gets_the_nearest_neighbour(folder: Callable[..., Path]) -> None:
    root = folder({"1.png": {}})
    with pytest.raises(DataError, match="Did you mean 'photos'"):
        open_data(str(root.with_name("fotos")))


@pytest.mark.parametrize("where", ["", "no/such/folder", "x" * 5000, "a\0b"])
def test_impossible_paths_are_data_errors(where: str) -> None:
    with pytest.raises(DataError, match="No data at"):
        open_data(where)


def test_another_kind_of_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"x")
    with pytest.raises(DataError, match=r"is a \.tar file: expected a folder"):
        open_data(str(tmp_path / "a.tar"))


def test_an_unknown_split_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no split 'tests'.*'test'"):
        open_data("digits", split="tests")


def test_a_cut_off_zip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match="cannot be read as a zip"):
        open_data(str(tmp_path / "a.zip"))


def test_the_fingerprint_of_a_folder_follows_its_files(folder: Callable[..., Path]) -> None:
    root = folder({"a/1.png": {}, "b/2.png": {}})
    before = open_data(str(root)).fingerprint()
    assert open_data(str(root)).fingerprint() == before
    (root / "b" / "2.png").rename(root / "a" / "2.png")
    after_move = open_data(str(root)).fingerprint()
    (root / "a" / "2.png").write_bytes((root / "a" / "1.png").read_bytes() + b" ")
    assert len({before, after_move, open_data(str(root)).fingerprint()}) == 3


def test_the_fingerprint_of_a_zip_follows_its_contents(tmp_path: Path) -> None:
    prints = set[str]()
    for content in (b"one", b"two"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("1.png", content)
        prints.add(open_data(str(tmp_path / "a.zip")).fingerprint())
    assert len(prints) == 2
