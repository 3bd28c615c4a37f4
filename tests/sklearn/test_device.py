"""A backend whose arrays are not the host's: nothing is mixed, and the numbers are the same."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits

from nnx.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:300] / 16, Y[:300]


class DeviceArray(np.ndarray):
    """An array that refuses to compute with the host's."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **kwargs):
        arrays = [a for a in (*inputs, *out) if isinstance(a, np.ndarray) and a.ndim > 0]  # NumPy's sums are scalars
        assert all(type(a) is DeviceArray for a in arrays), f"{ufunc} of {list(map(type, arrays))}"
        plain = [a.view(np.ndarray) if isinstance(a, np.ndarray) else a for a in inputs]
        outs = {"out": tuple(a.view(np.ndarray) for a in out)} if out else {}
        return np.asarray(getattr(ufunc, method)(*plain, **outs, **kwargs)).view(DeviceArray)

    def __setitem__(self, key, value):
        assert isinstance(value, DeviceArray) or np.ndim(value) == 0, f"written to the device: {type(value)}"
        super().__setitem__(key, value)

    def __getitem__(self, key):
        return np.asarray(super().__getitem__(key)).view(DeviceArray)


def made(function):
    return lambda *args, **kwargs: function(*args, **kwargs).view(DeviceArray)


class DeviceBackend:
    name = "device"
    xp = SimpleNamespace(
        **{name: getattr(np, name) for name in np.__dict__ if not name.startswith("_")}
        | {
            name: made(getattr(np, name))
            for name in ("zeros", "zeros_like", "ones_like", "arange", "concat", "stack", "where")
        }
    )

    def to_device(self, host):
        assert type(host) is np.ndarray
        return host.copy().view(DeviceArray)

    def to_host(self, array):
        assert type(array) is DeviceArray
        return np.array(array)

    def matmul(self, a, b, *, out=None):
        return np.matmul(a, b) if out is None else np.matmul(a, b, out=out)

    def synchronize(self):
        pass

    def device_info(self):
        return {}

    @classmethod
    def unavailable(cls):
        return None


@pytest.mark.parametrize("rows", [X, sparse.csr_matrix(X)], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"early_stopping": True},
        {"solver": "lbfgs", "batch_norm": True},
        {"solver": "sgd", "dropout": 0.2, "batch_norm": True, "activation": "tanh"},
        {"class_weight": {3: 2.0}, "activation": "logistic"},
    ],
    ids=str,
)
def test_the_same_as_on_the_host(rows, settings):
    models = [
        MLPClassifier((12,), random_state=0, max_iter=3, backend=backend, **settings).fit(rows, Y)
        for backend in ("numpy", DeviceBackend())
    ]
    assert all(type(array) is np.ndarray for array in models[1]._weights())
    np.testing.assert_allclose(models[1].predict_proba(rows), models[0].predict_proba(rows), atol=1e-9)
    if settings.get("solver") == "lbfgs" or settings.get("early_stopping"):
        return
    for model in models:
        model.coefs_[0] *= 2  # a copy of the device's: taken over by the next step
        model.partial_fit(rows, Y)
    for a, b in zip(models[0]._weights(), models[1]._weights(), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-9)


def test_several_outputs_and_pickles():
    targets = X[:, 20:23]
    models = [
        MLPRegressor(hidden_layer_sizes=(12,), random_state=0, max_iter=3, backend=b).fit(X, targets)
        for b in ("numpy", DeviceBackend())
    ]
    np.testing.assert_allclose(models[1].loss_curve_, models[0].loss_curve_, rtol=1e-9)
    copies = [pickle.loads(pickle.dumps(model)).partial_fit(X, targets) for model in models]
    np.testing.assert_allclose(copies[1].predict(X), copies[0].predict(X), atol=1e-9)
