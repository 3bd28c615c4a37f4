"""scikit-learn's stochastic solvers: how the learning rate changes, and the numbers of nnx's fused updates.

Their attributes have the names of those of scikit-learn's optimizers.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..ops import HostArray
from ..optimizers import SGD, Adam, Momentum, Nesterov, Optimizer


class Solver:
    """Base of the solvers, with a constant learning rate.

    `fit` makes a new one, `partial_fit` continues with the last one.
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate_init = learning_rate
        self.learning_rate = float(learning_rate)
        self.t = 0
        """Updates so far."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer whose operation does the update, and whose state it has."""
        raise NotImplementedError

    def coefficients(self, steps: HostArray) -> Iterable["HostArray | float"]:
        """Return the leading entries of `hyper`, for updates counted from 1."""
        raise NotImplementedError

    def hypers(self, decays: HostArray) -> HostArray:
        """Return the `hyper` of each of the next updates, in float64; decays: their weight decay, (steps,)."""
        steps = np.arange(self.t + 1, self.t + 1 + len(decays))
        self.t += len(decays)
        columns = (*self.coefficients(steps), decays, 1.0)
        hypers = np.empty((len(steps), len(columns)))
        for i, column in enumerate(columns):
            hypers[:, i] = column
        return hypers

    def epoch_ends(self, samples: int) -> None:
        """Note that an epoch has ended, after `samples` rows in all; the learning rate may change."""

    def __getattr__(self, name: str) -> Any:
        if name in ("ms", "vs", "velocities"):
            raise AttributeError(
                f"nnx keeps the optimizer's {name} in a buffer of its training step; the estimator's "
                "to_sklearn()._optimizer has them as in scikit-learn."
            )
        return super().__getattribute__(name)

    def stops(self, reason: str, verbose: bool) -> bool:
        """Return whether training ends, now that it improves no more; a solver may reduce the learning rate instead."""
        if verbose:
            print(f"{reason} Stopping.")
        return True


class SGDSolver(Solver):
    """Gradient descent with momentum. lr_schedule: "constant", "invscaling" or "adaptive"."""

    def __init__(self, learning_rate: float, lr_schedule: str, momentum: float, nesterov: bool, power_t: float) -> None:
        super().__init__(learning_rate)
        self.lr_schedule, self.momentum, self.nesterov, self.power_t = lr_schedule, momentum, nesterov, power_t

    @property
    def optimizer(self) -> Optimizer:
        if self.momentum == 0:
            return SGD()
        return Nesterov() if self.nesterov else Momentum()

    def coefficients(self, steps: HostArray) -> Iterable["HostArray | float"]:
        return (self.learning_rate,) if self.momentum == 0 else (self.learning_rate, self.momentum)

    def epoch_ends(self, samples: int) -> None:
        if self.lr_schedule == "invscaling":
            self.learning_rate = self.learning_rate_init / (samples + 1) ** self.power_t

    def stops(self, reason: str, verbose: bool) -> bool:
        if self.lr_schedule != "adaptive":
            return super().stops(reason, verbose)
        if self.learning_rate <= 1e-6:
            return super().stops(f"{reason} Learning rate too small.", verbose)
        self.learning_rate /= 5
        if verbose:
            print(f"{reason} Setting learning rate to {self.learning_rate:f}")
        return False


class AdamSolver(Solver):
    """Adam with the bias correction in the learning rate, a = lr * sqrt(c2) / c1 and b = 1, not in epsilon."""

    def __init__(self, learning_rate: float, beta_1: float, beta_2: float, epsilon: float) -> None:
        super().__init__(learning_rate)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    @property
    def optimizer(self) -> Optimizer:
        return Adam()

    def coefficients(self, steps: HostArray) -> Iterable["HostArray | float"]:
        rates = self.learning_rate_init * np.sqrt(1 - self.beta_2**steps) / (1 - self.beta_1**steps)
        self.learning_rate = float(rates[-1])
        return rates, 1.0, self.epsilon, 1 - self.beta_1, 1 - self.beta_2


def solver_of(estimator: Any) -> Solver:
    """Make the solver that the parameters of an estimator ask for."""
    e = estimator
    if e.solver == "adam":
        return AdamSolver(e.learning_rate_init, e.beta_1, e.beta_2, e.epsilon)
    return SGDSolver(e.learning_rate_init, e.learning_rate, e.momentum, e.nesterovs_momentum, e.power_t)
