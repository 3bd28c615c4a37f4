"""The laboratory: the study notes' experiments as instruments, on any data and any backend.

Each function returns a result with its data, `.plot()`, `.save(folder)` and, when printed, a summary in words.
"""

from .._support.result import Result
from ._activations import Activations, activations
from ._batch_norm import BatchNormalization, batchnorm
from ._gradient import Gradient, gradient
from ._gradient_check import GradientCheck, gradient_check
from ._init import INITS, Init, init
from ._inspect import Filters, Histogram, Inspection, Mistake, confused_pairs, inspect, weight_histograms
from ._inspect_figures import feature_sheet, filter_sheet, histogram_sheet
from ._lr_find import LearningRates, lr_find
from ._optimizers import Optimizers, optimizers
from ._overfit import Overfit, overfit
from ._rates import Rates, rates

__all__ = [
    "INITS",
    "Activations",
    "BatchNormalization",
    "Filters",
    "Gradient",
    "GradientCheck",
    "Histogram",
    "Init",
    "Inspection",
    "LearningRates",
    "Mistake",
    "Optimizers",
    "Overfit",
    "Rates",
    "Result",
    "activations",
    "batchnorm",
    "confused_pairs",
    "feature_sheet",
    "filter_sheet",
    "gradient",
    "gradient_check",
    "histogram_sheet",
    "init",
    "inspect",
    "lr_find",
    "optimizers",
    "overfit",
    "rates",
    "weight_histograms",
]
