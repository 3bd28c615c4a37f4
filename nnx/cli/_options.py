"""Options that several commands have: one wording each."""

from typing import Annotated

import typer

from .. import optimizers
from ..model import known_activations

DatasetName = Annotated[
    str,
    typer.Option(
        help="digits, mnist, fashion_mnist; a table (.csv, .parquet); an .npz or .npy of arrays; or a folder: of idx "
        "files, or with a folder of image files for each class."
    ),
]
BackendName = Annotated[
    str | None, typer.Option(help="Backend by name; default: NNX_BACKEND, or the best that can run.")
]
Hidden = Annotated[str, typer.Option(help="Sizes of the hidden layers, separated by commas.")]
Activation = Annotated[str, typer.Option(help=f"One of {', '.join(known_activations())}.")]
Init = Annotated[
    str | None, typer.Option(help="he, xavier or a standard deviation; default: what suits the activation.")
]
BatchNormalized = Annotated[bool, typer.Option("--batchnorm", help="Batch normalization before every activation.")]
DropoutRatio = Annotated[float, typer.Option(help="Share of the hidden units dropped while training.")]
WeightDecay = Annotated[float, typer.Option(help="Factor of the penalty on large weights (L2).")]
OptimizerName = Annotated[str, typer.Option(help=f"One of {', '.join(optimizers.OPTIMIZERS)}.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training data.")]
BatchSize = Annotated[int, typer.Option(help="Rows per update.")]
Seed = Annotated[int, typer.Option(help="Seed of the split, the weights, the batches, dropout and augmentation.")]
