"""The loop of one `Trainer.fit`: epochs, steps, what is read and saved when, and how it ends."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._support.room import roomy
from ..errors import DivergedError, ParallelError
from ..ops import Array, Backend, CompileSeconds
from ..parallel import Worth
from ..plan import ParallelPlan, TrainingStep
from ._device_data import DeviceData, NativeRows, Part
from ._disk_data import DiskData
from ._progress import Progress
from ._verdict import not_learned
from .callbacks import EarlyStopping, has_hook

if TYPE_CHECKING:
    from ._trainer import Trainer

_WORTH_A_LINE = 0.5  # seconds of compilation
_FIRST = 2  # steps that compile and record


@dataclass
class FitState:
    """The progress of a `fit`: all that is needed to go on with it bit for bit."""

    rows: int
    batch_size: int
    shuffle: bool
    first_epoch: int
    """The trainer's count of epochs when it began."""
    epochs: int
    step: int = 0
    """Steps done of the current epoch."""
    loss_total: float = 0.0
    """Sum of their losses, each times its rows."""
    stopped: bool = False
    """Ended early by a callback."""
    window: int | None = None
    """Rows that are shuffled together, where they are read from the disk; None if all are."""
    blocks: int | None = None
    """How many blocks they are read in; None likewise."""
    checksum: int | None = None
    """Of the data; None until a checkpoint needs it."""


