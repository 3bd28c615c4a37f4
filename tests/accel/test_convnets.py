"""`nnx run` and the scripts of the book's chapters on convolution: the same numbers as without it.

`library` is a package of the book's interface, and `SCRIPTS` do what the book's scripts do, both in words of their own.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnx import accel
from nnx.book import deep_convnet, simple_convnet
from nnx.datasets import write_idx

LIBRARY = Path(__file__).parent / "library"
KNOWN = Path(__file__).parents[1] / "helpers" / "known.py"
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
        [sys.executable, "-W", "error", *map(str, command), "script.py"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?")


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.long)])
@pytest.mark.parametrize("chapter", ["ch07", pytest.param("ch08", marks=pytest.mark.long)])
def test_a_script_of_a_chapter_on_convolution(checkout, chapter, backend):
    plain, _ = lines(checkout / chapter)
    ours, said = lines(checkout / chapter, KNOWN, LIBRARY, "run", "--verbose", "--backend", backend)
    module, cls = {"ch07": ("simple_convnet", "SimpleConvNet"), "ch08": ("deep_convnet", "DeepConvNet")}[chapter]
    assert f"{module}.py): {cls} replaced by nnx.book.{module}" in said
    assert (
        "layers.py): Affine, Convolution, Dropout, Pooling, Relu, SoftmaxWithLoss replaced by nnx.book.layers" in said
    )
    assert "left alone" not in said
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


def test_modules_that_are_absent_there_or_foreign(tmp_path, book, monkeypatch, capsys):
    import deep_convnet as absent

    assert absent is deep_convnet
    (tmp_path / "simple_convnet.py").write_text("def SimpleConvNet(): return 'mine'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("simple_convnet").SimpleConvNet() == "mine"
    accel.uninstall()
    assert "deep_convnet" not in sys.modules
    assert "simple_convnet" not in sys.modules
    sys.modules["simple_convnet"] = simple_convnet
    accel.install(sklearn=False, verbose=True)
    assert "nnx: simple_convnet is not replaced: it was imported before" in capsys.readouterr().err
