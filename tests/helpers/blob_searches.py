"""A small search, and processes that share it."""

import subprocess
import sys
from pathlib import Path

import numpy as np

import nnx
from nnx import tune
from nnx.tune import Choice, Log

SPACE = {"lr": Log(1e-4, 1.0), "optimizer": Choice("adam", "sgd"), "hidden": (8,), "batch_size": 300}


def data(rows=100, features=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features)).astype(np.float32)
    return nnx.datasets.Dataset("blobs", x, (x[:, 0] > 0).astype(int), 1.0, ("low", "high"))


def search(folder, space=SPACE, given=None, **settings):
    defaults = {"trials": 5, "rounds": 2, "epochs": 2, "backend": "numpy", "verbose": False}
    return tune.search(space, data() if given is None else given, folder=folder, **{**defaults, **settings})


def facts(study):
    """What must not depend on who trained when."""
    return [(t.number, t.round, t.params, t.state, t.score, t.history) for t in study.trials]


SCRIPT = """
import sys, time
import nnx, nnx._support.plots
from nnx.tune import _queue
sys.path.insert(0, {helpers!r})
from blob_searches import search

nnx._support.plots.available = lambda: False
_queue.SILENCE = 1.0
_queue.BEAT = 0.2
fit = nnx.Trainer.fit

def slow(self, *args, **keywords):
    print("training", flush=True)
    time.sleep({sleep})
    return fit(self, *args, **keywords)

nnx.Trainer.fit = slow
study = search({folder!r}, **{place!r})
print("finished" if study.finished else "not finished", flush=True)
"""


def start(folder, sleep, **place):
    """A process that searches, and waits before each training."""
    code = SCRIPT.format(helpers=str(Path(__file__).parent), folder=str(folder), sleep=sleep, place=place)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def trained(process):
    """How many trainings it has begun, at the end of the search."""
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, ""), err
    assert out.splitlines()[-1] == "finished"
    return out.count("training")
