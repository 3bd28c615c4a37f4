"""On which backend the book's functions and layers compute, here also what is so small that users' NumPy does it."""

import pytest

import nnx
from nnx.book import _arrays, functions, layers, planned


@pytest.fixture
def of_any_size(monkeypatch):
    """Have the backend compute whatever the size."""
    monkeypatch.setattr(_arrays, "LEAST", 0)
    monkeypatch.setattr(_arrays, "LEAST_OF_AN_SGD", 0)
    monkeypatch.setattr(functions, "LEAST_OF_A_SOFTMAX", 0)
    monkeypatch.setattr(layers, "LEAST_OF_A_PRODUCT", 0)
    monkeypatch.setattr(planned, "LEAST_OF_A_PLAN", 0)


@pytest.fixture(params=["numpy", "numba", "as it comes"], autouse=True)
def backend(request):
    if request.param != "as it comes":
        request.getfixturevalue("of_any_size")
    with nnx.use_backend("numba" if request.param == "as it comes" else request.param):
        yield request.param
