"""A training step as one graph: run as it is at first, then recorded, then launched."""

import warnings
from collections.abc import Callable

import numpy as np

from ._device import Array, Device

WARM_UP = 2  # runs before the recording: they compile, choose products' algorithms, and fill the memory pool


class CaptureWarning(RuntimeWarning):
    """A step cannot become a graph, and runs launch by launch."""


class CapturedStep:
    """Does what `step` does, on each call's own inputs; every call returns a fresh array.

    Inputs may be on the host: small ones (a step's numbers) are uploaded without waiting for the device.
    """

    def __init__(self, device: Device, step: Callable[..., Array], example_inputs: tuple[Array, ...]) -> None:
        self._device, self._step = device, step
        self._inputs = [device.empty(given.shape, given.dtype) for given in example_inputs]
        self._recorder = device.recorder()
        self._runs = 0
        self._result: Array = None
        self._eager = False
        self._results: Array = None
        self._place = 0

    def __call__(self, *inputs: Array) -> Array:
        for static, given in zip(self._inputs, inputs, strict=True):
            self._put(static, given)
        if self._eager:
            return self._run()
        if self._runs < WARM_UP:
            self._runs += 1
            return self._recorder.run(self._run)
        if self._result is None and not self._record():
            return self._run()
        self._recorder.launch()
        return self._fresh()

    def _run(self) -> Array:
        return self._step(*self._inputs)

    def _put(self, static: Array, given: Array) -> None:
        if given.shape != static.shape or given.dtype != static.dtype:
            raise ValueError(
                f"a captured step takes inputs like its first, {static.shape} {static.dtype}; got {given.shape} "
                f"{given.dtype}"
            )
        if type(given) is np.ndarray:
            self._device.upload(given, static)
        elif given.flags.c_contiguous:
            self._device.copy(given, static)
        else:
            static[...] = given

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
        """A copy of the result that no later step overwrites: a place in a table that nobody else is given."""
        if self._results is None or self._place == len(self._results):
            self._results = self._device.empty((1024, *self._result.shape), self._result.dtype)
            self._place = 0
        copy = self._results[self._place, ...]
        self._place += 1
        self._device.copy(self._result, copy)
        return copy
