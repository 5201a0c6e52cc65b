"""Losses: called on a traced value and a target, they give a Loss handle."""
import numpy as np

from ..graph import Loss, as_value
from ..nodes import softmax
from ..nodes.reshape import Reshape
from ..graph import apply


class _Loss:
    op = None

    def __init__(self, reduction="mean"):
        if reduction not in ("mean", "sum"):
            raise ValueError(f"{type(self).__name__}: expected reduction 'mean' or 'sum', got {reduction!r}")
        self.reduction = reduction
        self._op = self.op(reduction)

    def __call__(self, input, target):
        value = as_value(input)
        target = self._op.target(target, value.shape)
        if len(value.node.shape) > 1:
            value = apply(Reshape((int(np.prod(value.node.shape)),)), value)
        return Loss([(1.0, self._op, value, target)])

    def __repr__(self):
        return f"{type(self).__name__}(reduction={self.reduction!r})"


class CrossEntropyLoss(_Loss):
    """-log softmax(x)[label], scores (N, classes) and integer labels (N,); a mean or sum over the batch.

    Computed with the maximum subtracted. LabelError for labels that are not integers of 0 .. classes - 1."""
    op = softmax.CrossEntropy


class MSELoss(_Loss):
    """(x - target)^2, target of x's shape; a mean over every number, or a sum."""
    op = softmax.MSE
