"""nnx.book's convolutional networks: what the plan computes is what the layers compute, and a script sees no more."""

import copy
import os
import pickle
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nnx
from nnx.book import DeepConvNet, SimpleConvNet
from nnx.book.layers import Pooling, Relu
from nnx.book.trainer import Trainer

RNG = np.random.default_rng(0)
X, T = RNG.random((60, 1, 12, 12)), RNG.integers(0, 10, 60)
SMALL = {"filter_num": 3, "filter_size": 5, "pad": 0, "stride": 1}
DEEP = [{"filter_num": n, "filter_size": 3, "pad": 2 if n == 4 else 1, "stride": 1} for n in (2, 3, 3, 4, 3, 64)]
NETWORKS = {
    "simple": (lambda: SimpleConvNet((1, 12, 12), SMALL, hidden_size=8, weight_init_std=0.1), X),
    "strided": (lambda: SimpleConvNet((2, 7, 7), {**SMALL, "filter_size": 3, "pad": 1, "stride": 2}, 8), X.reshape(-1)),
    "deep": (lambda: DeepConvNet((1, 28, 28), *DEEP, hidden_size=6), RNG.random((60, 1, 28, 28))),
}


@pytest.fixture(params=["numpy", "numba"], autouse=True)
def backend(request, of_any_size):
    with nnx.use_backend(request.param):
        yield request.param


def made(kind, *, by_layers=False):
    """A network and its images; `by_layers` as if a script had looked at the layers."""
    make, x = NETWORKS[kind]
    np.random.seed(0)
    network = make()
    if by_layers:
        assert network.layers
    return network, np.resize(x, (60, *network._shape))


def by_plan(network):
    return network._fused is not None


ATTRIBUTES = ("x", "col", "col_W", "W", "b", "dW", "db", "mask", "arg_max")


def assert_same_layers(one, other):
    for a, b in zip(one._sequence(), other._sequence(), strict=True):
        for name in ATTRIBUTES:
            if hasattr(a, name):
                found, wanted = (np.asarray(getattr(layer, name), float) for layer in (a, b))
                np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9, err_msg=f"{a} {name}")


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_training_by_the_plan_is_one_by_the_layers(kind):
    done = []
    for by_layers in (False, True):
        network, x = made(kind, by_layers=by_layers)
        np.random.seed(1)
        trainer = Trainer(network, x, T, x[:30], T[:30], epochs=2, mini_batch_size=20, optimizer="Adam", verbose=False)
        trainer.train()
        assert by_plan(network) is not by_layers
        done.append((network, trainer, np.random.random_sample(3), network.accuracy(x, np.eye(10)[T], 16)))
    (one, ours, *numbers), (other, wanted, *others) = done
    np.testing.assert_allclose(ours.train_loss_list, wanted.train_loss_list, rtol=1e-10)
    assert ours.train_acc_list == wanted.train_acc_list
    assert all(isinstance(value, np.float64) for value in ours.train_loss_list)
    np.testing.assert_array_equal(numbers[0], others[0])  # as many random numbers were drawn
    assert numbers[1] == others[1]
    for key, value in other.params.items():
        np.testing.assert_allclose(one.params[key], value, rtol=1e-8, atol=1e-10, err_msg=key)
    for network in (one, other):
        np.random.seed(2)
        network.gradient(np.resize(X, (20, *network._shape)), T[:20])
        network.params["W1"][...] *= 2  # an update: what the layers keep is of before
        assert network.last_layer.y.shape == (20, 10)
    assert by_plan(one)
    assert one.layers is one._layers
    assert not by_plan(one)
    assert_same_layers(one, other)


def test_threads_that_predict_at_once(backend):
    network, x = made("simple")
    wanted = [network.predict(x[i : i + 20]) for i in range(40)]

    def predict(i):
        with nnx.use_backend(backend):
            return network.predict(x[i : i + 20])

    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(predict, list(range(40)) * 3), wanted * 3, strict=True):
            np.testing.assert_array_equal(found, right)


