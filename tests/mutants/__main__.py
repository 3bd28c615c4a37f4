"""Mutation testing: `python tests/mutants [--workers N] [FILE ...]`; it takes an hour and runs at night.

A mutant is a source with one small mistake: another sign, a bound off by one, a statement left out. For each, the
commands of `targets.toml` run in a copy of the tree, in processes of their own and for a limited time; one of them has
to fail. Mutants that no command finds have to be in `explained.txt` with the reason, and nothing else may be there.
The exit status is 0 if that holds for the files that were asked for.
"""

import argparse
import ast
import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import unified_diff
from itertools import pairwise
from math import ceil
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import _cuda
import _python

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SECONDS = 3
"""What a command may compute beyond twice as long as it takes without a mutation; after six times that it has ended, or
could go on."""
TRAPS = "-fsanitize=bounds,alignment,shift,signed-integer-overflow -fsanitize-undefined-trap-on-error"
"""Flags of the emulator's compiler: what a CPU forgives, and a GPU does not. They cost nothing."""
NO_MUTANT = 3
"""The exit status of a command that could not compile the mutant."""


_CPP_NAME = re.compile(r"(?!__launch_bounds__|alignas|decltype)\b([\w${}]+)\(")


@dataclass(frozen=True)
class Target:
    """Files and the commands that have to find their mutants."""

    files: tuple[str, ...]
    commands: tuple[str, ...]
    without_jit: bool = False


@dataclass(frozen=True)
class Mutant:
    """A file with one mistake. `key` says what it is, whatever its line; `where` tells which of several equal ones."""

    file: str
    where: str
    change: str
    text: str

    @property
    def key(self) -> str:
        return f"{self.file} {self.where}\n{self.change}"


def by_default() -> list[str]:
    files: list[str] = tomllib.loads((HERE / "targets.toml").read_text())["by_default"]
    return files


def targets() -> list[Target]:
    tables = tomllib.loads((HERE / "targets.toml").read_text())["target"]
    return [Target(tuple(t["files"]), tuple(t["run"]), t.get("without_jit", False)) for t in tables]


def mutants(file: str, root: Path) -> Iterator[Mutant]:
    text = (root / file).read_text()
    make = _python.mutants if file.endswith(".py") else _cuda.mutants
    times: Counter[tuple[str, str]] = Counter()
    for mutated in make(text):
        diff = [d for d in unified_diff(text.splitlines(), mutated.splitlines(), n=0, lineterm="") if d[:2] != "@@"][2:]
        change = "\n".join(f"    {d[0]} {' '.join(d[1:].split())}" for d in diff)
        first = next(i for i, (a, b) in enumerate(zip(text.splitlines(), mutated.splitlines())) if a != b)  # noqa: B905
        where = _function(text, first + 1, file.endswith(".py"))
        times[where, change] += 1
        nth = times[where, change]
        yield Mutant(file, where if nth == 1 else f"{where} ({nth})", change, mutated)


def _function(text: str, line: int, python: bool) -> str:
    """Return the names of the functions and classes around a line."""
    if python:
        kinds = ast.FunctionDef | ast.ClassDef
        around = [n for n in ast.walk(ast.parse(text)) if isinstance(n, kinds) and n.lineno <= line <= n.end_lineno]
        return ".".join(n.name for n in sorted(around, key=lambda n: n.lineno)) or "-"
    name = "-"
    for this, after in pairwise([*text.splitlines()[: line + 1], ""][: line + 1]):
        if this[:1] not in (" ", "#", "/", "}", "") or this.startswith("  __device__"):
            named = _CPP_NAME.search(this) or ("__global__" in this and _CPP_NAME.search(after)) or None
            name = named[1] if named else name
    return name


def explained() -> dict[str, str]:
    """The survivors that may be, by key, with the reason: a paragraph of `#` above them."""
    reasons: dict[str, str] = {}
    reason, header, change, text = "", "", [], False
    for line in [*(HERE / "explained.txt").read_text().splitlines(), ""]:
        if line.startswith("    "):
            change.append(line)
            continue
        if header and change:
            reasons[f"{header}\n" + "\n".join(change)] = reason
            header, change = "", []
        if line.startswith("#"):
            reason = f"{reason} {line[1:].strip()}" if text else line[1:].strip()
        elif line:
            header = line
        text = line.startswith("#")
    return reasons


