"""Every block of every page runs, or says why it does not; all commands and options that pages name are there."""

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pages import CODE, Reader, blocks_of, commands_of, simple_commands
from typer.main import get_command

import nnx
from nnx.cli import _add_commands
from nnx.cli._app import app

ROOT = Path(__file__).parents[2]
ELSEWHERE = "README.md", "CONTRIBUTING.md"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*(ROOT / name for name in ELSEWHERE), *sorted((ROOT / "docs").rglob("*.md"))]
}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
SECONDS = {"docs/my-pictures.md", "docs/tables.md"}
"""Pages that are read in a few seconds; the others are long proofs."""


def readable(pages):
    """The pages that have code to run, but for those of the tutorial: test_tutorial.py."""
    return [
        pytest.param(name, marks=pytest.mark.slow if name in SECONDS else pytest.mark.long)
        for name, text in pages.items()
        if "tutorial/" not in name and any(block.runs for block in blocks_of(text))
    ]


@pytest.fixture
def as_in_a_new_process(monkeypatch):
    """Nothing is chosen before, and what a page chooses does not stay."""
    monkeypatch.delenv("NNX_BACKEND", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    nnx.set_backend(None)


@pytest.mark.parametrize("page", readable(PAGES))
def test_a_reader_who_copies_the_blocks_gets_what_the_page_shows(page, tmp_path, monkeypatch, as_in_a_new_process):
    monkeypatch.chdir(tmp_path)
    reader = Reader(page)
    if page in WITH:
        WITH[page](reader)
    for block in blocks_of(PAGES[page]):
        if block.runs:
            reader.run(block)
    if page in LEARNED:
        LEARNED[page](reader)


def extending(reader):
    assert "update_                 fused" in reader.printed
    worst = nnx.Trainer(nnx.MLP((5,), 3), loss=reader.names["WorstOutput"](), backend="numpy")
    losses = worst.fit(reader.names["x"], reader.names["t"], epochs=3, verbose=False)["loss"]
    assert losses[-1] < losses[0]


def my_pictures(reader):
    assert reader.names["answer"] == 3


def pictures(reader):
    assert reader.names["model"].accuracy(reader.names["test"]) > 0.8
    assert {"inspect-filters", "inspect-features"} <= set(reader.names["figures"])
    colours = reader.names["data"].train
    assert np.array_equal(colours.x[0, 0, 0], [(0, 0, 192), (192, 0, 0)][colours.t[0]])


def tables(reader):
    wine = nnx.datasets.load("wine.csv", label="cultivar")
    assert reader.names["trainer"].accuracy(wine.test) > 0.8
    own = reader.names["wine"].target_names[reader.names["wine"].target]
    assert np.mean(own == reader.names["names"]) > 0.9
    assert reader.names["regression"].evaluate(reader.names["data"].test).score > 0.3


def training(reader):
    accuracies = [float(line.split()[-1]) for line in reader.printed.splitlines() if re.search(r" [01]\.\d+$", line)]
    assert len(accuracies) == 2
    assert min(accuracies) > 0.85
    assert reader.names["loss"] < 2.31
    assert reader.names["trainer"].model.backend.name == "numpy"


def toy_plugin(reader):
    reader.install(ROOT / "tests/toy_plugin")
    sys.path.insert(0, str(reader.site))


WITH = {
    "docs/conformance.md": toy_plugin,
    "docs/interop.md": lambda _: pytest.importorskip("torch"),
}
"""What a page takes to be installed."""

LEARNED = {
    "docs/extending.md": extending,
    "docs/my-pictures.md": my_pictures,
    "docs/pictures.md": pictures,
    "docs/tables.md": tables,
    "docs/training.md": training,
}
"""What a page's code has to have reached at its end."""


def test_every_block_says_what_it_is():
    known = {*CODE, "text", "toml"}
    unknown = [f"{page}:{b.line}" for page, text in PAGES.items() for b in blocks_of(text) if b.language not in known]
    assert unknown == []


def commands():
    """Every command of every page, in a block or in a line of its text."""
    for page, text in PAGES.items():
        for block in blocks_of(text):
            if block.language in ("sh", "console"):
                for line, _ in commands_of(block):
                    for words in simple_commands(line):
                        yield f"{page}:{block.line}", words
        for quoted in re.findall(
            r"`((?:nnx|pip install) [^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        ):
            yield page, quoted.split()


def test_the_commands_and_options_of_all_pages_are_there():
    _add_commands()
    root = get_command(app)
    checked = 0
    for place, words in commands():
        called = [word.partition("=")[0] for word in words if word.startswith("-") or "=" not in word]  # no NAME=VALUE
        if called and Path(called[0]).name == "nnx":
            check_command(place, root, called[1:])
            checked += 1
        extras = re.findall(r"(?:nnx-array|\.)\[([\w,]+)\]", " ".join(words))
        assert all(extra in EXTRAS for text in extras for extra in text.split(",")), place
    assert checked > 50


def check_command(place, command, words):
    """Fail unless a command line's commands and options are there."""
    for i, word in enumerate(words):
        if word in getattr(command, "commands", {}):
            command = command.commands[word]
        elif word.startswith("-") and word != "-":
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            assert word in known | {"--help"}, f"{place}: {command.name} has no {word}"
        elif hasattr(command, "commands"):
            assert not re.fullmatch(r"[a-z-]+", word), f"{place}: no command {word}"
        if command.name == "launch" and word == "nnx":
            check_command(place, get_command(app), words[i + 1 :])
            return
        if command.name == "run" or (command.name == "launch" and word.endswith(".py")):  # what follows is the script's
            return
