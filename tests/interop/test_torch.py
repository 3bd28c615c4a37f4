"""Networks from PyTorch and to it: equal outputs, equal training, and what has no equal."""

import numpy as np
import pytest

import nnx

torch = pytest.importorskip("torch")
nn = torch.nn

BACKENDS = [s.name for s in nnx.list_backends() if s.usable]
DTYPES = {"float32": 1e-5, "float64": 1e-10}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 3, 4))
T = np.arange(20) % 5
PICTURES = RNG.standard_normal((6, 2, 9, 8))


def network(dtype="float32", dropout=0.3):
    """A module with every layer that can be converted, and running statistics of its own."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(12, 7, bias=False), nn.BatchNorm1d(7, eps=1e-3, momentum=0.25), nn.ReLU(inplace=True)),
        nn.Dropout(dropout),
        nn.Sequential(nn.Sequential(nn.Linear(7, 6), nn.Sigmoid()), nn.Identity(), nn.Linear(6, 6), nn.Tanh()),
        nn.BatchNorm1d(6),
        nn.Linear(6, 5),
    ).to(getattr(torch, dtype))
    with torch.no_grad():
        module[1][1].weight.uniform_(0.5, 2)
        module[1][1].bias.uniform_(-1, 1)
        for _ in range(3):
            module(torch.from_numpy(X.astype(dtype)) * 3 + 1)
    return module


def pictures(dtype="float32", dropout=0.3):
    """A module with every layer of pictures that can be converted."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 6, (3, 4), stride=(1, 2), padding=(2, 1)), nn.BatchNorm2d(6), nn.ReLU()),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(6, 5, 3, padding="same", bias=False),
        nn.Dropout(dropout),
        nn.AvgPool2d((2, 3), stride=1, padding=1),
        nn.Sequential(nn.Conv2d(5, 4, 2, padding="valid", padding_mode="reflect"), nn.Tanh(), nn.AdaptiveAvgPool2d(1)),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 5)),
    ).to(getattr(torch, dtype))
    with torch.no_grad():
        module[0][1].weight.uniform_(0.5, 2)
        module[0][1].bias.uniform_(-1, 1)
        module(torch.from_numpy(PICTURES.astype(dtype)) * 3 + 1)
    return module


def outputs(module, x=X):
    with torch.no_grad():
        parameter = next(module.parameters(), torch.zeros(0))
        return module.eval()(torch.from_numpy(x).to(parameter.dtype)).numpy()


