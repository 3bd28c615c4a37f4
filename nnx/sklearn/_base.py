"""What both estimators share: scikit-learn's own classes with the training and the forward pass of nnx."""

import copy
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import issparse

# Private, but the class of which scikit-learn's estimators are: its checks, messages and private members are theirs.
from sklearn.neural_network._multilayer_perceptron import BaseMultilayerPerceptron
from sklearn.neural_network._stochastic_optimizers import BaseOptimizer
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, check_random_state, validate_data

from ..backend import get_backend, script_dtype
from ..errors import InputError
from ..losses import Loss, MeanSquaredError, PoissonDeviance, SigmoidCrossEntropy, SoftmaxCrossEntropy
from ..ops import FLOATS, HostArray, Ops
from ..optimizers import SGD
from ._convert import adopt, from_sklearn, taken_over, to_sklearn
from ._fit import fit_stochastic
from ._lbfgs import fit_lbfgs
from ._network import Network, Weights, predict
from ._onnx import to_onnx
from ._solvers import solver_of
from ._warnings import warn

_LOSSES: dict[str, type[Loss]] = {
    "softmax": SoftmaxCrossEntropy,
    "logistic": SigmoidCrossEntropy,
    "identity": MeanSquaredError,
    "exp": PoissonDeviance,
}
"""By the activation of the output, whose derivative it cancels."""

_TRAINING = {
    "_backprop", "_compute_loss_grad", "_fit_lbfgs", "_fit_stochastic", "_forward_pass", "_forward_pass_fast",
    "_loss_grad_lbfgs", "_predict", "_score", "_score_with_function", "_unpack", "_update_no_improvement_count",
    "_validate_input",
}  # fmt: skip
"""What scikit-learn's training calls and nnx's does not: where a subclass overrides one, scikit-learn trains."""


@lru_cache(maxsize=8)
def _bind(backend: Any) -> Ops:
    return Ops(backend)


