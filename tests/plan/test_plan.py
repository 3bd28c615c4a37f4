"""The fused plan against the layers' own forward and backward."""

import tracemalloc

import numpy as np
import pytest
from spies import watched

import nnx
from nnx.plan import Stage, stage_of

ARCHITECTURES = {
    "relu": lambda: (nnx.Affine(12), nnx.ReLU(), nnx.Affine(9), nnx.ReLU(), nnx.Affine(4)),
    "sigmoid": lambda: (nnx.Affine(12), nnx.Sigmoid(), nnx.Affine(4)),
    "tanh": lambda: (nnx.Affine(12), nnx.Tanh(), nnx.Affine(4)),
    "batch norm": lambda: (nnx.Affine(12), nnx.BatchNorm(), nnx.ReLU(), nnx.Affine(4)),
    "dropout": lambda: (nnx.Affine(12), nnx.ReLU(), nnx.Dropout(0.3), nnx.Affine(8), nnx.Dropout(0.2), nnx.Affine(4)),
    "inverted dropout": lambda: (nnx.Affine(12), nnx.ReLU(), nnx.Dropout(0.3, inverted=True), nnx.Affine(4)),
    "two affines": lambda: (nnx.Affine(12), nnx.Affine(7), nnx.Affine(4)),
    "no bias": lambda: (nnx.Affine(12, bias=False), nnx.ReLU(), nnx.Affine(4, bias=False)),
    "starts with no parameters": lambda: (nnx.Flatten(), nnx.ReLU(), nnx.Affine(12), nnx.Identity(), nnx.Affine(4)),
    "ends with an activation": lambda: (nnx.Affine(12), nnx.ReLU(), nnx.Affine(4), nnx.Tanh()),
    "batch norm first": lambda: (nnx.BatchNorm(), nnx.Affine(4), nnx.ReLU()),
}

PICTURES = {
    "pictures": lambda: (
        nnx.Convolution(6, 3, pad=1),
        nnx.ReLU(),
        nnx.MaxPooling(2),
        nnx.Convolution(5, (2, 3), stride=(2, 1)),
        nnx.GELU(),
        nnx.AveragePooling(2, stride=1, pad=1),
        nnx.Flatten(),
        nnx.Affine(4),
    ),
    "normalised pictures": lambda: (
        nnx.BatchNorm(),
        nnx.Convolution(6, 3, bias=False),
        nnx.BatchNorm(),
        nnx.ReLU(),
        nnx.Dropout(0.3),
        nnx.Convolution(3, 1),
        nnx.GlobalAveragePooling(),
        nnx.Affine(4),
    ),
    "pictures at the end": lambda: (nnx.Sigmoid(), nnx.Convolution(4, (9, 8)), nnx.Flatten()),
    "one channel above another layer": lambda: (
        nnx.Convolution(5, 3),
        nnx.Convolution(1, 2),
        nnx.MaxPooling(2, stride=1),
        nnx.Sigmoid(),
        nnx.Flatten(),
        nnx.Affine(4),
    ),
    "one pixel above another layer": lambda: (
        nnx.Convolution(5, (8, 7)),
        nnx.AveragePooling(2),
        nnx.Flatten(),
        nnx.Affine(4),
    ),
    "pictures made of features": lambda: (
        nnx.Flatten(),
        nnx.Affine(12),
        Unflattened(),
        nnx.Convolution(3, 2),
        nnx.Flatten(),
        nnx.Affine(4),
    ),
    "augmented pictures": lambda: (
        nnx.RandomShift((2, 1)),
        nnx.RandomFlip(),
        nnx.Convolution(6, 3),
        nnx.SpatialDropout(0.4),
        nnx.RandomShift(1),
        nnx.ReLU(),
        nnx.SpatialDropout(0.2, inverted=True),
        nnx.Convolution(4, 2),
        nnx.GlobalAveragePooling(),
    ),
    "pictures and an own layer": lambda: (
        nnx.Convolution(3, 2),
        Doubled(),
        nnx.MaxPooling(3),
        nnx.Flatten(),
        nnx.Affine(4),
    ),
}


