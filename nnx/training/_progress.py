"""The display of `fit`: a table with a row for each epoch and, in a terminal, a bar below it.

The bar shows throughput and the time left.
"""

import time
from collections import deque

from .._support.console import Lines, shown

_BAR_SECONDS = 0.1
_SILENT_SECONDS = 60.0
_RATE_SECONDS = 3.0


class Progress(Lines):
    """The table, written to standard output as plain lines, and the bar, which log files and notebooks do not get."""

    def __init__(self, *, enabled: bool, epochs: int, first_epoch: int, steps: int, rows: int) -> None:
        super().__init__(
            enabled,
            "epoch {task.fields[epoch]}",
            "{task.fields[rate]}",
            "{task.fields[loss]}",
            refresh=False,
        )
        self._epochs, self._epoch = epochs, first_epoch
        self._steps, self._rows = steps, rows
        self._read = time.perf_counter()
        self._marks: deque[tuple[float, int]] = deque([(self._read, 0)])
        """When so many rows were done, in the last seconds."""
        self._header = False
        self._interval = _SILENT_SECONDS
        if self._bar is not None:
            self._interval = _BAR_SECONDS
            total = (epochs - first_epoch) * steps
            self._task = self._bar.add_task("", total=total, epoch=self._label(0), rate="", loss="first step")

    def _label(self, ahead: int) -> str:
        return f"{min(self._epoch + ahead + 1, self._epochs)}/{self._epochs}"

    @property
    def due(self) -> bool:
        """Whether it is time to read a loss and show it."""
        return self.enabled and time.perf_counter() - self._read > self._interval

    def first(self, rows: int) -> None:
        """Take notice of the end of the first step, which may have compiled: the rate counts from here on."""
        self._marks = deque([(time.perf_counter(), rows)])

    def _rate(self, rows: int) -> str:
        """Say how many rows a second were done in the last seconds; nothing if there were none since the first step."""
        self._marks.append((self._read, rows))
        while len(self._marks) > 2 and self._marks[1][0] < self._read - _RATE_SECONDS:
            self._marks.popleft()
        before, done = self._marks[0]
        return f"{(rows - done) / (self._read - before):,.0f} rows/s" if rows > done and self._read > before else ""

    def show(self, done: int, rows: int, loss: float, ahead: int, step: int) -> None:
        """Show how far the training is.

        Args:
            done: steps since the start of this call.
            rows: the rows of these steps.
            loss: of the last step.
            ahead: epochs finished since the start.
            step: of this epoch.
        """
        self._read = time.perf_counter()
        rate, last = self._rate(rows), f"loss {shown(loss)}"
        if self._bar is not None:
            given = {"rate": f"{rate:>16}", "loss": last, "epoch": self._label(ahead)}
            self._bar.update(self._task, completed=done, refresh=True, **given)
        elif self.enabled:
            self.line(
                f"epoch {self._label(ahead)}, step {step}/{self._steps}: {', '.join([last, rate] if rate else [last])}"
            )

    def epoch(self, number: int, logs: dict[str, float], seconds: float) -> None:
        """Print a row of the table.

        Args:
            number: the epoch, counted from 1.
            logs: the epoch's entries of the history.
            seconds: how long it took.
        """
        if not self._header:
            self._header = True
            self.line("epoch " + "".join(f"{name:>{_width(name)}}" for name in logs) + f"{'seconds':>10}")
        values = "".join(f"{shown(value):>{_width(name)}}" for name, value in logs.items())
        self.line(f"{number:>5} {values}{seconds:>10.2f}")


def _width(name: str) -> int:
    """Return the width of a column: the table has 79 columns with all that a history may hold."""
    return max(len(name), 9) + 2
