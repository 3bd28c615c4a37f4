"""What the scripts of *Deep Learning from Scratch* (Saitoh, O'Reilly Japan 2016) import, on nnx's operations.

`nnx.book.layers` stands for the book's `common.layers`, and so on; `nnx.book.mnist` for its `dataset.mnist`;
`nnx.book.simple_convnet` and `nnx.book.deep_convnet` for the networks of its chapters 7 and 8. Names, arguments,
attributes, printed lines and numbers are the book's: float64 where the script does not give float32, and NumPy's global
generator drawn from in the same order, so that the same `np.random.seed` gives the same run. Unlike the book's,
`accuracy` predicts in pieces.

Every function and layer computes on the backend in force and returns arrays of the kind that it was given: NumPy's for
NumPy's, the backend's for the backend's (`from nnx import np` makes such arrays). NumPy's arrays that are small, or of
other dtypes than float32 and float64, are left to NumPy.
"""

from . import (
    deep_convnet,
    functions,
    gradient,
    layers,
    mnist,
    multi_layer_net,
    multi_layer_net_extend,
    optimizer,
    simple_convnet,
    trainer,
    util,
)
from .deep_convnet import DeepConvNet
from .simple_convnet import SimpleConvNet

__all__ = [
    "DeepConvNet",
    "SimpleConvNet",
    "deep_convnet",
    "functions",
    "gradient",
    "layers",
    "mnist",
    "multi_layer_net",
    "multi_layer_net_extend",
    "optimizer",
    "simple_convnet",
    "trainer",
    "util",
]
