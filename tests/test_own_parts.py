"""Parts of one's own: copied, pickled, known by name, checked, and what is said where they are wrong."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import nnx
from nnx._support.arena import Spec


class Leaky(nnx.Layer):
    fields = ("slope",)

    def __init__(self, slope=0.01):
        super().__init__()
        self.slope = slope

    def forward(self, x, train_flg=True):
        if train_flg:
            self._saved = x
        return self.ops.xp.where(x > 0, x, self.slope * x)

    def backward(self, dout):
        return self.ops.xp.where(self._saved > 0, dout, self.slope * dout)


class Scale(nnx.Layer):
    """With a parameter."""

    def declare(self, shape):
        return [Spec("s", shape, value=1.5)], shape

    def forward(self, x, train_flg=True):
        if train_flg:
            self._saved = x
        return x * self.params["s"]

    def backward(self, dout):
        self.grads["s"][...] = (dout * self._saved).sum(axis=0)
        return dout * self.params["s"]


def layers():
    return [nnx.Affine(7), nnx.BatchNorm(), Leaky(0.1), Scale(), nnx.Dropout(0.2), nnx.Affine(3)]


def data(n=30):
    r = np.random.default_rng(0)
    return r.normal(size=(n, 5)).astype(np.float32), r.integers(0, 3, n)


def trained(backend="numpy"):
    trainer = nnx.Trainer(nnx.Sequential(*layers()), backend=backend, seed=4)
    trainer.fit(*data(), epochs=2, batch_size=10, verbose=False)
    return trainer


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(nnx.registration, "LAYERS", known := dict(nnx.layers.LAYERS))
    monkeypatch.setattr(nnx.model, "LAYERS", known)
    assert nnx.register(Leaky) is Leaky
    nnx.register(Scale)
    return known


class TestCopies:
    @pytest.mark.parametrize("backend", ["numpy", "numba"])
    @pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
    def test_a_built_model(self, twin, backend):
        model, (x, t) = trained(backend).model, data()
        other = twin(model)
        assert other.backend is model.backend
        assert (other.why, other.seed, other.dtype) == (model.why, model.seed, model.dtype)
        assert repr(other) == repr(model)
        np.testing.assert_array_equal(other.predict(x), model.predict(x))
        for name, values in model.state_dict().items():
            np.testing.assert_array_equal(other.state_dict()[name], values)
            assert not np.shares_memory(other._arrays()[name], model._arrays()[name])
        before = model.state_dict()
        nnx.Trainer(other).step(x, t)
        assert all(np.array_equal(before[name], values) for name, values in model.state_dict().items())

    def test_an_unbuilt_model(self):
        model = nnx.Sequential(*layers())
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert not other.built
            other.build(5, backend="numpy", seed=1)
        model.build(5, backend="numpy", seed=1)
        np.testing.assert_array_equal(other.params.buffer, model.params.buffer)

    def test_an_unbuilt_one_keeps_arrays_that_were_given(self):
        w = np.arange(6.0).reshape(3, 2)
        other = copy.deepcopy(nnx.Sequential(nnx.Affine(w, np.ones(2)))).build(3, backend="numpy", dtype="float64")
        np.testing.assert_array_equal(other.params["0.W"], w)

    def test_a_layer_of_a_model_becomes_a_layer_of_its_own(self):
        model, (x, _) = trained().model, data()
        affine = copy.deepcopy(model.layers[0])
        assert not affine.attached
        np.testing.assert_array_equal(affine.forward(x), model.layers[0].forward(x))
        affine.params["W"][...] = 0
        assert model.params["0.W"].any()
        assert nnx.Sequential(affine).build(5, backend="numpy").params["0.b"].shape == (7,)

    def test_layers_losses_and_optimizers_that_stand_alone(self):
        with nnx.use_backend("numpy"):
            affine, loss, adam = nnx.Affine(np.ones((2, 3)), np.zeros(3)), nnx.SoftmaxCrossEntropy(), nnx.Adam()
            loss.forward(affine.forward(np.ones((4, 2))), np.zeros(4, int))
            affine.backward(loss.backward())
            adam.update(affine.params, affine.grads)
            affine, loss, adam = pickle.loads(pickle.dumps([affine, loss, adam]))
            loss.forward(affine.forward(np.ones((4, 2))), np.zeros(4, int))
            affine.backward(loss.backward())
            adam.update(affine.params, affine.grads)
        assert adam.t == 2

    def test_attributes_of_ones_own_stay(self):
        model = trained().model
        model.classes = ["a", "b", "c"]
        assert copy.deepcopy(model).classes == ["a", "b", "c"]

    def test_another_process_reads_it(self, tmp_path):
        model = nnx.MLP((8,), 3).build(5, backend="numpy", seed=6)
        (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
        code = (
            "import pickle, pathlib, numpy as np\n"
            "model = pickle.loads(pathlib.Path('model.pickle').read_bytes())\n"
            "print(model.backend.name, float(model.predict(np.ones((1, 5))).sum()))"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        name, total = done.stdout.split()
        assert name == "numpy"
        assert float(total) == float(model.predict(np.ones((1, 5))).sum())

    def test_a_trainer_is_not_copied(self):
        for twin in (copy.deepcopy, pickle.dumps):
            with pytest.raises(
                nnx.InputTypeError, match=r"a Trainer cannot be copied or pickled: write it by trainer.sa"
            ):
                twin(trained())


class TestRegister:
    def test_files_with_registered_layers_load(self, registered, tmp_path):
        trainer = trained()
        trainer.save(tmp_path / "own.safetensors")
        loaded = nnx.Trainer.load(tmp_path / "own.safetensors", backend="numba")
        assert repr(loaded.model) == repr(trainer.model)
        np.testing.assert_allclose(loaded.model.predict(data()[0]), trainer.model.predict(data()[0]), rtol=1e-5)

    def test_a_cell_that_runs_again_replaces_its_class(self, registered):
        again = type("Leaky", (Leaky,), {"__module__": __name__, "__qualname__": "Leaky"})
        nnx.register(again)
        assert registered["Leaky"] is again

    def test_a_name_that_is_taken(self, registered):
        taken = type("ReLU", (nnx.Layer,), {})
        with pytest.raises(
            nnx.InputError, match=r"register: 'ReLU' is <class 'nnx.layers._activations.ReLU'> already; choose another"
        ):
            nnx.register(taken)
        assert registered["ReLU"] is nnx.ReLU

    def test_losses_and_optimizers(self, monkeypatch):
        monkeypatch.setattr(nnx.registration, "OPTIMIZERS", rules := {})
        monkeypatch.setattr(nnx.registration, "LOSSES", losses := {})
        lion = nnx.register(type("Lion", (nnx.SGD,), {}))
        huber = nnx.register(type("Huber", (nnx.MeanSquaredError,), {}))
        assert (rules, losses) == ({"lion": lion}, {"Huber": huber})

    @pytest.mark.parametrize(
        ("part", "message"),
        [
            (
                int,
                r"register: got <class 'int'>, expected a class derived from nnx.Layer, nnx.Loss or nnx.Optimizer, a ",
            ),
            (Leaky(), r"register: got Leaky\(\), expected .*; write nnx.register\(Leaky\)"),
        ],
    )
    def test_what_is_no_part(self, part, message):
        with pytest.raises(nnx.InputTypeError, match=message):
            nnx.register(part)


class TestGradientCheck:
    @pytest.mark.parametrize("built", [False, True])
    def test_it_takes_layers_that_nobody_registered(self, built):
        model, (x, t) = nnx.Sequential(*layers()), data()
        if built:
            model.build(5, backend="numpy")
        errors = nnx.functions.gradient_check(model, x, t)
        assert set(errors) >= {"0.W", "3.s", "5.b"}
        assert max(errors.values()) < 1e-4
        assert model.built is built

    def test_it_finds_a_wrong_one(self):
        class Wrong(Leaky):
            def backward(self, dout):
                return 2 * super().backward(dout)

        model = nnx.Sequential(nnx.Affine(4), Wrong(), nnx.Affine(3))
        errors = nnx.functions.gradient_check(model, *data())
        assert errors["0.W"] > 0.1 > 1e-5 > errors["2.W"]

    def test_the_laboratory_takes_them_too(self):
        x, t = data()
        assert max(nnx.lab.gradient_check(nnx.Sequential(*layers()), x, t).errors.values()) < 1e-4
        assert len(nnx.lab.lr_find((x, t), trained().model, steps=20, verbose=False).lr)


class NoSuper(nnx.Layer):
    def __init__(self):
        pass


class OneArgument(nnx.Layer):
    def forward(self, x):
        return x


class NoGradient(Leaky):
    def backward(self):
        return None


class Widen(nnx.Layer):
    def forward(self, x, train_flg=True):
        return self.ops.xp.concat((x, x), axis=1)

    def backward(self, dout):
        half = dout.shape[1] // 2
        return dout[:, :half] + dout[:, half:]


class Widened(Widen):
    def declare(self, shape):
        return (), (2 * shape[0],)


class Forgets(Leaky):
    def forward(self, x, train_flg=True):
        super().forward(x, train_flg)


class WrongGradient(Widened):
    def backward(self, dout):
        return dout


class TestMistakes:
    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (NoSuper, r"^Sequential: layer 1, NoSuper: its __init__ must begin with super\(\).__init__\(\)\."),
            (OneArgument, r"layer 1, OneArgument: got forward\(x\), expected forward\(self, x, train_flg=True\)\."),
            (NoGradient, r"layer 1, NoGradient: got backward\(\), expected backward\(self, dout\)\."),
        ],
    )
    def test_a_class_that_is_no_layer_is_refused_at_the_door(self, layer, message):
        with pytest.raises(nnx.InputTypeError, match=message + r" See `nnx docs extending`\.$"):
            nnx.Sequential(nnx.Affine(3), layer())

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (Widen, r"Widen\(\): forward gave \(n, 14\), declare said \(n, 7\)\."),
            (Forgets, r"Forgets\(\): forward gave None, expected an array of shape \(30, 7\)\."),
            (WrongGradient, r"WrongGradient\(\): backward gave \(n, 14\), its input was \(n, 7\)\."),
        ],
    )
    def test_shapes_that_disagree_are_told_with_the_layer(self, layer, message):
        trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(7), layer(), nnx.Affine(3)), backend="numpy")
        with pytest.raises(nnx.NnxError, match=message):
            trainer.step(*data())

    def test_predict_tells_it_too(self):
        model = nnx.Sequential(nnx.Affine(7), Widen()).build(5, backend="numpy")
        with pytest.raises(nnx.InputError, match=r"Widen\(\): forward gave \(n, 14\), declare said \(n, 7\)\."):
            model.predict(data()[0])

    def test_with_a_declaration_it_trains(self):
        trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(7), Widened(), nnx.Affine(3)), backend="numpy")
        trainer.step(*data())
        assert trainer.model.params["2.W"].shape == (14, 3)

    def test_a_callback_class_that_defines_another_method(self):
        class Printing(nnx.Callback):
            def on_epoch_end(self, trainer, epoch, logs):
                print(logs)

        with pytest.raises(nnx.InputError, match="unknown method of Printing 'on_epoch_end'"):
            trained().fit(*data(), callbacks=[Printing()], verbose=False)
