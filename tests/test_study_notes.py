"""The study notes' own classes, as they stand, on a model's parameters; and their names on nnx's layers."""

import numpy as np
import pytest

import nnx


class SGD:
    def __init__(self, lr=0.01):
        self.lr = lr

    def update(self, params, grads):
        for key in params.keys():  # noqa: SIM118  as the notes have it
            params[key] -= self.lr * grads[key]


class Momentum:
    def __init__(self, lr=0.01, momentum=0.9):
        self.lr = lr
        self.momentum = momentum
        self.v = None

    def update(self, params, grads):
        if self.v is None:
            self.v = {}
            for key, val in params.items():
                self.v[key] = np.zeros_like(val)
        for key in params.keys():  # noqa: SIM118
            self.v[key] = self.momentum * self.v[key] - self.lr * grads[key]
            params[key] += self.v[key]


class AdaGrad:
    def __init__(self, lr=0.01):
        self.lr = lr
        self.h = None

    def update(self, params, grads):
        if self.h is None:
            self.h = {}
            for key, val in params.items():
                self.h[key] = np.zeros_like(val)
        for key in params.keys():  # noqa: SIM118
            self.h[key] += grads[key] * grads[key]
            params[key] -= self.lr * grads[key] / (np.sqrt(self.h[key]) + 1e-7)


class Adam:
    def __init__(self, lr=0.001, beta1=0.9, beta2=0.999):
        self.lr = lr
        self.beta1 = beta1
        self.beta2 = beta2
        self.iter = 0
        self.m = None
        self.v = None

    def update(self, params, grads):
        if self.m is None:
            self.m, self.v = {}, {}
            for key, val in params.items():
                self.m[key] = np.zeros_like(val)
                self.v[key] = np.zeros_like(val)
        self.iter += 1
        lr_t = self.lr * np.sqrt(1.0 - self.beta2**self.iter) / (1.0 - self.beta1**self.iter)
        for key in params.keys():  # noqa: SIM118
            self.m[key] += (1 - self.beta1) * (grads[key] - self.m[key])
            self.v[key] += (1 - self.beta2) * (grads[key] ** 2 - self.v[key])
            params[key] -= lr_t * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)


def built(dtype="float64"):
    return nnx.MLP((12,), 3).build(6, backend="numpy", seed=2, dtype=dtype)


def trained(optimizer, dtype="float64"):
    r = np.random.default_rng(0)
    x, t = r.normal(size=(60, 6)).astype(dtype), r.integers(0, 3, 60)
    model, loss, losses = built(dtype), nnx.SoftmaxCrossEntropy(), []
    for _ in range(20):
        losses.append(float(loss.forward(model.forward(x), t)))
        model.backward(loss.backward())
        optimizer.update(model.params, model.grads)
    return model, losses


@pytest.mark.parametrize(
    ("own", "ours"),
    [
        (SGD(0.1), nnx.SGD(0.1)),
        (Momentum(0.1), nnx.Momentum(0.1)),
        (AdaGrad(0.1), nnx.AdaGrad(0.1)),
        (Adam(0.01), nnx.Adam(0.01)),
    ],
    ids=["SGD", "Momentum", "AdaGrad", "Adam"],
)
@pytest.mark.usefixtures("numpy_backend")
def test_their_own_optimizers_train_a_model(own, ours):
    model, losses = trained(own)
    expected, theirs = trained(ours)
    assert losses[-1] < 0.9 * losses[0]
    np.testing.assert_allclose(losses, theirs, rtol=1e-4)  # Adam's eps stands elsewhere
    for name, array in model.params.items():
        np.testing.assert_allclose(array, expected.params[name], rtol=1e-2, atol=1e-4)
    assert model.params["1.W"] is model.layers[1].W, "the layers see it"


@pytest.fixture
def numpy_backend():
    with nnx.use_backend("numpy"):
        yield


def test_a_parameter_takes_values_of_its_shape_in_any_dtype():
    params = built("float32").params
    view, buffer = params["1.b"], params.buffer
    params["1.b"] = np.arange(12)
    params["1.W"] = params["1.W"] * 2.0
    np.testing.assert_array_equal(view, np.arange(12))
    assert params["1.b"] is view
    assert view.dtype == np.float32
    assert np.shares_memory(view, buffer)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("1.w", np.zeros(3), "unknown parameter '1.w'. Did you mean '1.b'. Known: 1.W, 1.b, 3.W, 3.b."),
        ("1.b", np.zeros(13), r"parameter '1.b': got a value of shape \(13,\), expected \(12,\); parameters keep"),
        ("1.b", 0.0, r"got a value of shape \(\), expected \(12,\).*write params\['1.b'\]\[...\] = number"),
    ],
)
def test_a_parameter_takes_nothing_else(name, value, message):
    params = built().params
    before = params.buffer.copy()
    with pytest.raises(nnx.InputError, match=message):
        params[name] = value
    np.testing.assert_array_equal(params.buffer, before)


