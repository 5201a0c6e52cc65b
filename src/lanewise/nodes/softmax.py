"""Softmax: instructions of kernels/softmax.pxi."""
import numpy as np

from ..errors import ShapeError
from .base import Op


def walk(layout, shape, axis):
    """((rows, row stride), (cols, col stride), (classes, class stride)) of a value whose classes are per-sample dimension
    `axis`."""
    if len(shape) == 3:
        axes = [(shape[1], layout.row), (shape[2], shape[0]), (shape[0], 1)]
        classes = axes.pop({0: 2, 1: 0, 2: 1}[axis])
        return (*axes, classes)
    outer = int(np.prod(shape[:axis]))
    inner = int(np.prod(shape[axis + 1:]))
    return (outer, shape[axis] * inner), (inner, 1), (shape[axis], inner)


class Softmax(Op):
    """y = exp(x - max) / sum exp(x - max) along per-sample dimension `axis`."""
    name = "softmax"

    def __init__(self, axis):
        self.axis = axis

    def shape(self, x):
        if self.axis >= len(x):
            raise ShapeError(f"softmax: expected a dimension below {1 + len(x)}, got {self.axis + 1}")
        return x

    def _emit(self, b, block, name, shape, add=0, **layouts):
        fields = {}
        for field in ("x", "y", "dy", "dx"):
            layout = layouts.get(field)
            rows, cols, classes = walk(layout or layouts["y"], shape, self.axis)
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
