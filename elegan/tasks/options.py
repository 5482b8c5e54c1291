"""Options: words from the command line or from YAML, turned into values of the types that a signature asks for."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Literal

from elegan.errors import OptionError, nearest

WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
"""The types an option can have, and their names in a message."""

LARGEST = 2**63


def convert(name: str, value: object, kind: Any) -> Any:
    """`value`, often a word from the command line or from YAML, as the type `kind`; OptionError if it is none.

    kind: int, float, bool, str, a Literal, or one of these | None, for which the words none and null are None.
    """
    inner = without_none(kind)
    choices = typing.get_args(inner) if typing.get_origin(inner) is Literal else ()
    if inner is not kind and (value is None or (isinstance(value, str) and value.lower() in ("none", "null") and value not in choices)):
        return None
    if choices:
        return choice_of(name, value, choices)
    try:
        return scalar(value, inner)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        expected = EXPECTED.get(inner, type_name(inner)) + ("" if inner is kind else " or none")
        raise OptionError(f"--{dashed(name)}: got {shown(value)}, expected {expected}.") from error


def without_none(kind: Any) -> Any:
    """X for `X | None`; any other type as it is."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    kept = [part for part in typing.get_args(kind) if part is not type(None)]
    return kept[0] if len(kept) == 1 else kind


def choice_of(name: str, value: object, choices: tuple[Any, ...]) -> Any:
    """The choice that `value` is or spells: "2" is 2 where 2 is a choice."""
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    for choice in choices:
        with suppress(ValueError, KeyError, TypeError, OverflowError):
            if scalar(value, type(choice)) == choice:
                return choice
    meant = nearest(value if isinstance(value, str) else "", map(str, choices))
    raise OptionError(f"--{dashed(name)}: got {shown(value)}. {meant}")


def scalar(value: object, kind: Any) -> Any:
    """`value` as a bool, int, float or str; an error of Python's own if it is none."""
    if value is None or (isinstance(value, Collection) and not isinstance(value, str)):
        raise TypeError
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return within(value) if kind is int else value
    if kind is bool:
        return WORDS[str(value).lower()]
    return number(value, kind) if kind in (int, float) else kind(value)


def shown(value: object) -> str:
    """`value` as a message can hold it, however large it is."""
    if isinstance(value, str) and len(value) <= 100:
        return repr(value)
    from elegan.engine.run import shown as shortened

    return shortened(value)


def check_range(name: str, value: object, default: object) -> None:
    """OptionError for a count below 1 or a negative quantity, unless the default is such a number itself."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isinstance(default, (int, float)):
        return
    least = min(1 if isinstance(value, int) else 0, default)
    if not value >= least:
        raise OptionError(f"--{dashed(name)}: got {value}, expected at least {least}.")


def number(value: object, kind: Callable[[Any], Any]) -> Any:
    """1e3 is a whole number; 1.5 is not. Digits are read as they are: as a float, a large one would be another."""
    if kind is float:
        return float(str(value))
    with suppress(ValueError):
        return within(int(str(value)))
    if not float(str(value)).is_integer():
        raise ValueError
    return within(int(float(str(value))))


def within(value: Any) -> Any:
    """A whole number that 64 bits can hold; ValueError for others."""
    if not -LARGEST <= value < LARGEST:
        raise ValueError
    return value


def dashed(name: str) -> str:
    return name.replace("_", "-")


def is_option_type(kind: Any) -> bool:
    inner = without_none(kind)
    if typing.get_origin(inner) is Literal:
        return all(type(choice) in (str, int, bool) for choice in typing.get_args(inner))
    return any(inner is known for known in EXPECTED)


def type_name(kind: Any) -> str:
    """int, "batch|none" for a Literal, "int|none" for int | None."""
    if (inner := without_none(kind)) is not kind:
        return f"{type_name(inner)}|none"
    if typing.get_origin(kind) is Literal:
        return "|".join(map(spelled, typing.get_args(kind)))
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)


def spelled(value: object) -> str:
    """A value as one types it: true, none, 0.5."""
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
