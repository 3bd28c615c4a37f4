"""`nnx backends`: which backends are installed, which one is used, and why."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .._support.console import say
from ..backend import choose, list_backends
from ._app import command


@command(
    "nnx backends",
)
def backends() -> None:
    """Show the installed backends, whether each can run here, and which one would be used now."""
    table = Table("backend", "can run", "comes with", "why not, and what to do")
    for status in list_backends():
        table.add_row(
            status.name, "yes" if status.usable else "no", escape(status.provider), escape(status.reason or "")
        )
    Console().print(table)
    choice = choose()
    say(f"used now: {choice.backend.name} ({choice.why})")
    for name, value in choice.backend.device_info().items():
        say(f"  {name}: {value}")
