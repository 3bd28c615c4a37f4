"""One update of a model, from a batch or from the rows of a data set: what trainers, estimators and benchmarks run.

The plan says what an update computes. Here it gets its numbers, and is captured, once for each size of batch, if the
backend captures steps.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..ops import Array, HostArray, Ops
from ._plan import Plan, Program

_REMEMBERED = 16
"""Captured steps that are kept; where sizes change all the time, the oldest goes."""


class Rows(Protocol):
    """A data set that batches are gathered from."""

    gathers_on_host: bool
    """Whether gathering is the host's work, and so no part of what is captured."""

    def gather(self, index: Array, /) -> tuple[Any, ...]:
        """Return inputs, targets, and weights if there are any, of the rows of an index (n,)."""


class Captured:
    """A step that the backend captures at its first call, for the shapes of that call's inputs.

    Args:
        ops: the bound operations.
        step: returns a loss, or a list of them for several steps.
        capture: False to run it as it is.
    """

    def __init__(self, ops: Ops, step: Callable[..., Any], *, capture: bool = True) -> None:
        self._ops, self._capture = ops, capture
        self.run: Callable[..., Array] | None = None
        """What the backend made of it."""

        def uploading(*inputs: Array) -> Any:
            return step(*(i if isinstance(i, ops.array_type) else ops.to_device(i) for i in inputs))

        # A loss that overflows is reported by fit, with the layer; NumPy's own warnings would only precede that. A
        # recorded step meets them while it is recorded, and need not enter this at every call.
        silently = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        self._step = silently(step) if ops.on_host else uploading

    def __call__(self, *inputs: Array) -> Array:
        if self.run is None:
            self.run = self._ops.capture(self._step, inputs) if self._capture else self._step
        return self.run(*inputs)


class TrainingStep:
    """The update of a plan, on batches or on rows of a data set.

    Args:
        plan: what an update computes.
        rows: the data set; None for batches.
    """

    def __init__(self, plan: Plan, rows: Rows | None = None) -> None:
        self.plan, self._rows = plan, rows
        self._captured: dict[tuple[Program, int, tuple[int, ...]], Captured] = {}
        self._gathers = rows is not None and not rows.gathers_on_host
        """Whether gathering is a part of what is captured."""

    def __call__(
        self,
        n: int,
        batch: tuple[Any, ...],
        hyper: HostArray,
        rng: HostArray | None = None,
        weight: Array | None = None,
        *,
        steps: int = 1,
    ) -> Array:
        """Update once on n rows, or several times in succession. What is on the host is uploaded.

        Args:
            n: the rows of one update.
            batch: (x, t), or (index,) of the data set's rows.
            hyper: the optimizer's numbers; with a leading axis for several steps.
            rng: the random keys; with a leading axis for several steps.
            weight: (n,), factors of the rows' losses, unless the data set has them.
            steps: how many updates, each on the next n rows of the index.

        Returns:
            The losses before each update, 0-d or (steps,).
        """
        if self._rows is not None and not self._gathers:
            batch = self._rows.gather(*batch)
        inputs = [*batch, hyper]
        if rng is not None:
            inputs.append(rng)
        if weight is not None:
            inputs.append(weight)
        return self.captured(n, steps, batch[-1].shape[1:])(*inputs)

    def repeats(self, x: Array, t: Array, classes: int) -> Callable[..., Array | None] | None:
        """Return what updates on batches like this one that nobody has checked, see `ops.protocol.Repeats`."""
        repeats = getattr(self.captured(x.shape[0]).run, "repeats", None)
        return None if repeats is None else repeats(x, t, classes)

    def captured(self, n: int, steps: int = 1, target: tuple[int, ...] = ()) -> Captured:
        """Return what runs so many steps on batches of n rows, each with a target of a shape; () for labels."""
        program = self.plan.program(n)
        found = self._captured.get((program, steps, target))
        if found is None:
            if len(self._captured) >= _REMEMBERED:
                del self._captured[next(iter(self._captured))]
            work = self._one(program) if steps == 1 else self._several(program, steps)
            found = Captured(self.plan.ops, work, capture=self.plan.capturable)
            self._captured[program, steps, target] = found
        return found

    def _one(self, program: Program) -> Callable[..., Array]:
        def plain(x: Array, t: Array, hyper: Array, weight: Array | None = None) -> Array:
            return program.step(x, t, hyper, None, weight)

        step = program.step if self.plan.random else plain
        if self._rows is None or not self._gathers:
            return step
        gather = self._rows.gather

        def gathering(index: Array, hyper: Array, *rng: Array) -> Array:
            x, t, *weight = gather(index)
            return step(x, t, hyper, *rng, *weight)

        def without_rows(index: Array, hyper: Array, *rng: Array) -> Array:
            return step(None, None, hyper, *rng)

        return gathering if program.n > 0 else without_rows

    def _several(self, program: Program, steps: int) -> Callable[..., list[Array]]:
        step, n = self._one(program), program.n

        def several(index: Array, *numbers: Array) -> list[Array]:
            return [step(index[i * n : (i + 1) * n], *(part[i, ...] for part in numbers)) for i in range(steps)]

        return several
