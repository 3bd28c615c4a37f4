"""The history of a training, drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .._support import figures
from ..errors import InputError, InputTypeError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_history(history: Mapping[str, Sequence[float]], title: str = "") -> "Figure":
    """Draw learning curves: loss and accuracy or R2 over the epochs, training against validation.

    Args:
        history: What `Trainer.fit` returns: lists of one number for each epoch, named "loss", "accuracy", "r2", and
            with val_ before them those of the validation rows.
        title: A line above them.

    Returns:
        A matplotlib figure, which a notebook shows; in a script, `.savefig("curves.png")` writes it.

    Raises:
        InputError: for a history without epochs, or with entries of different lengths; and without matplotlib.
        InputTypeError: for anything but a history.
    """
    if not isinstance(history, Mapping):
        raise InputTypeError(
            f"history: got {type(history).__name__}, expected what Trainer.fit returns: lists by name."
        )
    drawn = {name: history[name] for name in figures.CURVES if name in history}
    if not any(map(len, drawn.values())):
        raise InputError(
            f"history: got {', '.join(map(str, history)) or 'no entries'}, expected one epoch at least of "
            f"{', '.join(figures.CURVES)}."
        )
    for name, values in drawn.items():
        if len(values) != len(validation := history.get(f"val_{name}", values)):
            raise InputError(
                f"history: got {len(values)} of {name} and {len(validation)} of val_{name}; expected as many."
            )
    return figures.curves(history, title)
