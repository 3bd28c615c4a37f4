"""The code of docs/tables.md, run from top to bottom."""

from pathlib import Path

import numpy as np
from pages import python_of

import nnx

PAGE = (Path(__file__).parents[2] / "docs/tables.md").read_text(encoding="utf-8")


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    with nnx.use_backend("numpy"):
        for code in python_of(PAGE):
            exec(code, names)
            if "names" in names and "regression" not in names:
                data, trainer = names["data"], names["trainer"]
                assert f"print(data.train)  # {data.train!r}\n" in PAGE
                assert f"print(data.train.classes)  # {data.train.classes!r}\n" in PAGE
                assert trainer.accuracy(data.test) > 0.8
                own = names["wine"].target_names[names["wine"].target]
                assert np.mean(own == names["names"]) > 0.9
        assert names["regression"].evaluate(names["data"].test).score > 0.3
        assert f"# {nnx.datasets.load('mine.npz').train!r}\n" in PAGE
