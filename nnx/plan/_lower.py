"""From layers to stages."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeGuard

from ..layers import Activation, Identity, Layer, MaxPooling, ReLU, Weighted
from ._pictures import TurnStage
from ._stages import STAGES, ActivationStage, AffineStage, ProductStage, Stage


def lower(layers: Sequence[Layer], shapes: Sequence[tuple[int, ...]]) -> list[Stage]:
    """Make the stages of a model.

    Args:
        layers: the model's.
        shapes: of the inputs and of each layer's output, without the rows.
    """
    stages: list[Stage] = []
    given = zip(layers, pairwise(shapes), strict=True)
    work = _pooled_first([(layer, *both) for layer, both in given if type(layer) is not Identity])
    last = False
    """Whether the stages so far end with pictures whose channels are last."""

    def turn(shape: tuple[int, ...], to_last: bool) -> None:
        nonlocal last
        if to_last != last:
            before, after = (shape, _turned(shape)) if to_last else (_turned(shape), shape)
            stages.append(TurnStage(before, after, to_last))
            last = to_last

    while work:
        layer, below, shape = work.pop(0)
        following = work[0][0] if work else None
        kind = STAGES.get(type(layer), ActivationStage if isinstance(layer, Activation) else Stage)
        if len(below) == 3 and kind.channels_last is not None:
            turn(below, kind.channels_last)
        elif len(below) != 3 and len(shape) == 3:  # it makes the first pictures, in the order that it says
            last = bool(kind.channels_last)
        if issubclass(kind, ProductStage) and isinstance(layer, Weighted) and _fuses(following):
            stage: Stage = kind(layer, _turned(shape) if last else shape, following)
            work.pop(0)
        else:
            stage = kind(layer, _turned(shape) if last else shape)
        stage.input_shape = _turned(below) if last else below
        stages.append(stage)
        last = last and len(shape) == 3
    turn(shapes[-1], False)
    for i, stage in enumerate(stages):
        if isinstance(stage, ProductStage) and stage.owes_db is not None:
            above = next((other for other in stages[i + 1 :] if not other.keeps_sums), None)
            if above is not None and above.takes_db:
                above.bias_below, stage.db_above = stage.owes_db, True
    if stages and isinstance(stages[-1], AffineStage) and stages[-1].owes_db is not None:
        stages[-1].by_loss = stages[-1].db_above = True
    return stages


Work = list[tuple[Layer, tuple[int, ...], tuple[int, ...]]]
"""Layers with the shapes of their inputs and outputs."""


def _pooled_first(work: Work) -> Work:
    """Exchange a ReLU and the maximum after it: the same numbers and gradients, of a part of the elements."""
    exchanged = list(work)
    for i, ((first, shape, _), (second, _, pooled)) in enumerate(pairwise(work)):
        if type(first) is ReLU and type(second) is MaxPooling:
            exchanged[i : i + 2] = [(second, shape, pooled), (first, pooled, pooled)]
    return exchanged


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of pictures with the channels last; other shapes as they are."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def _fuses(layer: Layer | None) -> TypeGuard[Activation]:
    """Return whether the layer can be one operation with the product before it, whose own output is then not kept."""
    return isinstance(layer, Activation) and type(layer) not in STAGES and not layer.formula_backward.uses("x")
