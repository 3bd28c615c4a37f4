"""Launches: what is shown, how they end, and that nobody is left behind."""

import os
import signal
import time

import pytest

import nnx
from nnx.launch import Launch, find_mpiexec
from nnx.launch._mpiexec import MPIExec

pytestmark = pytest.mark.skipif(os.name != "posix", reason="launches are for POSIX systems")

WAITS = "import os, sys, time\nrank = int(os.environ['PMI_RANK'])\nopen(f'began{rank}', 'w').close()\n"
FOREVER = "time.sleep(100)\n"


def until(happens, seconds=60):
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_lines_are_told_apart_and_banners_of_mpiexec_left_out(launched):
    status, out, err = launched(
        "import os, sys\n"
        "print('one\\ntwo', sys.argv[1:], sys.stdout.isatty(), os.environ['NNX_NUM_THREADS'])\n"
        "print('to err', file=sys.stderr)\n"
        "print('half a line', end='')",
        arguments=["--a", "b"],
    )
    assert status == 0, err
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    own = ["one", f"two ['--a', 'b'] False {share}", "half a line"]
    assert sorted(out.splitlines()) == sorted([*own, *(f"[rank 1] {line}" for line in own)])
    assert sorted(err.splitlines()) == ["[rank 1] to err", "to err"]


@pytest.mark.slow
def test_an_exception_of_one_rank_ends_all_and_its_traceback_is_shown_once(launched):
    status, out, err = launched(WAITS + "if rank == 1:\n    print('last words')\n    1 / 0\n" + FOREVER)
    assert status == 1
    assert out == "[rank 1] last words\n"
    assert err.startswith("launch: rank 1 of 2 failed:\nTraceback (most recent call last):\n  File ")
    assert err.count("Traceback") == err.count("ZeroDivisionError: division by zero") == 1
    assert "runpy" not in err
    assert "rank.py" not in err


@pytest.mark.long
def test_a_launch_begins_again_as_often_as_allowed_and_ends_with_the_status_of_the_rank(launched):
    status, out, err = launched(
        WAITS + "if rank == 1:\n    print(os.environ['NNX_RESTARTS'])\n    sys.exit(3)\n" + FOREVER, "--restarts", "1"
    )
    assert status == 3
    assert out == "[rank 1] 0\n[rank 1] 1\n"
    failed = "launch: rank 1 of 2 failed, with exit status 3.\n"
    assert err == f"{failed}launch: beginning again, 1 of 1\n{failed}"


@pytest.mark.long
def test_a_script_that_ends_with_a_message_is_not_begun_again(launched):
    status, _, err = launched(WAITS + "if rank == 0:\n    sys.exit('no such table')\n" + FOREVER, "--restarts", "3")
    assert status == 1
    assert err == "launch: rank 0 of 2 failed:\nno such table\n"


@pytest.mark.long
def test_a_killed_rank_ends_all_by_its_name(launched):
    status, out, err = launched(WAITS + "if rank == 1:\n    os.kill(os.getpid(), 9)\n" + FOREVER)
    assert status == 128 + 9
    assert out == ""
    assert "launch: rank 1 of 2 (process " in err
    assert "is gone without a word: it was killed (for want of memory?), or crashed outside Python" in err


@pytest.mark.long  # ten seconds of waiting
def test_a_stopped_rank_ends_all_by_its_name_and_a_busy_one_does_not(launched, tmp_path):
    status, _, err = launched(
        # Rank 0 keeps the interpreter to itself, so that its beat is not heard, for longer than it may be silent.
        WAITS + "if rank == 1:\n"
        "    while not os.path.exists('busy'): time.sleep(0.1)\n"
        "    os.kill(os.getpid(), 19)\n"
        "sys.setswitchinterval(1000)\n"
        "until = time.perf_counter() + 5\n"
        "while time.perf_counter() < until: pass\n"
        "open('busy', 'w').close()\n" + FOREVER,
        "--silence",
        "3",
    )
    assert status == 128 + 9
    assert "launch: rank 1 of 2 (process " in err
    assert "was not heard for 3 seconds: it was stopped, or its machine is gone" in err
    assert (tmp_path / "busy").exists()


