"""bench/gpu.sh: every part is done, none harms another, and whatever happens its results are there."""

import io
import os
import re
import runpy
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from gpu_script import BENCH, on_the_host, script

from nnx.bench import networks

pytestmark = pytest.mark.long

FAKE_PROGRAM = """#!/bin/sh
case "$*" in *--query-gpu*) exit ;; esac  # beside the parts
echo "$(basename "$0") $*" >>"$LOG"
echo ran "$@"
cp "$OUT/results.tar.gz" "$LOG.$(wc -l <"$LOG").tar.gz" 2>/dev/null
case "$*" in
*cublaslt.json*) for last; do :; done; echo "{}" >"$last" ;;
*--no-index*) [ "$FAILS" != wheels ] || exit 4 ;;
*kernels.json*) for last; do :; done; echo "{}" >"$last"; [ -z "$FAILS" ] || exit 3 ;;
esac
case "$*" in *"$HANGS"*) sleep 30 ;; esac
"""
PARTS = [
    *("machine", "packages", "probes_products", "cublaslt", "tests", "probes_graphs", "probes_host", "kernels"),
    *("steps_cupy", "steps_torch_graph", "steps_torch", "steps_jax", "memcheck", "crossover", "ops", "racecheck"),
    "steps_torch_compile",
]
TOP = {"summary.txt", "results.tar.gz", "probes.txt", "cublaslt.json", "tests.txt", "kernels.json", "steps.txt"}


@pytest.fixture
def recipe(tmp_path):
    """Starts bench/gpu.sh with programs that only write down how they were called."""
    for name in ("python", "nvidia-smi", "compute-sanitizer"):
        (tmp_path / name).write_text(FAKE_PROGRAM)
        (tmp_path / name).chmod(0o755)
    log, out, temporary = tmp_path / "log", tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    known = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHON": str(tmp_path / "python"), "TMPDIR": str(temporary)}
    known |= {"LOG": str(log), "OUT": str(out), "FAILS": "", "HANGS": "nobody"}
    environment = {key: value for key, value in os.environ.items() if key not in ("WHEELS", "PARTS", "DRY", "LIMIT")}

    def start(*arguments, **settings):
        return subprocess.Popen(
            ["bash", str(BENCH / "gpu.sh"), *map(str, arguments)],
            env=environment | known | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*arguments, **settings):
        process = start(*arguments, **settings)
        stdout, stderr = process.communicate(timeout=60)
        calls = log.read_text().splitlines() if log.exists() else []
        return SimpleNamespace(returncode=process.returncode, stdout=stdout, stderr=stderr, calls=calls)

    return SimpleNamespace(run=run, start=start, out=out, log=log, temporary=temporary)


def archived(path):
    """The texts in an archive, by name."""
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        return {member.name.removeprefix("./"): archive.extractfile(member).read().decode() for member in files}


def test_the_recipe_does_every_part_and_says_which_failed(recipe):
    done = recipe.run(FAILS="1")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "failed: kernels (3)"
    assert done.stderr == ""
    assert re.findall(r"^== (\w+)$", done.stdout, re.MULTILINE) == PARTS
    ends = re.findall(r"^(\w+): (\S+), \d+ s$", (recipe.out / "summary.txt").read_text(), re.MULTILINE)
    assert ends == [(part, "3" if part == "kernels" else "ok") for part in PARTS]
    assert {file.name for file in recipe.out.iterdir()} == TOP
    assert len(TOP) < 8  # and one more while it is written
    files = archived(recipe.out / "results.tar.gz")
    assert {f"{part}.txt" for part in PARTS} | {"clocks.csv", "summary.txt", "cublaslt.json", "kernels.json"} == {
        *files
    }
    assert (recipe.out / "steps.txt").read_text().count("==> ") == 5
    assert list(recipe.temporary.iterdir()) == []


def test_when_all_goes_well(recipe):
    done = recipe.run(recipe.out.parent / "another")  # an argument wins over $OUT
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "all parts went well"
    assert not recipe.out.exists()
    again = recipe.run(recipe.out.parent / "another")
    assert again.returncode == 1
    assert "holds the results of another run" in again.stderr
    assert again.calls == done.calls


def test_the_archive_is_written_anew_after_each_part(recipe):
    """Each program kept a copy of the archive as it found it: all parts before it are in there, whole."""
    assert recipe.run().returncode == 0
    calls = recipe.log.read_text().splitlines()
    kept = [Path(f"{recipe.log}.{i + 1}.tar.gz") for i in range(len(calls))]
    held = [{name for name in archived(path) if name[:-4] in PARTS} if path.exists() else set() for path in kept]
    assert held == [{f"{part}.txt" for part in PARTS[:i]} for i in range(len(PARTS))]


def test_a_part_that_hangs_is_ended_and_the_others_go_on(recipe):
    done = recipe.run(HANGS="JAX", LIMIT="1")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "failed: steps_jax (over 1 s)"
    ends = re.findall(r"^(\w+): (.*), \d+ s$", (recipe.out / "summary.txt").read_text(), re.MULTILINE)
    assert ends == [(part, "over 1 s" if part == "steps_jax" else "ok") for part in PARTS]
    assert archived(recipe.out / "results.tar.gz")["steps_jax.txt"].startswith("ran bench/peers/steps.py JAX jit, GPU")


