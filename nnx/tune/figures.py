"""The figures of a search: where the good values lie, how the rounds closed in on them, and how the best learned."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support import plots as plotting
from ._space import Choice, label, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ._study import Study
    from ._trial import Trial

_COLUMNS = 3
_NAMED = 4
"""Parameters whose values are written beside a learning curve."""


def scores(study: "Study") -> "Figure":
    """Draw, for each parameter, the score of every trial above and the range of each round below."""
    names = list(study.settings.space.ranges)
    rows = -(-len(names) // _COLUMNS)
    columns = -(-len(names) // rows)  # four are two and two
    title = (
        f"{study.settings.data}: {len(study.trials)} trials of {study.settings.epochs} epochs; after each round the "
        "ranges close in on the best"
    )
    figure, axes = plotting.panels(
        2 * rows, columns, title, width=max(4.2, 6.4 / columns), height=2.3, height_ratios=[3.4, 1] * rows
    )
    for i, name in enumerate(names):
        above, below = (axes[2 * (i // columns) + part][i % columns] for part in (0, 1))
        draw_scores(above, study, name)
        draw_ranges(below, study, name)
    for i in range(len(names), rows * columns):
        for part in (0, 1):
            axes[2 * (i // columns) + part][i % columns].set_visible(False)
    axes[0][0].legend(loc="best", title=None)
    return figure


def _places(study: "Study", name: str, values: Any) -> Any:
    first = study.settings.space.ranges[name]
    if isinstance(first, Choice):
        return [first.values.index(value) for value in values]
    return list(values)


def _scale(axes: "Axes", study: "Study", name: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    first = study.settings.space.ranges[name]
    if isinstance(first, Choice):
        axes.set_xticks(range(len(first.values)), [label(value) for value in first.values])
        axes.set_xlim(-0.5, len(first.values) - 0.5)
        return
    if first.scale == "log":
        axes.set_xscale("log")
        if first.width < 2:  # too few powers of ten to read by
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
    margin = 0.03 * first.width
    low, high = first.coordinate(first.low) - margin, first.coordinate(first.high) + margin
    axes.set_xlim(first.value(low), first.value(high))


def _loss_scale(axes: "Axes", study: "Study", values: Iterable[float | None]) -> None:
    """Make the axis logarithmic for losses, which differ by orders of magnitude."""
    if study.settings.metric == "val_loss" and all(value is not None and value > 0 for value in values):
        axes.set_yscale("log")


def draw_scores(axes: "Axes", study: "Study", name: str) -> None:
    """Draw the score of every trial against one parameter, in a colour for each round; the choice has a circle."""
    spread = np.random.default_rng(0)
    choice = isinstance(study.settings.space.ranges[name], Choice)
    for each in study.rounds:
        style = plotting.line(each.number - 1) | {"linestyle": "", "alpha": 0.75}
        own = [trial for trial in study.trials if trial.round == each.number and trial.score is not None]
        x = np.array(_places(study, name, [trial.params[name] for trial in own]), float)
        if choice:
            x += spread.uniform(-0.2, 0.2, len(x))  # so that equal ones do not hide each other
        axes.plot(x, [float(trial.score or 0) for trial in own], label=f"round {each.number}", **style)
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if failed:
        x = np.array(_places(study, name, [trial.params[name] for trial in failed]), float)
        axes.plot(
            x, np.full(len(x), 0.02), "x", color=plotting.FAINT, transform=axes.get_xaxis_transform(), label="failed"
        )
    if study.ranked:
        best = study.best
        place = _places(study, name, [best.params[name]])
        axes.plot(
            place, [float(best.score or 0)], "o", markersize=11, markerfacecolor="none", markeredgecolor=plotting.INK,
            label=f"the choice: trial {best.number}",
        )  # fmt: skip
        axes.set_title(f"{name}: chosen {short(best.params[name])}")
    _scale(axes, study, name)
    _loss_scale(axes, study, [trial.score for trial in study.ranked])
    axes.tick_params(which="both", labelbottom=False)
    axes.set_ylabel(study.settings.metric.replace("val_", "validation "))


def draw_ranges(axes: "Axes", study: "Study", name: str) -> None:
    """Draw the range of one parameter in each round."""
    for each in study.rounds:
        colour, span = plotting.line(each.number - 1)["color"], each.ranges[name]
        if isinstance(span, Choice):
            places = _places(study, name, span.values)
            axes.plot(places, [each.number] * len(places), "s", color=colour, markersize=7)
        else:
            axes.plot([span.low, span.high], [each.number] * 2, "|-", color=colour, linewidth=4, markersize=8)
    _scale(axes, study, name)
    axes.set_yticks([each.number for each in study.rounds])
    axes.set_ylim(len(study.rounds) + 0.6, 0.4)
    axes.set_ylabel("round")
    axes.set_xlabel(f"{name}: its range in each round")
    axes.grid(axis="y", visible=False)


def curves(study: "Study", count: int) -> "Figure":
    """Draw the validation and training curves of the best `count` trials, each in a small panel."""
    from matplotlib.ticker import MaxNLocator

    best = study.ranked[:count]
    accuracy = study.settings.metric == "val_accuracy"
    entry = "accuracy" if accuracy else "loss"
    columns = min(5, max(1, len(best)))
    rows = max(1, -(-len(best) // columns))
    figure, axes = plotting.panels(
        rows, columns, f"{study.settings.data}: learning curves of the best {len(best)} trials", width=2.4, height=2.1,
        sharex=True, sharey=True,
    )  # fmt: skip
    cells = [cell for row in axes for cell in row]
    names = list(study.settings.space.ranges)[:_NAMED]
    for rank, (cell, trial) in enumerate(zip(cells, best, strict=False), 1):
        chosen = ", the choice" if trial is study.best else ""
        cell.set_title(f"{rank}. trial {trial.number}: {trial.score:.4f}{chosen}", fontsize=8)
        _curve(cell, trial, entry, "\n".join(f"{name} {short(trial.params[name])}" for name in names))
    for cell in cells[len(best) :]:
        cell.set_visible(False)
    for row in axes:
        row[0].set_ylabel(entry)
    for cell in axes[-1]:
        cell.set_xlabel("epoch")
    cells[0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if accuracy:
        cells[0].yaxis.set_major_locator(MaxNLocator(4))
    _loss_scale(cells[0], study, [v for trial in best for key in ("loss", "val_loss") for v in trial.history[key]])
    if best:
        figure.legend(*cells[0].get_legend_handles_labels(), loc="upper right", ncols=2)
    return figure


def _curve(axes: "Axes", trial: "Trial", entry: str, values: str) -> None:
    epochs = range(1, len(trial.history[f"val_{entry}"]) + 1)
    for i, (name, text) in enumerate(((entry, "training"), (f"val_{entry}", "validation"))):
        if name in trial.history:
            axes.plot(epochs, trial.history[name], label=text, **(plotting.line(i) | {"marker": ""}))
    y, side = (0.05, "bottom") if entry == "accuracy" else (0.95, "top")  # where the curves are not
    axes.text(0.97, y, values, transform=axes.transAxes, fontsize=7, ha="right", va=side, color=plotting.INK)
