"""Dropout: instructions of kernels/dropout.pxi."""
from .base import Layout, Op, loops


class Dropout(Op):
    """y = x * mask, mask 0 with probability p, else 1 / (1 - p); `whole`: one draw a channel of an image."""

    def __init__(self, p, whole):
        self.p, self.whole = p, whole

    def shape(self, x):
        return x

    def forward(self, b, node):
        x, y = b.value(node.inputs[0]), b.value(node)
        mask = Layout((x.channels, x.rows, x.cols) if len(node.shape) == 3 else node.shape)
        b.masks[node] = mask
        b.emit("forward", "dropout_mask", mask=mask.start, rows=x.rows, cols=x.cols, channels=x.channels,
               whole=int(self.whole), place=b.random_place(), p=float(self.p))
        b.emit("forward", "multiply", **loops(y, x, mask))

    def backward(self, b, node, dy):
        dx, add = b.into(node.inputs[0])
        b.emit("backward", "multiply", **loops(dx, dy, b.masks[node], add=add))
