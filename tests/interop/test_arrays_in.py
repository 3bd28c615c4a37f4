"""Arrays of other libraries as inputs and targets: every kind trains the same network, and what cannot is refused."""

import tempfile

import array_api_strict
import numpy as np
import pytest

import nnx
from nnx._support.checks import as_host
from nnx.training._device_data import DeviceData

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 4)).astype(np.float32)
BYTES = RNG.integers(0, 256, (30, 4), np.uint8)
T = np.arange(30) % 3
BACKENDS = [s.name for s in nnx.list_backends() if s.usable]


class Exported:
    """An array that has nothing but DLPack's protocol, and says that it lies on a device of a given kind.

    reach: whether it copies to the host when it is asked for that. taken: to which devices it was handed over.
    """

    def __init__(self, array, device=1, reach=True):
        self._array, self._device, self._reach, self.shape = array, device, reach, array.shape
        self.taken = []

    def __dlpack_device__(self):
        return (self._device, 0)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if dl_device is not None and not self._reach:
            raise BufferError("cannot leave the device")
        self.taken.append(dl_device)
        return self._array.__dlpack__(max_version=max_version)


class OnGpu(Exported):
    """A stand-in for CuPy's and PyTorch's arrays in CUDA's memory, which refuse NumPy's own conversion."""

    def __init__(self, array, reach=True):
        super().__init__(array, 2, reach)
        self.dtype = array.dtype

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion is not allowed. Please use `.get()`")


