"""`nnx doctor`: check the backends on this machine, and say what could be better."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..doctor import BackendDiagnosis, diagnose
from ._app import command

_LEGEND = """
required: what every backend must have; training: whole small trainings
fused: computed by the backend's own code; composed: by nnx, from simpler calls
ms: how long the checks took, which tells nothing of the speed (nnx bench measures that)
declined: calls that the backend's own code left to nnx"""


@command(
    "nnx doctor",
    "nnx doctor --backend numba",
)
def doctor(
    backend: Annotated[str | None, typer.Option(help="Look at this backend only.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")] = False,
) -> None:
    """Check every backend on this machine, and say what costs speed.

    All operations of each backend are run, which takes up to a minute.

    Exit status 1 if an operation fails, or the backend that would be used cannot run.
    """
    if as_json:
        diagnosis = diagnose(backend)
        print(json.dumps(asdict(diagnosis) | {"ok": diagnosis.ok}, indent=2))
    else:
        console = Console(highlight=False)
        with console.status("") as status:
            diagnosis = diagnose(
                backend, begin=lambda name: status.update(f"checking each operation of {name} against its formula")
            )
        console.print(f"processor: {escape(diagnosis.processor)}")
        for each in diagnosis.backends:
            _show(console, each)
        console.print(_LEGEND)
        console.print(f"\nused now: {escape(diagnosis.chosen)}")
        for warning in diagnosis.warnings:
            console.print(f"[yellow]warning:[/] {escape(warning)}")
        console.print("[green]all is well[/]" if diagnosis.ok else "[red]not well: see above[/]")
    if not diagnosis.ok:
        raise typer.Exit(1)


def _show(console: Console, backend: BackendDiagnosis) -> None:
    console.print(f"\n[bold]{escape(backend.name)}[/] (from {escape(backend.provider)})")
    if backend.reason is not None:
        console.print(f"  cannot run here: {escape(backend.reason)}")
        return
    for name, value in backend.info.items():
        console.print(f"  {escape(name)}: {escape(value)}")
    table = Table("operation", "", "how", "ms", "declined", box=None, padding=(0, 2))
    for op in backend.ops:
        mark = "[green]PASS[/]" if op.passed else "[red]FAIL[/]"
        table.add_row(op.op, mark, op.how, f"{op.seconds * 1e3:.0f}", str(op.declined) if op.declined else "")
    console.print(table)
    for note in backend.notes:
        console.print(f"  [yellow]note:[/] {escape(note)}")
    for op in backend.ops:
        if op.error is not None:
            console.print(f"  [red]FAIL[/] {escape(op.error)}")
