"""The code of docs/training.md, run from top to bottom."""

from pathlib import Path

import pytest
from pages import python_of

import nnx

PAGE = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    with nnx.use_backend("numpy"):
        accuracies = []
        for code in python_of(PAGE):
            exec(code, names)
            if "trainer.accuracy" in code:
                accuracies.append(float(capsys.readouterr().out.split()[-1]))
    assert len(accuracies) == 2
    assert min(accuracies) > 0.85
    assert names["loss"] < 2.31
    assert names["trainer"].model.backend.name == "numpy"
