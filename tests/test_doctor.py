"""`nnx doctor` on machines of every kind."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from command_line import nnx_command
from plugins import Entry

import nnx
from nnx import doctor
from nnx.doctor import Machine, advice
from nnx.ops._bind import Ops
from nnx.testing import _kit

FINE = Machine({}, frozenset({"avx2", "avx512f"}), 4, 8e9, frozenset({"numpy", "cupy-cuda13x"}))
NUMPY = type(nnx.get_backend("numpy"))


@pytest.mark.parametrize(
    ("change", "infos", "expected"),
    [
        ({}, [{"blas threads": "4"}], None),
        (
            {"variables": {"OPENBLAS_CORETYPE": "Haswell"}},
            [],
            "has AVX-512, and products may run at half speed. Unset it",
        ),
        ({"variables": {"OPENBLAS_CORETYPE": "Zen"}, "flags": frozenset()}, [], "which processor this is. Unset it"),
        ({"variables": {"OPENBLAS_L2_SIZE": "512"}}, [], "OPENBLAS_L2_SIZE=512 replaces the cache size"),
        ({"variables": {"OMP_NUM_THREADS": "1"}}, [], "OMP_NUM_THREADS=1 leaves 3 of 4 cores idle"),
        ({"variables": {"NNX_NUM_THREADS": "4"}}, [], None),
        ({"variables": {"NVIDIA_TF32_OVERRIDE": "1"}}, [], "changes the precision of every product"),
        ({"cores": 1.5}, [{"blas threads": "4"}], "BLAS runs 4 threads on 1.5 cores.*Set NNX_NUM_THREADS=1"),
        ({"memory": 0.25 * 2**30}, [], "only 0.25 GiB of memory"),
        ({"memory": None}, [], None),
        (
            {"packages": frozenset({"cupy-cuda12x", "cupy-cuda13x"})},
            [],
            "CuPy packages .*12x, cupy-cuda13x.*all but one",
        ),
        ({}, [{"kernel cache": "no"}], "set NUMBA_CACHE_DIR"),
    ],
)
def test_advice(change, infos, expected):
    found = advice(replace(FINE, **change), infos)
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        with pytest.raises(AssertionError, match=expected):
            raise AssertionError(found[0])


def test_texts_of_the_system():
    assert doctor.cpu_flags("processor: 0\nflags\t\t: fpu avx2 avx512f\n") == {"fpu", "avx2", "avx512f"}
    assert doctor.cpu_flags("") == frozenset()
    assert [doctor.cpu_quota(text) for text in ("150000 100000\n", "max 100000\n", "")] == [
        1.5,
        float("inf"),
        float("inf"),
    ]
    meminfo = "MemTotal: 9 kB\nMemAvailable:   2048 kB\n"
    assert doctor.memory_limit("max\n", meminfo) == 2 * 2**20
    assert doctor.memory_limit("1000\n", meminfo) == 1000
    assert doctor.memory_limit("", "") is None


class Wrong(NUMPY):
    name = "wrong"

    def activation(self, formula, x, *, out=None):
        return np.maximum(x, 1, out=out)


class NoDriver(NUMPY):
    @classmethod
    def unavailable(cls):
        return "no NVIDIA driver was found; install one"


@pytest.fixture
def backends(install_only):
    return lambda **targets: install_only(*(Entry(name, target, name, None) for name, target in targets.items()))


@pytest.fixture(params=["float32", pytest.param("both dtypes", marks=pytest.mark.long)])
def kit(request, monkeypatch):
    """The conformance kit: in double precision it takes as long again."""
    whole = _kit._all
    if request.param == "float32":
        monkeypatch.setattr(_kit, "_all", lambda: (check for check in whole() if "float64" not in check.id))


def run(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        return nnx_command("doctor", *arguments)


@pytest.mark.slow
@pytest.mark.usefixtures("kit")
def test_a_machine_without_cupy_and_with_a_broken_plugin(backends, capsys):
    backends(numpy=NUMPY, cupy=NoDriver, broken=ImportError("no zzz"))
    assert run() == 0
    out = capsys.readouterr().out
    assert "cannot run here: no NVIDIA driver was found; install one" in out
    assert "its plugin, from broken, is broken: ImportError: no zzz" in out
    assert "used now: numpy (chosen automatically: the best that can run here" in out
    assert out.count("PASS") == len(("required", "training")) + len(nnx.ops.OPERATIONS)
    assert "FAIL" not in out
    for word in ("required", "training", "fused", "ms", "declined"):
        assert re.search(rf"^{word}: .* [a-z]+", out, re.MULTILINE) or f"; {word}: " in out, "each word is explained"
    assert "all is well" in out


@pytest.mark.slow
def test_a_wrong_operation_fails(backends, capsys):
    backends(numpy=Wrong)
    assert run() == 1
    out = capsys.readouterr().out
    failed = re.findall(r"^ *(\w+) +FAIL", out, re.MULTILINE)
    # What is composed of it, too, and its backward, by the numerical gradient. Trainings are compared with those of the
    # backend that is called numpy, which is this one, unless they were done before.
    assert sorted({*failed} - {"training"}) == ["activation", "activation_backward", "affine", "convolution", "narrow"]
    assert "FAIL activation[float32-" in out
    assert "not well" in out


@pytest.mark.long
def test_a_misspelt_operation_is_noted(backends, capsys):
    composed = next(name for name in Ops(NUMPY()).explain().composed if len(name) > 5)
    backends(numpy=type("Misspelt", (NUMPY,), {composed + "s": lambda self: None}))
    assert run() == 0
    note = f"note: it has a method '{composed}s', which nothing calls; did you mean the operation {composed}?"
    assert note in capsys.readouterr().out


def test_the_list_of_backends_keeps_the_brackets_of_what_to_install(backends, capsys, monkeypatch):
    class NoPackage(NUMPY):
        @classmethod
        def unavailable(cls):
            return "install with: pip install 'nnx-array[cuda12]'"

    backends(numpy=NUMPY, cupy=NoPackage)
    monkeypatch.setenv("COLUMNS", "200")
    assert nnx_command("backends") == 0
    assert "pip install 'nnx-array[cuda12]'" in capsys.readouterr().out


@pytest.mark.long
def test_the_backend_asked_for_cannot_run(backends, capsys, monkeypatch):
    backends(numpy=NUMPY, cupy=NoDriver)
    monkeypatch.setenv("NNX_BACKEND", "cupy")
    assert run("--backend", "numpy") == 0
    assert run("--json") == 1
    capsys.readouterr()


@pytest.mark.long
@pytest.mark.usefixtures("kit")
def test_json(backends, capsys, monkeypatch):
    backends(numpy=NUMPY, cupy=NoDriver)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert run("--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert {b["name"]: b["reason"] for b in document["backends"]}["numpy"] is None
    assert [w for w in document["warnings"] if w.startswith("OPENBLAS_CORETYPE=Haswell")]
    ops = {op["op"]: op for op in document["backends"][-1]["ops"]} or {
        op["op"]: op for op in document["backends"][0]["ops"]
    }
    assert ops["update_"]["how"] == "fused"
    assert ops["update_"]["passed"]


def test_unknown_backend(backends, capsys):
    backends(numpy=NUMPY)
    assert run("--backend", "nunpy") == 1
    assert "Did you mean 'numpy'" in capsys.readouterr().err
