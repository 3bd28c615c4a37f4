"""The gradient field of a function of two variables, and gradient descent with several learning rates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support import plots as plotting
from .._support.checks import check_count, check_list, check_number
from .._support.console import counted
from .._support.renamed import renamed
from .._support.result import Result, Table
from ..backend import BackendLike, choose
from ..errors import InputError, InputTypeError
from ..functions import numerical_gradient
from ..ops import HostArray, Ops
from ..optimizers import SGD
from ._descent import check_point, descend, draw_map, draw_path, gone
from ._surfaces import SURFACES, Function2D, Surface, parse

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GRID = 17  # points of the field a side
_NEAR = 0.01  # sizes of the region from the minimum: arrived
_LEAST = 1e-12  # of f at the start: the last panel shows no less
_RATES = (0.01, 0.5, 0.95, 1.05)  # of 2 / curvature, beyond which descent diverges on a quadratic function
_ENDS = {
    "saddle": "stops at a saddle point",
    "on its way": "still on its way",
    "diverged": "diverges",
    "unbounded": "falls without end",
    "undefined": "leaves where f is defined",
}


@dataclass(frozen=True, eq=False)
class Path:
    """Gradient descent with one learning rate."""

    rate: float
    points: HostArray
    """(1 + steps, 2) float64, the start first; fewer if the descent went too far away."""
    f: HostArray
    """(1 + steps,) the function there."""
    slope: HostArray
    """(1 + steps,) the Euclidean norm of the gradient there."""
    arrived: int | None
    """The step after which the path stays within 1 % of the region's size from its end; None if that is no minimum."""
    zigzags: bool
    """Whether most steps turn back on the one before (their scalar product is negative)."""
    end: str
    """What became of it.

    "arrived" or "saddle": by Newton's step the stationary point is less than a hundredth of the region's size away, and
    both curvatures are positive, or not. "diverged": f ends above its start. "unbounded": f falls, a thousand times the
    region's size away. "undefined": f is NaN or infinite there. Else "on its way".
    """

    def __str__(self) -> str:
        turns = ", zigzagging" if self.zigzags else ""
        if self.end == "arrived":
            return f"arrives after {counted(self.arrived or 0, 'step')}{turns}"
        return f"{_ENDS[self.end]}{turns}"


