"""Checkpoint files: safetensors with a checksum over everything, written to a temporary file, synced and renamed."""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._support.checks import check_path
from .._support.files import write_atomically
from ..errors import CheckpointError
from ..ops import HostArray

FORMAT = 1


def _digest(tensors: Mapping[str, HostArray], meta: str) -> str:
    digest = hashlib.sha256(meta.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return digest.hexdigest()


def write(path: str | os.PathLike[str], tensors: Mapping[str, HostArray], meta: Mapping[str, Any]) -> None:
    """Save arrays and JSON-able `meta` to a file, atomically.

    Args:
        path: the file.
        tensors: arrays by name.
        meta: everything else.

    Raises:
        CheckpointError: the file cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}  # keeps 0-d arrays 0-d
    text = json.dumps(meta)
    header = {"format": str(FORMAT), "nnx": text, "sha256": _digest(arrays, text)}
    write_atomically(check_path("path", path), save(arrays, metadata=header))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, HostArray], dict[str, Any]]:
    """Return the arrays and `meta` of a checkpoint. Raises `CheckpointError` for anything but a whole, unedited one."""
    from safetensors import SafetensorError, safe_open

    path = check_path("path", path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; expected a checkpoint written by Trainer.save.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: is not a complete safetensors file ({error}): cut off, or something else; use another copy."
        ) from error
    if "nnx" not in header or "sha256" not in header:
        raise CheckpointError(f"{path}: is a safetensors file, but no checkpoint of nnx (its header has no nnx entry).")
    if header.get("format") != str(FORMAT):
        raise CheckpointError(
            f"{path}: has checkpoint format {header.get('format')}, this version of nnx reads {FORMAT}; update nnx."
        )
    if header["sha256"] != _digest(tensors, header["nnx"]):
        raise CheckpointError(f"{path}: its checksum does not fit; the file was edited or damaged. Use another copy.")
    meta: dict[str, Any] = json.loads(header["nnx"])
    return tensors, meta
