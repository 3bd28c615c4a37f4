"""Writing of files such that they are whole, whatever happens meanwhile."""

import os
import secrets
from pathlib import Path

from ..errors import CheckpointError, InputError


def make_folder(path: Path, option: str = "", *, writable: bool = False) -> None:
    """Make a folder, with those above it, unless it is there.

    Args:
        path: the folder.
        option: what to pass another one by, for the message, such as "--out".
        writable: whether to check that files can be written there.

    Raises:
        InputError: it cannot be made, or is not writable.
    """
    advice = f"pass another{' ' if option else ''}{option}."
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made a folder ({error.strerror}); {advice}") from None
    if writable and not os.access(path, os.W_OK):
        raise InputError(f"{path}: is not writable; {advice}")


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
