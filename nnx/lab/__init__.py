"""The laboratory: the study notes' experiments as instruments, on one's own data and any backend.

Each function returns a result with its data, `.plot()`, `.save(folder)` and, printed, a summary in words.
"""

from ._batch_norm import BatchNormalization, batchnorm
from ._inspect import Inspection, inspect
from ._lr_find import LearningRates, lr_find
from ._overfit import Overfit, overfit
from ._result import Result

__all__ = [
    "BatchNormalization",
    "Inspection",
    "LearningRates",
    "Overfit",
    "Result",
    "batchnorm",
    "inspect",
    "lr_find",
    "overfit",
]
