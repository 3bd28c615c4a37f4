"""The help of every command begins with examples that work, and the pages that messages name are there."""

import ast
import shlex
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import typer
from command_line import nnx_command

import nnx
from nnx._support.pages import Page, file_of, see
from nnx.cli import _add_commands
from nnx.cli._app import app

ROOT = Path(__file__).parents[2]
_add_commands()
ROOT_COMMAND = typer.main.get_command(app)


def commands(command, words=()):
    """Yield all commands and groups below one, each with the words that call it."""
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


COMMANDS = dict(commands(ROOT_COMMAND))


def examples(command):
    return [line.removeprefix("$ ") for line in command.help.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_a_command_begins_with_examples_of_it(words):
    found = examples(COMMANDS[words])
    assert found
    assert all(shlex.split(example)[: len(words) + 1] == ["nnx", *words] for example in found)


@pytest.mark.parametrize("example", [line for command in COMMANDS.values() for line in examples(command)])
def test_the_words_of_an_example_are_those_of_its_command(example):
    """Its options exist, with values of their types, and nothing is left over or missing."""
    context = ROOT_COMMAND.make_context("nnx", shlex.split(example, comments=True)[1:])
    while hasattr(context.command, "commands"):
        name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        if rest == ["--help"]:
            return
        context = command.make_context(name, rest, parent=context)
    assert not context.args or context.allow_extra_args


@pytest.mark.parametrize("columns", ["60", "80"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_examples_are_whole_lines_of_a_narrow_terminal(words, columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    assert nnx_command(*words, "--help") == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line.startswith("$ ")] == [f"$ {line}" for line in examples(COMMANDS[words])]
    assert max(map(len, lines)) <= int(columns)


def test_docs_lists_the_pages_by_their_titles(capsys):
    assert nnx_command("docs") == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert set(lines) == set(get_args(Page))
    assert lines["my-scripts"] == "My scripts"


def test_docs_prints_a_page(capsys):
    assert nnx_command("docs", "tables") == 0
    assert capsys.readouterr().out == (ROOT / "docs/tables.md").read_text(encoding="utf-8")


def test_docs_suggests_the_page_that_was_meant(capsys):
    assert nnx_command("docs", "tabels") == 1
    assert "unknown page 'tabels'. Did you mean 'tables'?" in capsys.readouterr().err


def test_every_page_that_can_be_named_comes_with_the_package():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    included = build["targets"]["wheel"]["force-include"]
    assert included == {f"docs/{page}.md": f"nnx/_docs/{page}.md" for page in get_args(Page)}
    for page in get_args(Page):
        assert file_of(page) == ROOT / "docs" / f"{page}.md"
        assert file_of(page).is_file()


def test_messages_name_pages_that_exist():
    named = set()
    for file in Path(nnx.__file__).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "see(" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "see":
                named.add(node.args[0].value)
    assert {"backends", "tables", "extending"} <= named <= set(get_args(Page))
    assert see("tables") == "See `nnx docs tables`."
