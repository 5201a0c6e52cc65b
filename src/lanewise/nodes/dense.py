"""Dense layers: instructions of kernels/dense.pxi."""
from ..errors import ShapeError
from .base import Op, loops
from .conv import BIAS, KEEP, ZERO


class Linear(Op):
    """y = x W^T + b, W (O, I); ReLU fused where the plan found one."""

    def __init__(self, weight, bias, relu=False):
        self.weight, self.bias, self.relu = weight, bias, relu

    @property
    def params(self):
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def key(self):
        return ("linear", id(self.weight), id(self.bias), self.relu)

    def with_relu(self):
        """The same with a ReLU after it."""
        return Linear(self.weight, self.bias, True)

    def shape(self, x):
        outs, ins = self.weight.shape
        if len(x) != 1:
            raise ShapeError(f"expected an input of 2 dimensions (N, {ins}), got {1 + len(x)}: "
                             f"input (N, {', '.join(map(str, x))}); nn.Flatten() joins the rest")
        if x[0] != ins:
            raise ShapeError(f"expected input with {ins} features, got {x[0]}: input (N, {x[0]})")
        return (outs,)

    def forward(self, b, node):
        x, y, (outs, ins) = b.value(node.inputs[0]), b.value(node), self.weight.shape
        w = b.pack(("linear", id(self.weight)), self.weight, b.engine.dense_widest, groups=1, outs=outs, taps=1, runs=1,
                   reds=ins, first=0, s_group=0, s_out=ins, s_tap=0, s_run=0, s_red=1)
        b.flops(2 * outs * ins)
        b.emit("forward", "dense", x=x.start, y=y.start, w=w, bias=b.address(self.bias), ins=ins, outs=outs,
               start=ZERO if self.bias is None else BIAS, relu=int(self.relu))

    def backward(self, b, node, dy):
        x, (outs, ins) = b.value(node.inputs[0]), self.weight.shape
        if self.relu:
            b.emit("backward", "relu_backward", **loops(dy, b.value(node), dy))
        if any(p.requires_grad for p in self.params):
            x_pitch, dy_pitch = b.pitch(ins), b.pitch(outs)
            x_row, dy_row = b.stash(x_pitch), b.stash(dy_pitch)
            b.emit("backward", "stash", src=x.start, size=ins, dst=x_row, pitch=x_pitch)
            b.emit("backward", "stash", src=dy.start, size=outs, dst=dy_row, pitch=dy_pitch)
            b.emit("reduce", "dense_grad", x=x_row, x_pitch=x_pitch, dy=dy_row, dy_pitch=dy_pitch, ins=ins, outs=outs,
                   grad=b.grad_address(self.weight), bias_grad=b.grad_address(self.bias),
                   add=max(b.used_before(p) for p in self.params))
        if b.wants(node.inputs[0]):
            dx, add = b.into(node.inputs[0])
            w = b.pack(("linear dx", id(self.weight)), self.weight, b.engine.dense_widest, groups=1, outs=ins, taps=1,
                       runs=1, reds=outs, first=0, s_group=0, s_out=1, s_tap=0, s_run=0, s_red=ins)
            b.flops(2 * outs * ins)
            b.emit("backward", "dense", x=dy.start, y=dx.start, w=w, bias=0, ins=outs, outs=ins,
                   start=KEEP if add else ZERO, relu=0)
