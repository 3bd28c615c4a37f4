"""`nnx train`: from a data set to a trained network, its curves and its mistakes."""

import os
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .. import datasets
from .._support import figures
from .._support import plots as plotting
from .._support.checks import check_count
from .._support.console import say
from ..backend import choose
from ..datasets import Dataset, DiskDataset, DiskSplits, Splits
from ..errors import InputError
from ..parallel import Communicator, on_first, world
from ..training import MODELS, Callback, EarlyStopping, RunConfig, RunData, RunFolder, Trainer, read_settings
from . import _values as values
from ._app import command, is_given
from ._options import (
    Activation,
    BackendName,
    BatchNormalized,
    BatchSize,
    DatasetName,
    DropoutRatio,
    Epochs,
    Hidden,
    Init,
    OptimizerName,
    Seed,
    WeightDecay,
)

_DEFAULT = RunConfig()
_HIDDEN = ",".join(map(str, _DEFAULT.hidden))


@command(
    "nnx train",
    "nnx train --dataset iris.csv --hidden 20 --epochs 50",
    "nnx train --dataset pictures/ --model simple_conv",
    "nnx train --optimizer sgd --lr 0.1 --batchnorm",
    "nnx train --resume --epochs 40     # go on",
)
def train(
    ctx: typer.Context,
    dataset: DatasetName = _DEFAULT.dataset,
    image_size: Annotated[
        str,
        typer.Option(
            metavar="PIXELS",
            help="Size to which image files are resized: 32, or 32x48, height before width; default: their own, or "
            "where they differ the median, at most 64.",
        ),
    ] = _DEFAULT.image_size,
    label: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="The column of a table that is to be predicted; default: the one called label, target, class, species "
            "or y, or the last one if it alone holds text.",
        ),
    ] = _DEFAULT.label,
    categories: Annotated[
        str,
        typer.Option(
            metavar="COLUMNS",
            help="Text columns of a table, each of which becomes columns of 0 and 1, one for each value.",
        ),
    ] = "",
    drop: Annotated[str, typer.Option(metavar="COLUMNS", help="Columns of a table to leave out.")] = "",
    fill: Annotated[
        str, typer.Option(help="What missing numbers of a table become: mean, median or a number.")
    ] = _DEFAULT.fill,
    loss: Annotated[
        str,
        typer.Option(
            help="cross_entropy for classes, mse or huber for a number of a table; default: what suits the label."
        ),
    ] = _DEFAULT.loss,
    from_disk: Annotated[
        bool,
        typer.Option(
            "--from-disk",
            help="Leave the rows on the disk, where they do not fit memory: .npy, .npz, .safetensors, .parquet, or a "
            "folder of image files.",
        ),
    ] = _DEFAULT.from_disk,
    window: Annotated[
        int | None,
        typer.Option(
            metavar="ROWS", help="From the disk: rows that are shuffled together; default as many as have 256 MiB."
        ),
    ] = _DEFAULT.window,
    model: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(MODELS[:-1])} or {MODELS[-1]}: a multilayer perceptron, or a network for pictures, which "
            "has one hidden layer, by default of 100 (simple_conv) or 50 units (deep_conv, with --dropout 0.5)."
        ),
    ] = _DEFAULT.model,
    augment: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="What happens to pictures at random while training: shift (by up to 2 pixels), shift=PIXELS, flip.",
        ),
    ] = _DEFAULT.augment,
    backend: BackendName = None,
    hidden: Hidden = _HIDDEN,
    activation: Activation = _DEFAULT.activation,
    init: Init = None,
    batchnorm: BatchNormalized = _DEFAULT.batchnorm,
    dropout: DropoutRatio = _DEFAULT.dropout,
    weight_decay: WeightDecay = _DEFAULT.weight_decay,
    clip_norm: Annotated[
        float | None, typer.Option(help="Scale gradients of a greater norm down to this.")
    ] = _DEFAULT.clip_norm,
    optimizer: OptimizerName = _DEFAULT.optimizer,
    lr: Annotated[float | None, typer.Option(help="Learning rate; default: the optimizer's own.")] = _DEFAULT.lr,
    schedule: Annotated[
        str,
        typer.Option(help="constant, or cosine: the learning rate falls by half a cosine to 0 over all epochs."),
    ] = _DEFAULT.schedule,
    epochs: Epochs = _DEFAULT.epochs,
    batch_size: BatchSize = _DEFAULT.batch_size,
    seed: Seed = _DEFAULT.seed,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = _DEFAULT.dtype,
    precision: Annotated[
        str, typer.Option(help="Precision of matrix products while training: float32, bfloat16 or float16.")
    ] = _DEFAULT.precision,
    early_stopping: Annotated[
        int | None,
        typer.Option(metavar="EPOCHS", help="Stop when the validation loss has not fallen for so many epochs."),
    ] = _DEFAULT.early_stopping,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", help="A JSON file of these settings, as `nnx tune` writes; the flags given here win."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the run; default: a new one under runs/.")] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --out (default: the last one), with its own settings."),
    ] = False,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(metavar="STEPS", help="Write a checkpoint after so many steps, too; default: after each epoch."),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Under `nnx launch`: divide each batch into so many parts, a multiple of the ranks, for the same bits "
            "on any number of ranks that divides N; default: one for each rank.",
        ),
    ] = None,
) -> None:
    """Train a network on a data set, and write the run into a folder.

    The folder holds the checkpoint, history.csv, curves.png and samples.png. Under `nnx launch -n 4 -m nnx train ...`
    four processes share the work.
    """
    config = RunConfig(
        dataset=dataset,
        image_size=image_size,
        label=label,
        categories=tuple(values.words(categories)),
        drop=tuple(values.words(drop)),
        fill=fill,
        loss=loss,
        from_disk=from_disk,
        window=window,
        model=model,
        augment=augment,
        hidden=values.sizes("--hidden", hidden),
        activation=activation,
        init=values.initialiser(init),
        batchnorm=batchnorm,
        dropout=dropout,
        optimizer=optimizer,
        lr=lr,
        schedule=schedule,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        dtype=dtype,
        precision=precision,
        early_stopping=early_stopping,
    )
    given = {name for name in asdict(config) if is_given(ctx, name)}
    if config_file is not None:
        settings = read_settings(config_file)
        config = replace(config, **{name: value for name, value in settings.items() if name not in given})
        given |= settings.keys()
    own = {name: RunConfig.default(name, config.model) for name in ("hidden", "dropout") if name not in given}
    config = replace(config, **own)
    ranks = world()
    tell = say if ranks.rank == 0 else _nothing
    folder, known = None, None
    # A launch that begins again goes on with what it has; nnx launch has seen to it that there is an --out.
    again = os.environ.get("NNX_RESTARTS", "0") != "0" and out is not None
    if resume or (again and on_first(ranks, lambda: out is not None and out.exists())):
        folder = RunFolder(on_first(ranks, lambda: str(RunFolder.existing(out).path)))
        config, known = _resumed(config, given, folder, ranks)
    _check(config, checkpoint_every)
    choose(backend)
    splits: Splits | DiskSplits
    if config.from_disk:
        config, on_disk = config.data_on_disk(known)
        splits = config.inputs(on_disk)
    else:
        config, in_memory = _data(config, known, ranks)
        splits = config.inputs(in_memory)
    together = {"parallel": ranks, "shards": shards}
    trainer = _trainer(config, backend, folder, len(splits.train.classes), **together)
    _build(trainer, config, splits.train.shape)
    config.set_rate(trainer, len(splits.train))
    stopping = EarlyStopping(patience=config.early_stopping) if config.early_stopping is not None else None
    if folder is None:
        folder = RunFolder(on_first(ranks, lambda: _new_folder(out, config, splits)))

    shape = " x ".join(map(str, splits.train.shape))
    note = f"; {splits.train.note}" if splits.train.note else ""
    classes = f", {len(splits.train.classes)} classes" if splits.train.classes else ""
    tell(
        f"{config.dataset}: {len(splits.train)} rows to train on, {len(splits.validation)} to validate, "
        f"{len(splits.test)} to test; {shape} inputs{classes}{note}"
    )
    history = trainer.fit(
        splits.train,
        epochs=config.epochs,
        batch_size=config.batch_size,
        validation_data=splits.validation,
        callbacks=[_HistoryFile(folder)],
        early_stopping=stopping,
        checkpoint=folder.checkpoint,
        checkpoint_every=checkpoint_every,
        window=config.window,
    )
    if trainer.interrupted:
        tell("interrupted; continue with:", f"nnx train --resume --out {shlex.quote(str(folder.path))}")
        raise typer.Exit(130)
    score = _score(trainer, splits.test)
    if ranks.rank > 0:
        return
    folder.write_history(history)
    say(score)
    written = [folder.checkpoint, folder.history, *_pictures(folder, config, trainer, _some(splits.test))]
    say(f"written to {folder.path}: {', '.join(file.name for file in written)}")
    say("on one page:", f"nnx report {shlex.quote(str(folder.path))}")


