"""The classifier."""

from typing import Any, ClassVar

import numpy as np
from sklearn.neural_network import MLPClassifier as ScikitLearns
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import type_of_target, unique_labels

from ..errors import InputError
from ..ops import HostArray
from ._base import BaseMLP, check_rows


class MLPClassifier(BaseMLP, ScikitLearns):
    """`sklearn.neural_network.MLPClassifier` on nnx: the same parameters, attributes and numbers.

    For two classes or more, and for labels of which any number may hold (y: (n_samples, n_labels) of 0 and 1). The
    parameters below are added to scikit-learn's; by default they change nothing.

    Args:
        backend: a name such as "numba" or "cupy", or an instance. None: what `NNX_BACKEND` or `nnx.set_backend` say.
        dtype: "float32" computes in it whatever the rows' dtype, twice as fast as float64. None: the rows' dtype, as in
            scikit-learn (or what `NNX_SCRIPT_DTYPE` says).
        dropout: in [0, 1), the probability with which an activation of a hidden layer is set to 0 in training, the
            others being multiplied by 1 / (1 - dropout); not with solver="lbfgs".
        batch_norm: whether every hidden layer is normalised before its activation; `batch_norms_` holds its arrays.
        class_weight: None, a dict {class: weight} or "balanced", n_samples / (n_classes * count), as in scikit-learn's
            other classifiers; they multiply `sample_weight`.

    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> MLPClassifier((50,), random_state=0).fit(X, y).score(X, y)
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [StrOptions({"balanced"}), dict, list, None],
    }
    _scikit_learns = ScikitLearns
    loss = "log_loss"

    def __init__(
        self,
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
        class_weight: Any = None,
    ) -> None:
        self._keep(locals())

    def _validate(
        self, X: Any, y: Any, sample_weight: Any, *, incremental: bool, reset: bool
    ) -> tuple[Any, HostArray, HostArray | None]:
        X, y, weight = check_rows(self, X, y, sample_weight, reset=reset, y_numeric=False)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            self._check_classes(unique_labels(y))
        if self.class_weight == "balanced" and incremental:
            raise ValueError(
                "class_weight 'balanced' needs all rows, which partial_fit does not see; pass a dict of weights, as "
                "from sklearn.utils.class_weight.compute_class_weight."
            )
        if self.class_weight is not None:
            of_class = compute_sample_weight(self.class_weight, y)
            weight = of_class if weight is None else weight * of_class
        kind = self._label_binarizer.y_type_
        if kind == "multiclass" and not _is_multilabel(y):
            # Labels as numbers: scikit-learn's own rows of 0 and 1 would hold n_classes times as much.
            self.n_outputs_, self.out_activation_ = len(self.classes_), "softmax"
            return X, np.searchsorted(self.classes_, y), weight
        t = self._label_binarizer.transform(y).astype(X.dtype)
        self.n_outputs_, self.out_activation_ = t.shape[1], "logistic"
        return X, t, weight

    def _check_classes(self, classes: HostArray) -> None:
        if self.warm_start:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                    f"Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
            )

    def _derive_out_activation(self) -> str:
        if self.n_outputs_ == 1:
            return "logistic"
        if len(getattr(self, "classes_", ())) == self.n_outputs_:
            return "softmax"
        raise AttributeError(
            f"out_activation_ is not set, and weights with {self.n_outputs_} outputs do not tell it: set classes_ to "
            "the names of as many classes, or out_activation_ to 'logistic' for labels of which any may hold."
        )

    def _derive_label_binarizer(self) -> LabelBinarizer:
        n = self.n_outputs_
        if n > 1 and self.out_activation_ == "logistic":
            return LabelBinarizer().fit(np.eye(n, dtype=int))
        classes = self.__dict__.get("classes_")
        if classes is None:
            raise AttributeError("classes_ is not set, though weights are: set it to the names of the classes.")
        expected = max(n, 2)
        if list(classes) != sorted(set(classes)) or len(classes) != expected:
            raise InputError(
                f"classes_: got {list(classes)}, expected {expected} different names in ascending order, one for each "
                "column of coefs_[-1]."
            )
        return LabelBinarizer().fit(classes)


def _is_multilabel(y: Any) -> bool:
    return bool(type_of_target(y).startswith("multilabel"))
