"""Figures and films of demonstrations, by matplotlib, which is an extra: `pip install 'elegan[plots]'`."""

from __future__ import annotations

import importlib.util
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from elegan.theory.demonstration import Draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REAL, GENERATED, JUDGE, QUIET = "#1f6fb4", "#e07b1a", "#2a8c4a", "#8a8a8a"
"""The colours of real samples, generated samples, the discriminator, and what stands beside."""

FORMS = (".png", ".svg", ".pdf")
DOTS = 110
"""Of each inch."""


def can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def picture(draw: Draw, size: tuple[float, float], form: str = ".png") -> bytes:
    """The figure that `draw` makes, `size` inches wide and high; form: one of `FORMS`."""
    buffer = BytesIO()
    drawn(draw, size).savefig(buffer, format=form.removeprefix("."), dpi=DOTS)
    return buffer.getvalue()


def film(frames: tuple[Draw, ...], size: tuple[float, float], milliseconds: int) -> bytes:
    """The frames as an animated WebP that runs again and again."""
    pictures = [pixels(frame, size) for frame in frames]
    buffer = BytesIO()
    pictures[0].save(buffer, "WEBP", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, quality=80)
    return buffer.getvalue()


def pixels(draw: Draw, size: tuple[float, float]) -> Image.Image:
    """What `picture` shows, without the time that packing and unpacking a PNG takes."""
    figure, buffer = drawn(draw, size), BytesIO()
    figure.set_dpi(DOTS)
    figure.savefig(buffer, format="rgba", dpi=DOTS)
    return Image.frombytes("RGBA", figure.canvas.get_width_height(), buffer.getvalue()).convert("RGB")


def drawn(draw: Draw, size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    return figure


def label(axes: Axes, title: str, x: str = "", y: str = "", legend: bool = False) -> None:
    """What every panel has: a title, names of its axes, a quiet frame, and a legend where there is something to tell apart."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(fontsize=8, frameon=False)


def line(low: float, high: float, count: int = 400) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """`count` even numbers from low to high."""
    return np.linspace(low, high, count)
