"""What is to be run on a GPU, run without one as far as that goes: an hour there is too dear for a slip in a script."""

import json
import os
import runpy

import pytest
from command_line import nnx_command
from gpu_script import BENCH, on_the_host, script
from host_cublaslt import HostCublasLt, HostCuda, HostGemm
from host_cupy import HostCudaDevice, Stream
from nnx_cupy import CupyBackend, _cublaslt
from threadpoolctl import threadpool_limits

import nnx
from nnx.bench import networks
from nnx.bench.networks import Network
from nnx.bench.report import Report
from nnx.ops._bind import Ops

pytestmark = pytest.mark.long


@pytest.fixture
def cupy(monkeypatch):
    return on_the_host(monkeypatch)


SMALL = {
    "copy_rate": (1000,),
    "adam_rate": (1000,),
    "cross_entropy_rate": (3, 300),
    **dict.fromkeys(("max_pooling_rate", "patches_rate", "convolution_rate"), (3, 4, 5)),
    "step_of_pictures": ((2, 3), 4),
}
"""Sizes for the functions that measure the kernels."""

# The kernels' figures -------------------------------------------------------------------------------------------------


def test_rates_are_bytes_by_seconds(cupy, monkeypatch):
    kernels, ops = script("kernels"), Ops(CupyBackend(HostCudaDevice()))
    monkeypatch.setattr(cupy.cuda, "get_elapsed_time", lambda begin, end: 2.0)  # milliseconds
    assert kernels.copy_rate(1000) == pytest.approx(8 * 1000 / 2e-3)
    assert kernels.adam_rate(ops, 1000) == pytest.approx(28 * 1000 / 2e-3)
    assert kernels.cross_entropy_rate(ops, 6, 300) == pytest.approx(8 * 6 * 300 / 2e-3)
    assert kernels.max_pooling_rate(ops, 3, 4, 5) == pytest.approx(5.25 * 3 * 4 * 4 * 5 / 2e-3)
    for back in (False, True):
        assert kernels.patches_rate(ops, 3, 4, 5, back=back) == pytest.approx(4 * (1 + 9) * 3 * 4 * 4 * 5 / 2e-3)
        products = (1 + back) * (3 * 4 * 4) * 5 * (9 * 5)  # places, filters, what lies under one
        assert kernels.convolution_rate(ops, 3, 4, 5, back=back) == pytest.approx(2 * products / 2e-3)
    assert ops.explain().declined == {}


def test_the_report_of_the_kernels(cupy, monkeypatch, tmp_path, capsys):
    kernels, backend = script("kernels"), CupyBackend(HostCudaDevice())
    monkeypatch.setattr(nnx, "get_backend", lambda name: backend)
    monkeypatch.setattr(kernels, "nnx_trainer", lambda net, name: networks.nnx_trainer(net, backend))
    monkeypatch.setattr(kernels, "NETWORKS", {"S": Network("S", (784, 5, 10), 4, "sgd")})
    monkeypatch.setattr(kernels, "PICTURES", Network("pictures", (784, 10), 2, "adam"))
    for name, sizes in SMALL.items():
        monkeypatch.setattr(getattr(kernels, name), "__defaults__", sizes)
    written = watch(monkeypatch)
    assert kernels.main(tmp_path / "kernels.json") == 0
    report = json.loads((tmp_path / "kernels.json").read_text())
    assert report == json.loads(capsys.readouterr().out)
    assert report["complete"] is True
    assert report["device"]["device"] == "a GPU on the host"
    assert report["shares of the copy"]["adam_"] == pytest.approx(28 / 8)
    step = report["steps"]["S"]
    # The host: a test asserts no times, but the device's are events', and the nodes are those of docs/gpu-status.md.
    assert step["host, s"] > 0
    assert step["device, s"] == pytest.approx(1e-3 / 200)
    assert step["nodes"] == 9
    assert report["steps"]["pictures"]["nodes"] == 35
    # After each figure the file held it.
    rates = ["copy", "adam_", "softmax_cross_entropy", "max_pooling", "patches", "patches_backward"]
    found = [list(r.get("bytes/s", {})) for r in written[:-1]]
    assert found == [[], [], *(rates[: k + 1] for k in range(len(rates))), rates, rates]
    assert list(report["operations/s"]) == ["convolution", "convolution_backward"]
    assert not any(r["complete"] for r in written[:-1])


