"""`nnx bench`: whoever stops it keeps what it has measured."""

import json
import subprocess
import sys
from functools import partial

import pytest
from command_line import nnx_command

import nnx
from nnx.bench import crossover, overhead, steps
from nnx.bench import ops as ops_table
from nnx.bench.networks import Network
from nnx.bench.report import Report

SMALL = Network("S", (784, 5, 10), 4, "sgd")


def test_a_report_is_whole_and_says_whether_it_is_complete(tmp_path):
    report = Report(path := tmp_path / "r.json")
    report.add("a", "first", 1)
    report.add("a", "second", 2)
    assert json.loads(path.read_text()) == {"complete": False, "a": {"first": 1, "second": 2}}
    report.finish()
    assert json.loads(path.read_text()) == {"complete": True, "a": {"first": 1, "second": 2}}
    assert [file.name for file in tmp_path.iterdir()] == ["r.json"]
    Report(None).finish()  # kept in memory alone


@pytest.mark.parametrize("backend", [s.name for s in nnx.list_backends() if s.usable])
def test_every_operation_of_the_table_runs_and_is_fused(backend):
    ops = nnx.Ops(nnx.get_backend(backend))
    works = list(ops_table.works(ops, shrink=128))
    for work in works:
        work.run()
    assert len(works) > 15
    assert ops.explain().declined == {}


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """Runs `nnx bench --json`; returns its exit code. Crossover and overhead take no time; candidates are given."""
    monkeypatch.setattr(
        crossover, "run_crossover", lambda names, net: {"rows_per_second": {}, "sentences": [], "network": net}
    )
    monkeypatch.setattr(overhead, "run_overhead", lambda name: {"step": 1e-6, "fit": 1e-6})
    path = tmp_path / "b.json"

    def run(*arguments, json_file=path):
        return nnx_command("bench", "--backends", "numpy", "--rounds", 1, *arguments, "--json", json_file)

    run.path = path
    return run


def test_the_json_grows_with_every_candidate_and_section(bench, monkeypatch, capsys):
    held, row = [], {"S": {"first": 1.0, "warm": 2.0}}

    def read():
        held.append(json.loads(bench.path.read_text()))

    def in_turns(worker, names, arguments, rounds):
        read()
        for name in names:
            yield name, row if name == "numpy" else row | {"error": "out of memory"}
            read()

    def run_overhead(name):
        read()
        return {"step": 1e-6, "fit": 1e-6}

    monkeypatch.setattr(steps, "in_turns", in_turns)
    monkeypatch.setattr(overhead, "run_overhead", run_overhead)
    assert bench("--backends", "numpy,numba", "--steps", "--networks", "S") == 0
    assert "numba: failed: out of memory" in capsys.readouterr().out
    assert [list(report.get("steps", {}).get("S", {})) for report in held] == [
        [], ["numpy"], ["numpy", "numba"], ["numpy", "numba"], ["numpy", "numba"]
    ]  # fmt: skip
    assert "crossover" in held[-1]
    assert not any(report["complete"] for report in held)
    last = json.loads(bench.path.read_text())
    assert last["complete"] is True
    assert last["failed"] == {"numba": "out of memory"}
    assert last["overhead"] == {name: {"step": 1e-6, "fit": 1e-6} for name in ("numpy", "numba")}


def test_what_was_measured_outlives_a_failure(bench, monkeypatch):
    monkeypatch.setattr(steps, "in_turns", lambda *_: iter([("numpy", {"S": {"first": 1.0, "warm": 2.0}})]))
    monkeypatch.setattr(crossover, "run_crossover", lambda names, net: sys.exit(9))
    assert bench("--steps", "--networks", "S") == 9
    report = json.loads(bench.path.read_text())
    assert report["complete"] is False
    assert report["steps"]["S"]["numpy"]["warm"] == 2.0


def test_where_the_json_cannot_be_written_nothing_is_measured(bench, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(steps, "in_turns", lambda *_: pytest.fail("measured"))
    assert bench("--steps", json_file=tmp_path / "nowhere" / "b.json") == 1
    assert "cannot be written (No such file or directory); choose another file." in capsys.readouterr().err


def test_a_worker_tells_after_each_network(monkeypatch):
    monkeypatch.setattr(steps, "_WARM_UP_SECONDS", 0.0)
    monkeypatch.setattr(steps, "_SECONDS", 0.001)
    monkeypatch.setattr(steps, "NETWORKS", {"S": SMALL, "T": Network("T", (784, 5, 10), 4, "adam", "bfloat16")})
    told = map(dict, steps.worker(partial(steps.nnx_candidate, "numpy"), ["S", "T"]))
    assert [list(so_far) for so_far in told] == [["S"], ["S", "T"]]


@pytest.mark.parametrize(("code", "more"), [(0, {}), (1, {"error": "OutOfMemory"})])
def test_a_worker_that_fails_later_keeps_what_it_told(monkeypatch, code, more):
    out = '{"S": 1}\na line of a library\n{"S": 1, "L": 2}\n'
    done = subprocess.CompletedProcess([], code, out, "warning\nOutOfMemory\n" if code else "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert [*steps.in_turns(["-m", "m"], ["x"], [], 1)] == [("x", {"S": 1, "L": 2} | more)]
