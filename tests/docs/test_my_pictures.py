"""The code of docs/my-pictures.md, run from top to bottom."""

import re
from pathlib import Path

from pages import python_of

import nnx

PAGE = (Path(__file__).parents[2] / "docs/my-pictures.md").read_text(encoding="utf-8")


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    with nnx.use_backend("numpy"):
        for code in python_of(PAGE):
            exec(code, names)
    assert names["answer"] == 3
    printed = re.search(r"notes\[0\]\)  # (.*?) \.\.\.", PAGE)[1]
    assert names["pictures"].notes[0].startswith(printed)
