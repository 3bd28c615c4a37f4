"""nnx: one layer/optimizer API for training neural networks, on interchangeable array backends."""

import typing as _typing
from importlib import import_module as _import_module

from . import datasets, formula, functions, schedules
from .backend import BackendStatus, get_backend, list_backends, set_backend, use_backend
from .errors import (
    BackendError,
    BackendWarning,
    CaptureWarning,
    CheckpointError,
    DatasetError,
    DivergedError,
    InputError,
    InputTypeError,
    LossWarning,
    NnxError,
    ParallelError,
)
from .interop.torch import from_torch
from .layers import (
    ELU,
    GELU,
    Activation,
    Affine,
    AveragePooling,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPooling,
    RandomFlip,
    RandomShift,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    SpatialDropout,
    Spec,
    Tanh,
)
from .losses import (
    ElementwiseLoss,
    Huber,
    Loss,
    MeanSquaredError,
    PoissonDeviance,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from .model import MLP, Sequential
from .networks import DeepConvNet, SimpleConvNet
from .ops import Backend, Ops
from .optimizers import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    Optimizer,
    RMSprop,
)
from .parallel import world
from .registration import register
from .training import (
    Callback,
    CSVLogger,
    EarlyStopping,
    OrderWarning,
    ReduceOnPlateau,
    ResumeWarning,
    TensorBoard,
    Trainer,
    plot_history,
    read_pictures,
)

if _typing.TYPE_CHECKING:
    import numpy as _numpy

    from . import accel as accel
    from . import book as book
    from . import lab as lab
    from . import report as report
    from . import sklearn as sklearn
    from . import tune as tune

    np = _numpy
    __version__: str

__all__ = [
    "ELU",
    "GELU",
    "MLP",
    "SGD",
    "Activation",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Affine",
    "AveragePooling",
    "Backend",
    "BackendError",
    "BackendStatus",
    "BackendWarning",
    "BatchNorm",
    "CSVLogger",
    "Callback",
    "CaptureWarning",
    "CheckpointError",
    "Convolution",
    "DatasetError",
    "DeepConvNet",
    "DivergedError",
    "Dropout",
    "EarlyStopping",
    "ElementwiseLoss",
    "Flatten",
    "GlobalAveragePooling",
    "Huber",
    "Identity",
    "InputError",
    "InputTypeError",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Lion",
    "Loss",
    "LossWarning",
    "MaxPooling",
    "MeanSquaredError",
    "Momentum",
    "NAdam",
    "Nesterov",
    "NnxError",
    "Ops",
    "Optimizer",
    "OrderWarning",
    "ParallelError",
    "PoissonDeviance",
    "RMSprop",
    "RandomFlip",
    "RandomShift",
    "ReLU",
    "ReduceOnPlateau",
    "ResumeWarning",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "SimpleConvNet",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SpatialDropout",
    "Spec",
    "Tanh",
    "TensorBoard",
    "Trainer",
    "datasets",
    "formula",
    "from_torch",
    "functions",
    "get_backend",
    "list_backends",
    "plot_history",
    "read_pictures",
    "register",
    "schedules",
    "set_backend",
    "use_backend",
    "world",
]

_ON_REQUEST = ("accel", "book", "lab", "report", "sklearn", "tune")
"""Modules that are imported when first used: they need more than NumPy, and not everybody needs them."""

_NEW_NAMES = {
    "SoftmaxWithLoss": "SoftmaxCrossEntropy",
    "CrossEntropyLoss": "SoftmaxCrossEntropy",
    "SigmoidWithLoss": "SigmoidCrossEntropy",
    "BCEWithLogitsLoss": "SigmoidCrossEntropy",
    "MSELoss": "MeanSquaredError",
    "IdentityWithLoss": "MeanSquaredError",
    "Linear": "Affine",
    "Dense": "Affine",
    "Relu": "ReLU",
    "BatchNormalization": "BatchNorm",
    "BatchNorm1d": "BatchNorm",
    "BatchNorm2d": "BatchNorm",
    "Conv2d": "Convolution",
    "Conv2D": "Convolution",
    "Pooling": "MaxPooling",
    "MaxPool2d": "MaxPooling",
    "MaxPooling2D": "MaxPooling",
    "AvgPool2d": "AveragePooling",
    "AveragePooling2D": "AveragePooling",
    "GlobalAveragePooling2D": "GlobalAveragePooling",
    "Dropout2d": "SpatialDropout",
    "SpatialDropout2D": "SpatialDropout",
    "RandomHorizontalFlip": "RandomFlip",
    "Adagrad": "AdaGrad",
    "RMSProp": "RMSprop",
    "load_mnist": "datasets.load",
    "softmax": "functions.softmax",
    "cross_entropy_error": "functions.cross_entropy_error",
    "numerical_gradient": "functions.numerical_gradient",
}
"""What the study notes and other libraries call these parts."""

if not _typing.TYPE_CHECKING:  # to a type checker a name that is not above is an error

    def __getattr__(name: str) -> _typing.Any:
        if name in _ON_REQUEST:
            return _import_module(f".{name}", __name__)
        if name == "__version__":
            from importlib.metadata import version  # a fifth of the time that `import nnx` takes

            return version("nnx-array")
        if name == "np":  # `from nnx import np`: the array namespace of the backend in force at that moment
            return get_backend().xp
        hint = f": its name here is nnx.{_NEW_NAMES[name]}" if name in _NEW_NAMES else ""
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint}")

    def __dir__() -> list[str]:
        """Name what is imported on request, too, so that it is found by completion."""
        return sorted({*globals(), *_ON_REQUEST, "np", "__version__"})
