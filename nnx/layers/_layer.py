"""What every layer is."""

import copy
import inspect
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .._support.arena import Arena, Spec
from .._support.checks import check_float
from ..backend import get_backend
from ..errors import InputError, InputTypeError
from ..ops import Array, HostArray, Ops


class Layer:
    """Base of the layers. A subclass defines `forward`, `backward`, and `declare` if it has arrays or changes the
    shape.

    params, grads: the layer's parameters and their gradients, by name; `backward` writes the latter.
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
        self.step = 0
        """How often a random layer that stands alone has drawn."""

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """The layer's output. With train_flg=False nothing is stored: many threads may predict at once."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(x, train_flg)")

    def backward(self, dout: Array) -> Array:
        """The gradient with respect to the last training input; writes the parameters' gradients into `grads`."""
        raise NotImplementedError(f"{type(self).__name__} must define backward(dout)")

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        """The arrays it needs, and the shape of its output, for inputs of (n, *shape)."""
        return (), shape

    def attach(self, arena: Arena, names: Sequence[str], prefix: str) -> None:
        """Take its arrays from the arena of the model that it now belongs to."""
        self.attached, self._ops = True, arena.ops
        self.params = {n: arena.params[prefix + n] for n in names if prefix + n in arena.params}
        self.grads = {n: arena.grads[prefix + n] for n in self.params}
        self.running = {n: arena.running[prefix + n] for n in names if prefix + n in arena.running}

    def random_key(self, seed: int, step: int) -> HostArray:
        """What the random numbers of a step are made of, for `ops.philox` and `ops.dropout`: uint32 [seed low, seed
        high, layer, step low, step high, 0], on the host."""
        low = 0xFFFFFFFF
        return np.array([seed & low, seed >> 32, self.index, step & low, step >> 32, 0], np.uint32)

    @property
    def rng(self) -> Array:
        """The random key of this training step, a native array (6,): the trainer's, or of a layer that stands alone the
        next of its own."""
        if self._rng is not None:
            return self._rng
        if self.seed is None:  # scripts seed this generator
            self.seed = int(np.random.randint(0, 2**63, dtype=np.int64))  # noqa: NPY002
        self.step += 1
        return self.ops.to_device(self.random_key(self.seed, self.step - 1))

    @rng.setter
    def rng(self, key: Array) -> None:
        self._rng = key

    def uniform(self, shape: Sequence[int]) -> Array:
        """Random numbers in [0, 1) by this step's key, float32, the same on every backend: the upper 24 bits of Philox'
        words, times 2**-24."""
        xp = self.ops.xp
        words = xp.astype(self.ops.philox(self.rng, math.prod(shape)), xp.int64)  # PyTorch shifts no unsigned numbers
        return xp.reshape(xp.astype(words >> 8, xp.float32) * 2.0**-24, tuple(shape))

    def __getstate__(self) -> dict[str, Any]:
        """For `copy` and `pickle`: a layer of its own, without the model and the last input."""
        return {**self.__dict__, "attached": False, "_saved": None}

    def bare(self) -> "Layer":
        """A copy as it was before its model was built: settings alone, and arrays that were given."""
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
        """The operations it computes with: its model's, or those of the backend in force when it is first used."""
        if self._ops is None:
            self._ops = Ops(get_backend())
        return self._ops

    def check_class(self, where: str) -> None:
        """Before it is used: a class of one's own has what every layer has. where: its place, for the message."""
        name = type(self).__name__
        if not hasattr(self, "attached"):
            raise InputTypeError(f"{where}, {name}: its __init__ must begin with super().__init__().")
        for method, given in (("forward(self, x, train_flg=True)", (None, False)), ("backward(self, dout)", (None,))):
            own = getattr(self, method.partition("(")[0])
            signature = inspect.signature(own)
            try:
                signature.bind(*given)
            except TypeError:
                raise InputTypeError(f"{where}, {name}: got {own.__name__}{signature}, expected {method}.") from None

    def check_output(self, method: str, got: Array, expected: tuple[int, ...], by: str) -> Array:
        """What a layer of one's own gave, if it has the shape that it should have."""
        shape = getattr(got, "shape", None)
        if shape is None:
            raise InputTypeError(f"{self!r}: {method} gave {got!r}, expected an array of shape {expected}.")
        if tuple(shape) != expected:
            raise InputError(f"{self!r}: {method} gave {_rows(tuple(shape))}, {by} {_rows(expected)}.")
        return got

    def _check_gradient(self, dout: Array, shape: tuple[int, ...]) -> None:
        """Before any kernel runs: the gradient has the shape of the last output. Kernels check no bounds."""
        check_float(self.ops, "dout", dout)
        if tuple(dout.shape) != tuple(shape):
            raise InputError(f"{self!r}: got a gradient of shape {tuple(dout.shape)}, expected {tuple(shape)}.")

    def _last(self) -> Any:
        if self._saved is None:
            raise InputError(f"{self!r}: backward needs a forward(x, train_flg=True) before it.")
        return self._saved

    def config(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"layer": type(self).__name__, **{name: getattr(self, name) for name in self.fields}}

    def __repr__(self) -> str:
        """The constructor call, without what is at its default."""
        parameters = inspect.signature(type(self)).parameters
        shown = []
        for name in self.fields:
            value = getattr(self, name)
            if value != parameters[name].default:
                shown.append(repr(value) if name == next(iter(parameters)) else f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _rows(shape: tuple[int, ...]) -> str:
    return f"({', '.join(['n', *map(str, shape[1:])])})" if shape else "a number"
