"""Measures of a result: what is right, as scikit-learn defines it, truth first.

Class measures take labels (N, ...) as `y_true` and, as `y_pred`, labels of that shape or scores (N, C, ...), whose greatest
is the label (the first of equals). accuracy, top_k_accuracy and psnr need NumPy alone; the others call scikit-learn, with its
definitions, which `pip install lanewise[sklearn]` brings."""
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from .errors import LabelError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from numpy.typing import ArrayLike

    from ._types import Array, Metric


def _labels(name: str, y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Array, Array]:
    """Both as flat labels."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.dtype.kind not in "iub":
        raise LabelError(f"{name}: expected integer labels, got {y_true.dtype}")
    if y_pred.ndim == y_true.ndim + 1:
        y_pred = y_pred.argmax(1)
    elif y_pred.dtype.kind not in "iub":
        raise LabelError(f"{name}: expected labels, or scores (N, C, ...) of labels {y_true.shape}, got {y_pred.dtype} of "
                         f"shape {y_pred.shape}")
    if y_true.shape != y_pred.shape or not y_true.size:
        raise ShapeError(f"{name}: expected as many labels as predictions, got {y_true.shape} and {y_pred.shape}")
    return y_true.ravel(), y_pred.ravel()


def _numbers(name: str, y_true: ArrayLike, y_pred: ArrayLike) -> Iterator[Array]:
    """Both as float64 (N, F), a number of a sample a column."""
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.shape != y_pred.shape or not y_true.size:
        raise ShapeError(f"{name}: expected two arrays of one shape, got {y_true.shape} and {y_pred.shape}")
    return (a.astype(np.float64).reshape(len(a), -1) for a in (y_true, y_pred))


def _sklearn(name: str) -> Any:
    try:
        from sklearn import metrics
    except ImportError:
        raise ImportError(f"metrics.{name} needs scikit-learn: pip install lanewise[sklearn]") from None
    return metrics


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The share of predictions that are right, 1 / N sum [y_true = y_pred], a float."""
    y_true, y_pred = _labels("accuracy", y_true, y_pred)
    return float(np.mean(y_true == y_pred))


def top_k_accuracy(y_true: ArrayLike, y_score: ArrayLike, k: int = 5) -> float:
    """The share of labels (N,) whose score, in (N, C), is among the k greatest of its sample, a float.

    A label counts where fewer than k others have a greater score, or an equal one and a lower number, as accuracy counts for
    k = 1; NaN scores are never right. ValueError for k outside 1 .. C, LabelError for labels outside 0 .. C - 1."""
    y, s = np.asarray(y_true), np.asarray(y_score)
    if s.ndim != 2 or y.shape != s.shape[:1] or not y.size:
        raise ShapeError(f"top_k_accuracy: expected labels (N,) and scores (N, C), got {y.shape} and {s.shape}")
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= s.shape[1]:
        raise ValueError(f"top_k_accuracy: expected k from 1 to {s.shape[1]}, the number of classes, got {k!r}")
    if y.dtype.kind not in "iu" or not -1 < int(y.min()) <= int(y.max()) < s.shape[1]:
        raise LabelError(f"top_k_accuracy: expected integer labels from 0 to {s.shape[1] - 1}, got {y.dtype} from {y.min()} to "
                         f"{y.max()}")
    own = s[np.arange(len(y)), y][:, None]
    before = (s > own) | ((s == own) & (np.arange(s.shape[1]) < y[:, None]))
    return float(np.mean((before.sum(1) < k) & (own[:, 0] == own[:, 0])))


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, labels: ArrayLike | None = None,
                     normalize: str | None = None) -> Array:
    """(C, C) counts: row the true class, column the predicted one, of `labels` or of all that occur, in order.

    normalize: "true" (rows sum to 1), "pred" (columns) or "all"."""
    y_true, y_pred = _labels("confusion_matrix", y_true, y_pred)
    return _sklearn("confusion_matrix").confusion_matrix(y_true, y_pred, labels=labels, normalize=normalize)


def _of_classes(name: str, y_true: ArrayLike, y_pred: ArrayLike, average: str | None, **options: Any) -> Any:
    y_true, y_pred = _labels(name, y_true, y_pred)
    found = getattr(_sklearn(name), f"{name}_score")(y_true, y_pred, average=average, **options)
    return found if average is None else float(found)


