"""The losses at the end of a network: instructions of kernels/loss.pxi.

Each checks its targets, and gives what the engine binds: arrays of the targets, and where samples weigh differently an array
of their weights, which for a mean has been divided by its sum."""
import copy

import numpy as np

from .._isa import engine
from .._kernels.step import plain_labels, plain_numbers
from ..errors import DtypeError, LabelError, ShapeError
from .base import Layout
from .softmax import walk

_engine = engine("float32")


class LossOp:
    """A loss of a value and its targets. `key()` identifies it in the plan cache; `weighted`: weights are bound."""
    instruction = None
    counts = False                          # whether it tells how many targets the value is right about
    weighted = False
    mass = None                             # where weights are bound, their sum: what a mean divides by
    alpha = 0.0                             # the instruction's constant
    numbers = 0                             # so many of its arrays have the number type of the run

    def __init__(self, name, reduction):
        self.name, self.reduction, self._key = name, reduction, None

    def key(self):
        """Two losses with equal keys run alike. Built once: every step asks for it."""
        if self._key is None:
            self._key = self._settings()
        return self._key

    def _settings(self):
        return (self.name, self.instruction, self.reduction, self.weighted, self.alpha)

    def total(self, losses):
        """The loss of the batch from those of its samples, summed in float64."""
        s = engine(losses.dtype).total(losses)
        return s / len(losses) if self.reduction in ("mean", "batchmean") and not self.weighted else s

    def check(self, arrays, dtype):
        """DtypeError where targets are not of the run's number type."""
        for a in arrays[:self.numbers]:
            if a.dtype != dtype:
                raise DtypeError(f"{self.name} expected targets of {dtype}, got {a.dtype}")

    def _with_weights(self, mass):
        op = copy.copy(self)
        op.weighted, op._key, op.mass = True, None, float(mass)
        return op

    def _samples(self, weight, n):
        """sample_weight as float64 (N,) or (N, targets), or one sentence on what is wrong with it."""
        weight = np.asarray(weight)
        if weight.dtype.kind not in "fiu":
            raise DtypeError(f"{self.name} expected numbers as sample_weight, got {weight.dtype}")
        if weight.shape != (n,):
            raise ShapeError(f"{self.name} expected sample_weight of shape ({n},), got {weight.shape}")
        weight = weight.astype(np.float64)
        if not (weight >= 0).all() or not np.isfinite(weight).all():
            raise ValueError(f"{self.name} expected sample_weight of finite numbers of 0 or more, got "
                             f"{weight[~((weight >= 0) & np.isfinite(weight))][0]}")
        return weight

    def _divided(self, weights, by, why):
        """The weights as bound: for a mean, divided by the sum `by`."""
        if self.reduction in ("mean", "batchmean"):
            if not by > 0:
                raise ValueError(f"{self.name} expected something to take the mean of: {why}")
            weights = weights / by
        return np.ascontiguousarray(weights)

    def _divisors(self, weight, targets, n_means):
        """The fields that scale a number: those of the samples' own weights, of a mean or a sum."""
        mean = self.reduction in ("mean", "batchmean") and not self.weighted
        return dict(weight=float(weight), mean=int(mean), share=1 / targets if n_means else 1.0)


