from __future__ import annotations

import hashlib
import http.server
import os
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from elegan.data import cache
from elegan.errors import DataError, OptionError
from elegan.metrics import weights
from elegan.metrics.weights import PUBLISHED, Weights, fetch, load_weights, new_file, read_tensors

SHAPES = {"a.weight": (2, 3), "a.bias": (2,)}


def tensors(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=random) for name, shape in SHAPES.items()}


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is published as the weights of inception, at an address of its own."""
    path = tmp_path / "there" / "published.pth"
    path.parent.mkdir()
    torch.save(tensors(), path)
    publish(path, path.as_uri(), monkeypatch)
    return path


def publish(path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = path.read_bytes()
    made = replace(PUBLISHED["inception"], file="kept.pth", address=address, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    monkeypatch.setitem(PUBLISHED, "inception", made)


def load(folder: Path, file: Path | None = None, download: bool = False) -> Weights:
    return load_weights("inception", SHAPES, folder, file=file, download=download)


def refused(path: Path, match: str) -> None:
    """Naming this file gives one line that names it and matches."""
    with pytest.raises(DataError, match=match) as caught:
        load(path.parent, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_published_is_complete() -> None:
    for name, one in PUBLISHED.items():
        assert len(one.sha256) == 64, name
        assert one.address.startswith("https://"), name
        assert one.licence, name
    named = {name: found[1] for name, one in PUBLISHED.items() if (found := re.search(r"-([0-9a-f]{8})\.pth$", one.address))}
    assert named.keys() == {"inception", "vgg16", "alexnet"}
    assert all(PUBLISHED[name].sha256.startswith(prefix) for name, prefix in named.items())
    assert len({one.file for one in PUBLISHED.values()}) == len(PUBLISHED)


def test_weights_are_downloaded_only_when_that_is_allowed(there: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "weights"
    with pytest.raises(
        DataError, match=r"weights of inception are not here: put .*published\.pth.* at .*kept\.pth, .*--weights.*--download"
    ):
        load(folder)
    assert not folder.exists()
    lines: list[str] = []
    found = load_weights("inception", SHAPES, folder, download=True, announce=lines.append)
    assert {name: value.tolist() for name, value in found.tensors.items()} == {name: value.tolist() for name, value in tensors().items()}
    assert found.published
    assert found.label == "inception"
    assert [line.split(":")[0] for line in lines] == [
        lines[0].split(":")[0],
        "The weights of inception are here, and are what they should be.",
    ]
    assert there.as_uri() in lines[0]
    assert "Apache-2.0" in lines[0]
    there.unlink()
    assert load(folder, download=True).sha256 == load(folder).sha256 == found.sha256
    assert [path.name for path in folder.iterdir()] == ["kept.pth"]


def test_a_named_file_may_be_another_and_the_label_says_so(there: Path, tmp_path: Path) -> None:
    assert load(tmp_path, there).label == "inception"
    other = tmp_path / "other.pth"
    torch.save(tensors(1), other)
    found = load(tmp_path, other)
    assert not found.published
    assert found.label == f"inception with weights {hashlib.sha256(other.read_bytes()).hexdigest()[:12]}, not the published ones"


@pytest.mark.parametrize("kind", ["new.pth", "old.pth", "a.safetensors"])
def test_kinds_of_files(kind: str, tmp_path: Path) -> None:
    path, given = tmp_path / kind, {name: value.half() for name, value in tensors().items()} | {"more": torch.zeros(9)}
    if kind.endswith(".pth"):
        torch.save(given, path, _use_new_zipfile_serialization=kind == "new.pth")
    else:
        save_file(given, path)
    found = load(tmp_path, path).tensors
    assert found.keys() == SHAPES.keys()  # the rest is left aside
    for name, value in found.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, tensors()[name].half().float())


def test_another_file_in_the_folder_is_not_taken_for_the_published(there: Path, tmp_path: Path) -> None:
    torch.save(tensors(1), tmp_path / "kept.pth")
    for download in (False, True):
        with pytest.raises(DataError, match=r"kept\.pth is not the published weights of inception.*delete it"):
            load(tmp_path, download=download)


def test_something_else_at_the_address_is_not_kept(there: Path, tmp_path: Path) -> None:
    torch.save(tensors(1), there)
    with pytest.raises(DataError, match=r"inception could not be downloaded.*something else came: its SHA-256 is \w{12}\.\.\., not"):
        fetch("inception", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_too_much_at_the_address_is_not_read_to_its_end(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "BLOCK", 100)
    there.write_bytes(bytes(10 * there.stat().st_size))
    with pytest.raises(DataError, match=r"more than \d+ bytes came"):
        fetch("inception", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_nothing_at_the_address(there: Path, tmp_path: Path) -> None:
    there.unlink()
    with pytest.raises(DataError, match=r"inception could not be downloaded from file:.*No such file.*--weights FILE"):
        fetch("inception", tmp_path / "cache")


@contextmanager
def server(data: bytes, status: int, announced: int) -> Iterator[str]:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(announced))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_address[1]}/weights.pth"
        finally:
            serving.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "cut", "match"), [(200, 10, "broke off after|IncompleteRead"), (404, 0, "HTTP Error 404"), (200, 0, "")]
)
def test_a_server_that_fails(there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, cut: int, match: str) -> None:
    data = there.read_bytes()
    with server(data[: len(data) - cut], status, len(data)) as address:
        publish(there, address, monkeypatch)
        if not match:
            assert fetch("inception", tmp_path / "cache").read_bytes() == data
            return
        with pytest.raises(DataError, match=match):
            fetch("inception", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_download_leaves_is_cleared_with_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELEGAN_CACHE", str(tmp_path))
    folder = cache.networks_folder() / "inception"
    with new_file(folder / "kept.pth") as making:
        pass
    making.write_bytes(bytes(100))  # a kill leaves it where it was being written
    assert cache.clear_cache() == 100
    assert not folder.exists()


def test_a_folder_that_cannot_be_made(there: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        fetch("inception", there / "cache")


def test_no_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.pth", "cannot be read .No such file")


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'inceptoin'\. Did you mean 'inception'\?"):
        load_weights("inceptoin", SHAPES, tmp_path)


@pytest.mark.parametrize("kind", ["new", "old", "safetensors"])
@pytest.mark.parametrize("kept", [0, 0.05, 0.3, 0.6, 0.95])
def test_truncated_files(kind: str, kept: float, tmp_path: Path) -> None:
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pth")
    if kind == "safetensors":
        save_file(tensors(), path)
    else:
        torch.save(tensors(), path, _use_new_zipfile_serialization=kind == "new")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    refused(path, "damaged|lack|not tensors by their names")


def test_another_kind_of_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_text("<html>Please log in</html>")
    refused(path, "damaged, or of another kind")


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("new", [True, False])
def test_nothing_is_run(new: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({**tensors(), "more": Bomb(tmp_path / "ran")}, path, _use_new_zipfile_serialization=new)
    refused(path, r"it wants \w+\.mkdir to be run")
    assert not (tmp_path / "ran").exists()


def test_a_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inception-2015-12-05.pt"
    torch.save(tensors(), path)
    with zipfile.ZipFile(path, "a") as archive:  # what torch.jit.save adds
        archive.writestr("archive/constants.pkl", b"")
    refused(path, "TorchScript archive, so a program, which is not run")


def test_an_archive_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    path, packed = tmp_path / "weights.pth", tmp_path / "packed.pth"
    torch.save({"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(100_000)}, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in archive.infolist():
            target.writestr(entry.filename, archive.read(entry))
    assert packed.stat().st_size < 10_000
    refused(packed, "compressed, as no file of weights is")


@pytest.mark.parametrize("value", [[torch.zeros(2)], torch.zeros(2), {0: torch.zeros(2)}, 3])
def test_no_state_dict(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", "not tensors by their names")


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"a.bias": torch.zeros(3)}, r"not the weights of inception: a\.bias has the shape \(3,\), expected \(2,\)"),
        ({"a.bias": torch.zeros(())}, r"a\.bias has the shape \(\)"),
        ({"a.bias": torch.tensor([1.0, float("nan")])}, r"a\.bias has to be finite"),
        ({"a.bias": torch.tensor([1.0, float("inf")])}, r"a\.bias has to be finite"),
        ({"a.bias": torch.tensor([1, 2])}, r"a\.bias has to be finite numbers, not torch\.int64"),
        ({"a.weight": torch.zeros(2, 3).to_sparse()}, r"a\.weight has to be finite"),
        ({"a.weight": torch.zeros(1).expand(10**6, 10**6)}, r"a\.weight has the shape \(1000000, 1000000\)"),
        ({"a.bias": "text"}, r"they lack a\.bias of 2 tensors"),
    ],
)
def test_tensors_that_do_not_fit(changed: dict[str, object], match: str, tmp_path: Path) -> None:
    torch.save({**tensors(), **changed}, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", match)


def test_missing_tensors_are_counted(tmp_path: Path) -> None:
    torch.save({"b": torch.zeros(2)}, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth", r"they lack a\.weight and 1 more of 2 tensors")


def test_tensors_are_read_by_name(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3.0), "version": 2}, tmp_path / "weights.pth")
    assert {name: value.tolist() for name, value in read_tensors(tmp_path / "weights.pth").items()} == {"a": [0, 1, 2]}
