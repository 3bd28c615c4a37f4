"""MPICH and Open MPI: 2, 3, 4 and 8 ranks give the same bits under both, and the curve of one process."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mpi import MPIS, mpiexec, python_of

pytestmark = pytest.mark.long

SCRIPT = str(Path(__file__).with_name("rank_trains.py"))
RANKS = (2, 3, 4, 8)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What was trained, by MPI, ranks and shards: each once."""
    done = {}

    def result(mpi, ranks, shards=0):
        if (mpi, ranks, shards) not in done:
            folder = tmp_path_factory.mktemp("run")
            done[mpi, ranks, shards] = json.loads(mpiexec(mpi, ranks, SCRIPT, str(shards), str(folder)))
        return done[mpi, ranks, shards]

    return result


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same training in one process, without an MPI."""
    command = [sys.executable, SCRIPT, "0", str(tmp_path_factory.mktemp("alone"))]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("mpi", MPIS)
def test_the_curve_is_that_of_one_process(results, alone, mpi, ranks):
    for name, expected in alone.items():
        np.testing.assert_allclose(results(mpi, ranks)[name]["loss"], expected["loss"], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("ranks", RANKS)
def test_both_mpis_give_the_same_bits(results, ranks):
    assert results("mpich", ranks) == results("openmpi", ranks)


@pytest.mark.parametrize("mpi", MPIS)
def test_the_same_ranks_give_the_same_bits_twice(results, mpi, tmp_path):
    assert json.loads(mpiexec(mpi, 3, SCRIPT, "0", str(tmp_path))) == results(mpi, 3)


@pytest.mark.parametrize("mpi", MPIS)
def test_eight_shards_give_the_same_bits_on_1_2_4_and_8_ranks(results, mpi):
    expected = results(mpi, 1, 8)
    for ranks in (2, 4, 8):
        assert results(mpi, ranks, 8) == expected


@pytest.mark.parametrize("mpi", MPIS)
def test_nnx_train_writes_one_run_that_one_process_goes_on_with(mpi, tmp_path):
    out = tmp_path / "run"
    train = ["-m", "nnx", "train", "--hidden", "30", "--backend", "numpy", "--out", str(out)]
    printed = mpiexec(mpi, 3, *train, "--epochs", "2", "--dropout", "0.1", "--shards", "3")
    assert printed.count("test accuracy") == printed.count("digits: 1294 rows") == 1
    again = subprocess.run(
        [python_of(mpi), *train, "--resume", "--epochs", "3"], capture_output=True, text=True, check=True, timeout=300
    )
    assert "continuing after epoch 2" in again.stdout
    with (out / "history.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]
