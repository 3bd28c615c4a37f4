"""The code of docs/pictures.md, run from top to bottom."""

from pathlib import Path

import numpy as np
import pytest
from pages import python_of

import nnx

PAGE = (Path(__file__).parents[2] / "docs/pictures.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    with nnx.use_backend("numpy"):
        for code in python_of(PAGE):
            exec(code, names)
        assert names["model"].accuracy(names["test"]) > 0.8
        assert {"inspect-filters", "inspect-features"} <= set(names["figures"])
        colours = names["data"].train
        assert f"print(data.train)  # {colours!r}\n" in PAGE
        assert np.array_equal(colours.x[0, 0, 0], [(0, 0, 192), (192, 0, 0)][colours.t[0]])
