"""A network that computes by a plan: the numbers, the state and the errors of one whose layers compute one by one."""

import copy
import pickle
import threading

import numpy as np
import pytest

import nnx
from nnx.book import planned
from nnx.book.layers import Affine, Relu, Sigmoid, SoftmaxWithLoss
from nnx.book.multi_layer_net import MultiLayerNet
from nnx.book.multi_layer_net_extend import MultiLayerNetExtend

R = np.random.default_rng(0)
X, T = R.normal(size=(40, 12)), R.integers(0, 4, 40)
KINDS = {
    "relu": (MultiLayerNet, {}),
    "sigmoid": (MultiLayerNet, {"activation": "sigmoid"}),
    "weight decay": (MultiLayerNet, {"weight_decay_lambda": 0.1}),
    "dropout": (MultiLayerNetExtend, {"use_dropout": True, "dropout_ration": 0.3}),
    "batch normalization": (MultiLayerNetExtend, {"use_batchnorm": True}),
    "both": (MultiLayerNetExtend, {"use_batchnorm": True, "use_dropout": True, "activation": "sigmoid"}),
}
ATTRIBUTES = ("x", "original_x_shape", "W", "b", "dW", "db", "mask", "out", "y", "t", "loss")
ATTRIBUTES += ("running_mean", "running_var", "batch_size", "input_shape", "dgamma", "dbeta", "xc", "xn", "std")


@pytest.fixture(params=["numpy", "numba"], autouse=True)
def backend(request, of_any_size):
    with nnx.use_backend(request.param):
        yield request.param


def pair(kind="relu", sizes=(9, 7)):
    """Two equal networks: one by a plan, and one whose layers a script has looked at."""
    made = []
    for _ in range(2):
        np.random.seed(1)
        cls, settings = KINDS[kind]
        made.append(cls(12, list(sizes), 4, **settings))
    assert made[1].layers
    return made


def train(network, x, t, steps=6, lr=0.3):
    """What a script does; all that it sees."""
    np.random.seed(2)
    seen = []
    for i in range(steps):
        rows = slice(i, i + 20)
        grads = network.gradient(x[rows], t[rows])
        for name, grad in grads.items():
            network.params[name] -= lr * grad
        seen += [grads[name].copy() for name in sorted(grads)]
        seen += [network.loss(x[rows], t[rows]), network.predict(x[rows]), network.accuracy(x, t)]
    seen.append(np.random.random())
    return seen


def same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def state(network):
    layers = {**network.layers, "last": network.last_layer}
    return {
        (name, key): getattr(layer, key) for name, layer in layers.items() for key in ATTRIBUTES if hasattr(layer, key)
    }