class Doubled(nnx.Layer):
    """A layer that the plan has never heard of."""

    def forward(self, x, train_flg=True):
        return x * 2

    def backward(self, dout):
        return dout * 2


class Unflattened(nnx.Layer):
    """Features as pictures of 3 x 2 with two channels."""

    def declare(self, shape):
        return (), (2, 3, 2)

    def forward(self, x, train_flg=True):
        return x.reshape(-1, 2, 3, 2)

    def backward(self, dout):
        return dout.reshape(-1, 12)


@stage_of(Unflattened)
class UnflattenedStage(Stage):
    channels_last = True

    def forward(self, program):
        return lambda x: x.reshape(-1, 2, 3, 2).transpose(0, 2, 3, 1).copy()

    def backward(self, program, db, needs_dx):
        return lambda dy, x, y: dy.transpose(0, 3, 1, 2).reshape(-1, 12)


ARCHITECTURES["own layer"] = lambda: (nnx.Affine(12), Doubled(), nnx.ReLU(), nnx.Affine(4))


def make(architecture, loss, **settings):
    model = nnx.Sequential(*(ARCHITECTURES | PICTURES)[architecture]())
    return nnx.Trainer(model, nnx.SGD(lr=0.1), loss, dtype="float64", **settings)


def batch(n=11, features=6):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, features)), rng.integers(0, 4, n)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, *PICTURES])
@pytest.mark.parametrize("kind", ["cross entropy", "squared error"])
def test_gradients_are_those_of_the_layers(architecture, kind):
    x, t = batch()
    if architecture in PICTURES:
        x = np.random.default_rng(2).standard_normal((11, 2, 9, 8))
    loss = nnx.SoftmaxCrossEntropy()
    if kind == "squared error":
        loss, t = nnx.MeanSquaredError(), np.eye(4)[t]
    trainer = make(architecture, loss)
    trainer.build(x.shape[1:])
    model, plan = trainer.model, trainer.plan
    program = plan.program(len(x))
    keys = [layer.random_key(model.seed, 0) for layer in plan.random]
    fused = program.differentiate(x, t, np.stack(keys) if keys else None)
    gradients = {name: g.copy() for name, g in model.grads.items()}

    plain = loss.forward(model.forward(x), t)
    model.backward(loss.backward())
    np.testing.assert_allclose(fused, plain, rtol=1e-13)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, model.grads[name], rtol=1e-10, atol=1e-14, err_msg=name)


def test_what_is_fused():
    model = nnx.Sequential(*ARCHITECTURES["relu"]()).build(6)
    assert [stage.name for stage in model.stages] == ["Affine(12), ReLU()", "Affine(9), ReLU()", "Affine(4)"]
    assert model.stages[-1].by_loss


def test_inputs_are_never_modified():
    x, t = batch()
    before = x.copy(), t.copy()
    trainer = make("starts with no parameters", None)
    trainer.step(x, t)
    trainer.fit(x, t, epochs=1, verbose=False)
    trainer.model.predict(x)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(t, before[1])


def test_first_layer_computes_no_dx():
    calls = []

    def look(dy, x, w, *, dx=None, dw=None, db=None):
        calls.append((w.shape, dx is None, db is None))

    model = nnx.Sequential(nnx.Flatten(), *ARCHITECTURES["relu"]())
    nnx.Trainer(model, backend=watched("affine_backward", before=look)).step(*batch())
    # Upwards: only the first lacks dx; every bias gradient comes from the operation above.
    assert calls == [((9, 4), False, True), ((12, 9), False, True), ((6, 12), True, True)]


