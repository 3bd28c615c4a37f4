"""A rank's process: its threads, its lines, and its link with the launcher."""

import io
import json
import os
import socket

import pytest

import nnx
from nnx.launch import rank
from nnx.launch._lines import Relay, mark_output
from nnx.launch._link import Caller


@pytest.fixture
def threads(monkeypatch):
    """Share threads out on a machine of eight cores; returns what BLAS was limited to."""
    limits = []
    for name in rank.THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(rank, "cores", lambda: 8)
    monkeypatch.setattr(rank, "threadpool_limits", lambda number, kind: limits.append((number, kind)))
    return limits


def test_ranks_of_a_machine_share_its_cores(threads, monkeypatch):
    rank.share_threads(3)
    assert threads == [(2, "blas")]
    assert {os.environ.pop(name) for name in rank.THREADS} == {"2"}
    rank.share_threads(20)
    assert threads[1:] == [(1, "blas")]
    for name in rank.THREADS:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", rank.THREADS)
def test_a_number_of_threads_that_the_user_has_set_stays(threads, monkeypatch, name):
    monkeypatch.setenv(name, "5")
    rank.share_threads(2)
    assert threads == []
    assert {other: os.environ.get(other) for other in rank.THREADS} == dict.fromkeys(rank.THREADS) | {name: "5"}


@pytest.mark.parametrize(
    ("visible", "there", "expected"),
    [
        (None, 0, [None, None, None]),
        (None, 2, ["0", "1", "0"]),
        ("3, 5", 8, ["3", "5", "3"]),
        ("GPU-1", 8, ["GPU-1"] * 3),  # a batch system has given each its own
        ("", 8, ["", "", ""]),
    ],
)
def test_each_rank_of_a_machine_sees_one_of_its_gpus(monkeypatch, tmp_path, visible, there, expected):
    for i in range(there):
        (tmp_path / f"{i}").mkdir()
    monkeypatch.setattr(rank, "_GPUS", tmp_path if there else tmp_path / "none")
    for place, gpu in enumerate(expected):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        rank.take_gpu(place)
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == gpu
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_rank_that_nobody_launched_says_so(monkeypatch):
    for name in ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(nnx.ParallelError, match=r"OMPI_COMM_WORLD_RANK.* is started by `nnx launch`, not by itself"):
        rank.main(["script.py"])


def shown(*pieces, foreign=True):
    target = io.StringIO()
    relay = Relay(target)
    relay.foreign = foreign
    for piece in (*pieces, b""):
        relay.feed(piece)
    return target.getvalue()


def test_lines_are_shown_whole_however_they_come():
    assert shown(b"\x1e0 one\n\x1e1 t", b"wo\r\n\x1e", b"12 three") == "one\n[rank 1] two\n[rank 12] three\n"
    assert shown(b"\x1e0 \n\x1e0 \xc3\xa9\xff\n") == "\n\N{LATIN SMALL LETTER E WITH ACUTE}\N{REPLACEMENT CHARACTER}\n"


def test_lines_of_nobody_are_shown_until_a_rank_has_failed():
    assert shown(b"BANNER\n\x1e1 mine\nhalf\x1e0 other\n") == "BANNER\n[rank 1] mine\nhalfother\n"
    assert shown(b"BANNER\n\x1e1 mine\n", foreign=False) == "[rank 1] mine\n"


def test_what_a_rank_prints_is_marked_line_by_line(capfd, monkeypatch):
    import sys

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr("atexit.register", lambda function: None)
    finish = mark_output(3)
    print("one\n\ntwo", end="")
    print("err", file=sys.stderr)
    assert capfd.readouterr() == ("\x1e3 one\n\x1e3 \n", "\x1e3 err\n")
    finish()
    assert capfd.readouterr() == ("\x1e3 two\n", "")
    assert not sys.stdout.isatty()


@pytest.fixture
def caller():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Caller(ours), theirs


HELLO = {"rank": 1, "secret": "s", "process": 7, "host": "h"}


def test_a_rank_says_who_it_is_before_all_else(caller):
    ours, theirs = caller
    theirs.sendall(json.dumps(HELLO).encode() + b'\n{}\n{"status"')
    ours.silence = 5.0
    assert ours.receive("s") == [{}]
    assert (ours.rank, ours.process, ours.host, ours.silence) == (1, 7, "h", 0.0)
    theirs.sendall(b": 0}\n")
    assert ours.receive("s") == [{"status": 0}]
    theirs.close()
    assert ours.receive("s") is None


@pytest.mark.parametrize(
    "said",
    [{**HELLO, "secret": "t"}, {"rank": 1}, {**HELLO, "rank": "x"}, [], 3, "GET / HTTP/1.1"],
    ids=str,
)
def test_whoever_does_not_know_the_secret_is_cut_off(caller, said):
    ours, theirs = caller
    theirs.sendall((said if isinstance(said, str) else json.dumps(said)).encode() + b"\n")
    assert ours.receive("s") is None
    assert ours.rank is None


@pytest.mark.parametrize(("near", "host", "killed"), [(True, "here", [7]), (True, "there", []), (False, "here", [])])
def test_only_processes_of_this_machine_are_killed_by_their_number(caller, monkeypatch, near, host, killed):
    ours, _ = caller
    ours.rank, ours.process, ours.host, ours._near = 1, 7, host, near
    found = []
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    monkeypatch.setattr("os.kill", lambda process, number: found.append(process))
    ours.kill()
    assert found == killed
