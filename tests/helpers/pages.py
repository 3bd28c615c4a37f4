"""Pages of the documentation: their blocks of code, and a reader who copies them."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import nnx_command
from plugins import install

CODE = ("python", "sh", "console")
"""The languages of blocks that run. What is not run says why on the line above: <!-- not run: WHY -->. A block with a
title (```python title="own.py") is a file."""
BLOCK = re.compile(
    r"^(?:<!-- not run: ([^\n]*) -->\n)?```(\w*)(?: title=\"([^\"\n]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL
)

PRINTED = re.compile(r"^print\(.*\)  # ([^a-zA-Z].*)$", re.MULTILINE)
"""What the comment beside a print says is printed; one that begins with a letter is a remark."""


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Args:
        language: as its fence names it.
        file: the name of the file that it shows, if it shows one.
        line: where it begins.
        why_not: why it is not run, if it is not.
    """

    language: str
    text: str
    file: str | None
    line: int
    why_not: str | None

    @property
    def runs(self):
        """Whether a reader can run it, or write it into a file."""
        return self.why_not is None and (self.file is not None or self.language in CODE)


def blocks_of(page):
    """Return the blocks of a page's text, from top to bottom."""
    return [
        Block(match[2], match[4], match[3], page.count("\n", 0, match.start(2)) + 1, match[1])
        for match in BLOCK.finditer(page)
    ]


def python_of(page):
    """Return the code of the blocks of Python that run."""
    return [block.text for block in blocks_of(page) if block.runs and block.language == "python"]


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
        self.site = None

    def install(self, project):
        """Let the processes that the page starts import the plugin in a folder, as if it were installed."""
        self.site = Path.cwd() / "site-packages"
        install(project, self.site)

    def run(self, block):
        """Run a block, or write it into its file, and hold what it prints to what the page shows."""
        if block.file is not None:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
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
        name = name.removeprefix(".venv/bin/")
        if name == "cd":
            os.chdir(arguments[0])
            return ""
        if [name, *arguments] == ["pip", "install", "-e", "."]:
            self.install(Path.cwd())
            return ""
        if name == "nnx" and arguments[0] != "run" and self.site is None:  # a script may change its process
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
                status = nnx_command(*arguments)
            assert status == 0, out.getvalue()
            return out.getvalue()
        start = {"nnx": ["-m", "nnx"], "python": [], "pytest": ["-m", "pytest"]}
        assert name in start, f"{name}: no command that the tests know; <!-- not run: WHY --> above the block"
        path = [str(folder) for folder in (self.site, *sys.path) if folder]
        done = subprocess.run(
            [sys.executable, *start[name], *arguments],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
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