class ClassLoss(LossOp):
    """A loss over classes, (N, C, ...) scores and (N, ...) labels. class_weight: float64 (C,), or None; ignored: the label
    that counts for nothing, or None."""
    counts = True
    power = 1.0

    def __init__(self, name, reduction, class_weight=None, ignored=None):
        super().__init__(name, reduction)
        self.ignored, self.class_weight = ignored, None
        if ignored is not None and not isinstance(ignored, (int, np.integer)):
            raise ValueError(f"{name} expected ignore_index to be an integer, got {ignored!r}")
        if class_weight is not None:
            w = np.asarray(class_weight)
            if w.dtype.kind not in "fiu" or w.ndim != 1 or not (w >= 0).all():
                raise ValueError(f"{name} expected weight of shape (classes,), numbers of 0 or more, got {class_weight!r}")
            self.class_weight = np.array(w, np.float64)

    def _settings(self):
        return (*super()._settings(), self.power, None if self.class_weight is None else self.class_weight.tobytes())

    def out_shape(self, shape):
        """Per-sample shape of the losses with reduction "none"."""
        return shape[1:]

    def rows(self, shape):
        """Numbers a sample of each bound array."""
        return [int(np.prod(shape[1:]))] * (1 + self.weighted)

    def _check_classes(self, shape):
        if len(shape) < 2:
            raise ShapeError(f"{self.name} expected scores of shape (N, classes, ...), got {shape}")
        if self.class_weight is not None and len(self.class_weight) != shape[1]:
            raise ShapeError(f"{self.name} expected scores of {len(self.class_weight)} classes, one for each weight, got "
                             f"{shape}")

    def bind(self, y, shape, sample_weight=None):
        """(op, arrays): labels as int64, and weights where some label or sample counts differently from the others."""
        self._check_classes(shape)
        if not plain_labels(y, shape):
            y = np.asarray(y)
            if y.dtype.kind not in "iu":
                raise LabelError(f"{self.name} expected integer class labels, got {y.dtype}")
            if y.shape != (shape[0], *shape[2:]):
                raise ShapeError(f"{self.name} expected labels of shape {(shape[0], *shape[2:])}, got {y.shape}")
            y = np.ascontiguousarray(y, np.int64)
        low, high = _engine.label_range(y if y.ndim == 1 else y.reshape(-1))
        inside, ignored = 0 <= low and high < shape[1], self.ignored
        alike = sample_weight is None and self.class_weight is None
        if inside and alike and (ignored is None or not low <= ignored <= high):
            return self, (y,)
        counted = np.ones(y.shape, bool) if ignored is None else y != ignored
        if not inside:
            wrong = y[counted & ((y < 0) | (y >= shape[1]))]
            if wrong.size:
                raise LabelError(f"{self.name} expected labels from 0 to {shape[1] - 1}, got {wrong[0]}")
        weights = counted.astype(np.float64)
        if sample_weight is not None:
            weights *= self._samples(sample_weight, len(y)).reshape(-1, *(1,) * (y.ndim - 1))
        by = self._sum(weights, y, counted)
        why = f"every label is {ignored} (ignore_index) or has weight 0" if ignored is not None else "every weight is 0"
        return self._with_weights(by), (np.where(counted, y, -1), self._divided(weights, by, why))

    def _sum(self, weights, y, counted):
        if self.class_weight is None:
            return weights.sum()
        return (weights * self.class_weight[np.where(counted, y, 0)]).sum()

    def counted(self, arrays):
        """How many labels count."""
        return int(np.count_nonzero(arrays[0] >= 0)) if self.weighted else arrays[0].size

    def _targets(self, b, node, bound):
        """(fields, weights' bound array) for the targets."""
        table, total = 0, node.shape[0]
        if self.class_weight is not None:
            b.keep.append(self.class_weight)
            table, total = self.class_weight.ctypes.data, self.class_weight.sum()
        return dict(labels=bound[0], t=0, t_row=0, t_col=0, t_step=0, table=table, total=float(total))

    def emit(self, b, node, bound, out, hits, weight):
        """Append the instructions of `weight` times the loss of a node: `bound` targets, `out` the losses, `hits` or -1."""
        x = b.value(node)
        dx, add = b.into(node) if b.wants(node) else (None, 0)
        rows, cols, classes = walk(x, node.shape, 0)
        by = [stride for _, stride in walk(dx or x, node.shape, 0)]
        each = self.reduction == "none"
        b.emit("forward", self.instruction, x=x.start, x_row=rows[1], x_col=cols[1], x_step=classes[1],
               dx=dx.start if dx else -1, dx_row=by[0], dx_col=by[1], dx_step=by[2], rows=rows[0], cols=cols[0],
               classes=classes[0], weights=bound[-1] if self.weighted else -1, out=out, hits=hits, add=add, each=int(each),
               alpha=self.alpha, power=self.power, **self._targets(b, node, bound),
               **self._divisors(weight, rows[0] * cols[0], self.reduction == "mean" and not self.weighted))


