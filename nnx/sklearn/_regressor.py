"""The regressor."""

from typing import Any, ClassVar

from sklearn.neural_network import MLPRegressor as ScikitLearns
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions

from ..ops import HostArray
from ._base import BaseMLP, check_rows


class MLPRegressor(BaseMLP, ScikitLearns):
    """`sklearn.neural_network.MLPRegressor` on nnx: the same parameters, attributes and numbers.

    `loss` is scikit-learn's; the other parameters below are added to scikit-learn's and change nothing by default.

    Args:
        loss: "squared_error", half the mean of squares, or "poisson", half the deviance of counts y of at least 0,
            whose expectation is the exponential of the network's output.
        backend: see `MLPClassifier`.
        dtype: see `MLPClassifier`.
        dropout: see `MLPClassifier`.
        batch_norm: see `MLPClassifier`.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(hidden_layer_sizes=(20,), solver="lbfgs", max_iter=1000, random_state=0)
    >>> round(model.fit(X, y / 100).score(X, y / 100), 1)
    0.6
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }
    _scikit_learns = ScikitLearns

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: Any = 10,
        max_fun: int = 15000,
        backend: Any = None,
        dtype: str | None = None,
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        self._keep(locals())

    def _validate(
        self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, reset: bool
    ) -> tuple[Any, HostArray, HostArray | None]:
        X, y, weight = check_rows(self, X, y, sample_weight, reset=reset, y_numeric=True)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        t = y.reshape(len(y), -1)
        self.n_outputs_ = t.shape[1]
        self.out_activation_ = self._derive_out_activation()
        return X, t, weight

    def _derive_out_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"