class FitLoop:
    """The loop of one `fit`."""

    def __init__(
        self,
        trainer: "Trainer",
        fit: FitState,
        data: DeviceData | DiskData,
        validation: DeviceData | DiskData | None,
        hooks: Sequence[Callable[..., Any]],
        progress: Progress,
        checkpoint: "str | os.PathLike[str] | None",
        checkpoint_every: int | None,
        train_accuracy: bool,
    ) -> None:
        self.trainer, self.fit, self.data, self.validation = trainer, fit, data, validation
        self.hooks, self.progress = hooks, progress
        self.checkpoint, self.checkpoint_every = checkpoint, checkpoint_every
        self.train_accuracy = train_accuracy and trainer.loss.metric is not None
        self.first = trainer.epochs
        self.done = 0
        """Steps since the start of this call."""
        self.pending: list[Array] = []
        """Losses that nobody has read yet: 0-d, or (k,) of k steps at once."""
        self.last_loss = math.nan
        self.compiled_before = _compile_seconds(trainer.model.backend)
        self.steps: dict[int, TrainingStep] = {}
        self.order = data.order(trainer.seed, shuffle=fit.shuffle)
        # A callback that looks at every step gets them one by one.
        several = trainer.plan.capturable and not any(has_hook(hook, "on_step") for hook in hooks)
        self.together = trainer.plan if isinstance(trainer.plan, ParallelPlan) else None
        """The plan, where several ranks train together."""
        self.worth = Worth(trainer.parallel.size)
        self.at_once = trainer.model.ops.steps_per_capture if several and self.together is None else 1
        """Steps that are captured together, where so many of whole batches follow one another."""

    @roomy
    def train(self, interrupted: threading.Event) -> bool:
        """Run the remaining epochs; return whether the training came to its end."""
        fit, trainer = self.fit, self.trainer
        if self.checkpoint is not None:
            fit.checksum = self.data.checksum()
        while trainer.epochs < fit.first_epoch + fit.epochs and not fit.stopped:
            if not self.epoch(interrupted):
                return False
            if self.stops(interrupted):
                return trainer.epochs >= fit.first_epoch + fit.epochs or fit.stopped
        return True

    def stops(self, interrupted: threading.Event) -> bool:
        """Whether to stop after the last step: if Ctrl-C was pressed, on any rank by then."""
        return interrupted.is_set() if self.together is None else self.together.stops

    def epoch(self, interrupted: threading.Event) -> bool:
        """Run one epoch, or what is left of it; return False if it was interrupted before its end."""
        fit, trainer = self.fit, self.trainer
        began = time.perf_counter()
        if fit.step == 0:
            self.call("on_epoch_begin", trainer.epochs + 1)
        parts = self.data.parts(self.order, trainer.epochs, fit.batch_size, fit.step * fit.batch_size)
        with closing(parts):
            for part in parts:
                if not self.part(part, interrupted):
                    return False
        self.finish_epoch(began)
        return True

    def part(self, part: Part, interrupted: threading.Event) -> bool:
        """Run the steps on some batches; return False if it was interrupted before the end of the epoch."""
        fit, trainer, size, rows, done = self.fit, self.trainer, self.fit.batch_size, len(part.places), 0
        index, update = trainer.model.ops.to_device(part.places), self.updates(part.rows)
        while done < rows:
            steps = self.next_steps(rows - done)
            n = min(size, rows - done)
            if self.together is not None:
                self.together.wishes_to_stop = interrupted.is_set()
                began, exchanged = time.perf_counter(), self.together.link.seconds
            own = trainer.plan.own_rows(steps * n)
            loss = trainer.advance(update, n, (index[done + own.start : done + own.stop],), steps=steps)
            done += steps * n
            fit.step += steps
            self.done += steps
            self.pending.append(loss)
            if self.done == steps:
                self.say_what_compiling_took()
                self.progress.first(steps * fit.batch_size)
            # On a device as seldom as it is shown; but ranks have to find out together that one diverges.
            if trainer.model.ops.on_host or self.together is not None or self.progress.due:
                self.read()
            if self.together is not None and self.done > _FIRST:
                self.worth.add(time.perf_counter() - began, self.together.link.seconds - exchanged)
            self.call("on_step", trainer.steps, loss)
            saving = self.checkpoint_every is not None and trainer.steps % self.checkpoint_every == 0
            if (saving or self.stops(interrupted)) and fit.step * size < fit.rows:
                self.read()
                if self.stops(interrupted):
                    return False
                self.save()
        return True

    def updates(self, rows: NativeRows) -> TrainingStep:
        """Return the update on rows that are at hand: captured steps have their addresses."""
        if id(rows) not in self.steps:
            self.steps[id(rows)] = TrainingStep(self.trainer.plan, rows)
        return self.steps[id(rows)]

    def say_what_was_learned(self) -> None:
        """Print a line if the network has learned nothing; after an early end it may be as it was in another epoch."""
        if self.progress.enabled and not self.fit.stopped and (told := not_learned(self.trainer, self.data)):
            self.progress.line(told)

    def next_steps(self, rows: int) -> int:
        """Return how many steps to do at once on so many rows that are at hand: `at_once` or 1."""
        whole = rows // self.fit.batch_size
        if self.checkpoint_every is not None:
            whole = min(whole, self.checkpoint_every - self.trainer.steps % self.checkpoint_every)
        return self.at_once if whole >= self.at_once else 1

    def say_what_compiling_took(self) -> None:
        """Print how long the backend has compiled, unless it was short. After the first step it is done with that."""
        seconds = _compile_seconds(self.trainer.model.backend) - self.compiled_before
        if seconds > _WORTH_A_LINE:
            self.progress.line(f"compiled kernels for {seconds:.1f} s")

    def read(self) -> None:
        """Add up the losses of the last steps, raise if one is not finite, and show the last one if it is time to."""
        ops, fit = self.trainer.model.ops, self.fit
        arrays = self.pending if ops.on_host else ops.to_host_all(self.pending)
        losses = [float(loss) for array in arrays for loss in array.flat]
        first = fit.step - len(losses)
        for i, value in enumerate(losses):
            if not math.isfinite(value):
                self.diverged(value, first + i + 1)
            fit.loss_total += value * self.rows_of(first + i)
            self.last_loss = value
        self.pending.clear()
        if self.progress.due:
            rows = self.done * fit.batch_size
            self.progress.show(self.done, rows, self.last_loss, self.trainer.epochs - self.first, fit.step)

    def rows_of(self, step: int) -> int:
        """Return how many rows a step of the epoch has, counted from 0: the last one may have fewer."""
        return min(self.fit.batch_size, self.fit.rows - step * self.fit.batch_size)

    def call(self, hook: str, *arguments: Any) -> None:
        """Call a method of all callbacks that define it."""
        for callback in self.hooks:
            if has_hook(callback, hook):
                getattr(callback, hook)(self.trainer, *arguments)

    def diverged(self, value: float, step: int) -> None:
        trainer = self.trainer
        layer = trainer.plan.program(self.rows_of(self.fit.step - 1)).first_non_finite()
        where = f"first seen in the output of {layer}" if layer else "first seen in the loss itself"
        rate = trainer.optimizer.rate(trainer.steps - 1)
        raise DivergedError(
            f"the loss became {value} in epoch {trainer.epochs + 1}, step {step} (step {trainer.steps} of all), "
            f"{where}. Its update was skipped, and the history is kept. Try a lower learning rate "
            f"(it was {rate:g}), clip_norm=1.0, or inputs scaled to about -1..1."
        )

    def finish_epoch(self, began: float) -> None:
        fit, trainer = self.fit, self.trainer
        self.read()
        logs = {"loss": fit.loss_total / fit.rows}
        metric = trainer.loss.metric
        if self.train_accuracy:
            score = trainer.evaluate(self.data).score
            if score is not None:
                logs[str(metric)] = score
        if self.validation is not None:
            logs["val_loss"], score = trainer.evaluate(self.validation)
            if score is not None:
                logs[f"val_{metric}"] = score
        if penalty := trainer.penalty():
            logs["penalty"] = penalty
        for name, value in logs.items():
            trainer.history.setdefault(name, []).append(value)
        trainer.epochs += 1
        fit.step, fit.loss_total = 0, 0.0
        number = trainer.epochs - fit.first_epoch
        self.progress.epoch(number, logs, time.perf_counter() - began)
        if trainer.epochs == self.first + 1 and (verdict := self.worth.told()):
            self.progress.line(verdict)
        stops, failure = [], None
        try:
            stops = [bool(hook(trainer, trainer.epochs, logs)) for hook in self.hooks]
        except BaseException as error:
            failure = error
        told = trainer.parallel.exchange({"stops": any(stops), "failed": None if failure is None else repr(failure)})
        fit.stopped = any(rank["stops"] for rank in told)
        failed = [f"rank {i}: {rank['failed']}" for i, rank in enumerate(told) if rank["failed"] is not None]
        if failed:
            self.save()  # the epoch is done, even if a callback failed
            raise failure or ParallelError(f"a callback failed after epoch {number}, on {failed[0]}")
        for hook in (hook for hook, stop in zip(self.hooks, stops, strict=True) if stop):
            name = getattr(hook, "__name__", type(hook).__name__)
            why = hook.reason(number) if isinstance(hook, EarlyStopping) else f"{name} asked for it"
            self.progress.line(f"stopped after epoch {number}: {why}")
        self.save()

    def save(self) -> None:
        if self.checkpoint is not None:
            self.trainer.save(self.checkpoint)


def _compile_seconds(backend: Backend) -> float:
    return backend.compile_seconds if isinstance(backend, CompileSeconds) else 0.0


@contextmanager
def interruption() -> Iterator[threading.Event]:
    """Provide an event that Ctrl-C sets, so that no update is cut in two; a second Ctrl-C interrupts at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
