"""Models: layers one after another, their parameters in one arena."""

import copy
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import initializers
from ._support.arena import Arena, Spec, Views
from ._support.checks import (
    as_floats,
    as_host,
    as_input,
    check_count,
    check_dtype,
    check_flag,
    check_float,
    check_number,
    check_rows,
    check_seed,
    native_floats,
)
from ._support.labels import Classes, as_names
from .backend import BackendLike, choose
from .datasets import Dataset, as_disk, stays_on_disk
from .errors import CheckpointError, InputError, InputTypeError, look_up, unknown
from .initializers import Init
from .layers import (
    LAYERS,
    Activation,
    Affine,
    BatchNorm,
    Dropout,
    Flatten,
    Identity,
    Layer,
    Pooling,
    TrainingOnly,
    Weighted,
)
from .losses import Loss, SoftmaxCrossEntropy
from .ops import Array, Backend, HostArray, Ops
from .plan import infer, lower

if TYPE_CHECKING:
    import torch

    from .training import Evaluation

_MOST_PARAMETERS = 10**11  # more than any memory holds: refused before any is allocated
_CHUNK = 1024  # rows predicted at once: enough to keep a CPU busy, few enough for the caches


_BY_BUILD = ("dtype", "seed", "backend", "why", "ops", "input_shape", "shapes", "arena", "stages")
_BUILT = "built as"


