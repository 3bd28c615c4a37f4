"""`nnx run` and the scripts of the book's chapters on convolution: the same numbers as without it.

`library` is a package of the book's interface, and `SCRIPTS` do what the book's scripts do, both in words of their own.
"""

# ruff: noqa: NPY002  the book's generator
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnx import accel
from nnx.accel._networks import network_difference
from nnx.book import deep_convnet, simple_convnet
from nnx.datasets import write_idx

LIBRARY = Path(__file__).parent / "library"
START = "import sys, os\nsys.path.append(os.pardir)\nimport numpy as np\nnp.random.seed(0)\n"
DATA = START + "from dataset.mnist import load_mnist\n(x, t), (x_test, t_test) = load_mnist(flatten=False)\n"
SHOW = """
def show(what, values):
    print(what, *(repr(float(v)) for v in np.asarray(values, float).ravel()))
"""
SMALL_DEEP = (
    "*({'filter_num': n, 'filter_size': 3, 'pad': 2 if n == 4 else 1, 'stride': 1} for n in (2, 3, 3, 4, 3, 64))"
)

SCRIPTS = {
    "ch07": f"""{DATA}{SHOW}
from simple_convnet import SimpleConvNet
from common.trainer import Trainer

# Training, as train_convnet.
network = SimpleConvNet(conv_param={{'filter_num': 5, 'filter_size': 5, 'pad': 0, 'stride': 1}}, hidden_size=20)
trainer = Trainer(network, x, t, x_test, t_test, epochs=3, mini_batch_size=20, optimizer='Adam',
                  optimizer_param={{'lr': 0.01}}, evaluate_sample_num_per_epoch=100)
trainer.train()
show('accuracies', trainer.train_acc_list + trainer.test_acc_list + [network.accuracy(x_test, t_test, 7)])
network.save_params('trained.pkl')

# The filters before and after, as visualize_filter.
other = SimpleConvNet(conv_param={{'filter_num': 5, 'filter_size': 5, 'pad': 0, 'stride': 1}}, hidden_size=20)
show('filters', other.params['W1'][:2])
other.load_params('trained.pkl')
show('filters', other.params['W1'])
show('scores', other.predict(x_test))
kept = other.layers['Conv1']
show('layers', [kept.x.sum(), kept.W.sum(), other.layers['Affine2'].x.sum(), other.layers['Pool1'].arg_max.sum()])

# The gradients, as gradient_check.
network = SimpleConvNet((1, 8, 8), {{'filter_num': 3, 'filter_size': 3, 'pad': 0, 'stride': 1}}, 5, 4, 0.1)
one, label = np.random.rand(1, 1, 8, 8), np.array([1]).reshape(1, 1)
analytic, numerical = network.gradient(one, label), network.numerical_gradient(one, label)
for key, value in numerical.items():
    show(key, analytic[key])
    print(key, np.allclose(value, analytic[key], atol=1e-6))

# The layers by hand, as apply_filter and the sections before it.
from common.layers import Convolution, Pooling, Relu
image = np.random.rand(2, 3, 7, 7)
first = Convolution(np.random.randn(4, 3, 3, 3), np.random.randn(4), stride=2, pad=1)
relu, pool = Relu(), Pooling(2, 2, 1)
out = pool.forward(relu.forward(first.forward(image)))
show('out', out)
show('dx', first.backward(relu.backward(pool.backward(out))))
for values in (first.dW, first.db, first.col, first.col_W, pool.arg_max, Pooling(3, 3, 2, 1).forward(image - 0.9)):
    show('by hand', values)
""",
    "ch08": f"""{DATA}{SHOW}
from deep_convnet import DeepConvNet
from common.trainer import Trainer

# Training, as train_deepnet.
network = DeepConvNet((1, 28, 28), {SMALL_DEEP}, hidden_size=12)
trainer = Trainer(network, x, t, x_test, t_test, epochs=1, mini_batch_size=20, optimizer='Adam',
                  optimizer_param={{'lr': 0.001}}, evaluate_sample_num_per_epoch=40)
trainer.train()
network.save_params('deep.pkl')
show('losses', trainer.train_loss_list)

# Whose predictions are wrong, as misclassified_mnist.
network = DeepConvNet((1, 28, 28), {SMALL_DEEP}, hidden_size=12)
network.load_params('deep.pkl')
wrong = []
for i in range(3):
    rows = slice(20 * i, 20 * i + 20)
    scores = network.predict(x[rows], train_flg=False)
    show('scores', scores)
    wrong.extend(np.argmax(scores, axis=1) != t[rows])
show('wrong', wrong)

# In half precision, as half_float_network.
show('float64', [network.accuracy(x_test, t_test, 10)])
x_test = x_test.astype(np.float16)
for param in network.params.values():
    param[...] = param.astype(np.float16)
show('float16', [network.accuracy(x_test, t_test, 10)])
show('float16', network.predict(x_test))
for key in network.params:
    network.params[key] = network.params[key].astype(np.float16)
for i, place in enumerate((0, 2, 5, 7, 10, 12, 15, 18), 1):
    network.layers[place].W, network.layers[place].b = network.params['W' + str(i)], network.params['b' + str(i)]
show('all float16', network.predict(x_test))
""",
}  # fmt: skip


