"""Softmax, and the losses at the end of a network: instructions of kernels/softmax.pxi."""
import numpy as np

from .._isa import engine
from ..errors import DtypeError, LabelError, ShapeError
from .base import Op

_engine = engine("float32")


class Softmax(Op):
    """y = exp(x - max) / sum exp(x - max) along per-sample dimension `axis`."""
    name = "softmax"

    def __init__(self, axis):
        self.axis = axis

    def shape(self, x):
        if self.axis >= len(x):
            raise ShapeError(f"softmax: expected a dimension below {1 + len(x)}, got {self.axis + 1}")
        return x

    def _walk(self, layout, shape):
        """((rows, row stride), (cols, col stride), (classes, class stride)) of a value."""
        if len(shape) == 3:
            axes = [(shape[1], layout.row), (shape[2], shape[0]), (shape[0], 1)]
            classes = axes.pop({0: 2, 1: 0, 2: 1}[self.axis])
            return (*axes, classes)
        outer = int(np.prod(shape[:self.axis]))
        inner = int(np.prod(shape[self.axis + 1:]))
        return (outer, shape[self.axis] * inner), (inner, 1), (shape[self.axis], inner)

    def _emit(self, b, block, name, shape, add=0, **layouts):
        fields = {}
        for field in ("x", "y", "dy", "dx"):
            layout = layouts.get(field)
            rows, cols, classes = self._walk(layout or layouts["y"], shape)
            fields.update({field: layout.start if layout else 0, f"{field}_row": rows[1], f"{field}_col": cols[1],
                           f"{field}_step": classes[1]})
        b.emit(block, name, rows=rows[0], cols=cols[0], classes=classes[0], add=add, **fields)

    def forward(self, b, node):
        self._emit(b, "forward", self.name, node.shape, x=b.value(node.inputs[0]), y=b.value(node))

    def backward(self, b, node, dy):
        dx, add = b.into(node.inputs[0])
        self._emit(b, "backward", self.name + "_backward", node.shape, add, y=b.value(node), dy=dy, dx=dx)


class LogSoftmax(Softmax):
    """y = x - max - log sum exp(x - max) along per-sample dimension `axis`."""
    name = "log_softmax"


class CrossEntropy:
    """log sum_c exp(x_c) - x_label, a mean or a sum over the batch."""
    instruction, counts = "cross_entropy", True

    def __init__(self, reduction):
        self.reduction = reduction

    def key(self):
        return ("cross_entropy", self.reduction)

    def target(self, y, shape):
        """The labels as int64, or one sentence on what is wrong with them."""
        y = np.asarray(y)
        if y.dtype.kind not in "iu":
            raise LabelError(f"CrossEntropyLoss expected integer class labels, got {y.dtype}")
        if len(shape) != 2:
            raise ShapeError(f"CrossEntropyLoss expected scores of shape (N, classes), got {shape}")
        if y.shape != shape[:1]:
            raise ShapeError(f"CrossEntropyLoss expected labels of shape ({shape[0]},), got {y.shape}")
        y = np.ascontiguousarray(y, np.int64)
        low, high = _engine.label_range(y)
        if low < 0 or high >= shape[1]:
            raise LabelError(f"CrossEntropyLoss expected labels from 0 to {shape[1] - 1}, got {low if low < 0 else high}")
        return y

    def total(self, losses):
        """The loss of the batch from those of its samples, summed in float64."""
        s = engine(losses.dtype).total(losses)
        return s / len(losses) if self.reduction == "mean" else s


class MSE:
    """(x - target)^2, a mean over every number or a sum."""
    instruction, counts = "mse", False

    def __init__(self, reduction):
        self.reduction = reduction

    def key(self):
        return ("mse", self.reduction)

    def target(self, y, shape):
        """The targets as a contiguous array, or one sentence on what is wrong with them."""
        y = np.asarray(y)
        if y.dtype.kind != "f":
            raise DtypeError(f"MSELoss expected floating-point targets, got {y.dtype}")
        if y.shape != shape:
            raise ShapeError(f"MSELoss expected targets of shape {shape}, got {y.shape}")
        return np.ascontiguousarray(y)

    total = CrossEntropy.total
