# ruff: noqa: N802  the functions have the library's names
"""cuBLASLt on the host, for tests without a GPU.

What needs a device is done in NumPy, column-major, from the descriptors that the code under test has really made: in
the real libcublasLt where it is installed, otherwise in Python. The library's own rules are enforced, and that it
touches no memory but the operands'. It knows nothing of row-major arrays.
"""

import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from nnx_cupy._cublaslt import LtGemm
from nnx_cupy._workspace import Workspace

DTYPES: dict[int, Any] = {0: np.float32, 1: np.float64, 2: np.float16}
with suppress(ImportError):
    from ml_dtypes import bfloat16

    DTYPES[14] = bfloat16

# (compute, scale, A and B, C and D): the rows of the documentation's table 1 that are of use here
SUPPORTED = {
    *((68, 0, 0, 0), (77, 0, 0, 0), (70, 1, 1, 1)),
    *((68, 0, 2, 2), (68, 0, 2, 0), (68, 0, 14, 14), (68, 0, 14, 0)),
}
# Ways to add up what was split: by atomics and the like, or in a fixed order
IN_PLACE, IN_ORDER = 1, 2
# The epilogues' bits
RELU, BIAS, BGRADA, BGRADB = 2, 4, 256, 512
EPILOGUES = {1, RELU, BIAS, RELU | BIAS, BGRADA, BGRADB}


class RuleError(AssertionError):
    """The library would refuse this, or worse: would not."""


def rule(holds: bool, text: str) -> None:
    if not holds:
        raise RuleError(text)


