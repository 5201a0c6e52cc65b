"""A convolution of which only the backward pass is run, from a gradient that the caller binds."""
from .base import Layout
from .conv import Conv2d


class SeededConv2d(Conv2d):
    """Conv2d backwards: a bound dY (N, O, H', W') follows the input among a program's arrays; the node's own value is one
    number a sample, which nothing writes."""

    def shape(self, x):
        super().shape(x)
        return (1,)

    def output(self, node):
        return super().shape(node.inputs[0].shape)

    def forward(self, b, node):
        outs, rows, cols = self.output(node)
        dy = b.grads[node] = Layout((outs, rows, cols), self.grad_border(node))
        b.written.add(node)
        b.emit("forward", "gather", y=dy.start, channels=outs, rows=rows, cols=cols, row=dy.row, step=outs, bound=len(b.rows),
               scale=0)
        b.rows.append((outs * rows * cols, False))
