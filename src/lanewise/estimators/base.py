"""What the estimators share: fit, partial_fit and predict around a Trainer; labels and targets.

N samples of F features; O outputs: classes, or columns of a regression's targets."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets, unique_labels
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from .. import nn, ops
from ..data import Dataset
from ..errors import LabelError
from ..rng import drawing_from
from ..train import CHUNK, Trainer

if TYPE_CHECKING:
    from typing import Any
    from typing_extensions import Self

    from numpy.typing import ArrayLike

    from .._types import Array
    from ..graph import Value
    from ..loss import Loss


class NetworkEstimator(BaseEstimator):
    """The base: a subclass builds `model_` and the optimizer, and says what an epoch's end does to the rate.

    Fitted: `model_` (the network, in evaluation mode), `n_iter_` (epochs done), `loss_` and `loss_curve_` (mean training loss
    of an epoch), `n_features_in_`; with early stopping `validation_scores_` and `best_validation_score_`."""

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train on X (N, F) and y; returns self. A sample of weight w counts as w samples in its batch's mean, one of weight 0
        as if it were not there. ValueError, in scikit-learn's words, for NaN, infinity or shapes that do not fit."""
        self._validate_params()
        first = not (self.warm_start and hasattr(self, "model_"))
        X, y, weight = self._training_data(X, y, sample_weight, first)
        targets = self._targets(y, first)
        self._rng = np.random.default_rng(check_random_state(self.random_state).randint((1 << 31) - 1))
        with drawing_from(self._rng):
            if first:
                self._start()
            held_out = None
            if self._holds_out():
                X, targets, weight, held_out = self._split(X, targets, weight)
            self._optimizer = self._make_optimizer(self._batch_weight(X, weight))
            try:
                self._train(X, targets, weight, held_out)
            finally:
                self._optimizer = None                  # of this fit alone; what goes on is partial_fit's
                self.model_.eval()
        return self

    def _partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, learn_classes: bool) -> Self:
        self._validate_params()
        if self.early_stopping:
            raise ValueError(f"{type(self).__name__}.partial_fit: expected early_stopping=False, got True")
        first = not hasattr(self, "model_")
        X, y, weight = self._training_data(X, y, sample_weight, first)
        targets = self._targets(y, first and learn_classes)
        if first:
            self._rng = np.random.default_rng(check_random_state(self.random_state).randint((1 << 31) - 1))
        with drawing_from(self._rng):
            if first:
                self._start()
            if getattr(self, "_optimizer", None) is None:
                self._optimizer = self._make_optimizer(self._batch_weight(X, weight))
            try:
                self._epoch(self._trainer(targets, weight), X, self._batch_size(len(X)))
                self._epoch_ends(len(X))
            finally:
                self.model_.eval()
        return self

    # -- what comes in ------------------------------------------------------------------------------------------------

    def _training_data(self, X: Any, y: Any, sample_weight: Any, first: Any) -> Any:
        self._check_array(X)
        if y is None:
            raise ValueError(f"This {type(self).__name__} requires y to be passed, but the target y is None")
        X, y = validate_data(self, self._flat(X, first), y, reset=first, dtype=self._dtype(X, True), order="C",
                             **self._y_checks)
        if sample_weight is None:
            return X, y, None
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if (weight < 0).any():
            raise ValueError(f"{type(self).__name__}: expected sample_weight of 0 or more, got {weight.min():g}")
        counts = weight > 0
        if not counts.any():
            raise ValueError(f"{type(self).__name__}: expected a sample_weight above zero, got weights that are all zero")
        return (X, y, weight) if counts.all() else (X[counts], y[counts], weight[counts])

    def _check_array(self, X: Any) -> None:
        if isinstance(X, Dataset):
            raise TypeError(f"{type(self).__name__}: expected an array as X, got a Dataset, whose arrays are dataset.images "
                            f"and dataset.labels")

    def _flat(self, X: Any, first: Any) -> Any:
        return X                                        # CNNs make rows (N, F) of images here

    def _dtype(self, X: Any, fitting: Any) -> Any:
        return np.float32

    def _input(self, X: Any) -> Any:
        return X                                        # and images of rows

    def _split(self, X: Any, targets: Any, weight: Any) -> Any:
        """(X, targets, weight of what is trained on, (X, targets, weight) of what is held out)."""
        stratify = targets if isinstance(self, ClassifierMixin) else None
        index, held = train_test_split(np.arange(len(X)), test_size=self.validation_fraction, stratify=stratify,
                                       random_state=int(self._rng.integers(1 << 31)))
        if len(held) < 2:
            raise ValueError(f"{type(self).__name__}: expected 2 samples or more to validate on, got {len(held)}: raise "
                             f"validation_fraction")
        (X, kept), (targets, kept_targets) = (X[index], X[held]), (targets[index], targets[held])
        weight, kept_weight = (None, None) if weight is None else (weight[index], weight[held])
        return X, targets, weight, (kept, kept_targets, kept_weight)

    # -- training -----------------------------------------------------------------------------------------------------

    def _holds_out(self) -> bool:
        return self.early_stopping

    def _start(self) -> None:
        self.model_ = self._build()
        self.loss_curve_: list[float] = []
        self.n_iter_ = 0

    def _batch_size(self, n: int) -> int:
        return min(self.batch_size, n)

    def _batch_weight(self, X: Any, weight: Any) -> float:
        # the sum of weights in a batch, on average
        return self._batch_size(len(X)) * (1.0 if weight is None else weight.mean())

    def _trainer(self, targets: Array, weight: Any) -> Trainer:
        # A batch's targets are its rows' numbers: the loss finds targets and weights by them.
        def loss(out: Value, rows: Array) -> Loss:
            return self._loss(out, targets[rows], None if weight is None else weight[rows])
        return Trainer(self.model_, loss, self._optimizer)

    def _epoch(self, trainer: Trainer, X: Any, batch_size: int, schedule: Any = None) -> None:
        trainer.fit((self._input(X), np.arange(len(X))), batch_size=batch_size, schedule=schedule, shuffle=self.shuffle,
                    rng=self._rng)
        self.loss_ = trainer.history["loss"][-1]
        self.loss_curve_.append(self.loss_)
        self.n_iter_ += 1
        if self.verbose:
            print(f"epoch {self.n_iter_}: loss {self.loss_:.6f}")

    def _epochs(self, X: Any, targets: Any, weight: Any, held_out: Any, epochs: int, schedule: Any = None,
                watch_loss: bool = True) -> bool:
        """Train for `epochs`, or until the score on what is held out (or, with watch_loss, the loss) has not been better by
        `tol` for more than n_iter_no_change epochs; whether it stopped before. The best weights on what is held out stay."""
        trainer, size = self._trainer(targets, weight), self._batch_size(len(X))
        self.n_iter_, best, best_state, worse = 0, -np.inf, None, 0
        if held_out is not None:
            self.validation_scores_ = []
        for _ in range(epochs):
            self._epoch(trainer, X, size, schedule)
            value = -self.loss_
            if held_out is not None:
                value = self._score(trainer.predict(self._input(held_out[0])), *held_out[1:])
                self.validation_scores_.append(value)
                if self.verbose:
                    print(f"validation score {value:.6f}")
            worse = worse + 1 if value < best + self.tol else 0
            if value > best:
                best = value
                if held_out is not None:
                    best_state = self.model_.state_dict()
            stop = (watch_loss or held_out is not None) and worse > self.n_iter_no_change
            if stop and not self._goes_on():
                break
            worse = 0 if stop else worse
            self._epoch_ends(len(X))
        else:
            stop = False
        if held_out is not None:
            self.best_validation_score_ = best
            self.model_.load_state_dict(best_state)
        return stop

    def _goes_on(self) -> bool:
        """Whether training goes on where it would stop: at another rate."""
        return False

    def _epoch_ends(self, n: int) -> None:
        """What the end of an epoch over n samples does to the rate."""

    # -- what goes out ------------------------------------------------------------------------------------------------

    def _outputs(self, X: ArrayLike) -> Array:
        """The network's outputs, (N, O)."""
        check_is_fitted(self, "model_")
        self._check_array(X)
        dtype, X = self._dtype(X, False), self._flat(X, False)
        # On a single row validate_data takes longer than a small network: what it would only convert goes past it.
        plain = type(X) is np.ndarray and X.dtype.kind in "fu" and X.shape[1:] == (self.n_features_in_,) and len(X) > 0
        with np.errstate(all="ignore"):
            plain = plain and not hasattr(self, "feature_names_in_") and np.isfinite(X.sum(dtype=np.float32))
        X = np.ascontiguousarray(X, dtype) if plain else validate_data(self, X, reset=False, dtype=dtype, order="C")
        x = self._input(X)
        # scikit-learn holds predictions of a row against those of its batch, to 1e-7.
        return np.concatenate([self.model_(x[i:i + CHUNK]).in_lanes() for i in range(0, len(x), CHUNK)])


