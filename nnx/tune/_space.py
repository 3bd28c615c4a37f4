"""The ranges of a search: numbers on a linear or a logarithmic scale, and choices."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from .._support.checks import as_number
from ..errors import InputError, InputTypeError

if TYPE_CHECKING:
    from optuna import Trial

Value: TypeAlias = "str | int | float | bool | tuple[Value, ...] | None"
"""What a parameter can be: text, a number, True, False, None, or a tuple of these."""


@dataclass(frozen=True)
class Interval:
    """Numbers from low to high, both included.

    If both ends are whole numbers, only whole numbers are drawn: `Linear(1, 8)`, `Log(16, 512)`.

    Args:
        low: The least number.
        high: The greatest number, not less than `low`.

    Raises:
        InputTypeError: If an end is no number.
        InputError: If an end is not finite, or the ends are reversed.
    """

    low: float
    high: float
    scale: ClassVar[str]

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            end = getattr(self, name)
            if isinstance(end, bool | str) or not isinstance(end, int | float | np.integer | np.floating):
                raise InputTypeError(f"{self}: got {end!r}, expected two numbers.")
            if not math.isfinite(as_number(end)):
                raise InputError(f"{self}: got {end}, expected two finite numbers.")
            object.__setattr__(self, name, int(end) if isinstance(end, int | np.integer) else float(end))
        if self.whole != isinstance(self.high, int):
            for name in ("low", "high"):
                object.__setattr__(self, name, float(getattr(self, name)))
        if self.low > self.high:
            raise InputError(f"{self}: is reversed; expected {type(self).__name__}({self.high}, {self.low}).")

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are in the range."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def width(self) -> float:
        """The width in the scale's coordinates: in decades on a logarithmic scale."""
        return self.coordinate(self.high) - self.coordinate(self.low)

    def coordinate(self, value: Any) -> float:
        """Return where a value lies on the scale: its decimal logarithm on a logarithmic one."""
        raise NotImplementedError

    def value(self, coordinate: float) -> float:
        """Return the number at a coordinate of the scale: the inverse of `coordinate`, not rounded."""
        raise NotImplementedError

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high

    @property
    def single(self) -> bool:
        """Whether there is only one value."""
        return self.low == self.high

    def suggest(self, name: str, trial: "Trial") -> Value:
        """Draw a value by Optuna's sampler."""
        log = self.scale == "log"
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=log)
        return trial.suggest_float(name, self.low, self.high, log=log)

    def to_json(self) -> dict[str, Any]:
        """Return the range as a study stores it."""
        return {"scale": self.scale, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{type(self).__name__}({short(self.low)}, {short(self.high)})"


class Linear(Interval):
    """Numbers from low to high, uniformly distributed: `Linear(0, 0.5)`; with whole ends, whole numbers.

    Args:
        low: The least number.
        high: The greatest number, not less than `low`.
    """

    scale = "linear"

    def coordinate(self, value: Any) -> float:
        return float(value)

    def value(self, coordinate: float) -> float:
        return coordinate


class Log(Interval):
    """Numbers from low to high whose logarithm is uniformly distributed: `Log(1e-6, 1e-2)`.

    Every decade is as likely as any other, as suits parameters that matter by their order of magnitude.

    Args:
        low: The least number, greater than 0.
        high: The greatest number, not less than `low`.
    """

    scale = "log"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise InputError(
                f"{self}: a logarithmic scale has no {self.low:g}; expected numbers greater than 0, such as "
                f"Log({self.high / 10**4 if self.high > 0 else 1e-6:g}, {self.high if self.high > 0 else 1e-2:g}), or "
                "Linear."
            )

    def coordinate(self, value: Any) -> float:
        return math.log10(value)

    def value(self, coordinate: float) -> float:
        return float(10.0**coordinate)


@dataclass(frozen=True, init=False)
class Choice:
    """One of some values, all equally likely: `Choice(32, 64)`, `Choice("adam", "sgd")`, `Choice((100,), (100, 100))`.

    Args:
        *values: Text, numbers, True, False, None, or tuples of these; at least one, and no two alike.

    Raises:
        InputTypeError: For a value of another type.
        InputError: For no values, for a value given twice, and for a float that is not finite.
    """

    values: tuple[Value, ...]
    scale: ClassVar[str] = "choice"

    def __init__(self, *values: Value) -> None:
        object.__setattr__(self, "values", tuple(check_value("Choice", value) for value in values))
        if not values:
            raise InputError('Choice(): is empty; expected values to choose from, such as Choice("adam", "sgd").')
        labels = [label(value) for value in self.values]
        for i, text in enumerate(labels):
            if text in labels[:i]:
                raise InputError(f"{self}: got {self.values[i]!r} twice; expected values that differ.")

    def __contains__(self, value: object) -> bool:
        return value in self.values

    @property
    def single(self) -> bool:
        """Whether there is only one value."""
        return len(self.values) == 1

    def suggest(self, name: str, trial: "Trial") -> Value:
        """Draw a value by Optuna's sampler, which knows the values by their labels."""
        labels = [label(value) for value in self.values]
        return self.values[labels.index(trial.suggest_categorical(name, labels))]

    def to_json(self) -> dict[str, Any]:
        """Return the choice as a study stores it."""
        return {"scale": self.scale, "values": list(self.values)}

    def __str__(self) -> str:
        return f"Choice({', '.join(map(repr, self.values))})"


Range: TypeAlias = "Linear | Log | Choice"


def label(value: Value) -> str:
    """Return a value as text: 200,100 for a tuple."""
    return ",".join(map(label, value)) if isinstance(value, tuple) else str(value)


def short(value: Value) -> str:
    """Return a value as text for people to read: floats with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else label(value)


def check_value(name: str, value: Any) -> Value:
    """Return `value` with tuples for lists and Python's numbers for NumPy's; refuse what JSON cannot store."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple | list):
        return tuple(check_value(name, part) for part in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}: got {value}, expected a finite number.")
    if value is not None and not isinstance(value, str | int | float | bool):
        raise InputTypeError(
            f"{name}: got {value!r}, expected text, a number, True, False, None or a tuple of these; give classes and "
            "functions a name, and look it up in build."
        )
    return value


_INTERVALS: "dict[str, type[Linear] | type[Log]]" = {"linear": Linear, "log": Log}


def from_json(entry: Any) -> "Range | Value":
    """Read what `to_json` of a range returned, or a fixed value."""
    if not isinstance(entry, Mapping):
        return check_value("space", entry)
    if entry["scale"] == "choice":
        return Choice(*entry["values"])
    return _INTERVALS[entry["scale"]](entry["low"], entry["high"])


@dataclass(frozen=True)
class Space:
    """The parameters of a search.

    Args:
        ranges: The range of each parameter that is searched, by name.
        fixed: The parameters that have the same value in every trial, by name.
    """

    ranges: "dict[str, Range]"
    fixed: "dict[str, Value]"

    @classmethod
    def of(cls, space: "Mapping[str, Range | Value]") -> "Space":
        """Sort ranges and fixed values apart, and check them.

        Raises:
            InputError: For an empty range, and where there is nothing to search.
            InputTypeError: For anything but ranges and values by name.
        """
        given: Any = space
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise InputTypeError(
                f'space: got {space!r}, expected ranges by the names of parameters, such as {{"lr": Log(1e-6, 1e-2)}}.'
            )
        ranges: dict[str, Range] = {}
        fixed: dict[str, Value] = {}
        for name, value in space.items():
            if isinstance(value, Linear | Log | Choice):
                if isinstance(value, Interval) and value.single:
                    raise InputError(
                        f"{name}: {value} is empty; expected low < high, or {value.low!r} itself for a fixed value."
                    )
                ranges[name] = value
            else:
                fixed[name] = check_value(name, value)
        if all(span.single for span in ranges.values()):
            raise InputError("space: there is nothing to search; expected a range, such as lr=Log(1e-6, 1e-2).")
        return cls(ranges, fixed)

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as a study stores them."""
        return {name: span.to_json() for name, span in self.ranges.items()} | self.fixed


def ranges_to_json(ranges: "Mapping[str, Range]") -> dict[str, Any]:
    """Return ranges by name as a study stores them."""
    return {name: span.to_json() for name, span in ranges.items()}


def inside(ranges: "Mapping[str, Range]", params: Mapping[str, Value]) -> bool:
    """Return whether every parameter lies in its range."""
    return all(params[name] in span for name, span in ranges.items())
