"""The seam to CUDA, over a CuPy on the host whose streams are as late as can be."""

import inspect
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
from host_cupy import DeviceArray, HostCudaDevice, HostCupy, OutOfMemoryError, Stream
from nnx_cupy import CupyBackend, _backend, _device
from nnx_cupy._graph import WARM_UP, CapturedStep, CaptureWarning
from nnx_cupy._staging import Staging
from test_graph import Eager

import nnx
from nnx.bench.networks import NETWORKS, batches, nnx_trainer
from nnx.layers import RELU
from nnx.training._progress import Progress


class HostBackend(CupyBackend):
    @classmethod
    def unavailable(cls):
        return None


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["late", "early"])
def cupy(request, monkeypatch):
    module = HostCupy(request.param)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


@pytest.fixture
def backend(cupy):
    return HostBackend(HostCudaDevice())


def trained(backend, **settings):
    """A short training with everything that changes from step to step, and a smaller last batch."""
    rng = np.random.default_rng(0)
    x, t = rng.integers(0, 256, (53, 12), np.uint8), rng.integers(0, 4, 53)
    model = nnx.Sequential(nnx.Affine(9), nnx.BatchNorm(), nnx.ReLU(), nnx.Dropout(0.3), nnx.Affine(6), nnx.Affine(4))
    optimizer = nnx.Adam(lr=nnx.schedules.Cosine(0.02, steps=24))
    trainer = nnx.Trainer(model, optimizer, backend=backend, seed=3, weight_decay=0.01, clip_norm=0.5, **settings)
    trainer.fit(x, t, epochs=4, batch_size=10, verbose=False, validation_data=(x[:20], t[:20]))
    return trainer


@pytest.mark.long
def test_the_shards_of_one_rank_are_put_together(backend):
    """After an exchange the host asks whether anybody wants to stop: nothing comes late."""
    late, in_step = trained(backend, shards=3), trained(Eager(), shards=3)
    assert late.history == in_step.history
    for name, array in late.model.state_dict().items():
        np.testing.assert_array_equal(array, in_step.model.state_dict()[name], err_msg=name)
    np.testing.assert_allclose(late.history["loss"], trained(Eager()).history["loss"], rtol=1e-6)
    assert not late.plan.capturable, "a graph has no place for the host's work"
    assert late.model.ops.explain().declined == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "precision", ["float32", *(pytest.param(p, marks=pytest.mark.long) for p in ("bfloat16", "float16"))]
)
def test_a_training_ahead_of_its_device_has_the_bits_of_one_in_step(backend, precision):
    late, in_step = trained(backend, precision=precision), trained(Eager(), precision=precision)
    assert late.history == in_step.history
    for name, array in late.model.state_dict().items():
        np.testing.assert_array_equal(array, in_step.model.state_dict()[name], err_msg=name)
    assert late.model.ops.explain().declined == {}


def waits_before_steps(backend, monkeypatch):
    """By epoch, how often the host had waited for its device before each step."""
    waits = {}
    update = nnx.Trainer.advance
    monkeypatch.setattr(CupyBackend, "steps_per_capture", 1)

    def counting(trainer, *inputs, **steps):
        waits.setdefault(trainer.epochs, []).append(len(HostCupy.waits))
        return update(trainer, *inputs, **steps)

    monkeypatch.setattr(nnx.Trainer, "advance", counting)
    trained(backend)
    return list(waits.values())


def test_an_epoch_waits_for_nothing(backend, monkeypatch):
    waits = waits_before_steps(backend, monkeypatch)
    assert [len(epoch) for epoch in waits] == [6] * 4
    assert all(len(set(epoch)) == 1 for epoch in waits)
    assert waits[0] < waits[1] < waits[2]  # between epochs it reads


def test_but_for_the_progress_bar(backend, monkeypatch):
    monkeypatch.setattr(Progress, "due", property(lambda progress: progress._steps > 0))
    waits = waits_before_steps(backend, monkeypatch)
    assert all(np.diff(epoch).tolist() == [1] * 5 for epoch in waits)


