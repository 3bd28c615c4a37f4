"""Hyper-parameter search: random values, short trainings, validation data only, and ranges narrowed around the best.

    from nnx.tune import Choice, Linear, Log

    study = nnx.tune.search({"lr": Log(1e-5, 1e-1), "dropout": Linear(0, 0.5), "optimizer": Choice("adam", "sgd")})

It needs Optuna: pip install 'nnx-array[tune]'.
"""

from ._narrow import Narrowing, narrow
from ._search import search
from ._settings import Settings
from ._space import Choice, Linear, Log, Range, Space, short
from ._study import Round, Study, load
from ._trial import Trial

__all__ = [
    "Choice",
    "Linear",
    "Log",
    "Narrowing",
    "Range",
    "Round",
    "Settings",
    "Space",
    "Study",
    "Trial",
    "load",
    "narrow",
    "search",
    "short",
]
