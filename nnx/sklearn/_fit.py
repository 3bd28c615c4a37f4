"""The stochastic loop: scikit-learn's batches, stopping and learning rates around nnx's fused steps."""

from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from .._support.room import roomy
from ..losses import SigmoidCrossEntropy, SoftmaxCrossEntropy
from ..ops import Array, HostArray
from ..plan import TrainingStep
from ..training import DeviceData
from ._network import Network, SparseData, activated, forward, native_rows
from ._solvers import Solver
from ._warnings import warn


def fit_stochastic(
    estimator: Any, network: Network, solver: Solver, x: Any, t: HostArray, weight: HostArray | None, *, one_epoch: bool
) -> None:
    """Train the network, and keep the estimator's public record of it: losses, scores, epochs.

    Args:
        estimator: where parameters are read and the record is kept.
        network: its weights are trained.
        solver: its learning rates.
        x: (n, features), dense or CSR.
        t: the targets as the loss takes them.
        weight: (n,) or None.
        one_epoch: whether to stop after one epoch, as `partial_fit` does.
    """
    rows, validation = np.arange(x.shape[0]), None
    if estimator.early_stopping:
        binary = isinstance(network.loss, SigmoidCrossEntropy) and t.shape[1] == 1
        rows, held_out = train_test_split(
            rows,
            random_state=estimator._random_state,
            test_size=estimator.validation_fraction,
            stratify=t.astype(bool) if binary else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        validation = Validation(network, x[held_out], t[held_out], None if weight is None else weight[held_out])

    batches = Batches(estimator, network, solver, network.data(x, t), rows, weight)
    try:
        estimator.n_iter_ = 0
        for _ in range(estimator.max_iter):
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # reported once, at the end
                estimator.loss_ = batches.epoch()
            estimator.n_iter_ += 1
            estimator.t_ += len(rows)
            estimator.loss_curve_.append(estimator.loss_)
            if estimator.verbose:
                print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
            _count_no_improvement(estimator, network, validation)
            solver.epoch_ends(estimator.t_)
            if estimator._no_improvement_count > estimator.n_iter_no_change:
                if solver.stops(_no_improvement(estimator), bool(estimator.verbose)):
                    break
                estimator._no_improvement_count = 0
            if one_epoch:
                break
            if estimator.n_iter_ == estimator.max_iter:
                warn(
                    f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
                    "hasn't converged yet.",
                    ConvergenceWarning,
                )
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
    if validation is not None:
        network.load(estimator._best())


def _no_improvement(estimator: Any) -> str:
    what = "Validation score" if estimator.early_stopping else "Training loss"
    return (
        f"{what} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change:d} consecutive epochs."
    )


def _count_no_improvement(estimator: Any, network: Network, validation: "Validation | None") -> None:
    """Count the epochs in succession that brought less than `tol`; keep the best score or loss so far."""
    if validation is not None:
        score, loss = validation.score(estimator)
        estimator.validation_scores_.append(score)
        estimator.validation_loss_curve_.append(loss)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        worse = score < estimator.best_validation_score_ + estimator.tol
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            estimator._keep_best(network.copies())
    else:
        worse = estimator.loss_ > estimator.best_loss_ - estimator.tol
        estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)
    estimator._no_improvement_count = estimator._no_improvement_count + 1 if worse else 0


class Validation:
    """The held-out rows, and the score and the loss on them."""

    def __init__(self, network: Network, x: Any, t: HostArray, weight: HostArray | None) -> None:
        ops, dtype = network.ops, network.model.dtype
        self.network, self.t, self.weight = network, t, weight
        self.x = native_rows(ops, x, dtype)
        self.loss = network.loss.bound(ops, dtype)
        self.targets = ops.to_device(network.loss.check_targets("y", t, network.model.output_shape, dtype))
        self.share: dict[str, Array] = {}
        if weight is not None:
            if not weight.sum():
                raise ZeroDivisionError("Weights sum to zero, can't be normalized")
            self.share["weight"] = ops.to_device((weight * (len(weight) / weight.sum())).astype(dtype))

    def score(self, estimator: Any) -> tuple[float, float]:
        """Return the accuracy for classes (of whole rows of labels), else R2, and the mean loss without the penalty.

        The score is NaN where predictions are not finite.
        """
        from sklearn.metrics import r2_score

        network, t = self.network, self.t
        ops = network.ops
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scores = forward(ops, network.weights, estimator.activation, "identity", network.model.dtype, self.x)
            y = ops.to_host(activated(ops, estimator.out_activation_, scores))
            loss = float(self.loss(scores, self.targets, **self.share)) * network.share
        if isinstance(network.loss, SoftmaxCrossEntropy):
            return float(np.average(y.argmax(axis=1) == t, weights=self.weight)), loss
        if isinstance(network.loss, SigmoidCrossEntropy):
            return float(np.average(((y > 0.5) == t).all(axis=1), weights=self.weight)), loss
        return float(r2_score(t, y, sample_weight=self.weight)) if np.isfinite(y).all() else float("nan"), loss


class Batches:
    """The training rows, batch by batch."""

    def __init__(
        self,
        estimator: Any,
        network: Network,
        solver: Solver,
        data: "DeviceData | SparseData",
        rows: HostArray,
        weight: HostArray | None,
    ) -> None:
        self.estimator, self.network, self.solver, self.weight = estimator, network, solver, weight
        self.rows, n = rows, len(rows)
        size = min(200, n) if estimator.batch_size == "auto" else estimator.batch_size
        if size > n:
            warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
        self.starts = np.arange(0, n, min(size, n))
        self.sizes = np.diff(self.starts, append=n)
        self.step = TrainingStep(network.plan, data)
        self.on_host_index = network.ops.on_host or data.gathers_on_host
        self.seed = int(estimator._random_state.randint(2**31)) if network.plan.random else 0

    @roomy
    def epoch(self) -> float:
        """Update once on each batch; return the mean loss over the rows, each batch's taken before its update."""
        network, dtype = self.network, self.network.model.dtype
        ops = network.ops
        if self.estimator.shuffle:
            order = np.arange(len(self.rows))
            self.estimator._random_state.shuffle(order)
            self.rows = self.rows[order]
        totals, weights = self.sizes, list[Array | None]([None] * len(self.sizes))
        if self.weight is not None:
            weight = self.weight[self.rows]
            totals = np.add.reduceat(weight, self.starts)
            if not totals.all():
                raise ZeroDivisionError("Weights sum to zero, can't be normalized")
            # Operations divide by the number of rows, scikit-learn by the sum of the weights.
            weight = ops.to_device((weight * np.repeat(self.sizes / totals, self.sizes)).astype(dtype))
            weights = [weight[i : i + n] for i, n in zip(self.starts, self.sizes, strict=True)]
        keys = [network.plan.keys(self.seed, self.solver.t + i) for i in range(len(self.sizes))]
        hypers = self.solver.hypers(self.estimator.alpha / totals).astype(dtype)
        index = self.rows if self.on_host_index else ops.to_device(self.rows)
        losses = [
            self.step(n, (index[start : start + n],), *rest)
            for start, n, *rest in zip(self.starts.tolist(), self.sizes.tolist(), hypers, keys, weights, strict=True)
        ]
        values = np.array(losses, np.float64) if ops.on_host else ops.to_host(ops.xp.stack(losses)).astype(np.float64)
        return float(values @ self.sizes / len(self.rows))