def uploads(backend, count=200):
    """Arrays that were uploaded one after the other from the same memory, and what was in it: of more than both halves
    of the staging memory."""
    host, arrays = np.empty(Staging.HALF // 50 // 4, np.float32), []
    for i in range(count):
        host[:] = i
        arrays.append(backend.to_device(host))
    return [backend.to_host(array)[0] for array in arrays], [*range(count)]


def test_uploads_run_ahead_of_the_device(backend):
    got, given = uploads(backend)
    assert got == given
    backend.to_device(np.zeros(7, np.float32))
    with Stream():
        array = backend.to_device(np.ones(7, np.float32))
        assert backend.to_host(array).tolist() == [1] * 7


@pytest.mark.parametrize("size", [0, 1, Staging.LARGEST, Staging.LARGEST + 1])
def test_uploads_of_any_size(backend, size):
    host = np.arange(size, dtype=np.uint8)
    np.testing.assert_array_equal(backend.to_host(backend.to_device(host)), host)
    np.testing.assert_array_equal(backend.to_host(backend.to_device(host[::-1])), host[::-1])


# Graphs ---------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_captured_says_so_and_runs(backend):
    """A step that looks at a number on its way."""

    def step(x):
        return x * 2 if float(x[0]) < 100 else x

    captured = CapturedStep(backend.device, step, (np.ones(1),))
    results = [captured(np.full(1, float(i))) for i in range(WARM_UP)]
    with pytest.warns(CaptureWarning, match="cannot become a CUDA graph .*: CUDARuntimeError: operation not permitted"):
        results.append(captured(np.full(1, float(WARM_UP))))
    results.append(captured(np.full(1, WARM_UP + 1.0)))
    assert [float(r[0]) for r in results] == [2 * i for i in range(WARM_UP + 2)]


def test_a_recording_waits_for_what_was_launched_and_is_waited_for(backend):
    device = backend.device
    x, recorder = backend.to_device(np.zeros(3)), device.recorder()
    x += 1
    y = recorder.run(lambda: x * 2)
    assert backend.to_host(y + 0).tolist() == [2] * 3
    recorded = recorder.record(lambda: x * 3)
    x += 1
    recorder.launch()
    x += 1
    assert backend.to_host(recorded).tolist() == [6] * 3


def test_the_arrays_of_a_graph_live_as_long_as_it(backend):
    kept = []

    def step(x):
        hidden = x * 2
        kept.append(weakref.ref(hidden))
        return hidden + 1

    captured = CapturedStep(backend.device, step, (np.ones(3),))
    assert [captured(np.full(3, float(i)))[0] for i in range(5)] == [1, 3, 5, 7, 9]
    assert len(kept) == WARM_UP + 1


def test_results_of_a_backend_stay(backend):
    captured = backend.capture(lambda x: x * 2, (np.ones(()),))
    results = [captured(np.array(float(i))) for i in range(1100)]  # more than one table of them
    assert [float(result) for result in results] == [2.0 * i for i in range(1100)]


@pytest.mark.parametrize(("network", "nodes"), [("S", 9), ("L", 34), ("M", 14), ("M16", 21)])
def test_nodes_of_a_step(backend, network, nodes):
    """As docs/gpu-status.md has them; they do not depend on the hidden layers' widths."""
    net = NETWORKS[network]
    net = replace(net, sizes=(784, *(16 for _ in net.sizes[1:-1]), 10))
    trainer = nnx_trainer(net, backend)
    x, t = map(backend.to_device, batches(net, 1)[0])
    step = trainer.training_step, net.batch, (x, t)  # `Trainer.step` looks whether arrays are NumPy's; these are, too
    for _ in range(WARM_UP + 1):
        trainer.advance(*step)
    queue, before = Stream.current(), HostCupy.waits.copy()
    pushed = queue.pushed
    trainer.advance(*step)
    copies = 4  # batch, labels, hyper-parameters, loss
    assert queue.pushed - pushed == nodes + copies
    assert HostCupy.waits == before


def test_a_step_of_arrays_on_the_host_is_one_copy_in_and_one_launch(backend):
    """It runs ahead of its device as one of arrays on the device does."""
    trainer = nnx.Trainer(nnx.MLP((7,), 3, dropout=0.1), nnx.SGD(), backend=backend)
    x, t = np.ones((5, 4), np.float32), np.array([0, 1, 2, 0, 1])
    for _ in range(WARM_UP + 1):
        trainer.step(x, t)
    queue, before = Stream.current(), HostCupy.waits.copy()
    nodes = len(trainer.training_step.captured(5).run.graph.work)
    pushed = queue.pushed
    trainer.step(x, t)
    assert queue.pushed - pushed == 1 + nodes + 1  # all that it takes; the graph; the loss
    assert HostCupy.waits == before


@pytest.mark.slow
def test_several_steps_are_one_graph_with_the_bits_of_one_by_one(backend, monkeypatch):
    rng = np.random.default_rng(0)
    x, t = rng.random((230, 6)).astype("f"), rng.integers(0, 3, 230)

    def trained(steps):
        monkeypatch.setattr(CupyBackend, "steps_per_capture", steps)
        model = nnx.MLP((8,), 3, batch_norm=True, dropout=0.2)
        trainer = nnx.Trainer(model, nnx.Adam(nnx.schedules.Cosine(0.05, steps=60)), backend=backend, clip_norm=1.0)
        trainer.fit(x, t, epochs=3, batch_size=10, verbose=False)
        return trainer

    one_by_one, together = trained(1), trained(8)
    assert together.history == one_by_one.history
    assert together.steps == one_by_one.steps == 69
    for name, array in together.model.state_dict().items():
        np.testing.assert_array_equal(array, one_by_one.model.state_dict()[name], err_msg=name)


def test_steps_done_together_stop_where_a_checkpoint_is_due(backend, monkeypatch, tmp_path):
    saved = []
    save = nnx.Trainer.save
    monkeypatch.setattr(nnx.Trainer, "save", lambda trainer, path: (saved.append(trainer.steps), save(trainer, path)))
    x, t = np.ones((200, 4), np.float32), np.zeros(200, int)
    trainer = nnx.Trainer(nnx.MLP((5,), 2), backend=backend)
    trainer.fit(x, t, epochs=1, batch_size=10, checkpoint=tmp_path / "c", checkpoint_every=9, verbose=False)
    assert saved == [9, 18, 20, 20]


def test_a_nan_is_blamed_on_its_step_also_of_several(backend):
    x = np.ones((160, 4), np.float32)
    x[100:] = np.nan
    trainer = nnx.Trainer(nnx.MLP((5,), 2), backend=backend)
    with pytest.raises(nnx.DivergedError, match="the loss became nan in epoch 1, step 11 "):
        trainer.fit(x, np.zeros(160, int), epochs=1, batch_size=10, shuffle=False, check_finite=False, verbose=False)


def test_the_losses_of_an_epoch_come_in_one_copy(backend, monkeypatch):
    read = []
    get = DeviceArray.get
    monkeypatch.setattr(DeviceArray, "get", lambda array: (read.append(array.size), get(array))[1])
    x, t = np.ones((240, 4), np.float32), np.zeros(240, int)
    trainer = nnx.Trainer(nnx.MLP((5,), 2), backend=backend)
    trainer.fit(x, t, epochs=3, batch_size=10, train_accuracy=False, verbose=False)
    assert read[-1] == 24  # of the last epoch, whose steps were all launches


# Uploads in a step, and other things that must not be recorded --------------------------------------------------------


class Residual(nnx.Layer):
    """x + Dropout(x), by a layer that uploads its numbers at every call."""

    def __init__(self):
        super().__init__()
        self.inner = nnx.Dropout(0.5)

    def attach(self, arena, names, prefix):
        super().attach(arena, names, prefix)
        self.inner._ops, self.inner.seed = arena.ops, 3

    def forward(self, x, train_flg=True):
        return x + self.inner.forward(x, train_flg)

    def backward(self, dout):
        return dout + self.inner.backward(dout)


class SaidToBeCapturable(Residual):
    capturable = True


def losses(kind, backend):
    rng = np.random.default_rng(0)
    x, t = rng.random((20, 6)).astype("f"), rng.integers(0, 3, 20)
    trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(8), kind(), nnx.Affine(3)), nnx.Adam(0.1), backend=backend)
    kept = [trainer.step(x, t) for _ in range(8)]
    return [float(trainer.model.ops.to_host(loss)) for loss in kept]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Residual, r"Residual\(\): the backend 'cupy' does not record .* capturable = True in its class"),
        (SaidToBeCapturable, "cannot become a CUDA graph .*: an array of the host's is uploaded inside a step that is"),
    ],
)
def test_a_layer_that_uploads_is_not_recorded_and_says_so(backend, kind, said):
    with pytest.warns(RuntimeWarning, match=said):
        got = losses(kind, backend)
    np.testing.assert_allclose(got, losses(kind, "numpy"), rtol=1e-4)


