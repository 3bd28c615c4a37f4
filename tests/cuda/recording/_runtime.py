# ruff: noqa: N802, N815  the functions have CuPy's names
"""A CUDA runtime that computes nothing: it writes down what it is asked, and what would be wrong on a GPU.

Device memory is host memory, and copies are made at once, so that what CuPy and nnx send and fetch is there. Kernels,
products and graphs are only written down: numbers that depend on them are meaningless (zeros, mostly).

Two kinds of wrong are told apart. What CUDA refuses raises CuPy's CUDARuntimeError with CUDA's own number, as on a GPU,
and is counted in `refused`. What CUDA lets pass, but ends in wrong numbers or a crash, is a `Problem`.
"""

import bisect
import ctypes
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._bindings import ABSENT, QUIET_EVENT
from ._cubin import Kernel, kernels

# cudaError
OUT_OF_MEMORY, INVALID_DEVICE = 2, 101
CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, CAPTURE_UNJOINED, CAPTURE_ISOLATION, CAPTURED_EVENT = 900, 901, 904, 905, 907

COPIES = {0: "HtoH", 1: "HtoD", 2: "DtoH", 3: "DtoD"}  # cudaMemcpyKind
BY_ADDRESS = 4  # of the kinds: cudaMemcpyDefault
RELAXED = 2  # cudaStreamCaptureMode
NON_BLOCKING = 1  # a flag of streams

# The attributes of a device that CuPy and nnx ask for, of an H200; all others are 1.
ATTRIBUTES = {
    1: 1024,  # threads of a block
    8: 48 << 10,  # bytes of shared memory of a block
    10: 32,  # threads of a warp
    13: 1_980_000,  # clock, in kHz
    16: 132,  # streaming multiprocessors
    36: 2_619_000,  # clock of the memory, in kHz
    75: 9,  # compute capability, major
    76: 0,  # and minor
    81: 228 << 10,  # bytes of shared memory of a multiprocessor
    97: 227 << 10,  # bytes of shared memory of a block that opts in
}
MEMORY = 128 << 30
MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_THREADS, MAX_SHARED = 1024, 48 << 10


@dataclass(frozen=True)
class Call:
    """Something that a stream was given to do, or that the host did to one."""

    kind: str
    """kernel, copy, memset, product, graph, synchronize."""
    name: str
    """The kernel's; of a copy HtoD, DtoH, DtoD; of a product its epilogue."""
    stream: int
    thread: int = field(default_factory=threading.get_ident)
    captured: bool = False
    """Written into a graph instead of done."""
    uses: tuple[int, ...] = ()
    """Addresses in the device's memory."""
    size: int = 0
    """Bytes of a copy; nodes of a graph."""
    pinned: bool = False
    """Of a copy: the host's side of it is page-locked, so that the host goes on at once."""
    waits: bool = False
    """The host waits until it is done."""


@dataclass(frozen=True)
class Problem:
    """What CUDA would do, and give wrong numbers."""

    text: str
    where: tuple[str, ...] = field(default=(), compare=False)
    """The calls that led there, innermost last."""


@dataclass
class Graph:
    """Calls written down instead of done."""

    origin: int
    """The stream that began the capture."""
    nodes: list[Call] = field(default_factory=list)
    capturing: bool = True
    broken: bool = False
    joined: set[int] = field(default_factory=set)
    """Streams beside the origin that it waits for after all they did."""
    blocks: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)
    """By every address that is used: the number of its block of CUDA's, and of its block of CuPy's pool."""


