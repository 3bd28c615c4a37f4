"""What is shown of an error under the kit: the backend's own part of it, without the frames of nnx and of pytest."""

import traceback
from pathlib import Path
from types import FrameType, TracebackType

from ..ops import Backend

_NNX = str(Path(__file__).parents[1])


def is_verdict(error: BaseException) -> bool:
    """Return whether the kit itself raised it, so that its message says all; an `assert` of the backend's is none."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return isinstance(error, AssertionError) and last.filename.startswith(_NNX)


def own_traceback(error: BaseException, backend: Backend) -> str:
    """Return what an error says, and below it its traceback from the first frame of the backend on.

    Where nnx fails in a library without the backend in between, as in a composition that asks `xp` for a function which
    that does not have, it begins with the line of nnx.
    """
    shown = traceback.TracebackException(type(error), error, _own_part(error, backend))
    said = "".join(shown.format_exception_only()).partition("\n")[0]  # pytest's summary has the first line
    return "".join([f"{said}\n", *shown.format()])


def place(error: BaseException, backend: Backend) -> str:
    """Return the last line of the backend in an error's traceback, or else of nnx: "/a/plugin.py:12, in affine"."""
    frames = list(traceback.walk_tb(error.__traceback__))
    kept = [at for at in frames if _of(at[0], backend)] or [at for at in frames if _of_nnx(at[0])] or frames
    frame, line = kept[-1]
    return f"{frame.f_code.co_filename}:{line}, in {frame.f_code.co_name}"


def _own_part(error: BaseException, backend: Backend) -> TracebackType | None:
    entry, inside, before = error.__traceback__, False, error.__traceback__
    while entry is not None:
        if _of_nnx(entry.tb_frame):
            inside, before = True, entry
        elif inside:
            return entry if _of(entry.tb_frame, backend) else before
        entry = entry.tb_next
    return before


def _of_nnx(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_NNX)


def _of(frame: FrameType, backend: Backend) -> bool:
    """Return whether a frame is of the backend's package."""
    package = type(backend).__module__.partition(".")[0]
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == package and not _of_nnx(frame)
