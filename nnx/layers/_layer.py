"""The base class of all layers."""

import copy
import inspect
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .._support.arena import Arena, Spec
from .._support.checks import check_count, check_float
from .._support.pages import see
from ..backend import get_backend
from ..errors import InputError, InputTypeError
from ..ops import Array, HostArray, Ops


class Layer:
    """Base of the layers.

    A subclass defines `forward`, `backward`, and `declare` if it has arrays or changes the shape.

    Attributes:
        params: the layer's parameters by name.
        grads: the gradients of the parameters, under the same names and of the same shapes; `backward` writes them.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    """Names of the settings: attributes and constructor arguments, kept in checkpoints and shown by repr."""
    capturable: ClassVar[bool] = False
    """Whether a backend may record `forward` and `backward` once, in a training step, and launch the recording from
    then on (a CUDA graph): they do the same operations on native arrays at every step and nothing else. What they do in
    Python (count steps, draw with NumPy, upload numbers) would be done once and never again."""

    random: ClassVar[bool] = False
    """Whether `forward` draws random numbers in training: then it finds in `rng` the key of the step."""
    seed: int | None = None
    """Of a random layer: its model's, or its own where it stands alone."""
    index: int = 0
    """Of a random layer: its place in the model, so that no two layers draw alike."""

    def __init__(self) -> None:
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.running: dict[str, Array] = {}
        """Statistics that training updates beside the gradient, such as BatchNorm's."""
        self.attached = False
        self._ops: Ops | None = None
        self._saved: Any = None
        self._rng: Array = None
        self._rows: int | None = None
        self.step = 0
        """How often a random layer that stands alone has drawn."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """Compute the layer's output.

        Args:
            x: inputs (n, ...), a native array of the backend; float32 or float64.
            train_flg: False to predict: nothing is stored then, so that many threads may predict at once.

        Returns:
            The output (n, ...), in x's dtype.

        Raises:
            InputError: x has a shape that does not fit the layer, or the layer has no parameters yet.
            InputTypeError: x is not an array of the backend, or not of float32 or float64.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, train_flg)")

    def backward(self, dout: Array) -> Array:
        """Compute the gradients of the last `forward(x, train_flg=True)`; write the parameters' into `grads`.

        Args:
            dout: the gradient with respect to that call's output, of the output's shape.

        Returns:
            The gradient with respect to x, of x's shape.

        Raises:
            InputError: dout has another shape than the output, or there was no `forward` before.
            InputTypeError: dout is not an array of the backend, or not of float32 or float64.
        """
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        """Declare the arrays that the layer needs, and the shape of its output. The base has none and keeps the shape.

        Args:
            shape: the inputs' shape without their rows: they are (n, *shape).

        Returns:
            A `Spec` for each array, and the output's shape without its rows.

        Raises:
            InputError: the layer takes no inputs of this shape.
        """
        return (), shape

    def attach(self, arena: Arena, names: Sequence[str], prefix: str) -> None:
        """Take the layer's arrays from the arena of the model that it belongs to from now on."""
        self.attached, self._ops = True, arena.ops
        self.params = {n: arena.params[prefix + n] for n in names if prefix + n in arena.params}
        self.grads = {n: arena.grads[prefix + n] for n in self.params}
        self.running = {n: arena.running[prefix + n] for n in names if prefix + n in arena.running}

    def random_key(self, seed: int, step: int) -> HostArray:
        """Return the key of the random numbers of one step, for `ops.philox` and `ops.dropout`.

        Args:
            seed: of the model or layer, in 0..2**64-1.
            step: the training step, counted from 0.

        Returns:
            uint32 (7,) on the host: [seed low, seed high, layer, step low, step high, 0, first row]. The first row is
            0; of a process that has some of a batch's rows the trainer writes which one comes first.
        """
        low = 0xFFFFFFFF
        return np.array([seed & low, seed >> 32, self.index, step & low, step >> 32, 0, 0], np.uint32)

    @property
    def rng(self) -> Array:
        """The random key of this training step, a native array (7,).

        In a model it is the trainer's. A layer that stands alone makes the next key of its own each time it is asked.
        """
        if self._rng is not None:
            return self._rng
        if self.seed is None:  # by the generator that scripts seed
            self.seed = int(np.random.randint(0, 2**63, dtype=np.int64))  # noqa: NPY002
        self.step += 1
        return self.ops.to_device(self.random_key(self.seed, self.step - 1))

    @rng.setter
    def rng(self, key: Array) -> None:
        self._rng = key

    def use_key(self, key: Array, rows: int | None = None) -> None:
        """Draw by this key from now on; None: by keys of the layer's own again.

        Args:
            key: native, (7,), see `random_key`.
            rows: of the batch, or of this process' part of it, which begins with the row that the key says.
        """
        self._rng, self._rows = key, rows

    def uniform(self, shape: Sequence[int]) -> Array:
        """Draw random numbers in [0, 1) by this step's key; they are the same on every backend.

        Args:
            shape: of the result; a first axis as long as the batch is that of its rows, which have the same numbers
                however the batch is divided among processes.

        Returns:
            float32: the upper 24 bits of each word of Philox, times 2**-24.
        """
        xp = self.ops.xp
        return xp.reshape(xp.astype(self._words(shape) >> 8, xp.float32) * 2.0**-24, tuple(shape))

    def integers(self, shape: Sequence[int], count: int) -> Array:
        """Draw whole numbers in 0..count-1 by this step's key; they are the same on every backend.

        Args:
            shape: as for `uniform`.
            count: how many numbers there are to draw from, at most 2**31.

        Returns:
            int64: each word of Philox, times count, divided by 2**32 and rounded down.

        Raises:
            InputError: count is less than 1 or too large.
        """
        if check_count("count", count) > 2**31:
            raise InputError(f"count: got {count}, expected at most 2**31.")
        return self.ops.xp.reshape((self._words(shape) * count) >> 32, tuple(shape))

    def _words(self, shape: Sequence[int]) -> Array:
        """Return this step's random words for an array of that shape, as int64: PyTorch shifts no unsigned numbers."""
        by_row = len(shape) > 0 and shape[0] == self._rows
        words = self.ops.philox(self.rng, math.prod(shape), math.prod(shape[1:]) if by_row else 0)
        return self.ops.xp.astype(words, self.ops.xp.int64)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the model and the last input: `copy` and `pickle` give a layer of its own."""
        return {**self.__dict__, "attached": False, "_saved": None}

    def bare(self) -> "Layer":
        """Copy the layer as it was before its model was built: with its settings, and arrays that were given to it."""
        alone = copy.copy(self)
        if self.attached:
            alone.params, alone.grads, alone.running = {}, {}, {}
            alone.bind(None)
        return alone

    def bind(self, ops: Ops | None) -> None:
        """Compute with these operations from now on; None: with those of the backend in force when it is next used."""
        self._ops = ops

    @property
    def ops(self) -> Ops:
        """The operations that the layer computes with.

        They are its model's, or those of the backend in force when the layer is first used.
        """
        if self._ops is None:
            self._ops = Ops(get_backend())
        return self._ops

    def check_class(self, where: str) -> None:
        """Check, before the layer is used, that a user's own class has what every layer has.

        Args:
            where: the layer's place, for the error message.

        Raises:
            InputTypeError: `super().__init__()` was not called, or `forward` or `backward` takes other arguments.
        """
        name = type(self).__name__
        if not hasattr(self, "attached"):
            raise InputTypeError(
                f"{where}, {name}: its __init__ must begin with super().__init__(). {see('extending')}"
            )
        for method, given in (("forward(self, x, train_flg=True)", (None, False)), ("backward(self, dout)", (None,))):
            own = getattr(self, method.partition("(")[0])
            signature = inspect.signature(own)
            try:
                signature.bind(*given)
            except TypeError:
                raise InputTypeError(
                    f"{where}, {name}: got {own.__name__}{signature}, expected {method}. {see('extending')}"
                ) from None

    def check_output(self, method: str, got: Array, expected: tuple[int, ...], by: str) -> Array:
        """Return what a user's own layer gave, after checking its shape.

        Args:
            method: the name of the method that gave it, for the error message.
            got: what it gave.
            expected: the shape that it must have.
            by: what says so, for the error message.

        Raises:
            InputError: it has another shape.
            InputTypeError: it is no array.
        """
        shape = getattr(got, "shape", None)
        if shape is None:
            raise InputTypeError(f"{self!r}: {method} gave {got!r}, expected an array of shape {expected}.")
        if tuple(shape) != expected:
            raise InputError(f"{self!r}: {method} gave {_rows(tuple(shape))}, {by} {_rows(expected)}.")
        return got

    def _check_gradient(self, dout: Array, shape: tuple[int, ...]) -> None:
        """Check, before any kernel runs, that the gradient has the last output's shape: kernels check no bounds."""
        check_float(self.ops, "dout", dout)
        if tuple(dout.shape) != tuple(shape):
            raise InputError(f"{self!r}: got a gradient of shape {tuple(dout.shape)}, expected {tuple(shape)}.")

    def _last(self) -> Any:
        if self._saved is None:
            raise InputError(f"{self!r}: backward needs a forward(x, train_flg=True) before it.")
        return self._saved

    def config(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the layer: its class's name under "layer", and its `fields`."""
        return {"layer": type(self).__name__, **{name: getattr(self, name) for name in self.fields}}

    def __repr__(self) -> str:
        """Show the constructor call, without arguments that have their default."""
        parameters = inspect.signature(type(self)).parameters
        shown = []
        for name in self.fields:
            value = getattr(self, name)
            if value != parameters[name].default:
                shown.append(repr(value) if name == next(iter(parameters)) else f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _rows(shape: tuple[int, ...]) -> str:
    return f"({', '.join(['n', *map(str, shape[1:])])})" if shape else "a number"
