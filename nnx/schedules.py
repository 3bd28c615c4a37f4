"""Learning rates that change with the step: `Adam(lr=nnx.schedules.Cosine(1e-3, steps=2000))`."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from .errors import InputError, InputTypeError, unknown


def _check_rate(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputTypeError(f"{name}: got {value!r}, expected a number of 0 or more.")
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name}: got {value}, expected a finite number of 0 or more.")


def _check_steps(name: str, value: int, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name}: got {value!r}, expected a whole number of at least {least}.")


@dataclass(frozen=True)
class Constant:
    """The same learning rate at every step."""

    lr: float

    def __post_init__(self) -> None:
        _check_rate("lr", self.lr)

    def __call__(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class Step:
    """lr * factor**(step // every): multiplied by `factor` after every `every` steps."""

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check_rate("lr", self.lr)
        _check_steps("every", self.every)
        _check_rate("factor", self.factor)

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
        _check_rate("lr", self.lr)
        _check_steps("steps", self.steps)
        _check_rate("final", self.final)

    def __call__(self, step: int) -> float:
        progress = min(step / self.steps, 1.0)
        return self.final + (self.lr - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class WarmUp:
    """Rises linearly over the first `steps` steps to what `after` (a number or a schedule) gives, then follows it."""

    steps: int
    after: "Schedule | float"

    def __post_init__(self) -> None:
        _check_steps("steps", self.steps)
        object.__setattr__(self, "after", schedule(self.after))

    def __call__(self, step: int) -> float:
        assert not isinstance(self.after, float | int)
        if step < self.steps:
            return self.after(0) * (step + 1) / self.steps
        return self.after(step - self.steps)


Schedule = Constant | Step | Cosine | WarmUp
SCHEDULES = {cls.__name__: cls for cls in (Constant, Step, Cosine, WarmUp)}


def schedule(lr: "Schedule | float") -> Schedule:
    """`lr` as a schedule; a number is a constant one."""
    return lr if isinstance(lr, Schedule) else Constant(lr)


def to_config(lr: Schedule) -> dict[str, Any]:
    """What a checkpoint keeps of a schedule."""
    config = asdict(lr)
    if isinstance(lr, WarmUp):
        assert not isinstance(lr.after, float | int)
        config["after"] = to_config(lr.after)
    return {"schedule": type(lr).__name__, **config}


def from_config(config: dict[str, Any]) -> Schedule:
    """The schedule that `to_config` described."""
    fields = dict(config)
    name = fields.pop("schedule")
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    if isinstance(fields.get("after"), dict):
        fields["after"] = from_config(fields["after"])
    made: Schedule = SCHEDULES[name](**fields)
    return made
