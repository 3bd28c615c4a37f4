"""The display of `fit`: a table with a row for each epoch and, in a terminal, a bar below it.

The bar shows throughput and the time left.
"""

import time

from .._support.console import Lines, shown

_BAR_SECONDS = 0.1
_SILENT_SECONDS = 60.0


class Progress(Lines):
    """The table, written to standard output as plain lines, and the bar, which log files and notebooks do not get."""

    def __init__(self, *, enabled: bool, epochs: int, first_epoch: int, steps: int, rows: int) -> None:
        super().__init__(
            enabled,
            "epoch {task.fields[epoch]}",
            "{task.fields[rate]:>9,.0f} rows/s",
            "loss {task.fields[loss]:.4f}",
            refresh=False,
        )
        self._epochs, self._epoch = epochs, first_epoch
        self._steps, self._rows = steps, rows
        self._begun = self._read = time.perf_counter()
        self._header = False
        self._interval = _SILENT_SECONDS
        if self._bar is not None:
            self._interval = _BAR_SECONDS
            total = (epochs - first_epoch) * steps
            self._task = self._bar.add_task("", total=total, epoch=self._label(0), rate=0.0, loss=float("nan"))

    def _label(self, ahead: int) -> str:
        return f"{min(self._epoch + ahead + 1, self._epochs)}/{self._epochs}"

    @property
    def due(self) -> bool:
        """Whether it is time to read a loss and show it."""
        return self.enabled and time.perf_counter() - self._read > self._interval

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
        rate = rows / (self._read - self._begun)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rate=rate, loss=loss, epoch=self._label(ahead), refresh=True)
        elif self.enabled:
            self.line(f"epoch {self._label(ahead)}, step {step}/{self._steps}: loss {shown(loss)}, {rate:,.0f} rows/s")

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