class BaseMLP(BaseMultilayerPerceptron):
    """A multilayer perceptron with scikit-learn's parameters and attributes, trained by nnx."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMultilayerPerceptron._parameter_constraints,
        "backend": [str, HasMethods(["to_device", "to_host", "matmul"]), None],
        "dtype": [StrOptions({"float32", "float64"}), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
    }
    _scikit_learns: ClassVar[type]
    """The estimator of scikit-learn that a class stands for."""

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

    # Training ---------------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any = None, incremental: bool = False) -> Self:
        if overridden := self._overridden():
            return self._fit_by_scikit_learn(overridden, X, y, sample_weight, incremental)
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
        reset = first or not hasattr(self, "n_features_in_")
        X, t, weight = self._validate(X, y, sample_weight, incremental=incremental, reset=reset)
        self._random_state = check_random_state(self.random_state)
        if first:
            self._initialize(np.empty((1, self.n_outputs_)), [X.shape[1], *sizes, self.n_outputs_], X.dtype)
        self._complete_record()
        if stochastic:
            self._continue_solver(incremental)
        network = self._train_on(incremental, X)
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

    def _continue_solver(self, incremental: bool) -> None:
        """Go on with the last solver in `partial_fit`, be it scikit-learn's own optimizer; else begin a new one."""
        last = getattr(self, "_optimizer", None) if incremental else None
        if isinstance(last, BaseOptimizer):
            last, self._slots = taken_over(last)
        self._optimizer = last or solver_of(self)

    def _overridden(self) -> list[str]:
        """Return which parts of scikit-learn's training a subclass, or this object, has of its own."""
        names: set[str] = set(vars(self))
        for cls in type(self).__mro__:
            if cls.__module__.startswith(f"{__package__}."):
                break
            names |= vars(cls).keys()
        return sorted(names & _TRAINING)

    def _fit_by_scikit_learn(
        self, overridden: list[str], X: Any, y: Any, sample_weight: Any, incremental: bool
    ) -> Self:
        what = f"{type(self).__name__} overrides {', '.join(overridden)}"
        if beyond := [*self._beyond_scikit_learn(), *(["dtype"] if self.dtype else [])]:
            raise InputError(
                f"{what}, of scikit-learn's training, which knows no {', '.join(beyond)}; leave either at its default."
            )
        warn(f"{what}, which nnx's training does not call: scikit-learn's own trains it, at its own speed.")
        self.__dict__.pop("_network", None)
        super()._fit(X, y, sample_weight=sample_weight, incremental=incremental)
        return self

    def _beyond_scikit_learn(self) -> list[str]:
        """Return the parameters in use that change what is learned and that scikit-learn does not have."""
        neutral = {"dropout": 0.0, "batch_norm": False, "class_weight": None}
        return [name for name, value in neutral.items() if getattr(self, name, value) != value]

    def _initialize(self, y: HostArray, layer_units: list[int], dtype: Any) -> None:
        super()._initialize(y, layer_units, dtype)
        self.__dict__.pop("validation_loss_curve_", None)
        self.batch_norms_ = self._best_batch_norms = None
        if self.batch_norm:
            starts = {"gamma": 1.0, "beta": 0.0, "running_mean": 0.0, "running_var": 1.0}
            self.batch_norms_ = [
                {name: np.full(size, value, dtype) for name, value in starts.items()} for size in layer_units[1:-1]
            ]
            self._best_batch_norms = copy.deepcopy(self.batch_norms_)

    def _complete_record(self) -> None:
        """Begin what a training records where there is none, as where the weights were set by hand."""
        self.n_layers_ = len(self.coefs_) + 1
        self.__dict__.setdefault("t_", 0)
        if self.solver == "lbfgs":
            return
        scores = {"validation_scores_": [], "validation_loss_curve_": [], "best_validation_score_": -np.inf}
        losses = {"best_loss_": np.inf}
        used, unused = (scores, losses) if self.early_stopping else (losses, scores)
        for name, start in {"loss_curve_": [], "_no_improvement_count": 0, **used}.items():
            if self.__dict__.get(name) is None:
                setattr(self, name, start)
        for name in unused:
            self.__dict__.setdefault(name, None)
        if self.early_stopping and any(self.__dict__.get(name) is None for name in ("_best_coefs", "_best_intercepts")):
            self._keep_best(self._weights().map(np.copy))

    def _keep_best(self, weights: Weights) -> None:
        self._best_coefs, self._best_intercepts = weights.coefs, weights.intercepts
        self._best_batch_norms = weights.norms

    def _best(self) -> Weights:
        return Weights(self._best_coefs, self._best_intercepts, self._best_batch_norms)

    def _dtype(self) -> str | None:
        """Return what to compute in, if not in the rows' own dtype."""
        return self.dtype or script_dtype()

    def _weights(self, inputs: int | None = None, outputs: int | None = None) -> Weights:
        """Return the present weights, which may have been set by hand; see `Weights.of`."""
        return Weights.of(self.coefs_, self.intercepts_, self.batch_norms_, inputs, outputs)

    def _train_on(self, incremental: bool, X: Any) -> Network:
        """Make a network with the present weights.

        For `partial_fit` it has the optimizer's state; it is the last network where that can be used again.
        """
        backend: Any = get_backend(self.backend)
        sparse = issparse(X) and _bind(backend).on_host  # a device gets dense batches
        settings = {"activation": self.activation, "dropout": self.dropout, "sparse": sparse}
        weights = self._weights(X.shape[1], self.n_outputs_)
        last: Network | None = self.__dict__.pop("_network", None)
        slots = self.__dict__.pop("_slots", {})
        loss = _LOSSES[self.out_activation_]()
        if incremental and last is not None and not slots:
            if last.settings == settings and last.model.backend is backend and type(last.loss) is type(loss):
                last.load(weights)
                return last
            slots = last.slots()
        optimizer = SGD() if self.solver == "lbfgs" else self._optimizer.optimizer
        dtype = weights.dtype if weights.dtype in FLOATS else str(X.dtype)
        network = Network(weights, dtype=dtype, loss=loss, optimizer=optimizer, backend=backend, **settings)
        if incremental:
            network.load_slots(slots)
        return network

    # Predictions ------------------------------------------------------------------------------------------------------

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> HostArray:
        """Compute the activated outputs (n_samples, n_outputs_), always from the present `coefs_` and `intercepts_`."""
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        X = X.tocsr() if issparse(X) else np.asarray(X)
        weights = self._weights()
        if X.ndim != 2 or X.shape[1] != len(weights.coefs[0]):
            raise InputError(
                f"X: got an array of shape {X.shape}, expected (n, {len(weights.coefs[0])}) as coefs_[0] has inputs."
            )
        dtype = self._dtype() or str(np.result_type(X.dtype, weights.dtype, np.float32))
        backend: Any = get_backend(self.backend)
        ops = _bind(backend)
        native = weights.map(lambda array: ops.to_device(np.ascontiguousarray(array, dtype)))
        return predict(ops, native, self.activation, self.out_activation_, dtype, X)

    def _forward_pass(self, activations: list[Any]) -> list[Any]:
        if self.batch_norms_ is not None:
            raise InputError(
                "_forward_pass: scikit-learn's knows no batch normalization, which this estimator has; use predict, or "
                "train with batch_norm=False."
            )
        layers: list[Any] = super()._forward_pass(activations)
        return layers

    def __getattr__(self, name: str) -> Any:
        """Derive from weights that were set by hand what `fit` would have set; other names are missing."""
        if name in _DERIVED and "coefs_" in self.__dict__:
            return _DERIVED[name](self)
        return super().__getattribute__(name)

    # Copies -----------------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Keep the optimizer's state as NumPy arrays, and nothing of the backend, for pickle and copies."""
        state: dict[str, Any] = dict(super().__getstate__())
        network: Network | None = state.pop("_network", None)
        if network is not None and self._optimizer is not None:
            state["_slots"] = network.slots()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a state of this class, or of scikit-learn's, whose pickles become this class under `nnx run`."""
        super().__setstate__(state)
        if "backend" not in state:
            adopt(self)

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Self:
        """Convert scikit-learn's estimator, fitted or not: parameters, weights, record and optimizer's state.

        Training goes on where it was, with `partial_fit` or `warm_start`. The arrays are copies.

        Args:
            estimator: scikit-learn's estimator of the same name.

        Raises:
            InputTypeError: it is something else, or of a subclass, which may do something else.
        """
        own: Self = from_sklearn(cls, estimator)
        return own

    def to_sklearn(self) -> Any:
        """Convert to scikit-learn's estimator of the same name, fitted or not, which needs no nnx, nor do its pickles.

        Parameters, weights, record and optimizer's state are copied; `backend` and `dtype`, which say where and how nnx
        computes, stay behind.

        Raises:
            InputError: dropout, batch_norm or class_weight is in use, which scikit-learn's does not have.
            InputTypeError: this estimator is of a subclass, whose additions would be lost.
        """
        return to_sklearn(self)

    def to_onnx(self, path: "str | os.PathLike[str]", metadata: Mapping[str, str] | None = None) -> None:
        """Write an ONNX file that predicts for any number of rows "X": (n, n_features), in the weights' dtype.

        A classifier has two outputs: "label", (n,), the classes' names as text or int64 (several labels: (n, n_labels)
        of 0 and 1), and "probabilities", as of `predict_proba`. A regressor has "variable", (n, n_outputs_). Needs the
        package onnx: pip install 'nnx-array[onnx]'. In a pipeline: `register_skl2onnx`.

        Args:
            path: the file.
            metadata: strings by name, kept in the file beside "nnx", its version, "classes" and "features", JSON lists
                of `classes_` and of `feature_names_in_`.

        Raises:
            CheckpointError: the file cannot be written.
            InputError: onnx is missing, or the parameters take more than 2 GiB.
            NotFittedError: there are no weights.
        """
        check_is_fitted(self, "coefs_")
        to_onnx(self, path, metadata)


def _n_outputs(estimator: BaseMLP) -> int:
    return int(np.shape(estimator.coefs_[-1])[-1])


_DERIVED: dict[str, Callable[[Any], Any]] = {
    "batch_norms_": lambda estimator: None,
    "n_layers_": lambda estimator: len(estimator.coefs_) + 1,
    "n_outputs_": _n_outputs,
    "out_activation_": lambda estimator: estimator._derive_out_activation(),
    "_label_binarizer": lambda estimator: estimator._derive_label_binarizer(),
}
"""What follows from weights, where nothing was set: by attribute."""


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
