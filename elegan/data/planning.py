"""Looking at all images before decoding any: which size and how many channels they are to get, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from elegan.data.images import FITS, MODES, Header, Unreadable, content, damage, header, open_image, quiet
from elegan.data.source import Source
from elegan.errors import DataError, nearest

SMALLEST, LARGEST, LARGEST_UNASKED, USUAL = 8, 1024, 256, 64
KINDS = {1: "grey", 2: "grey with transparency", 3: "RGB", 4: "RGB with transparency"}
FIT_WORDS = {
    "crop": "scaled to cover that, and cropped around the centre",
    "pad": "scaled to lie within that, and padded with black, or with transparency",
    "stretch": "stretched to that",
}


@dataclass
class Survey:
    """What the headers say: those of the readable images and the reasons why others are not, both by index."""

    headers: dict[int, Header] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)
    colour: bool = False
    alpha: bool = False


@dataclass(frozen=True)
class Wanted:
    """What is asked of every image: its size (height, width) and channels, None to choose them, and one of the `FITS`."""

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: str = "crop"

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise DataError(f"There is no fit {self.fit!r}. {nearest(self.fit, FITS)}")


@dataclass(frozen=True)
class Plan:
    """What becomes of every image: its size (height, width) and channels, how it comes to them, and the reasons as sentences."""

    size: tuple[int, int]
    channels: int
    fit: str
    notes: tuple[str, ...]

    @property
    def bytes_per_image(self) -> int:
        return self.size[0] * self.size[1] * self.channels


def survey(source: Source, known_broken: Mapping[int, str] | None = None) -> Survey:
    """Read the header of every image of `source` but those already known to be broken."""
    result = Survey(broken=dict(known_broken or {}))
    with quiet():
        for i in range(len(source)):
            if i not in result.broken:
                _look(source, i, result)
    return result


def _look(source: Source, i: int, result: Survey) -> None:
    try:
        with damage():
            image = open_image(source.read(i))
            found = header(image)
            if min(found.width, found.height) < SMALLEST:
                raise Unreadable(f"{found.width}x{found.height} pixels, under the smallest side of {SMALLEST}")
            colour, alpha = content(image, colour_known=result.colour, alpha_known=result.alpha)
    except Unreadable as error:
        result.broken[i] = str(error)
        return
    result.headers[i] = found
    result.colour |= colour
    result.alpha |= alpha


def make_plan(source: Source, found: Survey, wanted: Wanted) -> Plan:
    """Choose size and channels where they are not given. Raises DataError if they cannot be had, or if no image is readable."""
    if not found.headers:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in Counter(found.broken.values()).most_common(3))
        first = source.item_name(min(found.broken))
        what = f"None of the {len(found.broken)} image(s) in {source.where} can be used, the first being {first} ({reasons})"
        raise DataError(f"{what}: give others, {SMALLEST}x{SMALLEST} or larger.")
    sizes = Counter((one.height, one.width) for one in found.headers.values())
    chosen, notes = (_checked_size(wanted.size), []) if wanted.size is not None else _choose_size(sizes)
    kind, more = _choose_channels(found, wanted.channels)
    notes = [*notes, *_about_resizing(sizes, chosen, wanted.fit, kind), *more, *_about_frames(source, found)]
    return Plan(chosen, kind, wanted.fit, tuple(notes))


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    if not all(SMALLEST <= side <= LARGEST for side in size):
        raise DataError(f"Size {height}x{width} is not possible: expected both sides within {SMALLEST} to {LARGEST}. Give another --size.")
    return height, width


def _choose_size(sizes: Counter[tuple[int, int]]) -> tuple[tuple[int, int], list[str]]:
    """The images' own size if they share one within the limits, else a square that nearly all of them cover."""
    if len(sizes) == 1 and all(SMALLEST <= side <= LARGEST_UNASKED for side in next(iter(sizes))):
        return next(iter(sizes)), []
    sides = sorted(min(size) for size, count in sizes.items() for _ in range(count))
    # One icon among a thousand photographs must not decide for all: one image in twenty may be enlarged.
    side = max(SMALLEST, min(USUAL, sides[len(sides) // 20] // 8 * 8))
    what = f"{len(sizes)} different sizes" if len(sizes) > 1 else "{0[1]}x{0[0]} pixels".format(*sizes)
    return (side, side), [f"The images have {what}; {side}x{side} was chosen. Give a size to have another."]


def _about_resizing(sizes: Counter[tuple[int, int]], size: tuple[int, int], fit: str, channels: int) -> list[str]:
    """What scaling, and cropping, padding or stretching, does to images of `sizes`."""
    height, width = size
    total = sizes.total()
    done = {
        "crop": "cropped around the centre",
        "pad": f"padded with {'transparency' if channels in (2, 4) else 'black'}",
        "stretch": "stretched, which distorts them",
    }
    other = sum(count for (h, w), count in sizes.items() if abs(h * width - w * height) >= max(h, w))
    notes = [f"{other} of {total} images have another aspect ratio: {done[fit]}."] if other else []
    is_enlarged = all if fit == "pad" else any
    enlarged = sum(count for (h, w), count in sizes.items() if is_enlarged((h < height, w < width)))
    return notes + ([f"{enlarged} of {total} images are smaller than {height}x{width}: enlarged."] if enlarged else [])


def _about_frames(source: Source, found: Survey) -> list[str]:
    several = [i for i, one in found.headers.items() if one.is_first]
    what = f"{len(several)} of {len(found.headers)} images are animated, or have several pages"
    return [f"{what}, first {source.item_name(several[0])}: only the first picture of each is used."] if several else []


def _choose_channels(found: Survey, channels: int | None) -> tuple[int, list[str]]:
    if channels is not None and channels not in MODES:
        raise DataError(f"There is no image with {channels} channels: expected {', '.join(f'{k} ({kind})' for k, kind in KINDS.items())}.")
    own = (3 if found.colour else 1) + found.alpha
    modes = Counter(one.mode for one in found.headers.values())
    if channels is None:
        mixed = f" ({', '.join(f'{mode} {count}' for mode, count in modes.most_common())})" if len(modes) > 1 else ""
        return own, [f"Images of different modes{mixed} become {KINDS[own]}."] if mixed else []
    notes = ["Transparent pixels are laid on white."] if found.alpha and channels in (1, 3) else []
    return channels, notes + (["Colours become grey."] if found.colour and channels < 3 else [])
