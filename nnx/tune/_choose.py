"""The one choice at the end: of the trials that are as good as the first, the one in the middle of the last ranges."""

import math
from collections.abc import Mapping, Sequence

from ._settings import Settings
from ._space import Choice, Range
from ._trial import Trial, ranked


def standard_error(accuracy: float, rows: int) -> float:
    """Return the standard error of an accuracy measured on `rows` rows: sqrt(a (1 - a) / n)."""
    return math.sqrt(accuracy * (1 - accuracy) / rows)


def as_good(trials: Sequence[Trial], settings: Settings) -> list[Trial]:
    """Return the complete trials within one standard error of the best accuracy, the best first.

    With "val_loss" as the metric, return the best trial alone; without complete trials, an empty list.
    """
    order = ranked(trials, settings.metric)
    if not order or settings.metric != "val_accuracy":
        return order[:1]
    first = order[0].score or 0.0
    least = first - standard_error(first, settings.validation_rows)
    return [trial for trial in order if trial.score is not None and trial.score >= least]


def choose(trials: Sequence[Trial], settings: Settings, ranges: Mapping[str, Range]) -> Trial:
    """Return, of the trials that are as good as the best, the one nearest to the middle of the last ranges.

    Which of many good trials comes first on a small validation part is luck; a trial at the edge of the good region is
    the worse choice. This is the one-standard-error rule of Breiman et al. (1984), with the middle of the ranges in
    place of the simplest model. There must be at least one complete trial.
    """
    return min(as_good(trials, settings), key=lambda trial: _distance(trial, ranges))


def _distance(trial: Trial, ranges: Mapping[str, Range]) -> float:
    """Return the squared distance to the middle of the ranges, with each range's width as 1."""
    total = 0.0
    for name, span in ranges.items():
        value = trial.params[name]
        if isinstance(span, Choice) or span.single:
            total += value not in span
        else:
            place = (span.coordinate(value) - span.coordinate(span.low)) / span.width
            total += (place - 0.5) ** 2
    return total
