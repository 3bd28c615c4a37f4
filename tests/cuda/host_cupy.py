"""CuPy on the host, for tests without a GPU: as much of it as `_device.py` and the scripts for a GPU use.

Streams do nothing until somebody waits for them, and then no more than is waited for: the host is always as far ahead
of its device as can be. Or streams of one's own do everything at once, and are ahead of the default one. Whatever is
written too early, or not ordered by an event, comes out wrong.
"""

import ctypes
import math
import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
from emulator import Kernel, Module
from host_cublaslt import HostCublasLt, HostCuda, HostGemm
from nnx_cupy._device import CudaDevice

Work = Callable[[], Any]
VIEWS = (np.reshape, np.transpose)


class OutOfMemoryError(MemoryError):
    """CuPy's."""


class CUDARuntimeError(RuntimeError):
    """CuPy's."""


class Event:
    """Of what was in a stream when it was recorded."""

    def __init__(self, *, disable_timing: bool = False) -> None:
        self.stream: Stream | None = None
        self.position, self.captured = 0, False

    def record(self, stream: "Stream | None" = None) -> None:
        self.stream = stream or Stream.current()
        self.position, self.captured = self.stream.pushed, self.stream.captured is not None

    def reach(self) -> None:
        """What a stream does that waits for it."""
        if self.stream is not None:
            self.stream.run_to(self.position)

    def synchronize(self) -> None:
        HostCupy.waits.append("event")
        self.reach()


class Stream:
    """A queue of work."""

    _local = threading.local()

    def __init__(self, *, non_blocking: bool = False) -> None:
        self.ptr, self.of = id(self), HostCupy.made
        self.queue: list[Work] = []
        self.pushed = self.done = 0
        self.captured: list[Work] | None = None
        self.joined: list[Stream] = []
        """Others that take part in its capture."""

    @classmethod
    def current(cls) -> "Stream":
        if not hasattr(cls._local, "stack"):
            cls._local.stack = [cls()]
        top: Stream = cls._local.stack[-1]
        return top

    def push(self, work: Work) -> None:
        if self.captured is not None:
            self.captured.append(work)
            return
        self.queue.append(work)
        self.pushed += 1
        if HostCupy.early and self is not self._local.stack[0]:
            self.run_to(self.pushed)

    def run_to(self, position: int) -> None:
        while self.done < position and self.of == HostCupy.made:  # the arrays of an earlier test are gone
            self.done += 1
            self.queue.pop(0)()

    def synchronize(self) -> None:
        if self.captured is not None:
            raise CUDARuntimeError("operation not permitted when stream is capturing")
        if self.of == HostCupy.made:
            HostCupy.waits.append("stream")
        self.run_to(self.pushed)

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        if event.captured and event.stream is not self:
            assert event.stream is not None
            event.stream.joined.append(self)
            self.captured = event.stream.captured
            return
        at = Event()
        at.stream, at.position = event.stream, event.position
        self.push(at.reach)

    def begin_capture(self) -> None:
        self.captured, self.joined = [], []

    def end_capture(self) -> "Graph":
        work, self.captured = self.captured or [], None
        for stream in self.joined:
            stream.captured = None
        return Graph(work)

    def __enter__(self) -> Self:
        Stream.current()
        self._local.stack.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._local.stack.pop()


class Graph:
    def __init__(self, work: list[Work]) -> None:
        self.work = work

    def launch(self, stream: Stream) -> None:
        for work in self.work:
            stream.push(work)

    def debug_dot_str(self) -> str:
        return 'node [shape="record"]\n' * len(self.work)


class DeviceArray(np.ndarray[Any, Any]):
    """What is done with it goes to the current stream; the host waits when it looks at a number."""

    __module__ = "cupy"  # in messages

    @property
    def data(self) -> Any:
        HostCupy.kept.append(self)  # copies know an address only
        memory: Any = self
        while isinstance(memory.base, np.ndarray):
            memory = memory.base
        return SimpleNamespace(ptr=self.ctypes.data, mem=memory)

    def get(self) -> Any:
        Stream.current().synchronize()
        return np.array(self)

    def set(self, host: Any) -> None:
        Stream.current().synchronize()
        np.asarray(self)[...] = host

    def fill(self, value: Any) -> None:
        Stream.current().push(partial(np.asarray(self).fill, value))

    def __setitem__(self, key: Any, value: Any) -> None:
        Stream.current().push(partial(operator.setitem, np.asarray(self), key, np.asarray(value)))

    def __getitem__(self, key: Any) -> Any:
        """A view, also of one element."""
        keys = key if isinstance(key, tuple) else (key,)
        keys = (*keys, ...) if all(isinstance(k, int) for k in keys) else key
        return np.asarray(self)[keys].view(DeviceArray)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **options: Any) -> Any:
        return later(partial(getattr(ufunc, method), **options), inputs, None if out is None else out[0])

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in VIEWS:
            return super().__array_function__(function, types, args, kwargs)
        out = kwargs.pop("out", None)
        return later(lambda *given: function(*given, **kwargs), args, out)


def later(function: Any, args: tuple[Any, ...], out: Any) -> Any:
    """The array that the current stream will write function(*args) to."""

    def plain(value: Any, of: Callable[[Any], Any]) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(plain(v, of) for v in value)
        return of(value) if isinstance(value, np.ndarray) else value

    if out is None:
        like = np.asarray(function(*plain(args, lambda a: np.ones(a.shape, a.dtype))))
        out = np.empty(like.shape, like.dtype).view(DeviceArray)
    kept = plain(args, np.asarray)
    Stream.current().push(lambda: np.copyto(np.asarray(out), function(*kept), casting="same_kind"))
    return out