@pytest.mark.parametrize("labels", [T, np.eye(4)[T]], ids=["labels", "one-hot"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_that_of_the_layers(kind, labels):
    ours, theirs = pair(kind)
    same(train(ours, X, labels), train(theirs, X, labels))
    assert ours._plan is not None
    assert ours._plan._sizes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", ["gradient", "loss", "predict"])
def test_who_looks_at_the_layers_finds_their_state(kind, last):
    ours, theirs = pair(kind)
    for network in (ours, theirs):
        train(network, X, T)
        np.random.seed(3)
        network.gradient(X[:20], T[:20])
        if last == "loss":
            network.loss(X[20:30], T[20:30])
        if last == "predict":
            network.predict(X[:5])
    expected = state(theirs)
    for key, value in state(ours).items():
        if value is None or isinstance(value, tuple | int):
            assert value == expected[key], key
        else:
            np.testing.assert_allclose(value, expected[key], rtol=1e-9, atol=1e-12, err_msg=str(key))
    assert ours._plan is None
    same(train(ours, X, T), train(theirs, X, T))


@pytest.mark.parametrize("kind", ["relu", "both"])
def test_batches_that_the_plan_does_not_take_among_those_that_it_does(kind, monkeypatch):
    monkeypatch.setattr(planned, "_MOST", 30)
    ours, theirs = pair(kind)
    for network in (ours, theirs):
        np.random.seed(3)
        network.gradient(X[:20], T[:20])
        network.gradient(X, T)
        network.gradient(X[:20], T[:20])
        network.predict(X)
    expected = state(theirs)
    for key, value in state(ours).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(value, expected[key], rtol=1e-9, atol=1e-12, err_msg=str(key))


def test_rows_of_float32_and_of_any_shape():
    ours, theirs = pair()
    x = X.astype(np.float32)
    same(train(ours, x, T), train(theirs, x.astype(float), T))
    pictures = X.reshape(40, 3, 2, 2)
    same(train(ours, pictures, T), train(theirs, pictures, T))
    assert ours.layers["Affine1"].original_x_shape == pictures.shape  # of the last accuracy
    reversed_columns = np.asfortranarray(X)[:, ::-1]
    same(train(ours, reversed_columns, T), train(theirs, reversed_columns, T))


def test_a_network_of_float32(monkeypatch):
    monkeypatch.setenv("NNX_SCRIPT_DTYPE", "float32")
    ours, theirs = pair("both")
    x = X.astype(np.float32)
    mine = ours.gradient(x, T)
    np.random.seed(1)
    for name, gradient in mine.items():
        assert gradient.dtype == np.float32, name
    assert ours._plan._sizes
    assert theirs.params["W1"].dtype == np.float32


def test_what_a_script_keeps_stays_as_it_is():
    network, _ = pair()
    grads, scores = network.gradient(X[:20], T[:20]), network.predict(X[:20])
    kept = copy.deepcopy((grads, scores))
    network.gradient(X[20:], T[20:])
    network.predict(X[20:])
    same([*grads.values(), scores], [*kept[0].values(), kept[1]])


def test_a_batch_that_does_not_fit_is_refused_as_by_the_layers():
    ours, theirs = pair()
    messages = []
    for network in (ours, theirs):
        with pytest.raises(ValueError, match="mismatch|shapes|aligned") as error:
            network.gradient(X[:, :5], T)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    for x in (X[:0], X.astype(int), X[0]):
        outcomes = []
        for network in (ours, theirs):
            try:
                with np.errstate(all="ignore"):
                    outcomes.append(np.asarray(network.predict(x)))
            except Exception as error:
                outcomes.append(repr(error))
        np.testing.assert_array_equal(outcomes[0], outcomes[1])


def test_another_loss_and_another_gradient_of_it():
    class Half(SoftmaxWithLoss):
        def backward(self, dout=1):
            return (super().backward(dout) / 2)[:, ::-1][:, ::-1]

    ours, theirs = pair()
    for network in (ours, theirs):
        network.last_layer = Half()
    same(train(ours, X, T), train(theirs, X, T))

    class Strange(SoftmaxWithLoss):
        def backward(self, dout=1):
            return super().backward(dout).astype(np.float32)

    for network in (ours, theirs):
        network.last_layer = Strange()
        network.gradient(X, T)
    for key, value in state(theirs).items():
        if key[1] in ("dW", "db"):
            np.testing.assert_allclose(getattr(ours.layers[key[0]], key[1]), value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", [Affine, Relu])
@pytest.mark.parametrize("method", ["forward", "backward"])
def test_a_method_that_a_script_has_replaced_is_called(kind, method, monkeypatch):
    network, _ = pair()
    calls, original = [], getattr(kind, method)
    monkeypatch.setattr(kind, method, lambda self, *args: calls.append(kind) or original(self, *args))
    network.gradient(X, T)
    assert len(calls) >= 2


def test_affine_layers_without_an_activation_between_them():
    r = np.random.default_rng(1)
    layers = {f"Affine{i}": Affine(r.normal(size=(12, 12)), np.ones(12)) for i in (1, 2)}
    z = np.dot(X, layers["Affine1"].W) + 1
    dz = np.dot(np.ones((40, 12)), layers["Affine2"].W.T)
    network, plan = MultiLayerNet(12, [12], 12), planned.Plan()
    network.layers = layers
    for y in (network.predict(X), plan.forward(layers, X, training=False)):
        np.testing.assert_allclose(y, np.dot(z, layers["Affine2"].W) + 1, rtol=1e-9)
    for backward in (lambda dout: plan.backward(layers, dout), network._backpropagate):
        backward(np.ones((40, 12)))
        np.testing.assert_allclose(layers["Affine1"].dW, np.dot(X.T, dz), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layers["Affine2"].dW, np.dot(z.T, np.ones((40, 12))), rtol=1e-9, atol=1e-12)


def test_a_network_of_ones_own_uses_its_layers():
    class Noisy(MultiLayerNet):
        def predict(self, x):
            for layer in self.layers.values():
                x = layer.forward(x)
            return x + 1

    np.random.seed(1)
    network, (_, theirs) = Noisy(12, [9, 7], 4), pair()
    np.testing.assert_allclose(network.predict(X), theirs.predict(X) + 1)
    same(network.gradient(X, T).values(), theirs.gradient(X, T).values())


@pytest.mark.parametrize("kind", ["relu", "both"])
def test_copies_and_pickles(kind):
    ours, theirs = pair(kind)
    train(ours, X, T), train(theirs, X, T)
    for make in (copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))):
        again = make(ours)
        assert again.layers["Affine1"].W is again.params["W1"]
        again = make(ours)
        assert again.params["W1"] is not ours.params["W1"]
        same(train(again, X, T), train(make(theirs), X, T))
        assert again._plan is not None
    assert {"layers", "params", "last_layer"} <= ours.__getstate__().keys()
    assert not {"_layers", "_plan"} & ours.__getstate__().keys()


def test_copies_of_a_network_whose_layers_are_in_other_hands():
    network, _ = pair()
    other = copy.copy(network)
    other.gradient(X, T)
    assert network.layers is other.layers
    assert network.layers["Affine1"].x is X
    held = network.layers["Affine1"]
    again, layer = copy.deepcopy((network, held))
    again.gradient(X[:7], T[:7])
    assert layer.x.shape == (7, 12)
    held.forward = lambda x: np.zeros((len(x), 9))
    assert pickle.loads(pickle.dumps(again))._plan is None
    plan = planned.Plan()
    plan.forward(network._layers, X, training=False)
    assert plan._last is None
    assert network.layers["Activation_function1"].mask.all()


def test_a_parameter_that_becomes_another_array():
    plan, r = planned.Plan(), np.random.default_rng(1)
    first, second = Affine(r.normal(size=(12, 9)), np.zeros(9)), Affine(r.normal(size=(9, 4)), np.zeros(4))
    for b in (np.ones(9), np.ones((1, 9)), np.full(9, 2.0)):
        first.b = b
        y = plan.forward({"Affine1": first, "Affine2": second}, X, training=False)
        np.testing.assert_allclose(y, (X @ first.W + b) @ second.W, rtol=1e-9, atol=1e-12)


def test_what_diverges_is_selected_and_not_multiplied():
    ours, theirs = pair()
    seen = []
    for network in (ours, theirs):
        network.params["W2"][:] = np.inf
        with np.errstate(all="ignore"):
            grads = network.gradient(np.abs(X), T)
        seen.append([np.isnan(grads[name]) for name in sorted(grads)])
    for a, b in zip(*seen, strict=True):
        np.testing.assert_array_equal(a, b)


def test_dropout_without_its_training_pass():
    ours, theirs = pair("dropout")
    for network in (ours, theirs):
        np.random.seed(4)
        network.gradient(X, T)
        network.loss(X, T)  # in prediction
        network._backpropagate(np.full((40, 4), 0.5))
    same(*([network.layers[name].dW for name in ("Affine1", "Affine3")] for network in (ours, theirs)))


def test_networks_at_the_same_time(backend):
    networks = [pair(kind)[0] for kind in ("relu", "relu", "both")]
    alone = [[network.predict(X[i : i + 20]) for i in range(10)] for network in networks]
    found = {}

    def predict(k, network):
        found[k] = [network.predict(X[i : i + 20]) for i in range(10)]

    threads = [threading.Thread(target=predict, args=(k, networks[k % 3])) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k, outputs in found.items():
        same(outputs, alone[k % 3])


def test_the_next_network_takes_over_what_was_captured():
    planned._left.clear()
    network, theirs = pair("both")
    network.gradient(X[:20], T[:20])
    (passes,) = network._plan._sizes.values()
    del network
    other, _ = pair("both")
    other.params["W1"][:] *= 2
    theirs.params["W1"][:] *= 2
    for network in (other, theirs):
        np.random.seed(5)
        network.found = network.gradient(X[:20], T[:20])
    assert next(iter(other._plan._sizes.values())) is passes
    same(other.found.values(), theirs.found.values())
    planned._left.clear()


def test_sizes_that_change_all_the_time():
    ours, theirs = pair()
    for n in range(1, 30):
        same([ours.predict(X[:n])], [theirs.predict(X[:n])])
    assert len(ours._plan._sizes) == planned._SIZES


def test_parameters_that_do_not_fit_are_the_layers_matter():
    network, _ = pair()
    for wrong in ({"W": np.zeros((12, 9), int)}, {"b": np.zeros((1, 9))}, {"W": np.zeros((9, 12)).T}):
        layers = {"Affine1": Affine(wrong.get("W", np.zeros((12, 9))), wrong.get("b", np.zeros(9)))}
        assert planned._structure(list(layers.values())) is None
        plan = planned.Plan()
        np.testing.assert_array_equal(plan.forward(layers, X, training=True), np.zeros((40, 9)))
    square = Affine(np.zeros((2, 2)), np.zeros(2))
    for layers in ([], [Relu()], [Sigmoid(), square], [square, network._layers["Affine1"]], [square, object()]):
        assert planned._structure(layers) is None
