"""Convolution with one sample per SIMD lane: the engine's kernels, in small plans that are kept by their shapes."""
import threading
from collections import OrderedDict

import numpy as np

from .. import _isa, threads
from .._kernels.calls import empty
from ..graph import Input, Node
from ..nodes.base import Layout
from ..nodes.conv import Conv2d
from ..parameter import Parameter
from ..plan import BACKWARD, FORWARD, REDUCE, Plan

MOST_PLANS = 16
_plans, _lock = OrderedDict(), threading.Lock()


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
        b.emit("forward", "gather", y=dy.start, channels=outs, rows=rows, cols=cols, row=dy.row, step=outs, bound=len(b.rows), zero=1,
               scale=0)
        b.rows.append((outs * rows * cols, False))


class _Conv:
    """A convolution's plan, with weights of its own that the caller's are copied to."""

    def __init__(self, op, image, weight, bias, stride, padding, dilation, groups, dtype):
        self.weight, self.bias = Parameter(np.zeros(weight, dtype)), Parameter(np.zeros(weight[0], dtype)) if bias else None
        x = Node(Input(image, dtype.name, None, op is SeededConv2d), ())
        node = Node(op(self.weight, self.bias, stride, padding, dilation, groups), (x,))
        self.program, self.lock = Plan([node], [], op is SeededConv2d, dtype.name).program, threading.Lock()

    def run(self, arrays, weight, bias, phases):
        self.weight.data = weight
        if bias is not None:
            self.bias.data = bias
        self.program.run(len(arrays[0]), list(arrays), phases, False, threads.get_num_threads())


def _plan(op, x, weight, bias, g, groups):
    key = (op, x.shape[1:], weight.shape, bias, g.stride, g.padding, g.dilation, groups, x.dtype, _isa.isa)
    with _lock:
        found = _plans.get(key)
        if found is None:
            found = _plans[key] = _Conv(op, x.shape[1:], weight.shape, bias, g.stride, g.padding, g.dilation, groups, x.dtype)
            while len(_plans) > MOST_PLANS:
                _plans.popitem(last=False)
        else:
            _plans.move_to_end(key)
    return found


def forward(x, weight, bias, g, groups, y):
    """y (N, O, H', W'), all C-contiguous."""
    plan = _plan(Conv2d, x, weight, bias is not None, g, groups)
    with plan.lock:
        plan.run((x, y), weight, bias, FORWARD)


def backward(dy, x, weight, g, groups):
    """(dx, dweight, dbias)."""
    plan, dx = _plan(SeededConv2d, x, weight, True, g, groups), empty(x.shape, x)
    with plan.lock:
        plan.run((x, dy, np.empty(len(x), x.dtype), dx), weight, None, FORWARD | BACKWARD | REDUCE)
        return dx, plan.weight.storage_grad().copy(), plan.bias.storage_grad().copy()
