"""Mixed precision: rounding to 16 bits, and the loss scale."""

from typing import Any

import numpy as np

from ._launch import BLOCK, Array, Launcher, size, takes

NARROW = ("bfloat16", "float16")


class PrecisionOps(Launcher):
    def narrow(self, x: Array, precision: str, *, out: Array | None = None) -> Any:
        if x.dtype != np.float32 or not takes(x) or not (out is None or out.flags.c_contiguous):
            return NotImplemented
        y = self.empty(x.shape, _dtype(precision)) if out is None else out
        if x.size:
            self.kernel("narrow.cu", f"narrow_{precision}", x)(
                self.packs(x), (BLOCK,), (x, y.view(np.uint16), size(x.size))
            )
        return y

    def rescale_(self, x: Array, scaling: Array) -> Any:
        if not takes(x, scaling):
            return NotImplemented
        self.kernel("scaling.cu", "rescale", x)(self.blocks(x.size), (BLOCK,), (x, scaling, size(x.size)))
        return None

    def unscale_(self, hyper: Array, norm: Array, scaling: Array) -> Any:
        if not takes(hyper, norm, scaling):
            return NotImplemented
        self.kernel("scaling.cu", "unscale", hyper)((1,), (1,), (hyper, norm, scaling, np.int32(hyper.size)))
        return None


def _dtype(precision: str) -> Any:
    """Return the dtype of a precision; NumPy has no bfloat16 of its own."""
    if precision == "float16":
        return np.float16
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        raise ImportError(
            "bfloat16 needs the package ml_dtypes: pip install ml_dtypes (or pip install 'nnx-array[cuda13]')"
        ) from error
    return bfloat16
