"""Pages of the documentation: their blocks of code, and a reader who copies them."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass

import pytest
from command_line import nnx_command

CODE = ("python", "sh", "console")
"""The languages of blocks that run; what is not run says why on the line above: <!-- not run: WHY -->."""
BLOCK = re.compile(r"^(?:<!-- not run: ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PRINTED = re.compile(r"^print\(.*\)  # ([^a-zA-Z].*)$", re.MULTILINE)
"""What the comment beside a print says is printed; one that begins with a letter is a remark."""


@dataclass(frozen=True)
class Block:
    """A block of a page: its language, its text, the line where it begins, and why it is not run, if it is not."""

    language: str
    text: str
    line: int
    why_not: str | None = None


def blocks_of(page):
    """Return the blocks of a page's text, from top to bottom."""
    return [
        Block(match[2], match[3], page.count("\n", 0, match.start(2)) + 1, match[1]) for match in BLOCK.finditer(page)
    ]


def python_of(page):
    """Return the code of the blocks of Python that run."""
    return [block.text for block in blocks_of(page) if block.language == "python" and block.why_not is None]


def commands_of(block):
    """Yield the commands of a block for a shell, each with the lines that the page shows below it."""
    if block.language == "sh":
        for line in block.text.replace("\\\n", " ").splitlines():
            if shlex.split(line, comments=True):
                yield line, []
    else:
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, *shown = part.replace("\\\n", " ").splitlines()
            yield line, shown


class Reader:
    """Copies the blocks of one page into one session of Python and one shell, in the present folder.

    Args:
        name: the page, for tracebacks.
    """

    def __init__(self, name):
        self.page = name
        self.names = {"__name__": "page"}
        self.printed = ""

    def run(self, block):
        """Run a block, and hold what it prints to what the page shows."""
        if block.language == "python":
            self._python(block)
        else:
            for line, shown in commands_of(block):
                self._shell(line, shown)

    def _python(self, block):
        code = compile("\n" * block.line + block.text, self.page, "exec")
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, self.names)
        check_shown(out.getvalue(), PRINTED.findall(block.text))
        self.printed += out.getvalue()

    def _shell(self, line, shown):
        printed = ""
        with pytest.MonkeyPatch.context() as patch:
            for words in simple_commands(line):
                while words and re.fullmatch(r"\w+=.*", words[0]):
                    patch.setenv(*words.pop(0).split("=", 1))
                printed += self._command(words)
        check_shown(printed, shown)
        self.printed += printed

    def _command(self, words):
        name, *arguments = words
        if name == "cd":
            os.chdir(arguments[0])
            return ""
        if name == "nnx" and arguments[0] != "run":  # a script may change its process
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
                status = nnx_command(*arguments)
            assert status == 0, out.getvalue()
            return out.getvalue()
        start = {"nnx": ["-m", "nnx"], "python": [], "pytest": ["-m", "pytest"]}
        assert name in start, f"{name}: no command that the tests know; <!-- not run: WHY --> above the block"
        done = subprocess.run(
            [sys.executable, *start[name], *arguments], capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr


def simple_commands(line):
    """Yield the words of each command of a line: `A && B` has two."""
    words = []
    for word in shlex.split(line, comments=True):
        if word == "&&":
            yield words
            words = []
        else:
            words.append(word)
    yield words


def check_shown(printed, shown):
    """Fail unless the shown lines are among the printed ones, in their order.

    Numbers may be others and blanks more or fewer; `...` stands for anything.
    """
    lines = iter(printed.splitlines())
    for expected in shown:
        if expected.strip() in ("", "..."):
            continue
        pattern = like(expected)
        assert any(pattern.fullmatch(line.strip()) for line in lines), f"{expected!r} is not in:\n{printed}"


def like(line):
    """Return the pattern of lines like this one."""
    pattern = ""
    for part in re.split(r"(\.\.\.|[-+]?\d[\d.,]*(?:e[-+]?\d+)?|\s+)", line.strip()):
        if part == "...":
            pattern += r".*"
        elif part.isspace():
            pattern += r"\s+"
        elif re.match(r"[-+]?\d", part):
            pattern += r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?"
        else:
            pattern += re.escape(part)
    return re.compile(pattern.replace(r".*\s+", r".*\s*").replace(r"\s+.*", r"\s*.*"))