def test_names_initial_weights_and_accuracy():
    network, x = made("simple")
    np.random.seed(0)
    shapes = {"W1": (3, 1, 5, 5), "W2": (48, 8), "W3": (8, 10)}
    for key, shape in shapes.items():
        np.testing.assert_array_equal(network.params[key], 0.1 * np.random.randn(*shape))
    assert list(network.params) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    wanted = np.sum(network.predict(x[:48]).argmax(axis=1) == T[:48]) / 60  # twelve rows are in no whole batch
    assert network.accuracy(x, T, 24) == wanted
    assert network.accuracy(x, T) == 0
    assert list(network.layers) == ["Conv1", "Relu1", "Pool1", "Affine1", "Relu2", "Affine2"]
    np.random.seed(0)
    network = DeepConvNet()
    np.random.seed(0)
    np.testing.assert_array_equal(network.params["W1"], np.sqrt(2 / 9) * np.random.randn(16, 1, 3, 3))
    assert [network.params[f"W{i}"].shape for i in (4, 6, 7, 8)] == [
        (32, 32, 3, 3),
        (64, 64, 3, 3),
        (1024, 50),
        (50, 10),
    ]
    assert len(network.layers) == 20


def test_gradients_are_the_numerical_ones():
    np.random.seed(1)
    network = SimpleConvNet((1, 6, 6), {**SMALL, "filter_size": 3}, hidden_size=3, weight_init_std=0.4)
    for n, t in ((20, T[:20]), (20, np.eye(10)[T[:20]]), (1, np.array([[3]]))):
        x = RNG.random((n, 1, 6, 6))
        analytic, numerical = network.gradient(x, t), network.numerical_gradient(x, t)
        for key, gradient in numerical.items():
            np.testing.assert_allclose(analytic[key], gradient, rtol=1e-4, atol=1e-7, err_msg=key)
    assert by_plan(network)


def test_gradients_that_a_script_has_kept_stay():
    network, x = made("simple")
    grads = network.gradient(x[:20], T[:20])
    kept, scores = {key: g.copy() for key, g in grads.items()}, network.predict(x[:20])
    before = scores.copy()
    network.gradient(x[20:40], T[20:40])
    np.testing.assert_array_equal(scores, before)
    for key, value in kept.items():
        np.testing.assert_array_equal(grads[key], value)
    again = network.gradient(x[:20], T[:20])
    assert network.layers["Conv1"].dW is again["W1"]


def test_what_is_overridden_is_called(monkeypatch):
    class Doubled(SimpleConvNet):
        def predict(self, x):
            return 2 * super().predict(x)

    network, x = made("simple")
    np.random.seed(0)
    doubled = Doubled((1, 12, 12), SMALL, hidden_size=8, weight_init_std=0.1)
    np.testing.assert_allclose(doubled.predict(x), 2 * network.predict(x))
    assert doubled.loss(x, T) != network.loss(x, T)
    network.predict = lambda images: SimpleConvNet.predict(network, images) * 2
    assert network.loss(x, T) == pytest.approx(doubled.loss(x, T))
    for key, gradient in doubled.gradient(x, T).items():
        np.testing.assert_allclose(network.gradient(x, T)[key], gradient)
    with monkeypatch.context() as patched:
        patched.setattr(Pooling, "forward", lambda self, x: 0 * x[:, :, ::2, ::2])
        assert (np.ptp(made("simple")[0].predict(x), axis=0) == 0).all()
    network, _ = made("simple")
    network.last_layer.backward = lambda dout: np.zeros((60, 10))
    assert not network.gradient(x, T)["W1"].any()
    layers = doubled.layers
    layers["Relu3"] = Relu()
    assert doubled.predict(x).min() >= 0
    doubled.layers = OrderedDict(layers, Relu4=Relu())
    assert len(doubled.layers) == 8
    assert doubled.gradient(x, T).keys() == network.params.keys()


