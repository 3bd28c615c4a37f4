"""What a long piece of work shows: lines and, in a terminal, a bar below them."""

import sys
from types import TracebackType
from typing import Any, Self


class Lines:
    """Lines on standard output and, in a terminal, a bar, which log files and notebooks do not get.

    Args:
        enabled: whether to show anything.
        left: text before the bar, as rich formats it: "{task.fields[epoch]}".
        unit: text after the numbers done and to be done.
        right: text after the time that is left.
        refresh: whether the bar moves by itself, between updates.
    """

    def __init__(self, enabled: bool, left: str, unit: str, right: str = "", *, refresh: bool = True) -> None:
        self._enabled = enabled
        self._bar: Any = None
        if not enabled or not sys.stdout.isatty() or "ipykernel" in sys.modules:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        console = Console()
        if console.is_terminal and not console.is_dumb_terminal:
            columns = left, BarColumn(), MofNCompleteColumn(), unit, TimeRemainingColumn(), right
            self._bar = Progress(*columns, console=console, transient=True, auto_refresh=refresh)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def line(self, text: str) -> None:
        """Print a line of text above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        elif self._enabled:
            print(text, flush=True)
