"""Layer and group normalisation: statistics of one sample. Instructions of kernels/layer_norm.pxi."""
import math

from ..errors import ShapeError
from .base import Op


class _SampleNorm(Op):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, mean and var (over n numbers, not n - 1) of groups of a sample.

    A kind says by walks(shape, layout) how to walk them: the sizes of the loops o0 o1 (groups) n0 n1 n2 (a group's numbers),
    their strides in lanes, and those of the parameters."""

    def __init__(self, weight, bias, eps):
        self.weight, self.bias, self.eps = weight, bias, eps

    @property
    def params(self):
        return tuple(p for p in (self.weight, self.bias) if p is not None)

    def key(self):
        return (type(self).__name__, id(self.weight), id(self.bias), self.eps, self.over)

    @staticmethod
    def _walk(at, strides):
        return dict(zip(("at", "o0", "o1", "i0", "i1", "i2"), (at, *strides)))

    def _fields(self, b, node, x, y, dx=None, d=0, wants=0, add=0):
        sizes, strides, places = self.walks(node.shape, x)
        return dict(zip(("o0", "o1", "n0", "n1", "n2"), sizes), x=self._walk(x.start, strides),
                    y=self._walk(y.start, self.walks(node.shape, y)[1]), p=self._walk(0, places),
                    dx=self._walk(dx.start, self.walks(node.shape, dx)[1]) if dx else self._walk(0, (0,) * 5),
                    stats=b.saved(node, 2 * sizes[0] * sizes[1]), weight=b.address(self.weight), bias=b.address(self.bias), d=d,
                    wants=wants, params=self.weight.data.size if self.weight is not None else 0, add=add, eps=self.eps)

    def forward(self, b, node):
        b.emit("forward", "layer_norm", **self._fields(b, node, b.value(node.inputs[0]), b.value(node)))

    def backward(self, b, node, dy):
        x, wants, d, dx, add = node.inputs[0], 0, 0, None, 0
        trained = [p for p in self.params if p.requires_grad]
        size = self.weight.data.size if trained else 0
        if trained:
            wants, d = 1, b.slot(2 * size * b.lane_bytes)
        if b.wants(x):
            wants += 2
            dx, add = b.into(x)
        b.emit("backward", "layer_norm_backward", **self._fields(b, node, b.value(x), dy, dx, d, wants, add))
        for i, p in enumerate(self.params):
            if p.requires_grad:
                b.emit("reduce", "lane_grad", d=d + i * size * b.lane_bytes, size=size, grad=b.grad_address(p),
                       add=b.used_before(p))


class LayerNorm(_SampleNorm):
    """Groups are the numbers of the last dimensions, of shape `normalized`; weight and bias have that shape."""

    def __init__(self, normalized, weight, bias, eps):
        super().__init__(weight, bias, eps)
        self.over = normalized

    def shape(self, x):
        if x[len(x) - len(self.over):] != self.over or len(x) < len(self.over):
            raise ShapeError(f"expected an input whose last dimensions are {self.over}, got "
                             f"input (N, {', '.join(map(str, x))})")
        return x

    def walks(self, shape, layout):
        if len(shape) != 3:
            size = math.prod(self.over)
            return (layout.channels // size, 1, 1, 1, size), (size, 0, 0, 0, 1), (0, 0, 0, 0, 1)
        (c, h, w), n = shape, len(self.over)
        if n == 3:
            return (1, 1, h, w, c), (0, 0, layout.row, c, 1), (0, 0, w, 1, h * w)
        if n == 2:
            return (1, c, h, 1, w), (0, 1, layout.row, 0, c), (0, 0, w, 0, 1)
        return (h, c, 1, 1, w), (layout.row, 1, 0, 0, c), (0, 0, 0, 0, 1)


class GroupNorm(_SampleNorm):
    """Groups are `groups` equal runs of channels with all their pixels; weight and bias have one number a channel."""

    def __init__(self, groups, channels, weight, bias, eps):
        super().__init__(weight, bias, eps)
        self.over, self.channels = groups, channels

    def shape(self, x):
        if x[0] != self.channels:
            raise ShapeError(f"expected input with {self.channels} channels, got {x[0]}: input (N, {', '.join(map(str, x))})")
        return x

    def walks(self, shape, layout):
        each = self.channels // self.over
        if len(shape) == 3:
            _, h, w = shape
            return ((self.over, 1, h, w, each), (each, 0, layout.row, self.channels, 1), (each, 0, 0, 0, 1))
        inner = math.prod(shape[1:])
        return (self.over, 1, 1, each, inner), (each * inner, 0, 0, inner, 1), (each, 0, 0, 1, 0)