class CrossEntropy(ClassLoss):
    """log sum_c exp(x_c) - x_label; alpha: label smoothing."""
    instruction = "cross_entropy"

    def __init__(self, name, reduction, class_weight=None, ignored=None, smoothing=0.0):
        super().__init__(name, reduction, class_weight, ignored)
        self.alpha, self._soft = smoothing, None

    def bind(self, y, shape, sample_weight=None):
        if not plain_labels(y, shape) and (plain_numbers(y, shape) or np.asarray(y).dtype.kind == "f"):
            return self._probabilities().bind(y, shape, sample_weight)
        return super().bind(y, shape, sample_weight)

    def _probabilities(self):
        if self._soft is None:
            self._soft = CrossEntropySoft(self.name, self.reduction, self.class_weight, None)
            self._soft.smoothing = self.alpha
        return self._soft


class CrossEntropySoft(ClassLoss):
    """-sum_c t_c log softmax(x)_c; smoothing and the classes' weights are in t."""
    instruction, numbers, smoothing = "cross_entropy_soft", 1, 0.0

    def rows(self, shape):
        return [int(np.prod(shape)), *[int(np.prod(shape[1:]))] * self.weighted]

    def bind(self, t, shape, sample_weight=None):
        """(op, arrays): the probabilities as a contiguous array, and the samples' weights."""
        self._check_classes(shape)
        if not plain_numbers(t, shape) and (t := np.asarray(t)).shape != shape:
            raise ShapeError(f"{self.name} expected integer class labels, or probabilities of shape {shape}, got {t.dtype} "
                             f"of shape {t.shape}")
        t = in_range(self.name, t, 0, 1)
        if self.smoothing:
            t = t * t.dtype.type(1 - self.smoothing) + t.dtype.type(self.smoothing / shape[1])
        if self.class_weight is not None:
            t = t * self.class_weight.astype(t.dtype).reshape(-1, *(1,) * (t.ndim - 2))
        if sample_weight is None:
            return self, (t,)
        weights = np.repeat(self._samples(sample_weight, len(t)), int(np.prod(shape[2:])))
        return self._with_weights(weights.sum()), (t, self._divided(weights, weights.sum(), "every weight is 0"))

    def counted(self, arrays):
        return arrays[0].size // arrays[0].shape[1]

    def _targets(self, b, node, bound):
        t = b.bring(bound[0], node.shape)
        by = [stride for _, stride in walk(t, node.shape, 0)]
        return dict(labels=-1, t=t.start, t_row=by[0], t_col=by[1], t_step=by[2], table=0, total=0.0)


class NLL(ClassLoss):
    """-x_label, of log-probabilities."""
    instruction = "nll"


class MultiMargin(ClassLoss):
    """1 / C sum_(c != label) max(0, margin + x_c - x_label)^power; alpha: margin. Its mean is over samples: the classes'
    weights are not in the divisor."""
    instruction = "multi_margin"

    def __init__(self, name, reduction, class_weight=None, margin=1.0, power=1):
        super().__init__(name, reduction, class_weight)
        self.alpha, self.power = float(margin), float(power)

    def _sum(self, weights, y, counted):
        return weights.sum()


