"""`nnx backends`: which backends are installed, which one is used, and why."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..backend import choose, list_backends
from ._app import app


@app.command()
def backends() -> None:
    """Show every installed backend, whether it can run here, and which one would be used now."""
    console = Console()
    table = Table("backend", "usable", "brought by", "why not, and what to do")
    for status in list_backends():
        table.add_row(
            status.name, "yes" if status.usable else "no", escape(status.provider), escape(status.reason or "")
        )
    console.print(table)
    choice = choose()
    console.print(f"Used now: {choice.backend.name} ({choice.why}).", highlight=False, markup=False)
    for name, value in choice.backend.device_info().items():
        console.print(f"  {name}: {value}", highlight=False, markup=False)
