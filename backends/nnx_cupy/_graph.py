"""Training steps as one graph: run as they are at first, then recorded, then launched."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ._device import Array, CudaDevice

WARM_UP = 2  # runs before the recording: they compile, choose products' algorithms, and fill the memory pool
ALIGNMENT = 256  # bytes, of each input


class CaptureWarning(RuntimeWarning):
    """A step cannot become a graph, and runs launch by launch."""


class StaticInputs:
    """Where a graph finds its inputs: side by side in one block, so that those on the host are copied at once."""

    def __init__(self, device: CudaDevice, examples: tuple[Array, ...]) -> None:
        self._device = device
        sizes = [given.size * np.dtype(given.dtype).itemsize for given in examples]
        # Those on the host first: what lies between two of them would be copied, too.
        order = sorted(range(len(examples)), key=lambda i: type(examples[i]) is not np.ndarray)
        self._offsets, end = [0] * len(examples), 0
        for i in order:
            self._offsets[i] = end
            end += -(-sizes[i] // ALIGNMENT) * ALIGNMENT
        self._order = order
        self._block = device.empty((end,), "uint8")
        self.arrays = [
            self._block[offset : offset + size].view(given.dtype).reshape(given.shape)
            for given, offset, size in zip(examples, self._offsets, sizes, strict=True)
        ]
        self._kinds = [(given.shape, given.dtype) for given in examples]

    def write(self, inputs: tuple[Array, ...]) -> None:
        """Copy the values of `inputs`, wherever they are. Raises before anything is written."""
        if len(inputs) != len(self._kinds):
            raise ValueError(f"a captured step takes {len(self._kinds)} inputs, as at first; got {len(inputs)}")
        hosts, offsets, others = [], [], []
        for i in self._order:
            given, (shape, dtype) = inputs[i], self._kinds[i]
            if given.shape != shape or given.dtype != dtype:
                raise ValueError(
                    f"a captured step takes inputs like its first, {shape} {dtype}; got {given.shape} {given.dtype}"
                )
            if type(given) is np.ndarray:
                hosts.append(given)
                offsets.append(self._offsets[i])
            else:
                others.append((given, self.arrays[i]))
        if hosts:
            self._device.upload_all(hosts, self._block, offsets)
        for given, static in others:  # after the host's, whose one copy may overwrite what lies between them
            if given.flags.c_contiguous:
                self._device.copy(given, static)
            else:
                static[...] = given


class CapturedStep:
    """Does what `step` does, on each call's own inputs; every call returns a fresh array.

    Inputs may be on the host: they are uploaded without waiting for the device. step: returns a 0-d array, or a list of
    k of them (of several training steps), which come back as one array (k,).
    """

    def __init__(self, device: CudaDevice, step: Callable[..., Any], example_inputs: tuple[Array, ...]) -> None:
        self._device, self._step = device, step
        self._inputs = StaticInputs(device, example_inputs)
        self._recorder = device.recorder()
        self._runs = 0
        self._result: Array = None
        self._eager = False
        self._results: Array = None
        self._place = 0

    @property
    def graph(self) -> Any:
        """The graph that its calls launch; None before there is one."""
        return None if self._result is None else self._recorder.graph

    def __call__(self, *inputs: Array) -> Array:
        self._inputs.write(inputs)
        if self._result is None:
            if self._eager:
                return self._run()
            if self._runs < WARM_UP:
                self._runs += 1
                return self._recorder.run(self._run)
            if not self._record():
                return self._run()
        self._recorder.launch()
        return self._fresh()

    def _run(self) -> Array:
        result = self._step(*self._inputs.arrays)
        if not isinstance(result, list):
            return result
        joined = self._device.empty((len(result),), result[0].dtype)
        for i, one in enumerate(result):
            self._device.copy(one, joined[i, ...])
        return joined

    def _record(self) -> bool:
        try:
            self._result = self._recorder.record(self._run)
        except Exception as error:
            self._eager = True
            warnings.warn(
                f"this training step cannot become a CUDA graph and runs launch by launch, more slowly: "
                f"{type(error).__name__}: {error}",
                CaptureWarning,
                stacklevel=4,
            )
            return False
        return True

    def _fresh(self) -> Array:
        """Copy the result to where no later step overwrites it: a place in a table that no other call returns."""
        if self._results is None or self._place == len(self._results):
            self._results = self._device.empty((1024, *self._result.shape), self._result.dtype)
            self._place = 0
        fresh = self._results[self._place, ...]
        self._place += 1
        self._device.copy(self._result, fresh)
        return fresh