# From PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_are_equal(backend, dtype):
    module = network(dtype)
    model = nnx.from_torch(module, backend=backend, input_shape=(3, 4))
    assert (model.dtype, model.backend.name, model.input_shape, model.output_shape) == (dtype, backend, (3, 4), (5,))
    np.testing.assert_allclose(model.predict(X), outputs(module), rtol=DTYPES[dtype], atol=DTYPES[dtype])
    assert repr(model) == (
        "Sequential(Flatten(), Affine(7, bias=False), BatchNorm(momentum=0.75, eps=0.001), ReLU(), "
        "Dropout(0.3, inverted=True), Affine(6), Sigmoid(), Identity(), Affine(6), Tanh(), BatchNorm(), Affine(5))"
    )
    again = nnx.from_torch(network(dtype), backend=backend, input_shape=(3, 4))
    module[1][0].weight.data.zero_()
    np.testing.assert_array_equal(model.predict(X), again.predict(X))  # it has copies


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_pictures_there_and_back(backend, dtype):
    module = pictures(dtype)
    model = nnx.from_torch(module, backend=backend, input_shape=(2, 9, 8))
    y, expected = model.predict(PICTURES), outputs(module, PICTURES)
    np.testing.assert_allclose(y, expected, rtol=DTYPES[dtype], atol=DTYPES[dtype])
    assert repr(model) == (
        "Sequential(Convolution(6, size=(3, 4), stride=(1, 2), pad=(2, 1)), BatchNorm(), ReLU(), "
        "MaxPooling(3, stride=2, pad=1), Convolution(5, size=3, pad=1, bias=False), Dropout(0.3, inverted=True), "
        "AveragePooling((2, 3), stride=1, pad=1), Convolution(4, size=2), Tanh(), GlobalAveragePooling(), "
        "Affine(5))"
    )
    np.testing.assert_array_equal(model.params["0.W"], module[0][0].weight.detach().numpy())
    state = torch.get_rng_state()
    back = model.to_torch()
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(outputs(back, PICTURES), expected)
    assert [type(part).__name__ for part in back] == [
        "Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Conv2d", "Dropout", "AvgPool2d", "Conv2d", "Tanh",
        "AdaptiveAvgPool2d", "Flatten", "Linear",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.AvgPool2d(2, count_include_pad=False),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(144, 3)),
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()),
        lambda: nn.Conv2d(2, 3, (3, 1), padding="same"),
    ],
)
def test_small_modules_of_pictures(make):
    module = make().double()
    model = nnx.from_torch(module, backend="numpy", dtype="float64", input_shape=(2, 9, 8))
    expected = module(torch.from_numpy(PICTURES)).detach().numpy()
    np.testing.assert_allclose(model.predict(PICTURES), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(4, 2),
        lambda: nn.Sequential(nn.ReLU(), nn.Linear(4, 2), nn.Flatten()),
        lambda: nn.Sequential(nn.Sequential(nn.BatchNorm1d(4))),
    ],
)
def test_the_input_shape_is_found(make):
    module, x = make(), RNG.standard_normal((6, 4)).astype(np.float32)
    model = nnx.from_torch(module)
    assert model.input_shape == (4,)
    np.testing.assert_allclose(model.predict(x), outputs(module, x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_parameters_of_16_bits_are_converted_on_request(name):
    module = nn.Linear(4, 2).to(getattr(torch, name))
    with pytest.raises(nnx.InputError, match=f"the module has parameters of {name}; pass dtype='float32' to convert"):
        nnx.from_torch(module)
    model = nnx.from_torch(module, dtype="float32")
    np.testing.assert_array_equal(model.params["0.W"], module.weight.detach().float().numpy().T)


def test_the_dtype_can_be_chosen():
    module = network("float32")
    model = nnx.from_torch(module, dtype="float64", input_shape=(3, 4))
    np.testing.assert_allclose(model.predict(X), outputs(module.double()), rtol=1e-10, atol=1e-10)
    module[5].float()
    with pytest.raises(nnx.InputError, match="parameters of float32 and float64; pass dtype='float32'"):
        nnx.from_torch(module, input_shape=(3, 4))


class Own(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + 1


class Wider(nn.Linear):
    pass


def tied():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


def hooked():
    module = nn.Sequential(nn.Sequential(nn.Linear(4, 4)))
    module[0].register_forward_hook(lambda *_: None)
    return module


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv1d(1, 2, 3), r"the module, Conv1d\(.*\): has no equal in nnx; expected Sequential or"),
        (nn.Dropout2d, r"Dropout2d\(.*\): has no equal in nnx"),
        (lambda: nn.Conv2d(4, 4, 3, groups=2), "has 2 groups of channels, .*; use groups=1"),
        (lambda: nn.Conv2d(1, 2, 3, dilation=2), "has a dilation, .*; use dilation=1"),
        (lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), "pads by 'reflect', .*; use padding_mode='zer"),
        (lambda: nn.Conv2d(1, 2, (3, 4), padding="same"), "pads more at one side than at the other, .* Use a number"),
        (lambda: nn.MaxPool2d(2, dilation=2), "has a dilation, .*; use dilation=1"),
        (lambda: nn.MaxPool2d(2, ceil_mode=True), "rounds .* up, nnx.MaxPooling down; use ceil_mode=False"),
        (lambda: nn.MaxPool2d(2, return_indices=True), "returns indices .*; use return_indices=False"),
        (lambda: nn.MaxPool2d(17), "MaxPooling: size: got 17 x 17"),
        (lambda: nn.AvgPool2d(2, ceil_mode=True), "rounds .* up, nnx.AveragePooling down; use ceil_mode=False"),
        (lambda: nn.AvgPool2d(2, divisor_override=3), "divides by another number .*; use divisor_override=None"),
        (lambda: nn.AvgPool2d(2, padding=1, count_include_pad=False), "leaves the padding out .*; use count_incl"),
        (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), "layer 0, .* expected output_size=1"),
        (lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.ReLU()), r"keeps axes of length 1, .*; put a Flatten\(\)"),
        (lambda: nn.AdaptiveAvgPool2d(1), r"keeps axes of length 1, .*; put a Flatten\(\)"),
        (lambda: nn.Conv2d(4, 2, 3), r"Conv2d\(.*\): takes pictures, .* as by input_shape=\(4, 28, 28\)"),
        (lambda: nn.Sequential(nn.ReLU(), nn.BatchNorm2d(5)), r"takes pictures, .* as by input_shape=\(5, 28, 28\)"),
        (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3, 2)), r"layer 0, MaxPool2d\(.*\): takes p"),
        (lambda: nn.Sequential(nn.Linear(4, 2), nn.Sequential(nn.Mish())), r"layer 1\.0, Mish\(.*\): has no equal"),
        (lambda: nn.Sequential(Wider(4, 2)), r"layer 0, Wider\(.*\): has no equal"),
        (lambda: nn.Sequential(nn.Linear(2, 2), Own(nn.Linear(2, 2))), "layer 1 is a Own with a forward of its own"),
        (tied, r"layer 2, Linear\(.*\) shares a parameter with layer 0, Linear"),
        (hooked, "layer 0 has forward hooks, .*; remove them first"),
        (lambda: nn.BatchNorm1d(4, affine=False), "learns no weight or no bias, .*; use affine=True"),
        (lambda: nn.BatchNorm1d(4, track_running_stats=False), "no running statistics, .*; use track_running"),
        (lambda: nn.BatchNorm1d(4, momentum=None), "averages over all batches, .*; use a momentum such as 0.1"),
        (lambda: nn.BatchNorm1d(4, momentum=0.0), "never changes its running statistics, .*; use a momentum"),
        (lambda: nn.Sequential(nn.Linear(4, 2), nn.Dropout(1.0)), "layer 1, Dropout.*dropout_ratio: got 1.0"),
        (lambda: nn.Sequential(nn.GELU("tanh")), "has no equal in nnx; expected approximate='none'"),
        (lambda: nn.Sequential(nn.Softplus(2)), r"has no equal in nnx; expected beta=1\.0"),
        (lambda: nn.Sequential(nn.LeakyReLU(-1)), "LeakyReLU: slope: got -1"),
        (lambda: nn.LayerNorm((3, 4)), "normalises 2 axes, nnx.LayerNorm one"),
        (lambda: nn.LayerNorm(4, bias=False), "learns no weight or no bias, .*; use elementwise_affine=True"),
        (lambda: nn.Sequential(nn.Flatten(2)), "flattens in part; expected start_dim=1 and end_dim=-1"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), r"does not tell the shape .* input_shape=\(28, 28\)"),
        (lambda: nn.Sequential(nn.ReLU()), r"does not tell the shape .* input_shape=\(28, 28\)"),
    ],
)  # fmt: skip
def test_what_has_no_equal_in_nnx_is_refused(make, message):
    with pytest.raises(nnx.InputError, match=f"from_torch: .*{message}"):
        nnx.from_torch(make())


