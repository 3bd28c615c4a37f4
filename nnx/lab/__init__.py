"""The laboratory: the study notes' experiments as instruments, on one's own data and any backend.

Each function returns a result with its data, `.plot()`, `.save(folder)` and, printed, a summary in words.
"""

from ._activations import Activations, activations
from ._batch_norm import BatchNormalization, batchnorm
from ._gradient import Gradient, gradient
from ._gradient_check import GradientCheck, gradient_check
from ._init import INITS, Init, init
from ._inspect import Inspection, inspect
from ._lr_find import LearningRates, lr_find
from ._optimizers import Optimizers, optimizers
from ._overfit import Overfit, overfit
from ._result import Result

__all__ = [
    "INITS",
    "Activations",
    "BatchNormalization",
    "Gradient",
    "GradientCheck",
    "Init",
    "Inspection",
    "LearningRates",
    "Optimizers",
    "Overfit",
    "Result",
    "activations",
    "batchnorm",
    "gradient",
    "gradient_check",
    "init",
    "inspect",
    "lr_find",
    "optimizers",
    "overfit",
]
