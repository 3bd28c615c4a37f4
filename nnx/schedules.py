"""Learning rates that change with the step: `Adam(lr=nnx.schedules.Cosine(1e-3, steps=2000))`."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias

from ._support.checks import check_count, check_number
from ._support.named import by_name, named
from .errors import unknown


def _keep(schedule: Any, **checked: Any) -> None:
    """Put checked values in the place of those given, such as NumPy's numbers."""
    for name, value in checked.items():
        object.__setattr__(schedule, name, value)


@dataclass(frozen=True)
class Constant:
    """The same learning rate at every step."""

    lr: float

    def __post_init__(self) -> None:
        _keep(self, lr=check_number("lr", self.lr, 0))

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class Step:
    """lr * factor**(step // every): multiplied by `factor` after every `every` steps."""

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _keep(self, lr=check_number("lr", self.lr, 0))
        _keep(self, every=check_count("every", self.every))
        _keep(self, factor=check_number("factor", self.factor, 0))

    def __call__(self, step: int) -> float:
        return self.lr * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from `lr` at step 0 to `final` at step `steps` and after (Loshchilov & Hutter 2017, without
    restarts)."""

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _keep(self, lr=check_number("lr", self.lr, 0))
        _keep(self, steps=check_count("steps", self.steps))
        _keep(self, final=check_number("final", self.final, 0))

    def __call__(self, step: int) -> float:
        return _half_cosine(self.lr, self.final, min(step / self.steps, 1.0))


@dataclass(frozen=True)
class WarmUp:
    """Rises linearly over the first `steps` steps to what `after` (a number or a schedule) gives, then follows it."""

    steps: int
    after: "Schedule | float"

    def __post_init__(self) -> None:
        _keep(self, steps=check_count("steps", self.steps))
        _keep(self, after=schedule(self.after))

    def __call__(self, step: int) -> float:
        if step < self.steps:
            return rate(self.after, 0) * (step + 1) / self.steps  # type: ignore[arg-type]  # a number no longer
        return rate(self.after, step - self.steps)  # type: ignore[arg-type]


@dataclass(frozen=True)
class OneCycle:
    """Rises by half a cosine from lr / 25 to `lr` over the first `rise` of `steps` steps, and falls by another to
    lr / 250,000 at their end and after (Smith & Topin 2018)."""

    lr: float
    steps: int
    rise: float = 0.3
    """The share of the steps, between 0 and 1."""

    def __post_init__(self) -> None:
        _keep(self, lr=check_number("lr", self.lr, 0))
        _keep(self, steps=check_count("steps", self.steps))
        _keep(self, rise=check_number("rise", self.rise, 0, 1, above=True))

    def __call__(self, step: int) -> float:
        first, last = self.lr / 25, self.lr / 250_000
        top = self.rise * self.steps
        if step < top:
            return _half_cosine(first, self.lr, step / top)
        return _half_cosine(self.lr, last, min((step - top) / (self.steps - top), 1.0))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


Schedule: TypeAlias = Callable[[int], float]
"""Any function of the step, counted from 0, that gives a learning rate of at least 0."""
SCHEDULES: dict[str, type[Any]] = {cls.__name__: cls for cls in (Constant, Step, Cosine, WarmUp, OneCycle)}
"""Those that a checkpoint can name: dataclasses, whose fields it keeps."""
_CHECKED = frozenset(SCHEDULES.values())
"""Those whose numbers were checked when they were made."""


def schedule(lr: "Schedule | float") -> Schedule:
    """`lr` as a schedule; a number is a constant one."""
    return lr if callable(lr) else Constant(lr)


def rate(schedule: Schedule, step: int) -> float:
    """The learning rate at a step; a schedule of the user's own is checked."""
    value = schedule(step)
    return value if type(schedule) in _CHECKED else check_number(f"lr({step})", value, 0)


def to_config(lr: Any) -> dict[str, Any]:
    """What a checkpoint keeps of a schedule: its fields, or the name of a function."""
    if not is_dataclass(lr) or SCHEDULES.get(type(lr).__name__) is not type(lr):
        return {"schedule": "function", "name": named(lr)}
    config = {field.name: getattr(lr, field.name) for field in fields(lr)}
    return {"schedule": type(lr).__name__} | {k: to_config(v) if callable(v) else v for k, v in config.items()}


def from_config(config: dict[str, Any]) -> Schedule:
    """The schedule that `to_config` described."""
    settings = dict(config)
    name = settings.pop("schedule")
    if name == "function":
        return by_name(settings["name"])
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    nested = {k: from_config(v) if isinstance(v, dict) and "schedule" in v else v for k, v in settings.items()}
    made: Schedule = SCHEDULES[name](**nested)
    return made
