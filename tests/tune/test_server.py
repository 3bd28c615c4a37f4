"""A search on a real PostgreSQL server, whose processes are killed, and which goes away itself."""

import socket
import time

import postgres
import pytest
from blob_searches import SPACE, data, facts, search, start, trained
from command_line import nnx_command

import nnx
from nnx import tune
from nnx._support import plots as plotting
from nnx.tune import _storage

pytest.importorskip("psycopg", reason="needs psycopg: pip install 'nnx-array[postgres]'")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(postgres.programs() is None, reason="needs PostgreSQL: apt-get install postgresql"),
]


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch):
    monkeypatch.setattr(plotting, "available", lambda: False)


@pytest.fixture(scope="module")
def server():
    with postgres.server() as running:
        yield running


@pytest.fixture
def url(server):
    """The URL of an empty database."""
    server.do("DROP DATABASE IF EXISTS searches WITH (FORCE)", "CREATE DATABASE searches")
    return server.url("searches")


def test_of_two_processes_one_is_killed(url, server, tmp_path):
    alone = search(tmp_path / "alone")
    killed, other = (start(tmp_path / each, wait, storage=url, name="first") for each, wait in [("a", 2), ("b", 0.3)])
    for _ in range(2):
        assert killed.stdout.readline() == "training\n"
    killed.kill()  # in its second training
    killed.communicate()
    assert trained(other) == 9
    shared = tune.load(tmp_path / "b", data(), storage=url, name="first")
    assert facts(shared) == facts(alone)
    assert shared.finished
    assert shared.best.params == alone.best.params
    deaths = server.do("SELECT value_json FROM trial_user_attributes WHERE key = 'deaths'", database="searches")
    assert deaths == [("1",)]


def test_four_processes_begin_at_the_same_time(url, tmp_path):
    processes = [start(tmp_path / str(k), 0.05, storage=url, name="first") for k in range(4)]
    assert sum(trained(each) for each in processes) == 10
    assert facts(tune.load(tmp_path, data(), storage=url, name="first")) == facts(search(tmp_path / "alone"))


def test_a_server_that_is_started_anew_during_a_training(url, server, tmp_path):
    process = start(tmp_path, 2, storage=url, name="first", trials=2, rounds=1)
    assert process.stdout.readline() == "training\n"
    server.stop()
    time.sleep(0.5)  # beats find nobody
    server.start()
    assert trained(process) == 1


def test_a_server_that_is_gone_at_the_end_of_a_training(url, server, tmp_path, monkeypatch):
    fit = nnx.Trainer.fit

    def gone(self, *args, **keywords):
        server.stop()
        return fit(self, *args, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(nnx.Trainer, "fit", gone)
        with pytest.raises(nnx.InputError, match=r"nnx:\*\*\*@.*refused.*and that the server runs"):
            search(tmp_path, storage=url, name="first")
    server.start()
    monkeypatch.setattr(tune._queue, "SILENCE", 0.5)
    assert facts(search(tmp_path, storage=url, name="first")) == facts(search(tmp_path / "alone"))


def test_the_command_line(url, server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ranges = ["lr=log:1e-4..1e-1", "hidden=8", "--trials", "3", "--rounds", "1", "--epochs", "1", "--backend", "numpy"]
    place = ["--storage", url, "--name", "first"]
    assert nnx_command("tune", *ranges, *place) == 0
    assert nnx_command("tune", "--resume", *place) == 0
    assert nnx_command("report", "runs/first", *place) == 0
    told = "".join(capsys.readouterr())
    assert "the choice: trial" in told
    written = "".join(file.read_text(errors="replace") for file in (tmp_path / "runs" / "first").iterdir())
    for secret in (postgres.PASSWORD, url.partition("@")[0]):
        assert secret not in told + written
    monkeypatch.setenv("PGPASSWORD", postgres.PASSWORD)
    without = f"postgresql://nnx@127.0.0.1:{server.port}/searches"
    assert tune.load("runs/first", storage=without, name="first").finished


# Refused at once ------------------------------------------------------------------------------------------------------


def refusal(url, folder):
    with pytest.raises(nnx.InputError) as error:
        tune.search(SPACE, data(), storage=url, name="first", folder=folder, verbose=False)
    assert "secret" not in str(error.value)
    return str(error.value)


def test_whom_the_server_does_not_let_in(url, server, tmp_path):
    check = "; check the URL's address, user, password and database, and that the server runs."
    for wrong, why in [
        (server.url("searches", password="secret"), 'password authentication failed for user "nnx"'),
        (server.url("searches", "nobody", "secret"), 'password authentication failed for user "nobody"'),
        (server.url("nowhere"), 'database "nowhere" does not exist'),
        ("postgresql://nnx:secret@nowhere.invalid/searches", "failed to resolve host 'nowhere.invalid'"),
    ]:
        message = refusal(wrong, tmp_path)
        assert why in message
        assert message.endswith(check)
        assert ":***@" in message
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        message = refusal(f"postgresql://nnx:secret@127.0.0.1:{nobody.getsockname()[1]}/searches", tmp_path)
        assert "Connection refused" in message


def test_who_may_not_make_tables(url, server, tmp_path):
    server.do("DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN PASSWORD 'secret'")
    server.do("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database="searches")
    message = refusal(server.url("searches", "guest", "secret"), tmp_path)
    assert "permission denied for schema public; the user must be allowed to make tables there" in message


def test_a_server_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(_storage, "CONNECT_SECONDS", 2)  # the least that PostgreSQL's library takes
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert "timeout expired" in refusal(f"postgresql://nnx:secret@{address}/searches", tmp_path)
        monkeypatch.setattr(_storage, "CONNECT_SECONDS", 1000)
        url = f"postgresql://nnx:secret@{address}/searches?connect_timeout=2"
        assert "timeout expired" in refusal(url, tmp_path)
