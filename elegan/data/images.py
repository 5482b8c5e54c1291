"""Decoding one image: whatever a file holds becomes 8-bit pixels of one size and one number of channels, the right way up."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from elegan.data.source import Pixels

MAX_PIXELS = 178_000_000
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# Only formats that hold pixels: EPS, for one, would start another program.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF")
_GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})
_ORIENTATION = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's readers and the sources raise on damaged files; all of it means "this one image cannot be read".
_DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
    RuntimeError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


class Unreadable(Exception):
    """One image cannot be read; the message is the reason, for a person."""


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are decoded: the size it has when upright, its Pillow mode, and whether
    it is the first of several in its file."""

    width: int
    height: int
    mode: str
    is_first: bool = False


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings from Pillow in here: what matters in them is checked for and reported by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def damage() -> Iterator[None]:
    """Turns every error that a damaged image causes into Unreadable with a reason."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise Unreadable("not an image in a known format") from error
    except Image.DecompressionBombError as error:
        raise Unreadable(_too_large()) from error
    except _DAMAGE as error:
        raise Unreadable(f"{error}".splitlines()[0] if f"{error}" else type(error).__name__) from error


def open_image(raw: bytes | Pixels) -> Image.Image:
    """The image in `raw`, its header read, its pixels not yet decoded. Raises Unreadable and the errors that `damage` turns into it."""
    if isinstance(raw, np.ndarray):
        return Image.fromarray(raw)
    if not raw:
        raise Unreadable("the file is empty")
    image = Image.open(BytesIO(raw), formats=_formats())
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(_too_large())
    return image


def header(image: Image.Image) -> Header:
    """The size that `image` has once it is upright, its mode, and whether others follow it."""
    width, height = image.size
    # A PNG without EXIF ahead of its pixels would be decoded just to look for some behind them.
    looked_for = image.format not in (None, "PNG") or "exif" in image.info
    if looked_for and _orientation(image) >= 5:
        width, height = height, width
    return Header(width, height, image.mode, _is_first(image))


def content(image: Image.Image, *, colour_known: bool, alpha_known: bool) -> tuple[bool, bool]:
    """Whether `image` has colour, by its mode or palette, and whether any pixel is not fully opaque.

    Pixels are decoded only where the answer needs them and is not known yet from other images.
    """
    if image.mode in ("P", "PA") and not (colour_known and (alpha_known or not image.has_transparency_data)):
        rgba = image.convert("RGBA")
        return _has_colour(rgba), _has_alpha(rgba)
    colour = image.mode not in _GREY
    if alpha_known or not image.has_transparency_data:
        return colour, False
    return colour, _has_alpha(image)


def decode(raw: bytes | Pixels, size: tuple[int, int], channels: int, fit: str) -> bytes:
    """The pixels of one image, row by row: height * width * channels bytes for `size` (height, width).

    The image is turned upright, brought to 8 bits and `channels` (1 grey, 2 grey and alpha, 3 RGB, 4 RGBA), and to
    `size` by one of the `FITS`. Raises Unreadable.
    """
    with damage():
        image = open_image(raw)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            # JPEG can be decoded at 1/2, 1/4 or 1/8; twice the wanted size leaves the resampling its work.
            image.draft(None, (2 * max(size), 2 * max(size)))
        image.load()
        return FITS[fit](to_mode(eight_bit(upright(image)), MODES[channels]), size).tobytes()


def upright(image: Image.Image) -> Image.Image:
    """`image` turned the way its EXIF orientation says."""
    if not image.info and image.format != "TIFF":
        return image
    method = _TRANSPOSES.get(_orientation(image))
    return image if method is None else image.transpose(method)


def eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey brought to 8 bits, so that 65535 becomes 255; other modes unchanged. Raises Unreadable for float pixels."""
    if image.mode == "F":
        raise Unreadable("floating-point pixels, which have no fixed range")
    if not image.mode.startswith("I"):
        return image
    values = np.rint(np.asarray(image) / 257)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """`image` in `mode` (L, LA, RGB or RGBA). Where alpha is dropped, the image is laid on white."""
    transparent = image.has_transparency_data
    if image.mode == mode and (mode in ("LA", "RGBA") or not transparent):
        return image
    if transparent:
        image = image.convert("RGBA")
        if mode in ("L", "RGB"):
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode not in ("L", "1"):
        image = image.convert("RGB")
    return image.convert(mode)


def crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`image` scaled to cover `size` (height, width) and cropped around its centre."""
    height, width = size
    scale = max(width / image.width, height / image.height)
    across, down = width / scale, height / scale
    left, top = (image.width - across) / 2, (image.height - down) / 2
    return _resized(image, size, (left, top, min(left + across, image.width), min(top + down, image.height)))


def pad(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The whole `image`, scaled to lie within `size` (height, width), in the middle of black; transparent black if it has alpha."""
    height, width = size
    scale = min(width / image.width, height / image.height)
    across, down = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    ground = Image.new(image.mode, (width, height))
    ground.paste(stretch(image, (down, across)), ((width - across) // 2, (height - down) // 2))
    return ground


def stretch(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The whole `image`, scaled to `size` (height, width), whatever its own shape."""
    return _resized(image, size, (0, 0, image.width, image.height))


FITS: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {"crop": crop, "pad": pad, "stretch": stretch}
"""How an image comes to a size of another shape."""


def _resized(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """The part `box` (left, top, right, bottom) of `image`, as `size` (height, width)."""
    height, width = size
    if image.size == (width, height):
        return image
    if width > box[2] - box[0] and height > box[3] - box[1]:
        return image.resize((width, height), Image.Resampling.BICUBIC, box=box)
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


@cache
def _formats() -> list[str]:
    """Those of our formats that this build of Pillow can read."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:  # Damaged EXIF around good pixels: the picture is worth keeping as it is stored.
        return 1


def _is_first(image: Image.Image) -> bool:
    """Whether it is the first frame of an animation, or the first page. The second picture of a phone's JPEG (MPO) is but a small copy."""
    try:
        return bool(getattr(image, "is_animated", False)) and image.format != "MPO"
    except _DAMAGE:  # A good picture before a damaged one.
        return False


def _has_colour(rgba: Image.Image) -> bool:
    pixels = np.asarray(rgba)
    red, green, blue, seen = (pixels[..., k] for k in range(4))
    return bool((((red != green) | (green != blue)) & (seen > 0)).any())


def _has_alpha(image: Image.Image) -> bool:
    rgba = image if image.mode in ("LA", "RGBA") else image.convert("RGBA")
    return bool(np.asarray(rgba.getchannel("A")).min() < 255)


def _too_large() -> str:
    return f"more than {MAX_PIXELS // 1_000_000} million pixels"
