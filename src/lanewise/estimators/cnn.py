"""CNNClassifier and CNNRegressor: any network on images, as scikit-learn's estimators."""
from __future__ import annotations

import copy
import inspect
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from .. import nn, optim
from ..errors import ShapeError
from .base import Classifier, Regressor
from .layers import CONVNET, network

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

OPTIMIZERS = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD, "rmsprop": optim.RMSprop}


class _CNN:
    """Parameters, with those of scikit-learn's MLPClassifier that mean the same.

    model: a Module, copied, so that every fit starts from its weights; a function of (shape, outputs) that gives one, shape
    (C, H, W) or that of a row; a list of layers (`estimators.layers.network`), without the last; None: two 3x3 convolutions of
    16 and 32 with max-pools, and a dense layer of 64. It gives (N, O).
    image_shape: (C, H, W) or (H, W) of rows X (N, F); rows without it are images 1xF of one channel.
    optimizer: "adam", "adamw", "sgd" (Nesterov, momentum 0.9) or "rmsprop". schedule: "one-cycle", whose top is
    learning_rate, "cosine" or "constant". early_stopping: hold validation_fraction back, stop when its score has not been
    better by tol for more than n_iter_no_change epochs, keep the best weights."""
    model_: nn.Module                                   # the estimator's, which this is mixed into
    n_outputs_: int
    image_shape_: Any
    _batch_size: Any
    _optimizer: Any
    _epochs: Any
    _parameter_constraints = {
        "model": [nn.Module, callable, list, tuple, None],
        "image_shape": [list, tuple, None],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [StrOptions(set(OPTIMIZERS))],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions({"one-cycle", "cosine", "constant"})],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, model: Any = None, *, image_shape: Sequence[int] | None = None, epochs: int = 20, batch_size: int = 32,
                 optimizer: str = "adam", learning_rate: float = 3e-3, schedule: str = "one-cycle", weight_decay: float = 0.0,
                 shuffle: bool = True, random_state: Any = None, tol: float = 1e-4, verbose: bool = False,
                 warm_start: bool = False, early_stopping: bool = False, validation_fraction: float = 0.1,
                 n_iter_no_change: int = 10) -> None:
        self.model = model
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()               # type: ignore[misc]
        tags.input_tags.three_d_array = True
        return tags

    # -- images -------------------------------------------------------------------------------------------------------

    def _flat(self, X: Any, first: Any) -> Any:
        # Rows (N, F), which scikit-learn checks and counts; the shape of an image is kept in image_shape_.
        name = type(self).__name__
        X = X if hasattr(X, "ndim") else np.asarray(X)
        asked = None if self.image_shape is None else tuple(self.image_shape)
        if asked is not None and len(asked) == 2:
            asked = (1, *asked)
        if asked is not None and (len(asked) != 3 or not all(isinstance(n, Integral) and n > 0 for n in asked)):
            raise ShapeError(f"{name}: expected image_shape (C, H, W) or (H, W), got {self.image_shape!r}")
        if X.ndim > 4:
            raise ShapeError(f"{name}: expected X of shape (N, C, H, W), (N, H, W) or (N, F), got {X.shape}")
        shape = asked if first else self.image_shape_
        if X.ndim > 2:
            X = np.asarray(X)
            got = X.shape[1:] if X.ndim == 4 else (1, *X.shape[1:])
            if shape is not None and got != shape:
                raise ShapeError(f"{name}: expected images of shape {shape}, got X of shape {X.shape}")
            shape, X = got, X.reshape(len(X), -1) if len(X) else X.reshape(0, int(np.prod(got)))
        elif X.ndim == 2:
            features = X.shape[1]
            if first and shape is not None and np.prod(shape) != features:
                raise ShapeError(f"{name}: expected image_shape of {features} numbers, as X (N, F) has, got "
                                 f"{self.image_shape!r}")
            shape = (1, 1, features) if shape is None else shape
        if first:
            self.image_shape_ = shape
        return X

    def _dtype(self, X: Any, fitting: Any) -> Any:
        return np.uint8 if getattr(X, "dtype", None) == np.uint8 else np.float32

    def _input(self, X: Any) -> Any:
        return X.reshape(len(X), *self.image_shape_)

    # -- training -----------------------------------------------------------------------------------------------------

    def _build(self) -> Any:
        name, outputs = type(self).__name__, self.n_outputs_
        if isinstance(self.model, nn.Module):
            model = copy.deepcopy(self.model)
        elif callable(self.model):
            try:
                inspect.signature(self.model).bind(self.image_shape_, outputs)
            except TypeError as error:
                raise TypeError(f"{name}: expected model to be a function of (shape, outputs), got one that does not take "
                                f"{(self.image_shape_, outputs)} ({error})") from None
            except ValueError:                          # a callable without a signature
                pass
            model = self.model(self.image_shape_, outputs)
            if not isinstance(model, nn.Module):
                raise TypeError(f"{name}: expected model{(self.image_shape_, outputs)} to give a Module, got "
                                f"{type(model).__name__}")
        else:
            model = network(CONVNET if self.model is None else self.model, self.image_shape_, outputs, name)
        shape = model.eval()(np.zeros((1, *self.image_shape_), np.float32)).shape
        if shape != (1, outputs):
            raise ShapeError(f"{name}: expected a model whose output is (N, {outputs}), got (N, "
                             f"{', '.join(map(str, shape[1:]))})")
        return model

    def _make_optimizer(self, batch_weight: Any) -> Any:
        settings = dict(momentum=0.9, nesterov=True) if self.optimizer == "sgd" else {}
        return OPTIMIZERS[self.optimizer](self.model_.parameters(), lr=float(self.learning_rate),
                                          weight_decay=float(self.weight_decay), **settings)

    def _train(self, X: Any, targets: Any, weight: Any, held_out: Any) -> None:
        steps = int(self.epochs) * -(-len(X) // self._batch_size(len(X)))
        schedule: Any = None
        if self.schedule == "one-cycle":
            schedule = optim.OneCycleLR(self._optimizer, float(self.learning_rate), total_steps=steps)
        elif self.schedule == "cosine":
            schedule = optim.lr_scheduler.CosineAnnealingLR(self._optimizer, T_max=steps)
        self._epochs(X, targets, weight, held_out, self.epochs, schedule, watch_loss=False)


class CNNClassifier(_CNN, Classifier):
    __doc__ = """A network that classifies images X (N, C, H, W) or (N, H, W), float or uint8 (scaled by 1/255), or rows (N, F).

    """ + (_CNN.__doc__ or "")


class CNNRegressor(_CNN, Regressor):
    __doc__ = """A network that predicts numbers from images X (N, C, H, W) or (N, H, W), or rows (N, F); y (N,) or (N, O).

    """ + (_CNN.__doc__ or "")