def test_batches_that_the_plan_does_not_take():
    network, x = made("simple")
    other, _ = made("simple", by_layers=True)
    for images, t in (
        (x[:3], T[:3]),
        (x.astype(np.float16), T),
        ((x * 255).astype(np.uint8), T.astype(np.uint8)),
        (x, T - 10),  # counted from the end, as NumPy's indices
        (x, np.eye(10)[T]),
        (x[:, :, ::-1], T),
    ):
        ours, wanted = network.gradient(images, t), other.gradient(images, t)
        assert network.loss(images, t) == pytest.approx(other.loss(images, t), rel=1e-12)
        for key, gradient in wanted.items():
            np.testing.assert_allclose(ours[key], gradient, rtol=1e-8, atol=1e-12)
    assert by_plan(network)
    with pytest.raises(IndexError):
        network.gradient(x, T + 10)
    with nnx.use_backend("numpy"):
        assert network.loss(x, T) == pytest.approx(other.loss(x, T), rel=1e-12)
    np.random.seed(0)
    uneven = SimpleConvNet((1, 12, 12), {**SMALL, "filter_size": 4})  # 4.5 x 4.5 are left: the book's W2 does not fit
    with pytest.raises(ValueError, match="matmul|not aligned"):
        uneven.predict(x)


def test_numbers_that_are_not_finite_are_the_layers_own():
    results = []
    for by_layers in (False, True):
        network, x = made("deep", by_layers=by_layers)
        network.params["W8"][...] = 1e200
        network.params["W7"][...] *= 1e200
        np.random.seed(3)
        with np.errstate(all="ignore"):
            results.append({**network.gradient(x[:20], T[:20]), "next": np.random.random_sample(2)})
    for key, value in results[1].items():
        np.testing.assert_array_equal(results[0][key], value, err_msg=key)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_copies(copied):
    network, x = made("simple")
    network.gradient(x, T)
    network.loss(x[:20], T[:20])
    other = copied(network)
    assert by_plan(network)
    assert other.layers["Conv1"].W is other.params["W1"]
    assert other.layers["Conv1"].x.shape == (20, 1, 12, 12)
    before = network.predict(x)
    other.params["W1"][...] = 0
    np.testing.assert_array_equal(network.predict(x), before)
    assert not np.allclose(other.predict(x), before)


def test_float32_if_asked_for(monkeypatch):
    double, x = made("deep")
    monkeypatch.setenv("NNX_SCRIPT_DTYPE", "float32")
    network, _ = made("deep")
    x, grads = x.astype(np.float32), {}
    for one in (network, double):
        np.random.seed(0)
        grads[one] = one.gradient(x, T)
    for key, gradient in grads[network].items():
        assert gradient.dtype == network.params[key].dtype == np.float32
        np.testing.assert_allclose(gradient, grads[double][key], rtol=1e-2, atol=1e-5)
    assert network.gradient(x.astype(float), T)["W1"].dtype == np.float64  # as NumPy promotes
    assert isinstance(network.loss(x, T), np.float32)


