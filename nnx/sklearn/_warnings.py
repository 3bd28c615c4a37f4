"""Warnings that show the user's line, and that the filters for scikit-learn's modules know."""

import sys
import warnings
from types import FrameType

_MODULE = "sklearn.neural_network._multilayer_perceptron"
_INSIDE = {"joblib", "nnx", "sklearn"}


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn as scikit-learn's module of these estimators would, at the line outside of the libraries that led here."""
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in _INSIDE:
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(
        message, category, frame.f_code.co_filename, frame.f_lineno, module=_MODULE, registry=registry
    )
