"""Networks for pictures, (n, channels, height, width), ready to be built."""

from collections.abc import Sequence
from typing import Any

from ._support.checks import check_count, check_flag, check_number
from .errors import InputError, InputTypeError, look_up
from .initializers import Init
from .layers import Affine, BatchNorm, Convolution, Dropout, Flatten, Layer, MaxPooling
from .model import Sequential, known_activations


def SimpleConvNet(  # noqa: N802  reads like the classes it makes
    outputs: int,
    *,
    filters: int = 30,
    size: Any = 5,
    hidden: int = 100,
    activation: str = "relu",
    init: Init = None,
    batch_norm: bool = False,
    dropout: float = 0.0,
) -> Sequential:
    """Make the network of one convolution of *Deep Learning from Scratch*, chapter 7 (Saitoh 2016).

    Convolution, activation, MaxPooling(2), Flatten, Affine, activation, Affine.

    Args:
        outputs: the size of the last layer.
        filters: how many filters the convolution has.
        size: of a filter: one number, or (height, width); pictures have at least one pixel more, down and across.
        hidden: the size of the hidden layer.
        activation: the name of a layer that is an activation, such as "relu".
        init: of the weights of all layers but the last: "he", "xavier", a standard deviation, or None as for `Affine`.
        batch_norm: whether there is BatchNorm before each activation.
        dropout: the dropout ratio after the hidden layer, in [0, 1); 0 for no Dropout.

    Returns:
        The model, not yet built.

    Raises:
        InputError: a size, the ratio or a name cannot be used.
        InputTypeError: an argument is of another type.
    """
    parts = _Parts(activation, init, batch_norm, dropout)
    convolution = Convolution(check_count("filters", filters), size, init=init)
    return Sequential(
        *parts.then(convolution),
        MaxPooling(2),
        Flatten(),
        *parts.hidden(hidden),
        Affine(check_count("outputs", outputs)),
    )


def DeepConvNet(  # noqa: N802
    outputs: int,
    *,
    filters: Sequence[int] = (16, 32, 64),
    hidden: int = 50,
    activation: str = "relu",
    init: Init = None,
    batch_norm: bool = False,
    dropout: float = 0.5,
) -> Sequential:
    """Make the deep network of *Deep Learning from Scratch*, chapter 8 (Saitoh 2016), of six convolutions.

    For each number of filters: twice a Convolution of 3 x 3 and an activation, then MaxPooling(2); afterwards Flatten,
    Affine, activation, Dropout, Affine. Convolutions keep the size of pictures by one pixel of padding; the second one
    of the second block has two, as in the book, which makes 14 x 14 pixels 16 x 16. The book also has a Dropout after
    the last layer, on the scores themselves; it is left out here.

    Args:
        outputs: the size of the last layer.
        filters: how many filters the convolutions of each block have, for one block at least. Three blocks take
            pictures of 4 x 4 and more.
        hidden: the size of the hidden layer.
        activation: as for `SimpleConvNet`.
        init: as for `SimpleConvNet`.
        batch_norm: as for `SimpleConvNet`.
        dropout: as for `SimpleConvNet`.

    Returns:
        The model, not yet built.

    Raises:
        InputError: a size, the ratio or a name cannot be used.
        InputTypeError: an argument is of another type.
    """
    numbers: Any = filters
    if isinstance(numbers, str) or not isinstance(numbers, Sequence):
        raise InputTypeError(f"filters: got {filters!r}, expected a sequence of numbers such as (16, 32, 64).")
    if not len(filters):
        raise InputError("filters: got none, expected at least one block; for no convolutions take MLP.")
    parts = _Parts(activation, init, batch_norm, dropout)
    layers: list[Layer] = []
    for block, count in enumerate(filters):
        check_count("filters", count)
        for pad in (1, 2 if block == 1 else 1):
            layers += parts.then(Convolution(count, 3, pad=pad, init=init))
        layers.append(MaxPooling(2))
    return Sequential(*layers, Flatten(), *parts.hidden(hidden), Affine(check_count("outputs", outputs)))


class _Parts:
    """What the networks have in common."""

    def __init__(self, activation: str, init: Init, batch_norm: bool, dropout: float) -> None:
        self._activation = look_up("activation", activation, known_activations())
        self._init, self._batch_norm = init, check_flag("batch_norm", batch_norm)
        self._dropout = check_number("dropout", dropout, 0, 1)

    def then(self, layer: Layer) -> list[Layer]:
        """Return a layer, BatchNorm if there is any, and the activation."""
        return [layer, *([BatchNorm()] if self._batch_norm else []), self._activation()]

    def hidden(self, size: int) -> list[Layer]:
        """Return the hidden layer, with Dropout after it if there is any."""
        layers = self.then(Affine(check_count("hidden", size), init=self._init))
        return [*layers, Dropout(self._dropout)] if self._dropout > 0 else layers
