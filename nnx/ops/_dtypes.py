"""Names of dtypes, whatever the library prints: PyTorch's float32 reads "torch.float32"."""

from contextlib import suppress
from typing import Any

FLOATS = ("float32", "float64")
"""The dtypes that nnx computes in."""
BACKEND_DTYPES = (*FLOATS, "bool", "uint8", "uint32", "int64")
"""The dtypes that every backend holds."""

_names: dict[tuple[type, Any], str] = {}
"""By class first: NumPy's dtypes and array_api_strict's share hashes, and must not be compared."""


def register(name: str, dtype: Any) -> None:
    """Register the name of a backend's own dtype, so that it need not be read off what is printed."""
    with suppress(TypeError):  # it cannot be hashed: `dtype_name` reads it off what is printed
        _names[type(dtype), dtype] = name


def dtype_name(array: Any) -> str:
    """Return the name of an array's dtype, such as "float32", by a dictionary look-up; "" for what has no dtype."""
    try:
        dtype = array.dtype
        return _names[type(dtype), dtype]
    except AttributeError:
        return ""
    except KeyError:
        name = _names[type(dtype), dtype] = _as_printed(dtype)
        return name
    except TypeError:  # it cannot be hashed
        return _as_printed(dtype)


def _as_printed(dtype: Any) -> str:
    return str(dtype).rpartition(".")[2]
