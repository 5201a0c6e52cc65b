"""Losses: called on a traced value and a target, they give a Loss handle, or with reduction "none" a LossArray.

"mean" divides the sum by how many numbers there are, "sum" does not, "none" leaves the losses one by one: numbers to look
at, without backward(). Every loss takes `sample_weight` when called, (N,) numbers w of 0 or more: "sum" is then
sum_n w_n L_n and "mean" sum_n w_n L_n / sum_n w_n with the sample's own mean L_n; PyTorch has no such argument."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._kernels.step import plan_for
from ..graph import Value, as_value
from ..loss import Loss
from ..nodes import loss

if TYPE_CHECKING:
    from typing import Any, NoReturn

    from numpy.typing import ArrayLike

    from .._types import Array, Operand


class LossArray:
    """What a loss with reduction "none" gives: the numbers before any sum, in an array when asked for (`numpy()`)."""
    __array_priority__ = 1000

    def __init__(self, op: Any, value: Value, arrays: tuple[Array, ...]) -> None:
        self._op, self._value, self._arrays = op, value, arrays
        self._result: Array | None = None
        self.shape = (value.n, *op.out_shape(value.node.shape))

    def numpy(self) -> Array:
        """(N, ...) array, one number for each target."""
        if self._result is None:
            plan, feeds = plan_for([self._value.node], [(1.0, self._op)], False, self._value.feeds)
            (self._value._result,), (self._result,), _ = plan.run(feeds, self._value.n, [self._arrays])
        return self._result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.numpy(), dtype)

    def backward(self) -> NoReturn:
        """ValueError: there is no one number to differentiate."""
        raise ValueError(f"{self._op.name}: backward() and item() need one number, expected reduction 'mean' or 'sum' (and "
                         f"sample_weight for samples that count differently), got 'none'")

    item = __float__ = backward

    def __repr__(self) -> str:
        return f"LossArray(shape={self.shape})"


class _Loss:
    reductions: tuple[str, ...] = ("mean", "sum", "none")
    _op: Any

    def __init__(self, reduction: str) -> None:
        if reduction not in self.reductions:
            allowed = ", ".join(map(repr, self.reductions[:-1]))
            raise ValueError(f"{type(self).__name__}: expected reduction {allowed} or {self.reductions[-1]!r}, got "
                             f"{reduction!r}")
        self.reduction = reduction

    def __call__(self, input: Operand, target: ArrayLike, sample_weight: ArrayLike | None = None) -> Loss:
        value = input if isinstance(input, Value) else as_value(input)
        op, arrays = self._op.bind(target, value.shape, sample_weight)
        if self.reduction == "none":                    # a Loss but for what it refuses: to type checkers it is one
            return LossArray(op, value, arrays)         # type: ignore[return-value]
        return Loss([(1.0, op, value, arrays)])

    def _settings(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        settings = "".join(f"{k}={v!r}, " for k, v in self._settings().items())
        return f"{type(self).__name__}({settings}reduction={self.reduction!r})"

    def _number(self, name: str, value: Any, above: float | None = None) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (above is not None and not value >= above):
            least = "" if above is None else f" of {above} or more"
            raise ValueError(f"{type(self).__name__}: expected {name} to be a number{least}, got {value!r}")
        return float(value)


class CrossEntropyLoss(_Loss):
    """-log softmax(x)[label] of scores (N, C) and labels (N,), or of every pixel: (N, C, ...) and (N, ...).

    weight w (C,): that of each class; "mean" divides by the sum of the labels' weights. ignore_index: a label that counts
    for nothing; ValueError for a mean over nothing else. label_smoothing s: the target is (1 - s) onehot + s / C, as in
    Szegedy et al., "Rethinking the Inception Architecture" (2016). Floating-point targets of x's shape are probabilities t
    of 0 to 1: -sum_c w_c t_c log softmax(x)_c, whose "mean" divides by N, or N times the pixels, whatever the weights.
    Gradient: softmax(x) - t. Computed with the maximum subtracted. LabelError for labels outside 0 .. C - 1."""

    def __init__(self, weight: ArrayLike | None = None, ignore_index: int = -100, reduction: str = "mean",
                 label_smoothing: float = 0.0) -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = weight, ignore_index
        self.label_smoothing = self._number("label_smoothing", label_smoothing, 0)
        if self.label_smoothing > 1:
            raise ValueError(f"CrossEntropyLoss: expected label_smoothing between 0 and 1, got {label_smoothing!r}")
        self._op = loss.CrossEntropy("CrossEntropyLoss", reduction, weight, ignore_index, self.label_smoothing)

    def _settings(self) -> dict[str, Any]:
        return dict(weight=self.weight, ignore_index=self.ignore_index, label_smoothing=self.label_smoothing)


class NLLLoss(_Loss):
    """-x[label] of log-probabilities (N, C, ...) and labels (N, ...): CrossEntropyLoss after a LogSoftmax. weight,
    ignore_index and errors as there."""

    def __init__(self, weight: ArrayLike | None = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = weight, ignore_index
        self._op = loss.NLL("NLLLoss", reduction, weight, ignore_index)

    def _settings(self) -> dict[str, Any]:
        return dict(weight=self.weight, ignore_index=self.ignore_index)


class MultiMarginLoss(_Loss):
    """1 / C sum_(c != label) w_label max(0, margin - x_label + x_c)^p of scores (N, C, ...) and labels (N, ...), p 1 or 2.

    C times this is the multi-class hinge loss of support vector machines (Weston and Watkins, 1999). "mean" divides by N,
    whatever the classes' weights w. Gradient 0 at the kink."""

    def __init__(self, p: int = 1, margin: float = 1.0, weight: ArrayLike | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: expected p of 1 or 2, got {p!r}")
        self.p, self.margin, self.weight = p, self._number("margin", margin), weight
        self._op = loss.MultiMargin("MultiMarginLoss", reduction, weight, self.margin, p)

    def _settings(self) -> dict[str, Any]:
        return dict(p=self.p, margin=self.margin, weight=self.weight)


class MSELoss(_Loss):
    """(x - t)^2, t of x's shape (N, ...). Gradient 2 (x - t)."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._op = loss.Pointwise("MSELoss", reduction, "mse")


class L1Loss(_Loss):
    """|x - t|, t of x's shape (N, ...). Gradient sign(x - t), 0 where they are equal."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._op = loss.Pointwise("L1Loss", reduction, "l1")


class SmoothL1Loss(_Loss):
    """d^2 / (2 beta) where |d| < beta, |d| - beta / 2 beyond, d = x - t; |d| for beta 0. t of x's shape (N, ...).

    Girshick, "Fast R-CNN" (2015), where beta is 1."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = self._number("beta", beta, 0)
        self._op = loss.Pointwise("SmoothL1Loss", reduction, "smooth_l1" if self.beta else "l1", self.beta)

    def _settings(self) -> dict[str, Any]:
        return dict(beta=self.beta)


class HuberLoss(_Loss):
    """d^2 / 2 where |d| <= delta, delta (|d| - delta / 2) beyond, d = x - t. t of x's shape (N, ...). Huber (1964)."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = self._number("delta", delta, 0)
        if self.delta == 0:
            raise ValueError(f"HuberLoss: expected delta above 0, got {delta!r}")
        self._op = loss.Pointwise("HuberLoss", reduction, "huber", self.delta)

    def _settings(self) -> dict[str, Any]:
        return dict(delta=self.delta)


class BCELoss(_Loss):
    """-w (t log x + (1 - t) log(1 - x)) of probabilities x and targets t of 0 to 1, of one shape (N, ...).

    The negative logarithm of the likelihood x^t (1 - x)^(1 - t). Logarithms are held to -100 or more; the gradient is
    (x - t) / (x (1 - x)), its divisor held to 1e-12 or more. weight w: broadcast to the targets. LabelError for targets
    outside 0 .. 1; an x outside makes the loss NaN. On logits use BCEWithLogitsLoss, which loses nothing."""

    def __init__(self, weight: ArrayLike | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = weight
        self._op = loss.Pointwise("BCELoss", reduction, "bce", span=(0, 1), weight=weight)

    def _settings(self) -> dict[str, Any]:
        return dict(weight=self.weight)


class BCEWithLogitsLoss(_Loss):
    """-w (q t log p + (1 - t) log(1 - p)), p = sigmoid(x), of logits x and targets t of 0 to 1, of one shape (N, ...).

    Computed as q t softplus(-x) + (1 - t) softplus(x), for any x. Gradient p - t (with q = 1). pos_weight q and weight w:
    broadcast to the targets. LabelError for targets outside 0 .. 1."""

    def __init__(self, weight: ArrayLike | None = None, reduction: str = "mean", pos_weight: ArrayLike | None = None) -> None:
        super().__init__(reduction)
        self.weight, self.pos_weight = weight, pos_weight
        self._op = loss.Pointwise("BCEWithLogitsLoss", reduction, "bce_logits", 0, (0, 1), weight, pos_weight)

    def _settings(self) -> dict[str, Any]:
        return dict(weight=self.weight, pos_weight=self.pos_weight)


class KLDivLoss(_Loss):
    """t (log t - x) of log-probabilities x and probabilities t of one shape (N, ...), 0 where t is 0; with log_target t is a
    logarithm too: exp(t) (t - x).

    "batchmean" divides by N, which gives the divergence; "mean" by how many numbers there are. LabelError for targets below
    0. Kullback and Leibler (1951)."""
    reductions = ("mean", "batchmean", "sum", "none")

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = bool(log_target)
        span = None if log_target else (0, float("inf"))
        self._op = loss.Pointwise("KLDivLoss", reduction, "kl_div_log" if log_target else "kl_div", span=span)

    def _settings(self) -> dict[str, Any]:
        return dict(log_target=self.log_target)


class HingeLoss(_Loss):
    """max(0, 1 - t x), targets t of -1 and 1, of x's shape (N, ...): the support vector machine's loss (Cortes and Vapnik,
    1995). Gradient -t where t x < 1, 0 at the kink. LabelError for other targets. PyTorch has none of this form."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self._op = loss.Hinge("HingeLoss", reduction, "hinge")
