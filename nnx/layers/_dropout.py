"""Dropout with masks that are the same on every backend."""

import math
from collections.abc import Sequence

import numpy as np

from .._support.arena import Spec
from .._support.checks import check_flag, check_float, check_number, check_seed
from ..ops import Array, HostArray, dtype_name
from ._layer import Layer
from ._pictures import channels_first, channels_last, check_pictures, check_shape


class Dropout(Layer):
    """Sets each element to 0 with probability `dropout_ratio` while training (Srivastava et al. 2014).

    x: of any shape (n, ...). The masks are a function of (seed, layer, step, element), by Philox4x32-10, and the same
    on every backend. The elements of pictures, (n, c, h, w), are counted with the channels last.

    Args:
        dropout_ratio: in [0, 1).
        inverted: False: the classical form, which multiplies by 1 - dropout_ratio when predicting. True: multiply the
            kept elements by 1 / (1 - dropout_ratio) while training instead, as PyTorch does.
        seed: in 0..2**64-1, for a layer that stands alone: a model has its own seed. None: drawn once from NumPy's
            global generator, so that `np.random.seed` holds.
    """

    fields = ("dropout_ratio", "inverted")
    random = True

    def __init__(self, dropout_ratio: float = 0.5, inverted: bool = False, *, seed: int | None = None) -> None:
        super().__init__()
        kind = type(self).__name__
        self.dropout_ratio = check_number(f"{kind}: dropout_ratio", dropout_ratio, 0, 1)
        self.inverted = check_flag(f"{kind}: inverted", inverted)
        self.seed = None if seed is None else check_seed(seed)

    def random_key(self, seed: int, step: int) -> HostArray:
        """Return the layer's key with the threshold that `ops.dropout` needs at its end."""
        key = super().random_key(seed, step)
        key[5] = math.floor(self.dropout_ratio * 2**32)
        return key

    @property
    def training_factor(self) -> float:
        """The factor of kept elements in training."""
        return 1.0 / (1.0 - self.dropout_ratio) if self.inverted else 1.0

    @property
    def inference_factor(self) -> float:
        """The factor of all elements in prediction."""
        return 1.0 if self.inverted else 1.0 - self.dropout_ratio

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        ops = self.ops
        check_float(ops, "x", x)
        if not train_flg:
            return x * ops.to_device(np.array(self.inference_factor, dtype_name(x)))
        given, x = x.shape, channels_last(ops, x) if len(x.shape) == 4 else x
        mask = ops.xp.empty(x.shape, dtype=ops.xp.bool)
        factor = ops.to_device(np.array(self.training_factor, dtype_name(x)))
        y = ops.dropout(x, self.rng, factor, mask=mask)
        self._saved = mask, factor, given
        return channels_first(ops, y) if len(given) == 4 else y

    def backward(self, dout: Array) -> Array:
        (mask, factor, given), ops = self._last(), self.ops
        self._check_gradient(dout, given)
        if len(given) != 4:
            return ops.dropout_backward(dout, mask, factor)
        return channels_first(ops, ops.dropout_backward(channels_last(ops, dout), mask, factor))


class SpatialDropout(Dropout):
    """Sets each channel of each picture to 0 with probability `dropout_ratio` while training (Tompson et al. 2015).

    x: (n, channels, h, w). Neighbouring pixels are much alike, so that `Dropout` of single ones takes little away. The
    masks are a function of (seed, layer, step, row, channel), by Philox4x32-10.

    Args:
        dropout_ratio: as for `Dropout`.
        inverted: as for `Dropout`.
        seed: as for `Dropout`.
    """

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        check_shape(self, shape)
        return (), shape

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        check_pictures(self, check_float(self.ops, "x", x))
        if not train_flg:
            return super().forward(x, False)
        ops, (n, c) = self.ops, x.shape[:2]
        factor = ops.to_device(np.array(self.training_factor, dtype_name(x)))
        kept = ops.dropout(ops.xp.ones((n, c), dtype=x.dtype), self.rng, factor)
        self._saved = ops.xp.reshape(kept, (n, c, 1, 1)), tuple(x.shape)
        return x * self._saved[0]

    def backward(self, dout: Array) -> Array:
        kept, shape = self._last()
        self._check_gradient(dout, shape)
        return dout * kept
