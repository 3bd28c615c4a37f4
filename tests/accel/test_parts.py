"""Which parts of a module are taken for the book's, and what takes the places of those that compute something else."""

import ast
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from known import states_of

import nnx
from nnx import book
from nnx.accel import _adapters, _printings
from nnx.accel._finder import BOOK
from nnx.accel._parts import look

HERE = Path(__file__).parent
LIBRARY = HERE / "library"


def load(path, name):
    """A module's own, executed as an import does."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def layers(tmp_path, monkeypatch):
    """Executes the library's `common.layers` with a change; gives what is found out, by name."""
    states = states_of(LIBRARY)
    monkeypatch.setattr(_printings, "published", lambda: states)
    monkeypatch.syspath_prepend(LIBRARY)
    for name in ("common", "common.functions"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    def found(old="", new="", text=None, **given):
        text = text or (LIBRARY / "common" / "layers.py").read_text(encoding="utf-8")
        assert old in text
        path = tmp_path / "layers.py"
        path.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
        functions = importlib.import_module("common.functions")
        own = {name: [getattr(functions, name)] for name in ("softmax", "cross_entropy_error")} | given
        return look(load(path, "common.layers"), own)

    yield found
    for name in ("common", "common.functions"):
        sys.modules.pop(name, None)


def test_the_library_is_known(layers):
    found = layers()
    assert found.alone == {}
    assert {"Affine", "Relu", "Convolution", "SoftmaxWithLoss"} <= found.known.keys()


ALIKE = {
    "comments": ("        self.mask = x <= 0\n", "        self.mask = x <= 0  # where\n\n\n"),
    "a docstring": ("class Relu:\n", 'class Relu:\n    """max(x, 0)"""\n\n'),
    "layout": ("np.where(self.mask, 0, x)", "np.where(\n            self.mask,\n            0, x)"),
    "another class": ("class Relu:", "class Swish:\n    pass\n\n\nclass Relu:"),
}


@pytest.mark.parametrize("change", ALIKE)
def test_how_it_is_written_does_not_count(layers, change):
    assert layers(*ALIKE[change]).alone == {}


OTHER = "not as in any published state"
CHANGES = {
    "a formula": ("x <= 0", "x < 0", {"Relu": OTHER}),
    "a constant": ("np.where(self.mask, 0, x)", "np.where(self.mask, 1, x)", {"Relu": OTHER}),
    "a default": ("dropout_ratio=0.5", "dropout_ratio=0.4", {"Dropout": OTHER}),
    "a line printed": ("        self.mask = x <= 0\n", "        self.mask = print(x) or x <= 0\n", {"Relu": OTHER}),
    "a base": ("class Relu:", "class Relu(dict):", {"Relu": OTHER}),
    "a decorator": ("    def forward(self, x):", "    @staticmethod\n    def forward(self, x):", {"Relu": OTHER}),
    "a helper": ("x.astype(float)", "x.astype('f4')", {"Convolution": "uses _windows", "Pooling": "uses _windows"}),
    "a method afterwards": ("class Affine:", "Relu.forward = abs\n\n\nclass Affine:", {"Relu": "changed after"}),
    "a class afterwards": ("class Affine:", "Relu = dict\n\n\nclass Affine:", {"Relu": OTHER}),
    "another definition": ("class Affine:", "if 1:\n    class Relu: 0\n\n\nclass Affine:", {"Relu": "changed after"}),
    "a derived class": ("class Affine:", "class Mine(Relu): 0\n\n\nclass Affine:", {"Relu": "Mine is derived"}),
    "another function": (
        "class Relu:", "def softmax(x):\n    return x\n\n\nclass Relu:", {"SoftmaxWithLoss": "uses softmax, which is"}
    ),
    "another builtin": ("class Relu:", "len = abs\n\n\nclass Relu:", {"Affine": "uses len", "Convolution": "uses len"}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_computes_something_else_is_left_alone(layers, change):
    old, new, reasons = CHANGES[change]
    found = layers(old, new)
    for name, reason in reasons.items():
        assert found.alone[name].startswith(reason)
    rest = {"Relu", "Affine", "SoftmaxWithLoss", "Dropout", "Convolution", "Pooling"} - found.alone.keys()
    assert len(rest) >= 2
    assert rest <= found.known.keys()


def test_another_array_library_and_a_missing_import(layers):
    text = (LIBRARY / "common" / "layers.py").read_text(encoding="utf-8")
    found = layers(text=text.replace("class Relu:", "import math as np\n\n\nclass Relu:"))
    assert set(found.alone.values()) >= {"uses np, which is not the book's"}
    assert "Relu" not in found.known
    text = text.replace("import numpy as np\n", "").replace("from common.functions import *", "from math import *")
    assert layers(text=text).alone["Relu"] == "uses np, which is not there"


def test_a_fingerprint_is_the_same_on_every_python():
    text = "def f(x, *, k='a'):\n    'doc'\n    return [x[1:2] + 1.5, f'{k}', None, lambda: -x]  # and so on\n"
    assert _printings.fingerprint(ast.parse(text).body[0]) == "663df94f52dc"


def test_every_state_has_something_that_stands_for_it():
    for module, names in _printings.published().items():
        own = importlib.import_module(BOOK.get(module, "nnx.accel"))
        for name, states in names.items():
            for key, state in states.items():
                assert len(key) == 12
                if state.by:
                    assert callable(getattr(_adapters, state.by))
                elif not (state.alone or name.startswith("_")):
                    assert hasattr(own, name) or module == "dataset.mnist", name


# What stands for older states --------------------------------------------------------------------------------------


def mine(*_args):
    return "mine"


def test_older_functions():
    assert _adapters.sum_squared_error(None, mine) is book.functions.sum_squared_error
    softmax = _adapters.softmax_of_rows(None, mine)
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(softmax(x), book.functions.softmax(x))
    assert softmax(x[None]) == "mine"
    assert _adapters.numerical_gradient(None, mine)(np.sum, x) == "mine"


def test_older_classes(tmp_path):
    module = sys.modules[__name__]
    pooling = _adapters.pooling_of_stride_1(module, None)
    assert issubclass(pooling, book.layers.Pooling)
    assert (pooling.__module__, pooling.__qualname__) == (__name__, "Pooling")
    assert pooling(2, 2).stride == 1
    assert pooling(2, 2, stride=2).stride == 2
    network = _adapters.multi_layer_net_extend_of_capitals(module, None)(4, [3], 2)
    x, t = np.ones((5, 4)), np.zeros(5, int)
    assert network.accuracy(X=x, T=t) in (0.0, 1.0)
    assert network.numerical_gradient(X=x, T=t).keys() == network.params.keys()


def test_a_network_that_has_its_parameters_beside_its_module(tmp_path):
    (tmp_path / "simple_convnet.py").write_text("class SimpleConvNet: pass\n", encoding="utf-8")
    module = load(tmp_path / "simple_convnet.py", "simple_convnet")
    cls = _adapters.network_beside_its_parameters(module, module.SimpleConvNet)
    network, other = cls((1, 8, 8), SETTINGS, 5, 4), cls((1, 8, 8), SETTINGS, 5, 4)
    network.save_params(tmp_path / "p.pkl")
    other.load_params("p.pkl")
    np.testing.assert_array_equal(other.params["W1"], network.params["W1"])


def two_layers():
    r = np.random.default_rng(0)
    return {"W1": r.normal(size=(784, 30)), "b1": np.zeros(30), "W2": r.normal(size=(30, 4)), "b2": np.zeros(4)}


class TwoLayers:
    """A network of two layers of a script's own, as chapter 5 has one."""

    def __init__(self, first=book.layers.Affine):
        self.params = two_layers()
        self.layers = {
            "Affine1": first(self.params["W1"], self.params["b1"]),
            "Relu1": book.layers.Relu(),
            "Affine2": book.layers.Affine(self.params["W2"], self.params["b2"]),
        }
        self.lastLayer = book.layers.SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        return self.lastLayer.forward(self.predict(x), t)

    def accuracy(self, x, t):
        labels = t if t.ndim == 1 else t.argmax(axis=1)
        return np.sum(np.argmax(self.predict(x), axis=1) == labels) / float(x.shape[0])

    def gradient(self, x, t):
        self.loss(x, t)
        dout = self.lastLayer.backward(1)
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)
        return {f"{name}{i}": getattr(self.layers[f"Affine{i}"], f"d{name}") for i in (1, 2) for name in "Wb"}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_images_gradient_that_nobody_gets_is_not_computed(backend, dtype, monkeypatch):
    r = np.random.default_rng(1)
    x, t = r.random((600, 784)).astype(dtype), r.integers(0, 4, 600)
    adapted = _adapters.network_of_two_layers(sys.modules[__name__], TwoLayers)
    with nnx.use_backend(backend):
        for targets in (t, np.eye(4)[t]):
            network, theirs = adapted(), TwoLayers()
            planned = network.gradient(x[:100], targets[:100])
            assert network.accuracy(x, targets) == theirs.accuracy(x, targets)
            with monkeypatch.context() as patch:
                patch.setattr(network.layers["Affine1"], "backward_to_parameters", counted := Counted(network), False)
                got, wanted = network.gradient(x[:100], targets[:100]), theirs.gradient(x[:100], targets[:100])
            assert counted.calls == 1
            for name, gradient in wanted.items():
                np.testing.assert_allclose(got[name], gradient, rtol=1e-12)
                np.testing.assert_allclose(planned[name], gradient, rtol=1e-9, atol=1e-12)
            assert network.accuracy(x, targets) == theirs.accuracy(x, targets)


class Counted:
    def __init__(self, network):
        self.calls, self._do = 0, network.layers["Affine1"].backward_to_parameters

    def __call__(self, dout):
        self.calls += 1
        self._do(dout)


def test_a_layer_of_ones_own_below_gets_its_gradient():
    class Own(book.layers.Affine):
        def backward(self, dout):
            self.seen = dout
            return super().backward(dout)

    network = _adapters.network_of_two_layers(sys.modules[__name__], TwoLayers)(Own)
    x, t = np.random.default_rng(1).random((100, 784)), np.zeros(100, int)
    with nnx.use_backend("numpy"):
        grads = network.gradient(x, t)
    assert network.layers["Affine1"].seen.shape == (100, 30)
    assert grads["W1"].shape == (784, 30)


def test_what_depends_on_other_images_is_predicted_at_once():
    network = _adapters.network_of_two_layers(sys.modules[__name__], TwoLayers)()
    network.layers["Norm"], seen = book.layers.BatchNormalization(np.ones(4), np.zeros(4)), []
    forward = network.layers["Affine1"].forward
    network.layers["Affine1"].forward = lambda x: seen.append(len(x)) or forward(x)
    with nnx.use_backend("numpy"):
        network.accuracy(np.random.default_rng(1).random((600, 784)), np.zeros(600, int))
    assert seen == [600]


class WithoutLayers:
    """A network of two layers of a script's own, as chapter 4 has one."""

    def __init__(self):
        self.params = two_layers()

    def _passed(self, x):
        p = self.params
        z = 1 / (1 + np.exp(-(np.dot(x, p["W1"]) + p["b1"])))
        return z, book.functions.softmax(np.dot(z, p["W2"]) + p["b2"])

    def predict(self, x):
        return self._passed(x)[1]

    def accuracy(self, x, t):
        return np.sum(np.argmax(self.predict(x), axis=1) == np.argmax(t, axis=1)) / float(x.shape[0])

    def gradient(self, x, t):
        z, y = self._passed(x)
        dy = (y - t) / x.shape[0]
        da = (1.0 - z) * z * np.dot(dy, self.params["W2"].T)
        return {"W1": np.dot(x.T, da), "b1": da.sum(axis=0), "W2": np.dot(z.T, dy), "b2": dy.sum(axis=0)}


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_without_layers(backend, dtype):
    r = np.random.default_rng(1)
    x, t = r.random((600, 784)).astype(dtype), np.eye(4)[r.integers(0, 4, 600)]
    adapted = _adapters.network_without_layers(sys.modules[__name__], WithoutLayers)
    ours, theirs = adapted(), WithoutLayers()
    with nnx.use_backend(backend):
        for n in (100, 100, 3, 100):
            found, wanted = ours.gradient(x[:n], t[:n]), theirs.gradient(x[:n], t[:n])
            assert list(found) == list(wanted)
            for name, gradient in wanted.items():
                np.testing.assert_allclose(found[name], gradient, rtol=1e-9, atol=1e-12)
            for network, gradients in ((ours, found), (theirs, wanted)):
                for name, gradient in gradients.items():
                    network.params[name] = network.params[name] - 0.1 * gradient  # another array in its place
            np.testing.assert_allclose(ours.predict(x[:n]), theirs.predict(x[:n]), rtol=1e-9)
        assert ours.accuracy(x, t) == theirs.accuracy(x, t)
        np.testing.assert_allclose(ours.predict(x[0]), theirs.predict(x[0]), rtol=1e-9)  # one image
        for network in (ours, theirs):
            with pytest.raises(ValueError, match="axis"):
                network.accuracy(x, t.argmax(axis=1))
            with pytest.raises(ValueError, match="aligned|mismatch"):
                network.gradient(x[:, :5], t)
    assert vars(ours).keys() == vars(theirs).keys()


SETTINGS = {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}


def test_the_tool_shows_what_is_not_known(tmp_path):
    shutil.copytree(LIBRARY / "common", tmp_path / "common", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, HERE / "printings.py", tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    assert "[common.layers] Relu." in done.stdout
    assert f"# {tmp_path / 'common' / 'optimizer.py'}" in done.stdout
