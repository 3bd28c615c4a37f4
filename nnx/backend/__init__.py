"""Choice of the backend: which there are, which one is used, and whether a device backend works on this machine."""

from ._choice import (
    BackendLike,
    BackendStatus,
    Choice,
    active_ops,
    choose,
    get_backend,
    list_backends,
    set_backend,
    use_backend,
)
from .environment import script_dtype

__all__ = [
    "BackendLike",
    "BackendStatus",
    "Choice",
    "active_ops",
    "choose",
    "get_backend",
    "list_backends",
    "script_dtype",
    "set_backend",
    "use_backend",
]
