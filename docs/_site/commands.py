"""The page of the command line, made from the commands themselves."""

import html
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from nnx.cli import _add_commands
from nnx.cli._app import app


def commands_page() -> str:
    """Return the page: each command with its help, its arguments and its options."""
    _add_commands()
    parts = ["# Command line"]
    for names, command in walk(("nnx",), get_command(app)):
        if len(names) > 1:
            parts.append(f"{'#' * len(names)} {' '.join(names)}")
        parts += [*described(command.help), f"```text\n{usage(names, command)}\n```", *table(command)]
    return "\n\n".join(parts) + "\n"


def walk(names: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield a command and those below it, with their names."""
    yield names, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk((*names, name), below)


def described(text: str) -> list[str]:
    """Return the paragraphs of a help text; what is not to be wrapped, after \\b as typer has it, are examples."""
    return [
        f"```console\n{paragraph.removeprefix(chr(8)).strip()}\n```" if paragraph.startswith("\b") else plain(paragraph)
        for paragraph in text.split("\n\n")
    ]


def usage(names: tuple[str, ...], command: Any) -> str:
    """Return the line that says how a command is called."""
    return " ".join([*names, *command.collect_usage_pieces(context(command))])


def table(command: Any) -> list[str]:
    """Return the table of a command's arguments and options, if it has any."""
    ctx = context(command)
    records = [p.get_help_record(ctx) for p in command.params]
    rows = [f"| `{names}` | {plain(text).replace('|', chr(92) + '|')} |" for names, text in filter(None, records)]
    return ["\n".join(["| option | what it does |", "| --- | --- |", *rows])] if rows else []


def context(command: Any) -> Any:
    """Return what the command's own methods need to describe it."""
    return command.make_context("nnx", [], resilient_parsing=True)


def plain(text: str) -> str:
    """Return a text as Markdown that shows it as it is."""
    return html.escape(text, quote=False).replace("*", r"\*").replace("_", r"\_").replace("[", r"\[")
