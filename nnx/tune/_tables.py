"""The tables of a search: the best trials for a terminal, every trial and every narrowing for other programs."""

from typing import TYPE_CHECKING, Any

from ._choose import as_good
from ._space import short

if TYPE_CHECKING:
    from ._study import Study
    from ._trial import Trial

SHOWN = 10
"""How many trials the summary shows."""


def summary(study: "Study") -> str:
    """Return the best trials as text, with the choice and its reason."""
    names, ranked = list(study.settings.space.ranges), study.ranked
    counts = {kind: sum(trial.state == kind for trial in study.trials) for kind in ("failed", "pruned")}
    notes = "".join(f", {count} {kind}" for kind, count in counts.items() if count)
    notes += "" if study.finished else "; not finished"
    if not ranked:
        return f"{len(study.trials)} trials in {len(study.rounds)} rounds{notes}; none is complete"
    rows = [["rank", "trial", study.settings.metric, *names]]
    best = study.best
    for rank, trial in enumerate(ranked, 1):
        if rank <= SHOWN or trial is best:
            values = [short(trial.params[name]) for name in names]
            rows.append([str(rank), str(trial.number), f"{trial.score:.4f}", *values])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    equals = len(as_good(study.trials, study.settings))
    why = "the first"
    if equals > 1:
        why = f"of {equals} within one standard error of the first, the nearest to the middle of the last ranges"
    return "\n".join(
        [
            f"{len(study.trials)} trials in {len(study.rounds)} rounds{notes}; the best:",
            *lines,
            f"the choice: trial {best.number} ({why})",
        ]
    )


def every_trial(study: "Study") -> tuple[list[str], list[list[Any]]]:
    """Return column names and rows of every trial, the best first, those that failed last."""
    names = [*study.settings.space.ranges, *study.settings.space.fixed]
    columns = ["trial", "round", "state", study.settings.metric, "loss", *names, "epochs", "seconds", "reason"]
    rest = [trial for trial in study.trials if trial.state != "complete"]
    rest.sort(key=lambda trial: (trial.state == "failed", trial.number))
    return columns, [_row(trial, names) for trial in [*study.ranked, *rest]]


def _row(trial: "Trial", names: list[str]) -> list[Any]:
    values = [trial.params[name] for name in names]
    return [
        trial.number,
        trial.round,
        trial.state,
        trial.score,
        trial.loss,
        *(short(value) if isinstance(value, tuple) else value for value in values),
        len(trial.history.get("val_loss", ())),
        round(trial.seconds, 3),
        trial.reason,
    ]


def every_narrowing(study: "Study") -> tuple[list[str], list[list[Any]]]:
    """Return column names and rows of what became of each range after each round, and why."""
    rows = [[each.number, n.name, n.old, n.new, n.why] for each in study.rounds for n in each.narrowings]
    return ["round", "parameter", "range", "narrowed to", "why"], rows