@pytest.fixture
def checkout(tmp_path):
    shutil.copytree(LIBRARY, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    rng = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        write_idx(tmp_path / "dataset" / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / "dataset" / f"{part}-labels-idx1-ubyte.gz", (np.arange(n) % 10).astype(np.uint8))
    for chapter, text in SCRIPTS.items():
        (tmp_path / chapter / "script.py").write_text(text, encoding="utf-8")
    return tmp_path


def lines(folder, *command):
    env = {k: v for k, v in os.environ.items() if not k.startswith("NNX_")}
    env |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", *command, "script.py"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?")


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.slow)])
@pytest.mark.parametrize("chapter", ["ch07", pytest.param("ch08", marks=pytest.mark.slow)])
def test_a_script_of_a_chapter_on_convolution(checkout, chapter, backend):
    plain, _ = lines(checkout / chapter)
    ours, said = lines(checkout / chapter, "-m", "nnx", "run", "--verbose", "--backend", backend)
    module, cls = {"ch07": ("simple_convnet", "SimpleConvNet"), "ch08": ("deep_convnet", "DeepConvNet")}[chapter]
    assert f"nnx: {module}.{cls} is replaced by nnx.book.{module}.{cls} (" in said
    assert "nnx: common.layers is replaced" in said
    assert "nnx: common.trainer is replaced" in said
    assert len(ours) == len(plain)
    for one, other in zip(plain, ours, strict=True):
        assert NUMBER.sub("", one) == NUMBER.sub("", other)
        numbers = ([float(number) for number in NUMBER.findall(line)] for line in (one, other))
        np.testing.assert_allclose(*numbers, rtol=1e-7, atol=1e-9, err_msg=one[:40])


@pytest.fixture
def book():
    """The book's modules as nnx's, as a script under `nnx run` sees them."""
    before = dict(sys.modules)
    accel.install(sklearn=False)
    yield
    accel.uninstall()
    for name in set(sys.modules) - set(before):
        if name.partition(".")[0] in ("common", "dataset", "simple_convnet", "deep_convnet"):
            del sys.modules[name]


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


