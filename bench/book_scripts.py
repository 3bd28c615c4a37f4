"""The book's own training scripts, whole processes: under plain python with the book's code, and under `nnx run`.

    python bench/book_scripts.py CHECKOUT MNIST [--scripts ch06/overfit_dropout.py,...] [--float32] [--json F]

CHECKOUT: a checkout of github.com/oreilly-japan/deep-learning-from-scratch. MNIST: a folder of idx files; where it has
the test images alone, four fifths of them serve to train on. The scripts run from a temporary copy of the checkout,
from the same seed, without a screen; the two take turns, and what they print is compared number by number.
"""

import argparse
import json
import os
import pickle
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nnx
from nnx.backend.environment import describe
from nnx.datasets import Dataset, folder, write_idx

SCRIPTS = (
    "ch04/train_neuralnet.py",
    "ch05/train_neuralnet.py",
    "ch06/optimizer_compare_mnist.py",
    "ch06/weight_init_compare.py",
    "ch06/overfit_weight_decay.py",
    "ch06/overfit_dropout.py",
    "ch06/batch_norm_test.py",
    "ch06/hyperparameter_optimization.py",
)
NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?")
PLAIN, OURS = "the book's code", "nnx run"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--scripts", default=",".join(SCRIPTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--float32", action="store_true", help="with nnx run --float32")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    flags = ["--backend", options.backend, *(["--float32"] if options.float32 else [])]
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "checkout"
        shutil.copytree(options.checkout, copy, ignore=shutil.ignore_patterns(".git", "notebooks", "mnist.pkl"))
        give_data(options.mnist, copy / "dataset")
        (copy / "seed" / "sitecustomize.py").parent.mkdir()
        (copy / "seed" / "sitecustomize.py").write_text("import numpy\nnumpy.random.seed(0)\n")
        for script in options.scripts.split(","):
            results[script] = compare(copy / script, copy / "seed", flags, options.rounds)
            row = results[script]
            times = ", ".join(f"{name} {row['median'][name]:.1f} s" for name in (PLAIN, OURS))
            difference = f"greatest difference of {row['numbers']} printed numbers {row['difference']:.1e}"
            print(f"{script}: {times}, ratio {row['ratio']:.2f}; {difference}", flush=True)
    if options.json:
        document = {
            "environment": describe(nnx.get_backend(options.backend)),
            "float32": options.float32,
            "rounds": options.rounds,
            "scripts": results,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n")


def give_data(mnist: Path, into: Path) -> None:
    """The idx files for nnx, and for the book's loader the pickle that it would make of them."""
    parts = folder(mnist)
    test: Dataset = parts["test"]
    train = parts.get("train")
    if train is None:
        cut = len(test) * 4 // 5
        train, test = test.take(range(cut)), test.take(range(cut, len(test)))
    for prefix, data in (("train", train), ("t10k", test)):
        write_idx(into / f"{prefix}-images-idx3-ubyte.gz", data.x)
        write_idx(into / f"{prefix}-labels-idx1-ubyte.gz", data.t.astype("uint8"))
    arrays = {}
    for name, data in (("train", train), ("test", test)):
        arrays |= {f"{name}_img": data.x.reshape(len(data), -1), f"{name}_label": data.t.astype("uint8")}
    (into / "mnist.pkl").write_bytes(pickle.dumps(arrays, -1))


def compare(script: Path, seed: Path, flags: list[str], rounds: int) -> dict[str, object]:
    """Seconds of both, taking turns, and how far apart what they print is. A first run of ours fills the cache."""
    commands = {PLAIN: [script.name], OURS: ["-m", "nnx", "run", *flags, script.name]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    printed = {}
    run(commands[OURS], script.parent, seed)
    for turn in range(rounds):
        for name in commands if turn % 2 == 0 else reversed(commands):
            start = time.perf_counter()
            printed[name] = NUMBER.findall(run(commands[name], script.parent, seed))
            times[name].append(time.perf_counter() - start)
    if len(printed[PLAIN]) != len(printed[OURS]):
        raise SystemExit(f"{script}: prints {len(printed[PLAIN])} and {len(printed[OURS])} numbers")
    median = {name: statistics.median(values) for name, values in times.items()}
    differences = (abs(float(a) - float(b)) for a, b in zip(printed[PLAIN], printed[OURS], strict=True))
    return {
        "times": times,
        "median": median,
        "ratio": median[PLAIN] / median[OURS],
        "numbers": len(printed[OURS]),
        "difference": max(differences, default=0.0),
    }


def run(command: list[str], cwd: Path, seed: Path) -> str:
    path = os.pathsep.join([str(seed), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"PYTHONPATH": path, "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, *command], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