def test_no_part_starts_without_time_for_it(recipe):
    done = recipe.run(HANGS="pip freeze", BUDGET="12")  # 5 of them are for killing
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    cut = int(re.match(r"failed: packages \(over (\d+) s\) ", last)[1])
    assert 5 <= cut <= 7  # of 10
    assert last.endswith(" ".join(f"{part} (no time left)" for part in PARTS[2:]))
    assert "cublaslt: no time left" in archived(recipe.out / "results.tar.gz")["summary.txt"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_recipe_that_is_ended_in_the_middle_leaves_what_it_had(recipe, how):
    process = recipe.start(HANGS="JAX", EVERY="0.2", LIMIT="3")
    running = "steps_jax: running"
    try:
        until = time.monotonic() + 30
        while not ((recipe.out / "steps.txt").exists() and "JAX" in (recipe.out / "steps.txt").read_text()):
            assert time.monotonic() < until
            time.sleep(0.05)
        while "ran" not in archived(recipe.out / "results.tar.gz").get("steps_jax.txt", ""):
            assert time.monotonic() < until
            time.sleep(0.05)
        process.send_signal(how)
        process.wait(timeout=30)
    finally:
        process.kill()
        process.communicate()
    files = archived(recipe.out / "results.tar.gz")
    before = PARTS[: PARTS.index("steps_jax") + 1]
    assert {f"{part}.txt" for part in before} <= {*files}
    assert {*files} & {f"{part}.txt" for part in PARTS} == {f"{part}.txt" for part in before}
    assert files["steps_jax.txt"].startswith("ran bench/peers/steps.py JAX jit, GPU")
    assert (running if how == signal.SIGKILL else "steps_jax: stopped") in files["summary.txt"]
    assert len([*recipe.out.iterdir()]) <= 8
    if how == signal.SIGTERM:
        assert process.returncode == 143


def test_some_parts_alone(recipe):
    assert recipe.run(PARTS="ops racecheck").returncode == 0
    parts = {f.removesuffix(".txt") for f in archived(recipe.out / "results.tar.gz")} & {*PARTS}
    assert parts == {"ops", "racecheck"}


def test_wheels_that_cannot_be_installed_end_it(recipe):
    done = recipe.run(WHEELS="wheels", FAILS="wheels")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "failed: wheels"
    assert "--no-index --no-deps --target" in archived(recipe.out / "results.tar.gz")["wheels.txt"]
    assert len(done.calls) == 1


def planned(recipe):
    """(name, seconds at most, command) of each part."""
    done = recipe.run(DRY="1")
    assert done.returncode == 0
    assert done.calls == []
    assert not recipe.out.exists()
    parts = (line.split(" ", 2) for line in done.stdout.splitlines())
    return [(name, int(limit), command) for name, limit, command in parts]


def test_the_recipe_keeps_to_ten_minutes(recipe):
    plan = planned(recipe)
    assert [name for name, _, _ in plan] == PARTS
    assert sum(limit for _, limit, _ in plan) <= 570
    text = (BENCH / "gpu.sh").read_text()
    budget, grace = (int(re.search(p, text)[1]) for p in (r"budget=\$\{BUDGET:-(\d+)\}", r"grace=(\d+)"))
    assert budget + grace <= 580  # what is left is for the last archive


def test_the_order_is_by_worth(recipe):
    at = {name: i for i, (name, _, _) in enumerate(planned(recipe))}
    assert at["tests"] < at["kernels"] < at["steps_cupy"] < at["steps_torch"] < at["memcheck"] < at["racecheck"]
    assert at["steps_torch_compile"] == len(PARTS) - 1


def test_memcheck_reports_no_probes_of_the_driver(recipe):
    commands = {name: command for name, _, command in planned(recipe)}
    assert "--tool memcheck --report-api-errors no --error-exitcode 9" in commands["memcheck"]
    assert "--tool racecheck --error-exitcode 9" in commands["racecheck"]


def test_what_the_recipe_runs_is_there(recipe, monkeypatch):
    """Files exist, and nnx knows the flags, candidates and questions: each command line is parsed for real."""
    from typer.main import get_command

    from nnx.cli import _bench  # noqa: F401
    from nnx.cli._app import app

    on_the_host(monkeypatch)
    command, questions = get_command(app), script("probe").QUESTIONS
    peers = runpy.run_path(str(BENCH / "peers" / "steps.py"))["GPU_PEERS"]
    calls = recipe.run().calls
    ours = [call.split(" ", 1)[1] for call in calls if call.startswith("python ") and "pip freeze" not in call]
    ours += [call.split("/python ")[1] for call in calls if call.startswith("compute-sanitizer ")]
    assert len(ours) == len(PARTS) - 2
    for line in ours:
        words = line.split()
        if words[:2] == ["-m", "nnx"]:
            name, *rest = words[2:]
            parsed = command.commands[name].make_context(name, rest).params
            assert set((parsed["networks"] or "S").split(",")) <= set(networks.NETWORKS)
        elif words[0] == "bench/peers/steps.py":
            candidate, nets = line.removeprefix("bench/peers/steps.py ").rsplit(" ", 1)
            assert candidate in {"cupy", *peers}
            assert nets.split(",") == list(networks.NETWORKS)
        elif words[:2] == ["-m", "pytest"]:
            assert Path(BENCH.parent, words[-1]).is_dir()
        else:
            assert Path(BENCH.parent, words[0]).is_file()
            if words[0].endswith("probe.py"):
                assert set(words[1:]) <= set(questions)
    asked = {word for line in ours if "probe.py" in line for word in line.split()[1:]}
    assert asked == set(questions)
    assert {c for c in peers if any(c in line for line in ours)} == set(peers)
