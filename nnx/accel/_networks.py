"""Whether a class is one of the book's networks: by what its methods may do, and then by what they compute.

Unlike the other modules, these are run as they are, and their class is looked at before it is replaced: people change
networks more than they change layers.
"""

import inspect
import os
import pickle
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from ..backend import use_backend

_METHODS = ("__init__", "accuracy", "gradient", "load_params", "loss", "numerical_gradient", "predict", "save_params")
_INSTANCE = {"W", "W1", "b", "dW", "db", "last_layer", "layers", "params", "accuracy", "gradient", "loss", "predict"}
_LAYERS = {"Affine", "Convolution", "Dropout", "Pooling", "Relu", "SoftmaxWithLoss", "forward", "backward"}
_NUMPY = {"argmax", "array", "copy", "ndim", "np", "randn", "random", "shape", "sqrt", "sum", "zeros"}
_PYTHON = {"append", "dump", "enumerate", "int", "isinstance", "items", "len", "list", "load", "open", "range", "str"}
_PYTHON |= {"OrderedDict", "keys", "numerical_gradient", "pickle", "reverse", "reversed", "values", "zip"}
_VOCABULARY = _INSTANCE | _LAYERS | _NUMPY | _PYTHON
"""What methods may name beside their own variables: enough to compute, and nothing that prints or is seen outside."""
_OF_A_CLASS = {"__dict__", "__doc__", "__firstlineno__", "__module__", "__static_attributes__", "__weakref__"}


def network_difference(module: ModuleType, name: str, own: ModuleType) -> str | None:
    """Return why a module's class is not the one by which `own` replaces it, or None if it is.

    Args:
        module: the script's, which has been executed.
        name: of the class.
        own: nnx's module.
    """
    theirs, ours = vars(module).get(name), vars(own)[name]
    if type(theirs) is not type or theirs.__bases__ != (object,) or theirs.__module__ != module.__name__:
        return f"its {name} is no plain class"
    wanted = {method for method in _METHODS if hasattr(ours, method)}
    found = vars(theirs).keys() - _OF_A_CLASS
    if found != wanted:
        return f"its {name} differs in {', '.join(sorted(found ^ wanted))}"
    for method in sorted(wanted):
        function = vars(theirs)[method]
        if (reason := _changed(function, getattr(ours, method), module, own)) is not None:
            return f"its {name}.{method} {reason}"
    try:
        with _aside():
            return _TRIALS[name](theirs, ours)
    except Exception as error:
        return f"its {name} cannot be tried: {type(error).__name__}: {error}"


def _changed(function: object, ours: Any, module: ModuleType, own: ModuleType) -> str | None:
    if type(function) is not FunctionType or function.__closure__ or function.__globals__ is not vars(module):
        return "is no plain method"
    if _arguments(function) != _arguments(ours):
        return f"takes {inspect.signature(function)}"
    known = {"np": np, "pickle": pickle, "OrderedDict": OrderedDict}
    for name in sorted(_named(function.__code__)):
        if name not in _VOCABULARY:
            return f"uses {name}"
        if name in vars(module) and vars(module)[name] is not known.get(name, vars(own).get(name)):
            return f"uses another {name}"
    return None


def _arguments(function: Any) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in _parameters(function).values()]


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _named(code: CodeType) -> set[str]:
    """Return the globals and attributes that a function names."""
    return set(code.co_names).union(*(_named(part) for part in code.co_consts if isinstance(part, CodeType)))


# The trial ------------------------------------------------------------------------------------------------------------


@contextmanager
def _aside() -> Iterator[None]:
    """Compute in float64 on NumPy, and leave NumPy's global generator as it was."""
    state, dtype = np.random.get_state(), os.environ.pop("NNX_SCRIPT_DTYPE", None)  # noqa: NPY002
    try:
        with use_backend("numpy"), np.errstate(all="ignore"):
            yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
        if dtype is not None:
            os.environ["NNX_SCRIPT_DTYPE"] = dtype