def precision(y_true: ArrayLike, y_pred: ArrayLike, average: str | None = "macro", labels: ArrayLike | None = None,
              pos_label: Any = 1, zero_division: Any = 0.0) -> Any:
    """tp / (tp + fp): how much of what is called a class is of it; zero_division where nothing is.

    average: "macro" (the classes' mean), "micro" (all counts together), "weighted" (by how often a class is true), "binary"
    (pos_label alone), or None for (C,) values. Scikit-learn's precision_score, whose default average is "binary"."""
    return _of_classes("precision", y_true, y_pred, average, labels=labels, pos_label=pos_label, zero_division=zero_division)


def recall(y_true: ArrayLike, y_pred: ArrayLike, average: str | None = "macro", labels: ArrayLike | None = None,
           pos_label: Any = 1, zero_division: Any = 0.0) -> Any:
    """tp / (tp + fn): how much of a class is found; arguments as precision's."""
    return _of_classes("recall", y_true, y_pred, average, labels=labels, pos_label=pos_label, zero_division=zero_division)


def f1(y_true: ArrayLike, y_pred: ArrayLike, average: str | None = "macro", labels: ArrayLike | None = None,
       pos_label: Any = 1, zero_division: Any = 0.0) -> Any:
    """2 tp / (2 tp + fp + fn), the harmonic mean of precision and recall; arguments as precision's."""
    return _of_classes("f1", y_true, y_pred, average, labels=labels, pos_label=pos_label, zero_division=zero_division)


def mae(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """mean |y_true - y_pred| over all numbers, in float64, a float."""
    return float(_sklearn("mae").mean_absolute_error(*_numbers("mae", y_true, y_pred)))


def mse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """mean (y_true - y_pred)^2 over all numbers, in float64, a float."""
    return float(_sklearn("mse").mean_squared_error(*_numbers("mse", y_true, y_pred)))


def rmse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The square root of mse, of each column of (N, F) on its own; their mean, a float."""
    each = _sklearn("rmse").mean_squared_error(*_numbers("rmse", y_true, y_pred), multioutput="raw_values")
    return float(np.sqrt(each).mean())


def r2(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """1 - sum (y_true - y_pred)^2 / sum (y_true - mean y_true)^2 of each column of (N, F); their mean, a float.

    A column that does not vary is 1 where it is met exactly, else 0. ValueError for a single sample."""
    y_true, y_pred = _numbers("r2", y_true, y_pred)
    if len(y_true) < 2:
        raise ValueError("r2: expected at least two samples, got one")
    return float(_sklearn("r2").r2_score(y_true, y_pred))


def max_error(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """The greatest |y_true - y_pred| of all numbers, a float."""
    y_true, y_pred = _numbers("max_error", y_true, y_pred)
    return float(_sklearn("max_error").max_error(y_true.ravel(), y_pred.ravel()))


def psnr(x: ArrayLike, y: ArrayLike, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in decibels, 10 log10(peak^2 / mean (x - y)^2), a float; inf for equal arrays.

    x, y: arrays of one shape, integers or floating-point; peak: the greatest value they can have (255 for uint8 images).
    Computed in float64. ShapeError for different shapes or no numbers, ValueError for a peak that is not above 0."""
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or x.size == 0:
        raise ShapeError(f"psnr: expected two arrays of one shape, got {x.shape} and {y.shape}")
    if not peak > 0:
        raise ValueError(f"psnr: expected a peak above 0, got {peak!r}")
    error = np.mean((x.astype(np.float64) - y.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(float(peak) ** 2 / error))


# What Trainer(metrics=[...]) knows by name, with the direction that is better; "top<k>" is top_k_accuracy.
NAMED = {"accuracy": (accuracy, "max"), "precision": (precision, "max"), "recall": (recall, "max"), "f1": (f1, "max"),
         "mae": (mae, "min"), "mse": (mse, "min"), "rmse": (rmse, "min"), "r2": (r2, "max"), "max_error": (max_error, "min")}


def named(metric: Metric) -> tuple[str, Callable[..., Any]]:
    """(name, f(y_true, y_pred)) of a name that Trainer knows, or of a function."""
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    if metric in NAMED:
        return metric, NAMED[metric][0]
    top = re.fullmatch(r"top([1-9]\d*)", metric) if isinstance(metric, str) else None
    if not top:
        raise ValueError(f"expected a metric of {', '.join(NAMED)}, top<k> or a function of (y_true, y_pred), got {metric!r}")
    return metric, lambda y, scores: top_k_accuracy(y, scores, int(top[1]))


def direction(name: str) -> str | None:
    """"min" or "max", whichever is better for a key of history; None where that is not known."""
    name = name[len("val_"):] if name.startswith("val_") else name
    if name in ("loss", "seconds"):
        return "min"
    return NAMED[name][1] if name in NAMED else "max" if re.fullmatch(r"top\d+", name) else None
