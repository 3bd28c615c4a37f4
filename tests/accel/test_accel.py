"""`nnx run`: scripts behave as under `python`, and import nnx's modules in the place of the book's, and of nothing
else's."""

import os
import pickle
import re
import shutil
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import nnx
from nnx import accel
from nnx.accel._finder import BOOK
from nnx.datasets import write_idx

RUN = ("-m", "nnx", "run")
LIBRARY = Path(__file__).parent / "library"
KNOWN = Path(__file__).parents[1] / "helpers" / "known.py"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


@pytest.fixture
def book(tmp_path):
    """A folder laid out as the book's repository, with modules of its interface and with data."""
    shutil.copytree(LIBRARY, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    rng = np.random.default_rng(0)
    for part, n in (("train", 60), ("t10k", 30)):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        write_idx(tmp_path / "dataset" / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / "dataset" / f"{part}-labels-idx1-ubyte.gz", (np.arange(n) % 10).astype(np.uint8))
    (tmp_path / "ch05").mkdir()
    return tmp_path


def python(*arguments, folder, **kwargs):
    env = {k: v for k, v in os.environ.items() if k not in ("NNX_DATA_DIR", "NNX_BACKEND")}
    env["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    env |= kwargs.pop("env", {})
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False, **kwargs,
    )  # fmt: skip


TRAINING = """
    import os
    import sys
    sys.path.append(os.pardir)
    import numpy as np
    from dataset.mnist import load_mnist
    from common.trainer import Trainer
    from two_layers import TwoLayers

    np.random.seed(0)
    (x_train, t_train), (x_test, t_test) = load_mnist(normalize=True)
    trainer = Trainer(TwoLayers(), x_train, t_train, x_test, t_test, epochs=2, mini_batch_size=20, optimizer="Adam")
    trainer.train()
"""
BESIDE = """
    import numpy as np
    from common.layers import *

    class TwoLayers:
        def __init__(self):
            sizes = {"W1": (784, 50), "b1": 50, "W2": (50, 10), "b2": 10}
            self.params = {key: 0.1 * np.random.standard_normal(size) for key, size in sizes.items()}
            p = self.params
            self.layers = [Affine(p["W1"], p["b1"]), Relu(), Affine(p["W2"], p["b2"])]
            self.last = SoftmaxWithLoss()

        def predict(self, x):
            for layer in self.layers:
                x = layer.forward(x)
            return x

        def loss(self, x, t):
            return self.last.forward(self.predict(x), t)

        def accuracy(self, x, t):
            return np.mean(self.predict(x).argmax(axis=1) == t)

        def gradient(self, x, t):
            self.loss(x, t)
            dout = self.last.backward()
            for layer in reversed(self.layers):
                dout = layer.backward(dout)
            first, _, second = self.layers
            return {"W1": first.dW, "b1": first.db, "W2": second.dW, "b2": second.db}
"""


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.slow)])
def test_a_training_script_of_the_book(book, backend):
    write(book / "ch05" / "two_layers.py", BESIDE)
    write(book / "ch05" / "training.py", TRAINING)
    plain = python("training.py", folder=book / "ch05")
    done = python(KNOWN, LIBRARY, "run", "--verbose", "--backend", backend, "training.py", folder=book / "ch05")
    assert (done.returncode, plain.returncode) == (0, 0), done.stderr
    numbers = [[float(n) for n in re.findall(r"\d\.\d+", text)] for text in (plain.stdout, done.stdout)]
    assert len(numbers[0]) == 11  # six losses, and accuracies
    np.testing.assert_allclose(*numbers, rtol=1e-10)
    layers = "Affine, Convolution, Dropout, Pooling, Relu, SoftmaxWithLoss"
    for module, names in (("layers", layers), ("optimizer", "AdaGrad, Adam, Momentum, SGD")):
        assert f"{module}.py): {names} replaced by nnx.book.{module}\n" in done.stderr
    assert "mnist.py) stays the script's: " in done.stderr
    assert f"nnx: backend {backend} (asked for by NNX_BACKEND)" in done.stderr


