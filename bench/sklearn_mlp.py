"""`nnx.sklearn` against scikit-learn's own MLP: `python bench/sklearn_mlp.py FOLDER`.

FOLDER holds MNIST's idx files of images and labels (the 10,000 of the test set will do: 8,000 train, 2,000 test); rows
are float64, as dividing pixels by 255 makes them. Three candidates take turns, each fit in a process of its own after a
short one that is not counted, with another seed in each round: scikit-learn, nnx on the same numbers, and nnx with
dtype="float32", which is not the same arithmetic and is reported apart.
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

CASES = {
    "(100,), adam, batch 200, 20 epochs": {"hidden_layer_sizes": (100,), "batch_size": 200, "max_iter": 20},
    "(50,), sgd, batch 100, 20 epochs": {
        "hidden_layer_sizes": (50,),
        "batch_size": 100,
        "solver": "sgd",
        "max_iter": 20,
    },
    "(1024, 1024), adam, batch 256, 3 epochs": {"hidden_layer_sizes": (1024, 1024), "batch_size": 256, "max_iter": 3},
    "digits, defaults": {},
    "digits, defaults, first fit of a process": {},
}
CANDIDATES = {
    "scikit-learn": ("sklearn.neural_network", {}),
    "nnx": ("nnx.sklearn", {}),
    "nnx, float32": ("nnx.sklearn", {"dtype": "float32"}),
}


def data(case, folder):
    """((x, t) to train, (x, t) to test): x float64."""
    import numpy as np

    if "digits" in case:
        from sklearn.datasets import load_digits

        return (load_digits(return_X_y=True),) * 2
    from nnx.datasets import read_idx

    images = sorted(folder.glob("*images*idx3*"))[0]
    x = read_idx(images).reshape(-1, 784) / 255
    t = read_idx(next(folder.glob(images.name.split("-")[0] + "*labels*idx1*"))).astype(np.int64)
    return (x[:8000], t[:8000]), (x[8000:10000], t[8000:10000])


def one(case, candidate, seed, folder):
    """What one process measures: seconds of one fit, accuracy on the test rows, epochs."""
    module, own = CANDIDATES[candidate]
    train, test = data(case, folder)
    began = time.perf_counter()
    cls = __import__(module, fromlist=["MLPClassifier"]).MLPClassifier
    settings = {**CASES[case], **own, "random_state": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "first fit" not in case:
            cls(**{**settings, "max_iter": 1}).fit(*train)
            began = time.perf_counter()
        model = cls(**settings).fit(*train)
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "accuracy": model.score(*test), "epochs": model.n_iter_}


def compare(case, rounds, folder):
    """Every candidate by turns."""
    runs = {name: [] for name in CANDIDATES}
    for seed in range(-1, rounds):  # the first round fills the caches of files and kernels
        for name in CANDIDATES if seed % 2 == 0 else reversed(CANDIDATES):
            command = [sys.executable, __file__, str(folder), "--one", case, name, str(max(seed, 0))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            if seed >= 0:
                runs[name].append(json.loads(done.stdout))
    result = {}
    for name, values in runs.items():
        seconds = [run["seconds"] for run in values]
        result[name] = {
            "median": statistics.median(seconds),
            "seconds": seconds,
            "accuracy": statistics.mean(run["accuracy"] for run in values),
            "epochs": [run["epochs"] for run in values],
        }
    for name in CANDIDATES:
        result[name]["ratio"] = result["scikit-learn"]["median"] / result[name]["median"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--cases", default="", help="only cases whose names contain this")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["NNX_BACKEND"] = arguments.backend
    if arguments.one:
        case, candidate, seed = arguments.one
        print(json.dumps(one(case, candidate, int(seed), arguments.folder)))
        return

    import nnx
    from nnx.backend import environment

    settings = {k: v for k, v in os.environ.items() if k.startswith(("OPENBLAS", "OMP_", "MKL_", "NNX_", "NUMBA_"))}
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "nnx": nnx.__version__,
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in ("numpy", "scipy", "numba", "scikit-learn")},
        "cores": os.cpu_count(),
        "environment": settings,
        "backend": environment.describe(nnx.get_backend()),
        "cases": {},
    }
    for case in CASES:
        if arguments.cases not in case:
            continue
        result = report["cases"][case] = compare(case, arguments.rounds, arguments.folder)
        parts = [
            f"{name} {row['median']:.3f} s ({row['ratio']:.2f} times, accuracy {row['accuracy']:.4f})"
            for name, row in result.items()
        ]
        print(f"{case}: {'; '.join(parts)}", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
