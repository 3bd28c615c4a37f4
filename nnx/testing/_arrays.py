"""Native arrays with guarded surroundings, in several memory layouts, and how far two arrays are apart."""

import math
from typing import Any

import numpy as np

from ..ops import Array, HostArray, Ops

LAYOUTS = ("misaligned", "fortran", "strided", "row-gaps")
"""Beside C-contiguous: one element off, column-major, every second column, and rows with a gap between them."""

_MARGIN = 128  # elements before and after, so that an array starts on a 128-byte line if its surroundings do


def junk(dtype: Any) -> Any:
    """Return what stands for unwritten memory: NaN, the largest integer, True."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return np.nan
    return True if dtype.kind == "b" else np.iinfo(dtype).max


def same_bits(a: HostArray, b: HostArray) -> bool:
    return a.tobytes() == b.tobytes()


def _window(xp: Any, memory: Array, shape: tuple[int, ...], layout: str) -> Array:
    """Return the array of this shape and layout inside a 1-D `memory`: a view, by Array API names alone."""
    start = _MARGIN + (layout == "misaligned")
    stretch = 2 if shape and layout in ("strided", "row-gaps") else 1
    flat = memory[start : start + stretch * math.prod(shape)]
    if stretch == 2:
        wide = xp.reshape(flat, (*shape[:-1], 2 * shape[-1]))
        return wide[..., ::2] if layout == "strided" else wide[..., : shape[-1]]
    if layout == "fortran":
        return xp.permute_dims(xp.reshape(flat, shape[::-1]), tuple(reversed(range(len(shape)))))
    return xp.reshape(flat, shape)


class Placed:
    """`values` on the device as a window into a larger array of junk, which must not change around it.

    `array` is what an operation gets. Only `to_device` and `to_host` are used to make and read it.

    Args:
        ops: the bound operations.
        values: on the host.
        layout: "contiguous" or one of `LAYOUTS`.
        updated: whether the operation updates it. Its surroundings are then a number: NaN would stay NaN under an
            update that goes beyond the end.
    """

    def __init__(self, ops: Ops, values: HostArray, layout: str = "contiguous", updated: bool = False) -> None:
        self._ops, self._shape, self._layout = ops, values.shape, layout
        around = 1.5 if updated else junk(values.dtype)
        self._before = np.full(2 * _MARGIN + 2 * values.size + 1, around, values.dtype)
        self._inside(self._before)[...] = values
        self._memory = ops.to_device(self._before.copy())
        self.array = _window(ops.xp, self._memory, self._shape, layout)

    def _inside(self, memory: HostArray) -> HostArray:
        window: HostArray = _window(np, memory, self._shape, self._layout)
        return window

    def _now(self) -> HostArray:
        return np.array(self._ops.to_host(self._memory))

    def values(self) -> HostArray:
        return np.array(self._inside(self._now()), order="C")

    def unchanged(self) -> bool:
        return same_bits(self._now(), self._before)

    def unchanged_around(self) -> bool:
        after = self._now()
        self._inside(after)[...] = self._inside(self._before)
        return same_bits(after, self._before)


def mismatch(got: HostArray, expected: HostArray, tolerance: float) -> str | None:
    """Return None if |got - expected| <= tolerance + tolerance * |expected| everywhere, NaN where it should be.

    Otherwise describe the worst element. Integers and booleans have to be equal.
    """
    if expected.dtype.kind != "f":
        wrong = got != expected
        error = wrong.astype(np.float64)
        allowed = "equal"
    else:
        reached = got.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.array(np.abs(reached - expected))  # an array even if 0-d
        error[(reached == expected) | (np.isnan(reached) & np.isnan(expected))] = 0.0  # infinities, too
        error[np.isnan(error)] = np.inf
        excess = error - tolerance * (1.0 + np.abs(np.nan_to_num(expected)))
        wrong, error = excess > 0, np.where(excess > 0, error, 0.0)
        allowed = f"within {tolerance:g} + {tolerance:g} * |expected|" if tolerance else "equal"
    if not wrong.any():
        return None
    worst = np.unravel_index(np.argmax(error), error.shape)
    where = f" at {tuple(int(i) for i in worst)}" if worst else ""
    size = f"largest error {error[worst]:.3g}" if expected.dtype.kind == "f" else "different"
    return (
        f"{size}{where}: got {got[worst]}, expected {expected[worst]}, {allowed}; "
        f"{int(wrong.sum())} of {wrong.size} elements are wrong"
    )
