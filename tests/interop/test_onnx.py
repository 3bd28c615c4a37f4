"""Networks as ONNX files: valid, and computed alike by another runtime."""

import json
import sys
from copy import deepcopy

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from command_line import nnx_command

import nnx
from nnx.formula import abs, exp, log1p, maximum, minimum, sqrt, where  # noqa: A004  the field's name

BACKENDS = [s.name for s in nnx.list_backends() if s.usable]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
X = np.random.default_rng(0).standard_normal((20, 3, 4))
PICTURES = np.random.default_rng(0).standard_normal((6, 2, 9, 8))


def trained(backend, dtype="float32"):
    """A model of every layer, whose statistics and parameters are not those of its beginning."""
    layers = (
        nnx.Flatten(), nnx.Affine(7, bias=False), nnx.BatchNorm(eps=1e-3), nnx.ReLU(), nnx.Dropout(0.3),
        nnx.Affine(6), nnx.Sigmoid(), nnx.Identity(), nnx.Dropout(0.4, inverted=True), nnx.Affine(6), nnx.Tanh(),
        nnx.Dropout(0.0), nnx.BatchNorm(), nnx.Affine(5),
    )  # fmt: skip
    trainer = nnx.Trainer(nnx.Sequential(*layers), nnx.SGD(0.1), backend=backend, dtype=dtype)
    for _ in range(5):
        trainer.step(X, np.arange(20) % 5)
    return trainer.model


def of_pictures(dtype="float32"):
    """A model of every layer of pictures."""
    layers = (
        nnx.Convolution(6, (3, 4), stride=(1, 2), pad=(2, 1)), nnx.BatchNorm(), nnx.ReLU(),
        nnx.MaxPooling(3, stride=2, pad=1), nnx.Convolution(5, 3, pad=1, bias=False), nnx.Sigmoid(), nnx.Dropout(0.3),
        nnx.AveragePooling((2, 3), stride=1, pad=(1, 2)), nnx.Convolution(4, 2), nnx.Tanh(), nnx.GlobalAveragePooling(),
        nnx.Affine(5),
    )  # fmt: skip
    trainer = nnx.Trainer(nnx.Sequential(*layers), nnx.SGD(0.1), backend="numpy", dtype=dtype)
    for _ in range(5):
        trainer.step(PICTURES, np.arange(6) % 5)
    return trainer.model


def run(path, x):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, result.name) == ("x", "y")
    return session.run(["y"], {"x": x})[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_another_runtime_gives_the_same_outputs(backend, dtype, tmp_path):
    model = trained(backend, dtype)
    model.to_onnx(tmp_path / "model.onnx")
    for n in (1, 20):  # any number of rows
        x = X[:n].astype(dtype)
        y = run(tmp_path / "model.onnx", x)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, model.predict(x), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_pictures(dtype, tmp_path):
    model = of_pictures(dtype)
    model.to_onnx(tmp_path / "model.onnx")
    operations = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert operations == [
        "Conv", "BatchNormalization", "Relu", "MaxPool", "Conv", "Sigmoid", "Mul", "AveragePool", "Conv", "Tanh",
        "GlobalAveragePool", "Flatten", "Gemm",
    ]  # fmt: skip
    for n in (1, 6):
        x = PICTURES[:n].astype(dtype)
        if dtype == "float32":
            y = run(tmp_path / "model.onnx", x)
        else:  # ONNX Runtime has no convolutions of double precision
            y = onnx.reference.ReferenceEvaluator(str(tmp_path / "model.onnx")).run(["y"], {"x": x})[0]
        assert y.dtype == dtype
        np.testing.assert_allclose(y, model.predict(x), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_flattened_pictures_keep_their_order(tmp_path):
    model = nnx.Sequential(nnx.Convolution(3, 2), nnx.Flatten(), nnx.Affine(4)).build((2, 9, 8), backend="numpy")
    model.to_onnx(tmp_path / "model.onnx")
    x = PICTURES.astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x), model.predict(x), rtol=1e-5, atol=1e-5)


def test_what_the_file_says(tmp_path):
    model = trained("numpy")
    model.to_onnx(str(tmp_path / "model.onnx"), metadata={"classes": "a b"})
    file = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(file, full_check=True)
    operations = [node.op_type for node in file.graph.node]
    assert operations == [
        "Flatten", "Gemm", "BatchNormalization", "Relu", "Mul", "Gemm", "Sigmoid", "Gemm", "Tanh", "BatchNormalization",
        "Gemm",
    ]  # fmt: skip
    kept = {i.name: onnx.numpy_helper.to_array(i) for i in file.graph.initializer}
    np.testing.assert_array_equal(kept["5.W"], model.params["5.W"])
    assert kept["4.factor"] == np.float32(0.7)
    assert {entry.key: entry.value for entry in file.metadata_props} == {"classes": "a b", "nnx": nnx.__version__}
    assert (file.producer_name, file.producer_version) == ("nnx", nnx.__version__)
    assert [(o.domain, o.version) for o in file.opset_import] == [("", 17)]
    for value, shape in ((file.graph.input[0], ["n", 3, 4]), (file.graph.output[0], ["n", 5])):
        assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == shape


