"""Arrays that stay in a file, or wherever they are, and are read by ranges of rows."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import DatasetError
from ..ops import HostArray

_SAFETENSORS = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}


class StoredArray(Protocol):
    """Rows of one shape and dtype, (n, *shape)."""

    shape: tuple[int, ...]
    """(n, ...), with the rows."""
    dtype: "np.dtype[Any]"

    def read(self, begin: int, end: int, out: HostArray | None = None) -> HostArray:
        """Return the rows begin, ..., end - 1; in `out`, if that is given, C-contiguous and of their dtype."""


class FileArray:
    """An array whose rows lie in a file as they are, one after another.

    Reads tell their own place in the file, so that threads and processes may share it.

    Args:
        path: the file.
        name: of the array, for messages.
        offset: bytes before its first row.
        shape: (n, ...).
        dtype: of the numbers.

    Raises:
        DatasetError: the file is too short.
    """

    def __init__(self, path: Path, name: str, offset: int, shape: tuple[int, ...], dtype: "np.dtype[Any]") -> None:
        self._path, self._name, self._offset = path, name, offset
        self._stored, self.shape, self.dtype = dtype, shape, dtype.newbyteorder("=")
        self._row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        if path.stat().st_size < offset + shape[0] * self._row:
            raise self._cut_off()
        self._file = _opened(path)

    def read(self, begin: int, end: int, out: HostArray | None = None) -> HostArray:
        """Return the rows begin, ..., end - 1; in `out`, if that is given, C-contiguous and of their dtype."""
        direct = out is not None and self._stored == self.dtype
        rows = out if direct and out is not None else np.empty((end - begin, *self.shape[1:]), self._stored)
        view, place = rows.reshape(-1).view(np.uint8).data, self._offset + begin * self._row
        while len(view):
            count = self._read_into(view, place)
            if not count:
                raise self._cut_off()
            view, place = view[count:], place + count
        if direct or out is None:
            return rows if direct else rows.astype(self.dtype, copy=False)
        out[...] = rows
        return out

    def expect(self, begin: int, end: int) -> None:
        """Let the system begin to read these rows, where it can be told to: they are asked for soon."""
        if self._file is not None and hasattr(os, "posix_fadvise"):
            first = self._offset + begin * self._row
            os.posix_fadvise(self._file, first, (end - begin) * self._row, os.POSIX_FADV_WILLNEED)

    def _read_into(self, view: memoryview, place: int) -> int:
        """Fill memory from a place in the file; return how many bytes there were."""
        if self._file is None:
            with self._path.open("rb", buffering=0) as file:
                file.seek(place)
                return int(file.readinto(view) or 0)
        return os.preadv(self._file, [view], place)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_file"}  # it is this process' own

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._file = _opened(self._path)

    def __del__(self) -> None:
        if (file := getattr(self, "_file", None)) is not None:
            os.close(file)

    def _cut_off(self) -> DatasetError:
        return DatasetError(
            f"{self._path}: is shorter than its header says, {self.shape} of {self.dtype} for {self._name}; it was cut "
            "off, so use another copy."
        )


def _opened(path: Path) -> int | None:
    """Return a descriptor of a file; None on Windows, where reads cannot tell their place."""
    return os.open(path, os.O_RDONLY) if hasattr(os, "preadv") else None


class SlicedArray:
    """An array of whatever kind whose slices are arrays: a memory map, or an array in memory.

    Args:
        array: has `shape`, `dtype` and `array[begin:end]`.
    """

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape, self.dtype = tuple(array.shape), np.dtype(array.dtype)

    def read(self, begin: int, end: int, out: HostArray | None = None) -> HostArray:
        """Return the rows begin, ..., end - 1; in `out`, if that is given, C-contiguous and of their dtype."""
        rows = self._array[begin:end]
        if out is None:
            return np.array(rows)  # a copy: pages of a map are not to stay in memory for it
        out[...] = rows
        return out


def stored_arrays(path: Path) -> dict[str, FileArray]:
    """Return the arrays of an .npy, an .npz that is not compressed, or a .safetensors file by their names.

    Raises:
        DatasetError: the file is damaged, its arrays are no numbers, or do not lie there row by row.
    """
    readers = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}
    try:
        return readers[path.suffix](path)
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: cannot be read as {path.suffix} ({error}); use another copy.") from error


def _npy(path: Path) -> dict[str, FileArray]:
    with path.open("rb") as file:
        shape, dtype = _header(str(path), file)
        return {path.stem: FileArray(path, path.stem, file.tell(), shape, dtype)}


def _npz(path: Path) -> dict[str, FileArray]:
    found = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.compress_type != zipfile.ZIP_STORED:
                raise DatasetError(
                    f"{path}: {name} is compressed, and cannot be read by rows; write the file by np.savez, not by "
                    "np.savez_compressed."
                )
            with archive.open(member) as file:
                shape, dtype = _header(f"{path}: {name}", file)
                header = file.tell()
            raw.seek(member.header_offset + 26)  # of the zip's own entry: 30 bytes, a name and more, of these lengths
            lengths = np.frombuffer(raw.read(4), "<u2")
            found[name] = FileArray(path, name, member.header_offset + 30 + int(lengths.sum()) + header, shape, dtype)
    return found


def _safetensors(path: Path) -> dict[str, FileArray]:
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > os.path.getsize(path):
            raise ValueError("its header is longer than the file")
        header = json.loads(file.read(size))
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in _SAFETENSORS:
            dtype = np.dtype(_SAFETENSORS[entry["dtype"]])
            begin = int(entry["data_offsets"][0])
            found[name] = FileArray(path, name, 8 + size + begin, tuple(entry["shape"]), dtype)
    return found


def _header(what: str, file: Any) -> "tuple[tuple[int, ...], np.dtype[Any]]":
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, columns_first, dtype = read(file)
    if dtype.hasobject:
        raise DatasetError(f"{what} holds Python objects, pickled, which could run anything when they are loaded.")
    if columns_first and len(shape) > 1:
        raise DatasetError(
            f"{what} lies column by column, and cannot be read by rows; write it by np.save(path, "
            "np.ascontiguousarray(array)), or nnx shuffle."
        )
    return shape, dtype
