"""Data on the hub, which stands here in files of this machine: the library streams those as it streams others."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elegan.data import cache_folder, inspect_data, open_data, prepare
from elegan.data import hub as hub_module
from elegan.errors import DataError

datasets = pytest.importorskip("datasets")
hub = pytest.importorskip("huggingface_hub")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

Make = Callable[..., Image.Image]
HERE = "hf://somebody/flowers"


class Hub:
    """Data sets by name: each is what `load_dataset` is to be called with. `asked` keeps the calls; `error` is raised by them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sets: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str | None, str]] = []
        self.revision, self.error, self.offline = "a" * 40, None, False
        load = datasets.load_dataset

        def load_dataset(name: str, configuration: str | None = None, *, revision: str, streaming: bool) -> Any:
            assert streaming
            self.asked.append((name, configuration, revision))
            if self.error is not None:
                raise self.error
            return load(**self.sets[name], streaming=True)

        def dataset_info(api: object, name: str, *, timeout: float) -> SimpleNamespace:
            if self.offline:
                raise OSError("Name or service not known")
            if name not in self.sets:
                raise missing_repository()
            return SimpleNamespace(sha=self.revision)

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        monkeypatch.setattr(hub.HfApi, "dataset_info", dataset_info)


def missing_repository() -> Exception:
    kind = hub.errors.RepositoryNotFoundError
    error: Exception = kind.__new__(kind)
    return error


@pytest.fixture
def the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    return Hub(monkeypatch)


@pytest.fixture
def flowers(the_hub: Hub, tmp_path: Path, picture: Make) -> Hub:
    """somebody/flowers on the hub: 5 training images and 2 others, with species, height and a caption."""

    def write(name: str, seeds: range) -> str:
        def png(seed: int) -> bytes:
            file = BytesIO()
            picture(20, 16, "RGB", seed).save(file, "PNG")
            return file.getvalue()

        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        table = pa.table(
            {
                "image": pa.array([{"bytes": png(seed), "path": None} for seed in seeds], kind),
                "species": [seed % 2 for seed in seeds],
                "height": [10.0 + seed for seed in seeds],
                "caption": [f"flower {seed}" for seed in seeds],
                "box": [[1, 2] for _ in seeds],
            }
        )
        features = {
            "image": {"_type": "Image"},
            "species": {"_type": "ClassLabel", "names": ["rose", "daisy"]},
            "height": {"_type": "Value", "dtype": "float64"},
            "caption": {"_type": "Value", "dtype": "string"},
            "box": {"_type": "List", "feature": {"_type": "Value", "dtype": "int64"}},
        }
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, tmp_path / name)
        return str(tmp_path / name)

    files = {"train": write("train.parquet", range(5)), "validation": write("validation.parquet", range(5, 7))}
    the_hub.sets["somebody/flowers"] = {"path": "parquet", "data_files": files}
    return the_hub


def test_a_data_set_is_streamed_once_and_then_found_in_the_cache(flowers: Hub, picture: Make) -> None:
    seen = list[tuple[int, int]]()
    data = prepare(open_data(HERE), progress=lambda done, total: seen.append((done, total)))
    assert data.spec.shape == (3, 16, 20)
    assert data.spec.classes == ("rose", "daisy")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 0, 1, 0]
    assert all(np.array_equal(data.images[i], np.asarray(picture(20, 16, "RGB", i))) for i in range(5))
    assert (data.name, data.where) == ("flowers", HERE)
    assert seen[-1] == (5, 5)
    again = prepare(open_data(HERE))
    assert (again.cache, again.spec, again.notes) == (data.cache, data.spec, data.notes)
    assert again.labels is not None
    assert again.labels.tolist() == data.labels.tolist()
    assert flowers.asked == [("somebody/flowers", None, "a" * 40)]


def test_only_what_was_prepared_is_kept(flowers: Hub) -> None:
    data = prepare(open_data(HERE))
    assert {path for path in cache_folder().rglob("*") if path.is_file()} == set(data.cache.iterdir())


