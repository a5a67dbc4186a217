"""Ranges of settings, written on the fields they bind: `lam: float = at_least(0)`. Checked by `config.build`."""

import re
from dataclasses import Field, field
from typing import Any


def at_least(low: float, **default: Any) -> Any:
    """A number >= `low`; may have a `default`."""
    return field(
        metadata={"wanted": f"a number of at least {low:g}", "ok": lambda value: value >= low}, **default
    )


def above(low: float) -> Any:
    """A number > `low`."""
    return field(metadata={"wanted": f"a number above {low:g}", "ok": lambda value: value > low})


def between(low: float, high: float) -> Any:
    """A number in [low, high]."""
    return field(
        metadata={"wanted": f"a number from {low:g} to {high:g}", "ok": lambda value: low <= value <= high}
    )


def one_of(*choices: str | int) -> Any:
    """One of a few words or numbers."""
    return field(
        metadata={"wanted": "one of " + ", ".join(map(str, choices)), "ok": lambda value: value in choices}
    )


def a_device() -> Any:
    """The name of a device of torch."""
    return field(
        metadata={
            "wanted": "cpu, cuda, cuda:N or mps",
            "ok": lambda value: re.fullmatch(r"cpu|mps|cuda(:\d+)?", value),
        }
    )


def broken(spec: "Field[Any]", value: Any) -> str | None:
    """What the field wanted, if `value` is not that; None where it is fine or nothing was asked."""
    if value is None or "ok" not in spec.metadata or spec.metadata["ok"](value):
        return None
    return str(spec.metadata["wanted"])