def watch(monkeypatch):
    """What a report's file held after each writing."""
    written, write = [], Report.write

    def watched(self):
        write(self)
        written.append(json.loads(self._path.read_text()))

    monkeypatch.setattr(Report, "write", watched)
    return written


def test_a_figure_that_cannot_be_had_harms_no_other(cupy, monkeypatch, tmp_path):
    kernels, backend = script("kernels"), CupyBackend(HostCudaDevice())
    monkeypatch.setattr(nnx, "get_backend", lambda name: backend)
    monkeypatch.setattr(kernels, "NETWORKS", {})
    monkeypatch.setattr(kernels, "step_of_pictures", dict)
    for name in SMALL.keys() - {"step_of_pictures"}:
        monkeypatch.setattr(getattr(kernels, name), "__defaults__", SMALL[name])
    monkeypatch.setattr(kernels, "adam_rate", lambda ops: 1 / 0)
    assert kernels.main(tmp_path / "kernels.json") == 1
    report = json.loads((tmp_path / "kernels.json").read_text())
    assert list(report["bytes/s"]) == ["copy", "softmax_cross_entropy", "max_pooling", "patches", "patches_backward"]
    assert "ZeroDivisionError" in report["failures"]["bytes/s: adam_"]


# cuBLASLt -------------------------------------------------------------------------------------------------------------


class Gemm(HostGemm):
    """On the stream that is current."""

    def __init__(self, **settings):
        lib = HostCublasLt(launch=lambda work: Stream.current().push(work))
        super().__init__(lib, HostCuda(), **settings)


@pytest.fixture
def check(cupy, monkeypatch):
    monkeypatch.setattr(_cublaslt, "library", HostCublasLt)
    monkeypatch.setattr(_cublaslt, "LtGemm", Gemm)
    module = script("cublaslt_check")
    monkeypatch.setattr(module, "SHAPES", [(4, 5, 6), (2, 2, 2)])
    monkeypatch.setattr(module, "OF_NETWORKS", 1)
    monkeypatch.setattr(cupy, "matmul", lambda *_: None, raising=False)  # work for another stream, large
    timed = module.microseconds
    monkeypatch.setattr(module, "microseconds", lambda record, *_: timed(record, 1, 1))
    with threadpool_limits(1):  # small products by many threads, on a busy machine, take minutes
        yield module


def test_the_check_of_cublaslt_finds_nothing_wrong(check, tmp_path, capsys):
    assert check.main(tmp_path / "cublaslt.json") == 0, capsys.readouterr().out
    report = json.loads((tmp_path / "cublaslt.json").read_text())
    assert report["failures"] == []
    assert {type(error) for errors in report["products"].values() for error in errors.values()} == {float}
    assert report["special_values"] == {"RELU_BIAS": {"zero": "0.0", "NaN": "0.0"}}
    assert report["repeatability"]["results"] == {"y": 1, "dw": 1, "dw and db": 1}
    assert report["steps"]["784-50-10, one stream"]["nodes"] == 8
    assert report["steps"]["784-50-10, one stream"]["the graph has the bits of launches"] is True


def test_the_check_of_cublaslt_tells_what_is_wrong(check, monkeypatch, tmp_path, capsys):
    compute = HostCublasLt._compute
    monkeypatch.setattr(HostCublasLt, "_compute", lambda self, p, scalars, *rest: compute(self, p, (1.1, 0), *rest))
    assert check.main(tmp_path / "cublaslt.json") == 1
    failures = json.loads((tmp_path / "cublaslt.json").read_text())["failures"]
    assert "float32 to float32, 4x5x6: BIAS" in failures
    assert f"{len(failures)} failures: " in capsys.readouterr().out


