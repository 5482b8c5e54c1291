"""Seeds as they are written: numbers, ranges, and whatever holds whole numbers."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from elegan.errors import OptionError

MOST_SEEDS = 1_000_000
"""At one time: the pictures are in memory together."""

RANGE = re.compile(r"([0-9]{1,19})(?:-([0-9]{1,19}))?")


def parse_seeds(seeds: str | int | Iterable[int]) -> tuple[int, ...]:
    """ "0-3" -> (0, 1, 2, 3); "1,2,5-7" -> (1, 2, 5, 6, 7); a whole number, or an array, a tensor, a range of such, as it is.

    OptionError for anything else, for none at all, and for seeds outside 0 to 2**63 - 1.
    """
    try:
        found = parse_ranges(seeds) if isinstance(seeds, str) else whole_numbers(seeds)
        numbers = tuple(islice(found, MOST_SEEDS + 1))
    except (TypeError, ValueError) as error:
        said = repr(seeds[:100]) if isinstance(seeds, str) else f"{type(seeds).__name__} that is not made of whole numbers"
        raise OptionError(f"--seeds: got {said}, expected numbers and ranges such as 0-35 or 1,2,5-10.") from error
    if len(numbers) > MOST_SEEDS:
        raise OptionError(f"--seeds: got more than {MOST_SEEDS:,} seeds. Make them in parts.")
    if not numbers:
        raise OptionError("--seeds: got none, expected at least one, such as 0.")
    for number in numbers:
        if not 0 <= number < 2**63:
            raise OptionError(f"--seeds: got {number:.4g}, expected numbers from 0 to 2**63 - 1.")
    return numbers


def parse_ranges(text: str) -> Iterator[int]:
    """ValueError where `text` is not made of numbers and ranges."""
    for part in text.split(","):
        found = RANGE.fullmatch(part.strip())
        if found is None:
            raise ValueError
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise ValueError
        yield from range(first, last + 1)


def whole_numbers(seeds: int | Iterable[int]) -> Iterator[int]:
    """TypeError where something is no whole number: 1.0 is none."""
    try:
        return iter((operator.index(seeds),))  # type: ignore[arg-type]
    except TypeError:
        return map(operator.index, iter(seeds))  # type: ignore[arg-type]
