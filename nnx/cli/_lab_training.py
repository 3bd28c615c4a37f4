"""`nnx lab batchnorm`, `overfit`, `rates`, `lr-find` and `inspect`."""

from pathlib import Path
from typing import Annotated

import typer

from .. import lab as laboratory
from ..datasets import Splits, as_splits
from . import _values as values
from ._app import command
from ._lab import Out, lab, show
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


@command(
    "nnx lab batchnorm",
    "nnx lab batchnorm --stds 0.01,0.1 --lrs 0.1,1",
    group=lab,
)
def batchnorm(
    dataset: DatasetName = "digits",
    backend: BackendName = None,
    stds: Annotated[
        str, typer.Option(help="Standard deviations of the initial weights, separated by commas.")
    ] = "0.001,0.01,0.1,0.3,1",
    lrs: Annotated[str, typer.Option(help="Learning rates, separated by commas.")] = "0.01,0.03,0.1,0.3,1,3",
    hidden: Hidden = "100,100,100,100,100",
    activation: Activation = "relu",
    optimizer: OptimizerName = "sgd",
    learned: Annotated[float, typer.Option(help="Training accuracy from which a network has learned.")] = 0.75,
    epochs: Epochs = 30,
    batch_size: BatchSize = 100,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Show with which initial weights and learning rates a network learns, with and without batch normalization."""
    result = laboratory.batchnorm(
        dataset,
        stds=values.numbers("--stds", stds) or [],
        lrs=values.numbers("--lrs", lrs) or [],
        hidden=values.sizes("--hidden", hidden),
        activation=activation,
        optimizer=optimizer,
        learned=learned,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        backend=backend,
    )
    show(result, out)


@command(
    "nnx lab overfit",
    "nnx lab overfit --rows 100 --dropout 0.4",
    group=lab,
)
def overfit(
    dataset: DatasetName = "digits",
    backend: BackendName = None,
    rows: Annotated[int, typer.Option(help="Rows to train on; all others are validated on.")] = 300,
    hidden: Hidden = "100,100,100",
    activation: Activation = "relu",
    init: Annotated[str, typer.Option(help="he, xavier or a standard deviation of the initial weights.")] = "0.3",
    weight_decay: Annotated[float, typer.Option(help="Weight decay of the trainings that have it.")] = 0.02,
    dropout: Annotated[float, typer.Option(help="Share of hidden units dropped, in the trainings with dropout.")] = 0.2,
    optimizer: OptimizerName = "sgd",
    lr: Annotated[float | None, typer.Option(help="Learning rate; default: 0.1 for SGD, else its own.")] = None,
    epochs: Epochs = 100,
    batch_size: BatchSize = 100,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Train a large network on few rows, plain, with weight decay, dropout or both, and measure the overfitting."""
    result = laboratory.overfit(
        dataset,
        rows=rows,
        hidden=values.sizes("--hidden", hidden),
        activation=activation,
        init=values.initialiser(init),
        weight_decay=weight_decay,
        dropout=dropout,
        optimizer=optimizer,
        lr=lr,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        backend=backend,
    )
    show(result, out)


@command(
    "nnx lab rates",
    "nnx lab rates --lrs 1e-4,0.01,1 --optimizer sgd",
    group=lab,
)
def rates(
    dataset: DatasetName = "digits",
    backend: BackendName = None,
    hidden: Hidden = "200,100",
    activation: Activation = "relu",
    init: Init = None,
    batchnorm: BatchNormalized = False,
    dropout: DropoutRatio = 0.0,
    weight_decay: WeightDecay = 0.0,
    optimizer: OptimizerName = "adam",
    lrs: Annotated[
        str | None,
        typer.Option(help="Learning rates, separated by commas; default: the optimizer's own, 1/100 to 100 times."),
    ] = None,
    epochs: Epochs = 20,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Train a network at several learning rates, and show which are too small, good and too large."""
    config = values.network(hidden, activation, init, batchnorm, dropout)
    splits: Splits = as_splits(dataset, seed)
    result = laboratory.rates(
        splits,
        config.network(len(splits.train.classes)),
        optimizer,
        lrs=values.numbers("--lrs", lrs),
        epochs=epochs,
        batch_size=batch_size,
        weight_decay=weight_decay,
        seed=seed,
        backend=backend,
    )
    show(result, out)


@command(
    "nnx lab lr-find",
    "nnx lab lr-find --optimizer sgd --hidden 50",
    group=lab,
)
def lr_find(
    dataset: DatasetName = "digits",
    backend: BackendName = None,
    hidden: Hidden = "200,100",
    activation: Activation = "relu",
    init: Init = None,
    batchnorm: BatchNormalized = False,
    dropout: DropoutRatio = 0.0,
    weight_decay: WeightDecay = 0.0,
    optimizer: OptimizerName = "adam",
    lowest: Annotated[float, typer.Option(help="Learning rate to begin with.")] = 1e-6,
    highest: Annotated[float, typer.Option(help="Learning rate to end with, if the loss does not diverge.")] = 10.0,
    steps: Annotated[int, typer.Option(help="Updates from the lowest to the highest rate.")] = 200,
    smoothing: Annotated[
        float, typer.Option(help="How far the losses are averaged, in decades of the learning rate.")
    ] = 0.15,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Suggest a learning rate: it grows from step to step until the loss diverges (a range test)."""
    config = values.network(hidden, activation, init, batchnorm, dropout)
    splits: Splits = as_splits(dataset, seed)
    result = laboratory.lr_find(
        splits,
        config.network(len(splits.train.classes)),
        optimizer,
        lowest=lowest,
        highest=highest,
        steps=steps,
        smoothing=smoothing,
        batch_size=batch_size,
        weight_decay=weight_decay,
        seed=seed,
        backend=backend,
    )
    show(result, out)


@command(
    "nnx lab inspect runs/digits",
    "nnx lab inspect runs/digits --images 50",
    group=lab,
)
def inspect(
    run: Annotated[Path, typer.Argument(help="A run folder that `nnx train` wrote.")],
    dataset: Annotated[
        str | None, typer.Option(help="Another data set to look at it with; default: the run's own.")
    ] = None,
    backend: BackendName = None,
    batch_size: Annotated[int, typer.Option(help="Rows of the batch whose gradients are shown.")] = 100,
    images: Annotated[int, typer.Option(help="How many of the worst mistakes are drawn.")] = 25,
    out: Out = None,
) -> None:
    """Look into a trained network: weights, activations, gradients, dead units, and its worst mistakes."""
    show(laboratory.inspect(run, dataset, batch_size=batch_size, images=images, backend=backend), out)