def test_a_layer_that_is_capturable_is_recorded(backend):
    class Twice(nnx.Layer):
        capturable = True

        def forward(self, x, train_flg=True):
            return x * 2

        def backward(self, dout):
            return dout * 2

    trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(8), Twice(), nnx.Affine(3)), backend=backend)
    x, t = np.ones((4, 5), np.float32), np.zeros(4, int)
    for _ in range(WARM_UP + 1):
        trainer.step(x, t)
    assert trainer.training_step.captured(4).run.graph is not None


# What goes wrong on the way -------------------------------------------------------------------------------------------


def test_work_that_raises_is_waited_for(backend):
    """What it had launched may still run: its buffers must not be written before."""
    x, recorder = backend.to_device(np.zeros(3)), backend.device.recorder()

    def work():
        x[...] = 1
        raise KeyError

    with pytest.raises(KeyError):
        recorder.run(work)
    x += 1
    assert backend.to_host(x).tolist() == [2] * 3


def test_a_thread_on_another_gpu_is_told(backend, cupy, monkeypatch):
    array = backend.to_device(np.zeros(3, np.float32))
    monkeypatch.setattr(backend.device._runtime, "getDevice", lambda: 1)
    said = r"made on GPU 0, but the current device of this thread is GPU 1; call cupy\.cuda\.Device\(0\)\.use\(\)"
    for call in (lambda: backend.to_device(np.zeros(3)), lambda: backend.activation(RELU, array)):
        with pytest.raises(RuntimeError, match=said):
            call()