def test_what_is_no_module_is_refused():
    with pytest.raises(nnx.InputTypeError, match=r"from_torch: got 3, expected a torch.nn.Sequential"):
        nnx.from_torch(3)
    with pytest.raises(nnx.InputError, match=r"got inputs of 5 features, but W has shape \(4, 2\)"):
        nnx.from_torch(nn.Linear(4, 2), input_shape=5)
    with pytest.raises(nnx.InputError, match="dtype: got float16, expected float32 or float64"):
        nnx.from_torch(nn.Linear(4, 2), dtype="float16")


# Training -------------------------------------------------------------------------------------------------------------

LOSSES = {
    "softmax": (nnx.SoftmaxCrossEntropy(), nn.CrossEntropyLoss(), T),
    "squared error": (
        nnx.MeanSquaredError(),
        lambda y, t: nn.functional.mse_loss(y, t, reduction="sum") / 2 / len(y),
        RNG.standard_normal((20, 5)),
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_training_is_equal(backend, dtype, loss):
    """The same batches give the same losses and parameters; running variances differ by the factor n / (n - 1)."""
    ours, theirs, t = LOSSES[loss]
    module = network(dtype, dropout=0.0).train()
    model = nnx.from_torch(module, backend=backend, input_shape=(3, 4))
    before = model.state_dict()
    trainer = nnx.Trainer(model, nnx.SGD(0.05), ours)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    x, tolerance = torch.from_numpy(X.astype(dtype)), DTYPES[dtype]
    t = torch.from_numpy(t if t.ndim == 1 else t.astype(dtype))
    for step in range(12):
        rows = slice(step % 2 * 10, step % 2 * 10 + 10)
        optimizer.zero_grad()
        expected = theirs(module(x[rows]), t[rows])
        expected.backward()
        optimizer.step()
        assert float(trainer.step(x[rows], t[rows])) == pytest.approx(expected.item(), rel=tolerance, abs=tolerance)
    after, kept = model.state_dict(), 0.75**12
    np.testing.assert_allclose(after["1.W"], module[1][0].weight.detach().numpy().T, rtol=0, atol=10 * tolerance)
    theirs = module[1][1]
    np.testing.assert_allclose(after["2.running_mean"], theirs.running_mean, rtol=tolerance, atol=tolerance)
    biased = (after["2.running_var"] - kept * before["2.running_var"]) * 10 / 9 + kept * before["2.running_var"]
    np.testing.assert_allclose(biased, theirs.running_var, rtol=10 * tolerance)


def test_training_on_pictures_is_equal():
    module = pictures("float64", dropout=0.0).train()
    trainer = nnx.Trainer(nnx.from_torch(module, backend="numpy", input_shape=(2, 9, 8)), nnx.SGD(0.05))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for _ in range(4):
        optimizer.zero_grad()
        expected = nn.functional.cross_entropy(module(torch.from_numpy(PICTURES)), torch.from_numpy(T[:6]))
        expected.backward()
        optimizer.step()
        assert float(trainer.step(PICTURES, T[:6])) == pytest.approx(expected.item(), rel=1e-10)
    np.testing.assert_allclose(trainer.model.params["4.W"], module[2].weight.detach().numpy(), rtol=0, atol=1e-10)


def test_a_converted_model_is_saved_and_loaded(tmp_path):
    model = nnx.from_torch(network(), input_shape=(3, 4))
    trainer = nnx.Trainer(model)
    trainer.step(X, T)
    trainer.save(tmp_path / "run.safetensors")
    again = nnx.Trainer.load(tmp_path / "run.safetensors").model
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


ELEMENTWISE = [
    nn.LeakyReLU(0.2), nn.ELU(0.7), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.LayerNorm(4, eps=1e-3),
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("part", ELEMENTWISE, ids=lambda part: type(part).__name__)
def test_activations_and_layer_norm_there_and_back(part, backend):
    torch.manual_seed(0)
    module = nn.Sequential(part, nn.Linear(4, 3)).double()
    if isinstance(part, nn.LayerNorm):
        nn.init.uniform_(part.weight)
        nn.init.uniform_(part.bias)
    x = 3 * RNG.standard_normal((20, 4))
    model = nnx.from_torch(module, backend=backend, input_shape=4)
    np.testing.assert_allclose(model.predict(x), outputs(module, x), rtol=1e-7, atol=1e-8)  # Softplus is linear from 20
    np.testing.assert_array_equal(outputs(model.to_torch(), x), outputs(module, x))
    assert repr(model.to_torch()) == repr(module)


# To PyTorch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_back_to_pytorch(backend, dtype):
    module = network(dtype)
    model = nnx.from_torch(module, backend=backend, input_shape=(3, 4))
    state = torch.get_rng_state()
    back = model.to_torch()
    assert torch.equal(torch.get_rng_state(), state)
    assert back.training
    np.testing.assert_array_equal(outputs(back), outputs(module))
    assert {p.dtype for p in back.parameters()} == {getattr(torch, dtype)}
    for part in (back, module):  # the same masks, the same statistics
        torch.manual_seed(1)
        part.train()
    x = torch.from_numpy(X.astype(dtype))
    torch.manual_seed(1)
    expected = module(x)
    torch.manual_seed(1)
    assert torch.equal(back(x), expected)
    assert torch.allclose(back[2].running_var, module[1][1].running_var)


@pytest.mark.parametrize("backend", BACKENDS)
def test_classical_dropout_has_equal_outputs_in_both_modes(backend):
    model = nnx.Sequential(
        nnx.Affine(6), nnx.Dropout(0.3), nnx.ReLU(), nnx.Flatten(), nnx.Dropout(0.5), nnx.Identity(), nnx.Affine(3)
    ).build(4, backend=backend, dtype="float64")
    x = RNG.standard_normal((9, 4))
    module = model.to_torch()
    np.testing.assert_allclose(outputs(module, x), model.predict(x), rtol=1e-12, atol=1e-12)
    module.train()
    hidden = module[:5](torch.from_numpy(x)).detach().numpy()
    mask = hidden != 0
    assert 0 < mask.sum() < mask.size
    w, b = (model.params[name] for name in ("6.W", "6.b"))
    first = np.maximum(x @ model.params["0.W"] + model.params["0.b"], 0)
    got = module[5:](torch.from_numpy(hidden)).detach().numpy()
    np.testing.assert_allclose(got, (first * mask) @ w + b, rtol=1e-12, atol=1e-12)


def test_classical_dropout_before_a_convolution():
    """Poolings pass the factor on: outputs are equal in prediction, and in training with the same mask."""
    model = nnx.Sequential(
        nnx.Dropout(0.3), nnx.MaxPooling(3, 1, 1), nnx.AveragePooling(2, pad=1), nnx.Convolution(3, 2, stride=2),
        nnx.Dropout(0.4), nnx.GlobalAveragePooling(), nnx.Affine(4),
    ).build((2, 9, 8), backend="numpy", dtype="float64")  # fmt: skip
    module = model.to_torch()
    np.testing.assert_allclose(outputs(module, PICTURES), model.predict(PICTURES), rtol=1e-12, atol=1e-12)
    scaled = module[0].train()(torch.from_numpy(PICTURES))
    x = np.where(scaled == 0, 0, PICTURES)
    for layer in model.layers[1:4]:
        x = layer.forward(x, False)
    np.testing.assert_allclose(module[1:4](scaled).detach().numpy(), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pooling", [nnx.MaxPooling, nnx.AveragePooling])
def test_a_pad_of_more_than_half_the_size_is_refused(pooling):
    with pytest.raises(nnx.InputError, match=r"layer 0, \w+Pooling\(.*\): pads by more than half .* nn.\w+Pool2d ref"):
        nnx.Sequential(pooling((2, 3), 1, (1, 2))).build((1, 5, 5)).to_torch()


@pytest.mark.parametrize("after", [[], [nnx.BatchNorm], [nnx.ReLU, nnx.Sigmoid]])
def test_a_classical_dropout_that_nothing_makes_up_for_is_refused(after):
    layers = [nnx.Affine(3), nnx.Dropout(0.3), *(layer() for layer in after)]
    with pytest.raises(nnx.InputError, match=r"layer 1, Dropout\(0.3\): .*; use Dropout\(inverted=True\)"):
        nnx.Sequential(*layers).build(4).to_torch()
    layers = [nnx.Affine(3), nnx.Dropout(0.3, inverted=True), *(layer() for layer in after)]
    nnx.Sequential(*layers).build(4).to_torch()


class Doubled(nnx.Identity):
    def forward(self, x, train_flg=True):
        return x + x


def test_layers_of_ones_own_are_refused():
    with pytest.raises(nnx.InputError, match=r"to_torch: layer 1, Doubled\(\): has no known equal in PyTorch"):
        nnx.Sequential(nnx.Affine(3), Doubled()).build(4).to_torch()
    with pytest.raises(nnx.InputError, match="to_torch: the model has no parameters yet"):
        nnx.MLP((3,), 2).to_torch()