class Blocks:
    """Blocks of memory by address, each with a number of its own: another block at the same address is another one."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self._starts: list[int] = []
        self._numbers: dict[int, int] = {}
        self._count = 0

    def add(self, start: int, size: int) -> None:
        if start not in self.sizes:
            bisect.insort(self._starts, start)
        self._count += 1
        self.sizes[start], self._numbers[start] = size, self._count

    def remove(self, start: int) -> None:
        if self.sizes.pop(start, None) is not None:
            self._starts.remove(start)

    def block(self, address: int) -> int | None:
        """Where the block begins that holds this address, or None."""
        i = bisect.bisect_right(self._starts, address) - 1
        if i < 0:
            return None
        start = self._starts[i]
        return start if address < start + self.sizes[start] else None

    def number(self, address: int) -> int | None:
        """That of the block that holds this address, or None."""
        start = self.block(address)
        return None if start is None else self._numbers[start]

    def holds(self, address: int, size: int = 1) -> bool:
        """Whether these bytes are all of one block."""
        start = self.block(address)
        return start is not None and address + size <= start + self.sizes[start]


class Memory(Blocks):
    """Blocks of the host's memory, as CUDA gives them out. They are zero, and take room only when written to."""

    ALIGNMENT = 512

    def __init__(self) -> None:
        super().__init__()
        self._raw: dict[int, int] = {}
        self._libc = ctypes.CDLL(None)
        self._libc.calloc.restype = ctypes.c_void_p
        self._libc.calloc.argtypes = [ctypes.c_size_t] * 2
        self._libc.free.argtypes = [ctypes.c_void_p]

    @property
    def used(self) -> int:
        return sum(self.sizes.values())

    def allocate(self, size: int) -> int:
        raw: int = self._libc.calloc(max(size, 1) + self.ALIGNMENT, 1)
        start = -(-raw // self.ALIGNMENT) * self.ALIGNMENT
        self._raw[start] = raw
        self.add(start, size)
        return start

    def free(self, start: int) -> None:
        self.remove(start)
        self._libc.free(self._raw.pop(start))


class RecordingCuda:
    """CUDA's runtime and driver, as CuPy calls them: a method for each function, under CuPy's name of it.

    error: makes CuPy's exception of a number of CUDA's. version: the CUDA that CuPy is built for, such as 13020.
    """

    def __init__(self, error: Callable[[int], Exception], version: int) -> None:
        self._error, self.version = error, version
        self.lock = threading.RLock()
        self.calls: list[Call] = []
        self.problems: list[Problem] = []
        self.refused: Counter[int] = Counter()
        """By the number of CUDA's error."""
        self.counts: Counter[str] = Counter()
        """Of every function called."""
        self.device, self.pinned = Memory(), Memory()
        self.private: set[int] = set()
        """The blocks of device memory that belong to a pool that is not CuPy's default one."""
        self.is_private: Callable[[], bool] = lambda: False
        """Whether what this thread allocates now is for such a pool."""
        self.recorded: list[Graph] = []
        """All graphs ever captured."""
        self.graphs: dict[int, Graph] = {}
        """Before they are instantiated."""
        self.executables: dict[int, Graph] = {}
        self.given = Blocks()
        """What CuPy's pools have given out and not got back, where `watched_blocks` is in force."""
        self.arguments = threading.local()
        """`sizes`: those of the next launch of this thread, in bytes, where they are known."""
        self._streams: dict[int, Graph | None] = {0: None, 1: None, 2: None}
        self._flags: dict[int, int] = dict.fromkeys(self._streams, 0)
        self._events: dict[int, tuple[int, Graph | None]] = {}
        self._modules: dict[int, dict[str, Kernel]] = {}
        self._functions: dict[int, Kernel] = {}
        self._last_handle = 0x1000

    # What tests look at -----------------------------------------------------------------------------------------------

    def dispatch(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """What the function of this name does; see `_bindings`."""
        function = getattr(self, name.replace(".", "_"), None)
        if function is None:
            raise NotImplementedError(f"the recording CUDA has no {name}{arguments}")
        with self.lock:
            self.counts[name] += 1
            return function(*arguments)

    def problem(self, text: str) -> None:
        frames = [frame for frame in traceback.extract_stack() if frame.filename != __file__]
        where = tuple(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-6:])
        self.problems.append(Problem(text, where))

    def add(self, call: Call) -> None:
        """Something for a stream to do: goes into the graph that the stream is captured for, if it is."""
        if call.stream not in self._streams:
            self.problem(f"{call.kind} {call.name} on a stream that does not exist: {call.stream}")
        graph = self._streams.get(call.stream)
        if graph is not None:
            graph.nodes.append(call)
            graph.joined.discard(call.stream)
            for address in call.uses:
                graph.blocks[address] = self.device.number(address), self._number_in_pool(address)
        self.calls.append(call)

    def _number_in_pool(self, address: int) -> int | None:
        """None where it is not known, and in private pools, which reuse a graph's own memory within that graph."""
        return None if self.device.block(address) in self.private else self.given.number(address)

    def capturing(self, stream: int) -> bool:
        return self._streams.get(stream) is not None

    def _refuse(self, status: int) -> Exception:
        self.refused[status] += 1
        return self._error(status)

    def _forbid_while_capturing(self, *streams: int) -> None:
        """CUDA refuses, and the graphs that these streams are captured for are lost."""
        graphs = [graph for stream in streams if (graph := self._streams.get(stream)) is not None]
        for graph in graphs:
            graph.broken = True
        if graphs:
            raise self._refuse(CAPTURE_UNSUPPORTED)

    def _handle(self) -> int:
        self._last_handle += 16
        return self._last_handle

    # The device -------------------------------------------------------------------------------------------------------

    def runtime_getDevice(self) -> int:
        return 0

    def runtime_setDevice(self, device: int) -> None:
        if device != 0:
            raise self._refuse(INVALID_DEVICE)

    def runtime_getDeviceCount(self) -> int:
        return 1

    def runtime_driverGetVersion(self) -> int:
        return self.version

    runtime_runtimeGetVersion = driver_get_build_version = runtime_driverGetVersion

    def runtime__getCUDAMajorVersion(self) -> int:
        return self.version // 1000

    def runtime__ensure_context(self) -> None: ...

    def runtime_deviceGetAttribute(self, attribute: int, device: int) -> int:
        return ATTRIBUTES.get(attribute, 1)

    def runtime_deviceCanAccessPeer(self, device: int, peer: int) -> int:
        return 1

    def runtime_getDeviceProperties(self, device: int) -> dict[str, Any]:
        return {
            "name": b"a GPU that only writes down",
            "major": ATTRIBUTES[75],
            "minor": ATTRIBUTES[76],
            "multiProcessorCount": ATTRIBUTES[16],
            "totalGlobalMem": MEMORY,
        }

    def runtime_deviceSynchronize(self) -> None:
        self._forbid_while_capturing(*self._streams)
        self.calls.append(Call("synchronize", "device", 0, waits=True))

    # Memory -----------------------------------------------------------------------------------------------------------

    def runtime_malloc(self, size: int) -> int:
        if self.device.used + size > MEMORY:
            raise self._refuse(OUT_OF_MEMORY)
        address = self.device.allocate(size)
        if self.is_private():
            self.private.add(address)
        return address

    def runtime_free(self, address: int) -> None:
        if address not in self.device.sizes:
            self.problem(f"cudaFree of what is no block of memory: {address:#x}")
            return
        self.private.discard(address)
        self.device.free(address)

    def runtime_memGetInfo(self) -> tuple[int, int]:
        return MEMORY - self.device.used, MEMORY

    def runtime_hostAlloc(self, size: int, flags: int) -> int:
        return self.pinned.allocate(size)

    def runtime_freeHost(self, address: int) -> None:
        self.pinned.free(address)

    def runtime_pointerGetMemoryType(self, address: int) -> int:
        return 2 if self.device.holds(address) else 1 if self.pinned.holds(address) else 0

    def runtime_memcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> None:
        self._copy(to, source, size, kind, stream, waits=False)

    def runtime_memcpy(self, to: int, source: int, size: int, kind: int) -> None:
        self._copy(to, source, size, kind, 0, waits=True)

    def _copy(self, to: int, source: int, size: int, kind: int, stream: int, *, waits: bool) -> None:
        if kind == BY_ADDRESS:
            kind = 2 * self.device.holds(source) + self.device.holds(to)
        name, captured = COPIES[kind], self.capturing(stream)
        on_device = [address for address, letter in ((source, name[0]), (to, name[-1])) if letter == "D"]
        on_host = [address for address in (source, to) if address not in on_device]
        for address in on_device:
            if not self.device.holds(address, size):
                self.problem(f"a copy {name} of {size} bytes where the device has no such memory: {address:#x}")
                return
        if captured and on_host:
            self.problem(f"a copy {name} of {size} bytes is recorded: every launch of the graph repeats it")
        pinned = bool(on_host) and all(self.pinned.holds(address, size) for address in on_host)
        uses = tuple(on_device)
        self.add(Call("copy", name, stream, captured=captured, uses=uses, size=size, pinned=pinned, waits=waits))
        if not captured:
            ctypes.memmove(to, source, size)

    def runtime_memsetAsync(self, address: int, value: int, size: int, stream: int) -> None:
        if not self.device.holds(address, size):
            self.problem(f"a memset of {size} bytes where the device has no such memory: {address:#x}")
            return
        captured = self.capturing(stream)
        self.add(Call("memset", str(value), stream, captured=captured, uses=(address,), size=size))
        if not captured:
            ctypes.memset(address, value, size)

    # Streams and events -----------------------------------------------------------------------------------------------

    def runtime_streamCreateWithPriority(self, flags: int, priority: int) -> int:
        stream = self._handle()
        self._streams[stream], self._flags[stream] = None, flags
        return stream

    def runtime_streamCreateWithFlags(self, flags: int) -> int:
        return self.runtime_streamCreateWithPriority(flags, 0)

    def runtime_streamCreate(self) -> int:
        return self.runtime_streamCreateWithPriority(0, 0)

    def runtime_streamDestroy(self, stream: int) -> None:
        if self.capturing(stream):
            self.problem("a stream is destroyed while it is captured")
        del self._streams[stream]

    def runtime_streamSynchronize(self, stream: int) -> None:
        self._forbid_while_capturing(stream)
        self.calls.append(Call("synchronize", "stream", stream, waits=True))

    def runtime_streamQuery(self, stream: int) -> int:
        self._forbid_while_capturing(stream)
        return 0

    def runtime_streamIsCapturing(self, stream: int) -> int:
        return int(self.capturing(stream))

    def runtime_streamWaitEvent(self, stream: int, event: int, flags: int = ABSENT) -> None:
        origin, graph = self._events[event]
        own = self._streams[stream]
        if graph is None:
            if own is not None:
                own.broken = True
                self.problem("a captured stream waits for an event from outside the capture")
                raise self._refuse(CAPTURE_ISOLATION)
        elif not graph.capturing:
            raise self._refuse(CAPTURED_EVENT)
        else:
            if stream == graph.origin:
                graph.joined.add(origin)
            self._streams[stream] = graph

    def runtime_eventCreateWithFlags(self, flags: int) -> int:
        event = self._handle()
        self._events[event] = 0, None
        return event

    def runtime_eventCreate(self) -> int:
        return self.runtime_eventCreateWithFlags(0)

    def runtime_eventDestroy(self, event: int) -> None:
        if event != QUIET_EVENT:
            del self._events[event]

    def runtime_eventRecord(self, event: int, stream: int) -> None:
        self._events[event] = stream, self._streams[stream]

    def _of_no_capture(self, event: int) -> None:
        """CUDA refuses to look at an event that was recorded on a captured stream."""
        graph = self._events.get(event, (0, None))[1]
        if graph is not None:
            graph.broken = True
            raise self._refuse(CAPTURED_EVENT)

    def runtime_eventSynchronize(self, event: int) -> None:
        self._of_no_capture(event)
        self.calls.append(Call("synchronize", "event", self._events.get(event, (0, None))[0], waits=True))

    def runtime_eventQuery(self, event: int) -> int:
        self._of_no_capture(event)
        return 0

    def runtime_eventElapsedTime(self, begin: int, end: int) -> float:
        return 1.0

    # Graphs -----------------------------------------------------------------------------------------------------------

    def runtime_streamBeginCapture(self, stream: int, mode: int = ABSENT) -> None:
        if stream in (0, 1, 2) or self.capturing(stream):
            raise self._refuse(CAPTURE_UNSUPPORTED)
        if self._flags[stream] != NON_BLOCKING:
            self.problem("a blocking stream is captured: any work on the default stream would break it")
        if mode not in (RELAXED, ABSENT):
            self.problem(f"a capture in mode {mode}, in which a cudaMalloc of CuPy's pool breaks it")
        self._streams[stream] = Graph(stream)

    def runtime_streamEndCapture(self, stream: int) -> int:
        graph = self._streams[stream]
        if graph is None:
            raise self._refuse(CAPTURE_INVALIDATED)
        members = [member for member, of in self._streams.items() if of is graph]
        for member in members:
            self._streams[member] = None
        graph.capturing = False
        if graph.broken:
            raise self._refuse(CAPTURE_INVALIDATED)
        if set(members) - {graph.origin} - graph.joined:
            raise self._refuse(CAPTURE_UNJOINED)
        handle = self._handle()
        self.graphs[handle] = graph
        self.recorded.append(graph)
        return handle

    def runtime_graphInstantiate(self, graph: int) -> int:
        executable = self._handle()
        self.executables[executable] = self.graphs[graph]
        return executable

    def runtime_graphUpload(self, executable: int, stream: int) -> None: ...

    def runtime_graphLaunch(self, executable: int, stream: int) -> None:
        graph = self.executables[executable]
        for node in graph.nodes:
            for address in node.uses:
                in_memory, in_pool = graph.blocks[address]
                if self.device.number(address) != in_memory:
                    self.problem(f"a graph is launched that uses freed memory: {node.kind} {node.name}")
                elif in_pool is not None and self._number_in_pool(address) != in_pool:
                    self.problem(f"a graph is launched that uses memory given back to a pool: {node.kind} {node.name}")
        self.add(Call("graph", "", stream, captured=self.capturing(stream), size=len(graph.nodes)))

    def runtime_graphDestroy(self, graph: int) -> None:
        del self.graphs[graph]

    def runtime_graphExecDestroy(self, executable: int) -> None:
        del self.executables[executable]

    def runtime_graphDebugDotPrint(self, graph: int, path: str, flags: int) -> None:
        nodes = self.graphs[graph].nodes
        Path(path).write_text("".join(f'"{node.kind} {node.name}"[shape="record"]\n' for node in nodes))

    # Kernels ----------------------------------------------------------------------------------------------------------

    def driver_moduleLoadData(self, image: bytes) -> int:
        module = self._handle()
        self._modules[module] = kernels(image)
        return module

    def driver_moduleUnload(self, module: int) -> None:
        del self._modules[module]

    def driver_moduleGetFunction(self, module: int, name: str) -> int:
        function = self._handle()
        self._functions[function] = self._modules[module][name]
        return function

    def driver_funcGetAttribute(self, attribute: int, function: int) -> int:
        return 0

    def driver_launchKernel(
        self,
        function: int,
        grid_x: int,
        grid_y: int,
        grid_z: int,
        block_x: int,
        block_y: int,
        block_z: int,
        shared: int,
        stream: int,
        arguments: int,
        extra: int,
    ) -> None:
        kernel = self._functions[function]
        name, grid, threads = kernel.name, (grid_x, grid_y, grid_z), block_x * block_y * block_z
        given, self.arguments.sizes = getattr(self.arguments, "sizes", None), None
        self.counts["launches with checked arguments"] += given is not None
        if given is not None and tuple(given) != kernel.parameters:
            self.problem(f"{name}: arguments of {list(given)} bytes, but parameters of {list(kernel.parameters)}")
            return  # to read them would be to read beyond them
        if any(not 1 <= wanted <= most for wanted, most in zip(grid, MAX_GRID, strict=True)):
            self.problem(f"{name}: a grid of {grid}, of {MAX_GRID} at most")
        if not 1 <= threads <= min(MAX_THREADS, kernel.max_threads):
            self.problem(f"{name}: blocks of {threads} threads, of {min(MAX_THREADS, kernel.max_threads)} at most")
        if shared + kernel.static_shared > MAX_SHARED:
            self.problem(f"{name}: {shared} + {kernel.static_shared} bytes of shared memory, of {MAX_SHARED} at most")
        uses = tuple(value for value in self._values(kernel, arguments) if self.device.block(value) is not None)
        self.add(Call("kernel", name, stream, captured=self.capturing(stream), uses=uses))

    @staticmethod
    def _values(kernel: Kernel, arguments: int) -> Iterator[int]:
        """The first eight bytes of every argument that may be an address: of an array of CuPy's own kernels, too."""
        pointers = ctypes.cast(arguments, ctypes.POINTER(ctypes.c_void_p))
        for i, size in enumerate(kernel.parameters):
            at = pointers[i]
            if size >= 8 and at:
                yield int.from_bytes(ctypes.string_at(at, 8), "little")
