"""The storage of a search: Optuna's database storage, made safe for several processes, with errors that say what to do.

Every round is one Optuna study, "NAME round 1", "NAME round 2", ..., because Optuna fixes the choices of a study for
good and its TPE sampler learns from all trials of a study, which must not lie outside the present ranges.
"""

import logging
import os
import re
import sqlite3
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._support.console import in_notebook
from ..errors import CheckpointError, InputError

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.storages import RDBStorage

LOCK_SECONDS = 30.0
"""How long a process waits for the transaction of another, which takes milliseconds."""
CONNECT_SECONDS = 10
"""How long a server may take to answer, where the URL has no connect_timeout of its own."""
_TRIES = 5
_DRIVERS = {
    "psycopg": "pip install 'nnx-array[postgres]'",
    "psycopg2": "pip install psycopg2-binary, or 'nnx-array[postgres]' and write postgresql://",
    "mysqldb": "pip install mysqlclient, or pymysql and write mysql+pymysql://",
    "pymysql": "pip install pymysql",
}
"""How drivers are installed, for those that take connect_timeout: the first is PostgreSQL's in SQLAlchemy, the third
MySQL's."""


def need_optuna() -> None:
    """Raise `InputError` unless Optuna is installed."""
    if find_spec("optuna") is None:
        raise InputError("nnx.tune needs Optuna; pip install 'nnx-array[tune]'.")
    if in_notebook():
        with warnings.catch_warnings():  # Optuna looks for bars of tqdm's, which nnx does not show
            warnings.filterwarnings("ignore", message="IProgress not found")
            import optuna  # noqa: F401


def file_url(path: Path) -> str:
    """Return the URL of an SQLite file."""
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path.absolute())).render_as_string()


def shown(url: str) -> str:
    """Return a URL, or what should be one, without its passwords; of an SQLite file, its path."""
    from sqlalchemy.engine import make_url

    if url.startswith("sqlite:"):
        return str(make_url(url).database)
    hidden = re.sub(r"^(\w[\w+]*://)?([^:/?@]*):.*@", r"\1\2:***@", url)
    return re.sub(r"([?&]\w*pass\w*=)[^&]*", r"\1***", hidden)


def check_url(url: str) -> None:
    """Raise `InputError` for what is no URL of a database that SQLAlchemy knows."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    need_optuna()
    if not url.startswith("sqlite") and url.partition("?")[0].count("@") > 1:
        # The rest of a password would be taken for the server's name, and be shown as such.
        raise InputError("storage: the URL has more than one @; write that of a user or password as %40.")
    try:
        make_url(url).get_dialect()
    except (ArgumentError, ValueError):
        raise InputError(
            f"storage: got {shown(url)!r}, expected a URL such as postgresql://user:password@host/database."
        ) from None


@contextmanager
def opened(url: str) -> "Iterator[RDBStorage]":
    """Open a storage, and close it at the end of the block.

    Raises:
        InputError: For a URL that leads nowhere, a locked file and a missing driver.
        CheckpointError: For a damaged file, and for the tables of another version of Optuna.
    """
    check_url(url)
    sqlite = url.startswith("sqlite")
    where = shown(url)
    with _translated(where, sqlite):
        if sqlite:  # RDBStorage would raise the same, but leave its connection open
            with closing(sqlite3.connect(where)) as file:
                file.execute("SELECT * FROM studies LIMIT 1")
        try:
            storage = _of_a_file(url) if sqlite else _of_a_server(url)
        except RuntimeError as error:  # the tables of another version of Optuna
            raise CheckpointError(f"{where}: {error}") from error
        if sqlite:
            _serialise(storage)
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _of_a_file(url: str) -> "RDBStorage":
    """Connect to a file, which comes with its tables, see `create_file`."""
    return _of_optuna(url, engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}}, skip_table_creation=True)


def _of_a_server(url: str) -> "RDBStorage":
    """Make the tables on a server, if they are not there, and connect to it."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    driver = parsed.get_driver_name()
    patient = driver in _DRIVERS and "connect_timeout" not in parsed.query
    options = {"connect_args": {"connect_timeout": CONNECT_SECONDS} if patient else {}}
    try:
        _make_tables(url, options)
    except ImportError as error:
        why = str(error.__cause__).partition("\n")[0]
        raise InputError(
            f"storage: {shown(url)} needs a driver that cannot be imported ({why}); "
            f"{_DRIVERS.get(driver, f'install {driver}')}."
        ) from None
    return _of_optuna(url, engine_kwargs=options | {"pool_pre_ping": True})


def _make_tables(url: str, options: dict[str, Any]) -> None:
    """Make the tables, by connections that are closed even when it fails: where another process was about to do so."""
    from sqlalchemy import NullPool, exc

    tries = 0
    while True:
        try:
            _of_optuna(url, engine_kwargs=options | {"poolclass": NullPool})
            return
        except (exc.IntegrityError, exc.ProgrammingError):
            tries += 1
            if tries == _TRIES:
                raise
            time.sleep(0.2)


def _of_optuna(url: str, **options: Any) -> "RDBStorage":
    """Return Optuna's storage, which formats the URL as a text."""
    from optuna.storages import RDBStorage

    return RDBStorage(url.replace("{", "{{").replace("}", "}}"), **options)


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
def _translated(where: str, sqlite: bool) -> Iterator[None]:
    """Raise errors of the database as nnx's."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy import exc

    try:
        yield
    except (sqlite3.Error, exc.DBAPIError, StorageInternalError) as error:
        raised = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        text = str(getattr(raised, "orig", None) or raised).partition("\n")[0]
        if not sqlite:
            cure = "check the URL's address, user, password and database, and that the server runs"
            if not isinstance(raised, exc.OperationalError):
                cure = "the user must be allowed to make tables there and to use them"
            raise InputError(f"storage: {where}: {text}; {cure}.") from error
        if "locked" in text:
            raise InputError(
                f"{where}: is locked by another program for more than {LOCK_SECONDS:.0f} s; close what has it open "
                "(a search that shares it holds it for milliseconds only)."
            ) from error
        if "unable to open" in text or "readonly" in text:
            raise InputError(
                f"{where}: cannot be opened ({text}); pass a folder that exists and is writable."
            ) from error
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with _translated(str(path), sqlite=True):
        storage = _of_optuna(file_url(temporary))
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
