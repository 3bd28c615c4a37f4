"""`nnx.sklearn` against scikit-learn's own MLP, taking turns in one run: `python bench/sklearn_mlp.py FOLDER`.

FOLDER holds MNIST's idx files of images and labels (the 10,000 of the test set will do: 8,000 train, 2,000 test).
Each case is fitted by both, as often as --rounds says, with another seed in each round; whole processes at the end.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import nnx
from nnx import environment
from nnx.datasets import read_idx

CASES = {
    "(100,), adam, batch 200, 20 epochs": {"hidden_layer_sizes": (100,), "batch_size": 200, "max_iter": 20},
    "(50,), sgd, batch 100, 20 epochs": {
        "hidden_layer_sizes": (50,),
        "batch_size": 100,
        "solver": "sgd",
        "max_iter": 20,
    },
    "(1024, 1024), adam, batch 256, 3 epochs": {
        "hidden_layer_sizes": (1024, 1024),
        "batch_size": 256,
        "max_iter": 3,
    },
}
"""On MNIST's digits, in 0..1."""
DIGITS = "digits, defaults"
PROCESS = """
import sys, time
began = time.perf_counter()
from sklearn.datasets import load_digits
X, y = load_digits(return_X_y=True)
from {module} import MLPClassifier
imported = time.perf_counter()
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MLPClassifier(random_state=0).fit(X, y)
print(time.perf_counter() - imported)
"""
"""The first fit of a process."""


def mnist(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """All images of the folder's idx files, (n, 784) in 0..1, and their labels."""
    images = sorted(folder.glob("*images*idx3*"))[0]
    labels = next(folder.glob(images.name.split("-")[0] + "*labels*idx1*"))
    return read_idx(images).reshape(-1, 784) / 255, read_idx(labels).astype(int)


def fit(cls, settings, train, test, seed):
    """Seconds of one fit, accuracy on the test rows, epochs."""
    model = cls(random_state=seed, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        began = time.perf_counter()
        model.fit(*train)
        seconds = time.perf_counter() - began
    return seconds, model.score(*test), model.n_iter_


def compare(settings, train, test, rounds):
    """Both classes by turns; the first fit of each, which may compile, apart."""
    classes = {"scikit-learn": neural_network.MLPClassifier, "nnx": nnx.sklearn.MLPClassifier}
    short = {**settings, "max_iter": 1}
    runs = {name: [] for name in classes}
    for cls in classes.values():
        fit(cls, short, train, test, 0)
    for seed in range(rounds):
        for name in classes if seed % 2 == 0 else reversed(classes):
            runs[name].append(fit(classes[name], settings, train, test, seed))
    result = {}
    for name, values in runs.items():
        seconds, scores, epochs = zip(*values, strict=True)
        result[name] = {
            "median": statistics.median(seconds),
            "seconds": seconds,
            "accuracy": statistics.mean(scores),
            "epochs": epochs,
        }
    result["ratio"] = result["scikit-learn"]["median"] / result["nnx"]["median"]
    return result


def processes(rounds):
    """First fits in processes of their own, after one that fills the kernel cache; whole processes, too."""
    modules = {"scikit-learn": "sklearn.neural_network", "nnx": "nnx.sklearn"}
    runs = {name: [] for name in modules}
    for turn in range(rounds + 1):
        for name in modules if turn % 2 == 0 else reversed(modules):
            began = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", PROCESS.format(module=modules[name])],
                capture_output=True,
                text=True,
                check=True,
            )
            runs[name].append((float(done.stdout), time.perf_counter() - began))
    result = {}
    for name, values in runs.items():
        fits, wholes = zip(*values[1:], strict=True)
        result[name] = {"median": statistics.median(fits), "process": statistics.median(wholes), "seconds": fits}
    result["ratio"] = result["scikit-learn"]["median"] / result["nnx"]["median"]
    result["process_ratio"] = result["scikit-learn"]["process"] / result["nnx"]["process"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--dtype", default="float64", choices=["float64", "float32"], help="of the rows")
    parser.add_argument("--cases", default="", help="only cases whose names contain this")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ["NNX_BACKEND"] = arguments.backend
    x, t = mnist(arguments.folder)
    x = x.astype(arguments.dtype)
    train, test = (x[:8000], t[:8000]), (x[8000:10000], t[8000:10000])
    digits_x, digits_t = load_digits(return_X_y=True)
    digits = digits_x.astype(arguments.dtype), digits_t
    work = {
        name: lambda settings=settings: compare(settings, train, test, arguments.rounds)
        for name, settings in CASES.items()
    }
    work[DIGITS] = lambda: compare({}, digits, digits, arguments.rounds)
    work[f"{DIGITS}, first fit of a process"] = lambda: processes(arguments.rounds)
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "nnx": nnx.__version__,
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in ("numpy", "scipy", "numba", "scikit-learn")},
        "cores": os.cpu_count(),
        "environment": {
            k: v for k, v in os.environ.items() if k.startswith(("OPENBLAS", "OMP_", "MKL_", "NNX_", "NUMBA_"))
        },
        "backend": environment.describe(nnx.get_backend()),
        "dtype": arguments.dtype,
        "cases": {},
    }
    for name, run in work.items():
        if arguments.cases not in name:
            continue
        result = report["cases"][name] = run()
        line = f"{name}: " + ", ".join(f"{k} {result[k]['median']:.3f} s" for k in ("scikit-learn", "nnx"))
        if "accuracy" in result["nnx"]:
            line += ", accuracy " + " and ".join(f"{result[k]['accuracy']:.4f}" for k in ("scikit-learn", "nnx"))
        print(f"{line}, {result['ratio']:.2f} times as fast", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