OPTIMIZER = """
    class SGD:
        def __init__(self, lr=0.5): self.lr = lr
        def update(self, params, grads):
            for k in params: params[k] += self.lr * grads[k]
    class Momentum(SGD):
        def __init__(self, lr=0.01, momentum=0.9): self.lr = lr
    class AdaGrad(SGD):
        def __init__(self, lr=0.01): self.lr = lr
    class Adam(SGD):
        def __init__(self, lr=0.001, beta1=0.9, beta2=0.999): self.lr = lr
"""


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.slow)])
def test_a_module_that_has_the_books_names_and_computes_something_else(tmp_path, backend):
    write(tmp_path / "common" / "optimizer.py", OPTIMIZER)
    script = "import numpy as np\nfrom common.optimizer import SGD\np = {'W': np.ones(1)}\n"
    write(tmp_path / "s.py", script + "SGD().update(p, {'W': np.ones(1)})\nprint(p['W'])\n")
    done = python(*RUN, "--verbose", "--backend", backend, "s.py", folder=tmp_path)
    assert done.stdout == "[1.5]\n"
    assert "optimizer.py): AdaGrad, Adam, Momentum, SGD left alone: not as in any published state\n" in done.stderr
    assert done.stderr.endswith("nnx: nothing was replaced\n")


