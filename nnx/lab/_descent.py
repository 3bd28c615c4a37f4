"""An optimizer's way down a function of two variables, and how it is drawn."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .._support import plots as plotting
from .._support.checks import as_number
from ..errors import InputError, InputTypeError
from ..ops import HostArray, Ops
from ..optimizers import Optimizer

_FAR = 1e3


def gone(point: HostArray, size: float) -> bool:
    """Return whether a descent has left for good: a thousand times as far as the size of what is looked at, or NaN."""
    return not np.abs(point).max() < _FAR * size


def descend(
    ops: Ops,
    optimizer: Optimizer,
    gradient: Callable[[HostArray], HostArray],
    start: tuple[float, float],
    steps: int,
    done: Callable[[HostArray], bool],
) -> HostArray:
    """Follow `optimizer.update` from `start` until `done(point)`, for at most `steps` updates.

    Returns:
        The points (1 + updates, 2), float64, the start first.
    """
    optimizer.bind(ops)  # the experiment's backend, whichever is in force
    path = [np.array(start, np.float64)]
    point = ops.to_device(path[0].copy())
    while len(path) <= steps and not done(path[-1]):
        optimizer.update({"p": point}, {"p": ops.to_device(gradient(path[-1]))})
        path.append(np.array(ops.to_host(point)))
    return np.array(path)


def draw_map(axes: Any, x: HostArray, y: HostArray, f: Any, levels: HostArray) -> None:
    """Draw contours of f (y, x) at these levels, and set the axes' limits."""
    if len(levels) > 1:
        axes.contour(x, y, f, levels=levels, colors=plotting.FAINT, linewidths=0.6)
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), xlabel="x", ylabel="y")
    axes.grid(visible=False)


def draw_path(axes: Any, points: HostArray, look: dict[str, Any]) -> None:
    """Draw a descent (1 + updates, 2), with a dot where it begins."""
    axes.plot(*points.T, **{**look, "linestyle": "-", "linewidth": 1.1})
    axes.plot(*points[0], "o", color=plotting.INK, markersize=6)


def check_point(name: str, point: object) -> tuple[float, float]:
    """Return two finite numbers as floats, or raise an error that names the argument."""
    if not isinstance(point, tuple | list | np.ndarray) or len(point) != 2:
        raise InputTypeError(f"{name}: got {point!r}, expected two numbers such as (-7.0, 2.0).")
    x, y = point
    for value in (x, y):
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise InputTypeError(f"{name}: got {point!r}, expected two numbers such as (-7.0, 2.0).")
    if not np.isfinite([as_number(x), as_number(y)]).all():
        raise InputError(f"{name}: got {point!r}, expected finite numbers.")
    return float(x), float(y)
