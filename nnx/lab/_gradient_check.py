"""A model's gradients against numerical ones, parameter by parameter."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import functions
from .._support import plots as plotting
from .._support.checks import as_host
from .._support.result import Result, Table
from ..backend import BackendLike
from ..losses import Loss
from ..model import Sequential

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RIGHT = 1e-5
"""Correct gradients have a smaller error, unless a ReLU's kink lies between the two points of a difference."""


@dataclass(frozen=True, eq=False, repr=False)
class GradientCheck(Result):
    """What `gradient_check` returns: the relative error of each parameter's gradient."""

    errors: dict[str, float]
    """By parameter, the greatest relative error of the checked elements."""
    samples: int
    rows: int
    model: str

    name = "gradient-check"

    @property
    def wrong(self) -> dict[str, float]:
        """The errors of 1e-5 or more, by parameter."""
        return {name: error for name, error in self.errors.items() if not error < RIGHT}

    def summary(self) -> str:
        width = max(map(len, self.errors))
        lines = [f"{self.model} on {self.rows} rows, {self.samples} elements of each parameter"]
        lines += [
            f"  {name:<{width}}  relative error {error:.1e}{'  !' if name in self.wrong else ''}"
            for name, error in self.errors.items()
        ]
        if self.wrong:
            lines.append(
                f"{len(self.wrong)} of {len(self.errors)} are {RIGHT:g} or more: a wrong backward pass, or the kink of "
                "a ReLU between the two differences (try another seed)."
            )
        else:
            lines.append(f"all below {RIGHT:g}: the gradients are right.")
        return "\n".join(lines)

    def table(self) -> Table:
        return ("parameter", "relative_error"), list(self.errors.items())

    def draw(self) -> "Figure":
        figure, [[axes]] = plotting.panels(
            1, 1, "Gradient check: analytic against numerical", width=7.5, height=1.2 + 0.32 * len(self.errors)
        )
        names = list(self.errors)[::-1]
        # A logarithmic axis has no 0: exact agreement is drawn at the left edge.
        bars = axes.barh(names, [max(self.errors[name], 1e-13) for name in names], height=0.6)
        for bar, name in zip(bars, names, strict=True):
            bar.set(color=plotting.COLOURS[name in self.wrong], hatch="//" if name in self.wrong else None)
        axes.bar_label(bars, [f"{self.errors[name]:.1e}" for name in names], padding=3, fontsize=8)
        axes.axvline(RIGHT, color=plotting.INK, linestyle="--", linewidth=1)
        axes.text(
            RIGHT,
            1.01,
            f"right gradients\nlie below {RIGHT:g} ",
            transform=axes.get_xaxis_transform(),
            ha="right",
            fontsize=8,
        )
        axes.set(xscale="log", xlim=(1e-13, 10), ylabel="parameter")
        axes.set_xlabel(f"relative error, the greatest of {self.samples} elements, on {self.rows} rows")
        axes.grid(visible=False, axis="y")
        return figure


def gradient_check(
    model: Sequential,
    x: Any,
    t: Any,
    loss: Loss | None = None,
    *,
    samples: int = 20,
    seed: int = 0,
    backend: BackendLike = None,
) -> GradientCheck:
    """Compare a model's gradients with numerical ones, as `nnx.functions.gradient_check` does, as a figure and a table.

    The error is |analytic - numerical| / max(|analytic| + |numerical|, 1e-5), in float64.

    Args:
        model: A built model, or an unbuilt one, which is then checked with weights drawn from `seed` and left unbuilt.
        x: Inputs (n, ...).
        t: Targets as `loss` takes them.
        loss: The loss; None for `SoftmaxCrossEntropy()`.
        samples: How many elements of each parameter are checked.
        seed: Seed of the elements, and of an unbuilt model's weights.
        backend: Name of a backend, or a backend, for an unbuilt model; None for the one in force. A built model keeps
            its own.

    Returns:
        The greatest relative error of each parameter.

    Raises:
        InputError: For rows or targets that do not fit.
        InputTypeError: For a model or loss of another type.
    """
    x = as_host("x", x)
    errors = functions.gradient_check(model, x, t, loss, samples=samples, seed=seed, backend=backend)
    return GradientCheck(errors, int(samples), len(x), repr(model))
