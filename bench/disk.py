"""Trainings on data from the disk against data in memory, and against the disk's own rate.

`python bench/disk.py FOLDER [--gib 20] [--share 0.25] [--rounds 3] [--json FILE]`, from a checkout. FOLDER
gets a file of so many GiB of real bytes, pictures of 28 x 28 and labels, unless it is there. Rows a second of
`Trainer.fit`, one epoch on a share of the blocks from all over the file, against the same network on 1 GiB of
the rows in memory; and GiB a second of plain reads, one after another and of 1 MiB blocks in random order.
Every number is of a process of its own, and they take turns. The training from the disk may have 2 GiB of
memory (RLIMIT_DATA), and no page of the file stays cached: they are dropped five times a second.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

import nnx
from nnx.bench.run import Run

ROW, GIB, MEMORY = 784, 1 << 30, 2 << 30
NETWORKS = {
    "784-50-10, batch 100, SGD": ((50,), 100, nnx.SGD),
    "784-100x6-10, batch 100, Adam": ((100,) * 6, 100, nnx.Adam),
}


def make(folder: Path, gib: float) -> None:
    """Write the file, unless it is there."""
    rows = int(gib * GIB) // ROW
    if (folder / "x.npy").is_file() and np.load(folder / "x.npy", mmap_mode="r").shape[0] == rows:
        return
    folder.mkdir(parents=True, exist_ok=True)
    r = np.random.default_rng(0)
    np.save(folder / "y.npy", r.integers(0, 10, rows))
    with (folder / "x.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, 28, 28)}
        np.lib.format.write_array_header_1_0(file, header)
        for begin in range(0, rows, 1 << 17):
            file.write(r.bytes(min(1 << 17, rows - begin) * ROW))
        file.flush()
        os.fsync(file.fileno())


def uncached(path: Path) -> None:
    """Drop the file's pages, in a thread, as long as the process lives."""
    fd = os.open(path, os.O_RDONLY)

    def work() -> None:
        while True:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            time.sleep(0.2)

    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    threading.Thread(target=work, daemon=True).start()


def train(folder: Path, where: str, network: str, share: float) -> dict[str, float]:
    """Return rows a second of one epoch."""
    hidden, batch, optimizer = NETWORKS[network]
    data = nnx.datasets.on_disk(folder)
    model = nnx.Sequential(nnx.Flatten(), *nnx.MLP(hidden, 10).layers)
    trainer = nnx.Trainer(model, optimizer(), backend="numba", seed=0)
    settings = {"batch_size": batch, "train_accuracy": False, "verbose": False}
    x, t = data.read(0, GIB // ROW if where == "memory" else 10 * batch)
    few = nnx.datasets.Dataset("few", x[: 10 * batch], t[: 10 * batch], data.scale, tuple("0123456789"))
    trainer.fit(few, epochs=1, **settings)  # compiles, and records the step
    if where == "memory":
        whole = nnx.datasets.Dataset("part", x, t, data.scale, tuple("0123456789"))
        epochs = 3
    else:
        uncached(folder / "x.npy")
        whole, epochs = (data if share >= 1 else data.split(share, 1 - share)[0]), 1
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    began = time.perf_counter()
    trainer.fit(whole, epochs=epochs, resume=False, **settings)
    seconds = time.perf_counter() - began
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {
        "rows_per_second": len(whole) * epochs / seconds,
        "seconds": seconds,
        "peak_mib": int(peak.split()[1]) / 1024,
    }


def read(folder: Path, how: str, gib: float = 3) -> dict[str, float]:
    """Return GiB a second of plain reads."""
    path, block = folder / "x.npy", 1 << 20
    uncached(path)
    count = path.stat().st_size // block
    places = np.random.default_rng(time.time_ns()).permutation(count)[: int(gib * GIB) // block]
    if how == "sequential":
        first = int(places[0]) % max(1, count - len(places))
        places = np.arange(first, first + len(places))
    buffer = bytearray(block)
    began = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        for place in places.tolist():
            file.seek(place * block)
            file.readinto(buffer)
    return {"gib_per_second": len(places) * block / GIB / (time.perf_counter() - began)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gib", type=float, default=20)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", action="append", choices=NETWORKS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    make(arguments.folder, arguments.gib)
    if arguments.worker:
        what, which = arguments.worker
        done = (
            read(arguments.folder, which) if what == "read" else train(arguments.folder, what, which, arguments.share)
        )
        print(json.dumps(done))
        return 0
    run = Run("numba", "S", arguments.rounds, arguments.json)
    jobs = [("read", "sequential"), ("read", "random blocks")]
    jobs += [(where, network) for network in arguments.network or NETWORKS for where in ("memory", "disk")]
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(arguments.rounds):
        for what, which in jobs:
            command = [sys.executable, __file__, str(arguments.folder), "--gib", str(arguments.gib)]
            command += ["--share", str(arguments.share), "--worker", what, which]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            for name, value in json.loads(done.stdout.splitlines()[-1]).items():
                found.setdefault(f"{which}, {what}", {}).setdefault(name, []).append(value)
    medians = {job: {name: statistics.median(values) for name, values in each.items()} for job, each in found.items()}
    for job, values in medians.items():
        print(job, {name: round(value, 3) for name, value in values.items()})
    rate = medians["random blocks, read"]["gib_per_second"] * GIB / ROW
    for network in arguments.network or NETWORKS:
        disk, memory = (medians[f"{network}, {where}"]["rows_per_second"] for where in ("disk", "memory"))
        print(f"{network}: {disk / memory:.0%} of the speed in memory, {disk / rate:.0%} of the disk's rate of blocks")
    run.keep("disk", {"medians": medians, "all": found, "gib": arguments.gib, "share": arguments.share})
    run.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
