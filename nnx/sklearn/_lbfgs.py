"""SciPy's L-BFGS-B over the loss of all rows, in the arena's own layout: no packing."""

import warnings
from typing import Any

import numpy as np

from ..ops import HostArray
from ._network import Network, SparseData
from ._warnings import warn


def fit_lbfgs(estimator: Any, network: Network, x: Any, t: HostArray, weight: HostArray | None) -> None:
    """Minimise the loss, and keep `loss_` and `n_iter_` on the estimator. Arguments as for `fit_stochastic`.

    The padding of the arena takes part as parameters whose gradient is zero.
    """
    from scipy.optimize import minimize
    from sklearn.utils.optimize import _check_optimize_result

    ops, arena, dtype, n = network.ops, network.plan.arena, network.model.dtype, x.shape[0]
    total = float(n) if weight is None else float(np.sum(weight))
    if total == 0:
        raise ZeroDivisionError("Weights sum to zero, can't be normalized")
    decay = estimator.alpha / total
    hyper = ops.to_device(np.array([decay, 1.0], dtype))
    factors = None if weight is None else ops.to_device((weight * (n / total)).astype(dtype))
    data, index = network.data(x, t), np.arange(n)
    inputs = data.gather(index if isinstance(data, SparseData) else ops.to_device(index))

    def loss_and_gradient(flat: HostArray) -> tuple[float, HostArray]:
        arena.params.buffer[...] = ops.to_device(flat.astype(dtype))
        loss = network.differentiate(inputs[0], inputs[1], hyper, factors)
        gradient = ops.to_host(arena.grads.buffer).astype(np.float64)
        gradient[: arena.layout.decay] += decay * flat[: arena.layout.decay]
        return float(loss), gradient

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        result = minimize(
            loss_and_gradient,
            ops.to_host(arena.params.buffer).astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
        )
        arena.params.buffer[...] = ops.to_device(result.x.astype(dtype))
        if estimator.batch_norms_ is not None:  # its running statistics are the moments of all rows
            loss_and_gradient(result.x)
            arena.running.buffer[...] = arena.batch.buffer
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    for warning in caught:
        warn(warning.message, warning.category)
    estimator.loss_ = float(result.fun)
