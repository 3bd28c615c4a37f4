"""Products in register tiles: right in every shape, within their arrays, the same bits on any number of threads."""

import itertools
import multiprocessing
import os
import threading
from fractions import Fraction

import numpy as np
import processors
import pytest
from threads import at_once

pytest.importorskip("numba")
from nnx_kernels.cpu import product as kernels
from nnx_kernels.cpu import team as jobs
from nnx_numba._team import Team

if kernels.part_of_product.interpreted:
    pytest.skip("the tiles are LLVM's, not the interpreter's", allow_module_level=True)

ROWS, COLUMNS, INNER = (1, 2, 5, 7, 13, 24, 100), (1, 3, 16, 17, 31, 50, 64, 65, 100, 129, 200), (0, 1, 5, 50, 300)


def problem(m, n, k, dtype, transposed=False):
    r = np.random.default_rng(m * n + k)
    a, b = r.standard_normal((m, k)).astype(dtype), r.standard_normal((k, n)).astype(dtype)
    return (np.ascontiguousarray(a.T) if transposed else a), b


def shared(team, a, b, c, transposed=False, rows=12, columns=64):
    """Compute c by a team, in parts."""
    job = kernels.job(a, b, c, transposed, rows, columns)
    if job is not NotImplemented:
        team.do(job)
    return job


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_shape_is_right_and_nothing_else_is_written(dtype, transposed):
    tolerance = 4 * np.finfo(dtype).eps
    for m, n, k in itertools.product(ROWS, COLUMNS, INNER):
        a, b = problem(m, n, k, dtype, transposed)
        memory = np.full(m * n + 200, 7, dtype)
        c = memory[100:-100].reshape(m, n)
        assert kernels.product(a, b, c, transposed) is None
        exact = (a.T if transposed else a).astype(np.longdouble) @ b.astype(np.longdouble)
        scale = abs(a.T if transposed else a).astype(float) @ abs(b).astype(float) + np.finfo(dtype).tiny
        assert (np.abs(c - exact) / scale).max() < tolerance * max(1, k) ** 0.5, (m, n, k)
        assert (memory[:100] == 7).all()
        assert (memory[-100:] == 7).all()


@pytest.mark.parametrize("transposed", [False, True])
def test_a_of_float32_beside_float64_is_widened(transposed):
    team = Team(2, jobs)
    for m, n, k in itertools.product(ROWS, COLUMNS, INNER):
        a, b = problem(m, n, k, "float64", transposed)
        a = a.astype(np.float32)
        wide, mixed, parts = (np.empty((m, n)) for _ in range(3))
        kernels.product(a.astype(float), b, wide, transposed)
        assert kernels.product(a, b, mixed, transposed) is None
        shared(team, a, b, parts, transposed)
        assert mixed.tobytes() == parts.tobytes() == wide.tobytes(), (m, n, k)
    for wrong in ((a.astype(float), b.astype(np.float32), wide), (a, b, wide.astype(np.float32))):
        assert kernels.product(*wrong, transposed) is NotImplemented
        assert kernels.job(*wrong, transposed, 12, 64) is NotImplemented


def test_a_number_is_a_chain_of_fused_multiplications_in_order():
    a, b = problem(3, 5, 40, "float64")
    c = np.empty((3, 5))
    kernels.product(a, b, c, 0)
    for i, j in itertools.product(range(3), range(5)):
        total = 0.0
        for x, y in zip(a[i].tolist(), b[:, j].tolist(), strict=True):
            total = float(Fraction(x) * Fraction(y) + Fraction(total))  # rounded once
        assert c[i, j] == total


NARROW = """
import itertools
from unittest.mock import patch
import numpy as np
from nnx_kernels.cpu import _jit, flush
from numba.core.registry import cpu_target
cpu_target.target_context  # Numba asks for the features, too, and once
with patch("llvmlite.binding.get_host_cpu_features", return_value={features}):
    from nnx_kernels.cpu import product as kernels
assert (kernels.BYTES, kernels.REGISTERS) == {expected}
for m, n, k in itertools.product((1, 5, 13, 30), (1, 7, 8, 17, 24, 40, 65), (1, 40)):
    a, b, c = np.random.default_rng(0).random((m, k)), np.random.default_rng(1).random((k, n)), np.empty((m, n))
    for dtype in (np.float32, np.float64):
        x, y, z = (array.astype(dtype) for array in (a, b, c))
        kernels.product(x, y, z, 0)
        assert np.allclose(z, a @ b, rtol=1e-5), (m, n, k)
    kernels.product(a.astype(np.float32), b, c, 0)
    assert np.allclose(c, a.astype(np.float32).astype(float) @ b, rtol=1e-12), (m, n, k)
"""


