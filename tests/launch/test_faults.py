"""Trainings under MPICH and Open MPI, and what becomes of them when a rank does not do as it should."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from digits_script import EPOCH, STEP, digest, trained
from mpi import MPIS, python_of

import nnx
from nnx.launch.rank import THREADS

pytestmark = pytest.mark.long
SCRIPT = Path(__file__).parent / "digits_script.py"
LIMIT = 30
"""Seconds in which a launch must end after a fault."""


@pytest.fixture(params=MPIS)
def python(request):
    """A Python with mpi4py and this MPI."""
    return python_of(request.param)


@pytest.fixture
def begin(tmp_path, python):
    """Begin a launch of the script in a folder of its own; returns the process."""
    begun = []

    def begin(ranks, epochs, *fault, options=()):
        command = [python, "-m", "nnx", "launch", "-n", str(ranks), *options]
        process = subprocess.Popen(
            [*command, str(SCRIPT), "checkpoint", str(epochs), *fault],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name not in THREADS},
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def launch(begin):
    """Launch the script to its end; returns the exit status and what was printed."""

    def launch(*arguments, **named):
        process = begin(*arguments, **named)
        out, err = process.communicate(timeout=150)
        return process.returncode, out, err

    return launch


def lines_of_the_end(out):
    """The last words of the ranks, in their order."""
    told = [line.removeprefix("[rank ") for line in out.splitlines() if "done " in line]
    return [line.partition("done ")[2] for line in sorted(told, key=lambda line: "" if line[0] == "d" else line)]


def alone(tmp_path, epochs, shards):
    return trained(tmp_path / "alone", epochs, shards=shards)


def trains(process, tmp_path):
    """Wait until an epoch is done."""
    while not (tmp_path / "checkpoint").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def intact(tmp_path):
    """The checkpoint of the last whole epoch before the fault."""
    kept = nnx.Trainer.load(tmp_path / "checkpoint")
    assert (kept.epochs, kept.steps) == (STEP // EPOCH, STEP // EPOCH * EPOCH)
    return kept


def goes_on_with_fewer(launch, tmp_path, ranks):
    """Fewer ranks continue the training, to the numbers that it would have had within rounding."""
    status, out, err = launch(ranks, 4)
    assert status == 0, err
    assert len(lines_of_the_end(out)) == ranks
    whole = trained(tmp_path / "whole", 4).history["loss"]
    assert nnx.Trainer.load(tmp_path / "checkpoint").history["loss"] == pytest.approx(whole, rel=1e-6)


def test_an_exception_of_one_rank_ends_all_with_the_checkpoint_intact(launch, tmp_path):
    status, _, err = launch(3, 1000, "raise")
    assert status == 1
    assert err.count("Traceback") == 1
    assert "launch: rank 1 of 3 failed:\n" in err
    assert "ValueError: this rank does not feel well" in err
    intact(tmp_path)
    goes_on_with_fewer(launch, tmp_path, 2)


@pytest.mark.parametrize(
    ("fault", "told", "ranks"),
    [("SIGKILL", "is gone without a word", 1), ("SIGSTOP", "was not heard for 15 seconds", 2)],
)
def test_a_rank_that_is_killed_or_stopped_ends_all_with_the_checkpoint_intact(
    begin, launch, tmp_path, fault, told, ranks
):
    process = begin(3, 1000, fault)
    trains(process, tmp_path)
    began = time.monotonic()
    _, err = process.communicate(timeout=2 * LIMIT)
    assert time.monotonic() - began < LIMIT
    assert process.returncode == 128 + 9
    assert "launch: rank 1 of 3 (process " in err
    assert told in err
    intact(tmp_path)
    goes_on_with_fewer(launch, tmp_path, ranks)


def test_a_launch_that_begins_again_ends_with_the_bits_of_one_without_a_fault(launch, tmp_path):
    status, out, err = launch(2, 4, "SIGKILL", options=["--restarts", "1"])
    assert status == 0, err
    assert "launch: beginning again, 1 of 1" in err
    assert lines_of_the_end(out) == [f"{4 * EPOCH} False {digest(alone(tmp_path, 4, 2))}"] * 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_all_after_one_step_with_the_checkpoint_written(begin, tmp_path, number):
    process = begin(2, 1_000_000)
    trains(process, tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    first, second = lines_of_the_end(out)
    assert first == second
    kept = nnx.Trainer.load(tmp_path / "checkpoint")
    assert first == f"{kept.steps} True {digest(kept)}"


@pytest.mark.parametrize(
    ("fault", "named"),
    [("data", "training data (checksum): rank 1 has "), ("seed", "seed: rank 1 has 1, and rank 0 0")],
)
def test_ranks_that_differ_are_refused_at_the_start_by_name(launch, tmp_path, fault, named):
    status, _, err = launch(2, 3, fault)
    assert status == 1
    assert err.count("Traceback") == 1
    assert f"ParallelError: {named}" in err
    assert not (tmp_path / "checkpoint").exists()


def test_ranks_of_other_machines_find_the_launcher_and_the_environment(tmp_path):
    """The machines are this one by other names, entered by a program in place of ssh, which keeps no environment."""
    enter = tmp_path / "ssh"
    enter.write_text(
        '#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nshift\nexec env -i PATH=/usr/bin:/bin sh -c "$*"\n',
        encoding="utf-8",
    )
    enter.chmod(0o755)
    command = [python_of("mpich"), "-m", "nnx", "launch", "-n", "3", "--hosts", "127.0.0.2,127.0.0.3"]
    done = subprocess.run(
        [*command, "--address", "127.0.0.1", str(SCRIPT), "checkpoint", "1"],
        env={**os.environ, "HYDRA_LAUNCHER": "ssh", "HYDRA_LAUNCHER_EXEC": str(enter)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(lines_of_the_end(done.stdout)) == 3