@dataclass(frozen=True, eq=False, repr=False)
class Gradient(Result):
    """What `gradient` returns: the gradient field of a function and the paths of gradient descent."""

    formula: str
    x: HostArray
    """(17,), the grid of the field, as y: (17,)."""
    y: HostArray
    f: HostArray
    """(17, 17), y's index first; NaN where the function is undefined."""
    field: HostArray
    """(17, 17, 2) the numerical gradient."""
    contours: tuple[HostArray, HostArray, HostArray]
    """x (k,), y (k,) and f (k, k) on a finer grid."""
    paths: tuple[Path, ...]
    steps: int

    name = "gradient"

    def summary(self) -> str:
        x, y = self.paths[0].points[0]
        lines = [
            f"gradient descent on {self.formula} from ({x:g}, {y:g}), {counted(self.steps, 'step')} at most",
            f"{'lr':>8}  {'ends at':<22}{'f there':>9}",
        ]
        for path in self.paths:
            x, y = path.points[-1]
            lines.append(f"{path.rate:>8.3g}  {f'({x:.3g}, {y:.3g})':<22}{path.f[-1]:>9.3g}  {path}")
        return "\n".join(lines)

    def table(self) -> Table:
        rows = [
            (path.rate, step, *map(float, (*point, f, slope)), path.end)
            for path in self.paths
            for step, (point, f, slope) in enumerate(zip(path.points, path.f, path.slope, strict=True))
        ]
        return ("learning_rate", "step", "x", "y", "f", "gradient_norm", "end"), rows

    def tables(self) -> dict[str, Table]:
        rows = [
            (float(x), float(y), float(self.f[i, j]), *map(float, self.field[i, j]))
            for i, y in enumerate(self.y)
            for j, x in enumerate(self.x)
        ]
        return {**super().tables(), f"{self.name}-field": (("x", "y", "f", "df_dx", "df_dy"), rows)}

    def draw(self) -> "Figure":
        count = len(self.paths) + 2
        columns = min(3, count)
        x, y, _ = self.contours
        height = 0.9 + 3.9 * min(max((y[-1] - y[0]) / (x[-1] - x[0]), 0.4), 1.2)  # maps have equal scales
        figure, grid = plotting.panels(
            -(-count // columns), columns, f"Gradient descent on {self.formula}", width=4.6, height=height
        )
        panels = [axes for row in grid for axes in row]
        for axes in panels[count:]:
            axes.remove()
        self._draw_field(panels[0])
        for i, path in enumerate(self.paths):
            self._draw_path(panels[1 + i], path, plotting.line(i))
        self._draw_falls(panels[count - 1])
        return figure

    def _draw_map(self, axes: Any) -> None:
        x, y, f = self.contours
        known = f[np.isfinite(f)]
        levels = np.unique(np.quantile(known, np.linspace(0.04, 0.99, 14))) if known.size else np.zeros(0)
        draw_map(axes, x, y, np.ma.masked_invalid(f), levels)
        axes.set_aspect("equal")  # a gradient is perpendicular to the contours

    def _draw_field(self, axes: Any) -> None:
        self._draw_map(axes)
        norm = np.hypot(*np.moveaxis(self.field, 2, 0))
        steepest = norm[np.isfinite(norm)].max(initial=0.0)
        # Lengths by the square root: the flat parts keep arrows that can be seen.
        with np.errstate(all="ignore"):
            downhill = -self.field / np.sqrt(norm * steepest)[:, :, None]
        axes.quiver(
            *(self.x, self.y, *np.moveaxis(np.nan_to_num(downhill), 2, 0)),
            color=plotting.COLOURS[0],
            scale=_GRID,
            width=0.004,
        )
        axes.set_title("numerical gradient: arrows downhill, contours of f")

    def _draw_path(self, axes: Any, path: Path, look: dict[str, Any]) -> None:
        self._draw_map(axes)
        draw_path(axes, path.points, {**look, "markersize": 3.5})
        axes.annotate("start", path.points[0], (5, 6), textcoords="offset points", fontsize=8, weight="bold")
        axes.set_title(f"learning rate {path.rate:.3g}: {path}")

    def _draw_falls(self, axes: Any) -> None:
        lowest = min(float(path.f[np.isfinite(path.f)].min()) for path in self.paths)
        shift = 0.0 if lowest > 0 else lowest
        for i, path in enumerate(self.paths):
            above = np.where(np.isfinite(path.f), path.f, np.nan) - shift
            look = {**plotting.line(i), "markevery": max(1, self.steps // 10)}
            axes.plot(np.where(above > 0, above, np.nan), label=f"{path.rate:.3g}: {path.end}", **look)
        start = self.paths[0].f[0] - shift
        if start > 0:
            axes.set_yscale("log")
            low, high = axes.get_ylim()  # one that diverges, or meets the minimum exactly, would flatten all others
            axes.set_ylim(max(low, start * _LEAST), min(high, start * 1e3))
        axes.set(
            title="how f falls, or does not",
            xlabel="step",
            ylabel="f(x, y)" if shift == 0 else f"f(x, y) above {shift:.3g}, the lowest seen",
        )
        axes.legend(title="learning rate", title_fontsize=8)


@renamed(rates="lrs")
def gradient(
    f: "str | Function2D" = "bowl",
    start: "Sequence[float] | None" = None,
    *,
    lrs: "Sequence[float] | None" = None,
    steps: int = 100,
    region: "Sequence[float] | None" = None,
    backend: BackendLike = None,
) -> Gradient:
    """Compute the numerical gradient field of f(x, y), and descend from `start` with several learning rates.

    Gradients are central differences (`nnx.functions.numerical_gradient`), updates those of `nnx.SGD` on the backend.
    How each descent ends is measured (`Path.end`), not assumed.

    Args:
        f: Any callable that returns a number; one of "bowl", "sphere", "saddle", "rosenbrock" and "himmelblau"; or an
            expression in x and y such as "x**2/20 + sin(y)".
        start: The first point; None for the named function's own, else (-3, 2).
        lrs: Learning rates; None for 0.01, 0.5, 0.95 and 1.05 times 2 / L, where L is the greatest curvature at the
            start (the greatest |eigenvalue| of the Hessian matrix). On a quadratic function these are too small, good,
            zigzagging and diverging.
        steps: Number of updates at most.
        region: (x from, x to, y from, y to) of the figure; None for one around the start.
        backend: Name of a backend, or a backend; None for the one in force.

    Returns:
        The field and the paths, in float64.

    Raises:
        InputError: For an unknown name or expression, for an f that is not finite at the start, and where `lrs` is
            None and f has no curvature at the start.
        InputTypeError: For an f that is no function of two numbers.
    """
    surface = _surface(f, start, region)
    steps = check_count("steps", steps)
    if lrs is not None:
        lrs = [check_number("lrs", lr, 0, above=True) for lr in check_list("lrs", lrs, "[0.01, 0.1]")]
    ops = Ops(choose(backend).backend)
    with np.errstate(all="ignore"):  # far away f may overflow: that is one of the ends
        _check_function(surface.f, surface.start)
        if not np.isfinite([_value(surface.f, *surface.start), *_slope(surface.f, surface.start)]).all():
            raise InputError(f"f: is not finite around {surface.start}; pass another start.")
        lrs = _default_rates(surface.f, surface.start) if lrs is None else lrs
        left, right, bottom, top = surface.region
        x, y = np.linspace(left, right, _GRID), np.linspace(bottom, top, _GRID)
        field = np.array([[_slope(surface.f, (u, v)) for u in x] for v in y])
        fine = np.linspace(left, right, 81), np.linspace(bottom, top, 81)
        return Gradient(
            formula=surface.formula,
            x=x,
            y=y,
            f=_table(surface.f, x, y),
            field=field,
            contours=(*fine, _table(surface.f, *fine)),
            paths=tuple(_path(ops, surface, lr, steps) for lr in lrs),
            steps=steps,
        )


def _surface(f: Any, start: Any, region: Any) -> Surface:
    known = SURFACES.get(f.lower()) if isinstance(f, str) else None
    if not isinstance(f, str) and not callable(f):
        raise InputTypeError(f"f: got {f!r}, expected a function f(x, y), a name or an expression.")
    function = known.f if known else parse(f) if isinstance(f, str) else f
    called = getattr(f, "__name__", "f").replace("<lambda>", "f")
    formula = known.formula if known else f if isinstance(f, str) else f"{called}(x, y)"
    begin = check_point("start", start) if start is not None else known.start if known else (-3.0, 2.0)
    if region is not None:
        region = check_list("region", region, "[-9, 9, -4, 4]: x from, x to, y from, y to")
        if len(region) != 4:
            raise InputError(f"region: got {len(region)} numbers, expected four: x from, x to, y from, y to.")
        left, right = check_point("region", tuple(region[:2]))
        bottom, top = check_point("region", tuple(region[2:]))
        if left >= right or bottom >= top:
            raise InputError(f"region: got {tuple(region)}, expected x from < x to and y from < y to.")
        return Surface(function, begin, (left, right, bottom, top), formula)
    if known and start is None:
        return known
    half = 1.3 * max(abs(begin[0]), abs(begin[1]), 1.0)
    return Surface(function, begin, (-half, half, -half, half), formula)


def _check_function(f: Function2D, start: tuple[float, float]) -> None:
    try:
        _value(f, *start)
    except TypeError as error:
        raise InputTypeError(f"f: {error}; expected a function f(x, y) of two numbers that gives a number.") from error


def _value(f: Function2D, x: float, y: float) -> float:
    """Return f(x, y); NaN where it is undefined."""
    try:
        return float(f(x, y))
    except (ArithmeticError, ValueError):
        return float("nan")


def _slope(f: Function2D, point: Any) -> HostArray:
    gradient: HostArray = numerical_gradient(lambda p: _value(f, p[0], p[1]), np.array(point, np.float64))
    return gradient


def _table(f: Function2D, x: HostArray, y: HostArray) -> HostArray:
    return np.array([[_value(f, u, v) for u in x] for v in y])


def _hessian(f: Function2D, point: Any) -> HostArray:
    """Return the Hessian matrix (2, 2), symmetric, by central differences of the gradient."""
    h = 1e-3
    columns = np.array([(_slope(f, point + shift) - _slope(f, point - shift)) / (2 * h) for shift in np.eye(2) * h])
    symmetric: HostArray = (columns + columns.T) / 2
    return symmetric


def _default_rates(f: Function2D, start: tuple[float, float]) -> list[float]:
    hessian = _hessian(f, np.array(start))
    curvature = np.abs(np.linalg.eigvalsh(hessian)).max() if np.isfinite(hessian).all() else 0.0
    if curvature < 1e-6:
        raise InputError(f"lrs: f has no curvature at {start} to choose them by; pass some, or another start.")
    return [float(f"{factor * 2 / curvature:.3g}") for factor in _RATES]


def _path(ops: Ops, surface: Surface, rate: float, steps: int) -> Path:
    left, right, bottom, top = surface.region
    size = max(right - left, top - bottom)

    def done(point: HostArray) -> bool:
        return gone(point, size) or not np.isfinite(_value(surface.f, *point))

    points = descend(ops, SGD(lr=rate), lambda point: _slope(surface.f, point), surface.start, steps, done)
    f = np.array([_value(surface.f, *point) for point in points])
    slope = np.array([np.hypot(*_slope(surface.f, point)) for point in points])
    moves = np.diff(points, axis=0)
    turns = (moves[1:] * moves[:-1]).sum(axis=1) < 0
    away = np.flatnonzero(np.hypot(*(points - points[-1]).T) > _NEAR * size)
    end = _end(surface.f, points[-1], f, size)
    arrived = (int(away[-1]) + 1 if away.size else 0) if end == "arrived" else None
    return Path(rate, points, f, slope, arrived, bool(turns.size and turns.mean() > 0.5), end)


def _end(function: Function2D, point: HostArray, f: HostArray, size: float) -> str:
    if not np.isfinite(f[-1]):
        return "undefined"
    if f[-1] > f[0]:
        return "diverged"
    if gone(point, size):
        return "unbounded"
    hessian = _hessian(function, point)
    if np.isfinite(hessian).all() and np.abs(curvatures := np.linalg.eigvalsh(hessian)).min() > 0:
        newton = np.linalg.solve(hessian, _slope(function, point))
        if np.hypot(*newton) < _NEAR * size:
            return "arrived" if curvatures.min() > 0 else "saddle"
    return "on its way"