def on_device(result: Any) -> Any:
    return result.view(DeviceArray) if type(result) is np.ndarray else result


class Pool:
    """The default pool. `blocks`: bytes that it holds and nobody uses; `room`: what the device can still give."""

    def __init__(self) -> None:
        self.room, self.used, self.blocks, self.limit = 1 << 34, 0, 0, 0
        self.freed = 0

    def free_all_blocks(self) -> None:
        self.freed += 1
        self.room, self.blocks = self.room + self.blocks, 0

    def malloc(self, size: int) -> None:
        if size > self.room:
            raise OutOfMemoryError
        self.room -= size
        self.used += size

    def used_bytes(self) -> int:
        return self.used

    def total_bytes(self) -> int:
        return self.used + self.blocks

    def get_limit(self) -> int:
        return self.limit


class Random:
    """cupy.random's generator."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: on_device(getattr(self._rng, name)(*args, **kwargs))


class RawModule:
    def __init__(self, code: str, options: tuple[str, ...]) -> None:
        self._module = Module(code, tuple(option for option in options if option.startswith("-D")))

    def get_function(self, name: str) -> Any:
        return launched(self._module.get_function(name))


class RawKernel:
    def __init__(self, code: str, name: str) -> None:
        self._launch = launched(Module(code).get_function(name))

    def __call__(self, *launch: Any) -> None:
        self._launch(*launch)


def launched(kernel: Kernel) -> Any:
    def launch(grid: Any, block: Any, args: Any, **options: Any) -> None:
        # A null pointer comes as a number.
        given = tuple(None if type(a) is np.uint64 and a == 0 else a for a in args)
        Stream.current().push(partial(kernel, grid, block, given, **options))

    return launch


class HostCupy:
    """The module. early: whether streams of one's own run at once. waits: what the host has waited for."""

    early: bool
    waits: list[str]
    kept: list[Any]
    made = 0
    """How many of these there have been."""
    __version__ = "14.2.0"

    def __init__(self, early: bool = False) -> None:
        HostCupy.early, HostCupy.waits, HostCupy.kept = early, [], []
        HostCupy.made += 1
        Stream._local.stack = [Stream()]  # without what an earlier test has left undone
        self.pool = Pool()
        self.random = SimpleNamespace(default_rng=Random)
        self.RawModule, self.RawKernel = RawModule, RawKernel
        properties = {"name": b"a GPU on the host", "major": 9, "minor": 0}
        runtime = SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            memcpyAsync=self._copy,
            memcpyDeviceToDevice=3,
            memcpyHostToDevice=1,
            memGetInfo=lambda: (self.pool.room, 1 << 34),
            getDeviceProperties=lambda device: properties,
            driverGetVersion=lambda: 13020,
            runtimeGetVersion=lambda: 13020,
            streamIsCapturing=lambda stream: Stream.current().captured is not None,
            getDevice=lambda: 0,
            deviceGetPCIBusId=lambda device: "0000:01:00.0",
        )
        attributes = {"MultiProcessorCount": 2, "MaxSharedMemoryPerBlock": 48 << 10, "ClockRate": 1_980_000}
        self.cuda = SimpleNamespace(
            runtime=runtime,
            memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            Device=lambda: SimpleNamespace(attributes=attributes | {"MemoryClockRate": 2_619_000}, id=0),
            Event=Event,
            Stream=Stream,
            MemoryPool=Pool,
            using_allocator=self._using_allocator,
            alloc_pinned_memory=Pinned,
            get_current_stream=Stream.current,
            get_elapsed_time=lambda begin, end: 1.0,
        )

    def __getattr__(self, name: str) -> Any:
        member = getattr(np, name)
        if isinstance(member, type) or not callable(member):
            return member
        return lambda *args, **kwargs: on_device(member(*args, **kwargs))

    def empty(self, shape: Any, dtype: Any = "float32") -> Any:
        self.pool.malloc(math.prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize)
        kind = np.dtype(dtype)
        size = math.prod(shape if isinstance(shape, tuple) else (shape,)) * kind.itemsize
        memory = np.empty(size + 256, np.uint8)  # on 256 bytes, as device memory is
        start = -memory.ctypes.data % 256
        array = memory[start : start + size].view(kind).reshape(shape)
        if array.dtype.kind == "f":
            array.fill(np.nan)
        return array.view(DeviceArray)

    def ndarray(self, shape: tuple[int], dtype: Any, data: Any) -> Any:
        """An array of what lies there."""
        size = shape[0] * np.dtype(dtype).itemsize
        return np.frombuffer((ctypes.c_char * size).from_address(data.ptr), dtype).view(DeviceArray)

    def get_default_memory_pool(self) -> Pool:
        return self.pool

    def asnumpy(self, array: Any) -> Any:
        return array.get()

    @contextmanager
    def _using_allocator(self, allocator: Any) -> Iterator[None]:
        yield

    @staticmethod
    def _copy(to: int, source: int, size: int, kind: int, stream: int) -> None:
        assert stream == Stream.current().ptr
        Stream.current().push(lambda: ctypes.memmove(to, source, size))


class Pinned(bytearray):
    """Pinned memory."""

    @property
    def ptr(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self))


class HostCudaDevice(CudaDevice):
    """The real seam over all this; products by the stand-in of cuBLASLt."""

    def gemm(self) -> HostGemm:
        lib = HostCublasLt(launch=lambda work: Stream.current().push(work))
        capturing = HostCuda(capturing=lambda: Stream.current().captured is not None)
        return HostGemm(lib, capturing, workspaces=self.workspaces)
