"""The idx format of the MNIST files (https://yann.lecun.com/exdb/mnist): a header of sizes, then big-endian values."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import DatasetError, InputError
from ..ops import HostArray

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name).newbyteorder("="): code for code, name in _TYPES.items()}
_GZIP = b"\x1f\x8b"


def read_idx(path: "str | os.PathLike[str]") -> HostArray:
    """Read the array of an idx file, gzip'd or not, in native byte order.

    Raises `DatasetError` for a missing file, and for one that is cut off, damaged, too long or of another format.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
                raise DatasetError(
                    f"{path}: is no idx file (it starts with {magic.hex() or 'nothing'}); use another copy."
                )
            sizes = file.read(4 * magic[3])
            if len(sizes) < 4 * magic[3]:
                raise DatasetError(f"{path}: is cut off within its header; use another copy.")
            shape = struct.unpack(f">{magic[3]}I", sizes)
            dtype = np.dtype(_TYPES[magic[2]])
            expected = math.prod(shape) * dtype.itemsize
            # Read in pieces, up to one byte too many: a header that lies must not exhaust the memory.
            data = bytearray()
            while len(data) <= expected and (piece := file.read(min(1 << 20, expected + 1 - len(data)))):
                data += piece
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file; expected an idx file.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read, it is damaged or cut off ({error}); use another copy.") from error
    if len(data) != expected:
        what = "is cut off" if len(data) < expected else "is too long"
        got = f"{len(data)}" if len(data) < expected else f"more than {expected}"
        raise DatasetError(
            f"{path}: {what}: its header announces {' x '.join(map(str, shape)) or 'one'} values of {dtype.itemsize} "
            f"bytes, {expected} in all, but it holds {got}; use another copy."
        )
    try:
        array: HostArray = np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except ValueError as error:  # more dimensions than NumPy has, or too great ones beside a size of 0
        raise DatasetError(f"{path}: announces a shape that NumPy cannot hold ({error}); use another copy.") from error
    return array


def write_idx(path: "str | os.PathLike[str]", array: HostArray) -> None:
    """Write an array to an idx file.

    Args:
        path: the file; gzip'd if its name ends with .gz.
        array: uint8, int8, int16, int32, float32 or float64, of any shape and byte order.

    Raises:
        InputError: the array has another dtype.
    """
    array = np.asarray(array)
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        raise InputError(
            f"array: got dtype {array.dtype}, expected uint8, int8, int16, int32, float32 or float64; convert it."
        )
    header = struct.pack(f">2xBB{array.ndim}I", code, array.ndim, *array.shape)
    data = header + array.astype(_TYPES[code]).tobytes()
    path = Path(path)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
