"""A page for a person: what was trained or searched, how it went, and what the network gets wrong; one HTML file."""

import os
from pathlib import Path

from ..checkpoint import write_atomically
from ..checks import check_path
from ..errors import InputError
from ..registry import BackendLike
from ..run_folder import RunFolder
from ._run import run_page

__all__ = ["write"]


def write(
    folder: "str | os.PathLike[str]", out: "str | os.PathLike[str] | None" = None, *, backend: BackendLike = None
) -> Path:
    """Write the report of a run, or of a search, and return the file's path: FOLDER/report.html unless `out` says
    otherwise.

    The page refers to nothing outside itself. What the folder does not hold (a history, the data set) is left out, and
    the page says why. backend: where the run's network is looked at.

    Raises `InputError` for a folder that is neither a run nor a search, and `CheckpointError` for a damaged checkpoint;
    nothing is written then.
    """
    folder = check_path("folder", folder)
    file = folder / "report.html" if out is None else check_path("out", out)
    run = RunFolder(folder)
    if not run.config.is_file() and not run.checkpoint.is_file():
        raise InputError(
            f"{folder}: is no run (it has neither {run.config.name} nor {run.checkpoint.name}); expected a folder that "
            "`nnx train` or `nnx tune` wrote."
        )
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK) or file.is_dir():
        raise InputError(f"{file}: cannot be written; expected a file in a folder that exists and is writable.")
    write_atomically(file, run_page(run, backend))
    return file
