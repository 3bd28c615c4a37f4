"""Row-major products with fused epilogues, by cuBLASLt through ctypes: unlike CuPy's cuBLAS, a graph can record them.

cuBLASLt is column-major. A C-contiguous (r, c) array *is* a column-major (c, r) matrix whose leading dimension is the
row stride, so every product is computed transposed, with its operands swapped and all layouts in column order:

    operation  row-major        column-major D = op(A) op(B)     m, n, k  epilogues
    affine     y = x @ w + b    y' = w' x'    A = w,  B = x      o, n, i  [BIAS]: the bias along D's rows
    affine_dx  dx = dy @ w.T    dx' = w dy'   A = w', B = dy     i, n, o
    affine_dw  dw = x.T @ dy    dw' = dy' x   A = dy, B = x'     o, i, n  [BGRADA]: db, dy' summed over k

BGRADA and not BGRADB gives db, because the swap makes dy the operand A; the library takes it where A is not transposed.
Row-order outputs would need no swap, but are refused with a bias.
"""

import ctypes
import threading
from collections import Counter
from ctypes import byref, c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p, sizeof
from typing import Any, NamedTuple

import numpy as np

from ._workspace import Workspaces

Array = Any
Operand = tuple[Array, bool]
"""A matrix, and whether it is transposed."""

TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType
COMPUTE_32F, COMPUTE_32F_FAST_TF32, COMPUTE_64F = 68, 77, 70  # cublasComputeType_t
DEFAULT, BIAS, BGRADA = 1, 4, 256  # cublasLtEpilogue_t, in bits
TRANSA, TRANSB, EPILOGUE, BIAS_POINTER = 3, 4, 7, 8  # cublasLtMatmulDescAttributes_t
PREF_WORKSPACE, PREF_REDUCTIONS, PREF_ALIGNMENTS = 1, 3, (5, 6, 7, 8)  # cublasLtMatmulPreferenceAttributes_t
SPLIT_K, REDUCTION = 2, 3  # cublasLtMatmulAlgoConfigAttributes_t
IN_ORDER = 2  # CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE: partial sums in the workspace, added up in a fixed order
SPLITS_ARE_RIGHT = 130500
"""The first version of the library whose split of k is trusted: some were wrong from 12.6.3 to the first 13.4."""
ALIGNMENT = 16  # bytes; kernels may take it for granted of biases
CANDIDATES = 8  # algorithms to choose from

SIGNATURES = {
    "Create": [c_void_p],
    "MatmulDescCreate": [c_void_p, c_int, c_int],
    "MatmulDescSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
    "MatrixLayoutCreate": [c_void_p, c_int, c_uint64, c_uint64, c_int64],
    "MatmulPreferenceCreate": [c_void_p],
    "MatmulPreferenceDestroy": [c_void_p],
    "MatmulPreferenceSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
    "MatmulAlgoGetHeuristic": [*[c_void_p] * 7, c_int, c_void_p, c_void_p],
    "MatmulAlgoConfigGetAttribute": [c_void_p, c_int, c_void_p, c_size_t, c_void_p],
    "Matmul": [*[c_void_p] * 14, c_size_t, c_void_p],
}


class LtError(RuntimeError):
    """cuBLASLt cannot be used, or refused a call that it should have taken."""