def test_labels_attributes_and_splits_are_those_asked_for(flowers: Hub) -> None:
    data = prepare(open_data(HERE, attributes="height"))
    assert data.values is not None
    assert data.values[:, 0].tolist() == [10, 11, 12, 13, 14]
    assert data.labels is None
    assert prepare(open_data(HERE, labels="none")).spec.classes == ()
    test = prepare(open_data(HERE, split="test"))
    assert len(test) == 2
    assert len({data.cache, test.cache, prepare(open_data(HERE)).cache}) == 3


def test_a_column_that_is_not_there_gets_the_nearest(flowers: Hub) -> None:
    with pytest.raises(DataError, match=r"no column 'hight' for attributes\. Did you mean 'height'"):
        prepare(open_data(HERE, attributes="hight"))


def test_the_preflight_streams_and_keeps_nothing(flowers: Hub) -> None:
    report = inspect_data(HERE)
    assert report.count == 5
    assert [one.name for one in report.columns] == ["species", "height"]
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]


def test_another_revision_is_prepared_anew(flowers: Hub) -> None:
    first = prepare(open_data(HERE))
    flowers.revision = "b" * 40
    assert prepare(open_data(HERE)).cache != first.cache
    assert [revision for _, _, revision in flowers.asked] == ["a" * 40, "b" * 40]


def test_without_a_network_what_was_prepared_last_is_used(flowers: Hub) -> None:
    first = prepare(open_data(HERE))
    flowers.offline = True
    again = prepare(open_data(HERE))
    assert again.cache == first.cache
    assert any("cannot be reached" in note and "aaaaaaaa" in note for note in again.notes)
    with pytest.raises(DataError, match=r"cannot be reached .*was not prepared like this"):
        prepare(open_data(HERE), size=(8, 8))


def test_without_a_network_and_a_copy_it_is_one_line(flowers: Hub) -> None:
    flowers.offline = True
    with pytest.raises(DataError, match=r"hf://somebody/flowers cannot be reached \(Name or service not known\)") as caught:
        open_data(HERE)
    assert "\n" not in str(caught.value)


def test_a_configuration_can_be_named(flowers: Hub) -> None:
    prepare(open_data(f"{HERE}#small"))
    assert flowers.asked[0][:2] == ("somebody/flowers", "small")


def test_a_name_alone_means_the_hub_only_where_that_is_allowed(flowers: Hub) -> None:
    with pytest.raises(DataError, match="or write hf://somebody/flowers for the data set of that name on Hugging Face's hub"):
        open_data("somebody/flowers")
    assert flowers.asked == []
    data = prepare(open_data("somebody/flowers", download=True))
    assert data.where == HERE
    assert prepare(open_data("hf://datasets/somebody/flowers")).spec == data.spec


@pytest.mark.parametrize("where", ["hf://", "hf://flowers", "hf://a/b/c", "hf://a/b#", "hf://a b/c"])
def test_what_is_no_name_on_the_hub_says_what_one_is(flowers: Hub, where: str) -> None:
    with pytest.raises(DataError, match="expected hf://owner/name, or hf://owner/name#configuration"):
        open_data(where)


def test_a_name_that_is_not_on_the_hub_is_one_line(flowers: Hub) -> None:
    with pytest.raises(DataError, match="no data set somebody/flower on the hub, or it is private"):
        open_data("hf://somebody/flower")


def test_what_the_library_raises_is_one_line(flowers: Hub) -> None:
    flowers.error = ValueError("Config name is missing.\nPlease pick one among ['small', 'large']")  # type: ignore[assignment]
    with pytest.raises(
        DataError, match=r"cannot be streamed after 0 images \(Config name is missing\. Please pick one .*#configuration"
    ) as caught:
        prepare(open_data(HERE))
    assert "\n" not in str(caught.value)