BUGS = [
    (_device, "CudaRecorder", "launched before what it needs", "own.wait_event(current.record())", "pass"),
    (_device, "CudaRecorder", "not waited for", "current.wait_event(own.record())", "pass"),
    (_device, "Staging", "written anew too early", "self._copied[self._half].synchronize()", "pass"),
    (_device, "Staging", "places overlap", "self._offset += -(-size // self.ALIGNMENT)", "self._offset += 0"),
    (_backend, "CapturedStep", "inputs not copied", "self._inputs.write(inputs)", "pass"),
    (_backend, "CapturedStep", "results overwritten", "self._place += 1", "pass"),
]


@pytest.mark.parametrize("bug", [pytest.param(b, id=f"{b[1]}-{b[2]}".replace(" ", "-")) for b in BUGS])
def test_a_bug_in_the_order_of_things_is_found(backend, monkeypatch, bug):
    module, name, _, right, wrong = bug
    original = getattr(module, name)
    source, known = inspect.getsource(original), dict(vars(sys.modules[original.__module__]))
    assert source.count(right) == 1
    exec(source.replace(right, wrong), known)
    monkeypatch.setattr(module, name, known[name])
    checks = (
        test_uploads_run_ahead_of_the_device,
        test_a_recording_waits_for_what_was_launched_and_is_waited_for,
        test_results_of_a_backend_stay,
    )

    def finds(check, early):
        HostCupy.early = early
        try:
            check(HostBackend(HostCudaDevice()))
        except AssertionError:
            return True
        return False

    assert any(finds(check, early) for check in checks for early in (False, True))


# Memory ---------------------------------------------------------------------------------------------------------------


def test_blocks_that_nobody_uses_are_freed_and_it_is_tried_again(backend, cupy):
    cupy.pool.room, cupy.pool.blocks, cupy.pool.freed = 100, 1 << 20, 0
    assert backend.allocate(1 << 17, "float32").shape == (1 << 17,)
    assert cupy.pool.freed == 1
    backend.allocate(1, "float32")
    assert cupy.pool.freed == 1


