"""The preflight says what there is and what will be done, and warns of what spoils trainings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from elegan.data import Report, cache_folder, inspect_data, open_data, prepare

Folder = Callable[..., Path]


def warned(report: Report, *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in report.warnings)


def test_a_report_counts_everything(folder: Folder) -> None:
    files = {f"a/{i}.png": {"width": 20, "height": 30} for i in range(12)} | {f"b/{i}.png": {"mode": "L"} for i in range(3)}
    root = folder(files | {"b/text.png": b"text", "notes.txt": b""})
    (root / "a" / "copy.png").write_bytes((root / "a" / "0.png").read_bytes())
    report = inspect_data(str(root))
    assert (report.count, report.readable) == (17, 16)
    assert [one.name for one in report.broken] == ["b/text.png"]
    assert report.modes == {"RGB": 13, "L": 3}
    assert report.classes == {"a": 13, "b": 3}
    assert (report.duplicates, report.duplicate_names) == (1, [("a/copy.png", "a/0.png")])
    assert (report.sizes.smallest, report.sizes.median, report.sizes.largest) == ((16, 16), (30, 20), (30, 20))
    assert (report.sizes.distinct, report.sizes.most_common, report.sizes.most_common_count) == (2, (30, 20), 13)
    assert warned(report, "Only 16 images")
    assert warned(report, "1 of 2 classes", "b (3)")
    assert warned(report, "1 of 16", "duplicates")
    text = "\n".join(report.lines())
    for words in ("17 images, 16 usable", "b/text.png", "30x20", "a 13, b 3", "a/copy.png = a/0.png", ".txt 1", str(cache_folder())):
        assert words in text
    assert json.loads(json.dumps(report.as_dict()))["classes"] == {"a": 13, "b": 3}


def test_the_report_says_what_preparing_does_and_writes_nothing(folder: Folder) -> None:
    root = str(folder({"1.png": {"width": 90, "height": 70}, "2.png": {"mode": "LA", "width": 33, "height": 50}, "3.png": b""}))
    report = inspect_data(root)
    assert not list(cache_folder().iterdir())
    data = prepare(open_data(root))
    assert (report.channels, *report.size) == data.spec.shape
    assert report.broken == data.skipped
    assert set(report.notes) <= set(data.notes)
    assert inspect_data(root).cache_bytes > 0


def test_files_damaged_behind_their_header_are_found(folder: Folder) -> None:
    root = folder({"1.png": {}, "2.png": {"width": 100, "height": 100}})
    whole = (root / "2.png").read_bytes()
    (root / "2.png").write_bytes(whole[: len(whole) // 2])
    report = inspect_data(str(root))
    assert report.readable == 1
    assert report.size == (16, 16)
    assert "truncated" in report.broken[0].reason


def test_good_data_has_no_warnings() -> None:
    report = inspect_data("digits")
    assert report.warnings == []
    assert report.count == report.readable == 1437
    assert report.classes["1"] == 154
    assert report.channels == 1
    assert report.size == (8, 8)


def test_the_wrong_folder_level_is_warned_of(folder: Folder) -> None:
    root = folder({"download/cats/1.png": {}, "download/dogs/2.png": {}})
    report = inspect_data(str(root))
    assert warned(report, "wrong folder level", "'download/'")
    assert report.classes == {"cats": 1, "dogs": 1}
    assert not warned(inspect_data(str(root / "download")), "level")


def test_columns_that_could_be_given_are_listed(folder: Folder) -> None:
    rows = "".join(f"{i}.png,{i % 3},{20 + i},{'yes' if i % 2 else 'no'},1,name {i}\n" for i in range(12))
    table = f"file_name,kind,age,smiles,same,who\n{rows}".encode()
    root = str(folder({f"{i}.png": {} for i in range(12)} | {"metadata.csv": table}))
    report = inspect_data(root)
    assert {one.name: (one.classes, one.range) for one in report.columns} == {
        "kind": (3, (0, 2)),
        "age": (0, (20, 31)),
        "smiles": (2, (0, 1)),
    }
    assert "could be --labels: kind (3 different), smiles (2 different)" in report.lines()
    assert "could be --attributes: kind (0 to 2), age (20 to 31), smiles (0 to 1)" in report.lines()
    assert json.loads(json.dumps(report.as_dict()))["columns"][1] == {"name": "age", "classes": 0, "range": [20, 31]}


def test_the_report_says_what_was_chosen_of_them(folder: Folder) -> None:
    files = {"1.png": {}, "2.png": {}, "3.png": b"broken", "labels.csv": b"file,kind,age\n1.png,a,20\n2.png,b,30\n3.png,b,99\n"}
    root = str(folder(files))
    report = inspect_data(root, attributes="age")
    assert report.attributes == {"age": (20, 30)}
    assert report.classes == {}
    assert "attributes: age (20 to 30)" in report.lines()
    assert inspect_data(root, labels="kind").classes == {"a": 1, "b": 1}
    assert prepare(open_data(root, attributes="age")).spec.attributes[0].high == 30


def test_without_a_choice_no_columns_are_listed(folder: Folder) -> None:
    assert inspect_data("digits").columns == []
    assert inspect_data(str(folder({"a/1.png": {}, "b/2.png": {}}))).columns == []


def test_the_report_says_how_images_come_to_their_size(folder: Folder) -> None:
    root = str(folder({"1.png": {"width": 24, "height": 16}}))
    assert "each becomes: 16x24, RGB" in inspect_data(root).lines()
    lines = inspect_data(root, size=(16, 16), fit="pad").lines()
    assert "each becomes: 16x16, RGB, scaled to lie within that, and padded with black, or with transparency (--fit pad)" in lines
    assert "note: 1 of 1 images have another aspect ratio: padded with black." in lines


def test_the_report_says_where_the_cache_is_and_how_to_free_it() -> None:
    prepare(open_data("digits"))
    line = inspect_data("digits").lines()[-1]
    assert str(cache_folder()) in line
    assert "0.1 MB" in line
    assert "--clear-cache" in line
