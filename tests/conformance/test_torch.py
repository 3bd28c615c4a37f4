"""PyTorch's tensors as a backend, examples/backends/nnx_torch: the kit passes, and a command trains."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnx
from nnx import testing

from .conftest import install

pytest.importorskip("torch")
pytest.importorskip("array_api_compat")

SOURCE = Path(__file__).parents[2] / "examples" / "backends" / "nnx_torch"
IMAGES = Path(nnx.datasets.__file__).parent / "data" / "digits-images-idx3-ubyte.gz"


@pytest.fixture
def backend() -> Any:
    spec = importlib.util.spec_from_file_location("nnx_torch", SOURCE / "nnx_torch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TorchBackend()


def test_the_kit_passes_trainings_among_it(backend):
    report = testing.run(backend)
    assert report.ok, str(report)
    assert report.explanation.fused == ("philox", "dropout")
    assert sum(result.check.op == "training" for result in report.results) == 2 * len(testing.training.CHECKS)


def test_layers_of_ones_own_draw_the_same_numbers(backend):
    class Noise(nnx.Layer):
        random = True

        def forward(self, x, train_flg=True):
            return x + self.uniform(x.shape)

        def backward(self, dout):
            return dout

    def losses(backend):
        trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(3), Noise(), nnx.Affine(2)), "sgd", "mse", backend=backend)
        x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5)
        return [trainer.step(x, x[:, :2]) for _ in range(3)]

    np.testing.assert_allclose(losses(backend), losses("numpy"), rtol=1e-5)


def test_installed_it_trains_predicts_and_resumes_from_the_command_line(run_python, tmp_path):
    site = tmp_path / "site"
    install(SOURCE, site)
    settings = ("--backend", "torch", "--batchnorm", "--dropout", "0.1", "--hidden", "20", "--out", "run")
    done = run_python("-m", "nnx", "train", "--epochs", "1", *settings, path=(site,))
    assert done.returncode == 0, done.stderr
    assert "backend torch (asked for by backend=): device CPU, torch " in " ".join(done.stdout.split())
    assert "test accuracy 0." in done.stdout
    resumed = run_python("-m", "nnx", "train", "--resume", "--out", "run", "--backend", "torch", path=(site,))
    assert resumed.returncode == 0, resumed.stderr
    predicted = run_python("-m", "nnx", "predict", "run", str(IMAGES), "--backend", "torch", path=(site,))
    assert predicted.returncode == 0, predicted.stderr
