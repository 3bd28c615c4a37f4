"""Writing of files such that they are whole, whatever happens meanwhile."""

import os
import secrets
from pathlib import Path

from ..errors import CheckpointError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file such that it is the old one or the whole new one, whatever happens meanwhile.

    Args:
        path: the file, in a folder that exists.
        data: its whole content.

    Raises:
        CheckpointError: the path is a folder, its folder does not exist or is not writable, or the disk is full.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: cannot be written (it is a folder); expected the name of a file.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        file = temporary.open("xb")
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); choose a folder that exists and is writable."
        ) from error
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error.strerror}); it is as it was. Make room, or choose another folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)  # it is gone already where all went well
    if os.name == "posix":  # the rename itself must reach the disk, too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
