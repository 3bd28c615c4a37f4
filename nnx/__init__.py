"""nnx: one layer/optimizer API for training neural networks, on interchangeable array backends."""

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from . import datasets, functions, schedules
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
from .layers import Affine, BatchNorm, Dropout, Flatten, Identity, Layer, ReLU, Sigmoid, Tanh
from .losses import Loss, MeanSquaredError, PoissonDeviance, SigmoidCrossEntropy, SoftmaxCrossEntropy
from .model import MLP, Sequential
from .ops import Ops
from .optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSprop
from .registry import BackendStatus, get_backend, list_backends, set_backend, use_backend
from .trainer import ResumeWarning, Trainer

if _TYPE_CHECKING:
    from . import lab
    from . import sklearn as sklearn

__version__ = _version("nnx-array")

__all__ = [
    "MLP",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Affine",
    "Backend",
    "BackendError",
    "BackendStatus",
    "BatchNorm",
    "Callback",
    "CheckpointError",
    "DatasetError",
    "DivergedError",
    "Dropout",
    "EarlyStopping",
    "Flatten",
    "Identity",
    "InputError",
    "InputTypeError",
    "Layer",
    "Loss",
    "MeanSquaredError",
    "Momentum",
    "Nesterov",
    "NnxError",
    "Ops",
    "Optimizer",
    "PoissonDeviance",
    "RMSprop",
    "ReLU",
    "ResumeWarning",
    "Sequential",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "Tanh",
    "Trainer",
    "datasets",
    "functions",
    "get_backend",
    "lab",
    "list_backends",
    "schedules",
    "set_backend",
    "use_backend",
]

_ON_REQUEST = ("lab", "sklearn")
"""Modules that are imported when first used: they need more than NumPy, and not everybody needs them."""


def __getattr__(name: str) -> _Any:
    if name in _ON_REQUEST:
        return _import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
