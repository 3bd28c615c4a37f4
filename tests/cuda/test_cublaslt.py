"""The products through cuBLASLt, without a GPU: what they ask of the library, by its rules and in numbers."""

import gc
import re
import threading
import weakref
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulator import EmulatedBackend
from host_cublaslt import DTYPES, HostCublasLt, HostCuda, HostGemm, RuleError
from nnx_cupy import _cublaslt as lt
from nnx_cupy import _workspace
from nnx_cupy._workspace import Workspace

import nnx
from nnx import testing
from nnx.layers import RELU

Array = np.ndarray[Any, Any]

TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-2, "bfloat16": 1e-1}
NAMES = {np.dtype(dtype).name: np.dtype(dtype) for dtype in DTYPES.values()}
TYPES = [
    *(("float32", "float32"), ("float64", "float64"), ("float16", "float16"), ("float16", "float32")),
    *(("bfloat16", "bfloat16"), ("bfloat16", "float32")),
]
"""Of the operands, and of the output."""
SHAPES = [(100, 784, 50), (100, 50, 10), (7, 3, 5), (2, 2, 2), (33, 129, 257), (64, 128, 128), (9, 8, 2), (5, 2, 3)]
"""n, i and o: of x, (n, i), and w, (i, o)."""


def real_library() -> Any:
    try:
        return lt.library()
    except Exception as error:
        pytest.skip(f"no cuBLASLt: {type(error).__name__}: {str(error).splitlines()[0]}")


@pytest.fixture(params=["stand-in", "real descriptors"])
def lib(request: pytest.FixtureRequest) -> HostCublasLt:
    return HostCublasLt(None if request.param == "stand-in" else real_library())


@pytest.fixture
def r() -> np.random.Generator:
    return np.random.default_rng(0)


def array(shape: tuple[int, ...], dtype: str, pad: int = 0, offset: int = 0, fill: Any = None) -> Array:
    """Rows `pad` elements apart, from `offset` bytes after a multiple of 256; NaN (or 0xEE) around it, and in it."""
    kind, columns = NAMES.get(dtype, np.dtype(dtype)), shape[-1] + pad
    rows = shape[0] if len(shape) > 1 else 1
    memory = np.full(rows * columns * kind.itemsize + 512, 0xEE, np.uint8)
    start = -memory.ctypes.data % 256 + offset
    full = memory[start : start + rows * columns * kind.itemsize].view(kind).reshape(rows, columns)
    if dtype != "uint8":
        full[...] = np.nan
    made = full[:, : shape[-1]] if len(shape) > 1 else full[0, : shape[-1]]
    if fill is not None:
        made[...] = fill
    return made


def normal(r: np.random.Generator, shape: tuple[int, ...], dtype: str, pad: int = 0, offset: int = 0) -> Array:
    return array(shape, dtype, pad, offset, r.normal(size=shape))


def exact(x: Array) -> Array:
    return np.asarray(x, np.float64)


