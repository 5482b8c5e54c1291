"""Downloads: only when allowed, checked, kept, and never half there. The network is a server in this process."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elegan.data import cache_folder, clear_cache, downloads, inspect_data, open_data, prepare
from elegan.errors import DataError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = [3, 1, 4, 1, 5, 9]
CONTENT = hashlib.sha256(PIXELS.tobytes() + bytes(LABELS)).hexdigest()


def parquet(pixels: np.ndarray = PIXELS, labels: list[int] = LABELS) -> bytes:
    def png(image: np.ndarray) -> bytes:
        file = BytesIO()
        Image.fromarray(image).save(file, "PNG")
        return file.getvalue()

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": png(image), "path": None} for image in pixels], kind)
    file = BytesIO()
    pq.write_table(pa.table({"image": images, "label": labels}), file)
    return file.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Answers each request with `status`, `body` and the length `announced`, and counts them."""

    status, body, announced, requests = 200, b"", -1, 0


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        self.send_response(self.server.status)
        length = len(self.server.body) if self.server.announced < 0 else self.server.announced
        if length:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        point_to(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}/train.parquet")
        server.body = parquet()
        yield server
        server.shutdown()


def point_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """mnist is what is at `address`, and has to be our six images."""
    part = downloads.Part(address, 1, CONTENT)
    monkeypatch.setitem(downloads.DOWNLOADS, "mnist", replace(downloads.DOWNLOADS["mnist"], parts={"train": part, "test": part}))


def nothing_is_left() -> bool:
    return not [path for path in cache_folder().rglob("*") if path.is_file()] and not list(cache_folder().rglob(".making*"))


def refused(*words: str, **options: object) -> None:
    with pytest.raises(DataError) as caught:
        open_data("mnist", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert nothing_is_left()


def test_nothing_is_downloaded_that_was_not_allowed(server: Server) -> None:
    address = downloads.DOWNLOADS["mnist"].parts["train"].address
    refused("mnist is not here", address, "1 MB", "licence: MIT", str(cache_folder()), "--download")
    assert server.requests == 0


def test_what_is_allowed_is_downloaded_checked_and_kept(server: Server) -> None:
    said = list[str]()
    data = prepare(open_data("mnist", download=True, announce=said.append))
    assert np.array_equal(data.images[..., 0], PIXELS)
    assert data.spec.classes == ("1", "3", "4", "5", "9")
    assert data.name == data.where == "mnist"
    assert "Downloading http://127.0.0.1" in said[0]
    assert str(cache_folder()) in said[0]
    assert "what they should be" in said[1]
    again = prepare(open_data("mnist"))
    assert again.cache == data.cache
    assert server.requests == 1


def test_each_split_is_downloaded_on_its_own(server: Server) -> None:
    assert inspect_data("mnist", split="test", download=True).count == 6
    with pytest.raises(DataError, match="its train split would be downloaded"):
        open_data("mnist")


def test_clearing_the_cache_frees_the_download(server: Server) -> None:
    open_data("mnist", download=True)
    assert inspect_data("mnist").cache_bytes == len(server.body)
    assert clear_cache() == len(server.body)
    refused("mnist is not here")


@pytest.mark.parametrize("body", [parquet(labels=[3, 1, 4, 1, 5, 8]), parquet(255 - PIXELS), parquet(PIXELS[:, :20]), b"<html>no", b""])
def test_other_images_or_labels_are_deleted(server: Server, body: bytes) -> None:
    server.body = body
    refused("is not the mnist that is known", "deleted", CONTENT, download=True)


def test_a_connection_that_breaks_off_leaves_nothing(server: Server) -> None:
    server.announced = len(server.body)
    server.body = server.body[:-1000]
    refused("could not be downloaded", "broke off", "try again", download=True)


def test_an_answer_that_never_ends_is_cut(server: Server) -> None:
    server.announced, server.body = 0, b"x" * (3 << 20)
    refused("could not be downloaded", "more than 2 MB came", download=True)


def test_an_answer_of_failure_is_one_line(server: Server) -> None:
    server.status = 404
    refused("could not be downloaded", "404", "give it by its path", download=True)


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(monkeypatch, "http://127.0.0.1:1/train.parquet")
    refused("could not be downloaded", "refused", download=True)


def test_an_interrupt_leaves_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(source: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "content_of", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_data("mnist", download=True)
    assert nothing_is_left()


def test_a_full_disk_is_not_blamed_on_the_network(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10}))
    refused("is full", "ELEGAN_CACHE", download=True)


def test_a_copy_of_ones_own_needs_no_download(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train.parquet").write_bytes(server.body)
    monkeypatch.chdir(tmp_path)
    source = open_data("mnist", download=True)
    assert len(source) == 6
    assert any("because it is here" in note for note in source.notes)
    assert server.requests == 0


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_known_hashes_are_those_of_the_real_images(name: str, data_folder: Path) -> None:
    path = data_folder / name / "test.parquet"
    if not path.exists():
        pytest.skip(f"ELEGAN_DATA holds no {name}")
    source = open_data(str(path))
    assert isinstance(source, downloads.RowsSource)
    assert downloads.content_of(source) == downloads.DOWNLOADS[name].parts["test"].content


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_addresses_are_secure_and_those_of_the_split(name: str) -> None:
    for split, part in downloads.DOWNLOADS[name].parts.items():
        assert part.address.startswith("https://huggingface.co/datasets/")
        assert part.address.endswith(f"{split}-00000-of-00001.parquet")
        assert len(part.content) == 64


def test_a_name_that_is_nearly_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="Did you mean 'fashion_mnist'"):
        open_data("fashion-mnist")
