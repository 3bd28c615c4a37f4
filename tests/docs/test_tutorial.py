"""The tutorial: each page prints what it shows and draws its figures."""

import codeop

import numpy as np
import pytest
from tutorial import IMAGES, PAGES, blocks, images, run

import nnx

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["numba", "numpy"])
@each_page
def test_a_page_prints_what_it_shows(page, backend, tmp_path):
    with nnx.use_backend(backend):
        printed = run(page, tmp_path)
    for (code, shown), out in zip(blocks(page.read_text(encoding="utf-8")), printed, strict=True):
        assert out == shown, code
    assert sorted(drawn.name for drawn in tmp_path.glob("*.png")) == sorted(images(page.read_text(encoding="utf-8")))


@pytest.mark.long
@each_page
def test_a_figure_is_what_its_code_draws(page, tmp_path):
    from PIL import Image

    with nnx.use_backend("numpy"):
        run(page, tmp_path)
    for name in images(page.read_text(encoding="utf-8")):
        shown, drawn = (Image.open(folder / name).convert("RGB") for folder in (IMAGES, tmp_path))
        assert shown.size == drawn.size, name
        small = [np.asarray(image.reduce(8), float) for image in (shown, drawn)]
        assert np.abs(small[0] - small[1]).mean() < 1.5, f"{name}: make tutorial draws it anew"  # of 255


@each_page
def test_a_block_can_be_pasted_at_a_prompt(page):
    for code, _ in blocks(page.read_text(encoding="utf-8")):
        compiler, pending = codeop.CommandCompiler(), []
        for line in [*code.splitlines(), ""]:
            pending.append(line)
            if compiler("\n".join(pending), symbol="single") is not None:
                pending = []
        assert not any(pending), code


def test_every_figure_is_shown_and_small():
    shown = [name for page in PAGES for name in images(page.read_text(encoding="utf-8"))]
    assert sorted(shown) == sorted(path.name for path in IMAGES.iterdir())
    for path in IMAGES.iterdir():
        assert path.stat().st_size < 60_000, path.name
