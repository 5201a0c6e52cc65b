"""The table of losses: settings, inputs to try, and the float64 reference each is held against.

A reference gives the loss of every target, weighted, and what "mean" divides their sum by. test_losses.py runs every entry on
every build and against PyTorch."""
from dataclasses import dataclass, field
from typing import Callable

import numpy as np


@dataclass
class Entry:
    """One loss with one choice of settings."""
    loss: str                           # in lanewise.nn, and in torch.nn unless torch is False
    settings: dict
    shape: tuple                        # of a sample
    inputs: Callable                    # (rng, x of normal numbers, N first) -> (x, target)
    reference: Callable                 # (x, target, **settings) -> (losses of the targets, divisor)
    torch: bool = True
    integers: Callable = field(default=None)    # (rng, shape with N) -> (x, target) of integers: sums without rounding

    def __str__(self):
        text = ",".join(f"{k}={v if np.isscalar(v) else '...'}" for k, v in self.settings.items())
        return f"{self.loss}{self.shape}{text}{'' if self.inputs is not soft else 'soft'}"


def labels(rng, x):
    """Scores, and integer labels; the first sample's are 0, which no setting ignores."""
    y = rng.integers(0, x.shape[1], (len(x), *x.shape[2:]))
    y[0] = 0
    return 2 * x, y


def some_ignored(rng, x):
    """Labels of which about a third are -100, the first one never."""
    x, y = labels(rng, x)
    return x, np.where((rng.random(y.shape) < 0.3) & (np.arange(len(y)).reshape(-1, *(1,) * (y.ndim - 1)) > 0), -100, y)


def soft(rng, x):
    """Scores, and probabilities over classes."""
    return 2 * x, softmax(rng.standard_normal(x.shape))


def log_labels(rng, x):
    """Log-probabilities, and labels."""
    x, y = labels(rng, x)
    return np.log(softmax(x)), y


def numbers(rng, x):
    """Any numbers, and targets like them."""
    return x, rng.standard_normal(x.shape)


def probabilities(rng, x):
    """x and targets within 0 .. 1, some targets at the ends."""
    return 1 / (1 + np.exp(-x)), np.clip(rng.random(x.shape) * 1.4 - 0.2, 0, 1)


def logits(rng, x):
    """Any x, targets within 0 .. 1."""
    return 3 * x, probabilities(rng, x)[1]


def divergence(rng, x):
    """Log-probabilities, and probabilities of which some are 0."""
    t = np.maximum(rng.random(x.shape) - 0.2, 0)
    return np.log(softmax(x)), t


def log_divergence(rng, x):
    """Log-probabilities on both sides."""
    return np.log(softmax(x)), np.log(softmax(rng.standard_normal(x.shape)))


def signs(rng, x):
    """Scores, and -1 or 1."""
    return x, rng.choice([-1.0, 1.0], x.shape)


def softmax(x):
    """exp(x) / sum exp(x) over dimension 1."""
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def log_softmax(x):
    """x - log sum exp(x) over dimension 1."""
    x = x - x.max(1, keepdims=True)
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def onehot(y, classes):
    """(N, ...) labels as (N, C, ...) of 0 and 1; nothing for a label outside."""
    return np.stack([y == c for c in range(classes)], 1).astype(float)


def per_class(weight, x):
    """weight (C,) along dimension 1; ones for None."""
    return np.ones(x.shape[1]) if weight is None else np.asarray(weight, float), (1, -1) + (1,) * (x.ndim - 2)


def cross_entropy(x, y, weight=None, ignore_index=-100, label_smoothing=0.0):
    """-sum_c w_c t_c log softmax(x)_c."""
    w, across = per_class(weight, x)
    log_p, w, classes = log_softmax(x), w.reshape(across), x.shape[1]
    if y.dtype.kind == "f":
        return -(w * (y * (1 - label_smoothing) + label_smoothing / classes) * log_p).sum(1), y.size / classes
    hot, counted = onehot(np.where(y == ignore_index, -1, y), classes), y != ignore_index
    t = hot * (1 - label_smoothing) + label_smoothing / classes * counted[:, None]
    return -(w * t * log_p).sum(1), (w * hot).sum()


def nll(x, y, weight=None, ignore_index=-100):
    """-w_y x_y."""
    w, across = per_class(weight, x)
    hot = onehot(np.where(y == ignore_index, -1, y), x.shape[1]) * w.reshape(across)
    return -(hot * x).sum(1), hot.sum()


def multi_margin(x, y, p=1, margin=1.0, weight=None):
    """w_y / C sum_(c != y) max(0, margin - x_y + x_c)^p."""
    w, across = per_class(weight, x)
    hot = onehot(y, x.shape[1])
    m = np.maximum(0, margin - (hot * x).sum(1, keepdims=True) + x) ** p
    return (hot * w.reshape(across)).sum(1) * (m * (1 - hot)).sum(1) / x.shape[1], y.size


