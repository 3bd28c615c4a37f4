"""A PostgreSQL server of a test's own: on a free port of this machine, with its files in a temporary folder."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

USER, PASSWORD = "nnx", "p@ss:w/r{d}"
_SECONDS = 60


def programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`, the newest version's on Debian; None without PostgreSQL."""
    here = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    found = [folder for folder in folders if (folder / "initdb").exists()]
    return Path(here).parent if here else found[-1] if found else None


class Server:
    """PostgreSQL's process, which asks for a password. It does not run as root: then it is Debian's user's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if self._as:
            shutil.chown(folder, "postgres", "postgres")
            shutil.chown(secret, "postgres", "postgres")
        options = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            [self._program("initdb"), "-D", folder / "data", *options],
            cwd=folder, capture_output=True, text=True, check=False, **self._as,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        self.start()

    def _program(self, name: str) -> Path:
        folder = programs()
        assert folder is not None
        return folder / name

    def start(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "fsync": "off",
        }
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [self._program("postgres"), "-D", self._folder / "data", *given],
                cwd=self._folder, stdout=log, stderr=log, **self._as,
            )  # fmt: skip
        end = time.monotonic() + _SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < end, "PostgreSQL does not answer"
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """End the server at once, with all connections."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(_SECONDS)

    def url(self, database: str, user: str = USER, password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def do(self, *statements: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Execute statements of SQL; return the rows of the last, if it has any."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def server() -> Iterator[Server]:
    # Not in pytest's folder, into which other users cannot look.
    with tempfile.TemporaryDirectory(prefix="nnx-postgres-") as folder:
        running = Server(Path(folder))
        try:
            yield running
        finally:
            running.stop()
