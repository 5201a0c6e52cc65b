"""MLPClassifier and MLPRegressor: scikit-learn's perceptrons, with its names and defaults, on lanewise's engine."""
from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metaestimators import available_if

from .. import nn, optim
from .base import Classifier, Regressor
from .layers import ACTIVATIONS, network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .._types import Array


def _steps(estimator: Any) -> bool:
    # scikit-learn's rule: what is fitted as a whole has no partial_fit
    if estimator.solver == "lbfgs":
        raise AttributeError(f"partial_fit: expected solver 'adam' or 'sgd', got '{estimator.solver}'")
    return True


class _MLP:
    """Parameters, defaults and stopping as in scikit-learn's class of this name. Different here: float32 numbers (float64 for
    "lbfgs", whose line search needs them); classes always by softmax, where scikit-learn has one sigmoid for two; alpha / 2
    sum w^2 over the batch's weight acts on the gradient and is in `loss_` of "lbfgs" alone; no sparse X, no multi-label y.
    ConvergenceWarning when max_iter ends a fit."""
    model_: nn.Module                                   # the estimator's, which this is mixed into
    n_outputs_: int
    n_features_in_: int
    _optimizer: Any
    _epochs: Any
    _loss: Any
    _parameter_constraints = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"identity", "logistic", "tanh", "relu"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, hidden_layer_sizes: int | Sequence[int] = (100,), activation: str = "relu", *, solver: str = "adam",
                 alpha: float = 0.0001, batch_size: int | str = "auto", learning_rate: str = "constant",
                 learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200, shuffle: bool = True,
                 random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False,
                 momentum: float = 0.9, nesterovs_momentum: bool = True, early_stopping: bool = False,
                 validation_fraction: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
                 n_iter_no_change: float = 10, max_fun: int = 15000) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun

    @property
    def _linears(self) -> list[nn.Linear]:
        return [m for m in self.model_.modules() if isinstance(m, nn.Linear)]

    @property
    def coefs_(self) -> list[Array]:
        """The weights, scikit-learn's way round: (F, width), (width, width), ..., (width, O); views."""
        return [m.weight.data.T for m in self._linears]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases; views."""
        return [m.bias.data for m in self._linears if m.bias is not None]

    def _dtype(self, X: Any, fitting: Any) -> Any:
        double = self.solver == "lbfgs" if fitting else self._linears[0].weight.dtype == np.float64
        return np.float64 if double else np.float32

    def _holds_out(self) -> bool:
        return self.early_stopping and self.solver != "lbfgs"

    def _batch_size(self, n: int) -> int:
        return min(200 if isinstance(self.batch_size, str) else self.batch_size, n)

    def _build(self) -> Any:
        if isinstance(self.hidden_layer_sizes, nn.Module):
            cnn = type(self).__name__.replace("MLP", "CNN")
            raise TypeError(f"{type(self).__name__}: expected hidden_layer_sizes of 1 or more, got a "
                            f"{type(self.hidden_layer_sizes).__name__}: {cnn}(model) takes a network")
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes)).tolist()
        if not all(isinstance(n, int) and n > 0 for n in sizes):
            raise ValueError(f"{type(self).__name__}: expected hidden_layer_sizes of 1 or more, got "
                             f"{self.hidden_layer_sizes!r}")
        layers = [entry for n in sizes for entry in (("linear", n), self.activation)]
        model = network(layers, (self.n_features_in_,), self.n_outputs_, type(self).__name__)
        for m in model.modules():
            if isinstance(m, nn.Linear):                # Glorot and Bengio 2010; a third of the variance for the sigmoid
                bound = np.sqrt((2 if self.activation == "logistic" else 6) / (m.in_features + m.out_features))
                nn.init.uniform_(m.weight, -bound, bound)
                if m.bias is not None:
                    nn.init.uniform_(m.bias, -bound, bound)
        return model

    def _make_optimizer(self, batch_weight: Any) -> Any:
        self.model_._cast(self._dtype(None, True))
        if self.solver == "lbfgs":
            return optim.LBFGS(self.model_.parameters(), max_iter=int(self.max_iter), max_eval=int(self.max_fun),
                               tolerance_grad=float(self.tol), tolerance_change=2.2e-9, history_size=10)
        weights = [m.weight for m in self._linears]
        groups = [dict(params=weights, weight_decay=float(self.alpha) / batch_weight),
                  dict(params=[m.bias for m in self._linears])]
        rate, self._seen = float(self.learning_rate_init), 0
        if self.solver == "adam":
            return optim.Adam(groups, rate, (float(self.beta_1), float(self.beta_2)), float(self.epsilon))
        return optim.SGD(groups, rate, float(self.momentum), nesterov=bool(self.nesterovs_momentum and self.momentum > 0))

    def _train(self, X: Any, targets: Any, weight: Any, held_out: Any) -> None:
        if self.solver == "lbfgs":
            self._minimise(X, targets, weight)
        elif not self._epochs(X, targets, weight, held_out, self.max_iter):
            warnings.warn(f"{type(self).__name__}: max_iter={self.max_iter} epochs are done and the loss still falls",
                          ConvergenceWarning, stacklevel=3)

    def _minimise(self, X: Any, targets: Any, weight: Any) -> None:
        total = len(X) if weight is None else weight.sum()
        penalty, optimizer = nn.penalty.L2(self.model_, self.alpha / (2 * total)), self._optimizer

        def closure() -> float:
            optimizer.zero_grad()
            loss = self._loss(self.model_(X), targets, weight)
            loss.backward()
            penalty.add_grad()
            return loss.item() + penalty.value()
        self.model_.train()
        optimizer.step(closure)
        result = optimizer.result
        self.n_iter_, self.loss_ = int(result.nit), float(result.fun)
        if result.status != 0:
            warnings.warn(f"{type(self).__name__}: lbfgs ended after {result.nit} iterations: {result.message}",
                          ConvergenceWarning, stacklevel=4)

    def _set_rate(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def _goes_on(self) -> bool:
        rate = self._optimizer.param_groups[0]["lr"]
        if self.solver != "sgd" or self.learning_rate != "adaptive" or rate <= 1e-6:
            return False
        self._set_rate(rate / 5)
        return True

    def _epoch_ends(self, n: int) -> None:
        self._seen += n
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            self._set_rate(self.learning_rate_init / (self._seen + 1) ** self.power_t)


class MLPClassifier(_MLP, Classifier):
    __doc__ = """A multilayer perceptron that classifies rows X (N, F).

    """ + (_MLP.__doc__ or "")
    partial_fit = available_if(_steps)(Classifier.partial_fit)


class MLPRegressor(_MLP, Regressor):
    __doc__ = """A multilayer perceptron that predicts numbers from rows X (N, F); y (N,) or (N, O).

    """ + (_MLP.__doc__ or "")
    partial_fit = available_if(_steps)(Regressor.partial_fit)
