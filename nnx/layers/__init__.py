"""Layers: small objects with `forward(x, train_flg)` and `backward(dout)`.

Standing alone they are not fused; `nnx.plan` fuses them for training.
"""

from .._support.arena import Spec
from ._activations import (
    ELU,
    GELU,
    RELU,
    SIGMOID,
    TANH,
    Activation,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from ._affine import Affine
from ._augmentation import RandomFlip, RandomShift, TrainingOnly
from ._batch_norm import RUNNING_AVERAGE, BatchNorm
from ._convolution import Convolution
from ._dropout import Dropout, SpatialDropout
from ._layer import Layer
from ._layer_norm import LayerNorm
from ._pictures import channels_first, channels_last
from ._pooling import AveragePooling, GlobalAveragePooling, MaxPooling, Pooling
from ._shape import Flatten, Identity
from ._weights import Weighted

LAYERS: dict[str, type[Layer]] = {
    name: kind
    for name, kind in list(globals().items())
    if isinstance(kind, type) and issubclass(kind, Layer) and kind not in (Layer, Pooling, TrainingOnly, Weighted)
}
"""The layers that a checkpoint can name."""

__all__ = [
    "ELU",
    "GELU",
    "LAYERS",
    "RELU",
    "RUNNING_AVERAGE",
    "SIGMOID",
    "TANH",
    "Activation",
    "Affine",
    "AveragePooling",
    "BatchNorm",
    "Convolution",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MaxPooling",
    "Pooling",
    "RandomFlip",
    "RandomShift",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "SpatialDropout",
    "Spec",
    "Tanh",
    "TrainingOnly",
    "Weighted",
    "channels_first",
    "channels_last",
]