class Classifier(ClassifierMixin, NetworkEstimator):
    """Labels of any type that sorts; cross-entropy of softmax(scores)."""
    _y_checks: dict[str, Any] = {}
    _criterion = nn.CrossEntropyLoss()

    def _targets(self, y: Any, first: Any) -> Array:
        check_classification_targets(y)
        if first:
            self.classes_ = unique_labels(y)
        known = np.isin(y, self.classes_)
        if not known.all():
            raise LabelError(f"{type(self).__name__}: expected labels of {self.classes_.tolist()}, got "
                             f"{np.unique(y[~known]).tolist()}")
        self.n_outputs_ = len(self.classes_)
        return np.searchsorted(self.classes_, y)

    def _loss(self, out: Value, targets: Any, weight: Any) -> Loss:
        return self._criterion(out, targets, sample_weight=weight)

    def _score(self, out: Array, targets: Any, weight: Any) -> float:
        return float(accuracy_score(targets, out.argmax(1), sample_weight=weight))

    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None,
                    sample_weight: ArrayLike | None = None) -> Self:
        """One more epoch, on X and y, not on a one-cycle or cosine schedule; returns self. The first call names all `classes`
        that will ever come; LabelError for others."""
        _check_partial_fit_first_call(self, classes)
        return self._partial_fit(X, y, sample_weight, False)

    def predict(self, X: ArrayLike) -> Array:
        """The label of the greatest score, (N,)."""
        best = self._outputs(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X: ArrayLike) -> Array:
        """softmax(scores), (N, O), classes in the order of `classes_`."""
        return ops.softmax(self._outputs(X), 1)

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """log softmax(scores), (N, O)."""
        return ops.log_softmax(self._outputs(X), 1)


