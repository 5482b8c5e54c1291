"""Parquet files of the Hugging Face layout."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elegan.data import open_data, prepare
from elegan.errors import DataError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
Make = Callable[..., Image.Image]


def png(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def write(tmp_path: Path, picture: Make) -> Callable[..., Path]:
    """write(name, labels, ...): a file of random pictures, two to a row group."""

    def make(
        name: str, labels: list[Any], *, column: str = "image", label: str = "label", names: list[str] | None = None, first: int = 0
    ) -> Path:
        images = [{"bytes": png(picture(seed=first + i)), "path": None} for i in range(len(labels))]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table({column: pa.array(images, kind), label: labels})
        if names is not None:
            features = {column: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": names}}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, row_group_size=2)
        return path

    return make


def test_rows_come_in_order_with_named_classes(write: Callable[..., Path], picture: Make) -> None:
    source = open_data(str(write("train.parquet", [1, 0, 2, 1, 0], names=["ant", "bee", "cat"])))
    data = prepare(source)
    assert source.name == "set"
    assert source.item_name(4) == "train.parquet row 4"
    assert data.spec.classes == ("ant", "bee", "cat")
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 2, 1, 0]
    assert all(np.array_equal(data.images[i], np.asarray(picture(seed=i))) for i in range(5))


def test_without_names_classes_are_numbers(write: Callable[..., Path]) -> None:
    source = open_data(str(write("flowers.parquet", [10, 9, 10], column="img")))
    assert source.name == "flowers"
    assert source.classes == ("9", "10")
    assert source.labels is not None
    assert source.labels.tolist() == [1, 0, 1]


def test_only_class_like_columns_are_labels(write: Callable[..., Path]) -> None:
    assert open_data(str(write("a.parquet", [30, 40], label="age"))).labels is None
    declared = open_data(str(write("b.parquet", [0, 1], label="species", names=["x", "y"])))
    assert declared.classes == ("x", "y")
    assert any("'species'" in note for note in declared.notes)


@pytest.mark.parametrize("labels", [[0, -1], [0, 3], [0, None], [0.5, 1.5]])
def test_labels_that_name_no_class_are_left_out(write: Callable[..., Path], labels: list[Any]) -> None:
    source = open_data(str(write("a.parquet", labels, names=["x", "y"])))
    assert source.labels is None
    assert any("no labels" in note for note in source.notes)


def test_a_folder_is_read_by_split(write: Callable[..., Path]) -> None:
    folder = write("train-00000-of-00002.parquet", [0, 1]).parent
    write("train-00001-of-00002.parquet", [1, 1, 1], first=2)
    write("test-00000-of-00001.parquet", [0], first=5)
    train, test = open_data(str(folder)), open_data(str(folder), split="test")
    assert (len(train), len(test)) == (5, 1)
    assert train.name == "set"
    assert train.item_name(3) == "train-00001-of-00002.parquet row 1"
    assert train.labels is not None
    assert train.labels.tolist() == [0, 1, 1, 1, 1]
    assert len(prepare(train)) == 5


def test_an_exact_name_wins_over_others_that_begin_so(write: Callable[..., Path]) -> None:
    write("train_small.parquet", [0])
    source = open_data(str(write("train.parquet", [0, 1]).parent))
    assert len(source) == 2
    assert any("left train_small.parquet" in note for note in source.notes)


def test_a_split_that_is_not_there_is_an_error(write: Callable[..., Path]) -> None:
    path = write("train.parquet", [0, 1])
    for where in (path, path.parent):
        with pytest.raises(DataError, match="no test split"):
            open_data(str(where), split="test")


def test_rows_without_bytes_and_with_broken_ones_are_skipped(tmp_path: Path, picture: Make) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": None, "path": "a.png"}, {"bytes": b"text", "path": None}, None, {"bytes": png(picture()), "path": None}]
    pq.write_table(pa.table({"photo": pa.array(rows, kind)}), tmp_path / "a.parquet")
    data = prepare(open_data(str(tmp_path / "a.parquet")))
    assert len(data) == 1
    assert [one.name for one in data.skipped] == ["a.parquet row 0", "a.parquet row 1", "a.parquet row 2"]


def test_a_file_without_images_says_what_it_holds(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"No column of images .* found text: string, n: int64"):
        open_data(str(tmp_path / "a.parquet"))


def test_a_cut_off_file_is_an_error(write: Callable[..., Path]) -> None:
    path = write("a.parquet", [0, 1])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as a parquet file") as caught:
        open_data(str(path))
    assert "\n" not in str(caught.value)


def test_damage_inside_costs_the_rows_it_hits(write: Callable[..., Path]) -> None:
    path = write("a.parquet", [0, 1, 0, 1])
    raw = bytearray(path.read_bytes())
    raw[4:60] = b"\xff" * 56
    path.write_bytes(raw)
    data = prepare(open_data(str(path)))
    assert len(data) == 2
    assert [one.name for one in data.skipped] == ["a.parquet row 0", "a.parquet row 1"]


def test_the_fingerprint_follows_the_content(write: Callable[..., Path]) -> None:
    first = open_data(str(write("a.parquet", [0, 1]))).fingerprint()
    assert open_data(str(write("a.parquet", [0, 1]))).fingerprint() == first
    assert open_data(str(write("a.parquet", [1, 0]))).fingerprint() != first


def test_without_pyarrow_it_says_what_to_install(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.parquet", [0, 1])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"reading parquet needs pyarrow: pip install 'elegan\[data\]'"):
        open_data(str(path))


# Columns --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def faces(tmp_path: Path, picture: Make) -> Callable[..., Path]:
    """faces(**columns): a file of random pictures with these columns, two to a row group."""

    def make(name: str = "faces.parquet", **columns: list[Any]) -> Path:
        images = [{"bytes": png(picture(seed=i)), "path": None} for i in range(len(next(iter(columns.values()))))]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        path = tmp_path / name
        pq.write_table(pa.table({"image": pa.array(images, kind), **columns}), path, row_group_size=2)
        return path

    return make


def test_columns_become_labels_or_attributes(faces: Callable[..., Path]) -> None:
    path = str(faces(age=[30, 40, 18], gender=[0, 1, 1], happy=[True, False, True], weight=[70.5, 60.0, 55.0]))
    assert open_data(path).labels is None
    by_gender = open_data(path, labels="gender")
    assert by_gender.classes == ("0", "1")
    assert by_gender.labels is not None
    assert by_gender.labels.tolist() == [0, 1, 1]
    assert open_data(path, labels="happy").classes == ("False", "True")
    source = open_data(path, attributes=["weight", "happy", "age"])
    assert source.values is not None
    assert source.values.tolist() == [[70.5, 1, 30], [60, 0, 40], [55, 1, 18]]


def test_whole_numbers_that_were_stored_as_fractions_name_classes(faces: Callable[..., Path]) -> None:
    assert open_data(str(faces(gender=[0.0, 1.0, 1.0])), labels="gender").classes == ("0", "1")


def test_named_classes_can_be_asked_for_by_column(write: Callable[..., Path]) -> None:
    path = str(write("a.parquet", [1, 0], label="species", names=["x", "y"]))
    assert open_data(path, labels="species").classes == ("x", "y")
    with pytest.raises(DataError, match="holds numbers outside its 2 classes"):
        open_data(str(write("b.parquet", [0, 7], label="species", names=["x", "y"])), labels="species")


def test_a_null_among_the_numbers_is_refused_and_named(faces: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"no number for 1 of 3 images, the first being faces\.parquet row 1, where it holds nothing"):
        open_data(str(faces(age=[30, None, 18])), attributes="age")


def test_the_pictures_themselves_are_no_column(faces: Callable[..., Path]) -> None:
    source = open_data(str(faces(age=[1, 2], tags=[["a"], ["b"]])))
    assert list(source.columns) == ["age"]
    assert len(source.columns) == 1
    with pytest.raises(KeyError):
        source.columns["image"]


def test_a_split_column_is_honoured_and_said(faces: Callable[..., Path], picture: Make) -> None:
    path = str(faces(split=["train", "val", "train", "val", "train"], age=[1, 2, 3, 4, 5]))
    train, test = open_data(path, attributes="age"), open_data(path, split="test", attributes="age")
    assert (len(train), len(test)) == (3, 2)
    assert train.values is not None
    assert test.values is not None
    assert (train.values[:, 0].tolist(), test.values[:, 0].tolist()) == ([1, 3, 5], [2, 4])
    assert any("'split' holds train, val: test reads the 2 rows of 'val'" in note for note in test.notes)
    data = prepare(test)
    assert all(np.array_equal(data.images[k], np.asarray(picture(seed=i))) for k, i in enumerate((1, 3)))
    assert test.item_name(1) == "faces.parquet row 3"
    assert train.fingerprint() != test.fingerprint()


def test_a_split_column_without_that_split_is_an_error(faces: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="no test split: its column 'split' holds train; expected test or val"):
        open_data(str(faces(split=["train", "train"])), split="test")


def test_a_split_column_of_other_values_is_a_column_like_any(faces: Callable[..., Path]) -> None:
    source = open_data(str(faces(split=["left", "right", "left"])), labels="split")
    assert source.classes == ("left", "right")
    assert len(source) == 3


# Saved by the datasets library ------------------------------------------------------------------------------------------


def save(folder: Path, parts: list[list[int]], picture: Make) -> None:
    """What save_to_disk writes: arrow streams, and the list of them."""
    folder.mkdir(parents=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["ant", "bee"]}}
    for number, labels in enumerate(parts):
        images = [{"bytes": png(picture(seed=10 * number + i)), "path": None} for i in range(len(labels))]
        table = pa.table({"image": pa.array(images, kind), "label": labels})
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        with pa.ipc.new_stream(folder / f"data-{number}.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": f"data-{k}.arrow"} for k in range(len(parts))]}))


def test_a_saved_data_set_is_read(tmp_path: Path, picture: Make) -> None:
    save(tmp_path / "saved", [[0, 1, 1], [0]], picture)
    source = open_data(str(tmp_path / "saved"))
    data = prepare(source)
    assert data.spec.classes == ("ant", "bee")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 1, 0]
    assert [source.item_name(i) for i in (2, 3)] == ["data-0.arrow row 2", "data-1.arrow row 0"]
    assert all(np.array_equal(data.images[i], np.asarray(picture(seed=seed))) for i, seed in enumerate((0, 1, 2, 10)))


def test_a_saved_data_set_with_splits_is_read_by_split(tmp_path: Path, picture: Make) -> None:
    save(tmp_path / "saved" / "train", [[0, 1, 1]], picture)
    save(tmp_path / "saved" / "validation", [[1]], picture)
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    assert [len(open_data(str(tmp_path / "saved"), split=split)) for split in ("train", "test")] == [3, 1]
    (tmp_path / "saved" / "validation" / "state.json").unlink()
    with pytest.raises(DataError, match="no test split: found train; expected test or val"):
        open_data(str(tmp_path / "saved"), split="test")


@pytest.mark.parametrize("harm", ["state.json", "data-0.arrow"])
def test_a_damaged_saved_data_set_is_an_error(tmp_path: Path, picture: Make, harm: str) -> None:
    save(tmp_path / "saved", [[0, 1, 1]], picture)
    (tmp_path / "saved" / harm).write_bytes(b"{}")
    with pytest.raises(DataError, match=harm) as caught:
        open_data(str(tmp_path / "saved"))
    assert "\n" not in str(caught.value)
