"""bench/compare.py: the peers compute what nnx computes, beside nnx's backends, into one report."""

import json
import re
import subprocess
import sys

import compare
import pytest
from peers import ops, steps

from nnx.bench import crossover, overhead, run
from nnx.bench import steps as own_steps
from nnx.bench.networks import Network, batches

SMALL = Network("S", (784, 5, 10), 4, "sgd")


def test_all_is_compared_in_one_run(monkeypatch, tmp_path, capsys):
    """What is measured takes no time here; which worker is asked for which candidates is real."""
    asked = []

    def in_turns(worker, names, arguments, rounds):
        asked.append((worker, arguments))
        for name in names:
            row = {"S": {"first": 1.0, "warm": 2.0}} if arguments else {"adam_": 3.0}
            yield name, {"error": "out of memory"} if name == "scikit-learn" else row

    for module in (compare, own_steps):
        monkeypatch.setattr(module, "in_turns", in_turns)
    for name in ("product_rate", "triad_rate"):
        monkeypatch.setattr(run, name, lambda: 1e9)
    monkeypatch.setattr(run, "run_ops", lambda name, rates: [])
    monkeypatch.setattr(crossover, "run_crossover", lambda *_: {"rows_per_second": {}, "sentences": []})
    monkeypatch.setattr(overhead, "run_overhead", lambda name: {"step": 1e-6, "fit": 1e-6})
    monkeypatch.setattr(steps.importlib.util, "find_spec", lambda name: name in ("numpy", "torch", "sklearn"))
    path = tmp_path / "c.json"
    compare.main(["--backends", "numpy", "--networks", "S", "--json", str(path), "--png", str(tmp_path / "c.png")])
    report = json.loads(path.read_text())
    assert report["complete"] is True
    assert {"rates", "ops", "op_peers", "steps", "crossover", "overhead"} <= report.keys()
    assert list(report["steps"]["S"]) == ["numpy", "hand-written NumPy", "PyTorch", "torch.compile"]
    assert report["failed"] == {"scikit-learn": "out of memory"}
    assert list(report["op_peers"]["adam_"]) == ["numpy", "PyTorch", "torch.compile"]
    assert asked == [([ops.__file__], []), ([steps.__file__], ["S"])]
    assert (tmp_path / "c.png").exists()
    assert "scikit-learn: failed: out of memory" in capsys.readouterr().out


def test_a_mistake_is_one_message():
    with pytest.raises(SystemExit, match="compare.py: --networks: got 'X', expected some of S, L, M, M16"):
        compare.main(["--networks", "X"])


def test_a_worker_tells_of_peers_and_backends():
    for name in ("hand-written NumPy", "numpy"):
        steps.candidate(name, SMALL, batches(SMALL, 1)).run(0)


def test_peers_without_mixed_precision_leave_it_out(monkeypatch):
    monkeypatch.setattr(steps, "times", lambda make, networks: networks)
    assert steps.worker("hand-written NumPy", ["S", "M16"]) == ["S"]
    assert steps.worker("PyTorch", ["S", "M16"]) == ["S", "M16"]


@pytest.mark.slow
def test_the_workers_run_as_scripts():
    for worker in (ops, steps):
        done = subprocess.run([sys.executable, worker.__file__], capture_output=True, text=True, check=False)
        assert "IndexError" in done.stderr  # no candidate is named; all that they import is there


def test_pytorch_takes_no_tf32():
    torch = pytest.importorskip("torch")
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        steps.candidate("PyTorch", SMALL, batches(SMALL, 1)).run(0)
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("precision", "highest"), [("float32", 5), ("bfloat16", 0)])
def test_jax_takes_no_tf32(monkeypatch, precision, highest):
    """All products of a step of two layers: two forward, three backward."""
    jax = pytest.importorskip("jax")
    pytest.importorskip("optax")
    seen, jit = [], jax.jit

    def recording(function, **options):
        def run(*arguments):
            seen.append(str(jax.make_jaxpr(function)(*arguments)))
            return jit(function, **options)(*arguments)

        return run

    monkeypatch.setattr(jax, "jit", recording)
    net = Network("S", (784, 5, 10), 4, "sgd", precision)
    steps.candidate("JAX jit", net, batches(net, 1)).run(0)
    step = next(text for text in seen if "dot_general" in text)
    assert step.count("dot_general[") == 5
    assert len(re.findall(r"precision=\(Precision\.HIGHEST, Precision\.HIGHEST\)", step)) == highest


@pytest.mark.parametrize(
    ("backends", "expected"),
    [(["cupy"], {"GPU"}), (["cupy", "numba"], {"GPU", "CPU"}), (["numba"], {"CPU"})],
)
def test_peers_run_where_the_backends_do(backends, expected, monkeypatch):
    monkeypatch.setattr(steps.importlib.util, "find_spec", lambda name: True)
    found = steps.installed_peers(backends)
    assert {"GPU" if name in steps.GPU_PEERS else "CPU" for name in found} == expected
