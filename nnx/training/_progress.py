"""The display of `fit`: a table with a row for each epoch and, in a terminal, a bar below it.

The bar shows throughput and the time left.
"""

import sys
import time
from types import TracebackType
from typing import Any, Self

_BAR_SECONDS = 0.1
_SILENT_SECONDS = 60.0


class Progress:
    """The table, written to standard output as plain lines, and the bar, which log files and notebooks do not get."""

    def __init__(self, *, enabled: bool, epochs: int, first_epoch: int, steps: int, rows: int) -> None:
        self._enabled, self._epochs, self._epoch = enabled, epochs, first_epoch
        self._steps, self._rows = steps, rows
        self._bar: Any = None
        self._task: Any = None
        self._begun = self._read = time.perf_counter()
        self._header = False
        self._interval = _SILENT_SECONDS
        if enabled and sys.stdout.isatty() and "ipykernel" not in sys.modules:
            self._make_bar()

    def _make_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console()
        if console.is_terminal and not console.is_dumb_terminal:
            self._interval = _BAR_SECONDS
            self._bar = Bar(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]:>9,.0f} rows/s"),
                TimeRemainingColumn(),
                TextColumn("loss {task.fields[loss]:.4f}"),
                console=console,
                transient=True,
                auto_refresh=False,
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            total = (self._epochs - self._epoch) * self._steps
            self._task = self._bar.add_task("", total=total, epoch=self._label(0), rate=0.0, loss=float("nan"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _label(self, ahead: int) -> str:
        return f"{min(self._epoch + ahead + 1, self._epochs)}/{self._epochs}"

    @property
    def due(self) -> bool:
        """Whether it is time to read a loss and show it."""
        return self._enabled and time.perf_counter() - self._read > self._interval

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
        elif self._enabled:
            self.line(f"epoch {self._label(ahead)}, step {step}/{self._steps}: loss {loss:.4f}, {rate:,.0f} rows/s")

    def epoch(self, number: int, logs: dict[str, float], seconds: float) -> None:
        """Print a row of the table.

        Args:
            number: the epoch, counted from 1.
            logs: the epoch's entries of the history.
            seconds: how long it took.
        """
        if not self._header:
            self._header = True
            self.line("epoch " + "".join(f"{name:>14}" for name in logs) + f"{'seconds':>10}")
        self.line(f"{number:>5} " + "".join(f"{value:>14.4f}" for value in logs.values()) + f"{seconds:>10.2f}")

    def line(self, text: str) -> None:
        """Print a line of text above the bar."""
        if not self._enabled:
            return
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            print(text, flush=True)
