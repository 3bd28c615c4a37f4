"""`nnx lab activations`, `gradient`, `gradient-check`, `optimizers` and `init`."""

from typing import Annotated

import typer

from .. import lab as laboratory
from .. import optimizers as rules
from .._support.checks import check_count
from ..datasets import as_splits
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
)


@command(
    "nnx lab activations --depth 10",
    group=lab,
)
def activations(
    limit: Annotated[float, typer.Option(help="The functions are shown from -limit to limit.")] = 5.0,
    depth: Annotated[int, typer.Option(help="Layers of the network that collapses.")] = 5,
    units: Annotated[int, typer.Option(help="Units of each layer.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of its weights and inputs.")] = 0,
    backend: BackendName = None,
    out: Out = None,
) -> None:
    """Show activation functions with their derivatives, and why linear layers alone collapse into one."""
    show(laboratory.activations(limit=limit, depth=depth, units=units, seed=seed, backend=backend), out)


@command(
    "nnx lab gradient rosenbrock",
    'nnx lab gradient "x**2/20 + y**2" --lrs 0.1,0.9',
    "nnx lab gradient saddle --start=-1,0.001",
    group=lab,
)
def gradient(
    function: Annotated[
        str, typer.Argument(help="bowl, sphere, saddle, rosenbrock, himmelblau, or an expression in x and y.")
    ] = "bowl",
    start: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Where descent begins; default: the function's own.")
    ] = None,
    lrs: Annotated[
        str | None,
        typer.Option(help="Learning rates, separated by commas; default: too small to diverging, by the curvature."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Updates at most.")] = 100,
    backend: BackendName = None,
    out: Out = None,
) -> None:
    """Compute the numerical gradient of a function of x and y, and descend with several learning rates.

    The function may be an expression such as "x**2/20 + sin(y)"; a start with a minus sign is written --start=-7,2.
    """
    result = laboratory.gradient(
        function,
        values.numbers("--start", start),
        lrs=values.numbers("--lrs", lrs),
        steps=steps,
        backend=backend,
    )
    show(result, out)


@command(
    "nnx lab gradient-check",
    "nnx lab gradient-check --batchnorm --hidden 50,50",
    group=lab,
)
def gradient_check(
    dataset: DatasetName = "digits",
    backend: BackendName = None,
    hidden: Hidden = "200,100",
    activation: Activation = "relu",
    init: Init = None,
    batchnorm: BatchNormalized = False,
    dropout: DropoutRatio = 0.0,
    rows: Annotated[int, typer.Option(help="Rows of the training data to check on.")] = 20,
    samples: Annotated[int, typer.Option(help="Elements of each parameter to check.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the split, the weights and the elements.")] = 0,
    out: Out = None,
) -> None:
    """Compare the gradients of a network with numerical ones: the relative error of each parameter, in float64."""
    check_count("--rows", rows)
    config = values.network(hidden, activation, init, batchnorm, dropout)
    train = as_splits(dataset, seed).train
    train = train.take(range(min(rows, len(train))))
    model = config.network(len(train.classes))
    result = laboratory.gradient_check(
        model, train.inputs("float64"), train.t, samples=samples, seed=seed, backend=backend
    )
    show(result, out)


@command(
    "nnx lab optimizers",
    "nnx lab optimizers --optimizers sgd,adam --epochs 10",
    "nnx lab optimizers --lr sgd=0.1,adam=0.001",
    group=lab,
)
def optimizers(
    dataset: DatasetName = "digits",
    backend: BackendName = None,
    optimizers: Annotated[str, typer.Option(help="Which to compare, separated by commas.")] = ",".join(
        rules.OPTIMIZERS
    ),
    lr: Annotated[
        str | None,
        typer.Option(help="Learning rate of the trainings: one, or sgd=0.1,adam=0.001; default: each one's own."),
    ] = None,
    bowl_lr: Annotated[str | None, typer.Option(help="Learning rate on the bowl, in the same form.")] = None,
    distance: Annotated[float, typer.Option(help="Distance from the bowl's minimum at which a path ends.")] = 0.1,
    hidden: Hidden = "100,100",
    epochs: Epochs = 20,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Compare the optimizers: their paths down an elongated bowl, and their learning curves on data.

    All trainings begin with the same weights and see the same batches.
    """
    result = laboratory.optimizers(
        dataset,
        optimizers=values.words(optimizers),
        lr=values.named_numbers("--lr", lr),
        bowl_lr=values.named_numbers("--bowl-lr", bowl_lr),
        distance=distance,
        hidden=values.sizes("--hidden", hidden),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        backend=backend,
    )
    show(result, out)


@command(
    "nnx lab init",
    "nnx lab init --activations relu --inits 0.01,xavier,he",
    group=lab,
)
def init(
    dataset: DatasetName = "digits",
    backend: BackendName = None,
    inits: Annotated[
        str, typer.Option(help="zero, constant, xavier, he or standard deviations, separated by commas.")
    ] = ",".join(map(str, laboratory.INITS)),
    activations: Annotated[str, typer.Option(help="Separated by commas.")] = "sigmoid,tanh,relu",
    constant: Annotated[float, typer.Option(help="The value of the constant weights.")] = 0.01,
    layers: Annotated[int, typer.Option(help="Hidden layers.")] = 5,
    units: Annotated[int, typer.Option(help="Units of each layer.")] = 100,
    rows: Annotated[int, typer.Option(help="Rows of normal inputs for the histograms.")] = 1000,
    optimizer: OptimizerName = "sgd",
    lr: Annotated[float | None, typer.Option(help="Learning rate; default: 0.1 for SGD, else its own.")] = None,
    epochs: Epochs = 20,
    batch_size: BatchSize = 32,
    seed: Seed = 0,
    out: Out = None,
) -> None:
    """Compare initial weights: the activations of every layer, what is wrong with them, and how the network learns."""
    result = laboratory.init(
        dataset,
        inits=[values.number_or_word(word) for word in values.words(inits)],
        activations=values.words(activations),
        constant=constant,
        layers=layers,
        units=units,
        rows=rows,
        optimizer=optimizer,
        lr=lr,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        backend=backend,
    )
    show(result, out)
