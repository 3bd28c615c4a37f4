"""The laboratory: the study notes' experiments as instruments, on one's own data and any backend.

Each function returns a result with its data, `.plot()`, `.save(folder)` and, printed, a summary in words.
"""

from ._activations import Activations, activations
from ._gradient import Gradient, gradient
from ._gradient_check import GradientCheck, gradient_check
from ._init import INITS, Init, init
from ._optimizers import Optimizers, optimizers
from ._result import Result

__all__ = [
    "INITS",
    "Activations",
    "Gradient",
    "GradientCheck",
    "Init",
    "Optimizers",
    "Result",
    "activations",
    "gradient",
    "gradient_check",
    "init",
    "optimizers",
]
