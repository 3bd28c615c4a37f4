"""Learning rates that change with the step: `Adam(lr=nnx.schedules.Cosine(1e-3, steps=2000))`.

A step is one update, counted from 0. All learning rates are at least 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeAlias

from ._support.checks import check_count, check_number
from ._support.named import by_name, named
from .errors import unknown


def _keep(schedule: Any, **checked: Any) -> None:
    """Replace the given values, such as NumPy's numbers, by checked ones."""
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
    """lr * factor**(step // every): the learning rate is multiplied by `factor` after every `every` steps.

    Args:
        lr: the learning rate at first.
        every: at least 1.
        factor: at least 0.
    """

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
    """Half a cosine: final + (lr - final) * (1 + cos(pi * step / steps)) / 2 (Loshchilov & Hutter 2017).

    Without their restarts.

    Args:
        lr: the learning rate at step 0.
        steps: the length, at least 1.
        final: the learning rate at step `steps` and after.
    """

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
    """Rises linearly over the first `steps` steps to the first rate of `after`, then follows it.

    At a step below `steps` the rate is after(0) * (step + 1) / steps, then after(step - steps).

    Args:
        steps: at least 1.
        after: a number or a schedule.
    """

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
    """Rises by half a cosine from lr / 25 to `lr`, then falls by another to lr / 250,000 (Smith & Topin 2018).

    It stays at lr / 250,000 after the last step.

    Args:
        lr: the greatest learning rate.
        steps: of the whole cycle, at least 1.
        rise: the share of the steps in which the rate rises, in (0, 1).
    """

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
    """Return `lr` as a schedule; a number becomes a constant one."""
    return lr if callable(lr) else Constant(lr)


def rate(schedule: Schedule, step: int) -> float:
    """Return the learning rate at a step; what a user's own schedule gives is checked.

    Args:
        schedule: a function of the step.
        step: counted from 0.

    Raises:
        InputError: the rate is below 0 or not finite.
        InputTypeError: the rate is no number.
    """
    value = schedule(step)
    return value if type(schedule) in _CHECKED else check_number(f"lr({step})", value, 0)


def to_config(lr: Any) -> dict[str, Any]:
    """Return what a checkpoint keeps of a schedule: its fields, or the name of a function.

    Raises:
        CheckpointError: a function was not given to `nnx.register`.
    """
    if not is_dataclass(lr) or SCHEDULES.get(type(lr).__name__) is not type(lr):
        return {"schedule": "function", "name": named(lr)}
    config = {field.name: getattr(lr, field.name) for field in fields(lr)}
    return {"schedule": type(lr).__name__} | {k: to_config(v) if callable(v) else v for k, v in config.items()}


def from_config(config: dict[str, Any]) -> Schedule:
    """Make the schedule that `to_config` described."""
    settings = dict(config)
    name = settings.pop("schedule")
    if name == "function":
        return by_name(settings["name"])
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    nested = {k: from_config(v) if isinstance(v, dict) and "schedule" in v else v for k, v in settings.items()}
    made: Schedule = SCHEDULES[name](**nested)
    return made
