"""`nnx tune`: search for good hyper-parameters of the networks of `nnx train`."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import tune as tuning
from .._support.console import say
from .._support.pages import see
from ..errors import InputError
from ..training import RUNS
from ..tune import Choice, Linear, Log, Study
from ._app import command, is_given
from ._options import BackendName, DatasetName

_DEFAULT_SPACE = ["lr=log:1e-5..1e-1", "weight_decay=log:1e-8..1e-2"]
_LONGER = 5  # times the epochs of a trial
_OF_THE_SEARCH = ("dataset", "trials", "rounds", "epochs", "seed", "metric", "sampler", "prune")


@command(
    "nnx tune lr=log:1e-5..1e-1 dropout=0..0.5",
    "nnx tune optimizer=adam/sgd hidden=100/200,100",
    "nnx tune --dataset iris.csv --trials 10 --prune",
    "nnx tune --resume                  # go on",
)
def tune(
    ctx: typer.Context,
    space: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=RANGE]...",
            help="lr=log:1e-5..1e-1, dropout=0..0.5, optimizer=adam/sgd, hidden=100/200,100, or a fixed value: "
            f"activation=tanh. Default: {' '.join(_DEFAULT_SPACE)}.",
            show_default=False,
        ),
    ] = None,
    dataset: DatasetName = "digits",
    backend: BackendName = None,
    trials: Annotated[int, typer.Option(help="Trials of each round.")] = 20,
    rounds: Annotated[int, typer.Option(help="Rounds; after each, the ranges are narrowed around the best.")] = 4,
    epochs: Annotated[int, typer.Option(help="Passes over the training data, of each trial.")] = 10,
    seed: Annotated[
        int, typer.Option(help="Seed of the split, of the values that are drawn, and of the trainings.")
    ] = 0,
    metric: Annotated[str, typer.Option(help="What is compared: val_accuracy or val_loss.")] = "val_accuracy",
    sampler: Annotated[
        str, typer.Option(help="How values are drawn: random, or tpe (Optuna's, which learns from the trials before).")
    ] = "random",
    prune: Annotated[
        bool, typer.Option("--prune", help="Stop trials that are worse than the median of the others.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; default: a new one under runs/.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue, or share, the search in --out (default: the last).")
    ] = False,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="A PostgreSQL or MySQL database that several machines share.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the search in --storage.")] = None,
    repeat: Annotated[
        int | None, typer.Option(metavar="TRIAL", help="Train a trial of the search in --out again, and compare.")
    ] = None,
    test: Annotated[
        bool,
        typer.Option(
            "--test", help="At the end, evaluate the best settings on the test data: once, and the result is kept."
        ),
    ] = False,
) -> None:
    """Search for good hyper-parameters: the learning rate, sizes, and other settings of a training.

    Trials, short trainings with other settings each, are compared on validation data; the test data are left alone. The
    search writes tune.csv, tune.png, tune-curves.png, rounds.csv and best.json. `nnx train --config best.json` trains
    with the best settings.
    """
    given = {name for name in _OF_THE_SEARCH if is_given(ctx, name)}
    settings: dict[str, Any] = {name: ctx.params[name] for name in _OF_THE_SEARCH}
    ranges = parse_space(space or _DEFAULT_SPACE)
    place: dict[str, Any] = {"folder": out, "storage": storage, "name": name, "backend": backend}
    if (resume or repeat is not None) and storage is None:
        place["folder"] = out or _last()
    if resume or repeat is not None:
        stored = tuning.load(**place).settings
        if stored.source is None or stored.build is not None:
            raise InputError("this search was begun in Python, with data or networks of its own; continue it there.")
        settings |= {key: value for key, value in _kept(stored).items() if key not in given}
        ranges = ranges if space else {**stored.space.ranges, **stored.space.fixed}
    elif out is not None and (out / "study.db").exists():
        raise InputError(f"{out}: holds a search already; pass --resume to continue or share it, or another --out.")
    if repeat is not None:
        _repeat(tuning.load(**place), repeat)
        return
    study = tuning.search(ranges, settings.pop("dataset"), **settings, **place)
    if not study.finished:
        where = f"--storage URL --name {name}" if storage is not None else f"--out {shlex.quote(str(study.folder))}"
        say("continue with:", f"nnx tune --resume {where}")
        raise typer.Exit(130)
    if test:
        say("test " + ", ".join(f"{key} {value:.4f}" for key, value in reversed(study.evaluate_test().items())))
    longer = f"--epochs {_LONGER * study.settings.epochs}"
    say("train it for longer, with:", f"nnx train --config {shlex.quote(str(study.folder / 'best.json'))} {longer}")


def _last() -> Path:
    found = sorted(RUNS.glob("*/study.db"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise InputError(f"there is no search under {RUNS}/; pass --out FOLDER of one.")
    return found[-1].parent


def _kept(stored: tuning.Settings) -> dict[str, Any]:
    return {"dataset": stored.source} | {name: getattr(stored, name) for name in _OF_THE_SEARCH if name != "dataset"}


def _repeat(study: Study, number: int) -> None:
    trial = study.trial(number)
    history = study.repeat(number).history
    same = "the same, bit for bit" if history == trial.history else "not the same: another backend, machine or version"
    say(f"trial {number}: {study.settings.metric} {trial.score:.4f}; again: {same}")


def parse_space(texts: list[str]) -> dict[str, Any]:
    """Parse ranges by name: lr=log:1e-5..1e-1, dropout=0..0.5, optimizer=adam/sgd, activation=tanh and the like."""
    space = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise InputError(
                f"{text!r}: expected NAME=RANGE, such as lr=log:1e-5..1e-1 or optimizer=adam/sgd. {see('tune')}"
            )
        if name in space:
            raise InputError(f"{name}: got it twice; expected one range.")
        space[name] = _parse_range(name, value)
    return space


def _parse_range(name: str, text: str) -> Any:
    log = text.startswith("log:")
    low, dots, high = text.removeprefix("log:").removeprefix("linear:").partition("..")
    if dots:
        ends = [_parse_value(name, end) for end in (low, high)]
        if not all(isinstance(end, int | float) for end in ends):
            raise InputError(f"{name}: got {text!r}, expected two numbers, such as log:1e-5..1e-1 or 0..0.5.")
        return Log(*ends) if log else Linear(*ends)
    if log:
        raise InputError(f"{name}: got {text!r}, expected two numbers, such as log:1e-5..1e-1.")
    values = [_parse_value(name, part) for part in text.split("/")]
    return values[0] if len(values) == 1 else Choice(*values)


def _parse_value(name: str, text: str) -> Any:
    """Parse a number, true, false, none, text or, for `hidden`, sizes separated by commas."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    if name == "hidden" and "," in text:
        return tuple(_parse_value("", part) for part in text.split(",") if part)
    return text
