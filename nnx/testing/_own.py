"""Checks of users' own activations, losses and optimizers, for their tests: an AssertionError says what is wrong."""

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
    """Check an activation on a backend.

    Checked are its values against its formula in float64, in every memory layout and with NaN, and its derivative
    against numerical ones.

    Args:
        layer: an `nnx.Activation`, or a function for one.
        backend: a name or an instance; None: the one in force.

    Raises:
        AssertionError: the activation is wrong; the message says how.
    """
    layer = layer if isinstance(layer, layers.Activation) else layers.Activation(layer)
    ops = _check((case for case in activation_cases(layer) if not case.id.endswith("-large")), backend)
    check_gradients(ops, "activation_backward", activation(layer))


def check_loss(loss: losses.ElementwiseLoss, *, backend: BackendLike = None) -> None:
    """Check a loss on a backend, as `check_activation` does an activation.

    Args:
        loss: it must take targets of 0 to 1.
        backend: a name or an instance; None: the one in force.

    Raises:
        AssertionError: the loss is wrong; the message says how.
    """
    check_gradients(_check(loss_cases(loss), backend), "loss", elementwise(loss))


def check_optimizer(optimizer: optimizers.Optimizer, *, backend: BackendLike = None) -> None:
    """Check on a backend that an optimizer's rule does what it does in float64.

    Also checked is that its coefficients are finite and as many as the rule takes. Whether a network learns with it
    only a training can show.

    Args:
        optimizer: the optimizer.
        backend: a name or an instance; None: the one in force.

    Raises:
        AssertionError: the optimizer is wrong; the message says how.
    """
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
