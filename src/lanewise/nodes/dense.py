"""Dense layers: instructions of kernels/dense.pxi."""
import math

from ..errors import ShapeError
from .base import Op, loops
from .conv import BIAS, KEEP, ZERO

L1_PERIOD = 4096            # bytes after which addresses use the same set of an L1 cache of 64 sets
FEW = 6                     # lines that a set holds beside others: with 16 rows in one set the kernel is half as fast


class Linear(Op):
    """y = x W^T + b, W (O, I), or x W, W (I, O), where `transposed`; every row of (T, I) alike; ReLU fused where the plan
    found one."""

    def __init__(self, weight, bias, relu=False, transposed=False):
        self.weight, self.bias, self.relu, self.transposed = weight, bias, relu, transposed

    @property
    def params(self):
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    @property
    def sizes(self):
        """(outputs, inputs)."""
        return self.weight.shape[::-1] if self.transposed else self.weight.shape

    def key(self):
        return ("linear", id(self.weight), id(self.bias), self.relu, self.transposed)

    def with_relu(self):
        """The same with a ReLU after it."""
        return Linear(self.weight, self.bias, True, self.transposed)

    def shape(self, x):
        outs, ins = self.sizes
        if len(x) not in (1, 2):
            raise ShapeError(f"expected an input of 2 dimensions (N, {ins}), or 3 (N, T, {ins}), got {1 + len(x)}: "
                             f"input (N, {', '.join(map(str, x))}); nn.Flatten() joins the rest")
        if x[-1] != ins:
            raise ShapeError(f"expected input with {ins} features, got {x[-1]}: input (N, {', '.join(map(str, x))})")
        return *x[:-1], outs

    def _weights(self, b, outs, ins, turned):
        # Where the kernel reads the weights, and how many outputs at once: few where their rows would share one set of L1.
        widest, row = b.engine.dense_widest, outs if turned else ins
        if not turned and math.gcd(row * b.real_bytes, L1_PERIOD) == L1_PERIOD:
            widest = FEW
        return dict(w=b.address(self.weight), row=row, by_rows=int(not turned), widest=widest)

    def forward(self, b, node):
        x, y, (outs, ins) = b.value(node.inputs[0]), b.value(node), self.sizes
        weights = self._weights(b, outs, ins, self.transposed)
        for t in range(x.channels // ins):
            b.flops(2 * outs * ins)
            b.emit("forward", "dense", x=x.at(channel=t * ins), y=y.at(channel=t * outs),
                   bias=b.address(self.bias), ins=ins, outs=outs, start=ZERO if self.bias is None else BIAS, relu=int(self.relu),
                   **weights)

    def backward(self, b, node, dy):
        x, (outs, ins) = b.value(node.inputs[0]), self.sizes
        rows = x.channels // ins
        if self.relu:
            b.emit("backward", "relu_backward", **loops(dy, b.value(node), dy))
        if any(p.requires_grad for p in self.params):
            before = [b.used_before(p) for p in (self.weight, self.bias)]
            bound = b.bound_rows(node.inputs[0]) if rows == 1 and not self.transposed else -1
            for t in range(rows):
                self._weight_grad(b, x.at(channel=t * ins), dy.at(channel=t * outs), outs, ins,
                                  [add or int(t > 0) for add in before], bound)
        if b.wants(node.inputs[0]):
            dx, add = b.into(node.inputs[0])
            weights = self._weights(b, ins, outs, not self.transposed)
            for t in range(rows):
                b.flops(2 * outs * ins)
                b.emit("backward", "dense", x=dy.at(channel=t * outs), y=dx.at(channel=t * ins), bias=0,
                       ins=outs, outs=ins, start=KEEP if add else ZERO, relu=0, **weights)

    def _weight_grad(self, b, x, dy, outs, ins, adds, bound):
        x_pitch, dy_pitch = b.pitch(ins), b.pitch(outs)
        x_row, dy_row = b.stash(x_pitch), b.stash(dy_pitch)
        b.emit("backward", "stash", src=x, size=ins, dst=x_row, pitch=x_pitch, bound=bound)
        b.emit("backward", "stash", src=dy, size=outs, dst=dy_row, pitch=dy_pitch, bound=-1)
        if self.transposed:                             # dW = X^T dY: the two change places
            x_row, x_pitch, dy_row, dy_pitch, outs, ins = dy_row, dy_pitch, x_row, x_pitch, ins, outs
        addresses = b.grad_address(self.weight), b.grad_address(self.bias)
        own = b.address(self.weight) if self.weight.data.flags.writeable else 0
        # one pass, or two where a weight is shared and its bias is not
        parts = [(*addresses, adds[0])] if adds[0] == adds[1] else [(addresses[0], 0, adds[0]), (0, addresses[1], adds[1])]
        for grad, bias_grad, add in parts:
            if grad or bias_grad:
                b.flops(2 * outs * ins if grad else 0)
                b.emit("reduce", "dense_grad", x=x_row, x_pitch=x_pitch, dy=dy_row, dy_pitch=dy_pitch, ins=ins, outs=outs,
                       grad=grad, bias_grad=bias_grad, add=add, bound=bound, w=own)