def test_a_stream_that_breaks_off_is_begun_anew(flowers: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    source, whole = open_data(HERE), hub_module._bytes
    calls = list[int]()

    def breaks(cell: Any) -> bytes:
        calls.append(1)
        if len(calls) == 3:
            raise ConnectionError("reset by peer")
        return whole(cell)

    monkeypatch.setattr(hub_module, "_bytes", breaks)
    with pytest.raises(DataError, match=r"cannot be streamed after 2 images \(reset by peer\)"):
        prepare(source)
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]
    assert len(prepare(source)) == 5


def test_a_data_set_without_images_says_what_it_holds(the_hub: Hub, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "n": [1]}), tmp_path / "text.parquet")
    the_hub.sets["somebody/texts"] = {"path": "parquet", "data_files": {"train": str(tmp_path / "text.parquet")}}
    with pytest.raises(DataError, match="No column of images in hf://somebody/texts: found text: Value, n: Value"):
        prepare(open_data("hf://somebody/texts"))


def test_a_split_that_is_not_there_is_an_error(flowers: Hub) -> None:
    del flowers.sets["somebody/flowers"]["data_files"]["validation"]
    with pytest.raises(DataError, match="no test split: found train; expected test or val"):
        prepare(open_data(HERE, split="test"))


def test_one_split_of_another_name_is_for_training(flowers: Hub) -> None:
    flowers.sets["somebody/flowers"]["data_files"] = {"full": flowers.sets["somebody/flowers"]["data_files"]["train"]}
    assert len(prepare(open_data(HERE))) == 5


def test_images_in_files_of_their_own_are_read(the_hub: Hub, folder: Callable[..., Path], picture: Make) -> None:
    root = folder({"a/1.png": picture(seed=1), "b/2.png": picture(seed=2), "b/3.png": b"broken"})
    the_hub.sets["somebody/files"] = {"path": "imagefolder", "data_dir": str(root)}
    data = prepare(open_data("hf://somebody/files"))
    assert data.spec.classes == ("a", "b")
    assert [one.name for one in data.skipped] == ["row 2"]
    assert all(np.array_equal(data.images[i], np.asarray(picture(seed=i + 1))) for i in range(2))


def test_rows_without_an_image_are_skipped(the_hub: Hub, tmp_path: Path, picture: Make) -> None:
    picture().save(tmp_path / "1.png")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [None, {"bytes": None, "path": None}, {"bytes": (tmp_path / "1.png").read_bytes(), "path": None}]
    table = pa.table({"img": pa.array(rows, kind)})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": {"img": {"_type": "Image"}}}})})
    pq.write_table(table, tmp_path / "a.parquet")
    the_hub.sets["somebody/holes"] = {"path": "parquet", "data_files": {"train": str(tmp_path / "a.parquet")}}
    data = prepare(open_data("hf://somebody/holes"))
    assert len(data) == 1
    assert {one.reason for one in data.skipped} == {"the row holds no image bytes"}


def test_a_full_disk_while_streaming_says_where(flowers: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(DataError, match=r"is full .*ELEGAN_CACHE"):
        prepare(open_data(HERE))


@pytest.mark.parametrize("library", ["datasets", "huggingface_hub"])
def test_without_the_library_it_says_what_to_install(flowers: Hub, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DataError, match=r"needs the datasets library: pip install 'elegan\[data\]'"):
        prepare(open_data(HERE))


def test_what_the_library_saved_is_read_without_it(flowers: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(flowers.sets["somebody/flowers"]["data_files"].items())
    parts = {name: datasets.Dataset.from_parquet(path, cache_dir=str(tmp_path / "hf")) for name, path in rows}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    data = prepare(open_data(str(tmp_path / "saved"), attributes="height"))
    assert data.images.shape == (5, 16, 20, 3)
    assert data.spec.attributes[0].high == 14
    assert len(open_data(str(tmp_path / "saved"), split="test")) == 2