@pytest.mark.parametrize(("limit", "words"), [(0, ""), (3 << 29, ", with a limit of 1.50 GiB")])
def test_out_of_memory_says_what_is_used_and_what_to_do(backend, cupy, limit, words):
    cupy.pool.room, cupy.pool.used, cupy.pool.limit, cupy.pool.freed = 1 << 29, 5 << 28, limit, 0
    with pytest.raises(MemoryError) as raised:
        backend.allocate(1 << 28, "float32")
    assert str(raised.value) == (
        "the GPU has no room for another 1.00 GiB: 0.50 GiB of 16.00 GiB are free, and this process uses 1.25 GiB"
        f"{words}. Train with a smaller batch_size, keep a data set of bytes as uint8, end other programs on this GPU, "
        "or raise CUPY_GPU_MEMORY_LIMIT if it is set."
    )
    assert isinstance(raised.value.__cause__, OutOfMemoryError)
    assert cupy.pool.freed == 1


def test_every_operation_that_allocates_says_so(backend, cupy):
    x, t = backend.to_device(np.ones((4, 4), np.float32)), backend.to_device(np.arange(4))
    c, hyper = backend.to_device(np.ones(4, np.float32)), backend.to_device(np.ones(3, np.float32))
    rng = backend.to_device(np.zeros(7, np.uint32))
    one = backend.to_device(np.array(1, np.float32))
    cupy.pool.room = 0
    for call in (
        lambda: backend.activation(RELU, x),
        lambda: backend.affine(x, x),
        lambda: backend.matmul(x, x),
        lambda: backend.softmax(x),
        lambda: backend.softmax_cross_entropy(x, t),
        lambda: backend.loss(nnx.MeanSquaredError().formula, x, x),
        lambda: backend.batch_norm(x, c, c, hyper),
        lambda: backend.batch_norm_inference(x, c, c, c, c, hyper),
        lambda: backend.dropout(x, rng, one),
        lambda: backend.philox(rng, 4),
        lambda: backend.take(x, t),
        lambda: backend.narrow(x, "float16"),
        lambda: backend.sum_squares(x),
        lambda: backend.capture(lambda x: x, (x,)),
    ):
        with pytest.raises(MemoryError, match=r"the GPU has no room for another .* smaller batch_size"):
            call()


# What it says ---------------------------------------------------------------------------------------------------------


def test_numpy_arrays_are_refused_by_name(backend):
    trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(3)), backend=backend)
    trainer.build((4,))
    with pytest.raises(nnx.InputTypeError, match=r"x: got numpy\.ndarray, but the backend 'cupy' computes with cupy\."):
        trainer.model.layers[0].forward(np.ones((2, 4), np.float32))
    assert type(trainer.model.predict(np.ones((2, 4), np.float32))) is np.ndarray
    assert trainer.model.ops.array_type is DeviceArray


def test_what_a_person_wants_to_know(backend, monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.setenv("NNX_TF32", "1")
    assert backend.device_info() == {
        "device": "a GPU on the host",
        "compute capability": "9.0",
        "memory": "16.00 GiB",
        "driver": "13.2",
        "CUDA": "13.2",
        "cupy": "14.2.0",
        "TF32": "on",
        "NVIDIA_TF32_OVERRIDE": "0",
    }


def test_a_training_from_the_disk_uploads_each_window_to_the_same_memory(backend):
    rng = np.random.default_rng(0)
    x, t = rng.random((103, 5), np.float32), rng.integers(0, 4, 103)
    data = nnx.datasets.DiskDataset(x, t, block=7)
    order = nnx.training.Order(len(x), 3, blocks=data.edges(), window=30)
    models = []
    for from_disk in (True, False):
        trainer = nnx.Trainer(nnx.MLP((6,), 4), nnx.Adam(lr=0.01), backend=backend, seed=3)
        if from_disk:
            trainer.fit(data, window=30, epochs=2, batch_size=12, verbose=False, validation_data=data)
            assert trainer.evaluate(data) == trainer.evaluate(x, t)
        else:
            for epoch in range(2):
                for start in range(0, len(x), 12):
                    rows = order.rows(epoch, start, min(start + 12, len(x)))
                    trainer.step(x[rows], t[rows])
        models.append(trainer.model.state_dict())
    assert all(np.array_equal(models[0][name], models[1][name]) for name in models[0])
