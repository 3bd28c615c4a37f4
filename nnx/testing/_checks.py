"""The checks of each case and dtype. A failure is an AssertionError that names operation, case and argument."""

from collections.abc import Iterable
from dataclasses import dataclass
from inspect import Parameter
from typing import Any, NoReturn

import numpy as np

from ..ops import HostArray, Ops
from ._arrays import LAYOUTS, Placed, junk, mismatch, same_bits
from ._case import Case, Inputs
from ._reference import Written


def check_case(ops: Ops, case: Case, dtype: str) -> None:
    """Check one case in one dtype; raise AssertionError at the first check that fails."""
    trial = _Trial(ops, case, dtype)
    trial.values()
    trial.layouts()
    trial.fresh_results()
    trial.nan()


def _stays_contiguous(name: str, values: HostArray) -> bool:
    """Return whether an argument is C-contiguous in nnx, so that no other layout is tried.

    Labels, indices, random counters and hyper-parameters are.
    """
    return values.ndim == 0 or name == "hyper" or (values.ndim == 1 and values.dtype.kind in "iu")


@dataclass
class _Call:
    """One call: its arguments on the device, and what it returned."""

    inputs: dict[str, Placed]
    buffers: dict[str, Placed]
    returned: Any

    def written(self, ops: Ops, names: Iterable[str]) -> Written:
        """Return the results and written arguments, on the host."""
        placed = self.inputs | self.buffers
        return {n: np.array(ops.to_host(self.returned)) if n == "result" else placed[n].values() for n in names}


