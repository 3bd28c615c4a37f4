"""`nnx train` killed with SIGKILL three times and resumed each time ends as if nothing had happened."""

import csv
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nnx.training.checkpoint import read

pytestmark = pytest.mark.slow

FLAGS = ["--epochs", "8", "--batch-size", "16", "--dropout", "0.2", "--batchnorm", "--hidden", "100,100"]
NNX = [sys.executable, "-m", "nnx", "train"]


def start(folder, *flags):
    command = [*NNX, *flags, "--out", str(folder), "--checkpoint-every", "7"]
    with folder.with_suffix(".log").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def finish(process, folder):
    assert process.wait(timeout=120) == 0, folder.with_suffix(".log").read_text()


def steps(folder):
    file = folder / "checkpoint.safetensors"
    return read(file)[1]["steps"] if file.exists() else 0


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_killed_and_resumed_three_times(tmp_path):
    rng = np.random.default_rng()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(start(whole, *FLAGS), whole)

    process, kills = start(cut, *FLAGS), []
    while len(kills) < 3:
        goal = (kills[-1] if kills else 0) + int(rng.integers(1, 150))
        while steps(cut) < goal and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, cut.with_suffix(".log").read_text()
        process.kill()
        process.wait()
        kills.append(steps(cut))
        process = start(cut, "--resume")
    finish(process, cut)

    per_epoch = -(-1294 // 16)
    assert any(done % per_epoch for done in kills), f"no kill within an epoch: {kills}"
    (expected, expected_meta), (got, got_meta) = (read(f / "checkpoint.safetensors") for f in (whole, cut))
    assert expected.keys() == got.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
    for entry in ("history", "steps", "epochs", "fit"):
        assert got_meta[entry] == expected_meta[entry]
    rows = [list(csv.reader((folder / "history.csv").read_text().splitlines())) for folder in (whole, cut)]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 9
