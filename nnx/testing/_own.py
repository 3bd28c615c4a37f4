"""Checks of users' own activations, losses and optimizers, in their tests: an AssertionError says what is wrong."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import layers, losses, optimizers
from ..backend import BackendLike, choose
from ..ops import Ops
from ._case import FLOATS, Case
from ._cases.formulas import activation_cases, loss_cases, update_cases
from ._checks import check_case
from ._gradients import activation, check_gradients, elementwise


def check_activation(layer: Any, *, backend: BackendLike = None) -> None:
    """Check an `nnx.Activation`, or a function for one, on a backend (default: that in force): its values against its
    formula in float64, in every memory layout, with NaN; its derivative against numerical ones."""
    layer = layer if isinstance(layer, layers.Activation) else layers.Activation(layer)
    ops = _check((case for case in activation_cases(layer) if not case.id.endswith("-large")), backend)
    check_gradients(ops, "activation_backward", activation(layer))


def check_loss(loss: losses.ElementwiseLoss, *, backend: BackendLike = None) -> None:
    """Check a loss as `check_activation` does an activation. It must take targets of 0 to 1."""
    check_gradients(_check(loss_cases(loss), backend), "loss", elementwise(loss))


def check_optimizer(optimizer: optimizers.Optimizer, *, backend: BackendLike = None) -> None:
    """Check that an optimizer's rule does on a backend what it does in float64, and that its coefficients are those the
    rule takes, and finite. What is learned with it is for a training to show."""
    formula = optimizer.formula()
    for step in (0, 1, 1000):
        hyper = np.array(optimizer.hyper(step, 0.01))
        if hyper.shape != (len(formula.scalars),) or not np.isfinite(hyper).all():
            raise AssertionError(
                f"{optimizer!r}: coefficients({step}) gave {hyper[:-2].tolist()}, expected finite numbers for "
                f"{', '.join(formula.scalars[:-2])}"
            )
    _check(update_cases(formula), backend)


def _check(cases: Iterable[Case], backend: BackendLike) -> Ops:
    ops = Ops(choose(backend).backend)
    for case in cases:
        for dtype in FLOATS:
            check_case(ops, case, dtype)
    return ops