class Heuristic(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


def library() -> Any:
    """Load the cuBLASLt of CuPy's [ctk] extra, found as CuPy finds its libraries; raise where there is none."""
    from cuda.pathfinder import load_nvidia_dynamic_lib

    found = ctypes.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
    for name, arguments in SIGNATURES.items():
        function = getattr(found, "cublasLt" + name)
        function.argtypes, function.restype = arguments, c_int
    found.cublasLtGetVersion.restype = c_size_t
    found.cublasLtGetStatusName.restype = ctypes.c_char_p
    return found


def mismatch(lib: Any, cuda: int) -> str | None:
    """Return why this library does not go with a CuPy built for that CUDA (13020 for 13.2), or None."""
    found, needed = lib.cublasLtGetVersion() // 10000, cuda // 1000
    if found == needed:
        return None
    other = "nvidia-cublas-cu12" if found == 12 else "nvidia-cublas"
    return (
        f"the cuBLASLt that was found is of CUDA {found}, but CuPy is built for CUDA {needed}; "
        f"pip uninstall {other}, then pip install 'nnx-array[cuda{needed}]'"
    )


def pointer(array: Array) -> int:
    """Return the address of a CuPy array, or of a NumPy array in tests."""
    address: int = array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr
    return address


class Problem(NamedTuple):
    """What an algorithm is chosen for: D = op(A) op(B), column-major. m, n: D's rows and columns."""

    types: tuple[int, int]
    """Of A and B, and of D."""
    compute: int
    m: int
    n: int
    k: int
    transpose_a: bool
    transpose_b: bool
    leading: tuple[int, int, int]
    """Leading dimensions of A, B and D, in elements."""
    epilogue: int
    alignment: int
    """Bytes, of the matrices."""


class Plan:
    """Descriptor, layouts and algorithm of one problem, for as long as the process lives."""

    def __init__(self, gemm: "LtGemm", problem: Problem) -> None:
        self._gemm, self._lib, self._lock = gemm, gemm.lib, threading.Lock()
        (operands, output), m, n, k = problem.types, problem.m, problem.n, problem.k
        double = problem.compute == COMPUTE_64F
        scalar = c_double if double else c_float
        self._zero, self._one = scalar(0), scalar(1)
        self.descriptor = gemm.make("MatmulDescCreate", problem.compute, TYPES["float64" if double else "float32"])
        self._set(TRANSA, c_int32(problem.transpose_a))
        self._set(TRANSB, c_int32(problem.transpose_b))
        self._set(EPILOGUE, c_uint32(problem.epilogue))
        if problem.epilogue & (BIAS | BGRADA):
            self._set(BIAS_POINTER, c_uint64(ALIGNMENT))  # heuristics look at the addresses' alignment alone
        a, b, d = problem.leading
        self._a = gemm.make("MatrixLayoutCreate", operands, *((k, m) if problem.transpose_a else (m, k)), a)
        self._b = gemm.make("MatrixLayoutCreate", operands, *((n, k) if problem.transpose_b else (k, n)), b)
        self._d = gemm.make("MatrixLayoutCreate", output, m, n, d)
        self.workspace = 0
        """Bytes that the algorithm needs."""
        self.why_not = "no algorithm for this epilogue and layout"
        self.algorithm = self._choose(problem.alignment)

    def _set(self, attribute: int, value: Any) -> None:
        status = self._lib.cublasLtMatmulDescSetAttribute(self.descriptor, attribute, byref(value), sizeof(value))
        self._gemm.check(status, "MatmulDescSetAttribute")

    def _choose(self, alignment: int) -> Any:
        """Return the first candidate of the heuristics that adds in a fixed order, or None."""
        gemm, preference = self._gemm, self._gemm.make("MatmulPreferenceCreate")
        preferences = [(PREF_WORKSPACE, c_uint64(gemm.workspace)), *((p, c_uint32(alignment)) for p in PREF_ALIGNMENTS)]
        preferences.append((PREF_REDUCTIONS, c_uint32(gemm.reductions)))
        for attribute, value in preferences:
            status = self._lib.cublasLtMatmulPreferenceSetAttribute(preference, attribute, byref(value), sizeof(value))
            gemm.check(status, "MatmulPreferenceSetAttribute")
        found, count = (Heuristic * CANDIDATES)(), c_int()
        layouts = self._a, self._b, self._d, self._d
        status = self._lib.cublasLtMatmulAlgoGetHeuristic(
            gemm.handle, self.descriptor, *layouts, preference, CANDIDATES, byref(found), byref(count)
        )
        self._lib.cublasLtMatmulPreferenceDestroy(preference)
        if status:  # whatever it is: our own kernel takes the product
            self.why_not = f"{gemm.name(status)} from the heuristics"
            return None
        for candidate in found[: count.value]:
            fits = candidate.state == 0 and candidate.workspace <= gemm.workspace
            if fits and not self._in_any_order(candidate):
                self.workspace = int(candidate.workspace)
                return (c_uint64 * 8)(*candidate.algorithm)
        return None

    def _in_any_order(self, candidate: Heuristic) -> bool:
        """Return whether it splits k and adds the parts in no fixed order, or in a way that is not trusted."""
        splits, reduction, written = c_int32(1), c_uint32(0), c_size_t()
        for attribute, value in ((SPLIT_K, splits), (REDUCTION, reduction)):
            status = self._lib.cublasLtMatmulAlgoConfigGetAttribute(
                byref(candidate), attribute, byref(value), sizeof(value), byref(written)
            )
            if status:
                return True
        return (splits.value > 1 or reduction.value != 0) and reduction.value != self._gemm.reductions

    def launch(self, a: int, b: int, d: int, vector: int, workspace: int, stream: int) -> int:
        """Launch the product; return the library's status.

        All arguments are addresses; 0 stands for no vector or workspace.
        """
        with self._lock:  # the vector's address is written into the descriptor
            if vector:
                self._set(BIAS_POINTER, c_uint64(vector))
            status: int = self._lib.cublasLtMatmul(
                *(self._gemm.handle, self.descriptor, byref(self._one), a, self._a, b, self._b),
                *(byref(self._zero), d, self._d, d, self._d, byref(self.algorithm)),
                *(workspace, self.workspace, stream),
            )
            return status


class LtGemm:
    """Products on the current stream. Each returns its output, or NotImplemented before anything is launched.

    `declined` counts the reasons of every NotImplemented. Algorithms that split k and add the parts in any order are
    excluded, and all that split it where the library is known to get that wrong: results are the same at every call.

    Args:
        tf32: whether float32 uses the tensor cores, with 10 bits of mantissa.
        workspace: bytes that an algorithm may ask for.
        workspaces: where they come from.
        lib: cuBLASLt, or a stand-in in tests.
        xp: CuPy, or a stand-in in tests.
    """

    def __init__(
        self,
        *,
        tf32: bool = False,
        workspace: int = 32 << 20,
        workspaces: Workspaces | None = None,
        lib: Any = None,
        xp: Any = None,
    ) -> None:
        if xp is None:
            import cupy as xp
        self.xp, self.lib, self.workspace = xp, library() if lib is None else lib, workspace
        self.tf32 = tf32
        if reason := mismatch(self.lib, xp.cuda.runtime.runtimeGetVersion()):
            raise LtError(reason)
        self.reductions = IN_ORDER if self.lib.cublasLtGetVersion() >= SPLITS_ARE_RIGHT else 0
        """The schemes, in bits, by which results may be added up of parts."""
        self.handle = self.make("Create")
        self.plans: dict[Problem, Plan] = {}
        self.workspaces = Workspaces(xp) if workspaces is None else workspaces
        self.declined: Counter[str] = Counter()

    def name(self, status: int) -> str:
        """Return the name of a status."""
        return str(self.lib.cublasLtGetStatusName(status).decode())

    def check(self, status: int, function: str) -> None:
        if status:
            raise LtError(f"cublasLt{function}: {self.name(status)}; CUBLASLT_LOG_LEVEL=2 in the environment says why")

    def make(self, function: str, *arguments: int) -> Any:
        """Return the object that a function of the library creates."""
        made = c_void_p()
        self.check(getattr(self.lib, "cublasLt" + function)(byref(made), *arguments), function)
        return made.value

    def affine(self, x: Array, w: Array, b: Array | None, y: Array) -> Any:
        """Compute y = x @ w + b. x: (n, i), w: (i, o), b: (o,)."""
        return self._run(y, (w, False), (x, False), DEFAULT if b is None else BIAS, b)

    def affine_dx(self, dy: Array, w: Array, dx: Array) -> Any:
        """Compute dx = dy @ w.T. dy: (n, o)."""
        return self._run(dx, (w, True), (dy, False), DEFAULT, None)

    def affine_dw(self, x: Array, dy: Array, dw: Array, *, db: Array | None = None) -> Any:
        """Compute dw = x.T @ dy; db = the column sums of dy. x: (n, i), dy: (n, o)."""
        return self._run(dw, (dy, False), (x, True), DEFAULT if db is None else BGRADA, db)

    def _decline(self, why: str) -> Any:
        self.declined[why] += 1
        return NotImplemented

    def _run(self, d: Array, left: Operand, right: Operand, epilogue: int, vector: Array | None) -> Any:
        """Compute D = op(A) op(B) by the table above, from left and right. vector: the bias or its gradient."""
        (a, transpose_a), (b, transpose_b) = left, right
        (n, m), k = d.shape, a.shape[1 if transpose_a else 0]
        if a.shape != ((m, k) if transpose_a else (k, m)) or b.shape != ((k, n) if transpose_b else (n, k)):
            raise ValueError(f"shapes do not fit: {a.shape}, {b.shape} -> {d.shape}")
        if vector is not None and vector.shape != (m,):
            raise ValueError(f"the bias must have the shape ({m},)")
        arrays = [array for array in (a, b, d, vector) if array is not None]
        if a.dtype != b.dtype or not {a.dtype.name, d.dtype.name} <= TYPES.keys() or not _alike(d, vector):
            return self._decline(f"dtypes {', '.join(array.dtype.name for array in arrays)}")
        if min(m, n) < 2 or k < (2 if epilogue & BGRADA else 1):
            return self._decline("a dimension of one")  # cuBLASLt 13.3 refuses some of these
        if not all(_is_row_major(array) for array in arrays):
            return self._decline("not row-major")
        vector_at = 0 if vector is None else pointer(vector)
        if vector_at % ALIGNMENT:  # heuristics do not check
            return self._decline("bias not on 16 bytes")
        at = pointer(a), pointer(b), pointer(d)
        problem = Problem(
            types=(TYPES[a.dtype.name], TYPES[d.dtype.name]),
            compute=self._compute(a, d),
            m=m,
            n=n,
            k=k,
            transpose_a=transpose_a,
            transpose_b=transpose_b,
            leading=tuple(matrix.strides[0] // matrix.itemsize for matrix in (a, b, d)),
            epilogue=epilogue,
            alignment=next(width for width in (16, 8, 4, 2, 1) if not any(address % width for address in at)),
        )
        stream = self.xp.cuda.get_current_stream().ptr
        plan, space = self._prepared(problem, stream)
        if plan.algorithm is None:
            return self._decline(plan.why_not)
        status = plan.launch(*at, vector_at, space, stream)
        if status:
            plan.algorithm, plan.why_not = None, f"{self.name(status)} at launch"
            return self._decline(plan.why_not)
        return d

    def _compute(self, a: Array, d: Array) -> int:
        if d.dtype.name == "float64":
            return COMPUTE_64F
        return COMPUTE_32F_FAST_TF32 if self.tf32 and a.dtype.name == "float32" else COMPUTE_32F

    def _prepared(self, problem: Problem, stream: int) -> tuple[Plan, int]:
        """Return the problem's plan, and the address of a workspace or 0.

        Both are made on the first call, which must come before a capture.
        """
        plan, space = self.plans.get(problem), self.workspaces.current(stream)
        if plan is None or plan.workspace > space.size:
            if stream and self.xp.cuda.runtime.streamIsCapturing(stream):
                raise LtError("first use of a product while its stream is being captured: run the step once before")
            plan = self.plans[problem] = plan or Plan(self, problem)
            space.grow(plan.workspace)
        return plan, pointer(space.arrays[-1]) if plan.workspace else 0


def _alike(d: Array, vector: Array | None) -> bool:
    return vector is None or bool(vector.dtype == d.dtype)


def _is_row_major(array: Array) -> bool:
    """Return whether each row is contiguous; there may be gaps between rows."""
    rows = array.ndim == 1 or array.strides[0] >= array.shape[1] * array.itemsize
    return bool(array.strides[-1] == array.itemsize and rows)