class Regressor(RegressorMixin, MultiOutputMixin, NetworkEstimator):
    """Targets (N,) or (N, O); loss half the squared error, as in scikit-learn."""
    _y_checks, _criterion = dict(multi_output=True, y_numeric=True), nn.MSELoss()

    def _targets(self, y: Any, first: Any) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        outputs = 1 if y.ndim == 1 else y.shape[1]
        if first:
            self.n_outputs_, self._column = outputs, y.ndim == 1
        elif outputs != self.n_outputs_:
            raise ValueError(f"{type(self).__name__}: expected {self.n_outputs_} targets a sample, got {outputs}")
        return np.ascontiguousarray(y.reshape(len(y), -1), self._dtype(None, True))

    def _loss(self, out: Value, targets: Any, weight: Any) -> Loss:
        return 0.5 * self._criterion(out, targets, sample_weight=weight)

    def _score(self, out: Array, targets: Any, weight: Any) -> float:
        return float(r2_score(targets, out, sample_weight=weight))

    def partial_fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """One more epoch, on X and y, not on a one-cycle or cosine schedule; returns self."""
        return self._partial_fit(X, y, sample_weight, True)

    def predict(self, X: ArrayLike) -> Array:
        """The outputs in float64, (N,) or (N, O) as the targets were."""
        out = self._outputs(X).astype(np.float64)
        return out.ravel() if self._column else out