class HostCublasLt:
    """The library.

    real: libcublasLt, for the descriptors. splits: of k, by the heuristics' candidates; a negative one adds the parts
    in place, in any order. launch: does the work of a product, or records it for a graph.
    """

    def __init__(
        self,
        real: Any = None,
        *,
        version: int | None = None,
        splits: tuple[int, ...] = (1,),
        workspace: int = 1 << 12,
        launch: Callable[[Callable[[], None]], None] = lambda work: work(),
    ) -> None:
        self.real, self.splits, self.launch = real, splits, launch
        self.workspace = workspace
        """Bytes that every algorithm asks for."""
        self.version = version or (real.cublasLtGetVersion() if real else 131000)
        self.objects: dict[int, dict[int, int]] = {}
        self.calls: list[tuple[int, int, int]] = []
        """m, n and k of every product."""
        self.noted = threading.local()

    def note(self, arrays: list[Any], space: Workspace) -> None:
        """What this thread's next product may touch."""
        self.noted.arrays, self.noted.space = arrays, space

    def _memory(self, address: int, size: int) -> Any:
        """The bytes there, which must be of one array."""
        for array in (*self.noted.arrays, *self.noted.space.arrays):
            begin, end = np.lib.array_utils.byte_bounds(array)
            if begin <= address and address + size <= end:
                return (ctypes.c_char * size).from_address(address)
        raise RuleError("out of bounds")

    # Descriptors: the library's, or dictionaries ----------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if self.real is not None:
            return getattr(self.real, name)
        kind = name.removeprefix("cublasLt")
        if kind.endswith("SetAttribute"):
            return self._set
        if kind == "MatrixLayoutCreate":
            return lambda made, *type_rows_columns_ld: self._create(made, (0, 2, 3, 4), type_rows_columns_ld)
        if kind.endswith("Create"):
            return lambda made, *arguments: self._create(made, (0, 1), arguments)
        if kind.endswith("Destroy"):
            return lambda made: 0
        raise AttributeError(name)

    def _create(self, made: Any, attributes: tuple[int, ...], values: tuple[int, ...]) -> int:
        made._obj.value = 0x1000 + 0x100 * len(self.objects)
        self.objects[made._obj.value] = dict(zip(attributes, values, strict=False))
        return 0

    def _set(self, made: int, attribute: int, value: Any, size: int) -> int:
        rule(ctypes.sizeof(value._obj) == size, "size of an attribute")
        self.objects[made][attribute] = value._obj.value
        return 0

    def _get(self, kind: str, made: int, attribute: int, ctype: Any, default: int = 0) -> int:
        if self.real is None:
            return self.objects[made].get(attribute, default)
        function = getattr(self.real, f"cublasLt{kind}GetAttribute")
        function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
        value, written = ctype(), ctypes.c_size_t()
        status = function(made, attribute, ctypes.byref(value), ctypes.sizeof(value), ctypes.byref(written))
        rule(status == 0 and written.value == ctypes.sizeof(value), f"{kind} attribute {attribute}: status {status}")
        result: int = value.value
        return result

    def describe(self, descriptor: int) -> SimpleNamespace:
        get = partial(self._get, "MatmulDesc", descriptor)
        return SimpleNamespace(
            compute=get(0, ctypes.c_int32),
            scale=get(1, ctypes.c_int32),
            transpose_a=get(3, ctypes.c_int32),
            transpose_b=get(4, ctypes.c_int32),
            epilogue=get(7, ctypes.c_uint32, 1),
            vector=get(8, ctypes.c_uint64),
        )

    def _layout(self, made: int) -> SimpleNamespace:
        get = partial(self._get, "MatrixLayout", made)
        return SimpleNamespace(
            type=get(0, ctypes.c_uint32),
            order=get(1, ctypes.c_int32),
            rows=get(2, ctypes.c_uint64),
            cols=get(3, ctypes.c_uint64),
            ld=get(4, ctypes.c_int64),
        )

    # What needs a device ----------------------------------------------------------------------------------------------

    def cublasLtGetVersion(self) -> int:
        return self.version

    def cublasLtGetStatusName(self, status: int) -> bytes:
        return b"STATUS_%d" % status

    def cublasLtCreate(self, made: Any) -> int:
        made._obj.value = 0xABC0
        return 0

    def cublasLtMatmulAlgoGetHeuristic(
        self, handle: int, descriptor: int, a: int, b: int, c: int, d: int, preference: int, *wanted: Any
    ) -> int:
        most, found, count = wanted
        self._checked(descriptor, a, b, c, d)
        for candidate, splits in zip(found._obj[:most], self.splits, strict=False):
            candidate.state, candidate.workspace = 0, self.workspace
            scheme = IN_PLACE if splits < 0 else IN_ORDER if splits > 1 else 0
            candidate.algorithm[2], candidate.algorithm[3] = abs(splits), scheme
        count._obj.value = min(most, len(self.splits))
        return 0

    def cublasLtMatmulAlgoConfigGetAttribute(
        self, candidate: Any, attribute: int, value: Any, size: int, written: Any
    ) -> int:
        value._obj.value = getattr(candidate._obj, "algorithm", candidate._obj)[attribute]  # of a candidate, or chosen
        return 0

    def _checked(self, descriptor: int, *layouts: int) -> SimpleNamespace:
        """The problem, if the library's rules allow it."""
        p, (a, b, c, d) = self.describe(descriptor), map(self._layout, layouts)
        rule(c == d, "layouts of C and D")
        m, k = (a.cols, a.rows) if p.transpose_a else (a.rows, a.cols)
        k_of_b, n = (b.cols, b.rows) if p.transpose_b else (b.rows, b.cols)
        rule(k == k_of_b and (d.rows, d.cols) == (m, n), f"sizes {m, k}, {k_of_b, n} -> {d.rows, d.cols}")
        rule(all(x.ld >= x.rows for x in (a, b, d)), "leading dimension below the rows")
        rule(a.type == b.type, "types of A and B")
        rule((p.compute, p.scale, a.type, d.type) in SUPPORTED, f"types {p.compute, p.scale, a.type, d.type}")
        rule(p.epilogue in EPILOGUES, f"epilogue {p.epilogue}")
        rule(not p.epilogue & BGRADA or not p.transpose_a, "BGRADA only works with a non-transposed A")
        rule(not p.epilogue & BGRADB or bool(p.transpose_b), "BGRADB only works with a transposed B")
        rule(not p.epilogue & (BGRADA | BGRADB) or a.order == b.order == 0, "BGRAD only works with column order")
        rule(d.order == 0 or not p.epilogue & BIAS, "row-order output with bias")
        has_vector = bool(p.epilogue & (BIAS | BGRADA | BGRADB))
        rule(bool(p.vector) == has_vector, "bias pointer exactly where the epilogue has one")
        rule(p.vector % 16 == 0, "alignment of the bias")
        p.a, p.b, p.d, p.m, p.n, p.k = a, b, d, m, n, k
        return p

    def _view(self, address: int, layout: SimpleNamespace) -> Any:
        dtype = np.dtype(DTYPES[layout.type])
        size = ((layout.cols - 1) * layout.ld + layout.rows) * dtype.itemsize
        flat = np.frombuffer(self._memory(address, size), dtype)
        strides = dtype.itemsize, layout.ld * dtype.itemsize
        return np.lib.stride_tricks.as_strided(flat, (layout.rows, layout.cols), strides)

    def cublasLtMatmul(
        self, handle: int, descriptor: int, alpha: Any, a: int, la: int, b: int, lb: int, beta: Any, *rest: Any
    ) -> int:
        c, lc, d, ld, _algorithm, space, size, _stream = rest
        p = self._checked(descriptor, la, lb, lc, ld)
        rule(size == self.workspace, "as much workspace as the algorithm asks for")
        rule(not size or (space % 256 == 0 and bool(self._memory(space, size))), "workspace on 256 bytes")
        rule(c == d and lc == ld, "C is D")
        self.calls.append((p.m, p.n, p.k))
        left, right, out = self._view(a, p.a), self._view(b, p.b), self._view(d, p.d)
        vector = np.frombuffer(self._memory(p.vector, p.m * out.itemsize), out.dtype) if p.vector else None
        scalars = alpha._obj.value, beta._obj.value
        self.launch(partial(self._compute, p, scalars, left, right, out, vector, self.noted.arrays))
        return 0

    def _compute(
        self,
        p: SimpleNamespace,
        scalars: tuple[float, float],
        a: Any,
        b: Any,
        out: Any,
        vector: Any,
        *_: Any,
    ) -> None:
        """In float64. The last argument keeps the operands' memory alive in a graph."""
        (alpha, beta), epilogue = scalars, p.epilogue
        a, b = a.astype(np.float64), b.astype(np.float64)
        a, b = a.T if p.transpose_a else a, b.T if p.transpose_b else b
        with np.errstate(all="ignore"):
            result = alpha * (a @ b)
            if beta:
                result += beta * out.astype(np.float64)
            if epilogue & BIAS:
                result += vector.astype(np.float64)[:, None]
            if epilogue & RELU:
                result = np.fmax(result, 0)  # NaN becomes 0
            for bit, sums in ((BGRADA, lambda: a.sum(1)), (BGRADB, lambda: b.sum(0))):
                if epilogue & bit:
                    vector[...] = sums().astype(out.dtype)
            out[...] = result.astype(out.dtype)