@pytest.mark.long
@processors.narrower_vectors
def test_processors_with_narrower_vectors(features, expected, tmp_path):
    processors.run(NARROW, features, expected, tmp_path)


@pytest.mark.parametrize("strange", [np.nan, np.inf, -0.0])
def test_what_is_no_ordinary_number(strange):
    a, b = problem(7, 33, 9, "float32")
    a[3, 4] = strange
    c = np.empty((7, 33), np.float32)
    with np.errstate(invalid="ignore"):
        kernels.product(a, b, c, 0)
        np.testing.assert_allclose(c, a @ b, rtol=1e-5, atol=1e-6)


def test_denormals_are_flushed_and_the_mode_is_put_back():
    a, b, c = np.full((4, 4), 1e-20, np.float32), np.full((4, 4), 1e-20, np.float32), np.ones((4, 4), np.float32)
    kernels.product(a, b, c, 0)
    assert not c.any()
    assert (np.full(4, 1e-38, np.float32) * np.float32(0.1) > 0).all()


def test_other_arrays_are_declined():
    a, b = problem(4, 6, 5, "float32")
    c = np.empty((4, 6), np.float32)
    for wrong in ((a[:, ::-1], b, c), (a, b.astype(float), c), (a, b, np.empty((4, 12), np.float32)[:, ::2])):
        assert kernels.product(*wrong, 0) is NotImplemented
        assert kernels.job(*wrong, False, 12, 64) is NotImplemented


SHAPES = [(100, 50, 784), (784, 50, 100), (16, 300, 1000), (257, 129, 65), (513, 3, 700), (3, 700, 513)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_bits_whatever_the_threads(shape, dtype):
    for transposed in (False, True):
        a, b = problem(*shape, dtype, transposed)
        alone = np.empty(shape[:2], dtype)
        kernels.product(a, b, alone, transposed)
        for threads, part in itertools.product((1, 2, 4), ((12, 64), (7, 5), (100, 100))):
            team = Team(threads, jobs)
            for _ in range(5):
                c = np.full(shape[:2], np.nan, dtype)
                shared(team, a, b, c, transposed, *part)
                np.testing.assert_array_equal(c, alone)


def test_several_threads_use_one_team():
    team, wrong = Team(3, jobs), []

    def work(seed):
        a, b = problem(60 + seed, 40, 50, "float32")
        alone, c = (np.empty((60 + seed, 40), np.float32) for _ in range(2))
        kernels.product(a, b, alone, 0)
        for _ in range(2000):
            c.fill(np.nan)
            shared(team, a, b, c)
            if not np.array_equal(c, alone):
                wrong.append(seed)
                return

    at_once(work, range(4))
    assert wrong == []


def spin():
    while True:
        pass


@pytest.mark.slow
def test_busy_processors():
    """Where others want every processor the results are right, and the team is left alone for a while."""
    others = [
        multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(2 * (os.cpu_count() or 1))
    ]
    for other in others:
        other.start()
    try:
        team = Team(max(2, os.cpu_count() or 2), jobs)
        a, b = problem(200, 200, 200, "float32")
        alone, c = (np.empty((200, 200), np.float32) for _ in range(2))
        kernels.product(a, b, alone, 0)
        for _ in range(1000):
            c.fill(np.nan)
            shared(team, a, b, c)
            assert np.array_equal(c, alone)
    finally:
        for other in others:
            other.kill()


def in_child(team, queue):
    a, b = problem(200, 50, 100, "float32")
    alone, c = (np.empty((200, 50), np.float32) for _ in range(2))
    kernels.product(a, b, alone, 0)
    shared(team, a, b, c)
    queue.put(bool(np.array_equal(c, alone)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_has_a_team_of_its_own():
    team = Team(2, jobs)
    a, b = problem(200, 50, 100, "float32")
    shared(team, a, b, np.empty((200, 50), np.float32))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(team, queue))
    child.start()
    assert queue.get(timeout=60)
    child.join()


def test_without_threads_it_says_so_once_and_goes_on(monkeypatch):

    def refused(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    team = Team(4, jobs)
    a, b = problem(200, 50, 100, "float32")
    alone, c = (np.empty((200, 50), np.float32) for _ in range(2))
    kernels.product(a, b, alone, 0)
    with pytest.warns(RuntimeWarning, match=r"numba: products on 1 thread\(s\): can't start new thread"):
        shared(team, a, b, c)
    assert np.array_equal(c, alone)
    shared(team, a, b, c)
    assert team.threads == 1
