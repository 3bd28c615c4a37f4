"""The code of docs/pictures.md, run from top to bottom."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nnx

PAGE = (Path(__file__).parents[2] / "docs/pictures.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_runs(tmp_path):
    names = {}
    with nnx.use_backend("numpy"):
        for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(code, names)
        assert names["model"].accuracy(names["test"]) > 0.8
        assert {"inspect-filters", "inspect-features"} <= set(names["figures"])
        for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            (tmp_path / "source" / label).mkdir(parents=True)
            for i in range(6):
                Image.new("RGB", (9, 5), colour).save(tmp_path / "source" / label / f"{i}.png")
        names["to_idx"](tmp_path / "source", tmp_path / "grey")
        names["to_idx"](tmp_path / "source", tmp_path / "coloured", size=(8, 6), mode="RGB")
        assert nnx.datasets.load(tmp_path / "grey").pictures().train.x.shape[1:] == (1, 28, 28)
        coloured = nnx.datasets.load(tmp_path / "coloured").pictures().train
        assert coloured.x.shape[1:] == (3, 6, 8)
        assert np.array_equal(coloured.x[0, :, 0, 0], [(0, 0, 255), (255, 0, 0)][coloured.t[0]])
