"""A page for a person: what was trained or searched, how it went, and what the network gets wrong; one HTML file."""

import os
from pathlib import Path

from .._support.checks import check_path
from .._support.files import write_atomically
from ..backend import BackendLike
from ..errors import InputError
from ..training import RunFolder
from ._run import run_page

__all__ = ["write"]


def write(
    folder: "str | os.PathLike[str]",
    out: "str | os.PathLike[str] | None" = None,
    *,
    backend: BackendLike = None,
    storage: str | None = None,
    name: str | None = None,
) -> Path:
    """Write the report of a run or of a search as one HTML page that refers to nothing outside itself.

    What is missing (a history, the data set) is left out, and the page says why.

    Args:
        folder: A folder that `nnx train` or `nnx tune` wrote.
        out: The file to write; None for report.html in the folder.
        backend: Name of a backend, or a backend, to look into a run's network; None for the one in force.
        storage: URL of the shared database that a search is kept in.
        name: Name of the search in `storage`.

    Returns:
        The path of the file.

    Raises:
        InputError: For a folder that is neither a run nor a search, for a file that cannot be written, and for
            arguments that do not belong together.
        CheckpointError: For damaged files, and for a run without a checkpoint; nothing is written then.
    """
    folder = check_path("folder", folder)
    file = folder / "report.html" if out is None else check_path("out", out)
    run, search = RunFolder(folder), folder / "study.db"
    if storage is None and not (run.config.is_file() or run.checkpoint.is_file() or search.is_file()):
        raise InputError(
            f"{folder}: is neither a run (it has no {run.config.name} and no {run.checkpoint.name}) nor a search (no "
            f"{search.name}); expected a folder that `nnx train` or `nnx tune` wrote."
        )
    if name is not None and storage is None:
        raise InputError("name: is the name of a search in a shared storage; pass storage, too.")
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK) or file.is_dir():
        raise InputError(f"{file}: cannot be written; expected a file in a folder that exists and is writable.")
    if storage is not None or search.is_file():
        if backend is not None:
            raise InputError("backend: the report of a search looks at no network; leave backend out.")
        from ._study import study_page  # it needs Optuna

        content = study_page(folder, storage, name)
    else:
        content = run_page(run, backend)
    write_atomically(file, content)
    return file