CHANGES = {
    "nothing": ("", "", None),
    "the deviation": ("weight_init_std * np", "2 * weight_init_std * np", "begins with other parameters"),
    "the order of draws": ("randn(*shape)", "randn(*shape[::-1]).T", "__init__ uses T"),
    "the distribution": ("randn(*shape)", "rand(*shape)", "__init__ uses rand"),
    "the first draw": ("shapes = [", "np.random.randn(1)\n        shapes = [", "begins with other parameters"),
    "a draw": ("        return x\n", "        np.random.randn(1)\n        return x\n", "computes other scores"),
    "a default": ("hidden_size=100", "hidden_size=50", "__init__ takes (self, input_dim=(1, 28, 28)"),
    "an argument": ("predict(self, x)", "predict(self, x, flag=False)", "predict takes (self, x, flag=False)"),
    "a method": ("    def predict", "    def plot(self): pass\n    def predict", "differs in plot"),
    "an attribute of the class": ("    def predict", "    rate = 1\n    def predict", "differs in rate"),
    "a base": ("class SimpleConvNet:", "class SimpleConvNet(dict):", "is no plain class"),
    "a decorator": ("    def predict", "    @staticmethod\n    def predict", "predict is no plain method"),
    "a line printed": ("        self.loss(x, t)\n", "        print(self.loss(x, t))\n", "gradient uses print"),
    "a counter": ("        self.loss(x, t)\n", "        self.loss(x, t)\n        self.n = 1\n", "gradient uses n"),
    "another function": ("import numpy as np\n", "import numpy as np\nint = float\n", "__init__ uses another int"),
    "a layer of one's own": ("class Simple", "class Relu(Relu): pass\nclass Simple", "__init__ uses another Relu"),
    "the scores": ("        return x\n", "        return x * 1.001\n", "computes other scores"),
    "the loss": ("self.predict(x), t)", "self.predict(x), t) * 1.001", "computes another loss"),
    "the gradient": ("self.layers[name].dW,", "self.layers[name].dW * 2,", "computes another gradient"),
    "the numerical gradient": ("self.params[key])\n", "self.params[key]) * 2\n", "computes another numerical gradient"),
    "the rows that count": ("/ x.shape[0]", "/ (x.shape[0] // 6 * 6)", "computes another accuracy"),
    "the layers": ("Pooling(2, 2, stride=2)", "Pooling(1, 1, stride=2)", "computes other scores"),
    "the rows at once": ("// batch_size)", "// batch_size - 1)", "computes another accuracy"),
    "the file": ("self.params.items()}", "self.params.items() if 'W' in key}", "writes or reads other"),
    "what is read": ("self.params[key] = value", "self.params[key] = 2 * value", "writes or reads other parameters"),
}  # fmt: skip


DEEP_CHANGES = {
    "nothing": ("", "", None),
    "the deviation": ("np.sqrt(2 /", "np.sqrt(1 /", "begins with other parameters"),
    "the share of dropout": ("Dropout(0.5), Affine", "Dropout(0.4), Affine", "computes other scores"),
    "dropout in the loss": ("self.predict(x, train_flg=True), t)", "self.predict(x), t)", "computes another loss"),
    "a layer more": ("Dropout(0.5)]", "Dropout(0.5), Dropout(0)]", "computes other scores"),
    "a layer without effect": ('p["b7"]), Relu(),', 'p["b7"]), Relu(), Relu(),', "cannot be tried: AttributeError"),
    "a default": ('"pad": 2', '"pad": 1', "__init__ takes (self, input_dim=(1, 28, 28)"),
}
CASES = [("simple", change) for change in CHANGES] + [("deep", change) for change in DEEP_CHANGES]


@pytest.mark.parametrize(("kind", "change"), CASES)
def test_only_the_books_network_is_replaced(tmp_path, book, kind, change):
    chapter, own, name, changes = {
        "simple": ("ch07", simple_convnet, "SimpleConvNet", CHANGES),
        "deep": ("ch08", deep_convnet, "DeepConvNet", DEEP_CHANGES),
    }[kind]
    old, new, reason = changes[change]
    path = LIBRARY / chapter / f"{kind}_convnet.py"
    text = path.read_text(encoding="utf-8")
    assert not old or old in text
    path = tmp_path / path.name
    path.write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    found = network_difference(load(path), name, own)
    assert found is None if reason is None else reason in found
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_modules_that_are_absent_there_or_foreign(tmp_path, book, monkeypatch, capsys):
    import deep_convnet as absent

    assert absent is deep_convnet
    text = (LIBRARY / "ch07" / "simple_convnet.py").read_text(encoding="utf-8")
    (tmp_path / "simple_convnet.py").write_text(text.replace("class Simple", "NAME = 'mine'\n\n\nclass Simple"))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("simple_convnet")
    assert module.SimpleConvNet is simple_convnet.SimpleConvNet
    assert module.NAME == "mine"
    accel.uninstall()
    assert module.SimpleConvNet.__module__ == "simple_convnet"
    assert "deep_convnet" not in sys.modules
    accel.install(sklearn=False, verbose=True)
    assert "nnx: simple_convnet is not replaced: it was imported before" in capsys.readouterr().err
    del sys.modules["simple_convnet"]
    (tmp_path / "simple_convnet.py").write_text("def SimpleConvNet(): return 'mine'\n")
    importlib.invalidate_caches()
    assert importlib.import_module("simple_convnet").SimpleConvNet() == "mine"
    assert "simple_convnet.py) is not replaced: its SimpleConvNet is no plain class" in capsys.readouterr().err
