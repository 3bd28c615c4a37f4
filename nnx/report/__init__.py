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
    """Write the report of a run, or of a search, and return the file's path: FOLDER/report.html unless `out` says
    otherwise.

    The page refers to nothing outside itself. What there is not (a history, the data set) is left out, and it says why.
    backend: where a run's network is looked at. storage, name: of a search that is kept in a shared database.

    Raises `InputError` for a folder that is neither a run nor a search, and `CheckpointError` for damaged files; then
    nothing is written.
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
        raise InputError("name: is that of a search in a shared storage; pass storage, too.")
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
