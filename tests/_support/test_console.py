"""Lines that fit a terminal."""

import io
import os

import pytest

from nnx._support import console


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(console.shutil, "get_terminal_size", lambda: os.terminal_size((40, 20)))
    return Terminal()


def test_lines_are_broken_at_words_and_indented():
    text = "  data: a sentence of several words\nshort\n\nx" + "y" * 30
    assert console.fitted(text, 20) == (
        "  data: a sentence\n    of several words\nshort\n\nx" + "y" * 30  # a long word stays whole
    )


def test_a_row_that_fits_keeps_its_spaces():
    assert console.fitted("a     b  \n   c", 10) == "a     b  \n   c"


def test_a_terminal_gets_lines_one_column_narrower(terminal):
    console.say("word " * 20, file=terminal)
    lines = terminal.getvalue().splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= 39


def test_a_file_gets_whole_lines():
    file = io.StringIO()
    console.say("word " * 20, "nnx train", file=file)
    assert file.getvalue() == "word " * 20 + " nnx train\n"


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("nnx train", "continue with: nnx train\n"),
        ("nnx train --resume --out runs/a-long-name", "continue with:\n  nnx train --resume --out runs/a-long-name\n"),
    ],
)
def test_a_command_is_never_broken(terminal, command, printed):
    console.say("continue with:", command, file=terminal)
    assert terminal.getvalue() == printed


def test_things_are_counted():
    assert [console.counted(n, "step") for n in (0, 1, 2000)] == ["0 steps", "1 step", "2,000 steps"]