@pytest.mark.usefixtures("numpy_backend")
def test_the_notes_names_of_parameters_and_gradients():
    affine = nnx.Affine(np.ones((3, 2)), np.zeros(2))
    norm = nnx.BatchNorm(np.ones(2), np.zeros(2))
    assert affine.dW is None
    assert norm.dgamma is None
    norm.forward(affine.forward(np.arange(12.0).reshape(4, 3)))
    affine.backward(norm.backward(np.arange(8.0).reshape(4, 2)))
    for layer, params, grads in ((affine, ("W", "b"), ("dW", "db")), (norm, ("gamma", "beta"), ("dgamma", "dbeta"))):
        for name, gradient in zip(params, grads, strict=True):
            assert getattr(layer, name) is layer.params[name]
            assert getattr(layer, gradient) is layer.grads[name]
    assert nnx.Affine(3).W is None


@pytest.mark.parametrize(
    ("old", "new"),
    [("SoftmaxWithLoss", "SoftmaxCrossEntropy"), ("Linear", "Affine"), ("load_mnist", "datasets.load")],
)
def test_a_name_of_the_notes_or_another_library_tells_the_name_here(old, new):
    with pytest.raises(AttributeError, match=f"module 'nnx' has no attribute '{old}': its name here is nnx.{new}$"):
        getattr(nnx, old)


def test_completion_finds_what_is_imported_on_request():
    assert {"accel", "book", "lab", "np", "report", "sklearn", "tune", "Trainer"} <= set(dir(nnx))


def test_every_new_name_exists():
    for name in nnx._NEW_NAMES.values():
        part = nnx
        for step in name.split("."):
            part = getattr(part, step)


# In Trainer -----------------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).normal(size=(60, 6)).astype("f")
T = np.random.default_rng(1).integers(0, 3, 60)


def in_trainer(optimizer, epochs=3, **settings):
    model = nnx.Sequential(nnx.Affine(12), nnx.BatchNorm(), nnx.ReLU(), nnx.Dropout(0.2), nnx.Affine(3))
    trainer = nnx.Trainer(model, optimizer, seed=2, **settings)
    trainer.fit(X, T, epochs=epochs, batch_size=16, verbose=False, validation_data=(X, T))
    return trainer


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(
    ("notes", "ours"),
    [
        (SGD(0.1), nnx.SGD(0.1)),
        (Momentum(0.1, 0.8), nnx.Momentum(0.1, 0.8)),
        (AdaGrad(0.1), nnx.AdaGrad(0.1)),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"weight_decay": 0.1, "clip_norm": 0.3}])
def test_an_optimizer_of_the_notes_trains_in_trainer_as_ours_does(notes, ours, backend, settings):
    import copy

    one = in_trainer(copy.deepcopy(notes), backend=backend, **settings)
    other = in_trainer(ours, backend=backend, **settings)
    for name, values in other.history.items():
        np.testing.assert_allclose(one.history[name], values, rtol=2e-5, atol=1e-6, err_msg=name)
    assert repr(one.optimizer) == f"{type(notes).__name__}(...)"


@pytest.mark.parametrize("make", [SGD, Momentum, AdaGrad, Adam])
def test_a_training_by_one_goes_on_bit_for_bit(make, tmp_path):
    whole = in_trainer(make(0.05), epochs=4, backend="numpy")
    half = in_trainer(make(0.05), epochs=2, backend="numpy")
    half.save(tmp_path / "half")
    loaded = nnx.Trainer.load(tmp_path / "half", backend="numpy", optimizer=make(0.05))
    loaded.fit(X, T, epochs=4, batch_size=16, verbose=False, validation_data=(X, T))
    assert loaded.history == whole.history
    with pytest.raises(nnx.CheckpointError, match=f"unknown optimizer '{make.__name__}'|takes|own"):
        nnx.Trainer.load(tmp_path / "half")


def test_a_loss_that_is_not_finite_is_kept_from_it():
    optimizer = Momentum(0.1)
    trainer = in_trainer(optimizer, backend="numpy")
    before, velocity = trainer.model.state_dict(), {name: v.copy() for name, v in optimizer.v.items()}
    assert np.isnan(float(trainer.step(X * np.float32(np.nan), T)))
    for name, values in trainer.model.state_dict().items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)
    assert all(np.array_equal(optimizer.v[name], v) for name, v in velocity.items())


def test_one_with_a_base_and_no_rule_is_like_them():
    class Lazy(nnx.Optimizer):
        def __init__(self):
            super().__init__(0.1)

        def update(self, params, grads):
            for name in params:
                params[name] -= self.lr * grads[name]

    one, other = in_trainer(Lazy(), backend="numpy"), in_trainer(nnx.SGD(0.1), backend="numpy")
    np.testing.assert_allclose(one.history["loss"], other.history["loss"], rtol=2e-5)


@pytest.mark.parametrize("thing", [{}, set(), SGD, 3])
def test_what_is_no_optimizer_is_refused(thing):
    with pytest.raises(nnx.InputTypeError, match="optimizer: got .*, expected an nnx.Optimizer"):
        nnx.Trainer(nnx.MLP((3,), 2), thing)