class Copy:
    """A copy of the tree in which one mutant at a time is tried."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
        )
        for name in filter(None, files.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        self.temporary = folder / "tmp"
        self.temporary.mkdir()

    def run(self, command: str, seconds: float, target: Target, keep: bool = False) -> int:
        """Return the exit status; a process that takes too long is ended with all that it started.

        What it computes counts, and whether it waits for nothing but its turn: a machine that has much to do finds no
        mutants."""
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(str(self.folder / part) for part in (".", "backends", "kernels")),
            "TMPDIR": str(self.temporary),
            "OPENBLAS_NUM_THREADS": "1",
            "NNX_NUM_THREADS": "1",
            "NUMBA_CACHE_DIR": str(self.folder / "numba"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # their imports take longer than most tests
            "NNX_EMULATOR_FLAGS": TRAPS,
        }
        if target.without_jit:
            environment["NUMBA_DISABLE_JIT"] = "1"
        if not keep:
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
        words = shlex.split(command)
        while "=" in words[0]:
            name, value = words.pop(0).split("=")
            environment[name] = value
        arguments = [sys.executable, *(words if words[0].endswith(".py") else ["-m", *words])]
        process = subprocess.Popen(
            arguments, cwd=self.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (ceil(seconds),) * 2)
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(6 * seconds)
                if _sleeps(process.pid):
                    return -signal.SIGKILL
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def survives(self, mutant: Mutant, target: Target, times: dict[str, float]) -> bool | None:
        """Whether no command finds it; None, if it is no mutant: it does not compile."""
        path = self.folder / mutant.file
        text = path.read_text()
        path.write_text(mutant.text)
        kept = set(self.temporary.rglob("*"))
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()
        try:
            for command in _commands(target, mutant.where):
                status = self.run(command, SECONDS + 2 * times[command], target)
                if status:
                    return None if status == NO_MUTANT else False
            return True
        finally:
            path.write_text(text)
            for made in set(self.temporary.rglob("*")) - kept:
                if made.is_file():  # the emulator's libraries of this mutant
                    made.unlink()


def _sleeps(session: int) -> bool:
    """Whether no thread of the session's processes could go on: those that could have not had their turn."""
    states = set()
    for status in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            state, _, _, its_session = status.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session:
                states.add(state)
    return states <= {"S", "Z", "X"}


def _commands(target: Target, where: str) -> list[str]:
    """The commands for a function: {op} is the operation of that name, or all of them."""
    function = where.split(" ")[0].split(".")[-1]
    op = function if function in _operations() else ""
    return [" ".join(c.replace("{op}", op).split()) for c in target.commands]


def _operations() -> set[str]:
    return set(re.findall(r"^def ([a-z]\w+)\(", (ROOT / "nnx/ops/spec.py").read_text(), re.MULTILINE))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/mutants", description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="those of targets.toml to mutate; default: its list `by_default`")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="say how many mutants there are, and run none")
    parser.add_argument("--results", type=Path, help="a file for the figures, as JSON, and for the survivors")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="only every K-th mutant of a file: a sample")
    parser.add_argument("--again", type=Path, help="only what survived by these results, of an earlier run")
    arguments = parser.parse_args()
    only = {k for f in json.loads(arguments.again.read_text()) for k in f["survived"]} if arguments.again else None
    wanted = set(arguments.files or by_default())
    chosen = [(t, f) for t in targets() for f in t.files if f in wanted]
    if unknown := wanted - {f for _, f in chosen}:
        parser.error(f"not in targets.toml: {', '.join(sorted(unknown))}")
    if arguments.list:
        for _, file in chosen:
            print(f"{len(list(mutants(file, ROOT))):5} {file}")
        return 0
    known, bad, figures = explained(), 0, []
    with tempfile.TemporaryDirectory(prefix="nnx-mutants-") as folder:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for k in range(arguments.workers):
            copies.put(Copy(Path(folder) / str(k)))
        for target, file in chosen:
            wrong, figure = examine(target, file, copies, arguments.workers, known, only, arguments.every)
            bad += wrong
            figures.append(figure)
            if arguments.results:
                arguments.results.write_text(json.dumps(figures, indent=1) + "\n")
    return 1 if bad else 0


def examine(
    target: Target, file: str, copies: Any, workers: int, known: dict[str, str], only: set[str] | None, every: int
) -> tuple[int, dict[str, Any]]:
    """Try all mutants of a file; return how many are not as they should be, and the figures."""
    start = time.perf_counter()
    made = [m for m in mutants(file, ROOT) if only is None or m.key in only][::every]
    first = [copies.get() for _ in range(workers)]
    times: dict[str, float] = {}
    for command in dict.fromkeys(c for m in made for c in _commands(target, m.where)):
        for copy in first:  # each has its files compiled then
            before = os.times()
            if copy.run(command, 1800, target, keep=True):
                raise SystemExit(f"fails without any mutation: {command}")
            times[command] = sum(os.times()[2:4]) - sum(before[2:4])  # of the processes that have ended
    for copy in first:
        copies.put(copy)

    def one(mutant: Mutant) -> bool | None:
        copy = copies.get()
        try:
            return copy.survives(mutant, target, times)
        finally:
            copies.put(copy)

    with ThreadPoolExecutor(workers) as pool:
        outcomes = list(zip(made, pool.map(one, made), strict=True))
    survivors = [m.key for m, survives in outcomes if survives]
    tried = [m for m, survives in outcomes if survives is not None]
    new = [key for key in survivors if key not in known]
    stale = [key for key in known if key.split(" ")[0] == file and key not in survivors]
    if every > 1:
        stale = [key for key in stale if key in {m.key for m in made}]
    seconds = time.perf_counter() - start
    print(f"{file}: {len(tried)} mutants, {len(tried) - len(survivors)} found, {len(survivors) - len(new)} explained, "
          f"{len(new)} not, in {seconds:.0f} s")  # fmt: skip
    for what, keys in (("survives", new), ("is explained, but does not survive", stale)):
        for key in keys:
            print(f"-- {what}:\n{key}")
    sys.stdout.flush()
    figure = {
        "file": file,
        "mutants": len(tried),
        "every": every,
        "survived": survivors,
        "explained": len(survivors) - len(new),
        "seconds": round(seconds),
    }
    return len(new) + len(stale), figure


if __name__ == "__main__":
    sys.exit(main())