MNIST = """
    import os
    import pickle
    dataset_dir = os.path.dirname(os.path.abspath(__file__))
    save_file = dataset_dir + "/mnist.pkl"
    key_file = {"a": "train-images-idx3-ubyte.gz"}
    def load_mnist():
        with open(save_file, "rb") as f:
            return pickle.load(f)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", [pytest.param("numpy", marks=pytest.mark.long), "numba"])
@pytest.mark.parametrize(("file", "theirs"), [("mnist.pkl", True), ("train-images-idx3-ubyte.gz", True), ("x", False)])
def test_the_scripts_data_are_loaded_by_its_own_module(tmp_path, backend, file, theirs):
    module = write(tmp_path / "dataset" / "mnist.py", MNIST)
    (tmp_path / "dataset" / file).write_bytes(pickle.dumps("theirs"))
    write(tmp_path / "s.py", "from dataset.mnist import load_mnist\nprint(load_mnist.__module__)\n")
    done = python(KNOWN, tmp_path, "run", "--verbose", "--backend", backend, "s.py", folder=tmp_path)
    assert done.stdout == ("dataset.mnist\n" if theirs else "nnx.book.mnist\n")
    said = f"stays the script's: its data are in {module.parent}" if theirs else "load_mnist replaced by nnx.book.mnist"
    assert said in done.stderr
    if file == "mnist.pkl":
        write(tmp_path / "s.py", "from dataset.mnist import load_mnist\nprint(load_mnist())\n")
        assert python(KNOWN, tmp_path, "run", "s.py", folder=tmp_path).stdout == "theirs\n"


@pytest.mark.slow
def test_modules_that_are_absent_are_there(tmp_path):
    write(
        tmp_path / "alone.py",
        """
        import common.layers as layers
        from common import functions
        from common.util import smooth_curve
        import importlib
        print(layers.__name__, functions.__name__, smooth_curve.__module__)
        print(importlib.import_module("common.optimizer").__name__)
        for name in ("common.other", "common.nothing.more"):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                print(error)
        """,
    )
    done = python(*RUN, "alone.py", folder=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "nnx.book.layers nnx.book.functions nnx.book.util",
        "nnx.book.optimizer",
        "No module named 'common.other'",
        "No module named 'common.nothing'",
    ]


@pytest.mark.slow
def test_a_package_that_is_absent_stays_absent_by_its_name_alone(tmp_path):
    script = "for name in ('common', 'dataset'):\n    try:\n        __import__(name)\n    except ImportError as e:\n"
    write(tmp_path / "s.py", script + "        print(e)\ntry:\n    import dataset\nexcept ImportError as e: print(e)\n")
    done = python(*RUN, "s.py", folder=tmp_path)
    assert done.stdout.splitlines() == ["No module named 'common'"] + ["No module named 'dataset'"] * 2


@pytest.mark.slow
def test_a_foreign_common_runs_untouched(tmp_path):
    write(tmp_path / "common" / "__init__.py", "name = 'mine'\n")
    write(tmp_path / "common" / "layers.py", "class Affine:\n    mine = True\n")
    write(tmp_path / "script.py", "import common\nfrom common.layers import Affine\nprint(common.name, Affine.mine)\n")
    done = python(*RUN, "--verbose", "script.py", folder=tmp_path)
    assert done.stdout == "mine True\n"
    assert "layers.py): Affine left alone: not as in any published state" in done.stderr
    assert done.stderr.endswith("nnx: nothing was replaced\n")
    write(tmp_path / "script.py", "import common.functions\n")
    done = python(*RUN, "script.py", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'common.functions'\n")


@pytest.mark.slow
def test_no_book(book):
    write(book / "ch05" / "s.py", "import sys\nsys.path.append('..')\nfrom common.layers import Relu\nprint(Relu)\n")
    for options, module in (([], "nnx.book.layers"), (["--no-book"], "common.layers")):
        done = python(KNOWN, LIBRARY, "run", *options, "s.py", folder=book / "ch05")
        assert done.stdout == f"<class '{module}.Relu'>\n"


ALIKE = {
    "arguments": ("import sys\nprint(sys.argv, sys.path[0], __name__)\n", ["-v", "--verbose", "a b", "--", "-m"]),
    "file": ("print(__file__, __doc__, __spec__, __package__, __builtins__.__name__)\n", []),
    "exit": ("import sys\nsys.exit(3)\n", []),
    "exit text": ("raise SystemExit('so it ends')\n", []),
    "relative file": ("print(open('data.txt').read())\n", []),
    "beside": ("import helper\nprint(helper.value)\nfrom pkg import deeper\n", []),
    "error": ("def f():\n    return 1 / 0\n\nf()\n", []),
    "error of errors": ("try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('b') from e\n", []),
    "syntax error": ("print('a')\nx = (\n", []),
    "own hook": ("import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__)\nraise OSError\n", []),
    "pickle": ("import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A, A.__module__)\n", []),
    "encoding": ("# -*- coding: latin-1 -*-\nprint(ascii('\xe4'))\n", []),
    "thread and atexit": (
        "import atexit, threading, time\natexit.register(print, 'end')\n"
        "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()\nprint('main')\n", [],
    ),
    "missing module": ("import nowhere\n", []),
    "two processes": (
        "import concurrent.futures as c, multiprocessing as m\ndef f(x): return x * x\n"
        "if __name__ == '__main__':\n"
        "    with c.ProcessPoolExecutor(1, m.get_context('spawn')) as p: print(list(p.map(f, [1, 2])))\n", [],
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ALIKE)
def test_a_script_behaves_as_under_python(tmp_path, name):
    text, arguments = ALIKE[name]
    write(tmp_path / "data.txt", "data")
    write(tmp_path / "sub" / "helper.py", "value = 5\n")
    write(tmp_path / "sub" / "pkg" / "__init__.py", "")
    write(tmp_path / "sub" / "pkg" / "deeper.py", "print(__name__)\n")
    (tmp_path / "sub" / "script.py").write_text(text, encoding="latin-1")
    plain = python("sub/script.py", *arguments, folder=tmp_path)
    own = python("-m", "nnx.accel", "sub/script.py", *arguments, folder=tmp_path)
    assert own.stdout.replace("'sub/script.py'", "SCRIPT") == plain.stdout.replace("'sub/script.py'", "SCRIPT")
    assert own.stderr == plain.stderr
    assert own.returncode == plain.returncode


@pytest.mark.slow
def test_modules_and_standard_input(tmp_path):
    write(tmp_path / "mod.py", "import sys\nprint(sys.argv[1:], __name__, sys.path[0] == '' or sys.path[0])\n1 / 0\n")
    for arguments, text in ((("-m", "mod", "-x"), None), (("-", "-x"), (tmp_path / "mod.py").read_text())):
        plain = python(*arguments, folder=tmp_path, input=text)
        own = python(*RUN, *arguments, folder=tmp_path, input=text)
        assert own.stdout == plain.stdout
        assert own.returncode == plain.returncode == 1
        assert own.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
        assert "nnx" not in own.stderr


@pytest.mark.slow
def test_ctrl_c(tmp_path):
    # Whoever runs the tests in the background of a shell has them ignore Ctrl-C, and what they start.
    heard = "signal.signal(signal.SIGINT, signal.default_int_handler)"
    write(tmp_path / "s.py", f"import signal\n{heard}\nsignal.raise_signal(signal.SIGINT)\n")
    done = python(*RUN, "s.py", folder=tmp_path)
    assert done.returncode == 130
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("KeyboardInterrupt\n")
    assert "nnx" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere.py"], 2, "can't open file"),
        (["--backend", "nunpy", "s.py"], 1, "nnx: unknown backend 'nunpy'. Did you mean 'numpy'"),
        (["--verbos", "s.py"], 2, "No such option: --verbos"),
        ([], 2, "SCRIPT"),
    ],
)
def test_bad_arguments(tmp_path, arguments, status, message):
    write(tmp_path / "s.py", "print('run')\n")
    done = python("-m", "nnx.accel", *arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_help_tells_the_options(tmp_path):
    done = python(*RUN, "--help", folder=tmp_path)
    assert done.returncode == 0
    assert all(option in done.stdout for option in ("--no-sklearn", "--no-book", "--backend", "--verbose", "SCRIPT"))
    assert "run" in python("-m", "nnx", "--help", folder=tmp_path).stdout


# A stand-in for scikit-learn and for nnx.sklearn, so that what is tested is the hook alone.
NETWORKS = "from ._multilayer_perceptron import MLPClassifier, MLPRegressor\n"
PERCEPTRON = "class MLPClassifier: pass\nclass MLPRegressor: pass\n"
OURS = """
    import sklearn.neural_network
    class MLPClassifier:
        def fit(self): return self
        predict_proba = fit
    class MLPRegressor:
        def fit(self): return self