@pytest.mark.long
def test_ctrl_c_reaches_every_rank_and_is_no_failure(start, tmp_path):
    process = start(
        "try:\n    "
        + WAITS.replace("\n", "\n    ")
        + "time.sleep(100)\nexcept KeyboardInterrupt:\n    print('saved')\n",
        "--restarts",
        "3",
    )
    until(lambda: (tmp_path / "began0").exists() and (tmp_path / "began1").exists())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert sorted(out.splitlines()) == ["[rank 1] saved", "saved"]
    assert err == "launch: ending after this step; again to end at once\n"


@pytest.mark.long
def test_nobody_is_left_where_the_launcher_itself_is_killed(start, tmp_path):
    process = start(WAITS + "open(f'number{rank}', 'w').write(str(os.getpid()))\n" + FOREVER)
    files = [tmp_path / f"number{rank}" for rank in range(2)]
    until(lambda: all(file.exists() and file.read_text() for file in files))
    process.kill()
    until(lambda: all(gone(int(file.read_text())) for file in files))


def test_what_cannot_be_launched_is_refused(tmp_path):
    mpiexec = MPIExec("mpiexec", "hydra")
    script = tmp_path / "train.py"
    with pytest.raises(nnx.InputError, match=r"train.py: no such file, expected a Python script; .* -m before it"):
        Launch(mpiexec, 2, [str(script)])
    script.touch()
    with pytest.raises(nnx.InputError, match=r"n: got 0, expected a whole number of at least 1"):
        Launch(mpiexec, 0, [str(script)])
    with pytest.raises(nnx.InputError, match=r"restarts: got -1"):
        Launch(mpiexec, 2, [str(script)], restarts=-1)
    with pytest.raises(nnx.InputError, match=r"silence: got 1, expected a finite number of at least 3"):
        Launch(mpiexec, 2, [str(script)], silence=1)
    with pytest.raises(nnx.InputError, match=r"hosts: got a,b and the hostfile machines; pass one of them"):
        Launch(mpiexec, 2, [str(script)], hosts="a,b", hostfile="machines")


def test_an_mpiexec_is_told_from_others_by_what_it_prints(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert find_mpiexec(str(toy)) == MPIExec(str(toy), "hydra")
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho tractor 3.1\n", encoding="utf-8")
    other.chmod(0o755)
    with pytest.raises(nnx.ParallelError, match=r"`--version` says 'tractor 3.1', expected the mpiexec of MPICH"):
        find_mpiexec(str(other))
    other.write_text("#!/bin/sh\necho 'mpiexec (Open MPI) 5.0.11'\n", encoding="utf-8")
    assert find_mpiexec(str(other)).family == "open-mpi"


def test_what_is_missing_is_named_with_the_cure(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(nnx.ParallelError, match=r"mpi4py is not installed.*pip install 'nnx-array\[mpi\]' mpich"):
        find_mpiexec()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(nnx.ParallelError, match=r"no mpiexec beside this Python or on the PATH.*pip install"):
        find_mpiexec()
    with pytest.raises(nnx.ParallelError, match=r"no mpiexec at /nowhere"):
        find_mpiexec("/nowhere")


def test_each_mpi_is_asked_in_its_own_words(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    names = ["HOME", "NNX_LAUNCH", "OMP_NUM_THREADS"]
    hydra, other = MPIExec("/bin/mpiexec", "hydra"), MPIExec("/bin/mpiexec", "open-mpi")
    here = "/bin/mpiexec -n 3"
    unbound = f"{here} --map-by :OVERSUBSCRIBE --bind-to none"
    carried = "-x NNX_LAUNCH -x OMP_NUM_THREADS"

    def asked(mpiexec, hosts=None, hostfile=None):
        return " ".join(mpiexec.command(3, ["python", "a.py"], hosts, hostfile, names))

    assert asked(hydra) == f"{here} python a.py"
    assert asked(hydra, hosts="a,b") == f"{here} -hosts a,b python a.py"
    assert asked(hydra, hostfile="file") == f"{here} -f file python a.py"
    assert asked(other) == f"{unbound} python a.py"
    assert asked(other, hosts="a,b") == f"{unbound} --host a,b {carried} python a.py"
    assert asked(other, hostfile="file") == f"{unbound} --hostfile file {carried} python a.py"
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert asked(other) == f"{unbound} --allow-run-as-root python a.py"
