"""nnx: one layer/optimizer API for training neural networks, on interchangeable array backends."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import datasets, formula, functions, schedules
from .backend import Backend
from .callbacks import Callback, EarlyStopping
from .errors import (
    BackendError,
    CheckpointError,
    DatasetError,
    DivergedError,
    InputError,
    InputTypeError,
    NnxError,
)
from .layers import (
    ELU,
    GELU,
    Activation,
    Affine,
    BatchNorm,
    Dropout,
    Flatten,
    Identity,
    Layer,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from .loggers import CSVLogger, TensorBoard
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
from .ops import Ops
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
from .registration import register
from .registry import BackendStatus, get_backend, list_backends, set_backend, use_backend
from .torch_interop import from_torch
from .trainer import ResumeWarning, Trainer

if _TYPE_CHECKING:
    import numpy as np  # noqa: F401

    from . import accel as accel
    from . import book as book
    from . import lab as lab
    from . import report as report
    from . import sklearn as sklearn
    from . import tune as tune

__version__ = _version("nnx-array")

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
    "Backend",
    "BackendError",
    "BackendStatus",
    "BatchNorm",
    "CSVLogger",
    "Callback",
    "CheckpointError",
    "DatasetError",
    "DivergedError",
    "Dropout",
    "EarlyStopping",
    "ElementwiseLoss",
    "Flatten",
    "Huber",
    "Identity",
    "InputError",
    "InputTypeError",
    "Layer",
    "LeakyReLU",
    "Lion",
    "Loss",
    "MeanSquaredError",
    "Momentum",
    "NAdam",
    "Nesterov",
    "NnxError",
    "Ops",
    "Optimizer",
    "PoissonDeviance",
    "RMSprop",
    "ReLU",
    "ResumeWarning",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Tanh",
    "TensorBoard",
    "Trainer",
    "datasets",
    "formula",
    "from_torch",
    "functions",
    "get_backend",
    "list_backends",
    "register",
    "schedules",
    "set_backend",
    "use_backend",
]

_ON_REQUEST = ("accel", "book", "lab", "report", "sklearn", "tune")
"""Modules that are imported when first used: they need more than NumPy, and not everybody needs them."""


def __getattr__(name: str) -> _Any:
    if name in _ON_REQUEST:
        return _import_module(f".{name}", __name__)
    if name == "np":  # `from nnx import np`: the array namespace of the backend in force at that moment
        return get_backend().xp
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
