"""Ranges of settings, written in the annotations of their fields: `lam: Annotated[float, Ge(0)]`, `Literal["edit", "original"]`.

The words are those of `annotated_types`; `config.build` checks values against them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Interval


@dataclass(frozen=True)
class Matches:
    """A text that fits a regular expression as a whole; `wanted` says so in words."""

    pattern: str
    wanted: str


Device = Annotated[
    str, Matches(r"cpu|mps|cuda(:\d+)?", "cpu, cuda, cuda:N or mps")
]  # the name of one of torch's

RANGES: dict[type, tuple[Callable[[Any, Any], object], Callable[[Any], str]]] = {
    Ge: (lambda range_, value: value >= range_.ge, lambda range_: f"a number of at least {range_.ge:g}"),
    Gt: (lambda range_, value: value > range_.gt, lambda range_: f"a number above {range_.gt:g}"),
    Interval: (
        lambda range_, value: range_.ge <= value <= range_.le,
        lambda range_: f"a number from {range_.ge:g} to {range_.le:g}",
    ),
    Matches: (lambda range_, value: re.fullmatch(range_.pattern, value), lambda range_: range_.wanted),
}


def plain(annotation: Any) -> Any:
    """Return the type that is left of an annotation without its ranges: `float | None` of `Annotated[float, Ge(0)] | None`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return plain(arguments[0])
    if origin is Literal:
        return type(arguments[0])
    if origin is list:
        return list[plain(arguments[0])]  # type: ignore[misc]
    if origin in (Union, UnionType):
        return Union[tuple(plain(argument) for argument in arguments)]  # noqa: UP007 - made at run time
    return annotation


def wanted(annotation: Any, value: Any) -> str | None:
    """Return what the annotation asks for, if `value` (of its plain type) is out of range; None where all is well."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if value is None:
        return None
    if origin in (Union, UnionType):
        return next((missed for a in arguments if a is not NoneType and (missed := wanted(a, value))), None)
    if origin is list:
        return next((f"{missed} for each" for v in value if (missed := wanted(arguments[0], v))), None)
    if origin is Literal:
        return None if value in arguments else "one of " + ", ".join(map(str, arguments))
    for range_ in arguments[1:] if origin is Annotated else ():
        fits, words = RANGES[type(range_)]
        if not fits(range_, value):
            return words(range_)
    return None