class _Trial:
    def __init__(self, ops: Ops, case: Case, dtype: str) -> None:
        self.ops, self.case, self.dtype = ops, case, dtype
        self.inputs = case.inputs(dtype)
        self.expected = case.expected(self.inputs)
        self.buffers = self._buffers()

    def _buffers(self) -> tuple[str, ...]:
        """Return the keyword arguments that are written where given: those that the reference writes, and `out`."""
        return tuple(name for name in self._keywords() if name == "out" or name in self.expected)

    def _keywords(self) -> list[str]:
        return [name for name, p in self.case.parameters.items() if p.kind is Parameter.KEYWORD_ONLY]

    def _fail(self, what: str, problem: str) -> NoReturn:
        raise AssertionError(f"{self.case.op}[{self.dtype}-{self.case.id}], {what}: {problem}")

    # The checks -------------------------------------------------------------------------------------------------------

    def values(self) -> None:
        """Check the results with all buffers, with none, and with each alone; and that two calls give the same bits."""
        first = self._verify("all buffers given", self.inputs, self.buffers)
        again = self._verify("all buffers given", self.inputs, self.buffers)
        for name, values in first.items():
            if not same_bits(values, again[name]):
                self._fail("called twice", f"{name} differs between two calls with the same inputs")
        if self.buffers:
            self._verify("no buffer given", self.inputs, ())
        if len(self.buffers) > 1:
            for name in self.buffers:
                self._verify(f"only {name} given", self.inputs, (name,))

    def layouts(self) -> None:
        """Check every memory layout: computed by the backend itself, or declined before anything was written."""
        if all(_stays_contiguous(n, v) for n, v in self.inputs.items() if isinstance(v, np.ndarray)):
            return
        for layout in LAYOUTS:
            self._verify(f"{layout} arrays", self.inputs, self.buffers, layout)

    def fresh_results(self) -> None:
        """Check that a result is not a view of memory that the next call reuses."""
        if "result" not in self.expected:
            return
        returned = self._call("called twice", self.inputs, ()).returned
        before = np.array(self.ops.to_host(returned))
        self._call("called twice", self.case.inputs(self.dtype, draw=1), ())
        if not same_bits(before, np.array(self.ops.to_host(returned))):
            self._fail("called twice", "the second call changed the first one's result")

    def nan(self) -> None:
        """Check that NaN stays NaN."""
        name = self.case.nan
        if name is None:
            return
        inputs = self.inputs | {name: self.inputs[name].copy()}
        inputs[name].reshape(-1)[-1] = np.nan
        expected = self.case.expected(inputs)
        with np.errstate(invalid="ignore"):
            got = self._call("with a NaN", inputs, self.buffers).written(self.ops, expected)
        for written, values in expected.items():
            lost = np.isnan(values) & ~np.isnan(got[written]) if values.dtype.kind == "f" else np.False_
            if lost.any():
                self._fail("with a NaN", f"the last element of {name} is NaN, but {written} is {got[written][lost][0]}")

    # One call ---------------------------------------------------------------------------------------------------------

    def _verify(self, what: str, inputs: Inputs, given: Iterable[str], layout: str = "contiguous") -> Written:
        """Make one call and compare all that it returned and wrote, or must not have written, with the reference."""
        call = self._call(what, inputs, given, layout)
        self._check_returned(what, call)
        mutated = [name for name in self.expected if name in inputs]
        written = call.written(self.ops, [n for n in self.expected if n in (*call.buffers, *mutated, "result")])
        for name, values in written.items():
            self._compare(what, name, values)
        for name, placed in (call.inputs | call.buffers).items():
            if not placed.unchanged_around():
                self._fail(what, f"memory around {name} was written to")
        for name, placed in call.inputs.items():
            if name not in mutated and not placed.unchanged():
                self._fail(what, f"the input {name} was modified")
        return written

    def _check_returned(self, what: str, call: _Call) -> None:
        if "result" not in self.expected:
            if call.returned is not None:
                self._fail(what, f"returned {type(call.returned).__name__}, expected None")
        elif call.returned is None:
            self._fail(what, "returned None, expected the result (is a `return` missing?)")
        elif "out" in call.buffers and call.returned is not call.buffers["out"].array:
            self._fail(what, "the result is not `out`")

    def _compare(self, what: str, name: str, got: HostArray) -> None:
        expected = self.expected[name]
        dtype = np.dtype(self.dtype) if expected.dtype == np.float64 else expected.dtype
        if got.dtype != dtype:
            self._fail(what, f"{name} has dtype {got.dtype}, expected {dtype}")
        if got.shape != expected.shape:
            self._fail(what, f"{name} has shape {got.shape}, expected {expected.shape}")
        problem = mismatch(got, expected, self.case.allowed(self.dtype, name))
        if problem and name not in self.case.unspecified:
            self._fail(what, f"{name}: {problem}")

    def _call(self, what: str, inputs: Inputs, given: Iterable[str], layout: str = "contiguous") -> _Call:
        placed = {
            name: Placed(
                self.ops,
                value,
                "contiguous" if _stays_contiguous(name, value) else layout,
                updated=name in self.expected,
            )
            for name, value in inputs.items()
            if isinstance(value, np.ndarray)
        }
        buffers = {name: Placed(self.ops, self._unwritten(name), layout) for name in given}
        values = inputs | {name: p.array for name, p in (placed | buffers).items()}
        keywords = [n for n in self._keywords() if n in values]
        args = [values[n] for n in self.case.parameters if n in values and n not in keywords]
        kwargs = {n: values[n] for n in keywords}
        return _Call(placed, buffers, self._result(what, args, kwargs, placed | buffers))

    def _unwritten(self, name: str) -> HostArray:
        like = self.expected["result" if name == "out" else name]
        dtype = self.dtype if like.dtype == np.float64 else like.dtype
        return np.full(like.shape, junk(dtype), dtype)

    def _result(self, what: str, args: list[Any], kwargs: Inputs, placed: dict[str, Placed]) -> Any:
        """Call the backend's own method first, to see whether one that declines has written before."""
        own = getattr(self.ops.backend, self.case.op, None)
        if callable(own):
            result = own(*args, **kwargs)
            if result is not NotImplemented:
                return result
            for name, array in placed.items():
                if not array.unchanged():
                    self._fail(what, f"declined after it had written to {name}")
        return getattr(self.ops, self.case.op)(*args, **kwargs)
