"""The page of a run: headline numbers, curves, mistakes, the network from inside, settings and machine."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from .. import lab
from .._support import figures
from .._support import plots as plotting
from ..backend import BackendLike, environment
from ..datasets import NAMES
from ..errors import CheckpointError, NnxError
from ..training import RunConfig, RunFolder, Trainer, checkpoint
from ._html import Markup, Section, element, facts, figure, foot, join, missing, page, paragraph, tiles
from ._mistakes import confusion, mistakes
from ._network import network
from ._svg import NO_MATPLOTLIB, inline


@dataclass(frozen=True)
class Run:
    """What is known of a run."""

    folder: RunFolder
    trainer: Trainer
    meta: dict[str, Any]
    """The checkpoint's description."""
    config: RunConfig | None
    inspection: "lab.Inspection | None"


def run_page(folder: RunFolder, backend: BackendLike) -> bytes:
    """Return the page of the run in a folder; raise `CheckpointError` for files that are damaged or missing."""
    if not folder.checkpoint.is_file():
        raise CheckpointError(
            f"{folder.checkpoint}: there is no such file: the run was stopped before its first epoch was done; "
            f"continue it with: nnx train --resume --out {shlex.quote(str(folder.path))}"
        )
    config = folder.read_config()[0] if folder.config.is_file() else None
    meta = checkpoint.read(folder.checkpoint)[1]
    trainer = Trainer.load(folder.checkpoint, backend=backend)
    inspection, absent = _inspect(folder, config, backend)
    run = Run(folder, trainer, meta, config, inspection)
    name = folder.path.resolve().name if config is None else Path(config.dataset).name
    sections = [
        Section("numbers", "In numbers", tiles(_headline(run))),
        Section("curves", "Learning curves", _curves(trainer.history)),
        Section("confusion", "Confusion matrix", confusion(inspection) if inspection else missing("Matrix", absent)),
        Section("mistakes", "Worst mistakes", mistakes(inspection) if inspection else missing("Mistakes", absent)),
        Section("network", "The network from inside", network(trainer, inspection, absent)),
        Section("settings", "Configuration", _settings(run)),
        Section("machine", "Backend and machine", _machine(run)),
    ]
    lead = f"The training run in {folder.path}: {_architecture(trainer)} by {trainer.optimizer!r}."
    return page(f"{name}: report of a run", paragraph(lead, class_="lead"), sections, foot())


def _inspect(folder: RunFolder, config: RunConfig | None, backend: BackendLike) -> "tuple[lab.Inspection | None, str]":
    """Inspect the network with the run's test data; return None and the reason where that cannot be done."""
    if config is None:
        return None, f"{folder.config.name} is not there, and only it names the data set."
    if config.dataset not in NAMES and not Path(config.dataset).exists():
        return None, f"the data set {config.dataset} is gone: there is no {Path(config.dataset).absolute()}."
    try:
        return lab.inspect(folder.path, backend=backend), ""
    except NnxError as error:
        return None, f"the network could not be looked at with the data set {config.dataset}: {error}"


def _architecture(trainer: Trainer) -> str:
    model = trainer.model
    shapes = [shape for layer, shape in zip(model, model.shapes, strict=True) if "W" in layer.params]
    pictures = any(len(shape) > 1 for shape in shapes)
    first = model.input_shape if pictures else (int(np.prod(model.input_shape)),)
    sizes = "-".join("x".join(map(str, shape)) for shape in (first, *shapes))
    return f"a network of {sizes} units, trained"


def _headline(run: Run) -> Iterator[tuple[str, str, str]]:
    """Yield name, number, and what to compare it with."""
    trainer, history = run.trainer, run.trainer.history
    if run.inspection is not None:
        counts = run.inspection.confusion
        right, rows = int(np.trace(counts)), int(counts.sum())
        yield "Test accuracy", f"{right / rows:.2%}", f"{right:,} of {rows:,} rows right"
    for name, title in (("val_accuracy", "Validation accuracy"), ("accuracy", "Training accuracy")):
        if values := history.get(name):
            best = int(np.argmax(values))
            yield title, f"{values[-1]:.2%}", f"at the end; best {values[best]:.2%}, epoch {best + 1}"
    for name, title in (("val_loss", "Validation loss"), ("loss", "Training loss")):
        if values := history.get(name):
            best = int(np.argmin(values))
            yield title, f"{values[-1]:.4f}", f"at the end; least {values[best]:.4f}, epoch {best + 1}"
    planned = "" if run.config is None else f" of {run.config.epochs}"
    yield "Epochs", f"{trainer.epochs}{planned}", f"{trainer.steps:,} updates{_end(run)}"
    count = sum(int(np.prod(values.shape)) for values in trainer.model.params.values())
    yield "Parameters", f"{count:,}", f"{count * np.dtype(trainer.model.dtype).itemsize / 2**20:.2f} MiB"


