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
