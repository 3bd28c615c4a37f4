"""NCCL behind the communicator's methods, over a stand-in: ranks are threads with a stream of their own."""

import sys
import warnings

import numpy as np
import pytest
from host_cupy import HostCudaDevice, HostCupy, Stream
from host_nccl import HostNccl, NcclError
from nnx_cupy import CupyBackend
from ranks import together

import nnx
from nnx.ops import Ops
from nnx.parallel import native

RANKS = 3


@pytest.fixture(params=[False, True], ids=["late", "early"])
def nccl(request, monkeypatch):
    module = HostNccl()
    monkeypatch.setitem(sys.modules, "cupy", HostCupy(request.param))
    monkeypatch.setitem(sys.modules, "cupy.cuda.nccl", module)
    return module


def run(nccl, work, size=RANKS, gpus="abc"):
    """Return what work(rank, collectives, backend) returns for each rank, on its GPU, and what was warned of."""

    def one(communicator):
        backend = backend_of(gpus[communicator.rank], nccl)
        found = backend.collectives(communicator.rank, communicator.size, communicator.exchange)
        return work(communicator.rank, found, backend)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = together(size, one)
    return results, [str(warning.message) for warning in caught]


class HostBackend(CupyBackend):
    @classmethod
    def unavailable(cls):
        return None


def backend_of(gpu, nccl):
    device = HostCudaDevice()
    device.identity = lambda: f"{gpu} of here"
    device.nccl = lambda: nccl
    return HostBackend(device)


def given(backend, values, dtype="float32"):
    """An array that its stream has yet to compute."""
    return backend.to_device(np.asarray(values, dtype)) * 1


def test_every_rank_gets_its_slices(nccl):
    def work(rank, ranks, backend):
        send = given(backend, 100 * rank + np.arange(2 * RANKS))
        receive = backend.xp.empty((2 * RANKS,), "float32")
        ranks.all_to_all(send, receive)
        send[...] = -1  # behind it in the stream
        return backend.to_host(receive).tolist()

    assert run(nccl, work)[0] == [[100 * s + 2 * r + k for s in range(RANKS) for k in range(2)] for r in range(RANKS)]
    for rank, calls in nccl.calls.items():
        assert calls == [(name, 8, peer) for peer in range(RANKS) for name in ("send", "recv")], rank


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_all_get_what_each_has(nccl, dtype):
    def work(rank, ranks, backend):
        send = given(backend, [rank, 10 + rank], dtype)
        receive = backend.xp.empty((2 * RANKS,), dtype)
        ranks.all_gather(send, receive)
        return backend.to_host(receive * 1).tolist()

    assert run(nccl, work)[0] == [[0, 10, 1, 11, 2, 12]] * RANKS


@pytest.mark.parametrize("root", [0, 2])
def test_all_get_what_one_has(nccl, root):
    def work(rank, ranks, backend):
        array = given(backend, [rank, 7 * rank])
        ranks.broadcast(array, root)
        return backend.to_host(array).tolist()

    assert run(nccl, work)[0] == [[root, 7 * root]] * RANKS


def test_exchanges_in_turn_do_not_mix(nccl):
    def work(rank, ranks, backend):
        own = given(backend, [rank])
        for _ in range(5):
            every = backend.xp.empty((RANKS,), "float32")
            ranks.all_gather(own, every)
            own = backend.xp.sum(every, keepdims=True) + rank
        return float(backend.to_host(own)[0])

    expected = np.arange(RANKS, dtype=float)
    for _ in range(5):
        expected = expected.sum() + np.arange(RANKS)
    assert run(nccl, work)[0] == expected.tolist()


def test_the_same_ranks_are_connected_once(nccl):
    def work(rank, ranks, backend):
        return backend.collectives(rank, RANKS, None) is ranks

    assert run(nccl, work)[0] == [True] * RANKS
    assert len(nccl.named) == 1


def test_without_nccl_a_warning_says_what_to_install(nccl):
    found, warned = run(None, lambda rank, found, backend: found, 2)
    assert found == [None, None]
    expected = "NCCL is not installed for rank 0 (pip install nvidia-nccl-cu13, or -cu12, as CuPy's package is named): "
    assert warned == [expected + "gradients go through the host's memory, which is slower."] * 2


def test_without_nccl_arrays_go_through_the_host(nccl):
    def one(communicator):
        backend = backend_of("abc"[communicator.rank], None)
        ranks = native(communicator, Ops(backend))
        received = [backend.xp.empty((RANKS,), "float32") for _ in range(2)]
        ranks.all_to_all(given(backend, 10 * communicator.rank + np.arange(RANKS)), received[0])
        ranks.all_gather(given(backend, [communicator.rank]), received[1])
        received.append(given(backend, [communicator.rank, 5]))
        ranks.broadcast(received[2], 1)
        return [backend.to_host(array).tolist() for array in received]

    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        got = together(RANKS, one)
    assert got == [[[10 * s + r for s in range(RANKS)], [0, 1, 2], [1, 5]] for r in range(RANKS)]


def test_ranks_that_share_a_gpu_are_named(nccl):
    found, warned = run(nccl, lambda rank, found, backend: found, gpus="aba")
    assert found == [None] * RANKS
    expected = "ranks 0 and 2 share the GPU a of here, and NCCL wants one for each: gradients go through"
    assert [text.startswith(expected) for text in warned] == [True] * RANKS
    assert not nccl.named


def test_the_seam_tells_whether_there_is_nccl_and_which_gpu_this_is(nccl, monkeypatch):
    device = HostCudaDevice()
    assert device.nccl() is nccl
    nccl.available = False
    assert device.nccl() is None
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    assert device.identity() == "0000:01:00.0 of here"
    assert device.stream() == Stream.current().ptr


def test_an_error_in_a_group_leaves_it(nccl):
    def work(rank, ranks, backend):
        ranks._size = 3  # one more than there are
        send = given(backend, np.arange(6))
        with pytest.raises(NcclError, match="INVALID_ARGUMENT"):
            ranks.all_to_all(send, backend.xp.empty((6,), "float32"))
        Stream.current().queue.clear()
        return nccl.group()

    assert run(nccl, work, 2)[0] == [None, None]


def test_a_training_by_nccl_has_the_bits_of_one_through_the_host(nccl):
    r = np.random.default_rng(0)
    x, t = r.standard_normal((31, 6), np.float32), r.integers(0, 3, 31)

    def trained(communicator, through_nccl):
        backend = backend_of(communicator.rank, nccl)
        if not through_nccl:
            backend.collectives = lambda rank, size, exchange: None
        trainer = nnx.Trainer(nnx.MLP([5], 3, batch_norm=True), backend=backend, parallel=communicator)
        history = trainer.fit(x, t, epochs=2, batch_size=12, verbose=False)
        return history, trainer.model.state_dict()

    ours = together(2, lambda communicator: trained(communicator, True))
    theirs = together(2, lambda communicator: trained(communicator, False))
    for (history, state), (expected, arrays) in zip(ours, theirs, strict=True):
        assert history == expected
        for name, array in state.items():
            np.testing.assert_array_equal(array, arrays[name], err_msg=name)
    assert {name for name, *_ in nccl.calls[0]} == {"send", "recv", "allGather"}
