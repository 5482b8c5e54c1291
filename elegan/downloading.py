"""Fetching a file from the network: what comes is bounded, a broken connection is noticed, and each failure is one line."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from elegan.errors import DataError

BLOCK = 1 << 18
SECONDS = 30

Failure = Callable[[str], str]
"""What to say, given the reason."""


def download(address: str, target: Path, limit: int, most: str, failure: Failure) -> None:
    """Write what is at the address to `target`. most: the limit in words.

    Raises DataError, saying `failure(reason)`, if the network fails, if more than `limit` bytes come, or others than were announced.
    """
    request = urllib.request.Request(address, headers={"User-Agent": "elegan"})
    with target.open("wb") as file:
        with network(failure):
            response = urllib.request.urlopen(request, timeout=SECONDS)
        with response:
            announced = response.headers.get("Content-Length")
            for block in blocks(response, failure):
                if file.tell() + len(block) > limit:
                    raise DataError(failure(f"more than {most} came"))
                file.write(block)
        if announced is not None and int(announced) != file.tell():
            raise DataError(failure(f"the connection broke off after {file.tell()} of {announced} bytes"))


def blocks(response: IO[bytes], failure: Failure) -> Iterator[bytes]:
    while True:
        with network(failure):
            block = response.read(BLOCK)
        if not block:
            return
        yield block


@contextmanager
def network(failure: Failure) -> Iterator[None]:
    """DataError where the network fails; what the disk raises is not taken for it."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        cause = error.reason if type(error) is urllib.error.URLError else error
        raise DataError(failure(f"{cause}" or type(cause).__name__)) from error