"""
USER = """
    from sklearn.neural_network import MLPClassifier
    import sklearn.neural_network as nn
    from sklearn.neural_network._multilayer_perceptron import MLPRegressor
    MLPClassifier().fit().fit()
    print(MLPClassifier.__module__, nn.MLPRegressor is MLPRegressor, MLPRegressor.__module__)
"""


@pytest.fixture
def stand_ins(tmp_path):
    write(tmp_path / "sklearn" / "__init__.py", "")
    write(tmp_path / "sklearn" / "neural_network" / "__init__.py", NETWORKS)
    write(tmp_path / "sklearn" / "neural_network" / "_multilayer_perceptron.py", PERCEPTRON)
    write(tmp_path / "ours.py", OURS)
    start = "import sys, nnx, importlib.util as u\nfrom importlib.machinery import PathFinder\n"
    start += "class F:\n  def find_spec(name, path=None, target=None):\n"
    start += f"    if name == 'nnx.sklearn': return u.spec_from_file_location(name, {str(tmp_path / 'ours.py')!r})\n"
    write(tmp_path / "sitecustomize.py", start + "sys.meta_path.insert(0, F)\n")
    return tmp_path


def run_stand_in(folder, script, *options):
    write(folder / "user.py", script)
    env = {"PYTHONPATH": os.pathsep.join([str(folder), *(path for path in sys.path if path)])}
    return python(*RUN, *options, "user.py", folder=folder, env=env)


@pytest.mark.slow
def test_scikit_learns_classes_are_replaced(stand_ins):
    done = run_stand_in(stand_ins, USER, "--verbose")
    assert done.stdout == "nnx.sklearn True nnx.sklearn\n", done.stderr
    for name in ("MLPClassifier", "MLPRegressor"):
        assert f"nnx: sklearn.neural_network.{name} is replaced by nnx.sklearn.{name}" in done.stderr
    assert "nnx: MLPClassifier.fit: 2 calls in this process" in done.stderr
    assert run_stand_in(stand_ins, "\n    import nnx.sklearn" + USER).stdout == "nnx.sklearn True nnx.sklearn\n"
    plain = "sklearn.neural_network._multilayer_perceptron"
    done = run_stand_in(stand_ins, USER.replace(".fit().fit()", ""), "--no-sklearn")
    assert done.stdout == f"{plain} True {plain}\n"


@pytest.mark.slow
def test_scikit_learn_stays_where_ours_is_broken(stand_ins):
    write(stand_ins / "ours.py", "import sklearn.neural_network\nimport scipy_of_another_time\n")
    done = run_stand_in(stand_ins, USER.replace(".fit().fit()", ""), "--verbose")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sklearn.neural_network._multilayer_perceptron True")
    assert "is not replaced: No module named 'scipy_of_another_time'" in done.stderr


class Shell:
    """What of IPython's shell an extension is given."""


@pytest.fixture
def clean():
    before = dict(sys.modules)
    for name in [*BOOK, "common", "dataset"]:
        sys.modules.pop(name, None)
    yield
    accel.uninstall()
    for name in [*BOOK, "common", "dataset"]:
        sys.modules.pop(name, None)
    sys.modules.update({k: v for k, v in before.items() if k not in sys.modules})


def test_notebook_extension(clean):
    finders = list(sys.meta_path)
    accel.load_ipython_extension(Shell())
    accel.load_ipython_extension(Shell())
    assert len(sys.meta_path) == len(finders) + 1
    from common.layers import Affine

    assert Affine is nnx.book.layers.Affine
    assert nnx.book.layers.__spec__.name == "nnx.book.layers"
    accel.unload_ipython_extension(Shell())
    assert sys.meta_path == finders
    with pytest.raises(ModuleNotFoundError, match="common"):
        import_module("common.layers")


def test_what_was_imported_before_is_said(clean, capsys):
    sys.modules["common.layers"] = sys.modules[__name__]
    accel.install(sklearn=False, verbose=True)
    assert capsys.readouterr().err == "nnx: common.layers is not replaced: it was imported before\n"
