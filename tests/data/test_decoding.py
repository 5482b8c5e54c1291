"""Odd images come out in the right mode, the right size and the right way up."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elegan.data import ImageData, open_data, prepare
from elegan.data.images import Unreadable, decode
from elegan.errors import DataError

Make = Callable[..., Image.Image]
Folder = Callable[..., Path]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def prepared(folder: Folder, content: object, name: str = "1.png", **options: object) -> ImageData:
    return prepare(open_data(str(folder({name: content}))), **options)  # type: ignore[arg-type]


def test_lossless_pixels_are_unchanged(folder: Folder, picture: Make) -> None:
    image = picture(37, 21, "RGB")
    assert np.array_equal(prepared(folder, image).images[0], np.asarray(image))


def test_odd_sized_grey_keeps_its_size(folder: Folder, picture: Make) -> None:
    data = prepared(folder, picture(21, 37, "L"))
    assert data.spec.shape == (1, 37, 21)
    assert np.array_equal(data.images[0, :, :, 0], np.asarray(picture(21, 37, "L")))


def test_rgba_keeps_its_transparency(folder: Folder, picture: Make) -> None:
    data = prepared(folder, picture(30, 20, "RGBA"))
    assert data.spec.shape == (4, 20, 30)
    assert np.array_equal(data.images[0], np.asarray(picture(30, 20, "RGBA")))


def test_transparency_that_hides_nothing_is_dropped(folder: Folder, picture: Make) -> None:
    assert prepared(folder, picture(16, 16, "RGB").convert("RGBA")).spec.channels == 3
    assert prepared(folder, picture(16, 16, "L").convert("LA"), "2/1.png").spec.channels in (1, 3)


@pytest.mark.parametrize(("alpha", "channels"), [(255, 1), (100, 2)])
def test_grey_with_alpha(folder: Folder, picture: Make, alpha: int, channels: int) -> None:
    image = picture(16, 16, "L").convert("LA")
    image.putalpha(alpha)
    data = prepared(folder, image)
    assert data.spec.channels == channels
    assert np.array_equal(data.images[0, :, :, 0], np.asarray(picture(16, 16, "L")))
    assert channels == 1 or (data.images[0, :, :, 1] == 100).all()


def test_sixteen_bit_grey_is_scaled_not_clipped(folder: Folder) -> None:
    values = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    data = prepared(folder, Image.fromarray(values))
    assert data.spec.channels == 1
    assert np.array_equal(data.images[0, :, :, 0], np.rint(values / 257))


def test_cmyk_becomes_rgb(folder: Folder) -> None:
    data = prepared(folder, Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "1.jpg")
    assert data.spec.channels == 3
    red, green, blue = data.images[0].reshape(-1, 3).mean(0)
    assert red > 200
    assert green < 60
    assert blue < 60


def test_palettes_become_what_they_show(folder: Folder, picture: Make) -> None:
    colour = picture(16, 16, "RGB").quantize(16)
    grey = picture(16, 16, "L").quantize(16)
    assert np.array_equal(prepared(folder, colour).images[0], np.asarray(colour.convert("RGB")))
    data = prepare(open_data(str(folder({"g.png": grey}, "grey"))))
    assert data.spec.channels == 1
    assert np.array_equal(data.images[0, :, :, 0], np.asarray(grey.convert("RGB"))[..., 0])


def test_a_transparent_palette_colour_becomes_alpha(folder: Folder) -> None:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 0, 16, 8))
    image.info["transparency"] = 1
    data = prepared(folder, image)
    assert data.spec.channels == 4
    assert data.images[0, 0, 0, 3] == 0
    assert tuple(data.images[0, 15, 0]) == (255, 0, 0, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = np.zeros((24, 40), np.uint8)
    upright[:12, :10] = 255  # Light in the upper left corner only, so that each of the eight orientations shows.
    turns = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud}
    turns |= {5: np.transpose, 6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    (tmp_path / "1.png").write_bytes(encoded(stored, kind, exif=exif))
    data = prepare(open_data(str(tmp_path)))
    assert data.spec.shape == (1, 24, 40)
    assert np.abs(data.images[0, :, :, 0].astype(int) - upright).max() < 40


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff"])
def test_animations_give_their_first_frame_and_say_so(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "webp" else {}
    frames[1].save(tmp_path / f"still.{kind}", **options)  # type: ignore[arg-type]
    frames[0].save(tmp_path / f"moving.{kind}", save_all=True, append_images=frames[1:], **options)  # type: ignore[arg-type]
    data = prepare(open_data(str(tmp_path)))
    assert [tuple(image[0, 0]) for image in data.images] == [(255, 0, 0), (0, 0, 255)]
    assert any(f"1 of 2 images are animated, or have several pages, first moving.{kind}" in note for note in data.notes)


def test_the_small_copy_in_a_phones_jpeg_makes_no_animation(tmp_path: Path) -> None:
    large, small = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (16, 16), "red")
    large.save(tmp_path / "1.jpg", "MPO", save_all=True, append_images=[small])
    data = prepare(open_data(str(tmp_path)))
    assert data.spec.shape == (3, 32, 32)
    assert data.notes == []


def test_a_still_picture_before_a_damaged_frame_is_kept(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    raw = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    (tmp_path / "1.gif").write_bytes(raw[: len(raw) - 40])
    assert tuple(prepare(open_data(str(tmp_path))).images[0, 0, 0]) == (255, 0, 0)


def test_cropping_keeps_the_middle(folder: Folder) -> None:
    image = Image.new("RGB", (96, 64), "red")
    image.paste("blue", (16, 0, 80, 64))
    data = prepared(folder, image, size=(32, 32))
    assert (data.images[0] == (0, 0, 255)).all(axis=-1)[:, 4:-4].all()
    assert any("cropped" in note for note in data.notes)


STRIPES = np.zeros((64, 96, 3), np.uint8)
STRIPES[:, :16, 0] = STRIPES[:, -16:, 2] = STRIPES[:, 16:-16, 1] = 255
"""3:2, red on the left, green, and blue on the right."""


def test_padding_keeps_the_whole_image_in_the_middle_of_black(folder: Folder) -> None:
    data = prepared(folder, Image.fromarray(STRIPES), size=(48, 48), fit="pad")
    image = data.images[0]
    assert (image[:8] == 0).all()
    assert (image[-8:] == 0).all()
    assert image[8:-8].any(axis=-1).all()
    assert tuple(image[24, 1]) == (255, 0, 0)
    assert tuple(image[24, -2]) == (0, 0, 255)
    assert any("1 of 1 images have another aspect ratio: padded with black" in note for note in data.notes)


def test_padding_is_transparent_where_there_is_transparency(folder: Folder) -> None:
    image = Image.new("RGBA", (16, 32), (255, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    data = prepared(folder, image, size=(32, 32), fit="pad")
    assert (data.images[0, :, :8] == 0).all()
    assert (data.images[0, :, -8:] == 0).all()
    assert (data.images[0, 1:, 8:-8] == (255, 0, 0, 255)).all()
    assert any("padded with transparency" in note for note in data.notes)


def test_stretching_shows_the_whole_image_and_says_that_it_distorts(folder: Folder) -> None:
    data = prepared(folder, Image.fromarray(STRIPES), size=(48, 48), fit="stretch")
    assert [tuple(data.images[0, row, column]) for row, column in ((0, 1), (24, 24), (47, 46))] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert any("stretched, which distorts them" in note for note in data.notes)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(16, 24), (8, 12), (64, 96), (32, 48)])
def test_images_of_the_same_shape_come_out_alike_however_they_fit(picture: Make, fit: str, size: tuple[int, int]) -> None:
    raw = encoded(picture(48, 32, "RGB"))
    assert decode(raw, size, 3, fit) == decode(raw, size, 3, "crop")


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_each_fit_gives_the_size_in_each_mode(picture: Make, fit: str, mode: str) -> None:
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[mode]
    for width, height in ((9, 256), (256, 9), (21, 37)):
        assert len(decode(encoded(picture(width, height, mode)), (16, 24), channels, fit)) == 16 * 24 * channels


def test_an_unknown_fit_gets_the_nearest(folder: Folder) -> None:
    with pytest.raises(DataError, match=r"no fit 'padd'\. Did you mean 'pad'"):
        prepared(folder, {}, fit="padd")


def test_shrinking_averages_and_growing_interpolates(picture: Make) -> None:
    noise = picture(128, 128, "L")
    small = np.frombuffer(decode(encoded(noise), (8, 8), 1, "crop"), np.uint8)
    assert abs(small.mean() - np.asarray(noise).mean()) < 4
    assert small.std() < 12
    large = np.frombuffer(decode(encoded(Image.linear_gradient("L").resize((8, 8))), (32, 32), 1, "crop"), np.uint8).reshape(32, 32)
    assert len(np.unique(large[:, 16])) > 16


def test_a_large_jpeg_decoded_in_part_equals_the_whole() -> None:
    gradient = Image.linear_gradient("L").resize((1024, 768)).convert("RGB")
    small = np.frombuffer(decode(encoded(gradient, "JPEG", quality=95), (48, 64), 3, "crop"), np.uint8).reshape(48, 64, 3)
    exact = np.asarray(gradient.resize((64, 48), Image.Resampling.BOX))
    assert np.abs(small.astype(int) - exact).max() <= 4


def test_dropped_transparency_is_laid_on_white(folder: Folder) -> None:
    data = prepared(folder, Image.new("RGBA", (16, 16), (255, 0, 0, 0)), channels=3)
    assert (data.images == 255).all()
    assert any("white" in note for note in data.notes)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_mode_becomes_every_number_of_channels(mode: str, channels: int) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "TIFF" if mode in ("PA", "I", "I;16") else "PNG"
    raw = encoded(Image.new(mode, (16, 12), 0 if mode != "RGB" else "black"), kind)
    assert len(decode(raw, (12, 16), channels, "crop")) == 12 * 16 * channels


def test_float_pixels_are_refused() -> None:
    with pytest.raises(Unreadable, match="floating-point"):
        decode(encoded(Image.new("F", (16, 16)), "TIFF"), (16, 16), 1, "crop")
