"""Classes and attributes from what tables beside images say of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elegan.data import ImageData, Source, open_data, prepare
from elegan.errors import DataError

Folder = Callable[..., Path]
Open = Callable[..., Source]

CSV = b"file_name,label,age,smiles\n1.png,cat,30,yes\n2.png,dog,40,no\nsub/3.png,cat,50.5,yes\n"
IMAGES: dict[str, object] = {"1.png": {}, "2.png": {}, "sub/3.png": {}}


@pytest.fixture(params=["folder", "zip"])
def opened(request: pytest.FixtureRequest, folder: Folder) -> Open:
    """opened(files, labels=..., attributes=...): the source of these files, in a folder and in a zip file."""

    def open_as(files: dict[str, object], **options: object) -> Source:
        path = folder(files)
        if request.param == "zip":
            with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
                for file in sorted(path.rglob("*")):
                    archive.write(file, file.relative_to(path).as_posix())
            path = path.with_suffix(".zip")
        return open_data(str(path), **options)  # type: ignore[arg-type]

    return open_as


def labels_of(source: Source) -> list[str]:
    assert source.labels is not None
    return [source.classes[k] for k in source.labels]


def said(source: Source | ImageData, *words: str) -> bool:
    return any(all(word in note for word in words) for note in source.notes)


JSONL = b"".join(
    json.dumps({"file_name": name, "label": label}).encode() + b"\n"
    for name, label in (("2.png", "dog"), ("1.png", "cat"), ("sub/3.png", "cat"))
)
NESTED = json.dumps({"1.png": {"label": "cat", "age": 3}, "2.png": {"label": "dog"}, "3.png": {"label": "cat"}}).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata.csv", CSV),
        ("Metadata.csv", b"\xef\xbb\xbf" + CSV),
        ("labels.csv", b"image;class\r\n2.png;dog\r\n1.png;cat\r\n./sub/3.png;cat\r\n"),
        ("labels.csv", b'filename,"label"\n"1.png","cat"\n"2.png","dog"\n"3.png","cat"\n'),
        ("metadata.jsonl", JSONL),
        ("labels.json", b'{"1.png": "cat", "2.png": "dog", "sub\\\\3.png": "cat"}'),
        ("labels.json", NESTED),
        ("labels.json", b'[{"file": "1.png", "label": "cat"}, {"file": "2.png", "label": "dog"}, {"file": "3.png", "label": "cat"}]'),
        ("labels.json", b'{"labels": [["1.png", "cat"], ["2.png", "dog"], ["sub/3.png", "cat"]]}'),
    ],
)
def test_a_table_beside_the_images_gives_labels(opened: Open, name: str, content: bytes) -> None:
    source = opened({**IMAGES, name: content})
    assert labels_of(source) == ["cat", "dog", "cat"]
    assert source.classes == ("cat", "dog")
    assert said(source, "Labels come from the column", name)
    assert not said(source, "Ignored")


def test_numbers_for_classes_come_in_natural_order(opened: Open) -> None:
    source = opened({**IMAGES, "labels.json": b'{"1.png": 10, "2.png": 9, "3.png": 10}'})
    assert source.classes == ("9", "10")
    assert labels_of(source) == ["10", "9", "10"]


def test_minus_one_comes_before_one(opened: Open) -> None:
    source = opened({**IMAGES, "labels.csv": b"file,label\n1.png,1\n2.png,-1\n3.png,1\n"})
    assert source.classes == ("-1", "1")


def test_any_column_can_be_asked_for_as_labels(opened: Open) -> None:
    source = opened({**IMAGES, "metadata.csv": CSV}, labels="smiles")
    assert labels_of(source) == ["yes", "no", "yes"]
    assert said(source, "Labels come from the column 'smiles' of metadata.csv: 2 classes")


def test_labels_none_takes_none(opened: Open) -> None:
    source = opened({**IMAGES, "metadata.csv": CSV}, labels="none")
    assert (source.classes, source.labels, source.values) == ((), None, None)


def test_a_table_with_labels_wins_over_folders_which_can_still_be_asked_for(opened: Open) -> None:
    files = {"a/1.png": {}, "b/2.png": {}, "metadata.csv": b"file_name,label\na/1.png,x\nb/2.png,x\n"}
    assert opened(files).classes == ("x",)
    assert opened(files, labels="folder").classes == ("a", "b")


def test_a_table_without_labels_leaves_the_folders(opened: Open) -> None:
    assert opened({"a/1.png": {}, "b/2.png": {}, "metadata.csv": b"file_name,age\na/1.png,1\nb/2.png,2\n"}).classes == ("a", "b")


def test_each_split_has_its_own_table(folder: Folder) -> None:
    files = {"train/1.png": {}, "train/2.png": {}, "test/1.png": {}}
    tables = {"train/metadata.csv": b"file_name,label\n1.png,a\n2.png,b\n", "test/metadata.csv": b"file_name,label\n1.png,b\n"}
    root = str(folder(files | tables))
    assert labels_of(open_data(root)) == ["a", "b"]
    assert labels_of(open_data(root, split="test")) == ["b"]
    assert not said(open_data(root), "no image here")


def test_one_table_may_speak_of_both_splits(folder: Folder) -> None:
    files = {"train/1.png": {}, "test/1.png": {}, "labels.csv": b"file,label\ntrain/1.png,a\ntest/1.png,b\n"}
    source = open_data(str(folder(files)), split="test")
    assert labels_of(source) == ["b"]
    assert not said(source, "no image here")


# What does not fit ----------------------------------------------------------------------------------------------------


def test_rows_of_no_image_are_counted_and_named(opened: Open) -> None:
    source = opened({**IMAGES, "metadata.csv": CSV + b"4.png,cat,1,no\n5.png,cat,1,no\n"})
    assert labels_of(source) == ["cat", "dog", "cat"]
    assert said(source, "2 of 5 rows of metadata.csv name no image here, first '4.png'")


def test_a_name_that_fits_two_images_names_none(opened: Open) -> None:
    source = opened({"a/1.png": {}, "b/1.png": {}, "labels.csv": b"file,label\n1.png,x\n"})
    assert said(source, "1 of 1 rows of labels.csv name no image here")
    assert source.classes == ("a", "b")


def test_without_a_label_for_each_image_there_are_none_unless_they_were_asked_for(opened: Open) -> None:
    files = {**IMAGES, "metadata.csv": CSV[: CSV.index(b"2.png")]}
    source = opened(files)
    assert source.labels is None
    assert said(source, "2 of 3 images are in no table, first 2.png")
    assert said(source, "'label' of metadata.csv has no value for 2 of 3 images, the first being 2.png: no labels")
    with pytest.raises(
        DataError, match=r"'label' of metadata\.csv has no value for 2 of 3 images, the first being 2\.png: mend it"
    ) as caught:
        opened(files, labels="label")
    assert "\n" not in str(caught.value)


def test_a_column_that_is_not_there_gets_the_nearest_and_all(opened: Open) -> None:
    with pytest.raises(DataError, match=r"no column 'lable' for labels\. Did you mean 'label'\? There are: label, smiles\."):
        opened({**IMAGES, "metadata.csv": CSV}, labels="lable")
    with pytest.raises(DataError, match=r"no column 'height' for attributes\. Known: age, smiles\."):
        opened({**IMAGES, "metadata.csv": CSV}, attributes="height")


def test_where_there_are_no_columns_it_says_where_they_would_come_from(opened: Open) -> None:
    with pytest.raises(DataError, match=r"no column 'age'.* metadata\.csv with a column file_name"):
        opened(IMAGES, attributes="age")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("metadata.csv", b"who,label\n1.png,cat\n", "no column file_name with the images' names; found who, label"),
        ("metadata.csv", b"\xff\xfe\x00", "cannot be read"),
        ("metadata.jsonl", b"{1", "cannot be read"),
        ("metadata.jsonl", b"[1]", "found no columns"),
        ("labels.json", b"3", "expected a label for each file name"),
        ("labels.json", b'{"labels": [3]}', "no pairs"),
        ("labels.json", b"[" * 100_000, "cannot be read"),
    ],
)
def test_what_is_no_table_is_left_alone_and_said(opened: Open, name: str, content: bytes, reason: str) -> None:
    source = opened({**IMAGES, name: content})
    assert source.labels is None
    assert said(source, name, reason)
    assert all("\n" not in note for note in source.notes)


def test_labels_that_name_no_class_are_refused(opened: Open) -> None:
    files = {**IMAGES, "labels.json": b'{"1.png": 0.5, "2.png": 1, "3.png": [1, 0]}'}
    assert said(opened(files), "holds 0.5, which names no class: no labels")
    with pytest.raises(DataError, match=r"holds 0\.5, which names no class: mend it, or do without labels"):
        opened(files, labels="label")


# Attributes -----------------------------------------------------------------------------------------------------------


def test_attributes_are_numbers_instead_of_classes(opened: Open) -> None:
    source = opened({**IMAGES, "metadata.csv": CSV}, attributes="age, smiles")
    assert (source.classes, source.labels) == ((), None)
    assert source.attributes == ("age", "smiles")
    assert source.values is not None
    assert source.values.tolist() == [[30, 1], [40, 0], [50.5, 1]]
    assert said(source, "age (30 to 50.5), smiles (0 to 1)")


def test_prepared_attributes_have_their_range_and_examples(folder: Folder) -> None:
    rows = "".join(f"{i}.png,{i},{-1 if i % 3 else 1}\n" for i in range(100))
    files = {f"{i}.png": {} for i in range(100)} | {"3.png": b"broken", "99.png": b"", "labels.csv": f"file,age,Smiling\n{rows}".encode()}
    data = prepare(open_data(str(folder(files)), attributes=["age", "Smiling"]))
    assert len(data) == 98
    assert data.spec.classes == ()
    assert data.values is not None
    assert data.values.shape == (98, 2)
    assert data.values[:5, 0].tolist() == [0, 1, 2, 4, 5]
    age, smiling = data.spec.attributes
    assert (age.name, age.low, age.high) == ("age", 0, 98)
    assert (smiling.name, smiling.low, smiling.high) == ("Smiling", -1, 1)
    assert len(age.examples) == len(smiling.examples) == 64
    assert len(set(age.examples)) == 64
    assert all(smile == (-1 if number % 3 else 1) for number, smile in zip(age.examples, smiling.examples, strict=True))


def test_a_few_images_are_all_examples(folder: Folder) -> None:
    data = prepare(open_data(str(folder({**IMAGES, "metadata.csv": CSV})), attributes="age"))
    assert sorted(data.spec.attributes[0].examples) == [30, 40, 50.5]


def test_what_was_chosen_is_prepared_on_its_own(folder: Folder) -> None:
    root = str(folder({**IMAGES, "metadata.csv": CSV}))
    choices = [
        {},
        {"labels": "none"},
        {"labels": "smiles"},
        {"attributes": "age"},
        {"attributes": "age,smiles"},
        {"attributes": "smiles,age"},
    ]
    prepared = [prepare(open_data(root, **choice)) for choice in choices]  # type: ignore[arg-type]
    again = [prepare(open_data(root, **choice)) for choice in choices]  # type: ignore[arg-type]
    assert len({data.cache for data in prepared}) == len({data.fingerprint for data in prepared}) == len(choices)
    for one, other in zip(prepared, again, strict=True):
        assert (one.cache, one.spec, one.notes) == (other.cache, other.spec, other.notes)
        assert np.array_equal(one.values, other.values) if one.values is not None else other.values is None


def test_a_changed_table_is_prepared_anew(folder: Folder) -> None:
    root = folder({**IMAGES, "metadata.csv": CSV})
    first = prepare(open_data(str(root), attributes="age"))
    (root / "metadata.csv").write_bytes(CSV.replace(b"30", b"31"))
    second = prepare(open_data(str(root), attributes="age"))
    assert first.cache != second.cache
    assert second.values is not None
    assert second.values[:, 0].tolist() == [31, 40, 50.5]


@pytest.mark.parametrize(("cell", "shown"), [(b"", "nothing"), (b"NaN", "'NaN'"), (b"tall", "'tall'"), (b"inf", "'inf'")])
def test_an_attribute_without_a_number_for_each_image_is_refused(opened: Open, cell: bytes, shown: str) -> None:
    files = {**IMAGES, "metadata.csv": CSV.replace(b"40", cell).replace(b"50.5", cell)}
    with pytest.raises(DataError, match=f"'age' of metadata.csv has no number for 2 of 3 images, the first being 2.png.*{shown}.*smiles"):
        opened(files, attributes="age")


def test_one_value_for_all_images_is_said(opened: Open) -> None:
    assert said(
        opened({**IMAGES, "metadata.csv": CSV.replace(b"40", b"30").replace(b"50.5", b"30")}, attributes="age"), "nothing can be learnt"
    )


def test_labels_and_attributes_together_are_refused(opened: Open) -> None:
    with pytest.raises(DataError, match="one kind"):
        opened({**IMAGES, "metadata.csv": CSV}, labels="label", attributes="age")


def test_the_digits_own_label_can_be_a_number() -> None:
    data = prepare(open_data("digits", attributes="label"))
    assert data.labels is None
    assert data.values is not None
    assert data.values[:5, 0].tolist() == [1, 2, 3, 4, 6]
