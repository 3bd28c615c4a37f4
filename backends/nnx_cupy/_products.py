"""Matrix products with what is fused to them: the bias, an activation, and the bias gradient."""

from typing import Any

import numpy as np

from ._bias import BiasOps
from ._device import CudaDevice
from ._launch import BLOCK, Array, Formula, contiguous, size, takes
from ._precision import NARROW, PrecisionOps

_WARPS = BLOCK // 32


class ProductOps(BiasOps, PrecisionOps):
    """Products by cuBLASLt where it takes the shapes, otherwise by a kernel of our own: a graph can record both."""

    def __init__(self, device: CudaDevice) -> None:
        super().__init__(device)
        self._gemm = device.gemm()

    def matmul(self, a: Array, b: Array, /, *, out: Array | None = None) -> Array:
        if a.ndim != 2 or b.ndim != 2 or not _floats(a, b, out) or (out is not None and not out.flags.c_contiguous):
            return self.xp.matmul(a, b, out=out)  # cuBLAS by CuPy, which no graph can record
        return self._product(a, b, self.empty((a.shape[0], b.shape[1]), a.dtype) if out is None else out)

    def _product(self, a: Array, b: Array, out: Array) -> Array:
        """Compute out = a @ b, where a or b may be a transposed view."""
        if a.shape[1] != b.shape[0] or out.shape != (a.shape[0], b.shape[1]):
            raise ValueError(f"shapes do not fit: {a.shape} @ {b.shape} -> {out.shape}")
        done = NotImplemented
        if a.flags.c_contiguous and b.flags.c_contiguous:
            done = self._gemm.affine(a, b, None, out)
        elif a.flags.c_contiguous and b.T.flags.c_contiguous:
            done = self._gemm.affine_dx(a, b.T, out)
        elif a.T.flags.c_contiguous and b.flags.c_contiguous:
            done = self._gemm.affine_dw(a.T, b, out)
        if done is NotImplemented:
            strides = [size(s // x.itemsize) for x in (a, b) for s in x.strides]
            name = "product"
            if a.dtype != out.dtype:
                name, a, b = f"product_{a.dtype.name}", a.view(np.uint16), b.view(np.uint16)
            self.kernel("product.cu", name, out)(
                self.blocks(out.size, _WARPS),
                (BLOCK,),
                (a, *strides[:2], b, *strides[2:], out, size(out.shape[0]), size(out.shape[1]), size(a.shape[1])),
            )
        return out

    def affine(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        activation: Formula | None = None,
        out: Array | None = None,
    ) -> Any:
        if not _multiply((x, w), (b, out)) or not (activation is None or activation.uses("x")):
            return NotImplemented
        y = self.empty((len(x), w.shape[1]), _of_products(x)) if out is None else out
        bias = b if activation is None else None  # an activation adds the bias in the same pass
        if self._gemm.affine(x, w, bias, y) is NotImplemented:
            self._product(x, w, y)
        elif activation is None:
            return y
        if activation is not None:
            self._add_bias(y, self.xp.zeros(y.shape[1], y.dtype) if b is None else b, activation)
        elif b is not None:
            self._add_bias(y, b)
        return y

    def affine_backward(
        self,
        dy: Array,
        x: Array,
        w: Array,
        *,
        dx: Array | None = None,
        dw: Array | None = None,
        db: Array | None = None,
    ) -> Any:
        if not _multiply((dy, x, w), (dx, dw, db)):
            return NotImplemented
        if dw is None or db is None or self._gemm.affine_dw(x, dy, dw, db=db) is NotImplemented:
            if dw is not None:
                self._product(x.T, dy, dw)
            if db is not None:
                self._column_sums(dy, db)
        if dx is not None:
            self._product(dy, w.T, dx)
        return None


def _of_products(x: Array) -> Any:
    """Return the dtype of products of x: what was narrowed is multiplied into float32."""
    return np.dtype(np.float32) if x.dtype.name in NARROW else x.dtype


def _multiply(operands: tuple[Array, ...], others: tuple[Array | None, ...]) -> bool:
    """Return whether all are C-contiguous, the operands of one dtype, and the others of the products' dtype."""
    x, given = operands[0], [array for array in others if array is not None]
    return (
        (x.dtype.name in NARROW or takes(x))
        and contiguous(*operands, *given)
        and all(array.dtype == x.dtype for array in operands)
        and all(array.dtype == _of_products(x) for array in given)
    )


def _floats(*arrays: Array | None) -> bool:
    given = [array for array in arrays if array is not None]
    return all(array.dtype == given[0].dtype and array.dtype.name in ("float32", "float64") for array in given)
