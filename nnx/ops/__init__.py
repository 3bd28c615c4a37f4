"""The operations: what a backend must have, what every operation computes, and how both are bound together.

`spec` is the specification, `protocol` the contract with a backend.
"""

from ._bind import Explanation, Ops
from ._dtypes import BACKEND_DTYPES, FLOATS, dtype_name
from .protocol import (
    Array,
    Backend,
    Collective,
    CompileSeconds,
    HostArray,
    InPython,
    Pair,
    Pinned,
    Repeats,
    StepsPerCapture,
    ToHostAll,
    WarmUp,
    missing_members,
)
from .spec import OPERATIONS

__all__ = [
    "BACKEND_DTYPES",
    "FLOATS",
    "OPERATIONS",
    "Array",
    "Backend",
    "Collective",
    "CompileSeconds",
    "Explanation",
    "HostArray",
    "InPython",
    "Ops",
    "Pair",
    "Pinned",
    "Repeats",
    "StepsPerCapture",
    "ToHostAll",
    "WarmUp",
    "dtype_name",
    "missing_members",
]
