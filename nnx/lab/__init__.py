"""The laboratory: the study notes' experiments as instruments, on one's own data and any backend.

Each function returns a result with its data, `.plot()`, `.save(folder)` and, printed, a summary in words.
"""

from ._inspect import Inspection, inspect
from ._result import Result

__all__ = ["Inspection", "Result", "inspect"]
