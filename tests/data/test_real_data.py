"""Real data sets, where they are: ELEGAN_DATA names a folder that holds mnist/train.parquet and others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from elegan.data import ImageData, inspect_data, open_data, prepare

ROOT = os.environ.get("ELEGAN_DATA")
pytestmark = pytest.mark.skipif(not ROOT, reason="set ELEGAN_DATA to a folder with mnist/train.parquet and others to run this")


def prepared(name: str, split: str = "train") -> ImageData:
    path = Path(ROOT or "") / name
    if not path.exists():
        pytest.skip(f"ELEGAN_DATA holds no {name}")
    return prepare(open_data(str(path), split=split))


def test_mnist_has_the_published_counts_and_mean() -> None:
    data = prepared("mnist/test.parquet")
    assert data.images.shape == (10000, 28, 28, 1)
    assert data.name == "mnist"
    assert data.labels is not None
    assert data.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert [int((data.labels == k).sum()) for k in range(10)] == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.images.mean() / 255 == pytest.approx(0.1325, abs=2e-4)


def test_a_folder_of_parquet_files_gives_both_splits() -> None:
    data = prepared("fashion_mnist", split="test")
    assert len(data) == 10000
    assert data.spec.classes[-1] == "Ankle boot"


def test_cifar_has_its_own_column_name() -> None:
    data = prepared("cifar10/train_png_4000.parquet")
    assert data.spec.shape == (3, 32, 32)
    assert data.spec.classes[0] == "airplane"
    assert data.labels is not None
    assert data.labels[:5].tolist() == [6, 9, 9, 4, 1]


def test_faces_are_all_there() -> None:
    assert prepared("faces_utk64/train.parquet").images.shape == (8000, 64, 64, 3)


def test_emoji_keep_their_transparency() -> None:
    data = prepared("text_image_emoji/emoji_72.parquet")
    assert data.images.shape == (2731, 72, 72, 4)
    assert data.labels is None
    assert data.images[..., 3].min() == 0


def test_the_folders_of_facades_are_splits() -> None:
    assert [len(prepared("paired_facades/facades_256.zip", split)) for split in ("train", "test")] == [320, 80]


def test_photographs_of_both_orientations_are_reported() -> None:
    prepared("photos_hires/bsd68.zip")
    report = inspect_data(str(Path(ROOT or "") / "photos_hires/bsd68.zip"))
    assert report.readable == 68
    assert report.sizes.distinct == 2
    assert report.size == (64, 64)


def test_faces_have_their_age_and_gender() -> None:
    path = Path(ROOT or "") / "faces_utk64"
    if not path.exists():
        pytest.skip("ELEGAN_DATA holds no faces_utk64")
    data = prepare(open_data(str(path), attributes="age,gender"))
    age, gender = data.spec.attributes
    assert (age.low, age.high, gender.low, gender.high) == (18, 80, 0, 1)
    assert data.values is not None
    assert [int((data.values[:, 1] == k).sum()) for k in (0, 1)] == [4332, 3668]
    labelled = prepare(open_data(str(path), labels="gender"))
    assert labelled.labels is not None
    assert np.array_equal(labelled.labels, data.values[:, 1])


def test_the_split_column_of_the_small_facades_is_honoured() -> None:
    assert [len(prepared("paired_facades/facades_128.parquet", split)) for split in ("train", "test")] == [320, 80]


def test_unpaired_skies_are_two_classes() -> None:
    data = prepared("unpaired_cloudy2sunrise/cloudy2sunrise_128.zip")
    assert data.spec.classes == ("A", "B")
    assert data.labels is not None
    assert np.bincount(data.labels).tolist() == [193, 237]
    assert any("unpaired" in note for note in data.notes)
