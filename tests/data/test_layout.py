"""What folders around images mean; the rules are those of folders and of zip files alike, so both are asked."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from elegan.data import Source, open_data
from elegan.errors import DataError

Folder = Callable[..., Path]


def zipped(folder: Path, *, top: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, top + file.relative_to(folder).as_posix())
    return path


def names(source: Source) -> list[str]:
    return [source.item_name(i) for i in range(len(source))]


@pytest.fixture(params=["folder", "zip", "zip with a top folder"])
def opened(request: pytest.FixtureRequest, folder: Folder) -> Callable[..., Source]:
    def open_as(files: dict[str, object], split: str = "train", name: str = "photos") -> Source:
        path = folder(files, name)
        if request.param != "folder":
            path = zipped(path, top="top/" if "top" in request.param else "")
        return open_data(str(path), split=split)

    return open_as


def test_flat_images_have_no_labels_and_come_in_natural_order(opened: Callable[..., Source]) -> None:
    source = opened({"10.png": {}, "9.png": {}, "1.jpg": {}})
    assert [name.split("/")[-1] for name in names(source)] == ["1.jpg", "9.png", "10.png"]
    assert source.labels is None
    assert source.classes == ()
    assert source.name == "photos"


def test_class_folders_are_labels_in_natural_order(opened: Callable[..., Source]) -> None:
    source = opened({"10/a.png": {}, "9/b.png": {}, "9/deep/c.png": {}, "cat/d.png": {}})
    assert source.classes == ("9", "10", "cat")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 0, 1, 2]


def test_numbers_in_names_are_compared_as_numbers(opened: Callable[..., Source]) -> None:
    source = opened({"img_010.png": {}, "img_9.png": {}, "img_0001.png": {}})
    assert [name.split("/")[-1] for name in names(source)] == ["img_0001.png", "img_9.png", "img_010.png"]


def test_a_class_may_be_called_train(opened: Callable[..., Source]) -> None:
    assert opened({"car/1.png": {}, "train/2.png": {}}).classes == ("car", "train")


def test_images_beside_folders_mean_no_classes_and_say_so(opened: Callable[..., Source]) -> None:
    source = opened({"a/1.png": {}, "b/2.png": {}, "3.png": {}})
    assert len(source) == 3
    assert source.labels is None
    assert any("beside" in note for note in source.notes)


def test_hidden_files_are_ignored_and_others_are_counted(opened: Callable[..., Source]) -> None:
    source = opened({"1.png": {}, ".2.png": {}, "__MACOSX/3.png": {}, "Thumbs.db": b"x", "readme.txt": b"x", "model.pkl": b"x"})
    assert len(source) == 1
    assert any("2 other file(s)" in note and ".txt 1" in note for note in source.notes)


def test_folders_named_by_splits_are_no_classes(opened: Callable[..., Source]) -> None:
    files: dict[str, object] = {"train/a/1.png": {}, "train/b/2.png": {}, "val/a/3.png": {}, "val/b/4.png": {}, "val/b/5.png": {}}
    train, test = opened(files), opened(files, split="test")
    assert (len(train), len(test)) == (2, 3)
    assert train.classes == test.classes == ("a", "b")
    assert test.labels is not None
    assert test.labels.tolist() == [0, 1, 1]
    assert any("splits" in note and "'val'" in note for note in test.notes)


def test_a_split_that_is_not_there_is_an_error(opened: Callable[..., Source]) -> None:
    with pytest.raises(DataError, match="no test split"):
        opened({"1.png": {}}, split="test")
    with pytest.raises(DataError, match="no train split: found test"):
        opened({"test/2.png": {}}, name="other")


def test_no_image_says_what_was_found(opened: Callable[..., Source]) -> None:
    with pytest.raises(DataError, match=r"found 2 other file\(s\) \(\.txt 2\).*expected images"):
        opened({"a.txt": b"", "b/c.txt": b""})


def test_dataset_json_gives_labels(opened: Callable[..., Source]) -> None:
    table = {"labels": [["00000/b.png", 1], ["00000/a.png", 0], ["00001/c.png", 1]]}
    files = {"00000/a.png": {}, "00000/b.png": {}, "00001/c.png": {}, "dataset.json": json.dumps(table).encode()}
    source = opened(files)
    assert source.classes == ("0", "1")
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1, 1]


def test_dataset_json_without_labels_means_that_its_folders_are_no_classes(opened: Callable[..., Source]) -> None:
    source = opened({"00000/a.png": {}, "00001/b.png": {}, "dataset.json": b'{"labels": null}'})
    assert source.labels is None
    assert any("because there is a dataset.json: no labels" in note for note in source.notes)


def test_another_dataset_json_is_left_alone(opened: Callable[..., Source]) -> None:
    source = opened({"a/1.png": {}, "b/2.png": {}, "dataset.json": b"[1, 2"})
    assert source.classes == ("a", "b")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing"):
        open_data(str(tmp_path))


def test_a_folder_that_only_holds_a_folder_is_stepped_into_and_said(folder: Folder) -> None:
    source = open_data(str(folder({"outer/images/1.png": {}, "outer/images/2.png": {}})))
    assert len(source) == 2
    assert source.labels is None
    assert source.nested == "outer/images/"
    assert any("'outer/images/'" in note for note in source.notes)


def test_linked_folders_are_followed_once(folder: Folder) -> None:
    root = folder({"a/1.png": {}, "b/2.png": {}})
    (root / "b" / "loop").symlink_to(root)
    assert len(open_data(str(root))) == 2


UNPAIRED: dict[str, object] = {
    "trainA/1.png": {}, "trainA/2.png": {}, "trainB/1.png": {}, "testA/1.png": {}, "testB/1.png": {}, "testB/2.png": {}, "testB/3.png": {},
}  # fmt: skip


def test_unpaired_images_are_two_classes_and_not_four(opened: Callable[..., Source]) -> None:
    train, test = opened(UNPAIRED), opened(UNPAIRED, split="test")
    assert train.classes == test.classes == ("A", "B")
    assert train.labels is not None
    assert test.labels is not None
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 1], [0, 1, 1, 1])
    note = next(note for note in train.notes if "unpaired" in note)
    assert "train reads trainA and trainB" in note
    assert "own path" in note


def test_unpaired_images_without_that_split_are_an_error(opened: Callable[..., Source]) -> None:
    files = {name: content for name, content in UNPAIRED.items() if name.startswith("train")}
    with pytest.raises(DataError, match="no test split: found trainA, trainB; expected testA and testB"):
        opened(files, split="test")


def test_one_of_the_unpaired_folders_can_be_given_alone(folder: Folder) -> None:
    source = open_data(str(folder(UNPAIRED) / "trainA"))
    assert len(source) == 2
    assert source.labels is None


def test_folders_that_end_in_a_and_b_may_be_classes(opened: Callable[..., Source]) -> None:
    assert opened({"grade A/1.png": {}, "grade B/1.png": {}}).classes == ("grade A", "grade B")
    assert opened({"trainA/1.png": {}, "trainC/1.png": {}}, name="other").classes == ("trainA", "trainC")
