"""Searches of scikit-learn over several processes or threads: `python bench/searches.py`.

`GridSearchCV` with three folds, over four settings of `MLPClassifier`, scikit-learn's own and nnx's, on one worker and
on two: processes of joblib, its threads, and processes of Dask where `distributed` is installed. Candidates take turns,
each in a process of its own, which searches twice: the first search begins the workers, the second one finds them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

CASES = {
    "digits, (100,), 40 epochs": ("digits", {"hidden_layer_sizes": (100,), "max_iter": 40}),
    "4000 x 200, (256, 256), 5 epochs": ("wide", {"hidden_layer_sizes": (256, 256), "max_iter": 5}),
}
CANDIDATES = {"scikit-learn": "sklearn.neural_network", "nnx": "nnx.sklearn"}
WAYS = ("one", "two processes", "two threads", "two processes of Dask")


def data(name):
    from sklearn.datasets import load_digits, make_classification

    if name == "digits":
        return load_digits(return_X_y=True)
    return make_classification(4000, 200, n_informative=50, n_classes=5, random_state=0)


@contextmanager
def dask():
    import joblib
    from distributed import Client, LocalCluster

    workers = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**workers) as cluster, Client(cluster), joblib.parallel_config("dask"):
        yield


def one(case, candidate, way):
    """What one process measures: seconds of its first and second search, and the best score."""
    import joblib
    from sklearn.model_selection import GridSearchCV

    name, settings = CASES[case]
    x, t = data(name)
    cls = __import__(CANDIDATES[candidate], fromlist=["MLPClassifier"]).MLPClassifier
    with_workers = {"two threads": lambda: joblib.parallel_config("threading"), "two processes of Dask": dask}
    seconds = []
    began = time.perf_counter()
    with warnings.catch_warnings(), with_workers.get(way, nullcontext)():
        warnings.simplefilter("ignore")
        for _ in range(2):
            search = GridSearchCV(
                cls(random_state=0, **settings),
                {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]},
                cv=3, refit=False, n_jobs=1 if way == "one" else 2,
            ).fit(x, t)  # fmt: skip
            seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
    return {"first": seconds[0], "second": seconds[1], "score": search.best_score_}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default="", help="only cases whose names contain this")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print("\n" + json.dumps(one(*arguments.one)))
        return
    from nnx.bench.run import Run

    run = Run("numba", "S", arguments.rounds, arguments.json)
    results = {}
    for case in CASES:
        if arguments.cases not in case:
            continue
        for way in arguments.ways.split(","):
            if "Dask" in way and find_spec("distributed") is None:
                continue
            runs = {name: [] for name in CANDIDATES}
            for turn in range(arguments.rounds):
                for name in CANDIDATES if turn % 2 == 0 else reversed(CANDIDATES):
                    command = [sys.executable, __file__, "--one", case, name, way]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            medians = {
                name: {key: statistics.median(each[key] for each in values) for key in values[0]}
                for name, values in runs.items()
            }
            results.setdefault(case, {})[way] = medians
            told = "; ".join(
                f"{name} {each['first']:.2f} s, then {each['second']:.2f} s (score {each['score']:.4f})"
                for name, each in medians.items()
            )
            print(f"{case}, {way}: {told}", flush=True)
            run.keep("seconds of a search", results)
    run.finish()


if __name__ == "__main__":
    main()
