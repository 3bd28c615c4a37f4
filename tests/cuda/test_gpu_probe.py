"""The first questions to a GPU, bench/gpu/probe.py: what it takes for a good answer, and what for a bad one."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from gpu_script import on_the_host, script
from host_cupy import Graph, HostCudaDevice
from nnx_cupy import CupyBackend
from threadpoolctl import threadpool_limits

import nnx
from nnx.bench import networks
from nnx.bench.networks import Network

pytestmark = pytest.mark.slow


@pytest.fixture
def cupy(monkeypatch):
    return on_the_host(monkeypatch)


@pytest.fixture
def probe(cupy, monkeypatch):
    backend = CupyBackend(HostCudaDevice())
    module = script("probe")
    monkeypatch.setattr(nnx, "get_backend", lambda name: backend)
    trainer, named = nnx.Trainer, {"cupy": backend}
    monkeypatch.setattr(nnx, "Trainer", lambda *a, backend, **k: trainer(*a, backend=named.get(backend, backend), **k))
    monkeypatch.setattr(module, "nnx_trainer", lambda net, name: networks.nnx_trainer(net, backend))
    monkeypatch.setattr(cupy.cuda.runtime, "deviceSynchronize", lambda: None, raising=False)
    monkeypatch.setattr(CupyBackend, "unavailable", staticmethod(lambda: None))
    with threadpool_limits(1):
        yield module


def test_good_answers(probe, monkeypatch, capsys):
    monkeypatch.setattr(probe, "KINDS", ({"dtype": "float32"}, {"precision": "bfloat16"}))
    small = Network("S", (784, 5, 10), 4, "sgd")
    monkeypatch.setattr(probe, "NETWORKS", {"S": small})
    assert probe.main(["backend", "products", "nodes", "host"]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    assert "WRONG" not in said
    assert "a GPU on the host" in said
    assert "taken: {" in said
    assert re.search(r"S: host \d+\.\d us a step, device 6\.7 us a step, the graph alone 1000\.0 us", said)


def test_bad_answers(probe, cupy, monkeypatch, capsys):
    monkeypatch.setattr(probe, "KINDS", ({"dtype": "float32"},))
    monkeypatch.setattr(Graph, "debug_dot_str", lambda self: 'n [shape="record" label="MEMCPY"]')
    monkeypatch.setattr(probe._inside, "products", lambda backend: ({}, ["taken: this", "no algorithm: that"]))
    monkeypatch.setattr(CupyBackend, "unavailable", staticmethod(lambda: "no driver"))
    monkeypatch.setattr(probe, "nnx_trainer", lambda net, name: 1 / 0)
    assert probe.main(["backend", "products", "nodes", "host"]) == 1
    said = capsys.readouterr().out
    assert "backend: WRONG: the backend cannot run: no driver" in said
    assert "products: WRONG: no algorithm: that" in said
    assert said.count("products: WRONG") == 1
    assert "nodes: WRONG: {'dtype': 'float32'}: 1 copies in the graph" in said
    assert "host: WRONG: Traceback" in said
    assert probe.main(["nothing"]) == 2


@pytest.mark.parametrize(
    ("difference", "warned", "wrong"),
    [
        (1e-5, {"Scaled": ["UserWarning: not captured"], "CapturableScaled": ["CaptureWarning: refused"]}, []),
        (1e-5, {"Scaled": [], "CapturableScaled": ["UserWarning: slow"]}, ["nothing says", "nothing says"]),
        (0.5, {"Scaled": ["w"], "CapturableScaled": ["CaptureWarning: refused"]}, ["losses differ", "losses differ"]),
        (float("nan"), {"Scaled": ["w"], "CapturableScaled": ["CaptureWarning: "]}, ["losses differ"] * 2),
    ],
)
def test_what_is_asked_of_uploads(probe, monkeypatch, difference, warned, wrong):
    def losses_of(layer, backend):
        by_cupy = backend == "cupy"
        return [1.0, 1.0 + difference * by_cupy], warned[type(layer).__name__] if by_cupy else []

    monkeypatch.setattr(probe, "losses_of", losses_of)
    answer = probe.uploads()
    assert len(answer) == len(wrong)
    assert all(part in sentence for part, sentence in zip(wrong, answer, strict=True))


def test_the_uploading_layer_trains_and_counts(probe):
    """On the reference backend: what the GPU's losses are compared with depends on every upload."""
    losses, warned = probe.losses_of(layer := probe.Scaled(), "numpy")
    assert layer.calls == 300
    assert warned == []
    assert np.isfinite(losses).all()
    frozen = probe.Scaled()
    frozen.forward = lambda x, train_flg=True: probe.Scaled.forward(frozen, x, False)
    assert np.abs(np.subtract(losses, probe.losses_of(frozen, "numpy")[0])).max() > 10 * probe.ROUNDING


@pytest.mark.parametrize(("grows", "wrong"), [(0, 0), (64, 2)])
def test_what_is_asked_of_memory(probe, monkeypatch, grows, wrong):
    monkeypatch.setattr(probe, "trainer", lambda: SimpleNamespace(fit=lambda *a, **k: None))
    memory = iter(range(100, 10_000, grows) if grows else [100] * 4)
    monkeypatch.setattr(probe, "used", lambda: next(memory))
    assert len(probe.leaks()) == wrong
