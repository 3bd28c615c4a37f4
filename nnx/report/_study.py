"""The page of a search: the choice, how the rounds narrowed the ranges, and the best trials."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from .._support import plots as plotting
from ..tune import Choice, Narrowing, Range, Study, Trial, figures, load, short
from ._html import Markup, Section, element, facts, figure, foot, join, missing, page, paragraph, table, tiles
from ._run import command
from ._svg import NO_MATPLOTLIB, inline

_BEST = 20
"""Trials in the table and in the figure of learning curves."""


def study_page(folder: Path, storage: str | None, name: str | None) -> bytes:
    """Return the page of a search, finished or not; neither its data nor its networks are needed."""
    study = load(folder, storage=storage, name=name)
    settings = study.settings
    sections = [
        Section("numbers", "In numbers", tiles(_headline(study))),
        Section("best", "The best configuration", _choice(study)),
        Section("rounds", "Search rounds", _rounds(study)),
        Section("scores", "Score against each parameter", _scores(study)),
        Section("trials", "The best trials", _trials(study)),
        Section("curves", "Learning curves of the best", _curves(study)),
        Section("settings", "Configuration of the search", _settings(study)),
    ]
    if failed := [trial for trial in study.trials if trial.state == "failed"]:
        sections.insert(-1, Section("failures", "Failed trials", _failures(failed)))
    lead = (
        f"The search in {study.folder}: at most {settings.rounds} rounds of {settings.trials} short trainings that "
        f"are compared by {_metric(study)}. After each round the ranges are narrowed around the best."
    )
    return page(f"{settings.data}: report of a search", paragraph(lead, class_="lead"), sections, foot())


def _metric(study: Study) -> str:
    return study.settings.metric.replace("val_", "validation ")


def _show(study: Study, score: float | None) -> str:
    if score is None:
        return ""
    return f"{score:.2%}" if study.settings.metric == "val_accuracy" else f"{score:.4f}"


def _headline(study: Study) -> Iterator[tuple[str, str, str]]:
    """Yield name, number, and what to compare it with."""
    settings, ranked = study.settings, study.ranked
    if ranked:
        for name, trial in (("The choice", study.best), (f"Best {_metric(study)}", ranked[0])):
            yield name, _show(study, trial.score), f"trial {trial.number}, round {trial.round}"
        middle = median(trial.score for trial in ranked if trial.score is not None)
        yield "Median of the trials", _show(study, middle), f"of {len(ranked)} complete ones"
    yield from _test(study)
    states = Counter(trial.state for trial in study.trials)
    others = ", ".join(f"{states[state]} {state}" for state in ("pruned", "failed") if states[state])
    yield "Trials", f"{len(study.trials)}", others or "none pruned, none failed"
    state = "the search is at its end" if study.finished else "not finished: the search can be continued"
    yield "Rounds", f"{len(study.rounds)} of {settings.rounds}", state
    seconds = sum(trial.seconds for trial in study.trials)
    yield "Training time", _duration(seconds), f"{settings.epochs} epochs a trial"


def _test(study: Study) -> Iterator[tuple[str, str, str]]:
    """Yield the test result, if there is one; the report does not evaluate the test part itself."""
    for name, value in (study.test_result or {}).items():
        yield f"Test {name}", f"{value:.2%}" if name == "accuracy" else f"{value:.4f}", "the choice, once"


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.1f} s" if minutes < 2 else f"{minutes:.1f} min" if hours < 2 else f"{hours:.1f} h"


def _choice(study: Study) -> Markup:
    if not study.ranked:
        return missing("Configuration", "no trial is complete yet.")
    best, settings = study.best, study.settings
    equals, first = len(study.as_good), study.ranked[0]
    told = f"Trial {best.number} of round {best.round}, with a {_metric(study)} of {_show(study, best.score)}"
    if equals > 1:
        told += (
            f": of the {equals} trials within one standard error of the best, trial {first.number}, it is the nearest "
            "to the middle of the last ranges"
        )
    parts = [
        paragraph(f"{told}. No trial has seen the test data."),
        facts((name, short(value)) for name, value in best.params.items()),
    ]
    if settings.build is not None:
        return join([*parts, paragraph(f"The networks were made by the function {settings.build}.")])
    where = ", with the folder that the data are in as --dataset" if settings.source is None else ""
    words = element("pre", element("code", command(settings.config(best.params))))
    return join([*parts, paragraph(f"The command that trains it{where}:"), words])


def _rounds(study: Study) -> Markup:
    first, last = study.rounds[0].ranges, study.ranges
    best = study.best.params if study.ranked else {}
    course = ((name, _range(first[name]), _range(last[name]), short(best[name]) if best else "") for name in first)
    parts = [table("Where each range began, and where it is now.", ("parameter", "from", "to", "chosen"), course)]
    for each in study.rounds:
        parts.append(element("h3", f"Round {each.number}"))
        done = [trial for trial in study.ranked if trial.round == each.number]
        if done:
            parts.append(paragraph(f"Its best: {_show(study, done[0].score)}, trial {done[0].number}."))
        if each.narrowings:
            changes = [change for change in each.narrowings if not change.old.single]
            parts.append(facts(((change.name, _change(change)) for change in changes), "facts changes"))
        else:
            parts.append(missing("New ranges", "the round is not finished."))
    return join(parts)


def _change(narrowing: Narrowing) -> Markup:
    why = element("span", narrowing.why, class_="note")
    return join([_range(narrowing.old), " \N{RIGHTWARDS ARROW} ", _range(narrowing.new), why])


def _range(span: Range) -> Markup:
    if isinstance(span, Choice):
        return join([", ".join(map(short, span.values))])
    return element("span", f"{short(span.low)} \N{HORIZONTAL ELLIPSIS} {short(span.high)}", class_="whole")


def _scores(study: Study) -> Markup:
    if not plotting.available():
        return missing("Figures", NO_MATPLOTLIB)
    drawn = []
    for index, name in enumerate(study.settings.space.ranges):
        with plotting.style():
            drawing, [[above], [below]] = plotting.panels(2, 1, "", width=3.9, height=1.9, height_ratios=[3.4, 1])
            figures.draw_scores(above, study, name)
            figures.draw_ranges(below, study, name)
            above.legend(loc="best")
        first, last = study.rounds[0].ranges[name], study.ranges[name]
        course = [f"{name}: from ", _range(first), " to ", _range(last)]
        told = join([*course, ". Each mark is a trial, each bar the range of a round."])
        drawn.append(figure(inline(drawing, f"score-{index}", f"{_metric(study)} against {name}"), told))
    return element("div", *drawn, class_="panels")


def _trials(study: Study) -> Markup:
    if not study.ranked:
        return missing("Table", "no trial is complete yet.")
    ranges = study.settings.space.ranges
    rows = (
        (
            rank, _show(study, trial.score), *(short(trial.params[name]) for name in ranges),
            f"{trial.loss:.4f}", trial.number, trial.round, f"{trial.seconds:.2f}",
        )
        for rank, trial in enumerate(study.ranked[:_BEST], 1)
    )  # fmt: skip
    columns = ("rank", _metric(study), *ranges, "loss", "trial", "round", "seconds")
    caption = f"The best {min(_BEST, len(study.ranked))} of {len(study.ranked)} complete trials."
    texts = {name for name, span in ranges.items() if isinstance(span, Choice)}
    return table(caption, columns, rows, numbers=[i for i, name in enumerate(columns) if name not in texts])


def _curves(study: Study) -> Markup:
    if not study.ranked:
        return missing("Learning curves", "no trial is complete yet.")
    if not plotting.available():
        return missing("Learning curves", NO_MATPLOTLIB)
    best = study.ranked[:_BEST]
    told = (
        f"The best {len(best)} trials, the best first, on common axes: their {_metric(study)} lies between "
        f"{_show(study, best[-1].score)} and {_show(study, best[0].score)} after {study.settings.epochs} epochs."
    )
    return figure(inline(study.curves(_BEST), "curves", f"Learning curves of the best {len(best)} trials"), told)


def _failures(failed: list[Trial]) -> Markup:
    def why(trial: Trial) -> Markup:
        values = ", ".join(f"{name} {short(value)}" for name, value in trial.params.items())
        return join([trial.reason or "", element("span", values, class_="note")])

    shown = facts((f"Trial {trial.number}", why(trial)) for trial in failed[:_BEST])
    first = f" The first {_BEST}:" if len(failed) > _BEST else ""
    return join([paragraph(f"{len(failed)} trials failed; the search went on without them.{first}"), shown])


def _settings(study: Study) -> Markup:
    settings = study.settings
    backends = Counter(trial.backend for trial in study.trials if trial.backend is not None)
    return facts(
        [
            ("Data set", settings.data),
            *((f"Range of {name}", str(span)) for name, span in settings.space.ranges.items()),
            *((name, short(value)) for name, value in settings.space.fixed.items()),
            ("Trials of a round", settings.trials),
            ("Rounds", f"at most {settings.rounds}"),
            ("Epochs of a trial", settings.epochs),
            ("Compared by", _metric(study)),
            ("Sampler", settings.sampler),
            ("Pruning", "yes" if settings.prune else "no"),
            ("Seed", settings.seed),
            ("Backends", ", ".join(f"{name} ({count} trials)" for name, count in backends.items()) or "none yet"),
        ]
    )
