"""NumPy's BLAS is told from the others that a process may hold."""

import pytest
from nnx_kernels import blas


def pool(file, version, threads, kind="blas"):
    return {
        "user_api": kind, "internal_api": "openblas", "version": version, "architecture": "Zen", "num_threads": threads,
        "filepath": f"/site-packages/{file}",
    }  # fmt: skip


NUMPYS, SCIPYS = pool("numpy.libs/libopenblas.so", "0.3.31", 4), pool("scipy.libs/libopenblas.so", "0.3.30", 2)
SYSTEMS, OPENMP = pool("libblas.so", "0.3.20", 8), pool("libgomp.so", "4", 8, "openmp")
FOUND = {"blas": "openblas 0.3.31 (Zen)", "blas threads": "4"}


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ([NUMPYS], FOUND),
        ([OPENMP, NUMPYS, SCIPYS], FOUND),
        ([SCIPYS, NUMPYS], FOUND),
        ([SYSTEMS, SCIPYS], {"blas": "openblas 0.3.20 (Zen)", "blas threads": "8"}),
        ([OPENMP], {}),
    ],
)
def test_numpys_own_else_the_first(pools, expected, monkeypatch):
    monkeypatch.setattr(blas, "threadpool_info", lambda: pools)
    assert blas.blas() == expected