def test_a_call_that_is_refused_ends_nothing_else(check, monkeypatch, tmp_path, capsys):
    """LtError of one epilogue, wherever it is asked for: the others of the shape, and all other parts, are there."""
    affine_dw = Gemm.affine_dw

    def refusing(self, x, dy, out, *, db=None):
        if db is not None:
            raise _cublaslt.LtError("cublasLtMatmulAlgoGetHeuristic: CUBLAS_STATUS_INVALID_VALUE")
        return affine_dw(self, x, dy, out)

    monkeypatch.setattr(Gemm, "affine_dw", refusing)
    written = watch(monkeypatch)
    assert check.main(tmp_path / "cublaslt.json") == 1, capsys.readouterr().out
    report = json.loads((tmp_path / "cublaslt.json").read_text())
    refused = "LtError: cublasLtMatmulAlgoGetHeuristic: CUBLAS_STATUS_INVALID_VALUE"
    errors = report["products"]["float32 to float32, 4x5x6"]
    assert {name for name, error in errors.items() if error == refused} == {"BGRADA"}
    assert errors["dw"] < 1e-5
    assert report["nodes"]["4x5x6, dw and db"] == refused
    assert isinstance(report["nodes"]["4x5x6, dw and db, TF32"], str)
    assert isinstance(report["nodes"]["4x5x6, dw, TF32"], float)
    assert report["repeatability"]["results"] == {"y": 1, "dw": 1, "dw and db": refused}
    assert report["steps"]["784-50-10, one stream"] == refused
    assert "float32 to float32, 4x5x6: BGRADA: LtError" in report["failures"]
    # The file was written anew after each.
    assert len(written) > len(report["products"]) + len(report["nodes"])
    assert not any(r["complete"] for r in written[:-1])
    assert report["complete"] is True


# The sanitizers' run --------------------------------------------------------------------------------------------------


def test_our_kernels_alone_pass_the_kit(cupy, monkeypatch, capsys):
    own_kernels = script("own_kernels")
    assert own_kernels.OPERATIONS == nnx.ops.spec.OPERATIONS
    few = ("take", "affine", "affine_backward", "batch_norm", "softmax_cross_entropy", "narrow", "clip_", "capture")
    monkeypatch.setattr(own_kernels, "OPERATIONS", few)
    assert own_kernels.main() == 0, capsys.readouterr().out
    assert capsys.readouterr().out.splitlines() == [f"{op}: passed" for op in few]


def test_as_a_script_it_has_no_pool(cupy, monkeypatch):
    """CuPy's pool rounds up, and hides what reaches behind an array's end."""
    calls = []
    monkeypatch.setattr(cupy.cuda, "set_allocator", calls.append, raising=False)
    monkeypatch.setattr("nnx_cupy.CupyBackend", lambda device: calls.append("backend"))
    monkeypatch.setattr("nnx_cupy._device.CudaDevice.__init__", lambda self: calls.append("device"))
    monkeypatch.setattr("nnx.ops.spec.OPERATIONS", ())
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(BENCH / "gpu" / "own_kernels.py"), run_name="__main__")
    assert end.value.code == 0
    assert calls == [None, "device", "backend"]


# The figures ---------------------------------------------------------------------------------------------------------


def test_clocks_are_in_the_json(tmp_path, monkeypatch, capsys):
    from nnx.bench.clocks import gpu_clocks

    row = "NVIDIA H200, 1980 MHz, 1980 MHz, 3201 MHz, 3201 MHz, 118.37 W, 34"
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{row}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script = tmp_path / "nothing.py"
    script.write_text("")
    status = nnx_command("bench", script, "--backends", "numpy", "--rounds", 1, "--json", tmp_path / "b.json")
    assert status == 0, capsys.readouterr().err
    (clocks,) = json.loads((tmp_path / "b.json").read_text())["clocks"]
    assert clocks["name"] == "NVIDIA H200"
    assert clocks["clocks.sm"] == "1980 MHz"
    assert clocks["temperature.gpu"] == "34"
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert gpu_clocks() == []
