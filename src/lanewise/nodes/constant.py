"""A parameter as a value, the same for every sample: instructions of kernels/constant.pxi."""
import math

from .base import Op
from .walk import strides


class Constant(Op):
    """y = p for every sample; dp = the sum of dy over the batch. `shape`: that of the value, of as many numbers."""

    def __init__(self, p, shape):
        self.params, self._shape = (p,), shape

    def key(self):
        return ("constant", id(self.params[0]), self._shape)

    def shape(self):
        return self._shape

    def _fields(self, layout, p):
        sizes, own = (self._shape, strides(layout, self._shape)) if len(self._shape) == 3 else \
            ((1, 1, math.prod(self._shape)), (0, 0, 1))
        flat = (sizes[1] * sizes[2], sizes[2], 1)
        return dict(y=layout.start, p=p, **{f"n{a}": sizes[a] for a in range(3)}, **{f"y{a}": own[a] for a in range(3)},
                    **{f"p{a}": flat[a] for a in range(3)})

    def forward(self, b, node):
        b.emit("forward", "constant", **self._fields(b.value(node), b.address(self.params[0])))

    def backward(self, b, node, dy):
        p, = self.params
        d = b.slot(p.data.size * b.lane_bytes)
        b.emit("backward", "constant_grad", **self._fields(dy, d))
        b.emit("reduce", "lane_grad", d=d, size=p.data.size, grad=b.grad_address(p), add=b.used_before(p))
