"""What both estimators share: parameters, fitting, the forward pass, pickling."""

from functools import lru_cache
from itertools import pairwise
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, _fit_context

# Private, but what scikit-learn's own estimators check their parameters by: the same checks in the same words.
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, check_random_state, validate_data

from ..backend import get_backend, script_dtype
from ..losses import Loss, MeanSquaredError, PoissonDeviance, SigmoidCrossEntropy, SoftmaxCrossEntropy
from ..ops import HostArray, Ops
from ..optimizers import SGD
from ._fit import fit_stochastic
from ._lbfgs import fit_lbfgs
from ._network import Network, Weights, predict
from ._solvers import AdamSolver, SGDSolver, Solver

fitting = _fit_context(prefer_skip_nested_validation=True)
"""Decorator of `fit` and `partial_fit`: checks the parameters first, as in scikit-learn."""

_LOSSES: dict[str, type[Loss]] = {
    "softmax": SoftmaxCrossEntropy,
    "logistic": SigmoidCrossEntropy,
    "identity": MeanSquaredError,
    "exp": PoissonDeviance,
}
"""By the activation of the output, whose derivative it cancels."""


@lru_cache(maxsize=8)
def _bind(backend: Any) -> Ops:
    return Ops(backend)


class BaseMLP(BaseEstimator):
    """A multilayer perceptron with scikit-learn's parameters and attributes, trained by nnx."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMultilayerPerceptron._parameter_constraints,
        "backend": [str, HasMethods(["to_device", "to_host", "matmul"]), None],
        "dtype": [StrOptions({"float32", "float64"}), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
    }

    def _keep(self, settings: dict[str, Any]) -> None:
        """Take over the arguments of the constructor."""
        self.__dict__.update((name, value) for name, value in settings.items() if name != "self")

    def _validate(
        self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, reset: bool
    ) -> tuple[Any, HostArray, HostArray | None]:
        """Check the arguments of `fit`; set `n_outputs_` and `out_activation_`.

        Returns:
            The rows (n, features), the targets as the loss takes them, and the rows' weights or None.
        """
        raise NotImplementedError

    @fitting
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "BaseMLP":
        """Fit to rows and targets.

        Args:
            X: (n_samples, n_features), an array or a sparse matrix.
            y: (n_samples,) or (n_samples, n_outputs).
            sample_weight: (n_samples,); None: all 1.

        Returns:
            self.

        Raises:
            ValueError: an argument is refused by scikit-learn's checks, or the parameters became infinite or NaN.
        """
        return self._fit(X, y, sample_weight, incremental=False)

    def _check_solver(self) -> bool:
        if self.solver == "lbfgs":
            raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
        return True

    def _fit(self, X: Any, y: Any, sample_weight: Any, *, incremental: bool) -> "BaseMLP":
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        stochastic = self.solver != "lbfgs"
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.dropout > 0 and not stochastic:
            raise ValueError(
                f"dropout: got {self.dropout} with solver='lbfgs', which needs a loss that does not change at random; "
                "use solver='adam' or 'sgd'."
            )
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, t, weight = self._validate(X, y, sample_weight, incremental=incremental, reset=first)
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize([X.shape[1], *sizes, self.n_outputs_], X.dtype)
        if stochastic and not (incremental and hasattr(self, "_optimizer")):
            self._optimizer = self._solver()
        network = self._train_on(incremental, sparse=issparse(X))
        if stochastic:
            fit_stochastic(self, network, self._optimizer, X, t, weight, one_epoch=incremental)
            self._network = network
        else:
            fit_lbfgs(self, network, X, t, weight)
        weights = network.host()
        self.coefs_, self.intercepts_, self.batch_norms_ = weights.coefs, weights.intercepts, weights.norms
        if not all(np.isfinite(array).all() for array in weights):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )
        return self

    def _initialize(self, units: list[int], dtype: Any) -> None:
        """Draw weights and biases uniformly (Glorot & Bengio 2010), in scikit-learn's order; begin an empty record."""
        self.n_iter_, self.t_, self.n_layers_ = 0, 0, len(units)
        self.coefs_, self.intercepts_ = [], []
        for i, o in pairwise(units):
            bound = np.sqrt((2.0 if self.activation == "logistic" else 6.0) / (i + o))
            self.coefs_.append(self._random_state.uniform(-bound, bound, (i, o)).astype(dtype, copy=False))
            self.intercepts_.append(self._random_state.uniform(-bound, bound, o).astype(dtype, copy=False))
        self.batch_norms_ = None
        if self.batch_norm:
            starts = {"gamma": 1.0, "beta": 0.0, "running_mean": 0.0, "running_var": 1.0}
            self.batch_norms_ = [
                {name: np.full(size, value, dtype) for name, value in starts.items()} for size in units[1:-1]
            ]
        if self.solver == "lbfgs":
            return
        self._best = self._weights().map(np.copy)
        self.loss_curve_: list[float] = []
        self._no_improvement_count = 0
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.best_validation_score_ = -np.inf if self.early_stopping else None

    def _solver(self) -> Solver:
        if self.solver == "adam":
            return AdamSolver(self.learning_rate_init, self.beta_1, self.beta_2, self.epsilon)
        return SGDSolver(
            self.learning_rate_init, self.learning_rate, self.momentum, self.nesterovs_momentum, self.power_t
        )

    def _dtype(self) -> str | None:
        """Return what to compute in, if not in the rows' own dtype."""
        return self.dtype or script_dtype()

    def _weights(self) -> Weights:
        return Weights(self.coefs_, self.intercepts_, self.batch_norms_)

    def _train_on(self, incremental: bool, *, sparse: bool) -> Network:
        """Make a network with the present weights.

        For `partial_fit` it has the optimizer's state; it is the last network where that can be used again.
        """
        backend: Any = get_backend(self.backend)
        sparse = sparse and _bind(backend).on_host  # a device gets dense batches
        settings = {"activation": self.activation, "dropout": self.dropout, "sparse": sparse}
        last: Network | None = self.__dict__.pop("_network", None)
        slots = self.__dict__.pop("_slots", {})
        loss = _LOSSES[self.out_activation_]()
        if incremental and last is not None:
            if last.settings == settings and last.model.backend is backend and type(last.loss) is type(loss):
                last.load(self._weights())
                return last
            slots = last.slots()
        optimizer = SGD() if self.solver == "lbfgs" else self._optimizer.optimizer
        network = Network(self._weights(), loss=loss, optimizer=optimizer, backend=backend, **settings)
        if incremental:
            network.load_slots(slots)
        return network

    def _forward(self, X: Any) -> HostArray:
        """Compute the activated outputs (n_samples, n_outputs_), always from the present `coefs_` and `intercepts_`."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        X = X.tocsr() if issparse(X) else X
        dtype = self._dtype() or str(np.result_type(X.dtype, self.coefs_[0].dtype))
        backend: Any = get_backend(self.backend)
        ops = _bind(backend)
        weights = self._weights().map(lambda array: ops.to_device(np.ascontiguousarray(array, dtype)))
        return predict(ops, weights, self.activation, self.out_activation_, dtype, X)

    def __getstate__(self) -> dict[str, Any]:
        """Keep the optimizer's state as NumPy arrays, and nothing of the backend, for pickle and copies."""
        state: dict[str, Any] = dict(super().__getstate__())
        network: Network | None = state.pop("_network", None)
        if network is not None:
            state["_slots"] = network.slots()
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def check_rows(
    estimator: BaseMLP, X: Any, y: Any, sample_weight: Any, *, reset: bool, y_numeric: bool
) -> tuple[Any, HostArray, HostArray | None]:
    """Apply scikit-learn's checks to rows, targets and weights; sparse rows come out as CSR."""
    X, y = validate_data(
        estimator,
        X,
        y,
        accept_sparse=["csr", "csc"],
        multi_output=True,
        y_numeric=y_numeric,
        dtype=(np.float64, np.float32),
        reset=reset,
    )
    weight = None if sample_weight is None else _check_sample_weight(sample_weight, X)
    X = X.astype(estimator._dtype() or X.dtype, copy=False)
    return X.tocsr() if issparse(X) else X, y, weight
