"""The storage of a search: Optuna's database storage, made safe for several processes, with errors that say what to do.

Every round is one Optuna study, "NAME round 1", "NAME round 2", ..., because Optuna fixes the choices of a study for
good and its TPE sampler learns from all trials of a study, which must not lie outside the present ranges.
"""

import logging
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, InputError

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.storages import RDBStorage

LOCK_SECONDS = 30.0
"""How long a process waits for the transaction of another, which takes milliseconds."""
_DRIVERS = {
    "postgresql": "pip install psycopg2-binary, or name another driver in the URL, as postgresql+psycopg://...",
    "mysql": "pip install pymysql and write the URL as mysql+pymysql://..., or pip install mysqlclient",
}


def need_optuna() -> None:
    """Raise `InputError` unless Optuna is installed."""
    if find_spec("optuna") is None:
        raise InputError("nnx.tune needs Optuna; pip install 'nnx-array[tune]'.")


def file_url(path: Path) -> str:
    """Return the URL of an SQLite file, with braces doubled, because Optuna formats the text."""
    from sqlalchemy import URL

    url = URL.create("sqlite", database=str(path.absolute())).render_as_string()
    return url.replace("{", "{{").replace("}", "}}")


def shown(url: str) -> str:
    """Return a URL without its password, or the path of an SQLite file."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:
        return re.sub(r":[^:@]*@", ":***@", url)
    return str(parsed.database) if parsed.drivername == "sqlite" else parsed.render_as_string(hide_password=True)


@contextmanager
def opened(url: str) -> "Iterator[RDBStorage]":
    """Open a storage, and close it at the end of the block.

    Raises:
        InputError: For a URL that leads nowhere, a locked file and a missing driver.
        CheckpointError: For a damaged file, and for the tables of another version of Optuna.
    """
    need_optuna()
    from optuna.storages import RDBStorage
    from sqlalchemy import exc

    sqlite = url.startswith("sqlite")
    where = shown(url.replace("{{", "{").replace("}}", "}"))
    with _translated(where):
        if sqlite:  # RDBStorage would raise the same, but leave its connection open
            with closing(sqlite3.connect(where)) as file:
                file.execute("SELECT * FROM studies LIMIT 1")
        try:
            storage = RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}} if sqlite else {"pool_pre_ping": True},
                skip_table_creation=sqlite,  # such a file comes whole: see `create_file`
            )
        except ImportError as error:
            kind = next((kind for kind in _DRIVERS if url.startswith(kind)), "")
            cure = _DRIVERS.get(kind, "install the driver that SQLAlchemy names for it")
            raise InputError(
                f"storage: {where} needs a driver that is not installed ({error.__cause__}); {cure}."
            ) from None
        except exc.ArgumentError:
            raise InputError(
                f"storage: got {where!r}, expected a URL such as postgresql://user:password@host/database."
            ) from None
        except RuntimeError as error:  # the tables of another version of Optuna
            raise CheckpointError(f"{where}: {error}") from error
        if sqlite:
            _serialise(storage)
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _serialise(storage: "RDBStorage") -> None:
    """Make every transaction of SQLite begin by taking the lock.

    So no other process can take a trial between this one's reading that it waits and taking it. A write-ahead log lets
    others read meanwhile and needs no sync of the disk at every step.
    """
    from sqlalchemy import event

    storage.remove_session()
    storage.engine.dispose()  # connections from before the listeners

    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # or Python begins transactions of its own, later
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(storage.engine, "connect", connect)
    event.listen(storage.engine, "begin", begin)


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """Raise errors of the database as nnx's."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy import exc

    try:
        yield
    except (sqlite3.Error, exc.DBAPIError, StorageInternalError) as error:
        text = str(getattr(error, "orig", None) or error.__cause__ or error).splitlines()[0]
        if "locked" in text:
            raise InputError(
                f"{where}: is locked by another program for more than {LOCK_SECONDS:.0f} s; close what has it open "
                "(a search that shares it holds it for milliseconds only)."
            ) from error
        if "unable to open" in text or "readonly" in text:
            raise InputError(
                f"{where}: cannot be opened ({text}); pass a folder that exists and is writable."
            ) from error
        if "connect" in text or "server" in text:
            raise InputError(f"storage: {where} cannot be reached ({text}); check the URL and the server.") from error
        raise CheckpointError(f"{where}: is no study that can be read ({text}); use another copy.") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence, in this thread alone, what Optuna's storage logs about studies that it creates."""
    thread = threading.get_ident()

    def keep(record: logging.LogRecord) -> bool:
        return record.thread != thread or record.levelno > logging.INFO

    logger = logging.getLogger("optuna.storages._rdb.storage")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def round_name(name: str, number: int) -> str:
    """Return the name of a round's Optuna study; `number` counts from 1."""
    return f"{name} round {number}"


def names(storage: "RDBStorage") -> list[str]:
    """Return the names of the searches in a storage."""
    found = [study.study_name for study in storage.get_all_studies()]
    return sorted(each.removesuffix(" round 1") for each in found if each.endswith(" round 1"))


def create(storage: "RDBStorage", name: str, number: int, metric: str, attrs: dict[str, Any]) -> None:
    """Create a round's study and set its attributes, where they are not there already."""
    from optuna.exceptions import DuplicatedStudyError
    from optuna.study import StudyDirection

    direction = StudyDirection.MAXIMIZE if "accuracy" in metric else StudyDirection.MINIMIZE
    try:
        with quiet():
            study = storage.create_new_study([direction], round_name(name, number))
    except DuplicatedStudyError:
        study = storage.get_study_id_from_name(round_name(name, number))
    present = storage.get_study_user_attrs(study)
    for key, value in attrs.items():
        if key not in present:
            storage.set_study_user_attr(study, key, value)


def create_file(path: Path, name: str, metric: str, attrs: dict[str, Any]) -> None:
    """Create an SQLite file with the first round, unless there is one.

    It is written under a temporary name and then linked, so that no process meets half a file, and of several processes
    that begin at the same time one wins.
    """
    from optuna.storages import RDBStorage

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with _translated(str(path)):
        storage = RDBStorage(file_url(temporary))
        create(storage, name, 1, metric, attrs)
        storage.remove_session()
        storage.engine.dispose()
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_round(storage: "RDBStorage", name: str, number: int) -> "OptunaStudy":
    """Load a round's study; raise `KeyError` if there is none.

    Its pruner stops a trial whose best score so far is worse than the median of at least five others after as many
    epochs.
    """
    import optuna

    pruner = optuna.pruners.MedianPruner(n_startup_trials=5)
    return optuna.load_study(study_name=round_name(name, number), storage=storage, pruner=pruner)
