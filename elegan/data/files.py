"""Image files in a folder, and in a zip file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from elegan.data.layout import arrange
from elegan.data.source import Source, digest
from elegan.errors import DataError

MAX_FILE_BYTES = 256 << 20
MAX_RATIO = 200


class FolderSource(Source):
    """The images in a folder and the folders in it. Raises DataError if there is none, or not the split."""

    def __init__(self, folder: Path, where: str, split: str) -> None:
        self._folder = folder
        layout = arrange(where, list(_walk(folder)), split, self._read)
        self._names = layout.names
        super().__init__(
            folder.resolve().name,
            where,
            columns=layout.columns,
            class_column=layout.class_column,
            notes=layout.notes,
            nested=layout.nested,
        )

    def __len__(self) -> int:
        return len(self._names)

    def read(self, i: int) -> bytes:
        return self._read(self._names[i])

    def item_name(self, i: int) -> str:
        return self._names[i]

    def fingerprint_of_images(self) -> str:
        parts: list[object] = ["folder"]
        for name in self._names:
            parts += [name, *_size_and_time(self._folder / name)]
        return digest(*parts)

    def _read(self, name: str) -> bytes:
        path = self._folder / name
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise OSError(f"{size >> 20} MB, more than the {MAX_FILE_BYTES >> 20} MB that one file may have")
        return path.read_bytes()


class ZipSource(Source):
    """The images in a zip file; nothing is unpacked to disk. Raises DataError if it is no zip file or holds no image."""

    def __init__(self, path: Path, where: str, split: str) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise DataError(f"{where} cannot be read as a zip file ({error}): it may be cut off. Copy or download it again.") from error
        self._entries = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        layout = arrange(where, list(self._entries), split, self._read)
        self._names = layout.names
        super().__init__(path.stem, where, columns=layout.columns, class_column=layout.class_column, notes=layout.notes)

    def __len__(self) -> int:
        return len(self._names)

    def read(self, i: int) -> bytes:
        return self._read(self._names[i])

    def item_name(self, i: int) -> str:
        return self._names[i]

    def fingerprint_of_images(self) -> str:
        entries = (self._entries[name] for name in self._names)
        return digest("zip", *((entry.filename, entry.CRC, entry.file_size) for entry in entries))

    def _read(self, name: str) -> bytes:
        """The bytes of one entry. What it declares is checked first, so that a bomb is never inflated."""
        entry = self._entries[name]
        if entry.file_size > MAX_FILE_BYTES:
            raise OSError(f"unpacks to {entry.file_size >> 20} MB, more than the {MAX_FILE_BYTES >> 20} MB that one file may have")
        if entry.file_size > (1 << 20) and entry.file_size > MAX_RATIO * entry.compress_size:
            raise OSError(f"unpacks to {entry.file_size // max(entry.compress_size, 1)} times its size, which no image does")
        try:
            return self._zip.read(entry)
        except zipfile.BadZipFile as error:
            raise OSError(f"damaged in the zip file: {error}") from error


def _walk(folder: Path) -> Iterator[str]:
    """The files under `folder`, relative, with "/"; linked folders are followed, each real folder once."""
    seen = set[str]()
    for at, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(at)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        relative = Path(at).relative_to(folder)
        yield from ((relative / name).as_posix() for name in files)


def _size_and_time(path: Path) -> tuple[int, int]:
    """Size and time of change; zeros if the file is gone or a dangling link, which reading it will report."""
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns
