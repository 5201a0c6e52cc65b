"""Rows of a table by integer index. Instructions of kernels/embedding.pxi."""
import math

from ..errors import DtypeError
from ..graph import Input
from .base import Op, loops
from .reshape import torch_order


class Embedding(Op):
    """y[..., d] = weight[x[...]][d] for an input of integers; `padding` is the row that gets no gradient, or None."""
    takes_integers = True

    def __init__(self, weight, padding):
        self.weight, self.padding = weight, padding

    @property
    def params(self):
        return (self.weight,)

    def key(self):
        return ("embedding", id(self.weight), self.padding)

    def shape(self, x):
        return (*x, self.weight.shape[1])

    def _fields(self, b, node, y, dst=0, pitch=0):
        x, dim = node.inputs[0], self.weight.shape[1]
        if not isinstance(x.op, Input) or x.op.kind != "int64":
            raise DtypeError("Embedding expected an array of integers, got a computed value")
        if len(node.shape) == 3:
            (n0, n1), y0, y1, yd = x.shape, 1, y.row, y.channels
        else:
            n0, n1, y0, y1, yd = 1, math.prod(x.shape), 0, dim, 1
        return dict(bound=b.bound_index(x, self.weight.shape[0]), table=b.address(self.weight), dim=dim, n0=n0, n1=n1,
                    y=y.start, y0=y0, y1=y1, yd=yd, dst=dst, pitch=pitch)

    def forward(self, b, node):
        b.emit("forward", "embedding", **self._fields(b, node, b.value(node)))

    def backward(self, b, node, dy):
        if not self.weight.requires_grad:
            return
        positions, size, order = math.prod(node.inputs[0].shape), math.prod(node.shape), torch_order(dy, node.shape)
        index_pitch, pitch = b.pitch(positions), b.pitch(size)
        index, rows = b.stash(index_pitch), b.stash(pitch)
        flat = dy
        if order:
            flat = b.scratch(size)
            b.emit("backward", "affine", **loops(flat.start, dy.start, shape=order[0], ys=order[2], as_=order[1]))
        b.emit("backward", "embedding_stash", **self._fields(b, node, dy, index, index_pitch))
        b.emit("backward", "stash", src=flat.start, size=size, dst=rows, pitch=pitch, bound=-1)
        b.emit("reduce", "embedding_grad", index=index, index_pitch=index_pitch, dy=rows, dy_pitch=pitch, positions=positions,
               rows=self.weight.shape[0], dim=self.weight.shape[1], skip=-1 if self.padding is None else self.padding,
               grad=b.grad_address(self.weight), add=b.used_before(self.weight))
