"""A person's own folder, and figures only where a test asks for them."""

import pytest

from nnx._support import plots


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NNX_BACKEND", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def figures():
    """matplotlib is installed, as it is for no other test here: to draw takes ten times as long as a small training."""


@pytest.fixture(autouse=True)
def _without_figures(request, monkeypatch):
    if "figures" not in request.fixturenames:
        monkeypatch.setattr(plots, "available", lambda: False)