@pytest.mark.parametrize("kind", ["simple", "deep"])
def test_files_of_parameters(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, x = made(kind)
    network.params["b1"][...] = 1
    network.save_params()
    with open("params.pkl", "rb") as file:
        written = pickle.load(file)
    assert list(written) == list(network.params)
    for key, value in written.items():
        np.testing.assert_array_equal(value, network.params[key])
    np.random.seed(9)
    other, by_layers = NETWORKS[kind][0](), NETWORKS[kind][0]()
    held = by_layers.layers[0 if kind == "deep" else "Conv1"]
    for one in (other, by_layers):
        old = one.params["W1"]
        one.load_params()
        assert one.params["W1"] is not old
        np.testing.assert_allclose(one.predict(x), network.predict(x), rtol=1e-10)
    assert by_plan(other)
    assert held.W is by_layers.params["W1"]
    np.testing.assert_array_equal(held.x, x)
    with pytest.raises(FileNotFoundError):
        network.load_params("nowhere.pkl")
    monkeypatch.setenv("NNX_SCRIPT_DTYPE", "float32")
    other.load_params()
    assert other.params["W1"].dtype == np.float32


ARRAYS = {
    "W1": RNG.random((2, 3, 4)), "b": np.zeros(3, np.float32), "F": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "i": np.arange(3), "swapped": np.arange(3, dtype=">f4"), "half": np.ones(2, np.float16), "number": np.array(3.5),
    "none": np.zeros((0, 2)), "view": np.arange(10.0)[::2], "bool": np.array([True, False]),
}  # fmt: skip


class Touching:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_arrays_are_read_without_pickle(tmp_path, protocol):
    from nnx.book._parameter_files import load

    file = tmp_path / "p.pkl"
    content = pickle.dumps(ARRAYS, protocol)
    for text in (content, content.replace(b"numpy._core", b"numpy.core") if protocol == 3 else content):
        file.write_bytes(text)  # before NumPy 2 the module had the other name
        found = load(file)
        assert list(found) == list(ARRAYS)
        for key, value in ARRAYS.items():
            np.testing.assert_array_equal(found[key], value)
            assert found[key].dtype == value.dtype.newbyteorder("=")
            assert found[key].flags.writeable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Touching(), "it names posix.mkdir" if os.name == "posix" else "it names nt.mkdir"),
        ({"W1": Touching()}, "it names"),
        ([ARRAYS["W1"]], "it is no dict by name"),
        ({1: ARRAYS["W1"]}, "it is no dict by name"),
        (OrderedDict(ARRAYS), "it names collections.OrderedDict"),
        ({"W1": [1.0]}, "its 'W1' is no array"),
        ({"W1": np.array([None])}, "it has the dtype 'O8'"),
        ({"W1": np.array(["a"])}, "it has the dtype 'U1'"),
        ({"W1": np.float64(3)}, "it names numpy._core.multiarray.scalar"),
        (b"", "Ran out of input"),
        (pickle.dumps(ARRAYS)[:-50], "truncated"),
        (b"cbuiltins\nexec\n(S'1/0'\ntR.", "it names builtins.exec"),
        (b"cnumpy\ndtype\n}S'_make'\nNsb.", "it changes a function"),
        (b"cnumpy\nndarray\n(tR(I1\n(I3\ntI3\nI0\nS'abc'\ntb.", "it is no dict by name"),
    ],
)
def test_nothing_else_is_read_from_a_pickle(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.pkl").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, 4))
    network, _ = made("simple")
    before = {key: value.copy() for key, value in network.params.items()}
    with pytest.raises(nnx.InputError, match=rf"p\.pkl: cannot be read: .*{message}"):
        network.load_params("p.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["p.pkl"]
    for key, value in before.items():
        np.testing.assert_array_equal(network.params[key], value)


def test_a_network_that_the_books_class_has_pickled():
    network, x = made("simple")
    wanted = network.predict(x)
    theirs = SimpleConvNet.__new__(SimpleConvNet)
    layers = {}
    for name, layer in network.layers.items():  # as the book's classes keep their state
        layers[name] = type(layer).__new__(type(layer))
        state = {key: value for key, value in vars(layer).items() if not key.startswith("_")}
        vars(layers[name]).update(state | ({"col": None, "col_W": None} if "W" in state else {"arg_max": None}))
    theirs.__setstate__({"params": network.params, "layers": layers, "last_layer": network.last_layer})
    assert layers["Conv1"].col is layers["Pool1"].arg_max is None
    np.testing.assert_allclose(theirs.predict(x), wanted, rtol=1e-10)
    assert theirs.gradient(x, T).keys() == network.params.keys()
    assert pickle.loads(pickle.dumps(theirs)).accuracy(x, T, 10) == network.accuracy(x, T, 10)
