"""The values of flags: lists separated by commas, and initial weights."""

from typing import Any

from .. import initializers
from ..errors import InputError
from ..training import RunConfig


def words(text: str) -> list[str]:
    """Split a text at its commas."""
    return [part.strip() for part in text.split(",")] if text.strip() else []


def sizes(flag: str, text: str) -> tuple[int, ...]:
    """Parse whole numbers, such as 100,100; return none for an empty text."""
    try:
        return tuple(int(part) for part in words(text))
    except ValueError:
        raise InputError(f"{flag}: got {text!r}, expected sizes separated by commas, such as 100,100.") from None


def numbers(flag: str, text: str | None) -> list[float] | None:
    """Parse numbers, such as 0.01,0.1; return None for a flag that was not given."""
    if text is None:
        return None
    try:
        return [float(part) for part in words(text)]
    except ValueError:
        raise InputError(f"{flag}: got {text!r}, expected numbers separated by commas, such as 0.01,0.1.") from None


def named_numbers(flag: str, text: str | None) -> "float | dict[str, float] | None":
    """Parse one number, or numbers by name, such as sgd=0.1,adam=0.001; return None for a flag that was not given."""
    if text is None:
        return None
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.split("=") for part in words(text)]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise InputError(
            f"{flag}: got {text!r}, expected a number, or NAME=NUMBER pairs, such as sgd=0.1,adam=0.001."
        ) from None


def network(hidden: str, activation: str, init: str | None, batchnorm: bool, dropout: float) -> RunConfig:
    """Parse the flags that describe a network; raise for settings that make none, before any data are loaded."""
    config = RunConfig(
        hidden=sizes("--hidden", hidden),
        activation=activation,
        init=initialiser(init),
        batchnorm=batchnorm,
        dropout=dropout,
    )
    config.network(2)
    return config


def number_or_word(text: str) -> "str | float":
    """Return a number if the text is one, else the text."""
    try:
        return float(text)
    except ValueError:
        return text


def initialiser(text: str | None) -> initializers.Init:
    """Parse he, xavier or a standard deviation; return None for a flag that was not given."""
    checked: Any = None if text is None else initializers.check(number_or_word(text))
    return checked  # type: ignore[no-any-return]