def _try_simple(theirs: type, ours: type) -> str | None:
    small = (1, 6, 6), {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}
    other = (2, 7, 7), {"filter_num": 3, "filter_size": 3, "pad": 1, "stride": 2}
    for (shape, conv_param), classes, std in ((small, 3, 0.5), (other, 10, 0.5), (other, 4, None)):
        spread = {} if std is None else {"weight_init_std": std}
        pair = _made(theirs, ours, shape, conv_param=conv_param, hidden_size=4, output_size=classes, **spread)
        if (reason := _differs(*pair, shape, classes)) is not None:
            return reason
    their, our = _made(theirs, ours, *small, 4, 3, 0.5)
    x, t = _data(small[0], 3, 2)
    if not _equal(their.numerical_gradient(x, t), our.numerical_gradient(x, t), tolerance=1e-6):
        return "computes another numerical gradient"
    return None


def _try_deep(theirs: type, ours: type) -> str | None:
    sizes = ((2, 3, 1), (3, 3, 1), (2, 5, 2), (2, 3, 2), (3, 3, 1), (64, 1, 0))
    settings = [{"filter_num": n, "filter_size": size, "pad": pad, "stride": 1} for n, size, pad in sizes]
    return _differs(*_made(theirs, ours, (2, 28, 28), *settings, 6, 7), (2, 28, 28), 7)


_TRIALS = {"SimpleConvNet": _try_simple, "DeepConvNet": _try_deep}


def _seed() -> None:
    np.random.seed(0)  # noqa: NPY002  the generator that the book draws from


def _made(theirs: type, ours: type, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    networks = []
    for cls in (theirs, ours):
        _seed()
        networks.append(cls(*args, **kwargs))
    return networks[0], networks[1]


def _data(shape: tuple[int, ...], classes: int, n: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, *shape)), rng.integers(0, classes, n)


def _differs(theirs: Any, ours: Any, shape: tuple[int, ...], classes: int) -> str | None:
    """Return what two networks, which have been made alike, compute differently, or None."""
    x, t = _data(shape, classes, 20)
    one_hot, found = np.eye(classes)[t], np.argmax(ours.predict(x), axis=1)
    if list(theirs.params) != list(ours.params) or not _equal(theirs.params, ours.params):
        return "begins with other parameters"
    flags = [{"train_flg": flag} for flag in (True, False)] if "train_flg" in _parameters(ours.predict) else [{}]
    calls: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
        *(("other scores", "predict", (x,), flag) for flag in flags),
        *(("another loss", "loss", (x, targets), {}) for targets in (t, one_hot)),
        *(("another gradient", "gradient", (x, targets), {}) for targets in (t, one_hot)),
        *(("another accuracy", "accuracy", (x, targets, 6), {}) for targets in (t, one_hot, found)),
    ]
    for what, method, args, kwargs in calls:
        if not _equal(*(_seeded(network, method, args, kwargs) for network in (theirs, ours))):
            return f"computes {what}"
    if _structure(theirs.layers) != _structure(ours.layers):
        return "has other layers"
    return _files_differ(theirs, ours, x)


def _seeded(network: Any, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what a method gives, with the random numbers that come after it."""
    _seed()
    result = getattr(network, method)(*args, **kwargs)
    return {**(result if isinstance(result, dict) else {"": result}), "random": np.random.random_sample(3)}  # noqa: NPY002


def _structure(layers: Any) -> Any:
    if isinstance(layers, dict):
        return {name: type(layer) for name, layer in layers.items()}
    return [type(layer) for layer in layers]


def _files_differ(theirs: Any, ours: Any, x: Any) -> str | None:
    """Return what one network does differently in writing its parameters or reading the other's, or None."""
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "params.pkl")
        for source, target in ((theirs, ours), (ours, theirs)):
            for key in source.params:
                source.params[key] += 0.5
            source.save_params(path)
            target.load_params(path)
            if not _equal(source.params, target.params) or not _equal({"": source.predict(x)}, {"": target.predict(x)}):
                return "writes or reads other parameters"
    return None


def _equal(one: dict[str, Any], other: dict[str, Any], *, tolerance: float = 1e-9) -> bool:
    return one.keys() == other.keys() and all(
        np.shape(value) == np.shape(other[key])
        and np.asarray(value).dtype == np.asarray(other[key]).dtype
        and np.allclose(value, other[key], rtol=tolerance, atol=tolerance)
        for key, value in one.items()
    )