@pytest.mark.parametrize("layer", [nnx.Identity, nnx.Flatten, nnx.Dropout])
def test_networks_without_parameters(layer, tmp_path):
    model = nnx.Sequential(layer()).build((3, 4), backend="numpy")
    model.to_onnx(tmp_path / "model.onnx")
    x = X.astype(np.float32)
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", x), model.predict(x))


def test_epsilon_keeps_its_digits_in_float64(tmp_path):
    """A variance as small as epsilon, which ONNX keeps in float32."""
    model = nnx.Sequential(nnx.BatchNorm(eps=1e-5)).build(4, backend="numpy", dtype="float64")
    model.arena.running["0.running_var"][...] = 1e-6
    model.to_onnx(tmp_path / "model.onnx")
    x = np.random.default_rng(0).standard_normal((5, 4))
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x), model.predict(x), rtol=1e-12)


def bent(x):
    return where(x <= 0.5, -abs(x) + maximum(minimum(x, 1.0), -1.0), log1p(exp(x)) / sqrt(1.0 + x * x))


ACTIVATIONS = [
    nnx.LeakyReLU(0.2), nnx.ELU(0.7), nnx.GELU(), nnx.SiLU(), nnx.Softplus(), nnx.Activation(bent),
    nnx.Activation(lambda x: x),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda layer: layer.name)
def test_activations_by_their_formulas(activation, tmp_path):
    model = nnx.Sequential(nnx.Affine(6), activation, nnx.LayerNorm(), deepcopy(activation)).build(4, backend="numpy")
    model.to_onnx(tmp_path / "model.onnx")
    x = 3 * np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x), model.predict(x), rtol=2e-5, atol=2e-5)


class Doubled(nnx.Identity):
    def forward(self, x, train_flg=True):
        return x + x


def test_refused(tmp_path, monkeypatch):
    with pytest.raises(nnx.InputError, match="to_onnx: the model has no parameters yet"):
        nnx.MLP((3,), 2).to_onnx(tmp_path / "model.onnx")
    own = nnx.Sequential(nnx.Affine(3), Doubled()).build(4)
    with pytest.raises(nnx.InputError, match=r"layer 1, Doubled\(\): has no known equal in ONNX"):
        own.to_onnx(tmp_path / "model.onnx")
    constant = nnx.Sequential(nnx.Activation(lambda x: 1.0)).build(4, backend="numpy")
    with pytest.raises(nnx.InputError, match="layer 0, .*: its value does not depend on its input"):
        constant.to_onnx(tmp_path / "model.onnx")
    model = nnx.MLP((3,), 2).build(4)
    for junk in ({"classes": 3}, {3: "a"}, "abc"):
        with pytest.raises(nnx.InputTypeError, match="metadata: got .*, expected a dictionary of strings"):
            model.to_onnx(tmp_path / "model.onnx", metadata=junk)
    with pytest.raises(nnx.InputTypeError, match="path: got 3, expected a path"):
        model.to_onnx(3)
    with pytest.raises(nnx.CheckpointError, match=r"cannot be written \(No such file or directory\)"):
        model.to_onnx(tmp_path / "nowhere" / "model.onnx")
    with monkeypatch.context() as patch:
        patch.setattr("nnx.interop.onnx._LARGEST", 80)
        with pytest.raises(nnx.InputError, match="the parameters take .* GiB, more than an ONNX file holds"):
            model.to_onnx(tmp_path / "model.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(nnx.InputError, match=r"to_onnx: needs the package onnx, .*; pip install 'nnx-array\[onnx\]'"):
        model.to_onnx(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_export_of_a_run(tmp_path, monkeypatch, capsys):
    def command(*arguments):
        return nnx_command(*arguments), capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    assert (
        command(
            *["train", "--hidden", "20", "--epochs", "2", "--dropout", "0.2", "--out", "run", "--backend", "numpy"]
        )[0]
        == 0
    )
    status, said = command("export", "run", "digits.onnx")
    assert (status, said.err) == (0, "")
    assert said.out.splitlines()[0] == "written to digits.onnx: x (n, 8, 8) to y (n, 10), float32"
    notes = {entry.key: entry.value for entry in onnx.load("digits.onnx").metadata_props}
    assert json.loads(notes["classes"]) == [str(digit) for digit in range(10)]

    test = nnx.datasets.load("digits").test
    y = run("digits.onnx", test.x * np.float32(notes["input_scale"]))
    model = nnx.Trainer.load("run/checkpoint.safetensors").model
    np.testing.assert_allclose(y, model.predict(test), rtol=1e-5, atol=1e-5)
    assert np.mean(np.argmax(y, axis=1) == test.t) == model.accuracy(test)

    for arguments, message in (
        (("nowhere", "digits.onnx"), "nowhere: is no run folder"),
        (("run", "digits.pt"), "digits.pt: expected a name that ends in .onnx"),
        (("run", "nowhere/digits.onnx"), "nowhere/digits.onnx: cannot be written"),
    ):
        status, said = command("export", *arguments)
        assert status == 1
        assert said.err.startswith(f"nnx: {message}")
