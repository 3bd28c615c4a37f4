"""Where a search and its results are: a folder, and in it an SQLite file, or a database that machines share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .._support.checks import check_path
from .._support.files import make_folder
from ..errors import CheckpointError, InputError, InputTypeError
from ..training import RUNS, RunFolder
from ._settings import Settings
from ._space import ranges_to_json
from ._storage import check_url, create, create_file, file_url, load_round, names, need_optuna, opened, shown

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

FILE = "study.db"


@dataclass(frozen=True)
class Place:
    """The folder of the results, the URL of the storage and, in a storage of several searches, the name."""

    folder: Path
    url: str
    name: str | None

    @classmethod
    def of(
        cls, folder: "str | os.PathLike[str] | None", storage: str | None, name: str | None, default: str = ""
    ) -> "Place":
        """Check the arguments of `search` and `load`, and return the place that they name.

        Args:
            folder: The folder of the results.
            storage: The URL of a database that machines share; None for an SQLite file in the folder.
            name: The name of the search in the shared storage; None without one.
            default: The name of a new folder under runs/, which gets a number if it is taken; empty where the search is
                there already.

        Raises:
            InputError, InputTypeError: For arguments that name no place, and without Optuna.
        """
        for what, value in (("storage", storage), ("name", name)):
            if value is not None and (not isinstance(value, str) or not value):
                raise InputTypeError(f"{what}: got {value!r}, expected text.")
        if storage is None:
            if name is not None:
                raise InputError("name: is the name of a search in a shared storage; pass storage, too, or no name.")
            path = RunFolder.new(None, default).path if folder is None else check_path("folder", folder)
            need_optuna()
            return cls(path, file_url(path / FILE), None)
        if name is None:
            raise InputError("name: several searches share a storage; pass the name of this one.")
        if storage.removeprefix("sqlite://") in ("", "/", "/:memory:"):
            raise InputError(f"storage: {storage} is in memory and gone with its process; pass the path of a file.")
        check_url(storage)
        return cls(RUNS / name if folder is None else check_path("folder", folder), storage, name)

    @property
    def file(self) -> Path | None:
        """The SQLite file; None for another database."""
        return Path(shown(self.url)) if self.url.startswith("sqlite:") else None

    def __str__(self) -> str:
        return str(self.folder) if self.name is None else f"{shown(self.url)}, {self.name}"

    @contextmanager
    def begun(self, settings: Settings) -> "Iterator[tuple[RDBStorage, str]]":
        """Open the storage and begin the search, or check that the one in it is the same; yield storage and name."""
        make_folder(self.folder, writable=True)
        attrs = {"search": settings.to_json(), "ranges": ranges_to_json(settings.space.ranges)}
        if self.file is not None and not self.file.exists():
            create_file(self.file, self.name or self.folder.absolute().name, settings.metric, attrs)
        with self.existing() as (storage, name):
            if self.name is not None:
                create(storage, name, 1, settings.metric, attrs)
            settings.check_same(self.settings(storage, name), str(self))
            yield storage, name

    @contextmanager
    def existing(self) -> "Iterator[tuple[RDBStorage, str]]":
        """Open the storage of a search that was begun; yield the storage and the search's name in it."""
        if self.file is not None and not self.file.is_file():
            raise InputError(f"{self}: holds no search (there is no {self.file.name}).")
        with opened(self.url) as storage:
            if self.name is not None:
                yield storage, self.name
                return
            found = names(storage)
            if not found:
                raise CheckpointError(f"{self.file}: is an Optuna storage without a search of nnx.")
            yield storage, found[0]

    def settings(self, storage: "RDBStorage", name: str) -> Settings:
        """Read the settings of a search in the storage."""
        try:
            study = load_round(storage, name, 1)
        except KeyError:
            known = ", ".join(names(storage)) or "none"
            raise InputError(f"{shown(self.url)}: holds no search {name!r}; there are: {known}.") from None
        return Settings.from_json(study.user_attrs.get("search"), str(self))