class HostCuda:
    """The few names of CuPy that the products use. capturing: whether the current stream is."""

    def __init__(self, version: int = 13020, capturing: Callable[[], bool] = lambda: False) -> None:
        self.stream = 0x77
        runtime = SimpleNamespace(runtimeGetVersion=lambda: version, streamIsCapturing=lambda stream: capturing())
        self.cuda = SimpleNamespace(runtime=runtime, get_current_stream=lambda: SimpleNamespace(ptr=self.stream))

    def empty(self, size: int, dtype: str) -> Any:
        """On 256 bytes, as device memory is."""
        memory = np.empty(size + 256, dtype)
        start = -memory.ctypes.data % 256
        return memory[start : start + size]


class HostGemm(LtGemm):
    """The product code over NumPy arrays."""

    def __init__(self, lib: HostCublasLt | None = None, xp: HostCuda | None = None, **settings: Any) -> None:
        super().__init__(lib=lib or HostCublasLt(), xp=xp or HostCuda(), **{"workspace": 1 << 16, **settings})

    def _run(self, d: Any, left: Any, right: Any, epilogue: int, vector: Any) -> Any:
        given = (d, left[0], right[0], vector)
        space = self.workspaces.current(self.xp.cuda.get_current_stream().ptr)
        self.lib.note([array for array in given if array is not None], space)
        return super()._run(d, left, right, epilogue, vector)