class _HistoryFile(Callback):
    """Writes history.csv after every epoch."""

    every_rank = False

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def __call__(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        self._folder.write_history(trainer.history)


def _nothing(text: str, command: str = "") -> None:
    """Say nothing: rank 0 speaks for all."""


def _data(config: RunConfig, known: RunData | None, ranks: Communicator) -> tuple[RunConfig, Splits]:
    """Load the data; rank 0 does so first, for what it downloads is there for the others."""
    if ranks.rank > 0:
        ranks.exchange(None)
    loaded = config.data(known)
    if ranks.rank == 0:
        ranks.exchange(None)
    return loaded


def _new_folder(out: Path | None, config: RunConfig, splits: Splits | DiskSplits) -> str:
    folder = RunFolder.new(out, config.dataset)
    folder.write_config(config, RunData.of(splits.train))
    return str(folder.path)


def _resumed(wanted: RunConfig, given: set[str], folder: RunFolder, ranks: Communicator) -> tuple[RunConfig, RunData]:
    """Return the run's own settings; a setting that was given and differs is refused, except the number of epochs."""
    saved, data = folder.read_config()
    for name in sorted(given - {"epochs"}):
        if getattr(wanted, name) != getattr(saved, name):
            raise InputError(
                f"--{name.replace('_', '-')}: got {getattr(wanted, name)!r}, but the run in {folder.path} has "
                f"{getattr(saved, name)!r}; a resumed run keeps its settings (only --epochs and --backend may differ)."
            )
    if "epochs" in given:
        saved = replace(saved, epochs=wanted.epochs)
        on_first(ranks, lambda: folder.write_config(saved, data))
    return saved, data


def _check(config: RunConfig, checkpoint_every: int | None) -> None:
    """Check, before the data are loaded, the settings that would otherwise fail later."""
    check_count("--epochs", config.epochs)
    check_count("--batch-size", config.batch_size)
    if config.early_stopping is not None:
        check_count("--early-stopping", config.early_stopping)
    if checkpoint_every is not None:
        check_count("--checkpoint-every", checkpoint_every)
    if config.window is not None:
        check_count("--window", config.window)
        if not config.from_disk:
            raise InputError(f"--window: got {config.window} without --from-disk; pass both, or neither.")
    _ = config.size
    _trainer(config, None, None, 2)


def _trainer(
    config: RunConfig, backend: str | None, folder: RunFolder | None, classes: int, **together: Any
) -> Trainer:
    if folder is not None and folder.checkpoint.exists():
        return Trainer.load(folder.checkpoint, backend=backend, **together)
    return config.trainer(classes, backend, **together)


def _build(trainer: Trainer, config: RunConfig, shape: tuple[int, ...]) -> None:
    """Build the network, before a folder is made; raise for pictures that are too small for it."""
    try:
        trainer.build(shape)
    except InputError as error:
        if config.model == "mlp" or _fits(config, shape):
            raise
        enough = next(side for side in range(1, 1000) if _fits(config, (shape[0], side, side)))
        raise InputError(
            f"--model {config.model}: got pictures of {shape[1]} x {shape[2]}, expected at least {enough} x {enough}; "
            f"take larger ones, or --model mlp. ({error})"
        ) from None


def _fits(config: RunConfig, shape: tuple[int, ...]) -> bool:
    """Return whether the network, apart from the augmentation, takes inputs of a shape."""
    try:
        for layer in replace(config, augment="").network(2):
            _, shape = layer.declare(shape)
    except InputError:
        return False
    return True


def _some(test: Dataset | DiskDataset) -> Dataset:
    """Return the data, or where they stay on the disk some rows of them."""
    return test.sample(1000) if isinstance(test, DiskDataset) else test


def _score(trainer: Trainer, test: Dataset | DiskDataset) -> str:
    """Tell how well the network does on the test part."""
    if test.classes:
        return f"test accuracy {trainer.accuracy(test):.4f}"
    table = test.preparation
    off = np.abs(trainer.predict(test)[:, 0] - test.targets()).mean() * (1.0 if table is None else table.target[1])
    value = trainer.evaluate(test)
    told = f"test R2 {value.score:.4f}, " if value.score is not None else f"test loss {value.loss:.4f}, "
    return f"{told}off by {off:.4g} on average"


def _pictures(folder: RunFolder, config: RunConfig, trainer: Trainer, test: Dataset) -> list[Path]:
    """Draw the pictures that can be made, and say which cannot, and why; return the files."""
    if not plotting.available():
        say("left out: curves.png, samples.png (matplotlib is not installed; pip install 'nnx-array[plot]')")
        return []
    layers = "-".join(map(str, (int(np.prod(test.x.shape[1:])), *config.hidden, *trainer.model.output_shape)))
    network = layers if config.model == "mlp" else config.model
    title = f"{Path(config.dataset).name}: {network}, {config.activation}, {trainer.optimizer!r}, seed {config.seed}"
    plotting.save(figures.curves(trainer.history, title), folder.curves)
    images = datasets.drawable(test.x)
    if not test.classes or (images is None and test.preparation is not None):
        return [folder.curves]  # nobody expects pictures of a table's rows
    if images is None:
        say("left out: samples.png (the inputs are no grey or coloured images)")
        return [folder.curves]
    predicted = np.argmax(trainer.model.predict(test), axis=1)
    figures.samples(folder.samples, images, predicted, test.t, test.classes)
    return [folder.curves, folder.samples]