def wrap(value):
    return Native(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def unwrap(value):
    if isinstance(value, tuple | list):
        return type(value)(map(unwrap, value))
    if isinstance(value, dict):
        return {key: unwrap(item) for key, item in value.items()}
    return value.array if isinstance(value, Native) else value


class Native(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of `Elsewhere`: NumPy refuses it, as it does CuPy's."""

    def __init__(self, array):
        self.array = array

    def __getattr__(self, name):
        return wrap(getattr(self.array, name))

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return wrap(getattr(ufunc, method)(*unwrap(inputs), **unwrap(options)))

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion is not allowed. Please use `.get()`")

    def __getitem__(self, key):
        return wrap(self.array[unwrap(key)])

    def __setitem__(self, key, value):
        self.array[unwrap(key)] = unwrap(value)

    def __bool__(self):
        return bool(self.array)

    def __dlpack__(self, **options):
        return self.array.__dlpack__()

    def __dlpack_device__(self):
        return (2, 0)


class Namespace:
    def __getattr__(self, name):
        member = getattr(np, name)
        if isinstance(member, type) or not callable(member):
            return member
        return lambda *args, **options: wrap(member(*unwrap(args), **unwrap(options)))


class Elsewhere:
    """A backend whose arrays are not NumPy's; counts the elements that are uploaded."""

    name = "elsewhere"
    xp = Namespace()

    def __init__(self):
        self.uploaded = 0

    def to_device(self, host, /):
        self.uploaded += host.size
        return Native(np.array(host))

    def to_host(self, array, /):
        return array.array

    def matmul(self, a, b, /, *, out=None):
        return wrap(np.matmul(a.array, b.array, out=unwrap(out)))

    def synchronize(self):
        pass

    def device_info(self):
        return {"device": "CPU"}


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def memory_map(array):
    with tempfile.TemporaryFile() as file:
        file.write(array.tobytes())
        file.flush()
        return np.memmap(file, array.dtype, "r", shape=array.shape)


def misaligned(array):
    memory = np.empty(array.nbytes + 1, np.uint8)[1:]
    view = memory.view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def padded(array):
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def torch_tensor(array):
    return pytest.importorskip("torch").from_numpy(array.copy())


def jax_array(array):
    return pytest.importorskip("jax").numpy.asarray(array)


def pandas(array):
    frames = pytest.importorskip("pandas")
    return frames.Series(array) if array.ndim == 1 else frames.DataFrame(array)


KINDS = {
    "list": lambda a: a.tolist(),
    "read-only": read_only,
    "memory map": memory_map,
    "Fortran's order": np.asfortranarray,
    "strided": padded,
    "negative strides": lambda a: a[::-1].copy()[::-1],
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "misaligned": misaligned,
    "array_api_strict": array_api_strict.asarray,
    "DLPack": Exported,
    "pinned memory": lambda a: Exported(a, 3),
    "GPU": OnGpu,
    "torch": torch_tensor,
    "torch, strided": lambda a: torch_tensor(np.repeat(a, 2, axis=-1))[..., ::2],
    "JAX": jax_array,
    "pandas": pandas,
}


def trained(x, t, backend):
    """Numbers from all that takes arrays."""
    trainer = nnx.Trainer(nnx.MLP((5,), 3), nnx.SGD(0.1), backend=backend)
    # A memory map is read from the disk, where the accuracy is not asked for by itself.
    history = trainer.fit(x, t, epochs=2, batch_size=8, validation_data=(x, t), train_accuracy=True, verbose=False)
    model = trainer.model
    loss = model.ops.to_host(trainer.step(x, t))
    return [*history.values(), loss, trainer.evaluate(x, t), model.accuracy(x, t), model.predict(x)]


def equal(got, expected):
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("x", [pytest.param(X, id="float32"), pytest.param(BYTES, id="uint8", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_array_trains_the_same_network(kind, x, backend):
    if kind == "list":
        x = x.astype(np.float64)
    equal(trained(KINDS[kind](x), KINDS[kind](T), backend), trained(x, T, backend))


@pytest.mark.parametrize("dtype", ["float16", "float64", "longdouble", "int8", ">u2", "bool"])
def test_every_dtype_of_numbers_trains(dtype):
    x = (BYTES > 127).astype(dtype)
    equal(trained(x, T, "numpy"), trained(x.astype(np.float32), T, "numpy"))


@pytest.mark.parametrize(
    "kind", ["read-only", "memory map", "array_api_strict", "DLPack", "pinned memory", "torch", "JAX"]
)
def test_memory_is_shared(kind):
    for array in (X, BYTES):
        given = KINDS[kind](array)
        data = DeviceData(
            nnx.MLP((), 3).build(4, backend="numpy"), nnx.SoftmaxCrossEntropy(), given, T, name="x", target="t"
        )
        assert np.shares_memory(data.x, as_host("x", given))


def test_arrays_on_a_gpu_are_copied_to_a_cpu_backend_once():
    x = OnGpu(X)
    nnx.Trainer(nnx.MLP((5,), 3), backend="numpy").fit(x, OnGpu(T), epochs=2, verbose=False)
    assert x.taken == [(1, 0)]


@pytest.mark.parametrize("kind", ["read-only", "memory map"])
def test_read_only_bytes_are_gathered_by_the_fused_kernel(kind):
    if "numba" not in BACKENDS:
        pytest.skip("needs the numba backend")
    trainer = nnx.Trainer(nnx.MLP((5,), 3), backend="numba")
    trainer.fit(KINDS[kind](BYTES), T, epochs=1, verbose=False)
    assert trainer.model.ops.explain().declined == {}


# A backend with a device of its own -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["GPU", "native", "host"])
@pytest.mark.parametrize("x", [X, X.astype(np.float64), BYTES], ids=["float32", "float64", "uint8"])
def test_a_device_takes_arrays_of_its_memory_where_they_are(kind, x):
    given = {"GPU": OnGpu, "native": Native, "host": lambda a: a}[kind](x)
    equal(trained(given, T, Elsewhere()), trained(x, T, "numpy"))
    if kind == "GPU":
        assert set(given.taken) == {None}


def test_a_step_uploads_nothing_of_what_lies_on_the_device():
    backend = Elsewhere()
    trainer = nnx.Trainer(nnx.MLP((), 3), backend=backend)
    trainer.step(X, T)
    before = backend.uploaded
    trainer.step(OnGpu(X), OnGpu(T))
    assert backend.uploaded - before < T.size


@pytest.mark.parametrize("order", [np.asfortranarray, padded])
@pytest.mark.parametrize("kind", [OnGpu, Native])
def test_on_a_device_only_other_orders_are_copied(kind, order):
    def taken(x):
        model = nnx.MLP((), 3).build(4, backend=Elsewhere())
        return DeviceData(model, nnx.SoftmaxCrossEntropy(), kind(x), T, name="x", target="t").x.array

    assert np.shares_memory(taken(X), X)
    assert taken(order(X)).flags.c_contiguous
    np.testing.assert_array_equal(taken(order(X)), X)


def test_what_cannot_be_taken_on_the_device_goes_by_way_of_the_host():
    class Foreign(OnGpu):
        def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
            if dl_device is None:
                raise BufferError("another GPU")
            return super().__dlpack__(max_version=max_version, dl_device=dl_device)

    x = Foreign(X)
    equal(trained(x, T, Elsewhere()), trained(X, T, Elsewhere()))
    assert set(x.taken) == {(1, 0)}


def test_on_a_device_rows_with_nan_are_named():
    x = X.copy()
    x[7, 2] = np.nan
    for given in (OnGpu(x), x):
        with pytest.raises(nnx.InputError, match="x_train: got NaN or infinite values in 1 of 30 rows, .* row 7"):
            trained(given, T, Elsewhere())


def test_on_a_device_numbers_are_expected():
    model = nnx.MLP((), 3).build(4, backend=Elsewhere())
    with pytest.raises(nnx.InputTypeError, match="x: got dtype .*complex64, expected numbers. Convert it to float32"):
        model.predict(OnGpu(X.astype(np.complex64)))


def test_a_checksum_does_not_depend_on_where_the_inputs_lie():
    sums = []
    for given in (X, OnGpu(X)):
        model = nnx.MLP((), 3).build(4, backend=Elsewhere())
        data = DeviceData(model, nnx.SoftmaxCrossEntropy(), given, T, name="x", target="t")
        sums.append(data.checksum())
    assert sums[0] == sums[1]


# Refused --------------------------------------------------------------------------------------------------------------


class NoProtocol(OnGpu):
    def __dlpack__(self, *, stream=None):
        return self._array.__dlpack__()


def scipy_sparse(array):
    return pytest.importorskip("scipy.sparse").csr_array(array)


def torch_flawed(make):
    def flawed(array):
        torch = pytest.importorskip("torch")
        return make(torch, torch.from_numpy(array.copy()))

    return flawed


REFUSED = {
    "a GPU without a way out": (lambda a: OnGpu(a, reach=False), r"Implicit conversion .* Please use `.get\(\)`"),
    "an old DLPack": (NoProtocol, r"Implicit conversion .* Please use `.get\(\)`"),
    "objects": (lambda a: a.astype(str).astype(object), r"expected numbers, got columns 0 \(text, such as '"),
    "complex": (lambda a: array_api_strict.asarray(a.astype(np.complex64)), "got dtype complex64, expected numbers"),
    "a table with text": (
        lambda a: pandas(a).assign(name="a"),
        r"expected numbers, got column 'name' \(text, such as 'a'\)",
    ),
    "SciPy's sparse": (scipy_sparse, r"got a sparse csr_array, expected a dense array; use .toarray\(\)"),
    "requires_grad": (torch_flawed(lambda torch, x: x.requires_grad_()), r"Use tensor.detach\(\)"),
    "bfloat16": (torch_flawed(lambda torch, x: x.bfloat16()), "BFloat16.* Convert it to float32 first"),
    "float8": (torch_flawed(lambda torch, x: x.to(torch.float8_e4m3fn)), "Float8.* Convert it to float32 first"),
    "JAX's bfloat16": (lambda a: jax_array(a).astype("bfloat16"), "got dtype bfloat16, .* Convert it to float32 first"),
    "conjugate": (
        torch_flawed(lambda torch, x: torch.complex(x, x).conj()),
        r"conjugate bit set.* tensor.resolve_conj",
    ),
    "negative bit": (torch_flawed(lambda torch, x: torch._neg_view(x)), r"negative bit set.* tensor.resolve_neg\(\)"),
    "sparse": (torch_flawed(lambda torch, x: x.to_sparse()), r"Use Tensor.to_dense\(\) first"),
    "meta": (torch_flawed(lambda torch, x: x.to("meta")), "can't convert meta device type tensor to numpy"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_before_the_model_is_built(kind):
    make, message = REFUSED[kind]
    given = make(X)
    trainer = nnx.Trainer(nnx.MLP((5,), 3), backend="numpy")
    if not isinstance(given, OnGpu):  # whose shape builds the model, before its memory is asked for
        with pytest.raises(nnx.InputTypeError, match=f"x: .*{message}"):
            trainer.step(given, T)
        with pytest.raises(nnx.InputTypeError, match=f"x_train: .*{message}"):
            trainer.fit(given, T)
        assert not trainer.model.built
    trainer.build((4,))
    for call in (trainer.step, trainer.evaluate, trainer.model.accuracy):
        with pytest.raises(nnx.InputTypeError, match=f"x: .*{message}"):
            call(given, T)
    with pytest.raises(nnx.InputTypeError, match=f"t: .*{message}"):
        trainer.step(X, given)


def test_a_negative_bit_is_not_lost_on_a_device():
    class Negative(OnGpu):
        def is_neg(self):
            return True

    model = nnx.MLP((), 3).build(4, backend=Elsewhere())
    with pytest.raises(nnx.InputTypeError, match=r"x: cannot be made an array"):
        model.predict(Negative(X))
