"""Data augmentation: layers that change pictures at random in training, alike on every backend, and never later."""

from collections.abc import Sequence
from typing import Any

from .._support.arena import Spec
from .._support.checks import check_float, check_seed
from ..errors import InputError
from ..ops import Array
from ._layer import Layer
from ._pictures import check_pictures, check_shape, pair, shown


class TrainingOnly(Layer):
    """Base of the layers that act in training alone: in prediction an input is the output as it is.

    x, y: (n, channels, h, w). What happens to a picture is a function of (seed, layer, step, row), by Philox4x32-10.

    Args:
        seed: in 0..2**64-1, for a layer that stands alone: a model has its own seed. None: drawn once from NumPy's
            global generator, so that `np.random.seed` holds.
    """

    random = capturable = True

    def __init__(self, *, seed: int | None = None) -> None:
        super().__init__()
        self.seed = None if seed is None else check_seed(seed)

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        check_shape(self, shape)
        self._check_size(shape[1], shape[2])
        return (), shape

    def _check_size(self, height: int, width: int) -> None:
        """Raise for pictures that are too small."""

    def draw(self, x: Array) -> Any:
        """Draw what is to happen to each picture of x."""
        raise NotImplementedError(f"{type(self).__name__} must define draw(x)")

    def apply(self, x: Array, drawn: Any, *, back: bool) -> Array:
        """Return the pictures changed as `draw` said; back: the gradient of the inputs for that of the outputs."""
        raise NotImplementedError(f"{type(self).__name__} must define apply(x, drawn, back=)")

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        check_pictures(self, check_float(self.ops, "x", x))
        self._check_size(x.shape[2], x.shape[3])
        if not train_flg:
            return x
        drawn = self.draw(x)
        self._saved = drawn, tuple(x.shape)
        return self.apply(x, drawn, back=False)

    def backward(self, dout: Array) -> Array:
        drawn, shape = self._last()
        self._check_gradient(dout, shape)
        return self.apply(dout, drawn, back=True)

    def _gather(self, x: Array, rows: Array, columns: Array) -> Array:
        """Return y[i, c, r, s] = x[i, c, rows[i, r], columns[i, s]], and 0 where that lies beside the picture.

        Args:
            x: (n, c, h, w).
            rows: int64 (n or 1, 1, h, 1).
            columns: int64 (n or 1, 1, 1, w).
        """
        xp = self.ops.xp
        n, c, h, w = x.shape
        inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
        first = xp.reshape(xp.arange(n * c, dtype=xp.int64), (n, c, 1, 1)) * (h * w)
        beside = xp.full((1, 1, 1, 1), n * c * h * w, dtype=xp.int64)  # where the zero is
        place = xp.where(inside, first + rows * w + columns, beside)
        numbers = xp.concat([xp.reshape(x, (-1,)), xp.zeros((1,), dtype=x.dtype)])
        return xp.reshape(xp.take(numbers, xp.reshape(place, (-1,)), axis=0), x.shape)

    def _counted(self, shape: tuple[int, ...]) -> Array:
        """Return 0, 1, 2, ... as int64, in a shape with one axis longer than 1."""
        xp = self.ops.xp
        return xp.reshape(xp.arange(max(shape), dtype=xp.int64), shape)


class RandomShift(TrainingOnly):
    """Moves each picture down or up, and right or left, by whole pixels; zeros come in at the edge.

    Every shift from -pixels to pixels is as probable as any other, down and across independently.

    Args:
        pixels: the greatest shift, less than the pictures' height and width: one number, or (down, across).
        seed: as for `Dropout`.

    Raises:
        InputError: a number is negative, or both are 0.
        InputTypeError: one is no whole number.
    """

    fields = ("pixels",)

    def __init__(self, pixels: Any, *, seed: int | None = None) -> None:
        super().__init__(seed=seed)
        self.most = pair("RandomShift: pixels", pixels, 0)
        self.pixels = shown(self.most)
        if self.most == (0, 0):
            raise InputError("RandomShift: pixels: got 0, expected at least 1 down or across; or leave the layer out.")

    def _check_size(self, height: int, width: int) -> None:
        if self.most[0] >= height or self.most[1] >= width:
            raise InputError(
                f"{self!r}: got pictures of {height} x {width}, expected more pixels than the shift; lower it."
            )

    def draw(self, x: Array) -> tuple[Array, Array]:
        """Draw the shifts down and across, int64 (n, 1, 1, 1) each."""
        down, across = self.most
        drawn = self.integers((x.shape[0], 1, 1, 1), (2 * down + 1) * (2 * across + 1))
        return drawn // (2 * across + 1) - down, drawn % (2 * across + 1) - across

    def apply(self, x: Array, drawn: tuple[Array, Array], *, back: bool) -> Array:
        down, across = drawn
        rows, columns = self._counted((1, 1, x.shape[2], 1)), self._counted((1, 1, 1, x.shape[3]))
        if back:
            return self._gather(x, rows + down, columns + across)
        return self._gather(x, rows - down, columns - across)


class RandomFlip(TrainingOnly):
    """Mirrors each picture with probability 1/2: left becomes right. Digits and letters are not to be flipped.

    Args:
        seed: as for `Dropout`.
    """

    def draw(self, x: Array) -> Array:
        """Draw which pictures are flipped, int64 (n, 1, 1, 1) of 0 and 1."""
        return self.integers((x.shape[0], 1, 1, 1), 2)

    def apply(self, x: Array, drawn: Array, *, back: bool) -> Array:
        columns = self._counted((1, 1, 1, x.shape[3]))
        mirrored = columns + drawn * (x.shape[3] - 1 - 2 * columns)  # its own inverse
        return self._gather(x, self._counted((1, 1, x.shape[2], 1)), mirrored)
