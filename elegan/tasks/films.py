"""Films: pictures one after the other in a file. WebP and GIF by Pillow, MP4 by imageio, which is an extra."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elegan.errors import OptionError, RunError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMS = (".webp", ".gif", ".mp4")


def check_film(target: Path, per_second: float) -> None:
    """OptionError for a rate that no film has, or an MP4 without what makes it: before pictures are made for nothing."""
    if not 0 < per_second <= 50:
        raise OptionError(f"--fps: got {per_second}, expected a number above 0 and up to 50, the most that all formats show.")
    if target.suffix.lower() == ".mp4":
        encoder()


def encoder() -> Any:
    try:
        importlib.import_module("imageio_ffmpeg")
        return importlib.import_module("imageio.v2")
    except ImportError as error:
        raise OptionError("--out: an MP4 needs imageio: pip install 'elegan[video]'. NAME.webp and NAME.gif need nothing more.") from error


def write_film(target: Path, pictures: Sequence[Image], per_second: float, hold: float = 0.0) -> Path:
    """Write `pictures`, of one size, by the ending of `target`; the last is shown `hold` seconds longer. WebP and GIF run on and on."""
    from elegan.tasks.exploring import make_folder, write

    frames = [opaque(picture) for picture in pictures]
    if target.suffix.lower() == ".mp4":
        make_folder(target.parent)
        write_mp4(target, [*frames, *frames[-1:] * round(hold * per_second)], per_second)
        return target
    buffer, milliseconds = BytesIO(), [round(1000 / per_second)] * len(frames)
    milliseconds[-1] += round(1000 * hold)
    form = "GIF" if target.suffix.lower() == ".gif" else "WEBP"
    quality = {} if form == "GIF" else {"quality": 90, "method": 2}
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, **quality)
    return write(target, buffer.getvalue())


def opaque(picture: Image) -> Image:
    """Grey or RGB, with white behind what is transparent."""
    from PIL import Image

    if picture.mode not in ("LA", "RGBA"):
        return picture
    page = Image.new("RGBA", picture.size, "white")
    page.alpha_composite(picture.convert("RGBA"))
    return page.convert("RGB")


def write_mp4(target: Path, frames: Sequence[Image], per_second: float) -> None:
    """H.264 with the colours of half the pixels, as every player takes it: sides are even, by one more row or column of black."""
    import numpy as np

    from elegan.engine.checkpoint import reason

    temporary = target.with_name(f".{target.stem}.{os.getpid()}.mp4")
    try:
        with encoder().get_writer(temporary, format="FFMPEG", fps=per_second, quality=8, macro_block_size=2) as writer:
            for frame in frames:
                colours = np.asarray(frame.convert("RGB"))
                writer.append_data(np.pad(colours, [(0, side % 2) for side in colours.shape[:2]] + [(0, 0)]))
        os.replace(temporary, target)
    except OSError as error:
        raise RunError(f"could not write {target}: {reason(error)}. Choose another place with --out.") from error
    finally:
        temporary.unlink(missing_ok=True)