def _end(run: Run) -> str:
    """Return how the training ended, if not with its last epoch."""
    if run.meta["fit"] is not None and run.meta["fit"]["stopped"]:
        restored = run.config is not None and run.config.early_stopping is not None
        return "; stopped early" + (", the network is that of the least validation loss" if restored else "")
    if run.config is not None and run.trainer.epochs < run.config.epochs:
        return "; not finished, nnx train --resume goes on"
    return ""


def _curves(history: "dict[str, list[float]]") -> Markup:
    names = [name for name in ("loss", "accuracy") if history.get(name)]
    if not names:
        return missing("Learning curves", "no epoch is done yet, so that there is no history.")
    if not plotting.available():
        return missing("Learning curves", NO_MATPLOTLIB)
    drawn = []
    for name in names:
        sentence = _course(name, history[name], history.get(f"val_{name}", []))
        with plotting.style():
            drawing, [[axes]] = plotting.panels(1, 1, "", width=3.9, height=3.0)
            figures.draw_curve(axes, history, name)
        drawn.append(figure(inline(drawing, f"curve-{name}", f"Learning curve of the {name}"), sentence))
    return element("div", *drawn, class_="panels")


def _course(name: str, training: Sequence[float], validation: Sequence[float]) -> str:
    """Describe one curve in a sentence with its numbers."""
    show = "{:.4f}".format if name == "loss" else "{:.2%}".format
    if len(training) == 1:
        told = f"The training {name} is {show(training[0])} in the first epoch"
    else:
        told = f"The training {name} goes from {show(training[0])} to {show(training[-1])} in {len(training)} epochs"
    if not len(validation):
        return f"{told}. There were no validation data."
    best = int(np.argmin(validation) if name == "loss" else np.argmax(validation))
    distance = abs(training[-1] - validation[-1])
    gap = f"{distance:.4f}" if name == "loss" else f"{100 * distance:.2f} points"
    return (
        f"{told}; the validation {name} is best after epoch {best + 1}, {show(validation[best])}, and "
        f"{show(validation[-1])} at the end. The gap between the two (shaded) is then {gap}: where it grows, the "
        "network overfits."
    )


def _settings(run: Run) -> Markup:
    trainer, config = run.trainer, run.config
    entries: list[tuple[str, Any]] = []
    if config is not None:
        entries += [
            ("Data set", config.dataset),
            *([("Image files resized to", config.image_size)] if config.image_size else []),
            ("Network", config.model),
            ("Augmentation", config.augment or "none"),
            ("Hidden layers", ", ".join(map(str, config.hidden)) or "none"),
            ("Activation", config.activation),
            ("Initial weights", config.init if config.init is not None else "what suits the activation"),
            ("Batch normalization", "yes" if config.batchnorm else "no"),
            ("Dropout", f"{config.dropout:g}"),
            ("Epochs", config.epochs),
            ("Batch size", config.batch_size),
            ("Early stopping", "no" if config.early_stopping is None else f"after {config.early_stopping} epochs"),
        ]
    entries += [
        ("Optimizer", repr(trainer.optimizer)),
        ("Loss", repr(trainer.loss)),
        ("Weight decay", f"{trainer.weight_decay:g}"),
        ("Greatest gradient norm", "not limited" if trainer.clip_norm is None else f"{trainer.clip_norm:g}"),
        ("Numbers", f"{trainer.model.dtype}, products in {trainer.precision} while training"),
        ("Seed", trainer.seed),
    ]
    if config is None:
        return join([missing("What nnx train was told", f"{run.folder.config.name} is not there."), facts(entries)])
    told = element("pre", element("code", command(config)))
    return join([facts(entries), paragraph("The command that trains it again:"), told])


def command(config: RunConfig) -> str:
    """Return the `nnx train` command with the data set and every setting that is not the default."""
    words = ["nnx", "train", "--dataset", config.dataset]
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name == "dataset" or value == RunConfig.default(field.name, config.model):
            continue
        words.append(f"--{field.name.replace('_', '-')}")
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return shlex.join(words)


def _machine(run: Run) -> Markup:
    then, now = run.meta["environment"], environment.describe(run.trainer.model.backend)
    saved = facts((name.capitalize(), value) for name, value in then.items())
    changed = environment.differences(then, now)
    if not changed:
        return join([paragraph("The network was trained, and looked at for this page, on:"), saved])
    told = f"For this page the network was looked at elsewhere: {'; '.join(changed)}."
    return join([paragraph("The network was trained on:"), saved, paragraph(told)])