def check(got: Array, expected: Array, tolerance: float) -> None:
    """Compares them, and that nothing between the rows was written."""
    np.testing.assert_allclose(exact(got), expected, rtol=0, atol=tolerance * (1 + np.abs(expected).max()))
    if got.ndim == 2:
        whole = np.lib.stride_tricks.as_strided(got, (len(got), got.strides[0] // got.itemsize), got.strides)
        assert np.isnan(exact(whole[:, got.shape[1] :])).all()


def check_products(
    lib: HostCublasLt,
    r: np.random.Generator,
    types: tuple[str, str] = ("float32", "float32"),
    shape: tuple[int, int, int] = (9, 7, 5),
    pad: int = 0,
    offset: int = 0,
) -> None:
    """Every product with every epilogue, against row-major NumPy in float64."""
    (operands, output), (n, i, o), gemm = types, shape, HostGemm(lib)
    tolerance = TOLERANCE[operands]
    x, w, dy = (normal(r, s, operands, pad, at) for s, at in (((n, i), offset), ((i, o), 0), ((n, o), offset)))
    b = normal(r, (o,), output)
    for bias in (None, b):
        y = array((n, o), output, pad)
        assert gemm.affine(x, w, bias, y) is y
        check(y, exact(x) @ exact(w) + (0 if bias is None else exact(bias)), tolerance)
    dx = array((n, i), output, pad)
    assert gemm.affine_dx(dy, w, dx) is dx
    check(dx, exact(dy) @ exact(w).T, tolerance)
    for db in (None, array((o,), output)):
        dw = array((i, o), output, pad)
        assert gemm.affine_dw(x, dy, dw, db=db) is dw
        check(dw, exact(x).T @ exact(dy), tolerance)
        if db is not None:
            check(db, exact(dy).sum(0), tolerance)
    assert not gemm.declined


def check_network(lib: HostCublasLt, r: np.random.Generator) -> None:
    """A training step of 784-50-10, batch 100, against the textbook's."""
    n, i, h, o = 100, 784, 50, 10
    gemm = HostGemm(lib)

    def new(*shape: int) -> Array:
        return array(shape, "float32")

    x, t = normal(r, (n, i), "float32"), r.integers(0, o, n)
    w1, b1, w2, b2 = (array(s, "float32", fill=0.05 * r.normal(size=s)) for s in ((i, h), (h,), (h, o), (o,)))
    hidden, z, dz, dh = new(n, h), new(n, o), new(n, o), new(n, h)
    dw1, db1, dw2, db2 = new(i, h), new(h), new(h, o), new(o)

    def gradient(z: Array) -> Array:
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(n), t] -= 1
        return p / n

    gemm.affine(x, w1, b1, hidden)
    np.maximum(hidden, 0, out=hidden)
    gemm.affine(hidden, w2, b2, z)
    dz[...] = gradient(z)
    gemm.affine_dw(hidden, dz, dw2, db=db2)
    gemm.affine_dx(dz, w2, dh)
    dh *= hidden > 0
    gemm.affine_dw(x, dh, dw1, db=db1)
    a = exact(x) @ exact(w1) + exact(b1)
    wanted_h = np.maximum(a, 0)
    wanted_z = wanted_h @ exact(w2) + exact(b2)
    wanted_dz = gradient(wanted_z)
    wanted_dh = wanted_dz @ exact(w2).T * (a > 0)
    for got, expected in (
        *((hidden, wanted_h), (z, wanted_z), (dw2, wanted_h.T @ wanted_dz), (db2, wanted_dz.sum(0)), (dh, wanted_dh)),
        *((dw1, exact(x).T @ wanted_dh), (db1, wanted_dh.sum(0))),
    ):
        check(got, expected, 1e-5)
    assert lib.calls[-5:] == [(h, n, i), (o, n, h), (o, h, n), (h, n, o), (h, i, n)]
    gemm.affine(x, w1, b1, hidden)
    assert len(gemm.plans) == 5  # used again
    assert not gemm.declined


# The products ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("types", TYPES, ids=" to ".join)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pad", [0, 3])
def test_products(
    lib: HostCublasLt, r: np.random.Generator, types: tuple[str, str], shape: tuple[int, int, int], pad: int
) -> None:
    if types[0] not in NAMES:
        pytest.skip("bfloat16 needs ml_dtypes")
    check_products(lib, r, types, shape, pad)


def test_products_of_arrays_on_four_bytes(lib: HostCublasLt, r: np.random.Generator) -> None:
    check_products(lib, r, shape=(16, 12, 8), offset=4)


def check_all(lib: HostCublasLt, r: np.random.Generator) -> None:
    check_products(lib, r, shape=(6, 6, 6))  # square: only the numbers can tell
    check_products(lib, r)
    check_network(lib, r)


def test_a_training_step(lib: HostCublasLt, r: np.random.Generator) -> None:
    check_all(lib, r)


CONSTANTS = {
    "operands' transposition swapped": ("TRANSA", 4),
    "bias missing": ("BIAS", 0),
    "BGRADB for BGRADA": ("BGRADA", 512),
    "float32 computed as float64": ("COMPUTE_32F", 70),
}
"""Mistakes in a number of the library's."""
ARGUMENTS = {
    "operands not swapped": lambda d, a, b, *rest: (d, b, a, *rest),
    "A not transposed in dx": lambda d, a, *rest: (d, (a[0], False), *rest),
    "B transposed in forward": lambda d, a, b, *rest: (d, a, (b[0], True), *rest),
}
"""Mistakes in what a product is made of."""


@pytest.mark.parametrize("bug", [*CONSTANTS, *ARGUMENTS])
def test_seeded_bugs_are_noticed(
    lib: HostCublasLt, r: np.random.Generator, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    run = lt.LtGemm._run
    if bug in CONSTANTS:
        monkeypatch.setattr(lt, *CONSTANTS[bug])
    else:
        monkeypatch.setattr(lt.LtGemm, "_run", lambda self, *given: run(self, *ARGUMENTS[bug](*given)))
    with pytest.raises((AssertionError, ValueError, lt.LtError)):
        check_all(lib, r)


def test_the_stand_in_notices_writes_out_of_bounds(lib: HostCublasLt, r: np.random.Generator) -> None:
    gemm, y = HostGemm(lib), array((9, 5), "float32")
    x, w = normal(r, (9, 7), "float32"), normal(r, (7, 5), "float32")
    gemm.affine(x, w, None, y)
    plan = next(iter(gemm.plans.values()))
    space = gemm.workspaces.current(gemm.xp.stream)
    lib.note([x, w, y[:8]], space)
    with pytest.raises(RuleError, match="out of bounds"):
        plan.launch(lt.pointer(w), lt.pointer(x), lt.pointer(y), 0, lt.pointer(space.arrays[0]), 0)


# What surrounds them --------------------------------------------------------------------------------------------------


class Operands:
    """Of one small product: y = x @ w + b."""

    def __init__(self, dtype: str = "float32", seed: int = 0) -> None:
        r = np.random.default_rng(seed)
        self.x, self.w, self.b = (normal(r, shape, dtype) for shape in ((8, 6), (6, 4), (4,)))
        self.y = array((8, 4), dtype)

    def __iter__(self) -> Any:
        return iter((self.x, self.w, self.b, self.y))

    def expected(self) -> Array:
        return exact(self.x) @ exact(self.w) + exact(self.b)


def test_what_a_capture_needs_is_made_before(lib: HostCublasLt) -> None:
    capturing = [True]
    gemm, operands = HostGemm(lib, HostCuda(capturing=lambda: capturing[0])), Operands()
    with pytest.raises(lt.LtError, match="while its stream is being captured: run the step once before"):
        gemm.affine(*operands)
    capturing[0] = False
    gemm.affine(*operands)
    capturing[0] = True
    assert gemm.affine(*operands) is operands.y
    gemm.xp.stream = 0x88  # a workspace of its own
    with pytest.raises(lt.LtError, match="run the step once before"):
        gemm.affine(*operands)
    capturing[0] = False
    gemm.affine(*operands)
    assert len(gemm.plans) == 1


# Workspaces -----------------------------------------------------------------------------------------------------------


def addresses(gemm: HostGemm) -> list[int]:
    """The address of the workspace that a product gets now."""
    gemm.affine(*Operands())
    return [lt.pointer(space) for space in gemm.workspaces.current(gemm.xp.stream).arrays]


def test_every_stream_has_its_workspace_and_every_thread(lib: HostCublasLt) -> None:
    gemm = HostGemm(lib)
    first = addresses(gemm)
    gemm.xp.stream = 0x88
    assert addresses(gemm) != first
    gemm.xp.stream = 0x77
    assert addresses(gemm) == first
    of_threads: list[list[int]] = []
    thread = threading.Thread(target=lambda: of_threads.append(addresses(gemm)))
    thread.start()
    thread.join()
    assert of_threads[0] != first


def test_workspaces_go_with_their_threads_and_old_streams(lib: HostCublasLt) -> None:
    gemm, made = HostGemm(lib), []

    class Counted(Workspace):
        def __init__(self, xp: Any) -> None:
            super().__init__(xp)
            made.append(weakref.ref(self))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_workspace, "Workspace", Counted)
        for _ in range(20):
            thread = threading.Thread(target=lambda: addresses(gemm))
            thread.start()
            thread.join()
        for stream in range(20):
            gemm.xp.stream = 0x100 + stream
            addresses(gemm)
    gc.collect()
    assert len(made) == 40
    assert sum(ref() is not None for ref in made) == gemm.workspaces.MOST


def test_a_graph_has_a_workspace_of_its_own(lib: HostCublasLt) -> None:
    gemm = HostGemm(lib)
    own = Workspace(gemm.xp)
    with gemm.workspaces.use(own):
        assert addresses(gemm) == [lt.pointer(space) for space in own.arrays]
    assert addresses(gemm) != [lt.pointer(space) for space in own.arrays]
    lib.workspace *= 2
    before = own.arrays[0]
    with gemm.workspaces.use(own):
        gemm.affine(*Operands("float64"))  # another plan, which asks for more
    assert [space.size for space in own.arrays] == [lib.workspace // 2, lib.workspace]
    assert own.arrays[0] is before  # the graph may have its address


def test_no_memory_where_no_algorithm_asks_for_any(lib: HostCublasLt) -> None:
    lib.workspace = 0
    gemm = HostGemm(lib)
    assert addresses(gemm) == []
    assert not gemm.declined


# Products recorded ----------------------------------------------------------------------------------------------------


def test_products_in_a_graph() -> None:
    """Recorded, they read what is in their arrays at each launch; arrays that nobody else holds stay alive."""
    graph: list[Any] = []
    gemm, operands = HostGemm(HostCublasLt(launch=graph.append)), Operands()
    gemm.affine(*operands)
    assert np.isnan(operands.y).all()
    x, y, expected = operands.x, operands.y, operands.expected()
    del operands
    graph[0]()
    check(y, expected, 1e-5)
    x *= 2
    graph[0]()
    assert abs(exact(y) - expected).max() > 0.1


def test_declines_are_counted_and_write_nothing(lib: HostCublasLt) -> None:
    gemm, operands, r = HostGemm(lib), Operands(), np.random.default_rng(1)
    x, w, b, y = operands

    def single(shape: tuple[int, ...], offset: int = 0) -> Array:
        return normal(r, shape, "float32", 0, offset)

    db, dw = array((4,), "float32"), array((6, 4), "float32")
    for reason, call in (
        ("a dimension of one", lambda: gemm.affine(x[:1], w, b, y[:1])),
        ("a dimension of one", lambda: gemm.affine(x[:, :0], w[:0], b, y)),
        ("a dimension of one", lambda: gemm.affine_dw(x[:1], single((1, 4)), dw, db=db)),
        ("not row-major", lambda: gemm.affine(np.asfortranarray(x), w, b, y)),
        ("not on 16 bytes", lambda: gemm.affine(x, w, single((4,), 4), y)),
        ("dtypes float32, float64", lambda: gemm.affine(x.astype(float), w, b, y)),
        ("dtypes int64, int64", lambda: gemm.affine(x.astype(int), w.astype(int), b, y)),
        ("dtypes float32, float32, int64", lambda: gemm.affine(x, w, None, np.empty((8, 4), int))),
    ):
        gemm.declined.clear()
        assert call() is NotImplemented, reason
        assert [reason in why for why in gemm.declined] == [True], gemm.declined
    assert lib.calls == []
    assert all(np.isnan(array).all() for array in (y, db, dw))


def test_wrong_shapes_raise(lib: HostCublasLt) -> None:
    gemm, (x, w, b, y) = HostGemm(lib), Operands()
    with pytest.raises(ValueError, match=r"shapes do not fit: \(5, 4\), \(8, 6\) -> \(8, 4\)"):
        gemm.affine(x, w[:5], b, y)
    with pytest.raises(ValueError, match=r"the bias must have the shape \(4,\)"):
        gemm.affine(x, w, b[:3], y)


@pytest.mark.parametrize(
    ("dtype", "tf32", "compute"),
    [("float32", True, 77), ("float32", False, 68), ("float16", True, 68), ("float64", True, 70)],
)
def test_tf32_only_for_float32_and_only_on_request(lib: HostCublasLt, dtype: str, tf32: bool, compute: int) -> None:
    gemm = HostGemm(lib, tf32=tf32)
    gemm.affine(*Operands(dtype))
    assert lib.describe(next(iter(gemm.plans.values())).descriptor).compute == compute


@pytest.mark.parametrize(
    ("version", "chosen"),
    [(130400, 1), (lt.SPLITS_ARE_RIGHT, 2)],
)
def test_k_is_split_only_in_a_fixed_order_and_where_that_is_right(version: int, chosen: int) -> None:
    gemm = HostGemm(HostCublasLt(version=version, splits=(-4, 2, 1)))
    gemm.affine(*Operands())
    assert next(iter(gemm.plans.values())).algorithm[lt.SPLIT_K] == chosen


def test_no_algorithm_left_is_declined(lib: HostCublasLt) -> None:
    lib.splits = (-4,)
    gemm = HostGemm(lib)
    for _ in range(2):
        assert gemm.affine(*Operands()) is NotImplemented
    assert gemm.declined == {"no algorithm for this epilogue and layout": 2}


@pytest.mark.parametrize("status", [15, 13], ids=["not supported", "execution failed"])
def test_what_is_refused_at_launch_is_declined_from_then_on(
    lib: HostCublasLt, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    gemm = HostGemm(lib)
    monkeypatch.setattr(lib, "cublasLtMatmul", lambda *given: status)
    assert gemm.affine(*Operands()) is NotImplemented
    monkeypatch.undo()
    assert gemm.affine(*Operands()) is NotImplemented
    assert gemm.declined == {f"{gemm.name(status)} at launch": 2}


def test_what_the_heuristics_refuse_is_declined_by_its_name(lib: HostCublasLt, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by a status that nobody promised: products by our own kernel are better than none."""
    gemm = HostGemm(lib)
    monkeypatch.setattr(lib, "cublasLtMatmulAlgoGetHeuristic", lambda *given: 7)
    for _ in range(2):
        assert gemm.affine(*Operands()) is NotImplemented
    assert gemm.declined == {f"{gemm.name(7)} from the heuristics": 2}


def test_a_candidate_that_does_not_tell_its_splits_is_not_taken(
    lib: HostCublasLt, monkeypatch: pytest.MonkeyPatch
) -> None:
    gemm = HostGemm(lib)
    monkeypatch.setattr(lib, "cublasLtMatmulAlgoConfigGetAttribute", lambda *given: 7)
    assert gemm.affine(*Operands()) is NotImplemented


def test_an_error_of_the_library_is_named(lib: HostCublasLt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lib, "cublasLtCreate", lambda *given: 1, raising=False)
    with pytest.raises(lt.LtError, match=r"cublasLtCreate: \w+; CUBLASLT_LOG_LEVEL=2"):
        HostGemm(lib)


def test_threads_share_a_plan(lib: HostCublasLt) -> None:
    """The bias is written into the plan's descriptor: no thread may see another's."""
    gemm, wrong = HostGemm(lib), []
    gemm.affine(*Operands())

    def job(seed: int) -> None:
        operands = Operands(seed=seed)
        for _ in range(50):
            gemm.affine(*operands)
            wrong.append(not np.allclose(operands.y, operands.expected(), atol=1e-5))

    threads = [threading.Thread(target=job, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 400
    assert not any(wrong)
    assert len(gemm.plans) == 1


@pytest.mark.parametrize(
    ("version", "cuda", "cure"),
    [
        (120304, 13020, r"of CUDA 12, .* CUDA 13; pip uninstall nvidia-cublas-cu12, .* 'nnx-array\[cuda13\]'"),
        (130101, 12090, r"of CUDA 13, .* CUDA 12; pip uninstall nvidia-cublas, .* 'nnx-array\[cuda12\]'"),
    ],
)
def test_the_library_of_another_cuda_is_refused(version: int, cuda: int, cure: str) -> None:
    with pytest.raises(lt.LtError, match=cure):
        HostGemm(HostCublasLt(version=version), HostCuda(cuda))


# In the backend -------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_conformance() -> None:
    operations = ["required", "affine", "affine_backward"]
    report = testing.run(EmulatedBackend(), operations)
    assert report.ok, str(report)
    assert {*operations[1:]} <= {*report.explanation.fused}


def test_relu_is_not_asked_of_the_library() -> None:
    """Whose own may make NaN 0."""
    backend, x = EmulatedBackend(), np.full((4, 4), np.nan, np.float32)
    assert np.isnan(backend.affine(x, x, x[0], activation=RELU)).all()


def test_a_recorded_training_follows_the_reference() -> None:
    """Plans and the workspace are made before the capture, and graphs hold what they need."""
    r, losses = np.random.default_rng(0), []
    x, t = r.normal(size=(60, 12)), r.integers(0, 4, 60)
    for backend in (EmulatedBackend(), "numpy"):
        model = nnx.Sequential(nnx.Affine(9), nnx.ReLU(), nnx.Affine(6), nnx.ReLU(), nnx.Affine(4))
        trainer = nnx.Trainer(model, nnx.Adam(lr=0.01), backend=backend, seed=1, dtype="float64")
        losses.append(trainer.fit(x, t, epochs=4, batch_size=20, verbose=False)["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-9)


# The library itself ---------------------------------------------------------------------------------------------------


def test_constants_and_signatures_are_the_headers() -> None:
    """Of the installed nvidia-cublas: the library checks none of them."""
    folder = Path(real_library()._name).parents[1] / "include"
    if not (folder / "cublasLt.h").exists():
        pytest.skip("cuBLASLt is installed without its header")
    text = "".join((folder / name).read_text() for name in ("cublasLt.h", "cublas_api.h"))
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    values: dict[str, int] = {}
    for name, expression in re.findall(r"\b(CUBLAS\w+)\s*=\s*([^,}]+)[,}]", text):
        known = re.sub(r"\bCUBLAS\w+", lambda match: str(values.get(match[0], "None")), expression)
        if re.fullmatch(r"[\d\s()|x]+", known):
            values[name] = eval(known)
    for ours, theirs in (
        *(("TRANSA", "MATMUL_DESC_TRANSA"), ("TRANSB", "MATMUL_DESC_TRANSB"), ("EPILOGUE", "MATMUL_DESC_EPILOGUE")),
        ("BIAS_POINTER", "MATMUL_DESC_BIAS_POINTER"),
        ("PREF_WORKSPACE", "MATMUL_PREF_MAX_WORKSPACE_BYTES"),
        *(("PREF_REDUCTIONS", "MATMUL_PREF_REDUCTION_SCHEME_MASK"), ("SPLIT_K", "ALGO_CONFIG_SPLITK_NUM")),
        *(("REDUCTION", "ALGO_CONFIG_REDUCTION_SCHEME"), ("DEFAULT", "EPILOGUE_DEFAULT")),
        *(("BIAS", "EPILOGUE_BIAS"), ("BGRADA", "EPILOGUE_BGRADA")),
    ):
        assert getattr(lt, ours) == values["CUBLASLT_" + theirs], ours
    alignments = (values[f"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_{matrix}_BYTES"] for matrix in "ABCD")
    assert tuple(alignments) == lt.PREF_ALIGNMENTS
    for name in ("COMPUTE_32F", "COMPUTE_32F_FAST_TF32", "COMPUTE_64F"):
        assert getattr(lt, name) == values["CUBLAS_" + name]
    assert values["CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE"] == lt.IN_ORDER
    for name, arguments in lt.SIGNATURES.items():
        declared = re.search(rf"CUBLASWINAPI\s+cublasLt{name}\(([^;]*?)\);", text, re.DOTALL)
        assert declared is not None, name
        assert len(arguments) == declared[1].count(",") + 1, name
    fields = re.search(r"struct \{([^}]*)\}\s*cublasLtMatmulHeuristicResult_t", text)
    assert fields is not None
    assert re.findall(r"(\w+)(?:\[\d+\])?;", fields[1]) == ["algo", "workspaceSize", "state", "wavesCount", "reserved"]
    assert re.search(r"uint64_t data\[8\];\s*\}\s*cublasLtMatmulAlgo_t", text)


def test_dtypes_of_the_table_are_covered() -> None:
    assert {a for a, _ in TYPES} == lt.TYPES.keys()
    assert {(a, d) for a, d in product(lt.TYPES, lt.TYPES) if a == d} <= set(TYPES)