class Sequential:
    """Layers one after another: `Sequential(Affine(100), ReLU(), Affine(10))`.

    `build` gives it its parameters; a `Trainer` does so at the first data. It then belongs to one backend for good.

    Args:
        *layers: objects of subclasses of `Layer`, each used in one place only.

    Raises:
        InputError: a layer is in use already.
        InputTypeError: one of them is no layer.
    """

    def __init__(self, *layers: Layer) -> None:
        for i, layer in enumerate[Any](layers):
            if not isinstance(layer, Layer):
                hint = f"; write {layer.__name__}()" if isinstance(layer, type) else ""
                raise InputTypeError(f"Sequential: layer {i} is {layer!r}, expected a layer such as nnx.ReLU(){hint}.")
            layer.check_class(f"Sequential: layer {i}")
            if layer.attached or any(layer is other for other in layers[:i]):
                raise InputError(
                    f"Sequential: layer {i}, {layer!r}, is in use already; every place needs a layer of its own."
                )
        self.layers = layers
        self.built = False
        self.loss: Loss | None = None
        """What its trainer trains it with, by which its outputs are understood; None is `SoftmaxCrossEntropy()`."""
        self.classes: Classes = ()
        """The names of the labels 0, 1, ...: text, truth values or numbers, as `fit` found them; () if they have none.
        Set them before `fit` for labels of which some have no rows there."""
        self.columns: tuple[str, ...] = ()
        """The names of the inputs' columns, if `fit` found any: tables may have them in any order."""

    def build(
        self,
        input_shape: "Sequence[int] | int",
        *,
        backend: BackendLike = None,
        seed: int = 0,
        dtype: str = "float32",
    ) -> "Sequential":
        """Make the parameters on a backend.

        The weights are drawn on the host from `seed`, so that every backend starts from the same ones.

        Args:
            input_shape: of one row, without the rows: (28, 28), or 64 for (64,).
            backend: a name or an instance, as for `get_backend`; default the one in force.
            seed: of the weights and of the dropout masks, in 0..2**64-1.
            dtype: "float32" or "float64".

        Returns:
            The model itself.

        Raises:
            BackendError: the backend cannot run here.
            InputError: the model is built already, or a layer does not take the shape that it gets.
        """
        if self.built:
            raise InputError("this model is built already; make a new one to change its shape, backend, seed or dtype.")
        for i, layer in enumerate(self.layers):
            if layer.attached:
                raise InputError(f"Sequential: layer {i}, {layer!r}, belongs to another built model; make a new one.")
        try:
            lengths = tuple(input_shape)  # type: ignore[arg-type]
        except TypeError:  # one number
            lengths = (input_shape,)  # type: ignore[assignment]
        shape = tuple(check_count("input_shape", length) for length in lengths)
        self.dtype, self.seed = check_dtype(dtype), check_seed(seed)
        choice = choose(backend)
        self.backend: Backend = choice.backend
        self.why = choice.why
        self.ops = Ops(self.backend)
        self.input_shape, self.shapes = shape, []

        names: list[list[str]] = []
        specs: list[Spec] = []
        for i, layer in enumerate(self.layers):
            declared, shape = layer.declare(shape)
            names.append([spec.name for spec in declared])
            specs += [_with_prefix(spec, f"{i}.", self._default_init(i)) for spec in declared]
            self.shapes.append(shape)
        count = sum(math.prod(spec.shape) for spec in specs)
        if count > _MOST_PARAMETERS:
            raise InputError(
                f"the model would have {count:.3g} parameters for inputs of shape {('n', *self.input_shape)}; expected "
                "sizes that fit into memory."
            )
        self.arena = Arena(self.ops, specs, self.dtype)
        rng = np.random.default_rng(self.seed)
        for spec in specs:
            value = spec.value if spec.init is None else initializers.draw(spec.init, spec.shape, rng)
            host = np.array(np.broadcast_to(np.asarray(value), spec.shape), self.dtype)
            views = self.arena.params if spec.trainable else self.arena.running
            views[spec.name][...] = self.ops.to_device(host)

        for i, layer in enumerate(self.layers):
            layer.attach(self.arena, names[i], f"{i}.")
            if layer.random:
                layer.seed, layer.index = self.seed, i
        self.stages = lower(self.layers, [self.input_shape, *self.shapes])
        self.built = True
        return self

    def _default_init(self, index: int) -> str:
        """Return "he" before a ReLU and its like, looking past BatchNorm, Dropout and poolings; else "xavier"."""
        after = (layer for layer in self.layers[index + 1 :] if not isinstance(layer, BatchNorm | Dropout | Pooling))
        first = next(after, None)
        return first.init if isinstance(first, Activation) else "xavier"

    def need_built(self, what: str) -> None:
        if not self.built:
            raise InputError(
                f"{what}: the model has no parameters yet; train it with a Trainer or call "
                "model.build(input_shape) first."
            )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of the output without the rows."""
        return self.shapes[-1] if self.shapes else self.input_shape

    @property
    def params(self) -> Views:
        """The parameters by name, such as "0.W": views on one buffer of the backend."""
        self.need_built("params")
        return self.arena.params

    @property
    def grads(self) -> Views:
        """The parameters' gradients by name, as the last backward or training step left them."""
        self.need_built("grads")
        return self.arena.grads

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """Compute the output layer by layer, unfused, as the study notes do.

        Args:
            x: native, (n, *input_shape).
            train_flg: whether this is training: with dropout, batch statistics, and what `backward` needs kept.
        """
        self.need_built("forward")
        check_rows("x", check_float(self.ops, "x", x), self.input_shape)
        for layer in self.layers:
            x = layer.forward(x, train_flg)
        return x

    def backward(self, dout: Array) -> Array:
        """Return the gradient with respect to the last x, and write `grads`.

        Args:
            dout: the gradient of the output, native and of its shape.
        """
        self.need_built("backward")
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout

    def checked_input(self, name: str, x: Any, first: int = 0) -> Array:
        """Return x, (n, *input_shape), in the model's dtype: a native array if it is one, else NumPy's.

        Whole numbers are converted, not scaled. For messages `first` is the number of the first row.
        """
        x = as_input(self.ops, name, x, self.columns)
        check_rows(name, x, self.input_shape)
        if isinstance(x, np.ndarray):
            return as_floats(name, x, self.dtype, self.columns, first)
        return native_floats(self.ops, name, x, self.dtype)

    def native_input(self, name: str, x: Any, first: int = 0) -> Array:
        """Return `checked_input` as a native array."""
        x = self.checked_input(name, x, first)
        return self.ops.to_device(x) if isinstance(x, np.ndarray) else x

    def predict(self, x: Any, part: Callable[[int], slice] | None = None) -> HostArray:
        """Compute the output for x, without dropout: for a classifier the scores before the softmax.

        It is safe from many threads at once.

        Args:
            x: any array of (n, *input_shape), a table of the columns it was trained on, or a `Dataset`, whose scale is
                applied; also a `DiskDataset`, or another library's data set, which are read as they are needed.
            part: given the number of rows, says which of them alone are wanted.

        Returns:
            A NumPy array, (n, ...).

        Raises:
            InputError: the model is not built, or x has another shape.
        """
        self.need_built("predict")
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [
                np.array(self.ops.to_host(infer(self.ops, self.stages, self.native_input("x", chunk, first))))
                for first, chunk in self._chunks(x, (lambda n: slice(0, n)) if part is None else part)
            ]
        if not parts:
            return np.empty((0, *self.output_shape), self.dtype)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _chunks(self, x: Any, part: Callable[[int], slice]) -> Iterator[tuple[int, Any]]:
        """Yield inputs some rows at a time, scaled, each after the number of its first row."""
        if not isinstance(x, np.memmap) and stays_on_disk(x):
            data = as_disk("x", "t", x)
            wanted = part(len(data))
            for i in range(wanted.start, wanted.stop, _CHUNK):
                yield i, data.inputs(i, min(i + _CHUNK, wanted.stop), self.dtype)
            return
        rows = as_input(self.ops, "x", x.x if isinstance(x, Dataset) else x, self.columns)
        check_rows("x", rows, self.input_shape)
        factor = x.scale if isinstance(x, Dataset) else 1.0
        wanted = part(rows.shape[0])
        for i in range(wanted.start, wanted.stop, _CHUNK):
            yield i, _scaled(rows[i : min(i + _CHUNK, wanted.stop)], factor, self.dtype)

    def predict_proba(self, x: Any, loss: Loss | None = None) -> HostArray:
        """Compute the probabilities for x that the output means under a loss: its softmax or its sigmoid.

        Args:
            x: as for `predict`.
            loss: default the one that the model was trained with.

        Returns:
            A NumPy array, (n, c), a column for each of `classes`; of one sigmoid output (n, 1), for the second class.

        Raises:
            InputError: the outputs are no scores of classes under this loss.
        """
        return self._understood_by(loss).probabilities(self.predict(x))

    def predict_classes(self, x: Any, loss: Loss | None = None) -> HostArray:
        """Predict the class of each row of x: the most probable one.

        Args:
            x: as for `predict`.
            loss: default the one that the model was trained with.

        Returns:
            (n,), by name if the labels had names in training (see `classes`), else their numbers; under a loss by which
            any number of classes may hold (n, c) of 0 and 1.

        Raises:
            InputError: the outputs are no scores of classes under this loss, or NaN.
        """
        return self.classes_of(self.predict(x), loss)

    def classes_of(self, scores: HostArray, loss: Loss | None = None) -> HostArray:
        """Return the classes that outputs mean, as `predict_classes` does for inputs.

        Args:
            scores: (n, c), outputs of `predict`.
            loss: as for `predict_classes`.

        Raises:
            InputError: as `predict_classes`.
        """
        loss = self._understood_by(loss)
        if (wrong := np.isnan(scores.reshape(len(scores), -1)).any(axis=1)).any():
            raise InputError(
                f"predict_classes: the outputs of {wrong.sum()} of {len(scores)} rows are NaN, the first in row "
                f"{np.argmax(wrong)}, as where inputs are missing; fill these in, or leave the rows out."
            )
        numbers = loss.labels(scores)
        if not self.classes or numbers.ndim > 1:
            return numbers
        if len(self.classes) != loss.class_count(self.output_shape):
            raise InputError(
                f"classes: got the names {self.classes} for outputs of shape (n, {self.output_shape[0]}) under "
                f"{loss!r}, expected as many names as classes."
            )
        return as_names(numbers, self.classes)

    def evaluate(self, x: Any, t: Any = None, loss: Loss | None = None) -> "Evaluation":
        """Compute loss and score on data, as `Trainer.evaluate` does.

        Args:
            x: (n, *input_shape), a table, a `Dataset` or a `DiskDataset`.
            t: the targets, as the loss takes them, or labels by name; None for a data set.
            loss: default the one that the model was trained with.

        Returns:
            (loss, score): the mean over the rows, and the accuracy, R2 or None, depending on the loss.
        """
        from .training import data_of, evaluate

        self.need_built("evaluate")
        loss = self._understood_by(loss)
        return evaluate(self, loss, data_of(self, loss, x, t, name="x", target="t"))

    def accuracy(self, x: Any, t: Any = None, loss: Loss | None = None) -> float:
        """Return the share of rows that are right, as `evaluate` gives it.

        Args:
            x: as for `evaluate`.
            t: as for `evaluate`.
            loss: default the one that the model was trained with.

        Raises:
            InputError: the data do not fit, or the loss predicts numbers, not classes.
        """
        from .training import check_tells_accuracy

        loss = self._understood_by(loss)
        check_tells_accuracy(loss)
        return float(self.evaluate(x, t, loss).score or 0.0)

    def _understood_by(self, loss: Loss | None) -> Loss:
        return loss or self.loss or SoftmaxCrossEntropy()

    def state_dict(self) -> dict[str, HostArray]:
        """Return copies of all parameters and running statistics, as NumPy arrays by name."""
        self.need_built("state_dict")
        return {name: np.array(self.ops.to_host(array)) for name, array in self._arrays().items()}

    def load_state_dict(self, state: Mapping[str, HostArray]) -> None:
        """Set parameters and running statistics to the values of `state`.

        Args:
            state: arrays by name, as `state_dict` gives them.

        Raises:
            CheckpointError: a name or a shape does not fit; nothing is changed then.
        """
        self.need_built("load_state_dict")
        if not isinstance(state, Mapping):
            raise InputTypeError(f"state: got {state!r}, expected what state_dict gave.")
        arrays = self._arrays()
        if set(state) != set(arrays):
            missing, extra = sorted(set(arrays) - set(state)), sorted(set(state) - set(arrays))
            raise CheckpointError(
                f"state: the names do not fit the model: missing {missing or 'none'}, unknown {extra or 'none'}."
            )
        hosts = {name: as_host(f"state[{name!r}]", value) for name, value in state.items()}
        for name, host in hosts.items():
            if host.shape != tuple(arrays[name].shape):
                raise CheckpointError(f"state[{name!r}]: got shape {host.shape}, expected {tuple(arrays[name].shape)}.")
        for name, host in hosts.items():
            arrays[name][...] = self.ops.to_device(np.array(host, self.dtype))

    def _arrays(self) -> dict[str, Array]:
        return {**self.arena.params, **self.arena.running}

    def to_torch(self) -> "torch.nn.Sequential":
        """Convert the model to a `torch.nn.Sequential` on the CPU, with copies of the parameters and the same outputs.

        It is in training mode at first, as PyTorch's modules are: call `.eval()` on it to predict. A classical dropout
        becomes PyTorch's, which is the inverted one; its factor goes into the weights of the Affine or Convolution
        after it. BatchNorm's momentum becomes 1 minus it (see `nnx.from_torch` on the variance). Layers that augment
        data in training are left out.

        Raises:
            InputError: a layer is a class or an activation of one's own; a pooling pads by more than half its size; or
                no Affine or Convolution follows a classical dropout directly (ReLU, LeakyReLU, Identity, Flatten,
                poolings and Dropout may lie between).
        """
        from .interop.torch import to_torch

        self.need_built("to_torch")
        return to_torch(self._without_augmentation())

    def to_onnx(self, path: "str | os.PathLike[str]", metadata: Mapping[str, str] | None = None) -> None:
        """Write the graph that `predict` computes to an ONNX file, atomically.

        It goes from "x", (n, *input_shape), to "y", (n, ...), in the model's dtype, for any number of rows n. For a
        classifier y are the scores before the softmax. Layers that augment data in training are left out. Needs the
        package onnx: pip install 'nnx-array[onnx]'.

        Args:
            path: the file.
            metadata: strings by name, kept in the file beside the version of nnx.

        Raises:
            CheckpointError: the file cannot be written.
            InputError: a layer is none of Affine, Convolution, MaxPooling, AveragePooling, GlobalAveragePooling,
                BatchNorm, LayerNorm, Dropout, Flatten, Identity and an activation by a formula; onnx is missing; or the
                parameters take more than 2 GiB.
        """
        from .interop.onnx import to_onnx

        self.need_built("to_onnx")
        to_onnx(self._without_augmentation(), path, metadata)

    def _without_augmentation(self) -> "Sequential":
        """Return the model without layers that act in training alone: itself, or a copy with the same parameters."""
        kept = [i for i, layer in enumerate(self.layers) if not isinstance(layer, TrainingOnly)]
        if len(kept) == len(self.layers):
            return self
        alone = type(self)(*copy.deepcopy([self.layers[i].bare() for i in kept]))
        alone.build(self.input_shape, backend=self.ops.backend, seed=self.seed, dtype=self.dtype)
        places = {str(old): str(new) for new, old in enumerate(kept)}
        names = {name: name.partition(".") for name in self._arrays()}
        state = self.state_dict()
        alone.load_state_dict({f"{places[i]}.{rest}": state[name] for name, (i, _, rest) in names.items()})
        return alone

    def config(self) -> list[dict[str, Any]]:
        """Return what a checkpoint keeps of the architecture: each layer's settings."""
        return [layer.config() for layer in self.layers]

    def summary(self) -> str:
        """Return a table of the layers: output shape, parameters, initial standard deviation of the weights."""
        self.need_built("summary")
        rows = [("layer", "output", "parameters", "initial weights")]
        for i, layer in enumerate(self.layers):
            count = sum(math.prod(p.shape) for p in layer.params.values())
            init = ""
            if isinstance(layer, Weighted):
                how = layer.init if layer.init is not None else self._default_init(i)
                inputs = initializers.inputs_of(tuple(layer.params["W"].shape))
                init = f"{how}, std {initializers.standard_deviation(how, inputs):.4g}"
            shape = self.shapes[i]
            rows.append((f"{i} {layer!r}", f"(n, {', '.join(map(str, shape))})", f"{count:,}" if count else "", init))
        widths = [max(len(row[k]) for row in rows) for k in range(4)]
        lines = [
            f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:<{widths[3]}}".rstrip() for a, b, c, d in rows
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        total = sum(math.prod(p.shape) for p in self.params.values())
        size = total * np.dtype(self.dtype).itemsize
        lines.append(f"{total:,} parameters, {size / 2**20:.2f} MiB in {self.dtype}, backend {self.backend.name}")
        return "\n".join(lines)

    def unbuilt(self) -> "Sequential":
        """Return a model of the same layers, as this one was before it was built."""
        return type(self)(*copy.deepcopy([layer.bare() for layer in self.layers]))

    def __getstate__(self) -> dict[str, Any]:
        """Return what `copy` and `pickle` keep: the layers' settings, all arrays as NumPy's, the backend's name."""
        if not self.built:
            return self.__dict__
        own = {name: value for name, value in self.__dict__.items() if name not in _BY_BUILD}
        layers = tuple(layer.bare() for layer in self.layers)
        build = {"input_shape": self.input_shape, "seed": self.seed, "dtype": self.dtype}
        return {**own, "layers": layers, "built": False, _BUILT: (self.ops, self.why, build, self.state_dict())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({name: value for name, value in state.items() if name != _BUILT})
        if _BUILT in state:
            ops, why, build, arrays = state[_BUILT]
            self.build(**build, backend=ops.backend)
            self.why = why
            self.load_state_dict(arrays)

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Layer:
        return self.layers[index]

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


def _with_prefix(spec: Spec, prefix: str, default: str) -> Spec:
    """Return the spec under its full name; weights whose initialiser is left open get the default."""
    drawn = spec.decay and spec.init is None and isinstance(spec.value, float)
    return Spec(prefix + spec.name, spec.shape, spec.value, default if drawn else spec.init, spec.decay, spec.trainable)


def _scaled(x: Any, factor: float, dtype: str) -> Any:
    return x if factor == 1.0 else np.multiply(x, np.array(factor, dtype), dtype=dtype)


def from_config(config: Sequence[dict[str, Any]]) -> Sequential:
    """Make the unbuilt model that `Sequential.config` described."""
    layers = []
    for entry in config:
        fields = dict(entry)
        name = fields.pop("layer")
        if name not in LAYERS:
            raise unknown("layer", name, LAYERS)
        layers.append(LAYERS[name](**fields))
    return Sequential(*layers)


def known_activations() -> dict[str, type[Layer]]:
    """Return the layers that are activations, registered ones among them, by their names in lower case."""
    return {
        name.lower(): cls
        for name, cls in LAYERS.items()
        if issubclass(cls, Activation | Identity) and cls is not Activation
    }


def MLP(  # noqa: N802  reads like the classes it makes
    hidden: Sequence[int],
    outputs: int,
    *,
    activation: str = "relu",
    init: Init = None,
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> Sequential:
    """Make a multilayer perceptron: Affine, BatchNorm, activation and Dropout for each hidden size, Affine at the end.

    Inputs of any shape are flattened.

    Args:
        hidden: the sizes of the hidden layers, such as (100, 100).
        outputs: the size of the last layer.
        activation: the name of a layer that is an activation, such as "relu", or one of your own by `nnx.register`.
        init: of the weights of all layers but the last: "he", "xavier", a standard deviation, or None as for `Affine`.
        batch_norm: whether there is BatchNorm.
        dropout: the dropout ratio, in [0, 1); 0 for no Dropout.

    Returns:
        The model, not yet built.

    Raises:
        InputError: a size, the ratio or a name cannot be used.
        InputTypeError: `hidden` is no sequence.
    """
    kind = look_up("activation", activation, known_activations())
    sizes: Any = hidden
    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        raise InputTypeError(f"hidden: got {hidden!r}, expected a sequence of sizes such as (100, 100).")
    ratio = check_number("dropout", dropout, 0, 1)
    layers: list[Layer] = [Flatten()]
    for size in hidden:
        layers.append(Affine(check_count("hidden", size), init=init))
        if check_flag("batch_norm", batch_norm):
            layers.append(BatchNorm())
        layers.append(kind())
        if ratio > 0:
            layers.append(Dropout(ratio))
    return Sequential(*layers, Affine(check_count("outputs", outputs)))