def mean_of(function):
    """A loss number by number: "mean" divides by how many there are."""
    return lambda x, t, **settings: (function(x, t, **settings), x.size)


def smooth_l1(x, t, beta=1.0):
    """d^2 / (2 beta), or |d| - beta / 2."""
    d = np.abs(x - t)
    return np.where(d < beta, d * d / (2 * beta), d - beta / 2) if beta else d


def huber(x, t, delta=1.0):
    """d^2 / 2, or delta (|d| - delta / 2)."""
    d = np.abs(x - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def bce(x, t, weight=1.0):
    """-w (t log x + (1 - t) log(1 - x))."""
    return -weight * (t * np.log(x) + (1 - t) * np.log(1 - x))


def bce_logits(x, t, weight=1.0, pos_weight=1.0):
    """The same of p = sigmoid(x), written with log(1 + exp)."""
    return weight * (pos_weight * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x))


def kl_div(x, t, log_target=False):
    """t (log t - x)."""
    if log_target:
        return np.exp(t) * (t - x)
    return np.where(t > 0, t * (np.log(np.where(t > 0, t, 1)) - x), 0)


def whole_labels(rng, shape):
    """Integer scores and labels."""
    return rng.integers(-4, 5, shape), rng.integers(0, shape[1], (shape[0], *shape[2:]))


def whole_numbers(rng, shape):
    """Integers and integers."""
    return rng.integers(-4, 5, shape), rng.integers(-4, 5, shape)


def whole_signs(rng, shape):
    """Integers, and -1 or 1."""
    return rng.integers(-4, 5, shape), rng.choice([-1, 1], shape)


W4 = np.array([0.5, 2.0, 1.0, 0.25])
FOUR, SHAPES = ((4,), (4, 3, 5), (4, 6)), ((5,), (2, 3, 4), (3, 4))


def class_entries():
    """Losses over classes: vectors, images, sequences."""
    for shape in FOUR:
        for settings in ({}, dict(weight=W4), dict(label_smoothing=0.1), dict(weight=W4, label_smoothing=0.3),
                         dict(ignore_index=1), dict(weight=W4, ignore_index=2, label_smoothing=0.2)):
            yield Entry("CrossEntropyLoss", settings, shape, labels, cross_entropy)
        yield Entry("CrossEntropyLoss", dict(weight=W4), shape, some_ignored, cross_entropy)
        for settings in ({}, dict(weight=W4, label_smoothing=0.3)):
            yield Entry("CrossEntropyLoss", settings, shape, soft, cross_entropy)
        for settings in ({}, dict(weight=W4), dict(ignore_index=1)):
            yield Entry("NLLLoss", settings, shape, log_labels, nll, integers=None if settings else whole_labels)
        for settings in ({}, dict(margin=0.5), dict(p=2), dict(p=2, margin=2.0, weight=W4)):
            yield Entry("MultiMarginLoss", settings, shape, labels, multi_margin, torch=len(shape) == 1,
                        integers=whole_labels if settings in ({}, dict(p=2)) else None)


def point_entries():
    """Losses number by number."""
    for shape in SHAPES:
        yield Entry("MSELoss", {}, shape, numbers, mean_of(lambda x, t: (x - t) ** 2), integers=whole_numbers)
        yield Entry("L1Loss", {}, shape, numbers, mean_of(lambda x, t: np.abs(x - t)), integers=whole_numbers)
        for settings in ({}, dict(beta=0.3), dict(beta=0.0)):
            yield Entry("SmoothL1Loss", settings, shape, numbers, mean_of(smooth_l1), integers=None if 0.3 in settings.values()
                        else whole_numbers)
        for settings in ({}, dict(delta=0.4)):
            yield Entry("HuberLoss", settings, shape, numbers, mean_of(huber), integers=None if settings else whole_numbers)
        last = dict(weight=np.linspace(0.5, 2, shape[-1]))
        for settings in ({}, last):
            yield Entry("BCELoss", settings, shape, probabilities, mean_of(bce))
        for settings in ({}, last, dict(pos_weight=np.linspace(1, 3, shape[-1])), dict(pos_weight=2 * last["weight"], **last)):
            yield Entry("BCEWithLogitsLoss", settings, shape, logits, mean_of(bce_logits))
        yield Entry("KLDivLoss", {}, shape, divergence, mean_of(kl_div))
        yield Entry("KLDivLoss", dict(log_target=True), shape, log_divergence, mean_of(kl_div))
        yield Entry("HingeLoss", {}, shape, signs, mean_of(lambda x, t: np.maximum(0, 1 - x * t)), torch=False,
                    integers=whole_signs)


ENTRIES = [*class_entries(), *point_entries()]
