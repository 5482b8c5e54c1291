"""Every test gets a cache of its own; pictures are made here, each from a seed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Make = Callable[..., Image.Image]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ELEGAN_CACHE", str(folder))
    return folder


@pytest.fixture
def picture() -> Make:
    """picture(width, height, mode, seed): random pixels."""

    def make(width: int = 16, height: int = 16, mode: str = "RGB", seed: int = 0) -> Image.Image:
        depth = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}[mode]
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *depth), dtype=np.uint8)
        return Image.fromarray(pixels) if mode != "CMYK" else Image.frombytes("CMYK", (width, height), pixels.tobytes())

    return make


@pytest.fixture
def folder(tmp_path: Path, picture: Make) -> Callable[..., Path]:
    """folder({"a/1.png": {"mode": "L"}, "notes.txt": b"..."}): the files, below tmp_path/photos."""

    def make(files: dict[str, Any], name: str = "photos") -> Path:
        for seed, (path, content) in enumerate(files.items()):
            target = tmp_path / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                image = content if isinstance(content, Image.Image) else picture(**{"seed": seed, **content})
                image.save(target)
        return tmp_path / name

    return make


@pytest.fixture
def broken(folder: Callable[..., Path], picture: Make) -> Path:
    """Two good images and one of each kind of broken file."""
    big = picture(200, 200, "RGB")
    return folder(
        {
            "a/good.png": {},
            "a/empty.png": b"",
            "a/text.png": b"this is no image",
            "b/bomb.png": _huge_png(30000, 30000),
            "b/cut.jpg": _half(big, "JPEG"),
            "b/cut.png": _half(big, "PNG"),
            "b/good.png": {},
            "b/eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n",
        }
    )


def _huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def _half(image: Image.Image, kind: str) -> bytes:
    file = BytesIO()
    image.save(file, kind)
    return file.getvalue()[: file.tell() // 2]