class Pointwise(LossOp):
    """A loss of x and a target of its shape, number by number. `instruction`: its name in the table of kernels/loss.pxi;
    span: (least, greatest) target, or None; weight, pos_weight: for each number, broadcast to the target."""
    def __init__(self, name, reduction, instruction, alpha=0.0, span=None, weight=None, pos_weight=None):
        super().__init__(name, reduction)
        self.instruction, self.alpha, self.span = instruction, float(alpha), span
        self._scales = tuple(None if w is None else np.asarray(w) for w in (weight, pos_weight))
        for w in self._scales:
            if w is not None and w.dtype.kind not in "fiu":
                raise DtypeError(f"{name} expected weights that are numbers, got {w.dtype}")
        self.numbers = 1 + sum(w is not None for w in self._scales)

    def _settings(self):
        return (*super()._settings(), *(w is not None for w in self._scales))

    def out_shape(self, shape):
        """Per-sample shape of the losses with reduction "none"."""
        return shape

    def rows(self, shape):
        """Numbers a sample of each bound array."""
        return [int(np.prod(shape))] * self.numbers + [1] * self.weighted

    def bind(self, t, shape, sample_weight=None):
        """(op, arrays): the targets as a contiguous array, the weights of its numbers, those of the samples."""
        t = np.asarray(t)
        if t.dtype.kind != "f":
            raise DtypeError(f"{self.name} expected floating-point targets, got {t.dtype}")
        if t.shape != shape:
            raise ShapeError(f"{self.name} expected targets of shape {shape}, got {t.shape}")
        t = in_range(self.name, t, *self.span) if self.span else np.ascontiguousarray(t)
        arrays = [t]
        for name, w in zip(("weight", "pos_weight"), self._scales):
            if w is not None:
                try:
                    w = np.broadcast_to(w, shape)
                except ValueError:
                    raise ShapeError(f"{self.name} expected {name} that broadcasts to the targets' shape {shape}, got "
                                     f"{w.shape}") from None
                arrays.append(np.ascontiguousarray(w, t.dtype))
        if sample_weight is None:
            return self, tuple(arrays)
        weights = self._samples(sample_weight, len(t))
        return self._with_weights(weights.sum()), (*arrays, self._divided(weights, weights.sum(), "every weight is 0"))

    def emit(self, b, node, bound, out, hits, weight):
        """Append the instructions of `weight` times the loss of a node: `bound` targets, `out` the losses."""
        x, each = b.value(node), self.reduction == "none"
        t, *scales = (b.bring(i, node.shape) for i in bound[:self.numbers])
        w, p = (scales.pop(0) if s is not None else None for s in self._scales)
        y = Layout(node.shape) if each else None
        dx, add = b.into(node) if b.wants(node) else (None, 0)
        size = x.rows * x.cols * x.channels
        b.emit("forward", self.instruction, x=x.start, x_row=x.row, dx=dx.start if dx else -1, dx_row=dx.row if dx else 0,
               t=t.start, w=w.start if w else -1, p=p.start if p else -1, y=y.start if y else -1, rows=x.rows,
               cols=x.cols * x.channels, weights=bound[-1] if self.weighted else -1, out=out, add=add, alpha=self.alpha,
               **self._divisors(weight, size, self.reduction == "mean"))
        if each:
            b.send("forward", y, node.shape, out)


class Hinge(Pointwise):
    """max(0, 1 - t x), t = +-1."""

    def bind(self, t, shape, sample_weight=None):
        op, arrays = super().bind(t, shape, sample_weight)
        wrong = arrays[0][np.abs(arrays[0]) != 1]
        if wrong.size:
            raise LabelError(f"{self.name} expected targets of -1 and 1, got {wrong.flat[0]}")
        return op, arrays


def in_range(name, t, low, high):
    """The targets as a contiguous array, or one sentence on what is wrong with them."""
    if not plain_numbers(t, t.shape):
        if t.dtype not in (np.float32, np.float64):
            raise DtypeError(f"{name} expected targets of float32 or float64, got {t.dtype}")
        t = np.ascontiguousarray(t)
    least, most = engine(t.dtype).value_range(t)
    if least < low or most > high:
        what = f"between {low} and {high}" if np.isfinite(high) else f"of {low} or more"
        raise LabelError(f"{name} expected targets {what}, got {least if least < low else most:g}")
    return t
