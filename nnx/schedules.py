"""Learning rates that change with the step: `Adam(lr=nnx.schedules.Cosine(1e-3, steps=2000))`."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from ._support.checks import check_count, check_number
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
        progress = min(step / self.steps, 1.0)
        return self.final + (self.lr - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class WarmUp:
    """Rises linearly over the first `steps` steps to what `after` (a number or a schedule) gives, then follows it."""

    steps: int
    after: "Schedule | float"

    def __post_init__(self) -> None:
        _keep(self, steps=check_count("steps", self.steps))
        _keep(self, after=schedule(self.after))

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
