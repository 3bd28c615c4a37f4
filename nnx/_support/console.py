"""What commands and long pieces of work show: lines that fit the terminal and, below them, a bar."""

import shutil
import sys
import textwrap
from types import TracebackType
from typing import Any, Self, TextIO

WIDTH = 79
"""Columns of what is read in a terminal of unknown width; tables have no more."""


def in_notebook() -> bool:
    """Return whether the code runs in a Jupyter kernel."""
    return "ipykernel" in sys.modules


def fitted(text: str, width: int = WIDTH) -> str:
    """Break a text's longer lines at spaces, and indent what comes down; a word that is longer stays whole."""
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        short = textwrap.wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        lines += [line] if len(line) <= width else short
    return "\n".join(lines)


def counted(number: int, thing: str) -> str:
    """Return a number with what it counts: "1 step", "2 steps"."""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def shown(value: float) -> str:
    """Return a number with four decimals, or one of 10,000 and more with four digits."""
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.4g}"


def say(text: str, command: str = "", *, file: TextIO | None = None) -> None:
    """Print a text that fits the terminal. Where there is none, lines stay whole, so that they can be searched.

    Args:
        text: lines, which are broken at spaces.
        command: what follows the last line, and is not broken: it is to be copied.
        file: where to; by default standard output.
    """
    file = sys.stdout if file is None else file
    width = _columns(file)
    text = text if width is None else fitted(text, width)
    if command:
        last = len(text) - text.rfind("\n") + len(command)
        text += f" {command}" if width is None or last <= width else f"\n  {command}"
    print(text, file=file, flush=True)


def _columns(file: TextIO) -> int | None:
    """Return how many columns a line may have, one less than the terminal has; None if the file is no terminal."""
    return shutil.get_terminal_size().columns - 1 if file.isatty() else None


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
        self.enabled = enabled
        self._bar: Any = None
        if not enabled or not sys.stdout.isatty() or in_notebook():
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
        """Print lines of text above the bar."""
        if self._bar is not None:
            width = self._bar.console.width - 1
            self._bar.console.print(fitted(text, width), highlight=False, markup=False, soft_wrap=True)
        elif self.enabled:
            say(text)