@pytest.mark.parametrize(
    "architecture", ["one channel above another layer", "one pixel above another layer", "pictures"]
)
def test_no_operation_writes_over_its_input(architecture):
    trainer = make(architecture, None)
    trainer.build((2, 9, 8))
    ops = trainer.model.ops

    def watch(op):
        def call(*inputs, **others):
            for made in (others.get(name) for name in ("out", "dx")):
                assert made is None or not any(np.shares_memory(made, i) for i in inputs if isinstance(i, np.ndarray))
            return own(*inputs, **others)

        own = getattr(ops, op)
        setattr(ops, op, call)

    for op in ("convolution_backward", "max_pooling_backward", "average_pooling_backward", "activation_backward"):
        watch(op)
    x = np.random.default_rng(2).standard_normal((3, 2, 9, 8))
    trainer.plan.program(3).differentiate(x, np.arange(3), None)


def test_what_turns_pictures_is_not_named_for_a_value_that_is_not_finite():
    trainer = make("pictures", None)
    trainer.build((2, 9, 8))
    program = trainer.plan.program(3)
    with np.errstate(invalid="ignore"):
        program.differentiate(np.full((3, 2, 9, 8), np.nan), np.arange(3), None)
    assert program.first_non_finite() == "Convolution(6, size=3, pad=1)"


def test_batches_of_any_size_share_the_buffers():
    trainer = make("dropout", None)
    x, t = batch(40)
    reference = make("dropout", None)
    for n in (16, 7, 40, 16, 1):
        trainer.step(x[:n], t[:n])
        reference._plan = None  # a plan of its own for every size: no shared buffer, no view
        reference.step(x[:n], t[:n])
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(value, reference.model.state_dict()[name], err_msg=name)


@pytest.mark.parametrize("architecture", ["relu", "batch norm", "dropout", "sigmoid"])
def test_no_activation_is_allocated_after_the_first_step(architecture):
    """What a step holds at its peak must not grow with the batch by whole activations (the random words of dropout are
    the one exception: a composed or plain Philox needs them)."""
    trainer = make(architecture, None)
    x, t = batch(2000)
    trainer.step(x, t)
    trainer.step(x, t)
    tracemalloc.start()
    trainer.step(x, t)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    activation = 2000 * 12 * 8
    assert peak < (4 if architecture == "dropout" else 1) * activation


def test_losses_are_fresh():
    trainer = make("relu", None)
    x, t = batch()
    losses = [trainer.step(x, t) for _ in range(3)]
    assert len({float(loss) for loss in losses}) == 3


def test_non_finite_loss_changes_nothing():
    trainer = make("batch norm", None)
    x, t = batch()
    trainer.step(x, t)
    before = trainer.model.state_dict()
    x[3, 2] = np.nan
    assert np.isnan(trainer.step(x, t))
    for name, value in trainer.model.state_dict().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_weight_decay_is_in_the_gradient_of_weights_only_and_told_by_itself():
    x, t = batch()
    plain, decayed = make("relu", None), make("relu", None, weight_decay=0.5)
    start = make("relu", None, weight_decay=0.5)
    start.build((6,))
    weights = sum(np.sum(p**2) for name, p in start.model.params.items() if name.endswith("W"))
    np.testing.assert_allclose(start.penalty(), 0.25 * weights, rtol=1e-12)
    assert plain.step(x, t) == decayed.step(x, t)
    assert plain.penalty() == 0
    for name, value in decayed.model.params.items():
        expected = plain.model.params[name] - 0.1 * 0.5 * start.model.params[name] * name.endswith("W")
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-15, err_msg=name)


def test_gradients_are_clipped_to_the_norm():
    x, t = batch()
    trainer, start = make("relu", None, clip_norm=1e-3), make("relu", None)
    start.build((6,))
    trainer.step(x, t)
    step = np.concatenate([(trainer.model.params[n] - start.model.params[n]).ravel() for n in start.model.params])
    np.testing.assert_allclose(np.linalg.norm(step), 0.1 * 1e-3, rtol=1e-6)
